"""Phones and a speaker in, a training utterance out: audio, pitch, codes, and which phone each code is of.

The teacher proposes durations and a pitch curve; the speaker's pace, pitch and range bend them, Cantonese
gets the contours of its six tones, and the teacher then speaks with exactly those. Every sound lasts whole
code steps, as near as the teacher's own units allow, so that a code says not only which sound it is in but
where it begins. Text belongs to ``texts``, tokens to ``tokens``. Follows specs/starter.md.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pvoice.sovits.lite import units
from p2pvoice.sovits.lite.sounds import tone_of
from p2pvoice.sovits.symbols import symbol_ids

from .corpus import SAMPLE_RATE, Item
from .tokens import PAUSE, Part, Phone, parts_of

Curve = NDArray[np.float32]

NATURAL_UNIT: Final = 1 / 40
"""Seconds of one unit of the durations that the teachers propose."""
FRAMES: Final = 80
"""Pitch values a second in the teachers' curves."""
VOICED_ABOVE: Final = 50.0
LOUDNESS: Final = 0.07
"""Root mean square that every utterance is brought to."""
PEAK: Final = 0.95
EDGE_STEPS: Final = (1, 4)
"""Code steps of silence before an utterance, and after its last mark; the second number is left out."""
MARK_SECONDS: Final = {",": (0.125, 0.3), "-": (0.05, 0.15), "…": (0.2, 0.35)}
"""Least and most seconds of a mark inside an utterance."""
OTHER_MARK_SECONDS: Final = (0.2, 0.35)
END_SECONDS: Final = (0.125, 0.225)
"""Least and most seconds of the mark that ends it."""
FINAL_SECONDS: Final = {True: 0.325, False: 0.2}
"""Most seconds of a vowel (True) or another sound before a mark; the teachers give it some of the silence."""
UNRELEASED: Final = 0.12
"""What the sound of a Cantonese final stop is multiplied by, so that its release is not heard."""

CANTONESE: Final = {
    "yue1": (5.0, 5.0), "yue2": (-3.0, -1.5, 4.0), "yue3": (1.0, 1.0), "yue4": (-3.5, -6.5),
    "yue5": (-3.5, -2.5, 0.5), "yue6": (-2.0, -2.0),
}  # fmt: skip
"""Semitones around the speaker's median, evenly spread over the part of the syllable that has a pitch."""
SLOPE: Final = 1.5
"""Semitones that the pitch of a Cantonese sentence falls from its beginning to its end."""


class Speaker(Protocol):
    """A teacher with a voice of its own."""

    name: str
    pace: float
    """How much longer than the teacher's own the sounds last."""
    pitch: float
    """Median F0 in Hz."""
    range: float
    """What the teacher's pitch movements are multiplied by, in semitones."""
    stretch: float
    """The teacher's audio is played this much faster in the end, with all its formants higher."""
    unit: float
    """Seconds, before that, of one unit of the durations that it is given."""
    grain: int
    """So many units are whole frames of its pitch curve."""

    def natural(self, tokens: Sequence[str]) -> Curve:
        """The teacher's own durations of every token in NATURAL_UNIT, the two pads included."""

    def curve(self, units: Sequence[int]) -> Curve:
        """The teacher's own F0, 80 a second, for the tokens last asked about with these units."""

    def audio(self, f0: Curve, random: np.random.Generator) -> Curve:
        """The waveform at 24 kHz for this F0."""

    def own_median(self, language: str) -> float:
        """Median F0 in Hz of what ``curve`` gives in a language."""


def _share_out(total: int, weights: Sequence[float]) -> list[int]:
    """``total`` whole units in proportion to ``weights``, by cumulative rounding."""
    ends = np.round(np.cumsum(weights) / max(sum(weights), 1e-6) * total).astype(int)
    return [int(n) for n in np.diff(np.concatenate([[0], ends]))]


def _steps(
    parts: Sequence[Part], natural: Sequence[float], pace: float, random: np.random.Generator
) -> list[int]:
    """Whole code steps of every part; what rounding takes from one it gives to the next."""
    steps, owed = [], 0.0
    for index, (part, length) in enumerate(zip(parts, natural, strict=True)):
        want = length * NATURAL_UNIT * pace
        if part.mark:
            last = index + 1 == len(parts)
            low, high = END_SECONDS if last else MARK_SECONDS.get(part.mark, OTHER_MARK_SECONDS)
            want = min(max(want, random.uniform(low, high)), high * pace)
        elif index + 1 < len(parts) and parts[index + 1].mark:
            want = min(want, FINAL_SECONDS[part.sound.vowel] * pace)
        want /= units.STEP_SECONDS
        count = max(1, round(want + owed))
        owed = min(max(owed + want - count, -0.5), 0.5)
        steps.append(count)
    return steps


def _cantonese_curve(parts: Sequence[Part], lengths: Sequence[int], phones: Sequence[Phone]) -> Curve:
    """Semitones around the median of every frame, from the first part on; ``lengths`` count frames."""
    tones = [tone_of(phone.symbol) for phone in phones]
    syllables = max(1, sum(tone is not None for tone in tones))
    known: list[tuple[float, float]] = []
    at, done = 0, 0
    for index, part in enumerate(parts):
        frames = lengths[index]
        tone = tones[part.phone]
        if part.sound.pitched:
            own = [i for i, other in enumerate(parts) if other.phone == part.phone and other.sound.pitched]
            total = sum(lengths[i] for i in own)
            before = sum(lengths[i] for i in own if i < index)
            coming = next((t for t in tones[part.phone :] if t), "yue3")
            # An opening sonorant has the pitch that its rhyme begins with.
            contour = CANTONESE[tone] if tone else CANTONESE[coming][:1] * 2
            place = (np.arange(frames) + before + 0.5) / max(total, 1)
            values = np.interp(place, np.linspace(0, 1, len(contour)), contour)
            known += [(at + i, value + SLOPE * (0.5 - done / syllables)) for i, value in enumerate(values)]
        if tone and (index + 1 == len(parts) or parts[index + 1].phone != part.phone):
            done += 1
        at += frames
    if not known:
        return np.zeros(at, np.float32)
    places, values = zip(*known, strict=True)
    curve = np.interp(np.arange(at), places, values)
    reach = np.arange(-8, 9)
    kernel = np.exp(-0.5 * (reach / 2.5) ** 2)
    smooth = np.convolve(np.pad(curve, 8, mode="edge"), kernel / kernel.sum(), mode="valid")
    return smooth.astype(np.float32)


def recite(
    speaker: Speaker,
    phones: Sequence[Phone],
    text: str,
    language: str,
    random: np.random.Generator,
    *,
    mute: bool = False,
) -> Item | None:
    """Speak ``phones``, which should end with a mark. None if nothing in them is heard.

    With ``mute`` the item has no audio, which is nearly all of the work: a GPT learns from codes alone.
    """
    parts = parts_of(phones, language)
    if not parts:
        return None
    tokens = [token for part in parts for token in part.tokens]
    ends = np.cumsum([len(part.tokens) for part in parts])
    natural = speaker.natural(tokens)
    own = natural[1:-1]
    per_part = [float(piece.sum()) for piece in np.split(own, ends[:-1])]
    steps = _steps(parts, per_part, speaker.pace * random.uniform(1.0, 1.1), random)
    lead, tail = (int(random.integers(*EDGE_STEPS)) for _ in range(2))
    unit = speaker.unit / speaker.stretch  # In the time of the finished audio.
    starts = np.cumsum([0, lead, *steps, tail]) * units.STEP_SECONDS
    at = np.round(starts / unit).astype(int)
    quiet, *lengths, silent = (int(n) for n in np.diff(at))
    # The teacher begins as it likes to, or its first syllable is lost; what is too much is cut off below.
    extra = max(0, round(float(natural[0]) * NATURAL_UNIT / speaker.unit) - quiet)
    extra = -(-extra // speaker.grain) * speaker.grain
    given = [quiet + extra]
    for piece, count in zip(np.split(own, ends[:-1]), lengths, strict=True):
        given += _share_out(count, [float(x) for x in piece])
    given.append(silent)

    f0 = speaker.curve(given)
    voiced = f0 > VOICED_ABOVE
    per_unit = FRAMES * speaker.unit
    surplus = round(extra * per_unit)
    if language == "yue":
        semitones = np.zeros(len(f0), np.float32)
        curve = _cantonese_curve(parts, [round(n * per_unit) for n in lengths], phones)
        first = round((quiet + extra) * per_unit)
        semitones[first : first + len(curve)] = curve[: len(f0) - first]
    else:
        semitones = 12 * np.log2(np.maximum(f0, 1) / speaker.own_median(language))
    target = speaker.pitch * 2 ** (np.clip(semitones * speaker.range, -16, 16) / 12)
    audio = np.zeros(0, np.float32)
    if not mute:
        audio = speaker.audio(np.where(voiced, target / speaker.stretch, f0).astype(np.float32), random)
    target = np.where(voiced, target, 0)[surplus:]
    audio = audio[round(surplus / FRAMES * SAMPLE_RATE) :]
    marks = at[1:-1] * unit
    if speaker.stretch != 1 and not mute:
        import soxr

        audio = soxr.resample(audio, SAMPLE_RATE * speaker.stretch, SAMPLE_RATE, "HQ")
    owner = np.repeat(np.arange(len(parts) + 1), [lead, *steps])
    owner = np.append(owner, np.full(tail, len(parts)))
    curve = _resampled(target, speaker.stretch, len(owner) * units.PITCH_PER_STEP)
    count = round(len(owner) * units.STEP_SECONDS * SAMPLE_RATE)
    if not mute:
        audio = _silenced(audio, parts, marks)
        audio = np.pad(audio[:count], (0, max(0, count - len(audio))))
        loud = np.sqrt(np.mean(audio**2)) + 1e-9
        audio = audio * min(LOUDNESS / loud, PEAK / (np.abs(audio).max() + 1e-9))
    sounds = [PAUSE.sound, *(part.sound for part in parts)]
    of_phone = [0, *(part.phone for part in parts)]
    rows = symbol_ids("v2")
    return Item(
        text,
        language,
        speaker.name,
        speaker.pitch,
        np.round(audio * 32767).astype(np.int16),
        curve,
        np.array([rows[phone.symbol] for phone in phones], np.int16),
        units.encode(sounds, owner.tolist(), units.step_semitones(curve, len(owner), speaker.pitch)),
        np.array([of_phone[index] for index in owner], np.int16),
    )


def _resampled(f0: NDArray[np.floating], stretch: float, count: int) -> Curve:
    """The curve at 100 values a second; a value is voiced where the nearest one of the teacher is."""
    at = (np.arange(count) + 0.5) / units.PITCH_RATE * stretch * FRAMES - 0.5
    nearest = np.clip(np.round(at).astype(int), 0, len(f0) - 1)
    known = np.flatnonzero(f0)
    if not len(known):
        return np.zeros(count, np.float32)
    held = np.interp(at, known, f0[known])
    return np.where((f0[nearest] > 0) & (at < len(f0)), held, 0).astype(np.float32)


def _silenced(audio: Curve, parts: Sequence[Part], marks: NDArray[np.floating]) -> Curve:
    """Final stops without their release."""
    gain = np.ones(len(audio), np.float32)
    for index, part in enumerate(parts):
        if part.sound.name.endswith("̚"):
            first, last = (int(t * SAMPLE_RATE) for t in (marks[index], marks[index + 1]))
            gain[first + (last - first) // 3 : last] = UNRELEASED
    if (gain == 1).all():
        return audio
    width = SAMPLE_RATE // 200
    smooth = np.convolve(np.pad(gain, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
    return (audio * smooth[: len(audio)]).astype(np.float32)
