"""The reversed flow of SoVITS for inference on the CPU: the numbers of ``vits.Flow`` with less work.

Built from a folded flow, for one sentence without padding; time comes first, [T, C]. The style's part is
added to the biases, and turning the channels is left to indexes. Follows specs/speed.md.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from p2pvoice.sovits.fast_conv import FastConv, Workspace
from p2pvoice.sovits.heeding import heed

if TYPE_CHECKING:
    from p2pvoice.sovits.vits import Coupling, Flow


class _FastCoupling:
    def __init__(self, coupling: "Coupling") -> None:
        net = coupling.enc
        self.pre, self.post, self.cond = coupling.pre, coupling.post, net.cond_layer
        self.gates = [FastConv(conv.weight.detach(), conv.bias.detach()) for conv in net.in_layers]
        self.mixes = [(conv.weight[..., 0].T.contiguous(), conv.bias) for conv in net.res_skip_layers]

    def shift(self, kept: Tensor, style: Tensor, space: Workspace) -> Tensor:
        """[T, half] and [1, gin, 1] -> what the other half moves by, [T, half]."""
        x = torch.addmm(self.pre.bias, kept, self.pre.weight[..., 0].T)
        conditions = self.cond(style)[0, :, 0].chunk(len(self.gates))
        skipped = torch.zeros_like(x)
        layout = self.gates[0].layout(len(x))
        for gate, (mix, bias), condition in zip(self.gates, self.mixes, conditions, strict=True):
            heed()
            buffer = gate.buffer(layout, space)
            layout.write(x, buffer, 1.0)
            a, b = gate.run(layout, buffer, space, gate.bias + condition)[: len(x)].chunk(2, dim=1)
            y = torch.addmm(bias, a.tanh().mul_(b.sigmoid()), mix)
            if y.shape[1] == x.shape[1]:  # The last layer only skips.
                skipped += y
            else:
                residual, skip = y.chunk(2, dim=1)
                x += residual
                skipped += skip
        return torch.addmm(self.post.bias, skipped, self.post.weight[..., 0].T)


class FastFlow:
    """``flow`` must be folded and on the CPU, in float32 or float64."""

    def __init__(self, flow: "Flow") -> None:
        self.couplings = [_FastCoupling(coupling) for coupling in reversed(list(flow.flows.values()))]

    @torch.inference_mode()
    def __call__(self, x: Tensor, style: Tensor) -> Tensor:
        """[1, inter, T] and [1, gin, 1] -> [1, inter, T]."""
        rows, space = x[0].T.contiguous(), Workspace(x)
        for coupling in self.couplings:
            rows = rows.flip(1)
            kept, moved = rows.chunk(2, dim=1)
            moved -= coupling.shift(kept, style, space)
        return rows.T[None]
