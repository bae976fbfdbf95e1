"""The text-to-semantic decoder as it speaks on a processor: narrow weights, and a step in one native call.

A step multiplies every weight with one vector, so it lasts as long as reading the weights. Here they lie in
one stretch of memory as float16 (half the bytes of float32, and exact where the file held float16, as every
bundle does) or, when asked to be fast, as int8 with one scale a row; native/step.c widens them as it goes.
The prompt is read in float32 with PyTorch, one layer widened at a time. Not for training and not for
graphics devices: there Text2Semantic itself speaks. Follows specs/speed.md.
"""

import functools
import struct
from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.gpt import Cache, Text2Semantic, places, without_prefix
from p2pvoice.sovits.heeding import heed
from p2pvoice.sovits.layers import check_exactly, load_exactly
from p2pvoice.sovits.sizes import Config, GptSettings, Tensors
from p2pvoice.sovits.weightless import weightless

_step: Any
try:
    from p2pvoice.sovits import _step
except ImportError:
    # It is optional: built where a C compiler is, see pyproject.toml.
    _step = None

LANES = 16
"""Every size that the native code walks through is a multiple of this."""
TYPES = {torch.float32: 0, torch.float16: 1, torch.int8: 2}
"""How native/step.c numbers the types of stored numbers."""

MATRICES = ("self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2")
NORMS = ("norm1", "norm2")


def levels() -> tuple[str, ...]:
    """Instruction sets that the native step can use on this machine, the best first; often none."""
    return () if _step is None else tuple(_step.levels)


def packable(s: GptSettings) -> bool:
    """Whether a decoder of these sizes can be stepped natively on this machine."""
    sizes = (s.width, s.width // s.heads, s.feed_forward)
    return bool(levels()) and all(size % LANES == 0 for size in sizes)


@functools.cache
def multiplies_whole_numbers() -> bool:
    """Whether PyTorch multiplies int8 matrices here without error; some processors' instructions saturate."""
    if not hasattr(torch, "_int_mm"):
        return False
    large = torch.full((64, 64), 127, dtype=torch.int8)
    return bool((torch._int_mm(large, -large) == -127 * 127 * 64).all())


class PackedGpt:
    """A decoder that reads and steps; the same calls as Text2Semantic, on the CPU."""

    def __init__(self, front: Text2Semantic, tensors: Tensors, *, fast: bool, level: str = "") -> None:
        """``front`` holds everything but the layers, ``tensors`` the layers under their own names."""
        self.settings = s = front.settings
        self.front, self.level = front, level or levels()[0]
        self.whole_numbers = fast and multiplies_whole_numbers()
        """Whether prefill multiplies int8 with int8; else it widens the weights, as in exact."""
        layers = range(s.layers)
        weights = {(i, name): tensors[_weight(i, name)] for i in layers for name in MATRICES}
        exact = all(_fits_half(tensor) for tensor in weights.values())
        kind = torch.int8 if fast else torch.float16 if exact else torch.float32
        self.cache_type = torch.float16 if fast else torch.float32
        arena = torch.empty(sum(w.numel() for w in weights.values()), dtype=kind)
        self._largest = max(w.numel() for w in weights.values())
        # One scratch for all: a new one for each matrix would leave the heap full of holes.
        wide = torch.empty(self._largest if fast else 0)
        self.weights: dict[tuple[int, str], Tensor] = {}
        self.scales: dict[tuple[int, str], Tensor] = {}
        at = 0
        for key, weight in weights.items():
            room = arena[at : at + weight.numel()].view(weight.shape)
            at += weight.numel()
            if fast:
                self.scales[key] = _quantise(weight, room, wide)
            else:
                room.copy_(weight)
            self.weights[key] = room
        self.vectors = {
            name: tensors[name].detach().to(torch.float32, copy=True) for name in _vector_names(s)
        }
        last = front.ar_predict_layer.weight
        self.last = last.half() if _fits_half(last) else last
        self._plan = self._planned()
        self._places = torch.empty(0, s.width)

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config, *, fast: bool = False) -> Self:
        """As ``Text2Semantic.from_tensors``, but a float32 copy of all weights never exists.

        Raises BadCheckpointError.
        """
        plain = without_prefix(tensors)
        settings = GptSettings.from_tensors(plain, config)
        with weightless():
            front = Text2Semantic(settings)
        check_exactly(front, plain)
        front.h = nn.ModuleDict({"layers": nn.ModuleList()})
        load_exactly(front, {k: v for k, v in plain.items() if not k.startswith("h.")})
        return cls(front.eval().requires_grad_(False), plain, fast=fast)

    def nbytes(self) -> int:
        """Bytes of the layers' weights in memory."""
        return sum(w.nbytes for w in (*self.weights.values(), *self.scales.values()))

    def to(self, device: torch.device | str) -> Self:
        """This one stays where it is; ValueError for a place elsewhere."""
        if torch.device(device).type != "cpu":
            raise ValueError("a packed decoder speaks on the CPU only")
        return self

    @torch.inference_mode()
    def prefill(
        self, phones: Tensor, bert: Tensor | None, prompt: Tensor | None, room: int
    ) -> tuple[Tensor, Cache]:
        """As ``Text2Semantic.prefill``."""
        x, mask, text = self.front.opening(phones, bert, prompt)
        prompted = x.shape[1] - text
        cache = Cache(self.settings, x.shape[1] + room, x.new_empty(0, dtype=self.cache_type))
        cache.audio_position = prompted
        self._reach(prompted + room)
        s, x = self.settings, x[0]  # [T, W]
        wide = torch.empty(0 if self.whole_numbers else self._largest)
        for i in range(s.layers):
            heed()
            last = i == s.layers - 1
            fused = self._linear(i, "self_attn.in_proj", x, wide)
            q, k, v = fused.unflatten(-1, (3, s.heads, -1)).permute(1, 2, 0, 3).unsqueeze(1)
            cache.extend(i, k, v)
            if last:  # Only what follows the last position is asked for.
                x, q, mask = x[-1:], q[:, :, -1:], mask[:, :, -1:]
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            attended = self._linear(i, "self_attn.out_proj", y[0].transpose(0, 1).flatten(1), wide)
            x = self._norm(i, "norm1", x + attended)
            inner = self._linear(i, "linear1", x, wide).relu_()
            x = self._norm(i, "norm2", x + self._linear(i, "linear2", inner, wide))
        cache.filled = prompted + text
        return self.front.ar_predict_layer(x[-1]), cache

    @torch.inference_mode()
    def step(self, code: int, cache: Cache) -> Tensor:
        """As ``Text2Semantic.step``; ValueError when the cache is full."""
        self._reach(cache.audio_position + 1)
        x = self.front.ar_audio_embedding["word_embeddings"].weight[code] + self._places[cache.audio_position]
        logits = torch.empty(self.settings.vocab)
        _step.step(
            self.level,
            self._plan,
            cache.keys.data_ptr(),
            cache.values.data_ptr(),
            cache.capacity,
            cache.filled,
            x.data_ptr(),
            logits.data_ptr(),
        )
        cache.audio_position += 1
        cache.filled += 1
        return logits

    def _linear(self, i: int, name: str, x: Tensor, wide: Tensor) -> Tensor:
        """[T, columns] -> [T, rows], in float32; the weight is widened into ``wide``."""
        weight = self.weights[i, name]
        if self.whole_numbers:
            # Each position gets a scale of its own, as each row of the weight has.
            scale = x.abs().amax(dim=-1, keepdim=True) / 127.0
            product = torch._int_mm((x / scale.clamp_min(1e-30)).round().to(torch.int8), weight.mT)
            return product * (scale * self.scales[i, name]) + self.vectors[_bias(i, name)]
        if weight.dtype != torch.float32:
            room = wide[: weight.numel()].view(weight.shape)
            if weight.dtype == torch.int8:
                weight = torch.mul(weight, self.scales[i, name][:, None], out=room)
            else:
                weight = room.copy_(weight)
        return F.linear(x, weight, self.vectors[_bias(i, name)])

    def _norm(self, i: int, name: str, x: Tensor) -> Tensor:
        weight, bias = (self.vectors[f"h.layers.{i}.{name}.{leaf}"] for leaf in ("weight", "bias"))
        return F.layer_norm(x, x.shape[-1:], weight, bias)

    def _reach(self, count: int) -> None:
        """Have the first ``count`` positions of codes ready."""
        if len(self._places) < count:
            steps = places(max(count, 2 * len(self._places)), self.settings.width)
            self._places = self.front.ar_audio_position.alpha * steps

    def _planned(self) -> bytes:
        """What native/step.c reads: struct plan."""
        s = self.settings
        types = (TYPES[self.weights[0, MATRICES[0]].dtype], TYPES[self.last.dtype], TYPES[self.cache_type])
        numbers = [s.layers, s.width, s.heads, s.feed_forward, s.vocab, *types]
        numbers += [self.last.data_ptr(), 0, 0]
        for i in range(s.layers):
            for name in MATRICES:
                scale = self.scales.get((i, name))
                numbers.append(self.weights[i, name].data_ptr())
                numbers.append(0 if scale is None else scale.data_ptr())
                numbers.append(self.vectors[_bias(i, name)].data_ptr())
            for name in NORMS:
                numbers += [
                    self.vectors[f"h.layers.{i}.{name}.{leaf}"].data_ptr() for leaf in ("weight", "bias")
                ]
        return struct.pack(f"@{len(numbers)}q", *numbers)


def _weight(i: int, name: str) -> str:
    return f"h.layers.{i}.{name}" + ("_weight" if name.endswith("in_proj") else ".weight")


def _bias(i: int, name: str) -> str:
    return f"h.layers.{i}.{name}" + ("_bias" if name.endswith("in_proj") else ".bias")


def _vector_names(s: GptSettings) -> Iterator[str]:
    for i in range(s.layers):
        yield from (_bias(i, name) for name in MATRICES)
        yield from (f"h.layers.{i}.{name}.{leaf}" for name in NORMS for leaf in ("weight", "bias"))


def _fits_half(tensor: Tensor) -> bool:
    """Whether every number of a tensor is a float16 number."""
    return tensor.dtype == torch.float16 or bool((tensor.half().to(tensor.dtype) == tensor).all())


def _quantise(weight: Tensor, room: Tensor, scratch: Tensor) -> Tensor:
    """Write int8 rows into ``room`` and return their scales [rows]: the largest of a row becomes 127."""
    wide = scratch[: weight.numel()].view(weight.shape).copy_(weight)
    # A row of zeros has no largest number; any scale does for it.
    scale = (torch.linalg.vector_norm(wide, ord=float("inf"), dim=1) / 127.0).clamp_min(1e-30)
    room.copy_(wide.div_(scale[:, None]).round_())
    return scale
