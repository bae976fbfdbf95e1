"""What SoVITS training minimises, term by term, each in float32 whatever the networks computed in.

Not for the distance of spectra, which is a plain mean. Follows specs/training.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .discriminators import Verdict


def kl_divergence(
    drawn: Tensor, log_deviation_q: Tensor, mean_p: Tensor, log_deviation_p: Tensor, mask: Tensor
) -> Tensor:
    """How far the posterior is from the prior, by one draw: summed over channels, the mean of all frames.

    ``drawn`` is the posterior's draw after the flow; all are [B, inter, T], ``mask`` is [B, 1, T]. Source:
    VITS (arXiv 2106.06103), with the posterior's own entropy in closed form.
    """
    drawn, log_deviation_q, mean_p, log_deviation_p = (
        x.float() for x in (drawn, log_deviation_q, mean_p, log_deviation_p)
    )
    gap = 0.5 * (drawn - mean_p).square() * (-2.0 * log_deviation_p).exp()
    return ((log_deviation_p - log_deviation_q - 0.5 + gap) * mask).sum() / mask.sum()


def discriminator_loss(true: Sequence[Verdict], made: Sequence[Verdict]) -> Tensor:
    """What the discriminators minimise: true audio is 1, made audio 0 (least squares)."""
    terms = [
        (1 - a.float()).square().mean() + b.float().square().mean()
        for (a, _), (b, _) in zip(true, made, strict=True)
    ]
    return torch.stack(terms).sum()


def adversarial_loss(made: Sequence[Verdict]) -> Tensor:
    """What the generator minimises of that: made audio should be taken for true."""
    return torch.stack([(1 - verdict.float()).square().mean() for verdict, _ in made]).sum()


def feature_matching(true: Sequence[Verdict], made: Sequence[Verdict]) -> Tensor:
    """Mean distance of what the discriminators see of both, layer by layer, summed."""
    terms = [
        F.l1_loss(b.float(), a.detach().float())
        for (_, seen), (_, felt) in zip(true, made, strict=True)
        for a, b in zip(seen, felt, strict=True)
    ]
    return torch.stack(terms).sum()
