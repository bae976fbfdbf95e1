"""What every side of the benchmark gets: the same full-size weights, the same phones, codes and style.

Weights are those of the golden numbers (filler.py), in float16 as a bundle holds them, but for the row of
the end token: zeros there never win a draw, so every sentence has the length that was asked for. Not for
who computes: see side.py and cpufast.py. Follows specs/speed.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import torch
from torch import Tensor

from p2pvoice.sovits.bench.filler import filled
from p2pvoice.sovits.checkpoint import file_header, map_tensors
from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.mapped import MappedFile
from p2pvoice.sovits.sizes import GptSettings, SoVitsSettings
from p2pvoice.sovits.tensorfile import write_half
from p2pvoice.sovits.vits import SoVits
from p2pvoice.sovits.weightless import weightless

GPT, SOVITS = (
    GptSettings(),
    {
        "v2": SoVitsSettings(),
        "v2Pro": SoVitsSettings(gin_channels=1024, speaker_dim=20480),
    },
)
"""The sizes of the published models."""

PROMPT_PHONES, PHONES, PROMPT_CODES = 40, 60, 125
"""A reference of five seconds and a sentence of six, as in everyday use."""

CODES_PER_SECOND = 25

Spent = tuple[float, float]
"""Seconds by the clock, and seconds of processor time of all threads."""


@dataclass(frozen=True)
class Work:
    """One sentence to speak: phones [1, 100], their features, prompt codes [1, 125], and what to decode."""

    phones: Tensor
    bert: Tensor
    prompt: Tensor
    codes: Tensor
    style: Tensor
    tokens: int

    @classmethod
    def of(cls, version: str, tokens: int) -> "Work":
        """The sentence of a version, ``tokens`` codes long."""
        random = torch.Generator().manual_seed(1)

        def whole(high: int, size: int) -> Tensor:
            return torch.randint(1, high, (1, size), generator=random)

        phones = whole(GPT.phone_vocab, PROMPT_PHONES + PHONES)
        bert = torch.randn(1, GPT.bert_dim, phones.shape[1], generator=random)
        style = 0.3 * torch.randn(1, SOVITS[version].gin_channels, 1, generator=random)
        return cls(phones, bert, whole(GPT.eos, PROMPT_CODES), whole(GPT.eos, tokens), style, tokens)


def write(folder: Path, versions: Sequence[str]) -> None:
    """Write the weights of some versions into ``folder``."""
    with weightless():
        gpt = {k: list(v.shape) for k, v in Text2Semantic(GPT).published_state().items()}
        networks = {
            name: {k: list(v.shape) for k, v in SoVits(settings).state_dict().items()}
            for name, settings in SOVITS.items()
            if name in versions
        }
    weights = filled(gpt)
    weights["model.ar_predict_layer.weight"][GPT.eos] = 0.0
    write_half(folder / "gpt.safetensors", weights, {})
    for name, shapes in networks.items():
        write_half(folder / f"{name}.safetensors", filled(shapes), {})


def read(folder: Path, name: str) -> dict[str, Tensor]:
    """The weights of ``gpt`` or of a version, lying in the file."""
    file = MappedFile(folder / f"{name}.safetensors")
    return map_tensors(file, file_header(file))


def timed(work: Callable[[], object]) -> Spent:
    """How long something takes."""
    clock, processor = perf_counter(), process_time()
    work()
    return perf_counter() - clock, process_time() - processor
