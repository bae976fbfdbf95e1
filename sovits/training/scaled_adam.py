"""ScaledAdam: Adam whose steps are relative to the size of each tensor, and which learns that size apart.

After Zipformer (arXiv 2310.11230). A tensor is its root mean square times a
direction. The direction moves by Adam's step times that root, so that the relative change is alike for every
tensor; the size moves by an Adam of its own, at a tenth of the rate. Not implemented: that recipe's
clipping by the median of recent gradients. Follows specs/training.md.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

SIZE_RATE = 0.1
"""Rate of learning a size, relative to the direction's."""
LEAST_SIZE, LARGEST_SIZE = 1e-5, 3.0
"""A tensor smaller than this moves as if it had it; one larger is not let grow."""


class ScaledAdam(Optimizer):
    """A tensor of one number has no direction: it moves by plain Adam at the rate of sizes."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        rate: float = 0.002,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": rate, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            if parameter.numel() > 1:
                state["size_mean"], state["size_square"] = parameter.new_zeros(()), parameter.new_zeros(())
        state["step"] += 1
        rate, (first, second), eps = group["lr"], group["betas"], group["eps"]
        # Both moments start at zero; this makes up for it.
        warm = (1 - second ** state["step"]) ** 0.5 / (1 - first ** state["step"])

        def adam(mean: Tensor, square: Tensor, gradient: Tensor) -> Tensor:
            mean.lerp_(gradient, 1 - first)
            square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
            return mean / (square.sqrt() + eps) * warm

        change = adam(state["mean"], state["square"], gradient)
        if parameter.numel() == 1:
            parameter.sub_(change, alpha=rate * SIZE_RATE)
            return
        size = parameter.square().mean().sqrt()
        direction = parameter / size.clamp(min=LEAST_SIZE)
        growth = adam(state["size_mean"], state["size_square"], (gradient * direction).sum())
        growth = torch.where(size > LARGEST_SIZE, growth.clamp(min=0.0), growth)
        # Along the direction the tensor grows or shrinks as a whole; the rest turns it.
        parameter.sub_(size.clamp(min=LEAST_SIZE) * rate * (change + SIZE_RATE * growth * direction))
