"""A voice described by measurement: every figure with its unit, its method and how sure it is.

What can be measured is measured, what can only be guessed (gender, age, whether a language is native) is a
suggestion for the author to confirm, and what only the author knows (emotion, style) is taken from the author
or left out. The tags that come out are proposals. Follows specs/measurement.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2pvoice.protocol.errors import P2PVoiceError, UsageError
from p2pvoice.sovits.measure import (
    dnsmos,
    formants,
    gender_age,
    language,
    loudness,
    pitch,
    quality,
    rate,
    snr,
)
from p2pvoice.sovits.measure.asr import Ear
from p2pvoice.sovits.measure.levels import RATE, Samples, at_16k
from p2pvoice.sovits.measure.proposals import Proposal, propose, sentence
from p2pvoice.sovits.measure.words import count_errors, kind_of

CLIPS_LIMIT: Final = 200
"""Clips that are described as one voice."""
SECONDS_LIMIT: Final = 1200.0
"""Seconds of all clips together; checked before memory is taken."""
HEARD_LIMIT: Final = 8
"""Clips that the networks hear, evenly spread: they take longest."""
GAP = 0.2
"""Seconds of silence that part the clips where they are measured as one."""


@dataclass(frozen=True)
class Clip:
    """Mono samples [n], their rate, and what is said in them if that is known."""

    audio: Samples
    rate: int
    text: str = ""
    lang: str = ""


def four_digits(value: float) -> str:
    """A figure to four significant digits, or to the whole number, never with an exponent of ten."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


@dataclass(frozen=True)
class Measurement:
    """One figure: a number or a word, its unit, what measured it, and a confidence from 0 to 1."""

    field: str
    value: float | str
    unit: str
    method: str
    confidence: float
    to_confirm: bool = False

    def row(self) -> dict[str, Any]:
        """As manifests carry it: the value as text, the confidence in per cent."""
        value = self.value if isinstance(self.value, str) else four_digits(self.value)
        method = self.method + (", to be confirmed" if self.to_confirm else "")
        confidence = round(100 * self.confidence)
        return {
            "field": self.field,
            "value": value,
            "unit": self.unit,
            "method": method,
            "confidence": confidence,
        }


@dataclass(frozen=True)
class Description:
    """All that was found of a voice; ``notes`` says what could not be, and why."""

    measurements: tuple[Measurement, ...]
    proposals: tuple[Proposal, ...]
    notes: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    """The proposals as one phrase, by language: ``zh`` and ``en``."""

    def __getitem__(self, name: str) -> Measurement:
        for one in self.measurements:
            if one.field == name:
                return one
        raise KeyError(name)

    def __contains__(self, name: str) -> bool:
        return any(one.field == name for one in self.measurements)

    def to_json(self) -> dict[str, Any]:
        """Plain values: ``measured`` rows as manifests carry them, ``tags``, and the other fields."""
        return {
            "measured": [one.row() for one in self.measurements],
            "tags": [one.tag for one in self.proposals],
            "proposals": [one.to_json() for one in self.proposals],
            "words": dict(self.words),
            "notes": list(self.notes),
        }


def describe(
    clips: Sequence[Clip],
    *,
    ear: Ear | None = None,
    author_tags: Sequence[str] = (),
    training_seconds: float | None = None,
    networks: bool = True,
) -> Description:
    """Measure one voice by its clips.

    ``author_tags`` are tag keys the author gave (emotion, style): they are repeated, never guessed.
    ``networks`` says whether DNSMOS is asked for; a missing extra becomes a note. Raises UsageError for no or
    too many clips, or when there is too little voice in them to say anything.
    """
    _check(clips)
    whole = _joined(clips)
    curve = pitch.track(whole, RATE)
    voiced_seconds = float((curve > 0).sum()) / pitch.FRAME_RATE
    found: list[Measurement] = []
    notes: list[str] = []
    found += _amounts(clips, voiced_seconds, training_seconds)
    spoken = _language(clips, ear, notes)
    if spoken is not None:
        found.append(Measurement("language", spoken.lang, "", spoken.method, spoken.confidence, True))
    found += _pitch(curve)
    found += _rate(clips, spoken.lang if spoken else "")
    found += _recording(clips, whole, notes)
    noise = next((one.value for one in found if one.field == "snr"), None)
    found += _quality(whole, curve, float(noise) if noise is not None else 30.0, notes)
    found += _suggestions(whole, curve, {one.field: one.value for one in found}, notes)
    if networks:
        found += _cleanness(clips, notes)
    if ear is not None:
        found += _understood(clips, ear, spoken.lang if spoken else "")
    proposals = propose({one.field: (one.value, one.confidence) for one in found}, author_tags)
    words = {lang: sentence(proposals, lang) for lang in ("zh", "en")}
    return Description(tuple(found), proposals, tuple(notes), words)


def _check(clips: Sequence[Clip]) -> None:
    if not 1 <= len(clips) <= CLIPS_LIMIT:
        raise UsageError(f"a voice is described by 1 to {CLIPS_LIMIT} clips, not {len(clips)}")
    seconds = sum(len(clip.audio) / max(clip.rate, 1) for clip in clips)
    if seconds > SECONDS_LIMIT:
        raise UsageError(f"the clips last {seconds:.0f} s; {SECONDS_LIMIT:g} s describe any voice")


def _joined(clips: Sequence[Clip]) -> Samples:
    """All clips at 16 kHz, each at one loudness, silence between them."""
    gap = np.zeros(round(GAP * RATE), np.float32)
    parts: list[Samples] = []
    for clip in clips:
        sound = at_16k(clip.audio, clip.rate)
        strength = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if len(sound) else 0.0
        parts += [np.asarray(sound * (0.05 / strength if strength > 1e-5 else 1.0), np.float32), gap]
    return np.concatenate(parts)


def _by_amount(seconds: float, most: float) -> float:
    """More voice tells more: two thirds of what can be sure at two seconds, nine tenths at five."""
    return float(most * (1 - np.exp(-seconds / 2)))


def _amounts(clips: Sequence[Clip], voiced: float, training: float | None) -> list[Measurement]:
    total = sum(len(clip.audio) / clip.rate for clip in clips)
    rows = [
        Measurement("clips", float(len(clips)), "", "counted", 1.0),
        Measurement("seconds", total, "s", "counted", 1.0),
        Measurement("voiced_seconds", voiced, "s", "pitch tracker (after pYIN)", 0.9),
    ]
    if training is not None:
        rows.append(Measurement("training_seconds", training, "s", "counted by the training", 1.0))
    return rows


def _language(clips: Sequence[Clip], ear: Ear | None, notes: list[str]) -> language.Language | None:
    given = {clip.lang for clip in clips if clip.lang}
    text = "\n".join(clip.text for clip in clips if clip.text)
    written = language.of_text(text) if text else None
    if ear is not None:
        longest = max(clips, key=lambda clip: len(clip.audio) / clip.rate)
        heard = language.of_speech(longest.audio, longest.rate, ear)
        # Characters tell Cantonese from Mandarin, and most recognisers cannot.
        blind = written is not None and heard is not None and (written.lang, heard.lang) == ("yue", "zh")
        if heard is not None and not blind and (written is None or heard.confidence > written.confidence):
            written = heard
    if len(given) == 1:
        said = given.pop()
        said = {"auto": "", "auto_yue": "yue"}.get(said, said.removeprefix("all_"))
        if said and (written is None or written.lang == said or {written.lang, said} == {"zh", "yue"}):
            sure = max(0.8, written.confidence if written is not None and written.lang == said else 0.0)
            return language.Language(said, sure, "given with the clips")
        if said and written is not None:
            notes.append(f"the clips are marked {said}, but their words look like {written.lang}")
    if written is None:
        notes.append("language: neither a transcript nor a recogniser was given")
    return written


def _pitch(curve: NDArray[np.float32]) -> list[Measurement]:
    voiced = curve[curve > 0]
    if len(voiced) < quality.LEAST_VOICED * pitch.FRAME_RATE:
        raise UsageError("there is too little voice to describe", hint="give at least 3 seconds of speech")
    low, middle, high = (float(value) for value in np.percentile(voiced, [5, 50, 95]))
    method, sure = "pitch tracker (after pYIN)", _by_amount(len(voiced) / pitch.FRAME_RATE, 0.95)
    return [
        Measurement("pitch_median", middle, "Hz", method, sure),
        Measurement("pitch_low", low, "Hz", method + ", 5th percentile", 0.9 * sure),
        Measurement("pitch_high", high, "Hz", method + ", 95th percentile", 0.9 * sure),
        Measurement("pitch_range", 12 * float(np.log2(high / low)), "semitones", method, 0.9 * sure),
    ]


def _rate(clips: Sequence[Clip], lang: str) -> list[Measurement]:
    rates = [rate.rate_of(c.audio, c.rate, None, c.text, lang) for c in clips if len(c.audio) >= 0.5 * c.rate]
    seconds = sum(one.speech_seconds for one in rates)
    if not seconds:
        return []
    read = all(one.read for one in rates)
    method = "syllables of the transcript" if read else "syllable nuclei (after de Jong and Wempe)"
    value = sum(one.syllables for one in rates) / seconds
    return [
        Measurement("speech_seconds", seconds, "s", "level over the recording's floor", 0.85),
        Measurement("speech_rate", value, "syllables/s", method, _by_amount(seconds, 0.9 if read else 0.6)),
    ]


def _recording(clips: Sequence[Clip], whole: Samples, notes: list[str]) -> list[Measurement]:
    rows = []
    loud = [loudness.integrated(c.audio, c.rate) for c in clips if len(c.audio) >= 0.4 * c.rate]
    if loud and np.isfinite(loud).any():
        value = float(np.median([one for one in loud if np.isfinite(one)]))
        rows.append(Measurement("loudness", value, "LUFS", "ITU-R BS.1770-4, one channel", 0.99))
    highest = max(loudness.peak(clip.audio) for clip in clips)
    rows.append(Measurement("peak", highest, "dBFS", "largest sample", 1.0))
    ratios, widths = [], []
    for clip in clips:
        try:
            ratios.append(snr.signal_to_noise(clip.audio, clip.rate))
            widths.append(snr.bandwidth(clip.audio, clip.rate))
        except UsageError:
            continue
    if ratios:
        sure = 0.8 if 5 <= float(np.median(ratios)) <= 45 else 0.5
        rows.append(Measurement("snr", float(np.median(ratios)), "dB", "quietest tenth of each band", sure))
    if widths:
        rows.append(Measurement("bandwidth", max(widths), "Hz", "-60 dB under the spectrum's peak", 0.8))
    if not ratios:
        notes.append("noise: no clip lasts a second")
    return rows


def _quality(whole: Samples, curve: NDArray[np.float32], noise: float, notes: list[str]) -> list[Measurement]:
    try:
        found = quality.regularity(whole, RATE, curve)
    except UsageError as error:
        notes.append(f"voice quality: {error.message}")
        return []
    # A noisy recording sounds like a noisy voice to these measures.
    sure = _by_amount(found.voiced_seconds, 0.85) * float(np.clip((noise - 5) / 20, 0.1, 1.0))
    return [
        Measurement("hnr", found.hnr, "dB", "harmonics-to-noise ratio, running speech (Boersma 1993)", sure),
        Measurement("jitter", 100 * found.jitter, "%", "local, running speech", 0.9 * sure),
        Measurement("shimmer", 100 * found.shimmer, "%", "local, running speech", 0.8 * sure),
        Measurement("cpps", found.cpps, "dB", "cepstral peak prominence (Hillenbrand and Houde 1996)", sure),
        Measurement("h1_h2", found.h1_h2, "dB", "first over second harmonic, median", 0.7 * sure),
        Measurement(
            "hoarseness", found.hoarseness, "", "index from CPPS, jitter and HNR, 0 to 1", 0.6 * sure
        ),
        Measurement("breathiness", found.breathiness, "", "index from CPPS and H1-H2, 0 to 1", 0.5 * sure),
    ]


def _suggestions(
    whole: Samples, curve: NDArray[np.float32], known: Mapping[str, float | str], notes: list[str]
) -> list[Measurement]:
    rows: list[Measurement] = []
    apart: float | None = None
    try:
        apart = formants.spacing(formants.formants(whole, RATE, curve))
        length = formants.tract_length(apart)
        rows.append(Measurement("vocal_tract", length, "cm", "spacing of formants (linear prediction)", 0.5))
    except UsageError as error:
        notes.append(f"vocal tract: {error.message}")

    def number(name: str, scale: float = 1.0) -> float | None:
        value = known.get(name)
        return None if value is None else float(value) * scale

    gender, age = gender_age.suggest(
        gender_age.Heard(
            float(known["pitch_median"]),
            apart,
            number("jitter", 0.01),
            number("shimmer", 0.01),
            number("hnr"),
            number("speech_rate"),
        )
    )
    amount = _by_amount(float(known["voiced_seconds"]), 1.0)
    by = "pitch and vocal tract" if apart is not None else "pitch"
    rows.append(Measurement("gender", gender.value, "", f"perceived: {by}", gender.confidence * amount, True))
    by += ", roughness and rate"
    rows.append(Measurement("age", age.value, "", f"perceived: {by}", age.confidence * amount, True))
    return rows


def _spread(clips: Sequence[Clip]) -> list[Clip]:
    return [clips[int(at)] for at in np.linspace(0, len(clips) - 1, min(len(clips), HEARD_LIMIT))]


def _cleanness(clips: Sequence[Clip], notes: list[str]) -> list[Measurement]:
    try:
        heard = [dnsmos.ovrl(clip.audio, clip.rate) for clip in _spread(clips)]
    except P2PVoiceError as error:
        notes.append(f"DNSMOS: {error.message}; {error.hint}" if error.hint else f"DNSMOS: {error.message}")
        return []
    method = "DNSMOS P.835, an estimate of how clean it sounds"
    return [
        Measurement(name, float(np.mean([one[name] for one in heard])), "1-5", method, 0.6)
        for name in heard[0]
    ]


def _understood(clips: Sequence[Clip], ear: Ear, lang: str) -> list[Measurement]:
    errors = length = 0
    for clip in _spread([clip for clip in clips if clip.text]) if lang else ():
        wrong, count = count_errors(clip.text, ear.hear(clip.audio, clip.rate, lang), lang)
        errors, length = errors + wrong, length + count
    if not length:
        return []
    kind = kind_of(lang)
    sure = 0.3 if lang == "yue" and not ear.knows_cantonese else 0.7
    method = f"recogniser against the transcript, {kind}"
    return [Measurement(kind.lower(), 100 * errors / length, "%", method, sure)]
