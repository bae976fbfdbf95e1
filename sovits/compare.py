"""What differs between two voices, tensor by tensor, part by part.

For: ``diff``, and for what a proposal changed. Not for whether the two can be merged (see merge), nor for how
they sound. Both bundles were admitted, and are read a slice at a time. Follows specs/merging.md, "Diff".
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from p2pvoice.protocol.pronunciation import parse
from p2pvoice.protocol.tensors import TensorInfo

from .anatomy import PARTS, REFERENCES, WORDS, part_of
from .slices import WeightFile, numbers
from .voicefile import GPT_NAME, SOVITS_NAME, VoiceFile, read_voice, read_words

Check = Callable[[float], None]
"""Told how much is done, 0 to 1; may raise to stop."""


@dataclass(frozen=True)
class Change:
    """One tensor in both voices.

    ``shape_a`` or ``shape_b`` is None where the tensor is missing. ``squared`` is the sum of squares of
    b - a, ``norm`` that of a; both 0 where the shapes differ. ``largest`` is the largest absolute difference.
    """

    name: str
    shape_a: tuple[int, ...] | None
    shape_b: tuple[int, ...] | None
    equal: bool = False
    squared: float = 0.0
    norm: float = 0.0
    largest: float = 0.0

    @property
    def part(self) -> str:
        return part_of(self.name)

    @property
    def comparable(self) -> bool:
        """Whether both have it, in one shape."""
        return self.shape_a is not None and self.shape_a == self.shape_b

    @property
    def relative(self) -> float | None:
        """``‖b − a‖ / ‖a‖``; None where it cannot be said."""
        return ratio(self.squared, self.norm) if self.comparable else None

    def to_json(self) -> dict[str, Any]:
        """As the RPC shows it: ``shape`` is one shape, or both where they are not the same."""
        shape: Any = self.shape_a if self.comparable else {"a": self.shape_a, "b": self.shape_b}
        return {
            "name": self.name,
            "part": self.part,
            "relative": self.relative,
            "max": self.largest if self.comparable else None,
            "shape": shape,
            "changed": not self.equal,
        }


def ratio(squared: float, norm: float) -> float | None:
    """The root of a ratio of sums of squares; None for a change of what was zero."""
    if not norm:
        return None if squared else 0.0
    return sqrt(squared / norm)


def compare(a: Path, b: Path, check: Check = lambda done: None) -> list[Change]:
    """Every tensor of two bundles' weight files. Raises BadCheckpointError for a file that breaks a rule."""
    found: list[Change] = []
    sizes = {name: (a / name).stat().st_size for name in (GPT_NAME, SOVITS_NAME)}
    total, before = sum(sizes.values()), 0
    for name, size in sizes.items():
        with WeightFile(a / name) as one, WeightFile(b / name) as two:
            here, there = one.tensors, two.tensors
            for tensor in dict.fromkeys([*here, *there]):
                found.append(_change(tensor, one, two, here.get(tensor), there.get(tensor)))
                if tensor in here:
                    check((before + here[tensor].end) / total)
        before += size
    return found


def _change(
    name: str, one: WeightFile, two: WeightFile, here: TensorInfo | None, there: TensorInfo | None
) -> Change:
    shapes = here.shape if here else None, there.shape if there else None
    if here is None or there is None or here.shape != there.shape:
        return Change(name, *shapes)
    equal, squared, norm, largest = here.dtype == there.dtype, 0.0, 0.0, 0.0
    for left, right in zip(one.slices(name), two.slices(name), strict=True):
        a = numbers(left, here.dtype).to(torch.float64)
        norm += float(a.square().sum())
        if here.dtype == there.dtype and left == right:
            continue
        equal = False
        difference = numbers(right, there.dtype).to(torch.float64) - a
        squared += float(difference.square().sum())
        largest = max(largest, float(difference.abs().max()))
    return Change(name, *shapes, equal=equal, squared=squared, norm=norm, largest=largest)


def by_part(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """The same, summed up by parts, those that both or one of the voices have."""
    groups: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        groups[change.part].append(change)
    return [
        {
            "part": part,
            "tensors": len(groups[part]),
            "changed": sum(not change.equal for change in groups[part]),
            "relative": ratio(
                sum(change.squared for change in groups[part]), sum(change.norm for change in groups[part])
            )
            if any(change.comparable for change in groups[part])
            else None,
        }
        for part in PARTS
        if part in groups
    ]


def references(a: Path, b: Path) -> dict[str, Any]:
    """How many reference clips the two have, and how many of them are not the same, as a part."""
    ours, theirs = _clips(a, read_voice(a)), _clips(b, read_voice(b))
    count = max(len(ours), len(theirs))
    same = sum(one == two for one, two in zip(ours, theirs, strict=False))
    return {"part": REFERENCES, "tensors": count, "changed": count - same, "relative": None}


def words(a: Path, b: Path) -> list[dict[str, Any]]:
    """How many words the dictionaries have, and how many of them are not read the same, as a part."""
    ours, theirs = ({one.key: one.reading for one in parse(read_words(folder))} for folder in (a, b))
    keys = ours.keys() | theirs.keys()
    changed = sum(ours.get(key) != theirs.get(key) for key in keys)
    return [{"part": WORDS, "tensors": len(keys), "changed": changed, "relative": None}] if keys else []


def _clips(folder: Path, voice: VoiceFile) -> list[tuple[Any, ...]]:
    return [
        (one.text, one.lang, one.codes, *(_bytes(folder / name) for name in (one.clip, one.spec)))
        for one in voice.references
    ]


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
