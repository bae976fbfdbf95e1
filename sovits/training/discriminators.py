"""The adversary of SoVITS training: one discriminator at full scale and one for each of several periods.

Their keys and shapes are those of the published ``s2D`` files; in a release's training part each stands
behind ``disc.``. Not needed to speak. The design is that of HiFi-GAN (arXiv 2010.05646), in one scale only.
Follows specs/training.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.layers import load_exactly
from p2pvoice.sovits.sizes import Sizes, Tensors, shapes_of
from p2pvoice.sovits.weightless import weightless

PREFIX = "disc."
"""What stands before the published keys in a training part."""
PERIODS = (2, 3, 5, 7, 11, 17, 23)
"""The first five for v1 and v2, all for the Pro models."""
LEAK = 0.1
SCALE_KERNELS, SCALE_STRIDES = (15, 41, 41, 41, 41, 5), (1, 4, 4, 4, 4, 1)
PERIOD_KERNEL, PERIOD_STRIDES = 5, (3, 3, 3, 3, 1)
LAST_KERNEL = 3

Verdict = tuple[Tensor, list[Tensor]]
"""What a discriminator says of each place, near 1 for true, and the features behind it, its own word last."""


@dataclass(frozen=True)
class DiscriminatorSizes:
    """Widths of the two kinds; the defaults are the published ones of v1 and v2."""

    periods: tuple[int, ...] = PERIODS[:5]
    scale_widths: tuple[int, ...] = (16, 64, 256, 1024, 1024, 1024)
    scale_groups: tuple[int, ...] = (1, 4, 16, 64, 256, 1)
    period_widths: tuple[int, ...] = (32, 128, 512, 1024, 1024)

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Sizes of the discriminators that ``tensors`` (published keys) were saved from."""
        size = Sizes(shapes_of(tensors))
        kinds = size.count("discriminators.") - 1
        if not 1 <= kinds <= len(PERIODS):
            raise BadCheckpointError(f"the training part has {kinds} periods; 1 to {len(PERIODS)} are known")
        scale = [f"discriminators.0.convs.{i}.weight_v" for i in range(len(SCALE_KERNELS))]
        period = [f"discriminators.1.convs.{i}.weight_v" for i in range(len(PERIOD_STRIDES))]
        widths = tuple(size(key, 0) for key in scale)
        inputs = (1, *widths[:-1])
        groups = tuple(n // size(key, 1) for n, key in zip(inputs, scale, strict=True))
        if any(g < 1 or a % g or b % g for a, b, g in zip(inputs, widths, groups, strict=True)):
            raise BadCheckpointError("the training part's convolutions cannot be grouped as their shapes say")
        return cls(PERIODS[:kinds], widths, groups, tuple(size(key, 0) for key in period))


class _Conv(nn.Module):
    """A weight-normed convolution along time: over [B, C, T], or over [B, C, T, P] where P is kept apart."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int, columns: bool
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.groups = stride, kernel // 2, groups
        shape = (outputs, inputs // groups, kernel, *((1,) if columns else ()))
        bound = (inputs // groups * kernel) ** -0.5
        direction = torch.empty(shape).uniform_(-bound, bound)
        self.axes = tuple(range(1, len(shape)))
        self.weight_g = nn.Parameter(torch.linalg.vector_norm(direction, dim=self.axes, keepdim=True))
        self.weight_v = nn.Parameter(direction)
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(self.weight_v, dim=self.axes, keepdim=True)
        weight = self.weight_v * (self.weight_g / length)
        if weight.ndim == 3:
            return F.conv1d(x, weight, self.bias, self.stride, self.padding, 1, self.groups)
        return F.conv2d(x, weight, self.bias, (self.stride, 1), (self.padding, 0), 1, self.groups)


class Discriminator(nn.Module):
    """Looks at samples in a row (period 1), or at every n-th of them as a picture n wide."""

    def __init__(
        self,
        period: int,
        widths: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        groups: Sequence[int],
    ) -> None:
        super().__init__()
        self.period = period
        shapes = zip(pairwise((1, *widths)), kernels, strides, groups, strict=True)
        columns = period > 1
        self.convs = nn.ModuleList(_Conv(a, b, k, stride, g, columns) for (a, b), k, stride, g in shapes)
        self.conv_post = _Conv(widths[-1], 1, LAST_KERNEL, 1, 1, columns)

    def forward(self, audio: Tensor) -> Verdict:
        """[B, 1, n] -> what it says, [B, places], and its features."""
        x, seen = audio, []
        if self.period > 1:
            x = F.pad(audio, (0, -audio.shape[-1] % self.period), mode="reflect").unflatten(
                -1, (-1, self.period)
            )
        for conv in self.convs:
            x = F.leaky_relu(conv(x), LEAK)
            seen.append(x)
        x = self.conv_post(x)
        return x.flatten(1), [*seen, x]


class Discriminators(nn.Module):
    """All of them."""

    def __init__(self, sizes: DiscriminatorSizes) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(
            [Discriminator(1, sizes.scale_widths, SCALE_KERNELS, SCALE_STRIDES, sizes.scale_groups)]
        )
        widths, layers = sizes.period_widths, len(sizes.period_widths)
        for period in sizes.periods:
            kernels, groups = (PERIOD_KERNEL,) * layers, (1,) * layers
            self.discriminators.append(Discriminator(period, widths, kernels, PERIOD_STRIDES, groups))

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Build those that ``tensors`` (published keys) were saved from. Raises BadCheckpointError."""
        with weightless():
            model = cls(DiscriminatorSizes.from_tensors(tensors))
        load_exactly(model, tensors)
        return model

    def forward(self, audio: Tensor) -> list[Verdict]:
        return [discriminator(audio) for discriminator in self.discriminators]
