"""The worker's measuring operations: describe, similarity, stability.

A subject is a recording or the folder of a bundle. A voice is described by its reference clips, which are the
speaker; it is compared by what it says. What the figures mean is sovits.measure's to say. Follows
specs/measurement.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pvoice.protocol.errors import UsageError

if TYPE_CHECKING:
    from p2pvoice.node.worker import Worker

#: Sentences that a voice says when it is compared.
COMPARED_SENTENCES = 4

#: Seed of the first of them; each has one of its own.
SEED = 11

#: Languages in which a voice's stability is told.
LANGUAGES = ("yue", "zh", "en")


def describe(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Measure a recording, or a voice by its reference clips."""
    from p2pvoice.sovits.measure.asr import Ear
    from p2pvoice.sovits.measure.describe import Clip
    from p2pvoice.sovits.measure.describe import describe as measure

    subject = arguments["subject"]
    worker.tell({"stage": "listen", "step": 0, "steps": 0})
    if subject["kind"] == "clip":
        audio, rate = recording(Path(subject["path"]), str(arguments["name"]))
        clips = [Clip(audio, rate, str(arguments["text"]), str(arguments["lang"]))]
    else:
        clips = reference_clips(Path(subject["path"]))
    ear = Ear(Path(arguments["asr"])) if arguments["asr"] else None
    worker.check()
    found = measure(clips, ear=ear, training_seconds=subject.get("training_seconds"))
    return dict(found.to_json())


def reference_clips(folder: Path) -> list[Any]:
    """The reference clips of a bundle with their transcripts, as something to describe."""
    from p2pvoice.sovits.audio import read_clip
    from p2pvoice.sovits.measure.describe import Clip
    from p2pvoice.sovits.voicefile import read_voice

    references = read_voice(folder).references
    return [Clip(*read_clip(folder / one.clip), one.text, one.lang) for one in references]


def recording(path: Path, name: str) -> tuple[Any, int]:
    """A recording's mono samples and rate; UsageError says why it cannot be read."""
    from p2pvoice.sovits.training import clips

    found = clips.read(path, name or "the recording")
    if isinstance(found, clips.Fault):
        raise UsageError(f"{name or 'the recording'}: {found.message}", hint=found.hint)
    return found.samples, found.rate


def similarity(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """The cosine between the speaker embeddings of two subjects."""
    from p2pvoice.sovits.measure.embed import similarity as cosine
    from p2pvoice.sovits.measure.embed import speakers_embedding

    vectors = []
    for number, name in enumerate(("a", "b")):
        worker.tell({"stage": "similarity", "step": number, "steps": 2})
        vectors.append(speakers_embedding(_heard(worker, arguments[name], arguments["bases"])))
    spoken = [name for name in ("a", "b") if arguments[name]["kind"] == "voice"]
    method = "cosine of speaker embeddings (GE2E, Resemblyzer's weights)"
    if spoken:
        method += f"; a voice is heard in {COMPARED_SENTENCES} sentences that it says"
    return {"similarity": round(cosine(*vectors), 4), "method": method}


def _heard(worker: "Worker", subject: dict[str, Any], bases: list[str]) -> list[tuple[Any, int]]:
    """What is compared of a subject: the recording itself, or some sentences of a voice."""
    if subject["kind"] == "clip":
        return [recording(Path(subject["path"]), "")]
    from p2pvoice.sovits.training.texts import ORDINARY

    lang = next((lang for lang in subject["languages"] if lang in ORDINARY), LANGUAGES[-1])
    voice = worker.voice(str(subject["key"]), Path(subject["path"]), bases)
    return [
        _say(worker, voice, said, lang, SEED + number)
        for number, said in enumerate(ORDINARY[lang][:COMPARED_SENTENCES])
    ]


def _say(worker: "Worker", voice: Any, said: str, lang: str, seed: int) -> tuple[Any, int]:
    import numpy

    from p2pvoice.sovits.synthesize import SpeakText

    parts = list(voice.speak(SpeakText(text=said, lang=lang, seed=seed), on_code=lambda _: worker.check()))
    return numpy.concatenate(parts), int(voice.sample_rate)


def stability(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """How well a voice stays itself over sentences, devices and languages."""
    from p2pvoice.sovits.measure.stability import report

    subject = arguments["subject"]
    folder = Path(subject["path"])
    voice = worker.voice(str(subject["key"]), folder, arguments["bases"])

    def tell(done: int, of: int) -> None:
        worker.check()
        worker.tell({"stage": "stability", "step": done, "steps": of})

    languages = [*subject["languages"], *(one for one in LANGUAGES if one not in subject["languages"])]
    return dict(
        report(
            lambda said, lang, seed: _say(worker, voice, said, lang, seed),
            [lang for lang in languages if lang in LANGUAGES],
            [(clip.audio, clip.rate) for clip in reference_clips(folder)],
            tell=tell,
        )
    )
