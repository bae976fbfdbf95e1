"""The block that both halves of a lite voice are stacked from.

Not for what stands around the stacks: see encoder and model. Follows specs/lite.md.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BRANCH_GAIN = 0.2
"""Fresh gain of a block's branch, so that a stack begins near the identity."""


class Block(nn.Module):
    """A ConvNeXt block whose normalised features are scaled and shifted by the style (FiLM).

    Liu et al., "A ConvNet for the 2020s", 2022; Perez et al., "FiLM", 2018.
    """

    def __init__(self, width: int, hidden: int, kernel: int, style: int) -> None:
        super().__init__()
        self.along = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.film = nn.Linear(style, 2 * width)
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)
        self.gain = nn.Parameter(torch.full((width,), BRANCH_GAIN))
        nn.init.normal_(self.film.weight, 0.0, 0.01)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B, width, T], [B, style] -> [B, width, T]."""
        y = self.along(x).mT
        y = F.layer_norm(y, y.shape[-1:])
        scale, shift = self.film(style)[:, None].chunk(2, dim=-1)
        y = self.narrow(F.gelu(self.widen(y * (1 + scale) + shift)))
        return x + (y * self.gain).mT
