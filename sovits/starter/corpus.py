"""The training corpus as it lies on the disk: shards of utterances, each with its true codes and pitch.

A shard is one .npz of about a hundred utterances of one teacher and one language, written whole or not at
all, so that a training may read the folder while the corpus still grows. What this module is not for: making
the utterances (``recital``, ``build``). Follows specs/starter.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE: Final = 24_000
SHARD: Final = 100
"""Utterances of a shard."""

_CURVES: Final = ("audio", "f0", "phones", "codes", "owner")


@dataclass(frozen=True)
class Item:
    """One training utterance.

    ``audio`` has 24,000 samples a second and lasts as long as its codes; ``f0`` is the teacher's own curve in
    Hz at 100 a second, 0 where unvoiced; ``phones`` are rows of the v2 symbol table; ``codes`` come at 25 a
    second and ``owner`` is the index into ``phones`` of each.
    """

    text: str
    language: str
    speaker: str
    median: float
    """The speaker's median pitch in Hz: what the levels of ``codes`` are relative to."""
    audio: NDArray[np.int16]
    f0: NDArray[np.float32]
    phones: NDArray[np.int16]
    codes: NDArray[np.int16]
    owner: NDArray[np.int16]


def write_shard(path: Path, items: Sequence[Item]) -> None:
    """Write ``items``, whole or not at all."""
    joined = {name: np.concatenate([getattr(item, name) for item in items]) for name in _CURVES}
    sizes = {
        f"{name}_sizes": np.array([len(getattr(item, name)) for item in items], np.int64) for name in _CURVES
    }
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        text=np.array([item.text for item in items]),
        language=np.array([item.language for item in items]),
        speaker=np.array([item.speaker for item in items]),
        median=np.array([item.median for item in items], np.float64),
        **joined,
        **sizes,
    )
    part.replace(path)


def read_shard(path: Path, *, audio: bool = True) -> Iterator[Item]:
    """The items of one shard; without ``audio`` they are silent, and a thousand times smaller."""
    with np.load(path, allow_pickle=False) as data:
        wanted = [name for name in _CURVES if audio or name != "audio"]
        ends = {name: np.cumsum(data[f"{name}_sizes"]) for name in wanted}
        whole = {name: data[name] for name in wanted}
        empty = {} if audio else {"audio": np.zeros(0, np.int16)}
        heads = [data[name] for name in ("text", "language", "speaker", "median")]
        for i, (text, language, speaker, median) in enumerate(zip(*heads, strict=True)):
            # Copied, so that keeping one item does not keep its whole shard.
            cut = {n: whole[n][(ends[n][i - 1] if i else 0) : ends[n][i]].copy() for n in wanted}
            yield Item(str(text), str(language), str(speaker), float(median), **cut, **empty)


def shards(folder: Path) -> list[Path]:
    """Every finished shard of ``folder``, oldest first."""
    found = [path for path in folder.glob("*.npz") if not path.name.endswith(".part.npz")]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def read_corpus(folder: Path, *, audio: bool = True) -> list[Item]:
    """Every item of every finished shard."""
    return [item for path in shards(folder) for item in read_shard(path, audio=audio)]
