"""The worker's operation `evaluate`: what one voice of a collection is measured by, in one go.

Described by its reference clips; made to say test sentences, which are timed, heard by a recogniser, and
embedded for comparing. What cannot be measured becomes a note, so that the rest is not lost. Comparing voices
with each other is the daemon's (evaluating.py). Follows specs/collections.md, "Evaluation".
"""

import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pvoice.node.worker_measuring import COMPARED_SENTENCES, SEED, reference_clips
from p2pvoice.protocol.errors import NotFoundError, SynthesisError, UsageError

if TYPE_CHECKING:
    from p2pvoice.node.worker import Worker

#: Sentences of our own that a voice says, where the caller brings none.
SENTENCES = 10


def evaluate(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Measure what is wanted: of ``describe``, ``speech``, ``heard`` and ``embedding``.

    ``sentences`` maps languages to what is said, or is None for our own. The embedding is for the daemon's
    memory only. Where ``embedding`` alone is wanted, no more is spoken than it needs.
    """
    wanted = set(arguments["wanted"])
    found: dict[str, Any] = {"notes": []}
    if "describe" in wanted:
        worker.tell({"stage": "describe", "step": 0, "steps": 0})
        worker.check()
        found["describe"] = _described(arguments["subject"], found["notes"])
    if wanted & {"speech", "heard", "embedding"}:
        _spoken(worker, arguments, wanted, found)
    return found


def _described(subject: dict[str, Any], notes: list[str]) -> list[dict[str, Any]] | None:
    from p2pvoice.sovits.measure.describe import describe

    try:
        clips = reference_clips(Path(subject["path"]))
        told = describe(clips, training_seconds=subject["training_seconds"]).to_json()
    except UsageError as error:
        notes.append(f"not described: {error.message}")
        return None
    notes += told["notes"]
    return list(told["measured"])


def _spoken(worker: "Worker", arguments: dict[str, Any], wanted: set[str], found: dict[str, Any]) -> None:
    lang, sentences = _sentences(arguments)
    notes: list[str] = found["notes"]
    if not sentences:
        languages = ", ".join(arguments["subject"]["languages"]) or "no language"
        notes.append(f"not spoken: there are no test sentences in {languages}")
        return
    whole = bool(wanted & {"speech", "heard"})
    said = sentences if whole else sentences[:COMPARED_SENTENCES]
    ear = _listening(arguments["asr"], notes) if "heard" in wanted and arguments["asr"] else None
    try:
        spoken = _Spoken(worker, arguments, lang, said, ear)
    except SynthesisError as error:
        notes.append(f"not spoken: {error.message}")
        return
    if whole:
        found["speech"] = spoken.speech(lang)
    if ear is not None:
        found["heard"] = spoken.heard(lang, ear)
    if "embedding" in wanted:
        found["embedding"] = _embedding(spoken.compared, notes)


class _Spoken:
    """Sentences as a voice says them: timed, heard, and let go of, but for those that are compared."""

    def __init__(
        self, worker: "Worker", arguments: dict[str, Any], lang: str, sentences: list[str], ear: Any
    ) -> None:
        import numpy

        from p2pvoice.sovits.measure.words import count_errors
        from p2pvoice.sovits.synthesize import SpeakText

        subject = arguments["subject"]
        voice = worker.voice(str(subject["key"]), Path(subject["path"]), arguments["bases"])
        self.compared: list[tuple[Any, int]] = []
        self.sentences = len(sentences)
        #: Seconds of sound, and of computing after the voice was loaded.
        self.seconds = self.computing = 0.0
        self.errors = self.units = 0
        rate = int(voice.sample_rate)
        for number, text in enumerate(sentences):
            worker.check()
            worker.tell({"stage": "speak", "step": number, "steps": len(sentences)})
            started = time.perf_counter()
            request = SpeakText(text=text, lang=lang, seed=SEED + number)
            audio = numpy.concatenate(list(voice.speak(request, on_code=lambda _: worker.check())))
            self.computing += time.perf_counter() - started
            self.seconds += len(audio) / rate
            if number < COMPARED_SENTENCES:
                self.compared.append((audio, rate))
            if ear is not None:
                wrong, length = count_errors(text, ear.hear(audio, rate, lang), lang)
                self.errors, self.units = self.errors + wrong, self.units + length

    def speech(self, lang: str) -> dict[str, Any]:
        """How much was said, and how fast it was computed: seconds for a second of sound."""
        return {
            "lang": lang,
            "sentences": self.sentences,
            "seconds": round(self.seconds, 3),
            "rtf": round(self.computing / self.seconds, 3) if self.seconds else None,
        }

    def heard(self, lang: str, ear: Any) -> dict[str, Any]:
        """The errors over all sentences together, in words or characters as the language asks."""
        from p2pvoice.sovits.measure.words import kind_of

        knows = ear.knows_cantonese if lang == "yue" else ear.is_multilingual or lang == "en"
        kind = kind_of(lang).lower()
        return {"lang": lang, "kind": kind, "errors": self.errors, "units": self.units, "knows": knows}


def _sentences(arguments: dict[str, Any]) -> tuple[str, list[str]]:
    """The first of the voice's languages that there are sentences in, and these."""
    from p2pvoice.sovits.training.texts import ORDINARY

    given = arguments["sentences"]
    for lang in arguments["subject"]["languages"]:
        if given is not None and given.get(lang):
            return lang, list(given[lang])
        if given is None and lang in ORDINARY:
            return lang, list(ORDINARY[lang][:SENTENCES])
    return "", []


def _embedding(clips: list[tuple[Any, int]], notes: list[str]) -> list[float] | None:
    from p2pvoice.sovits.measure.embed import speakers_embedding

    try:
        return [float(number) for number in speakers_embedding(clips)]
    except UsageError as error:
        notes.append(f"not compared: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return None


def _listening(folder: str, notes: list[str]) -> Any:
    try:
        return _ear(folder)
    except (UsageError, NotFoundError) as error:
        notes.append(f"not heard: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return None


@lru_cache(maxsize=1)
def _ear(folder: str) -> Any:
    # Loading takes longer than hearing a sentence; a collection is heard by one recogniser.
    from p2pvoice.sovits.measure.asr import Ear

    return Ear(Path(folder))
