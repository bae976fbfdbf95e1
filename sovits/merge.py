"""One bundle made of two: the mean of their weights, or parts of the one and of the other.

The same two bundles merged in the same way give the same bytes on every machine: each step is one rounded
float32 operation on each element, and whatever is not computed is copied. Not for whether the two are
related, which is the node's to know, and not for `take`, which computes nothing. Follows specs/merging.md.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec
import torch

from p2pvoice.protocol import pronunciation
from p2pvoice.protocol.errors import ConflictError, UsageError

from . import voicefile
from .anatomy import CODES, REFERENCES, part_of
from .slices import DTYPES, WeightFile, numbers, raw
from .voicefile import GPT_NAME, SOVITS_NAME, VOICE_NAME, read_voice

WHOLE: Final = 1000
"""Shares are told in thousandths."""

TRAINING_NAME: Final = "training.safetensors"
"""What only training needs: kept from ours."""

BERT_PROJECTION: Final = "model.bert_proj.weight"
"""Where it is zero, a voice does not listen to BERT's features."""

Mode = Literal["average", "layers"]
Check = Callable[[float], None]


@dataclass(frozen=True)
class Recipe:
    """How two voices become one: ``share`` of theirs in thousandths, or the parts to take from theirs."""

    mode: Mode
    share: int = WHOLE // 2
    parts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.mode == "average" and not 0 < self.share < WHOLE:
            raise UsageError(
                f"a share of {self.share} thousandths leaves nothing to average", hint="take, or no merge"
            )
        if self.mode == "layers" and not self.parts:
            raise UsageError("name at least one part to take", hint="--part decoder")


def require_fitting(ours: Path, theirs: Path) -> None:
    """ConflictError, with the reason, unless the two bundles can be merged tensor by tensor.

    Raises BadCheckpointError for a file that breaks a rule.
    """
    a, b = read_voice(ours), read_voice(theirs)
    for what, one, two in (
        ("of another version", f"{a.family} {a.version}", f"{b.family} {b.version}"),
        ("of another sample rate", f"{a.sovits.sample_rate} Hz", f"{b.sovits.sample_rate} Hz"),
        ("built otherwise", a.sovits, b.sovits),
        ("built otherwise", a.gpt, b.gpt),
        ("made with another content encoder", a.bases.content, b.bases.content),
        ("made with another speaker network", a.bases.speaker, b.bases.speaker),
    ):
        if one != two:
            told = f" ({two}, not {one})" if isinstance(one, str) else ""
            raise unfit(f"it is {what}{told}")
    if None not in (a.bases.bert, b.bases.bert) and a.bases.bert != b.bases.bert:
        raise unfit(f"it listens to another BERT ({b.bases.bert}, not {a.bases.bert})")
    for name in (GPT_NAME, SOVITS_NAME):
        with WeightFile(ours / name) as one_file, WeightFile(theirs / name) as two_file:
            _require_same_tensors(one_file, two_file)


def _require_same_tensors(ours: WeightFile, theirs: WeightFile) -> None:
    here, there = ours.tensors, theirs.tensors
    if missing := sorted(here.keys() - there.keys()):
        raise unfit(f"it lacks {len(missing)} tensors, the first is {missing[0]!a}")
    if extra := sorted(there.keys() - here.keys()):
        raise unfit(f"it has {len(extra)} tensors that are not in ours, the first is {extra[0]!a}")
    for name, info in here.items():
        other = there[name]
        if info.shape != other.shape:
            raise unfit(f"{name!a} has the shape {list(other.shape)}, not {list(info.shape)}")
        if info.dtype != other.dtype:
            raise unfit(f"{name!a} is of the type {other.dtype}, not {info.dtype}")
        if part_of(name) == CODES and any(
            x != y for x, y in zip(ours.slices(name), theirs.slices(name), strict=True)
        ):
            raise unfit(f"its codes mean something else: {name!a} differs")


def unfit(reason: str) -> ConflictError:
    """The refusal of a merge, with its reason."""
    return ConflictError(
        f"the two voices cannot be merged: {reason}",
        hint="where family, version and rate are the same, --mode take replaces the one by the other",
    )


def merge(ours: Path, theirs: Path, out: Path, recipe: Recipe, check: Check = lambda done: None) -> None:
    """Write the merged bundle to the new folder ``out``, whole or not at all.

    ``check`` is told how much is done and may raise to stop. Raises what :func:`require_fitting` raises.
    """
    require_fitting(ours, theirs)
    growing = out.parent / f".{out.name}.growing"
    shutil.rmtree(growing, ignore_errors=True)
    try:
        growing.mkdir(parents=True)
        sizes = {name: (ours / name).stat().st_size for name in (GPT_NAME, SOVITS_NAME)}
        done, total = 0, sum(sizes.values())
        for name, size in sizes.items():
            _merge_file(
                ours / name, theirs / name, growing / name, recipe,
                lambda at, before=done: check((before + at) / total),
            )  # fmt: skip
            done += size
        _describe(ours, theirs, growing, recipe)
        if (ours / TRAINING_NAME).is_file():
            shutil.copyfile(ours / TRAINING_NAME, growing / TRAINING_NAME)
        growing.rename(out)
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def _merge_file(ours: Path, theirs: Path, out: Path, recipe: Recipe, check: Callable[[int], None]) -> None:
    with WeightFile(ours) as one, WeightFile(theirs) as two:
        taken = {part_of(name) in recipe.parts for name in one.tensors if part_of(name) != CODES}
        if recipe.mode == "layers" and len(taken) == 1:
            shutil.copyfile(theirs if taken.pop() else ours, out)
            return
        with out.open("wb") as file:
            file.write(one.head)
            for name in one.tensors:
                _merge_tensor(name, one, two, recipe, file)
                check(one.tensors[name].end)
            file.flush()
            os.fsync(file.fileno())


def _merge_tensor(name: str, ours: WeightFile, theirs: WeightFile, recipe: Recipe, file: BinaryIO) -> None:
    if recipe.mode == "layers":
        for data in (theirs if part_of(name) in recipe.parts else ours).slices(name):
            file.write(data)
        return
    dtype = ours.header.tensors[name].dtype
    for a, b in zip(ours.slices(name), theirs.slices(name), strict=True):
        file.write(a if a == b else _mean(a, b, dtype, recipe.share))


def _mean(a: bytes, b: bytes, dtype: str, share: int) -> bytes:
    """The weighted mean of two slices: products and sum in float32, rounded once to the file's type.

    Three operations, not one: a fused one rounds in other places on other machines.
    """
    keep, take = (torch.tensor(part / WHOLE, dtype=torch.float32) for part in (WHOLE - share, share))
    kept = numbers(a, dtype).to(torch.float32) * keep
    taken = numbers(b, dtype).to(torch.float32) * take
    # Two finite numbers have a finite mean, rounded shares and all: the tests try every share.
    return raw((kept + taken).to(DTYPES[dtype]))


def _describe(ours: Path, theirs: Path, out: Path, recipe: Recipe) -> None:
    """Write ``voice.json`` and the references."""
    a, b = read_voice(ours), read_voice(theirs)
    source, clips = (theirs, b) if REFERENCES in recipe.parts and recipe.mode == "layers" else (ours, a)
    bases = msgspec.structs.replace(a.bases, bert=(a.bases.bert or b.bases.bert) if _listens(out) else None)
    voice = msgspec.structs.replace(a, references=clips.references, bases=bases)
    (out / "reference").mkdir()
    for reference in clips.references:
        for name in (reference.clip, reference.spec):
            if (source / name).is_file():
                shutil.copyfile(source / name, out / name)
    (out / VOICE_NAME).write_bytes(voicefile.encode_voice(voice))
    if words := _words(ours, theirs):
        (out / pronunciation.VOICE_NAME).write_text(words, encoding="utf-8")


def _words(ours: Path, theirs: Path) -> str:
    """Our pronunciation dictionary, and of theirs what it lacks, word by word while there is room."""
    a, b = (pronunciation.parse(voicefile.read_words(folder)) for folder in (ours, theirs))
    kept = {one.key: one for one in a}
    size = len(pronunciation.encode(a).encode())
    for one in sorted(b, key=lambda entry: entry.key):
        room = pronunciation.VOICE_BYTES - size - len(one.line.encode()) - 1
        if one.key not in kept and room >= 0 and len(kept) < pronunciation.VOICE_ENTRIES:
            kept[one.key] = one
            size += len(one.line.encode()) + 1
    return pronunciation.encode(kept.values())


def _listens(out: Path) -> bool:
    """Whether the merged GPT's projection of BERT features is not all zero."""
    with WeightFile(out / GPT_NAME) as file:
        dtype = file.header.tensors[BERT_PROJECTION].dtype
        return any(bool(numbers(data, dtype).any()) for data in file.slices(BERT_PROJECTION))
