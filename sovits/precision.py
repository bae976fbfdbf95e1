"""How exactly a voice computes: what ``exact`` and ``fast`` mean on each kind of device.

``auto`` is exact on the CPU and fast on a graphics device, where the published pipelines use half precision
as well. This only chooses; the networks do the rest. Follows specs/speed.md.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.gpt import Text2Semantic, without_prefix
from p2pvoice.sovits.packed import PackedGpt, packable
from p2pvoice.sovits.sizes import Config, GptSettings, Tensors

Precision = Literal["auto", "exact", "fast"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

NO_FAST = "this installation has no native code for this voice and processor: fast is no faster than exact"
"""What a voice says that was to be fast on a CPU and cannot be."""


def best_device() -> torch.device:
    """The graphics device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def is_fast(precision: str, device: torch.device) -> bool:
    """Whether ``precision`` means fast on ``device``; UsageError for a word that is none."""
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}", hint="precisions: " + " ".join(PRECISIONS))
    return device.type != "cpu" if precision == "auto" else precision == "fast"


def decoder(
    tensors: Tensors, config: Config, device: torch.device, *, fast: bool
) -> tuple[Text2Semantic | PackedGpt, str | None]:
    """The decoder of a voice on ``device``, and what the user should hear about it.

    On the CPU the packed one where it can be, else float32. Elsewhere half precision when fast, else float32.
    Raises BadCheckpointError.
    """
    if device.type != "cpu":
        model = Text2Semantic.from_tensors(tensors, config).to(device)
        return (model.half() if fast else model), None
    if packable(GptSettings.from_tensors(without_prefix(tensors), config)):
        return PackedGpt.from_tensors(tensors, config, fast=fast), None
    return Text2Semantic.from_tensors(tensors, config), NO_FAST if fast else None


def around_sovits(device: torch.device, *, fast: bool) -> AbstractContextManager[object]:
    """What the second network runs within: half precision on a graphics device when fast."""
    if fast and device.type != "cpu":
        return torch.autocast(device.type, torch.float16)
    return nullcontext()
