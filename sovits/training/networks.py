"""The networks of SoVITS training: the release's own, the posterior, and discriminators if the base has any.

What only training needs comes from the base's *training part*, a file of ``enc_q.*`` and ``disc.*`` tensors.
Without one the posterior is new, and there are no discriminators. Follows specs/training.md.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from p2pvoice.sovits.layers import load_exactly
from p2pvoice.sovits.sizes import Config, SoVitsSettings, Tensors
from p2pvoice.sovits.vits import CODEBOOK, UNUSED_BUFFERS, SoVits

from .discriminators import PREFIX, Discriminators
from .parts import belongs

POSTERIOR = "enc_q"
DROPOUT = 0.1
"""Of the published v1 and v2; the Pro models have none."""


@dataclass(frozen=True)
class Networks:
    """All in float32 on one device, in tensors of their own."""

    voice: SoVits
    judges: Discriminators | None
    new_posterior: bool
    """Whether the posterior was made here, from random numbers."""

    def training_part(self) -> dict[str, Tensor]:
        """What a release may add for others to go on from: ``enc_q.*``, and ``disc.*`` if there are any."""
        part = {k: v for k, v in self.voice.state_dict().items() if belongs(k, [POSTERIOR])}
        judges = self.judges.state_dict() if self.judges else {}
        part |= {PREFIX + k: v for k, v in judges.items()}
        return {k: v.to("cpu", copy=True) for k, v in part.items()}


def build(
    tensors: Tensors, config: Config, part: Tensors | None, dropout: float | None, device: torch.device
) -> Networks:
    """The networks that ``tensors`` and the training part ``part`` were saved from.

    ``dropout`` None is the published one. New weights are drawn from torch's global generator. Raises
    BadCheckpointError.
    """
    part = part or {}
    posterior = {k: v for k, v in part.items() if belongs(k, [POSTERIOR])}
    given = {k: v for k, v in tensors.items() if not belongs(k, [POSTERIOR])} | posterior
    s = SoVitsSettings.from_tensors(given, config)
    if dropout is None:
        dropout = 0.0 if s.speaker_dim else DROPOUT
    voice = SoVits(replace(s, dropout=dropout), posterior=True)
    if not posterior:
        given |= {f"{POSTERIOR}.{k}": v for k, v in voice.enc_q.state_dict().items()}
    for name in UNUSED_BUFFERS:
        given[CODEBOOK + name] = torch.zeros_like(voice.get_buffer(CODEBOOK + name))
    load_exactly(voice, _copies(given))
    adversary = {k.removeprefix(PREFIX): v for k, v in part.items() if k.startswith(PREFIX)}
    judges = Discriminators.from_tensors(_copies(adversary)).to(device) if adversary else None
    return Networks(voice.to(device), judges, not posterior)


def _copies(tensors: Tensors) -> dict[str, Tensor]:
    """Training writes into its tensors; those of the release must stay as they are."""
    return {k: v.detach().float().clone() for k, v in tensors.items()}
