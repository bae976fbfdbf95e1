"""The few layers that the networks of this package share, with the parameter names of the published files.

Not for anything that only one network uses: that stands beside the network. Follows specs/models.md.
"""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.sizes import Tensors


def sequence_mask(lengths: Tensor, size: int) -> Tensor:
    """[B] lengths -> [B, 1, size] float mask with ones before each length."""
    return (torch.arange(size, device=lengths.device) < lengths[:, None]).unsqueeze(1).float()


def mask_or_ones(lengths: Tensor | None, x: Tensor) -> Tensor:
    """The mask [B, 1, T] of ``x``, whose last axis is T long; without lengths nothing is padding."""
    if lengths is None:
        return torch.ones(len(x), 1, x.shape[-1], device=x.device)
    return sequence_mask(lengths, x.shape[-1])


class ChannelNorm(nn.Module):
    """Layer norm over the channels of [B, C, T]; its scale and shift are called gamma and beta."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.mT, self.gamma.shape, self.gamma, self.beta, eps=1e-5).mT


def _length(direction: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The norm of ``direction`` over ``axes``, which stay with one element."""
    if direction.is_meta:
        # PyTorch would load its compiler to find the shape.
        return torch.empty([1 if axis in axes else size for axis, size in enumerate(direction.shape)])
    return torch.linalg.vector_norm(direction, dim=axes, keepdim=True)


class WeightNormConv(nn.Module):
    """A 1-D convolution, plain or transposed, whose weight is direction times length.

    The weight is ``weight_g * weight_v / |weight_v|``, the norm being taken over every axis but ``axis``.
    ``fold`` multiplies it out once for inference; the keys then are those of a plain convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        transposed: bool = False,
        axis: int = 0,
        init_std: float | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.transposed = transposed
        shape = (inputs, outputs, kernel) if transposed else (outputs, inputs // groups, kernel)
        bound = (shape[1] * kernel) ** -0.5
        direction = torch.empty(shape)
        if init_std is None:
            nn.init.uniform_(direction, -bound, bound)
        else:
            nn.init.normal_(direction, 0.0, init_std)
        self.norm_axes = tuple(i for i in range(3) if i != axis)
        self.weight_g = nn.Parameter(_length(direction, self.norm_axes))
        self.weight_v = nn.Parameter(direction)
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def effective_weight(self) -> Tensor:
        if "weight" in self._parameters:
            return self.weight
        length = torch.linalg.vector_norm(self.weight_v, dim=self.norm_axes, keepdim=True)
        return self.weight_v * (self.weight_g / length)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.effective_weight()
        if self.transposed:
            return F.conv_transpose1d(x, weight, self.bias, self.stride, self.padding)
        return F.conv1d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    @torch.no_grad()
    def fold(self) -> Self:
        if "weight" not in self._parameters:
            weight = self.effective_weight()
            del self.weight_g, self.weight_v
            self.weight = nn.Parameter(weight, requires_grad=False)
        return self


def fold_weight_norm(module: nn.Module) -> None:
    """Multiply out every weight norm below ``module``: saves the division at each call of inference."""
    for child in module.modules():
        if isinstance(child, WeightNormConv):
            child.fold()


class Attention(nn.Module):
    """Multi-head attention over [B, C, T] from 1x1 convolutions, with an optional learned window of offsets.

    With ``window`` w there are 2w+1 learned key vectors and as many value vectors, shared by the heads; a
    pair of positions further apart than w gets none. Self-attention when ``source`` is the input itself.
    """

    def __init__(self, channels: int, heads: int, *, window: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.window, self.width = heads, window, channels // heads
        self.conv_q, self.conv_k, self.conv_v, self.conv_o = (
            nn.Conv1d(channels, channels, 1) for _ in range(4)
        )
        for projection in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.xavier_uniform_(projection.weight)
        if window:
            offsets = (1, 2 * window + 1, self.width)
            self.emb_rel_k = nn.Parameter(nn.init.normal_(torch.empty(offsets), std=self.width**-0.5))
            self.emb_rel_v = nn.Parameter(nn.init.normal_(torch.empty(offsets), std=self.width**-0.5))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """``mask`` is [B, 1, T, S], 0 where a query must not look."""
        q = self._split(self.conv_q(x)) * self.width**-0.5  # [B, H, T, D]
        k, v = self._split(self.conv_k(source)), self._split(self.conv_v(source))  # [B, H, S, D]
        scores = q @ k.mT  # [B, H, T, S]
        if self.window:
            columns, inside = self._neighbours(x.shape[-1], x.device)
            columns = columns.expand(*scores.shape[:-1], -1)  # [B, H, T, 2w+1]
            near = ((q @ self.emb_rel_k.mT) * inside).to(scores.dtype)  # Under autocast the two would differ.
            scores = scores.scatter_add(-1, columns, near)
        # A large negative number, not minus infinity: a fully masked row must stay finite.
        weights = self.dropout(scores.masked_fill(mask == 0, -1e4).softmax(-1))
        y = weights @ v  # [B, H, T, D]
        if self.window:
            y = y + (weights.gather(-1, columns) * inside) @ self.emb_rel_v
        return self.conv_o(y.mT.flatten(1, 2))  # [B, C, T]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.heads, self.width)).mT

    def _neighbours(self, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """For each position the columns of its 2w+1 neighbours, and which of them exist: both [T, 2w+1]."""
        offsets = torch.arange(-self.window, self.window + 1, device=device)
        columns = torch.arange(size, device=device)[:, None] + offsets
        return columns.clamp(0, size - 1), ((columns >= 0) & (columns < size)).float()


def check_exactly(model: nn.Module, tensors: Tensors) -> dict[str, Tensor]:
    """Refuse tensors of other keys or shapes than the model's, and return the model's own."""
    expected = model.state_dict()
    for key, slot in expected.items():
        if key not in tensors:
            raise BadCheckpointError(f"the tensor {key} is missing")
        if tensors[key].shape != slot.shape:
            found, wanted = list(tensors[key].shape), list(slot.shape)
            raise BadCheckpointError(f"the tensor {key} has the shape {found} where {wanted} was expected")
    surplus = sorted(tensors.keys() - expected.keys())
    if surplus:
        raise BadCheckpointError(
            f"{len(surplus)} tensors have no place here, the first is {surplus[0]}"[:300]
        )
    return expected


def load_exactly(model: nn.Module, tensors: Tensors) -> None:
    """Give ``model``, built on the meta device, its weights in float32; refuse other keys and shapes."""
    expected = check_exactly(model, tensors)
    model.load_state_dict({k: tensors[k].to(slot.dtype) for k, slot in expected.items()}, assign=True)
