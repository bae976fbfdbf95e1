"""Mutated weight files: whatever happens to the bytes, only our own refusals come out."""

import io
import zipfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pvoice.protocol.errors import RefusedError
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.pickle_walk import walk

from . import forge

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@cache
def _file() -> bytes:
    return (forge.folder() / "good" / "tiny_v2.ckpt").read_bytes()


@cache
def _entries() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(_file())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


edits = st.lists(
    st.tuples(st.integers(0, 1 << 30), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=6
)


def _edit(data: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    """Each change replaces ``drop`` bytes somewhere by others."""
    for at, put, drop in changes:
        at %= len(data)
        data = data[:at] + put + data[at + drop :]
    return data


@quick
@given(changes=edits)
def test_mutated_file(changes: list[tuple[int, bytes, int]], tmp_path: Path) -> None:
    path = tmp_path / "file.ckpt"
    path.write_bytes(_edit(_file(), changes))
    with suppress(RefusedError):
        assert read_checkpoint(path).part == "s1"


@quick
@given(changes=edits)
def test_mutated_index_with_a_right_checksum(changes: list[tuple[int, bytes, int]], tmp_path: Path) -> None:
    """The container is rebuilt around the mutated index, so that the checksum does not catch it first."""
    path = tmp_path / "file.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in _entries().items():
            archive.writestr(name, _edit(data, changes) if name.endswith("data.pkl") else data)
    with suppress(RefusedError):
        assert read_checkpoint(path).part == "s1"


@quick
@given(changes=edits)
def test_mutated_directory(changes: list[tuple[int, bytes, int]], tmp_path: Path) -> None:
    """The mutations fall into the directory at the file's end and into the first local headers."""
    path = tmp_path / "file.ckpt"
    start = _file().index(b"PK\x01\x02")
    path.write_bytes(_file()[:start] + _edit(_file()[start:], changes))
    with suppress(RefusedError):
        assert read_checkpoint(path).part == "s1"


@settings(max_examples=500, deadline=None)
@given(data=st.binary(max_size=200))
def test_random_opcodes(data: bytes) -> None:
    with pytest.raises(RefusedError):
        walk(b"\x80\x02" + data + b"\xff")
