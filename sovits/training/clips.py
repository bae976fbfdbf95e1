"""Is a recording fit for training? Reads it within bounds and names every fault with what to do about it.

A fault either refuses the clip or is a note: training goes on with what is left, and the report lists all.
The thresholds are constants here with their reasons; the measurements are in defects. Not for the text (see
lists and assigning). Follows specs/training-data.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from p2pvoice.protocol.errors import SynthesisError, UsageError
from p2pvoice.sovits import text
from p2pvoice.sovits.audio import CHANNEL_LIMIT, RATE_RANGE, Samples, resample_soxr
from p2pvoice.sovits.measure import embed
from p2pvoice.sovits.text.spans import chinese_language

from . import defects

RECORDING_SECONDS_LIMIT: Final = 1_800.0
"""Seconds of one recording: half an hour."""
TOTAL_SECONDS_LIMIT: Final = 3_600.0
"""Seconds of all recordings together: at 48 kHz they take 690 MB of memory."""
RECORDING_BYTES_LIMIT: Final = 1 << 30
"""Bytes of one file: half an hour of 96 kHz stereo in 24 bits has them."""
CLIPS_LIMIT: Final = 2_000
"""Recordings of one training."""
RATE_KEPT: Final = 48_000
"""Hertz above which a recording is brought down at once: no model speaks more."""
BLOCK: Final = 1 << 18
"""Frames that are decoded at a time, so that channels never take memory all at once."""

TOO_SHORT_SECONDS: Final = 2.0
"""A clip must be longer than this: the published training drops what is below 0.6 s, and a clip of two
seconds or less has hardly a sentence in it, of which the edges are half."""
SILENT_DB: Final = -50.0
"""Loud frames below this are no speech into a microphone; a soft speaker reaches -40."""
LEAST_ACTIVE: Final = 1.0
"""Seconds of sound that a clip must have."""
NOTED_SNR, REFUSED_SNR = 20.0, 10.0
"""Decibels. Below 20 the noise is learned as part of the voice; below 10 soft sounds are under it."""
NOTED_CLIPPING, REFUSED_CLIPPING = 1e-3, 2e-2
"""Share of samples at a limit. A thousandth is a few peaks; two in a hundred is heard as a rattle."""
MUSIC_SHARE: Final = 0.65
"""Share of the soft quarter with steady tones. Clean speech has 0 to 0.3, a monotonous synthetic voice up to
0.6, music 20 dB under the voice 0.8."""
MUSIC_SNR: Final = 42.0
"""Decibels above which nothing sounds in the gaps, so no music either."""
SPEAKERS_SEMITONES: Final = 4.0
"""Two groups of pitches that are this far apart are two speakers. A single one's medians over a second or so
stay within about three."""
SPEAKERS_SIMILARITY: Final = 0.62
"""Two halves of a recording whose embeddings are less alike than this are two speakers; one speaker's are at
0.75 and more, two at 0.5 to 0.6 (Resemblyzer)."""
PARTS: Final = 16
"""Parts of a recording, of four seconds each, that are compared."""
LOWEST_RATE: Final = 16_000
"""Hertz below which a recording lacks what tells s from f, and a voice would be learned like a telephone."""
NARROW_BAND: Final = 5_000.0
"""Hertz: a recording that holds nothing above was made by a telephone, whatever its rate."""
SLOWEST, FASTEST = 3.0, 25.0
"""Phones a second of sound, as in the published training: beyond these the text is not that of the clip."""
COPY_LIKENESS: Final = 0.997
"""Correlation of two recordings' contours above which one is a copy of the other."""
HEARD_WRONG: Final = 0.6
"""Error rate of what a recogniser hears against the transcript, above which it is another text."""

MARKS: Final = ("SP", "SP2", "SP3", "UNK")
"""Phones that are no sounds."""

REASONS: Final = (
    "unreadable", "too_short", "too_long", "silence", "low_rate", "clipping", "noise", "music",
    "two_speakers", "duplicate", "no_transcript", "wrong_language", "text_too_long", "text_too_short",
    "other_text", "unmatched_text",
)  # fmt: skip
"""Every code of a fault, for programs."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a clip. ``refuses`` says whether the clip is left out for it."""

    code: str
    refuses: bool
    message: str
    hint: str
    piece: str = ""
    """Which part of the clip, such as ``12.0-18.5 s``; empty for all of it."""


@dataclass(frozen=True)
class Recording:
    """A clip as it was given: mono samples at their own rate, at most ``RATE_KEPT``."""

    name: str
    samples: Samples
    rate: int
    source_rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def read(path: Path, name: str) -> Recording | Fault:
    """Read one clip in blocks, or tell why it cannot be read. Never raises for what is in the file."""
    if not path.is_file() or path.stat().st_size > RECORDING_BYTES_LIMIT:
        return Fault("unreadable", True, "there is no such file, or it is over 1 GB", "give an audio file")
    try:
        with soundfile.SoundFile(path) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if rate not in RATE_RANGE or not 1 <= file.channels <= CHANNEL_LIMIT:
                hint = "export it as mono wav, 16 to 48 kHz"
                return Fault("unreadable", True, f"it has {file.channels} channels of {rate} Hz", hint)
            if seconds > RECORDING_SECONDS_LIMIT:
                message = f"it lasts {seconds / 60:.0f} minutes, more than {RECORDING_SECONDS_LIMIT / 60:.0f}"
                return Fault("too_long", True, message, "cut it into shorter files")
            blocks = [block.mean(axis=1) for block in file.blocks(BLOCK, dtype="float32", always_2d=True)]
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = str(getattr(error, "error_string", error))[:100]
        return Fault("unreadable", True, f"it is no audio that can be read: {reason}", "export it as wav")
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not np.isfinite(samples).all():
        return Fault("unreadable", True, "it holds numbers that are no sound", "export it again")
    if rate > RATE_KEPT:
        return Recording(name, resample_soxr(samples, rate, RATE_KEPT), RATE_KEPT, rate)
    return Recording(name, samples, rate, rate)


def faults(clip: Recording) -> list[Fault]:
    """What is wrong with the sound of one recording, whatever it says."""
    if clip.seconds <= TOO_SHORT_SECONDS:
        hint = "record at least one whole sentence, better five to ten seconds"
        return [
            Fault(
                "too_short", True, f"it lasts {clip.seconds:.1f} s, {TOO_SHORT_SECONDS:.0f} s or less", hint
            )
        ]
    heard = defects.to_rate(clip.samples, clip.rate)
    level, active = defects.speech_level(heard), defects.active_seconds(heard)
    if level < SILENT_DB:
        hint = "check the microphone, and record louder"
        return [Fault("silence", True, f"hardly anything is heard: {level:.0f} dB at its loudest", hint)]
    if active < LEAST_ACTIVE:
        return [Fault("silence", True, f"only {active:.1f} s of it are sound", "cut the silence away")]
    found = [*_bandwidth(clip), *_clipping(clip)]
    noise = defects.snr(heard)
    music = defects.steady_tones(heard)
    if music >= MUSIC_SHARE and noise < MUSIC_SNR:
        hint = "record without music or hum; a program that separates voices helps a little"
        found.append(
            Fault("music", True, f"tones stand still in {music:.0%} of its pauses: music or hum", hint)
        )
    elif noise < NOTED_SNR:
        hint = "record nearer to the microphone, in a quiet room"
        message = f"the voice is only {noise:.0f} dB above the noise"
        found.append(Fault("noise", noise < REFUSED_SNR, message, hint))
    if not any(fault.code in ("music", "noise") and fault.refuses for fault in found):
        found += _speakers(heard)
    return found


def _bandwidth(clip: Recording) -> list[Fault]:
    hint = "use the original recording, at 32 kHz or more"
    if clip.source_rate < LOWEST_RATE:
        return [Fault("low_rate", True, f"its sample rate is only {clip.source_rate} Hz", hint)]
    band = defects.bandwidth(clip.samples, clip.rate)
    if band < NARROW_BAND:
        return [
            Fault("low_rate", True, f"it holds nothing above {band / 1000:.1f} kHz, like a telephone", hint)
        ]
    return []


def _clipping(clip: Recording) -> list[Fault]:
    share = defects.clipped_share(clip.samples)
    if share < NOTED_CLIPPING:
        return []
    hint = "record again with less gain: the highest peak should stay below -3 dB"
    message = f"its peaks are cut off: {share:.1%} of the samples stand at the limit"
    return [Fault("clipping", share >= REFUSED_CLIPPING, message, hint)]


def _speakers(heard: Samples) -> list[Fault]:
    hint = "keep the parts of one speaker only"
    gap = defects.two_pitches(heard)
    if gap >= SPEAKERS_SEMITONES:
        return [Fault("two_speakers", True, f"it has two voices, {gap:.0f} semitones apart", hint)]
    alike = halves_alike(heard)
    if alike is not None and alike < SPEAKERS_SIMILARITY:
        return [Fault("two_speakers", True, f"two parts of it are of different speakers ({alike:.2f})", hint)]
    return []


def halves_alike(heard: Samples) -> float | None:
    """The least likeness of neighbouring parts of a recording; None without the extra or with too little."""
    window = 4 * defects.RATE
    if len(heard) < 2 * window:
        return None
    parts = [heard[at : at + window] for at in range(0, len(heard) - window + 1, window)][:PARTS]
    try:
        vectors = np.stack([embed.speaker_embedding(part, defects.RATE) for part in parts])
    except UsageError:
        return None
    # The split into a beginning and an end, or into turns, that sets two groups furthest apart.
    cosines = vectors @ vectors.T
    first, second = np.unravel_index(np.argmin(cosines), cosines.shape)
    mine = cosines[first] >= cosines[second]
    if not mine.any() or mine.all():
        return 1.0
    a, b = vectors[mine].mean(0), vectors[~mine].mean(0)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def duplicates(clips: Sequence[Recording]) -> dict[int, Fault]:
    """The recordings that are copies of an earlier one, also through another format or level."""
    found: dict[int, Fault] = {}
    contours: list[tuple[int, np.ndarray]] = []
    for index, clip in enumerate(clips):
        if clip.seconds <= TOO_SHORT_SECONDS:
            continue
        mine = defects.contour(defects.to_rate(clip.samples, clip.rate))
        for earlier, other in contours:
            if abs(len(other) - len(mine)) <= 1:
                size = min(len(other), len(mine))
                if float(mine[:size] @ other[:size]) > COPY_LIKENESS:
                    message = f"it is a copy of {clips[earlier].name[:60]!a}"
                    found[index] = Fault("duplicate", True, message, "leave one of the two out")
                    break
        else:
            contours.append((index, mine))
    return found


def text_faults(said: str, lang: str, samples: Samples, rate: int) -> list[Fault]:
    """What is wrong with a transcript for the sound it belongs to."""
    if not said.strip():
        hint = "write what it says, or give --asr a recogniser's folder"
        return [Fault("no_transcript", True, "it has no transcript", hint)]
    other = script_of(said)
    if other is not None and other != lang and not (other == "zh" and lang == "yue"):
        names = {"en": "English", "zh": "Chinese", "yue": "Cantonese"}
        message = f"its transcript is {names[other]}, not {names[lang]}"
        return [Fault("wrong_language", True, message, f"mark it as {other}, or leave it out")]
    seconds = max(defects.active_seconds(defects.to_rate(samples, rate)), 0.1)
    count = phones_in(said, lang)
    if count == 0:
        return [Fault("no_transcript", True, "its transcript has nothing to say", "write what it says")]
    if count / seconds > FASTEST:
        message = f"its text is too long: {count} sounds in {seconds:.1f} s"
        return [Fault("text_too_long", True, message, "check that the text is this clip's")]
    if count / seconds < SLOWEST:
        message = f"its text is too short: {count} sounds in {seconds:.1f} s"
        return [Fault("text_too_short", True, message, "write all that it says")]
    return []


def phones_in(said: str, lang: str) -> int:
    """How many sounds a text has, marks not counted; 0 if nothing in it can be spoken."""
    try:
        names = text.phonemize(said, lang).names
    except SynthesisError:
        return 0
    return sum(name[0].isalpha() and name not in MARKS for name in names)


def script_of(said: str) -> str | None:
    """The language that a text's characters show: en, zh (any Chinese) or yue; None if they show nothing."""
    han = sum("\u4e00" <= c <= "\u9fff" for c in said)
    latin = sum(c.isascii() and c.isalpha() for c in said)
    if han == 0 and latin == 0:
        return None
    if latin > 8 * han:
        return "en"
    if 4 * han < latin:
        return None
    return "yue" if chinese_language(said, "auto") == "yue" else "zh"


def of_piece(found: Iterable[Fault], piece: str) -> list[Fault]:
    """The same faults, of one part of a clip."""
    return [replace(fault, piece=piece) for fault in found]


def as_json(fault: Fault) -> dict[str, object]:
    return asdict(fault)
