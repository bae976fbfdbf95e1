"""A training judged by ear: the base and the new voice speak the same sentences, and are compared.

Both speak with the new voice's reference clips, so what is compared is the training, not the reference.
Similarity needs the extra, word errors a recogniser; what is missing is None in the report, with the reason.
Not for the curve of the losses (see loop). Follows specs/training-data.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.sovits import convert
from p2pvoice.sovits.audio import Samples
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.measure import embed, words
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.voicefile import Bundle

from . import bundle, transcripts
from .prepare import Prepared, read_piece
from .texts import ORDINARY

if TYPE_CHECKING:
    from .run import Run

SENTENCES: Final = 6
"""Sentences that are spoken before and after: half a minute of speech."""
TRUE_PIECES: Final = 12
"""Pieces of the recordings that a voice is compared with."""
SEED: Final = 11


@dataclass(frozen=True)
class Spoken:
    """A sentence that a voice spoke."""

    text: str
    samples: Samples
    rate: int


def speak(folder: Path, bases: Bases, sentences: Sequence[str], lang: str, stop: Any = None) -> list[Spoken]:
    """Let the voice in a bundle speak, each sentence with a seed of its own."""
    voice = Voice.load(folder, bases, "cpu")
    spoken = []
    for number, said in enumerate(sentences):
        audio = np.concatenate(list(voice.speak(SpeakText(said, lang, seed=SEED + number))))
        spoken.append(Spoken(said, audio, voice.sample_rate))
        if stop is not None:
            stop(number + 1, len(sentences))
    return spoken


def likeness(spoken: Sequence[Spoken], true: Sequence[tuple[Samples, int]]) -> float:
    """Mean cosine of the spoken sentences' speaker embeddings to the mean of the true ones'.

    Raises UsageError without the extra.
    """
    centre = embed.speakers_embedding(list(true))
    heard = [embed.speaker_embedding(s.samples, s.rate) for s in spoken]
    return float(np.mean([embed.similarity(centre, vector) for vector in heard]))


def word_errors(spoken: Sequence[Spoken], ear: transcripts.Hearing, lang: str) -> tuple[float, str]:
    """Error rate of what a recogniser hears in all sentences together, and whether of words or characters."""
    counts = [words.count_errors(one.text, ear.hear(one.samples, one.rate, lang), lang) for one in spoken]
    wrong, length = map(sum, zip(*counts, strict=True))
    return wrong / max(length, 1), words.kind_of(lang)


def before_and_after(
    run: "Run",
    base: Bundle,
    references: Sequence[convert.Clip],
    prepared: Prepared,
) -> dict[str, Any]:
    """Similarity to the speaker, and word errors, of the untrained base and of the new voice."""
    untrained = run.work / "untrained"
    if not (untrained / "voice.json").is_file():
        bundle.write(untrained, base, base.sovits, base.gpt, references)
    sentences = ORDINARY[run.request.lang][:SENTENCES]
    spoken = {
        name: speak(folder, run.bases, sentences, run.request.lang, lambda i, n: run.stage("judge", i, n))
        for name, folder in (("before", untrained), ("after", run.work / "bundle"))
    }
    every = max(1, len(prepared.pieces) // TRUE_PIECES)
    true = [read_piece(run.work, piece) for piece in prepared.pieces[::every][:TRUE_PIECES]]
    return {
        "sentences": len(sentences),
        "similarity": similarity(spoken, true),
        "errors": errors(spoken, run, run.request.lang),
    }


def similarity(spoken: Mapping[str, Sequence[Spoken]], true: Sequence[tuple[Samples, int]]) -> dict[str, Any]:
    try:
        found = {name: round(likeness(told, true), 3) for name, told in spoken.items()}
    except P2PVoiceError as error:
        return {**dict.fromkeys(spoken), "reason": f"{error.message} ({error.hint})"}
    return {**found, "method": "cosine of speaker embeddings, against the recordings"}


def errors(spoken: Mapping[str, Sequence[Spoken]], run: "Run", lang: str) -> dict[str, Any]:
    if run.request.asr is None:
        return {**dict.fromkeys(spoken), "reason": "no recogniser was given (--asr)"}
    ear = transcripts.recogniser(run.request.asr)
    found: dict[str, float] = {}
    kind = ""
    for name, told in spoken.items():
        rate, kind = word_errors(told, ear, lang)
        found[name] = round(rate, 3)
    return {**found, "method": kind}
