"""Distilling: a small voice learns from what another voice says, so that it speaks like it at less cost.

The teacher reads sentences; what it says, with its text, is the data, and a starter of the lite family is
the base. What is reported is size, speed, word errors and likeness, against the teacher. Not for recordings
(see run, kind ``train``). Follows specs/training-data.md, "Distil".
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits import convert, voicefile
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.packaged import packaged_voice
from p2pvoice.sovits.synthesize import SpeakText, Voice

from . import evaluate
from .lists import TRAINED_LANGUAGES
from .prepare import PIECES_FOLDER, PREPARED_NAME, ClipReport, Piece, Prepared, read_prepared, write_prepared
from .texts import ORDINARY, SPRINKLED

if TYPE_CHECKING:
    from .run import Run, TrainRequest

SENTENCES: Final = 120
"""Sentences that the teacher reads: about seven minutes."""
SENTENCES_LIMIT: Final = 5_000
JUDGED: Final = 8
"""Ordinary sentences that both speak afterwards."""


def starter(work: Path, bases: Bases) -> Path:
    """The bundle of the voice that comes with the program, laid out in the work folder once."""
    place = work / "starter"
    if (place / voicefile.VOICE_NAME).is_file():
        return place
    came = packaged_voice()
    convert.import_voice(came.sovits, came.gpt, came.clip, came.text, came.lang, place, bases)
    return place


def language(request: "TrainRequest") -> str:
    """The language to distil: what was asked for, else that of the teacher's first reference."""
    if request.lang:
        return request.lang
    lang = voicefile.read_voice(request.base).references[0].lang
    lang = voicefile.SPOKEN_AS.get(lang, lang)
    if lang not in TRAINED_LANGUAGES:
        raise UsageError(
            f"the voice speaks {lang}, which no lite voice can be taught yet", hint="languages: yue zh en"
        )
    return lang


def sentences(lang: str, count: int) -> list[str]:
    """What the teacher reads: sentences of the starter's grammars, never those that a voice is judged on."""
    from p2pvoice.sovits.starter import texts, texts_chinese

    if lang == "en":
        made: Sequence[str] = list(texts.english_grammar(2 * count, 7, list(SPRINKLED)))
    else:
        made = texts_chinese.sentences(lang, 2 * count, 7)
    judged = {said for said in ORDINARY[lang]}
    kept = [said for said in dict.fromkeys(made) if said not in judged and not texts.is_held_out(said)]
    return kept[:count]


def corpus(run: "Run") -> Prepared:
    """Let the teacher read, and make its speech the pieces of the training; what was read is kept."""
    if (run.work / PREPARED_NAME).is_file():
        return read_prepared(run.work)
    count = run.request.sentences or SENTENCES
    if not 10 <= count <= SENTENCES_LIMIT:
        raise UsageError(f"a voice is distilled from 10 to {SENTENCES_LIMIT} sentences")
    lang, folder = language(run.request), run.work / PIECES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    teacher = Voice.load(run.request.base, run.bases, "cpu")
    pieces, total = [], 0.0
    for number, said in enumerate(sentences(lang, count)):
        run.stage("teacher", number, count)
        name = f"{number:05d}"
        path = folder / f"{name}.wav"
        if not path.is_file():
            part = path.with_suffix(".part")
            audio = np.concatenate(list(teacher.speak(SpeakText(said, lang, seed=number))))
            soundfile.write(part, audio, teacher.sample_rate, format="WAV", subtype="PCM_16")
            part.replace(path)
        seconds = soundfile.info(path).duration
        pieces.append(Piece(name, 0, 0.0, seconds, said, lang, path.name))
        total += seconds
    prepared = Prepared(tuple(pieces), (ClipReport("the teacher's speech", total, total, ()),), ())
    write_prepared(run.work, prepared)
    return prepared


def judge(run: "Run") -> dict[str, Any]:
    """Teacher and pupil beside each other: size, computing for a second of speech, errors, likeness."""
    lang = language(run.request)
    texts = ORDINARY[lang][:JUDGED]
    report: dict[str, Any] = {}
    spoken = {}
    for name, folder in (("teacher", run.request.base), ("pupil", run.work / "bundle")):
        begun = time.process_time()
        spoken[name] = evaluate.speak(folder, run.bases, texts, lang, lambda i, n: run.stage("judge", i, n))
        spent = time.process_time() - begun
        seconds = sum(len(one.samples) / one.rate for one in spoken[name])
        report[name] = {
            "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            "cpu_seconds_per_second": round(spent / max(seconds, 0.1), 3),
        }
    true = [(one.samples, one.rate) for one in spoken["teacher"]]
    report["similarity"] = evaluate.similarity({"pupil": spoken["pupil"]}, true)
    report["errors"] = evaluate.errors(spoken, run, lang)
    return report
