"""A sentence becomes sound while its codes are still being drawn: which pieces, and how they are joined.

Codes go in one by one; as soon as enough of them are there a piece of sound comes out. A piece is decoded
from a window of codes with what lies around it, and its first frame is blended with what the piece before
foretold of the same frame from the same noise. Not for how a window is decoded: see windows and lite.windows;
nor for drawing the codes. Follows specs/streaming.md.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FRAMES_PER_CODE = 2
"""A semantic code covers two frames of the latent (25 Hz against 50 Hz)."""
FIRST_CODES = 8
"""Codes of the first piece: 0.32 s of speech."""
GROWTH = 1.5
"""Each piece is so many times as long as the one before. While one is heard the next is made, so what is made
in two thirds of the time in which it is heard has no gaps."""
LARGEST_CODES = 80
"""No piece is longer: 3.2 s."""
KNEE = 0.9
"""What is louder is bent softly towards 1: the peak of a sentence is not known while it is being made."""

Audio = NDArray[np.float32]


class Windows(Protocol):
    """Decodes any stretch of one sentence. Stretches come in order, each beginning where the last one ended.

    ``ahead`` is how many codes must be there beyond a stretch, ``hop`` the samples of a frame.
    """

    ahead: int
    hop: int

    def decode(self, codes: list[int], first: int, last: int, *, whole: bool) -> Tensor:
        """Samples [(last - first) * hop] of the frames from ``first`` up to ``last``; ``whole`` says that no
        codes will follow those that are there."""

    def skip(self, frames: int, generator: torch.Generator) -> None:
        """Draw from a request's generator what decoding so many frames as one would draw from it."""


def sizes() -> Iterator[int]:
    """Codes of the first piece, of the second, and so on for ever."""
    size = FIRST_CODES
    while True:
        yield min(size, LARGEST_CODES)
        size = min(int(size * GROWTH), LARGEST_CODES)


def frames_of(codes: int, speed: float) -> int:
    """Frames that so many codes of an unfinished sentence give for certain."""
    return int(codes * FRAMES_PER_CODE / speed)


def frames_in(codes: int, speed: float) -> int:
    """Frames of a whole sentence; the published decoder has one more at any speed but 1."""
    return frames_of(codes, speed) + (speed != 1.0)


class FrameNoise:
    """Normal noise of a sentence, drawn frame by frame, so that overlapping windows see the same."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        self._width, self._generator = width, generator
        self._rows: list[Tensor] = []

    def window(self, first: int, last: int) -> Tensor:
        """The noise of some frames: [1, width, last - first], on the CPU."""
        while len(self._rows) < last:
            self._rows.append(torch.randn(self._width, generator=self._generator))
        return torch.stack(self._rows[first:last], dim=1)[None]


class Pieces:
    """The sound of one sentence, piece by piece: float32 within -1 and 1."""

    def __init__(self, windows: Windows, speed: float) -> None:
        self._windows, self._speed = windows, speed
        self._sizes = sizes()
        self._codes: list[int] = []
        self._end = next(self._sizes)
        """Where the next piece ends, in codes."""
        self._spoken = 0
        """Frames that were handed out."""
        self._foretold: Tensor | None = None
        """The frame after them, as the last piece heard it."""

    def add(self, code: int) -> Audio | None:
        """Take a code; a piece, when it can be made now."""
        self._codes.append(code)
        if len(self._codes) < self._end + self._windows.ahead:
            return None
        last = frames_of(self._end, self._speed)
        made = self._windows.decode(self._codes, self._spoken, last + 1, whole=False)
        self._end += next(self._sizes)
        return self._joined(made, last)

    def end(self) -> Audio:
        """The last piece, when all codes are there."""
        last = frames_in(len(self._codes), self._speed)
        return self._joined(self._windows.decode(self._codes, self._spoken, last, whole=True), last)

    def _joined(self, made: Tensor, last: int) -> Audio:
        hop = self._windows.hop
        if self._foretold is not None:
            # Both are the same frame from the same noise, so they agree in phase: the sum keeps its loudness.
            share = (torch.arange(hop, device=made.device) + 0.5) / hop
            blended = self._foretold * (1 - share) + made[:hop] * share
            made = torch.cat([blended, made[hop:]])
        count = (last - self._spoken) * hop
        self._spoken, self._foretold = last, made[count:] if len(made) > count else None
        return within(made[:count].float().cpu().numpy())


def within(audio: Audio) -> Audio:
    """Samples of any size within -1 and 1, those up to KNEE as they are."""
    loud = np.abs(audio)
    if not (loud > KNEE).any():
        return audio
    bent = KNEE + (1 - KNEE) * np.tanh((loud - KNEE) / (1 - KNEE))
    return np.where(loud > KNEE, np.sign(audio) * bent, audio).astype(np.float32)


def stretched(rows: Tensor, origin: int, first: int, last: int, speed: float) -> Tensor:
    """Rows [B, C, L] of the frames from ``origin`` on -> those of frames ``first`` to ``last`` at a speed.

    Linear interpolation with the middles of frames as places; beyond the last row stands that row again.
    """
    if speed == 1.0:
        return rows[..., first - origin : last - origin]
    place = (torch.arange(first, last, device=rows.device, dtype=torch.float64) + 0.5) * speed - 0.5
    place = (place.clamp(min=0.0) - origin).clamp(0.0, rows.shape[-1] - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=rows.shape[-1] - 1)
    return torch.lerp(rows[..., below], rows[..., above], (place - below).to(rows.dtype))


def source_of(frame: int, speed: float) -> int:
    """The first frame at speed 1 that a frame at this speed needs."""
    return frame if speed == 1.0 else max(0, int((frame + 0.5) * speed - 0.5))
