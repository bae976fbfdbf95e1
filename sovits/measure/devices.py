"""The same speech as other devices would bring it: equalised, band-limited, noisy, reverberant, encoded.

Each device is a function of samples, rate and a seed, and gives the same samples for the same seed. They are
simulations: the curves stand for kinds of devices, not for models one can buy. The codecs are real ones, run
by libsndfile where it has them. Follows specs/measurement.md.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

SECONDS_LIMIT: Final = 120.0
"""Longest recording that is sent through a device; the caller cuts."""

Device = Callable[[Samples, int, int], Samples]

_PHONE: Final = ((100, -30), (300, -6), (600, 0), (1500, 0), (3000, 6), (5000, 3), (8000, -6), (14000, -20))
_LAPTOP: Final = ((80, -30), (200, -14), (500, -3), (1200, 2), (2500, 0), (4500, 5), (9000, -3), (16000, -12))
_BASSY: Final = ((60, 6), (150, 8), (400, 3), (1000, 0), (4000, -4), (8000, -8), (16000, -12))
_TELEPHONE: Final = (300.0, 3400.0)
_ROOM_SECONDS: Final = 0.45
"""Reverberation time (a fall of 60 dB) of the simulated room: a furnished living room."""
_ROOM_DIRECT_DB: Final = 3.0
"""How far the direct sound stands above all of the room's."""


def equalised(curve: tuple[tuple[float, float], ...]) -> Device:
    """Gains in decibels at some frequencies, joined by straight lines over the logarithm of frequency."""
    hertz, gains = np.array(curve, np.float64).T

    def device(audio: Samples, rate: int, seed: int) -> Samples:
        return _shaped(audio, rate, lambda f: 10 ** (np.interp(np.log(f + 1), np.log(hertz + 1), gains) / 20))

    return device


def telephone(audio: Samples, rate: int, seed: int) -> Samples:
    """300 to 3400 Hz, with slopes of 24 dB an octave."""
    low, high = _TELEPHONE
    return _shaped(audio, rate, lambda f: 1 / np.sqrt((1 + (low / (f + 1)) ** 8) * (1 + (f / high) ** 8)))


def noisy(snr: float) -> Device:
    """Pink noise, so many decibels below the mean power of the sound."""

    def device(audio: Samples, rate: int, seed: int) -> Samples:
        random = np.random.default_rng(seed)
        white = np.fft.rfft(random.standard_normal(len(audio)))
        bins = np.arange(len(white))
        noise = np.fft.irfft(white / np.sqrt(np.maximum(bins, 50 * len(audio) / rate)), len(audio))
        power = np.mean(np.square(audio, dtype=np.float64)) * 10 ** (-snr / 10)
        return np.asarray(audio + noise * np.sqrt(power / max(float(np.mean(noise**2)), 1e-20)), np.float32)

    return device


def room(audio: Samples, rate: int, seed: int) -> Samples:
    """A decaying noise as the room's answer (Moorer 1979), darker the later it is."""
    random = np.random.default_rng(seed)
    time = np.arange(round(_ROOM_SECONDS * rate)) / rate
    tail = random.standard_normal(len(time)) * 10 ** (-3 * time / _ROOM_SECONDS)
    tail[: round(0.004 * rate)] = 0.0
    # Air and furniture take high frequencies first: each later tenth is smoothed once more.
    for start in np.linspace(0, len(tail), 10, endpoint=False).astype(int)[1:]:
        tail[start:] = np.convolve(tail[start:], [0.25, 0.5, 0.25], mode="same")
    tail *= 10 ** (-_ROOM_DIRECT_DB / 20) / np.sqrt(np.sum(tail**2))
    answer = np.concatenate([[1.0], tail])
    size = 1 << (len(audio) + len(answer) - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(answer, size), size)[: len(audio)]
    return _as_loud(wet, audio)


def encoded(container: str, subtype: str, rate_of_codec: int | None = None) -> Device:
    """Through an encoder and back; some codecs know one sample rate only."""

    def device(audio: Samples, rate: int, seed: int) -> Samples:
        inner = rate_of_codec or rate
        sound = soxr.resample(audio, rate, inner, quality="HQ") if inner != rate else audio
        file = io.BytesIO()
        soundfile.write(file, np.clip(sound, -1, 1), inner, format=container, subtype=subtype)
        file.seek(0)
        back, _ = soundfile.read(file, dtype="float32")
        if inner != rate:
            back = soxr.resample(back, inner, rate, quality="HQ")
        whole = np.zeros(len(audio), np.float32)
        whole[: min(len(back), len(audio))] = back[: len(audio)]
        return whole

    return device


@dataclass(frozen=True)
class _Codec:
    container: str
    subtype: str
    rate: int | None = None


_CODECS: Final[Mapping[str, _Codec]] = {
    "mu-law 8 kHz": _Codec("WAV", "ULAW", 8000),
    "GSM 06.10": _Codec("WAV", "GSM610", 8000),
    "Opus 24 kHz": _Codec("OGG", "OPUS", 24000),
    "MP3": _Codec("MP3", "MPEG_LAYER_III"),
    "Vorbis": _Codec("OGG", "VORBIS"),
}


def all_devices() -> dict[str, Device]:
    """Every device there is here, by name; codecs that this libsndfile lacks are left out."""
    devices: dict[str, Device] = {
        "phone": equalised(_PHONE),
        "laptop": equalised(_LAPTOP),
        "bassy speaker": equalised(_BASSY),
        "telephone band": telephone,
        "noise 20 dB": noisy(20.0),
        "noise 10 dB": noisy(10.0),
        "living room": room,
    }
    for name, codec in _CODECS.items():
        if soundfile.check_format(codec.container, codec.subtype):
            devices[name] = encoded(codec.container, codec.subtype, codec.rate)
    return devices


def _shaped(audio: Samples, rate: int, gain: Callable[[Array], Array]) -> Samples:
    """Through a filter without delay whose gain is given by frequency."""
    size = 1 << (len(audio) + rate // 10).bit_length()
    frequencies = np.arange(size // 2 + 1) * (rate / size)
    shaped = np.fft.irfft(np.fft.rfft(audio, size) * gain(frequencies), size)[: len(audio)]
    return _as_loud(shaped, audio)


def _as_loud(made: Array, audio: Samples) -> Samples:
    """At the root mean square of the original: no device turns the volume."""
    before, after = (float(np.sqrt(np.mean(np.square(one, dtype=np.float64)))) for one in (audio, made))
    return np.asarray(made * (before / after if after > 1e-9 else 1.0), np.float32)
