"""The generator of SoVITS for inference on the CPU: the numbers of ``vits.Generator`` with less work.

It is built from a folded generator and holds its own, transformed weights. Samples lie time first, [T, C],
from the first convolution to the last; see fast_conv for how these are computed. Not for training, batches
of padded sentences or CUDA: there the plain generator runs. Follows specs/speed.md.
"""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from math import ceil, prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from p2pvoice.sovits.fast_conv import PIECE, FastConv, FastUpsample, Workspace
from p2pvoice.sovits.heeding import heed

if TYPE_CHECKING:
    from p2pvoice.sovits.vits import Generator, ResBlock

LAST_LEAK = 0.01
"""Slope of the rectifier before the last convolution."""
PIECE_ROWS = 2048
"""At least so many samples, for a piece's surroundings are computed twice."""
SHARE_ROWS = 48
"""Frames of the latent that are worth a thread of their own: its surroundings are computed twice, too."""


@lru_cache(maxsize=4)
def _helpers(count: int) -> ThreadPoolExecutor:
    """Threads that compute alone: one layer after the other of a share, instead of a share of each layer."""
    return ThreadPoolExecutor(count, "generator", initializer=partial(torch.set_num_threads, 1))


class _FastBlock:
    def __init__(self, block: "ResBlock") -> None:
        self.pairs = [
            (FastConv(a.weight, a.bias, a.dilation), FastConv(b.weight, b.bias))
            for a, b in zip(block.convs1, block.convs2, strict=True)
        ]
        self.reach = sum(conv.reach for pair in self.pairs for conv in pair)


class FastGenerator:
    """``generator`` must be folded and on the CPU, in float32 or float64.

    ``reach`` counts the frames to either side that a frame's samples depend on.
    """

    def __init__(self, generator: "Generator", leak: float, reach: int) -> None:
        g, self.leak = generator, leak
        self.cond = g.cond
        self.first = FastConv(g.conv_pre.weight.detach(), g.conv_pre.bias.detach())
        per_stage = len(g.resblocks) // len(g.ups)
        self.stages = []
        scale = 1.0
        for i, up in enumerate(g.ups):
            # The mean over the blocks of the stage before is taken by these weights.
            fast = FastUpsample(up.weight * scale, up.bias.detach(), up.stride, up.padding)
            blocks = g.resblocks[i * per_stage : (i + 1) * per_stage]
            self.stages.append((fast, [_FastBlock(block) for block in blocks]))
            scale = 1.0 / per_stage
        weight = g.conv_post.weight.detach() * scale
        self.last = FastConv(weight, weight.new_zeros(1))
        self._hop = prod(up.rate for up, _ in self.stages)
        self._reach = reach
        self._spare: list[Workspace] = []

    @torch.inference_mode()
    def __call__(self, z: Tensor, style: Tensor) -> Tensor:
        """[B, inter, T] and [B, gin, 1] -> samples [B, 1, T * hop] within -1 and 1.

        May be called from several threads at once: each then has scratch memory of its own.
        """
        biases = self.first.bias + self.cond(style)[..., 0]
        return torch.stack([self._shared(item, bias) for item, bias in zip(z.mT, biases, strict=True)])

    def _shared(self, z: Tensor, bias: Tensor) -> Tensor:
        """One sentence [T, inter] -> [1, T * hop], cut in time where there are threads for it."""
        shares = min(torch.get_num_threads(), len(z) // SHARE_ROWS)
        if shares < 2:
            return self._one(z, bias)
        size = ceil(len(z) / shares)
        work = [
            # A share is stopped like the whole, so it asks where its caller asks.
            _helpers(shares).submit(copy_context().run, self._share, z, bias, start, size)
            for start in range(0, len(z), size)
        ]
        return torch.cat([one.result() for one in work], dim=1)

    @torch.inference_mode()
    def _share(self, z: Tensor, bias: Tensor, start: int, size: int) -> Tensor:
        before = min(start, self._reach)
        made = self._one(z[start - before : start + size + self._reach], bias)
        return made[:, before * self._hop :][:, : min(size, len(z) - start) * self._hop]

    def _one(self, z: Tensor, bias: Tensor) -> Tensor:
        try:
            space = self._spare.pop()
        except IndexError:
            space = Workspace(z)
        audio = self._run(z, bias, space)
        self._spare.append(space)
        return audio

    def _run(self, z: Tensor, bias: Tensor, space: Workspace) -> Tensor:
        layout = self.first.layout(len(z))
        buffer = self.first.buffer(layout, space)
        layout.write(z.contiguous(), buffer, 1.0)
        x = self.first.run(layout, buffer, space, bias)[: len(z)]
        for up, blocks in self.stages:
            x = self._stage(up.run(x, self.leak, space), blocks, space)
        return self._last(x, space).mT

    def _last(self, x: Tensor, space: Workspace) -> Tensor:
        """[T, C] -> [T, 1]."""
        audio = x.new_empty(len(x), 1)
        size = self._piece(x)
        for start in range(0, len(x), size):
            before = min(start, self.last.reach)
            given = x[start - before : start + size + self.last.reach]
            layout = self.last.layout(len(given))
            buffer = self.last.buffer(layout, space)
            layout.write(given, buffer, LAST_LEAK)
            out = audio[start : start + size]
            torch.tanh(self.last.run(layout, buffer, space)[before : before + len(out)], out=out)
        return audio

    def _piece(self, x: Tensor) -> int:
        """Rows of a piece; all pieces are about as long."""
        return ceil(len(x) / ceil(len(x) / max(PIECE_ROWS, PIECE // x.shape[1])))

    def _stage(self, x: Tensor, blocks: list[_FastBlock], space: Workspace) -> Tensor:
        """The sum of the blocks, piece by piece: a piece and all its scratch memory stay in the cache."""
        total = torch.empty_like(x)
        size = self._piece(x)
        for start in range(0, len(x), size):
            out = total[start : start + size]
            for number, block in enumerate(blocks):
                before = min(start, block.reach)
                given = x[start - before : start + size + block.reach]
                self._block(given, block, out, before, bool(number), space)
        return total

    def _block(
        self, x: Tensor, block: _FastBlock, out: Tensor, before: int, add: bool, space: Workspace
    ) -> None:
        """Put into ``out``, or add to it, what the block makes of ``x``, from row ``before`` on."""
        current, rows = x, slice(before, before + len(out))
        for dilated, plain in block.pairs[:-1]:
            change = self._pair(current, dilated, plain, space)
            current = torch.add(current, change, out=space("current", *x.shape))
        change = self._pair(current, *block.pairs[-1], space)
        if add:
            out.add_(current[rows]).add_(change[rows])
        else:
            torch.add(current[rows], change[rows], out=out)

    def _pair(self, x: Tensor, dilated: FastConv, plain: FastConv, space: Workspace) -> Tensor:
        heed()
        spread, tight = dilated.layout(len(x)), plain.layout(len(x))
        buffer = dilated.buffer(spread, space)
        spread.write(x, buffer, self.leak)
        y = dilated.run(spread, buffer, space)
        buffer = plain.buffer(tight, space)
        spread.read(y, tight, buffer, self.leak)
        return plain.run(tight, buffer, space)[: len(x)]
