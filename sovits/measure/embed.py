"""Whose voice it is like: a speaker embedding, and the cosine between two.

The network is the text-independent speaker encoder of Wan et al., "Generalized end-to-end loss for speaker
verification" (2018): three LSTM layers over 1.6-second pieces. Its weights are those published in the package
Resemblyzer, read from there without importing it and without unpickling anything but tensors. A 2018
encoder: good for comparing, not proof of who speaks. Follows specs/measurement.md.
"""

from functools import cache
from typing import Final

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import nn

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.measure.extra import package_file
from p2pvoice.sovits.measure.mel import mel_power

Samples = NDArray[np.float32]
Embedding = NDArray[np.float32]

SIZE: Final = 256
"""Numbers of an embedding."""
SECONDS_LIMIT: Final = 1200.0
"""Longest recording that is embedded at once; checked before memory is taken."""
LEAST_SECONDS: Final = 0.4
"""Less speech than this has no speaker."""

_RATE, _WINDOW, _HOP, _BANDS = 16_000, 400, 160, 40
_LAYERS = 3
_PIECE = 160
"""Frames of the pieces the network was trained on: 1.6 s."""
_PIECES_A_SECOND = 1.3
_COVERAGE = 0.75
"""Share of the last piece that must be filled for it to count."""
_BATCH = 64
_LOUDNESS_DB = -30.0
"""Root mean square that every recording is brought to. The package only raises soft ones to it; but the
network hears powers, and 7 dB alone turn a voice by a cosine of 0.91, which says nothing of who speaks."""
_SPEECH_DB = -38.0
"""Against the loud parts; what is softer is a pause."""
_FLOOR_DB = -70.0
"""Against full scale; what is softer is a pause whatever else there is."""
_LOOK = 480
"""Samples over which a pause is decided: 30 ms."""
_KEPT = 3
"""Such stretches of a pause that stay on either side of speech."""


class SpeakerEncoder(nn.Module):
    """The network; read-only after :meth:`load`, so one may serve every request."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(_BANDS, SIZE, _LAYERS, batch_first=True)
        self.linear = nn.Linear(SIZE, SIZE)

    @classmethod
    def load(cls) -> "SpeakerEncoder":
        """With the published weights. Raises UsageError that names the extra if they are not installed."""
        path = package_file("resemblyzer", "pretrained.pt", "comparing speakers")
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        network = cls()
        wanted = network.state_dict().keys()
        network.load_state_dict({name: state[name] for name in wanted})
        return network.eval().requires_grad_(False)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """Mel powers [B, 160, 40] -> embeddings [B, 256] of unit length, none of them negative."""
        _, (hidden, _) = self.lstm(mels)
        raw = self.linear(hidden[-1]).relu()
        return raw / raw.norm(dim=1, keepdim=True).clamp(min=1e-9)

    def embed(self, speech: Samples) -> Embedding:
        """16 kHz speech [n] without long pauses -> the mean over its pieces, [256] of unit length."""
        starts = _piece_starts(len(speech))
        reach = (starts[-1] + _PIECE) * _HOP
        mel = mel_power(np.pad(speech, (0, max(0, reach - len(speech)))), _RATE, _WINDOW, _HOP, _BANDS)
        pieces = torch.from_numpy(
            np.stack([mel[start : start + _PIECE] for start in starts]).astype(np.float32)
        )
        with torch.inference_mode():
            made = torch.cat([self(part) for part in pieces.split(_BATCH)]).numpy()
        mean = made.mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)


def speaker_embedding(audio: Samples, rate: int) -> Embedding:
    """Mono ``audio`` [n] -> [256], unit length.

    Raises UsageError when the extra is missing, or when there is too little speech or too much audio.
    """
    return _encoder().embed(speech_of(audio, rate))


def speakers_embedding(clips: list[tuple[Samples, int]]) -> Embedding:
    """The embedding of a speaker of whom there are several clips: the mean of theirs, unit length."""
    if not clips:
        raise UsageError("there is no clip to compare")
    mean = np.mean([speaker_embedding(audio, rate) for audio, rate in clips], axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def similarity(a: Embedding, b: Embedding) -> float:
    """The cosine between two embeddings: from 0 to 1 here, as none has negative numbers."""
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def speech_of(audio: Samples, rate: int) -> Samples:
    """What the network hears: 16 kHz, as loud as any other recording, pauses cut down to 0.2 s."""
    if np.ndim(audio) != 1 or rate < 4000:
        raise UsageError(f"a speaker is heard in one channel of at least 4000 Hz, not {rate} Hz")
    if len(audio) > SECONDS_LIMIT * rate:
        raise UsageError(f"the recording lasts more than {SECONDS_LIMIT:g} s", hint="cut it into pieces")
    sound = np.nan_to_num(np.asarray(audio, np.float32))
    if rate != _RATE:
        sound = np.asarray(soxr.resample(sound, rate, _RATE, quality="HQ"), np.float32)
    stretches = sound[: len(sound) // _LOOK * _LOOK].reshape(-1, _LOOK)
    levels = 10 * np.log10(np.mean(np.square(stretches, dtype=np.float64), axis=1) + 1e-12)
    spoken = levels > max(_FLOOR_DB, np.percentile(levels, 95) + _SPEECH_DB) if len(levels) else levels > 0
    if spoken.sum() * _LOOK < LEAST_SECONDS * _RATE:
        raise UsageError("there is too little speech to tell a speaker", hint="give at least 3 seconds")
    near = np.convolve(spoken, np.ones(2 * _KEPT + 1), mode="same")[: len(spoken)] > 0
    speech = stretches[near].reshape(-1)
    level = 10 * np.log10(np.mean(np.square(speech, dtype=np.float64)) + 1e-12)
    return np.asarray(speech * 10 ** ((_LOUDNESS_DB - level) / 20), np.float32)


def _piece_starts(samples: int) -> list[int]:
    """First frames of the pieces: evenly spaced, the last one only if it is mostly filled."""
    frames = -(-(samples + 1) // _HOP)
    step = round(_RATE / _PIECES_A_SECOND / _HOP)
    starts = list(range(0, max(1, frames - _PIECE + step + 1), step))
    if len(starts) > 1 and samples - starts[-1] * _HOP < _COVERAGE * _PIECE * _HOP:
        starts.pop()
    return starts


@cache
def _encoder() -> SpeakerEncoder:
    return SpeakerEncoder.load()
