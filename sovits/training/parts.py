"""Which parts of a network are trained, by the names that a manifest lists.

A part is a prefix of tensor names, such as ``dec.conv_post``. The last parts are those nearest to the output:
training them alone leaves every other tensor, and so most chunks of the files, as they were. Follows
specs/training.md.
"""

from collections.abc import Iterable
from typing import Literal

from torch import nn

from p2pvoice.sovits.sizes import GptSettings, SoVitsSettings

Only = Literal["all", "last-layers"]

LAST_STAGES = 3
"""Up-sampling stages of the generator that count as last: 0.75 of a published model's 41 million weights."""
LAST_SHARE = 6
"""One in so many layers of the GPT counts as last: four of a published model's 24."""


def sovits_parts(s: SoVitsSettings, only: Only) -> tuple[str, ...]:
    """The trained parts of a SoVITS network: never the codebook, nor the projection before it."""
    if only == "all":
        speaker = ("sv_emb", "ge_to512", "prelu") if s.speaker_dim else ()
        return ("enc_p", "dec", "flow", "ref_enc", *speaker)
    stages, kinds = len(s.upsample_rates), len(s.resblock_kernels)
    first = max(1, stages - LAST_STAGES)
    return (
        *(f"dec.ups.{i}" for i in range(first, stages)),
        *(f"dec.resblocks.{i}" for i in range(first * kinds, stages * kinds)),
        "dec.conv_post",
    )


def gpt_parts(s: GptSettings, only: Only) -> tuple[str, ...]:
    """The trained parts of a text-to-semantic decoder, by the published names."""
    if only == "all":
        return ("model",)
    last = max(1, s.layers // LAST_SHARE)
    return (*(f"model.h.layers.{i}" for i in range(s.layers - last, s.layers)), "model.ar_predict_layer")


def belongs(name: str, parts: Iterable[str]) -> bool:
    """Whether a tensor of that name lies in one of the parts."""
    return any(name.startswith(part + ".") for part in parts)


def train_only(model: nn.Module, parts: Iterable[str], prefix: str = "") -> None:
    """Let gradients reach ``parts`` of ``model`` and nothing else; ``prefix`` stands before its own names."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(belongs(prefix + name, parts))
