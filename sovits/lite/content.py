"""The lite family's content encoder: which sound is being made, at every fiftieth of a second of a recording.

A small convolutional network over a log mel spectrum; with a transcript, ``align`` turns its probabilities
into codes. It belongs to the family as the HuBERT belongs to GPT-SoVITS: every voice of the family uses the
same one. What this module is not for: pitch, and speakers. Follows specs/lite.md.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np
import torch
import torchaudio.functional
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.audio import linear_spectrogram
from p2pvoice.sovits.layers import load_exactly
from p2pvoice.sovits.sizes import Config, Tensors
from p2pvoice.sovits.weightless import weightless

from . import units

SAMPLE_RATE: Final = 24_000
WINDOW: Final = 1024
HOP: Final = 240
"""Samples of a column of the spectrum: 100 a second."""
BANDS: Final = 80
FLOOR: Final = 1e-4
RATE: Final = 50
"""Rows of the answer a second: two to a code."""
SIZE_LIMIT: Final = 4096
"""Largest of the network's sizes that is accepted from a file."""
SAMPLES_LIMIT: Final = 600 * SAMPLE_RATE
"""Longest recording that is heard at once: ten minutes."""


@dataclass(frozen=True)
class ContentSettings:
    """Sizes of the network."""

    width: int = 192
    hidden: int = 576
    blocks: int = 7
    kernel: int = 9
    sounds: int = len(units.NAMES)

    def to_config(self) -> dict[str, int]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """What ``to_config`` gave. Raises BadCheckpointError for a size that is missing or out of bounds."""
        sizes: dict[str, int] = {}
        for name in asdict(cls()):
            size = config.get(name)
            if not isinstance(size, int) or not 1 <= size <= SIZE_LIMIT:
                raise BadCheckpointError(
                    f"a content encoder's {name} is 1 to {SIZE_LIMIT}", hint="install p2pvoice again"
                )
            sizes[name] = size
        return cls(**sizes)


@lru_cache
def _filters() -> Tensor:
    return torchaudio.functional.melscale_fbanks(
        WINDOW // 2 + 1, 0.0, SAMPLE_RATE / 2, BANDS, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    ).T.contiguous()


def log_mel(audio: Tensor) -> Tensor:
    """Samples at 24 kHz [B, n * HOP] -> log mel spectrum [B, BANDS, n], without any normalisation."""
    return (_filters().to(audio.device) @ linear_spectrogram(audio, WINDOW, HOP)).clamp(min=FLOOR).log()


class _Block(nn.Module):
    """A ConvNeXt block: Liu et al., "A ConvNet for the 2020s", 2022."""

    def __init__(self, s: ContentSettings) -> None:
        super().__init__()
        self.along = nn.Conv1d(s.width, s.width, s.kernel, padding=s.kernel // 2, groups=s.width)
        self.norm = nn.LayerNorm(s.width)
        self.widen = nn.Linear(s.width, s.hidden)
        self.narrow = nn.Linear(s.hidden, s.width)
        self.gain = nn.Parameter(torch.full((s.width,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(F.gelu(self.widen(self.norm(self.along(x).mT))))
        return x + (y * self.gain).mT


class ContentEncoder(nn.Module):
    """Log mel spectrum in, one logit for each sound of ``units.NAMES`` out, 50 times a second."""

    def __init__(self, settings: ContentSettings | None = None) -> None:
        super().__init__()
        s = self.settings = settings or ContentSettings()
        self.first = nn.Conv1d(BANDS, s.width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(_Block(s) for _ in range(s.blocks))
        self.norm = nn.LayerNorm(s.width)
        self.head = nn.Linear(s.width, s.sounds)

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Build the encoder that ``tensors`` were saved from, in float32 and ready to hear.

        Raises BadCheckpointError.
        """
        settings = ContentSettings.from_config(config)
        with weightless():
            encoder = cls(settings)
        load_exactly(encoder, tensors)
        return encoder.eval()

    def forward(self, mel: Tensor) -> Tensor:
        """[B, BANDS, n] -> [B, n / 2, sounds]. The mean over time is taken out first."""
        x = F.gelu(self.first((mel - mel.mean(2, keepdim=True)) / 3))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x.mT))

    @torch.inference_mode()
    def log_probabilities(self, audio: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of every sound at every fiftieth of a second of 24 kHz audio: [len(audio) // 480, sounds].

        Raises ValueError for less than a tenth of a second, or more than SAMPLES_LIMIT.
        """
        if not SAMPLE_RATE // 10 <= len(audio) <= SAMPLES_LIMIT:
            raise ValueError(f"between {SAMPLE_RATE // 10} and {SAMPLES_LIMIT} samples can be heard at once")
        whole = len(audio) // (2 * HOP) * 2 * HOP
        samples = torch.from_numpy(np.ascontiguousarray(audio[:whole], np.float32))[None]
        return self(log_mel(samples))[0].log_softmax(-1).double().numpy()
