"""The form that torch wrote before 1.6: read to the last number, and refused where it lies."""

import io
import struct
from pathlib import Path

import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError, RefusedError, UnsafeFileError
from p2pvoice.sovits import legacy, torch_zip
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.mapped import MappedFile
from p2pvoice.sovits.pickle_walk import walk, walk_first
from p2pvoice.sovits.torch_file import open_torch

from . import forge
from .test_limits import START, number, text

#: The two pickles that every file of the form begins with, and one that says the machine.
BEGIN = legacy.START + bytes.fromhex("80024de9032e")
MACHINE = START + b"}" + text("little_endian") + b"\x88s."


def pid(count: int, *, key: str = "0", kind: str = "HalfStorage", view: bytes = b"N") -> bytes:
    return (
        b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
        + number(count) + view + b"tQ"
    )  # fmt: skip


def keys(*names: str) -> bytes:
    return START + b"](" + b"".join(map(text, names)) + b"e."


def storage(count: int, data: bytes) -> bytes:
    return struct.pack("<q", count) + data


def write(folder: Path, data: bytes) -> MappedFile:
    path = folder / "file.pth"
    path.write_bytes(data)
    return MappedFile(path)


def test_every_number_is_what_torch_reads(tmp_path: Path) -> None:
    path = forge.place("good", "tiny_v2_legacy_tar_format.pth", tmp_path)
    ours = read_checkpoint(path)
    with forge.upstream_classes():
        theirs = torch.load(path, weights_only=False)["weight"]
    assert (ours.part, ours.version) == ("s2", "v2")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.tensors.items())
    assert len(ours.tensors) == 526


def test_shared_and_odd_tensors(tmp_path: Path) -> None:
    """Two views of one storage, a transposed one, an empty one, four types of numbers."""
    whole = torch.arange(24.0)
    wanted = {
        "a": whole[3:9], "b": whole.view(4, 6).t(), "c": torch.zeros(0, 3), "d": torch.ones(5).bfloat16(),
        "e": torch.tensor(7), "f": torch.tensor([True, False]),
    }  # fmt: skip
    buffer = io.BytesIO()
    torch.save(wanted, buffer, _use_new_zipfile_serialization=False)
    opened = open_torch(write(tmp_path, buffer.getvalue()))
    assert isinstance(opened.top, dict)
    found = opened.tensors(opened.top)
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize(
    ("rest", "word"),
    [
        (pid(2) + b"." + keys("0") + storage(2, b"1234"), ""),
        (pid(2) + b"." + keys() + b"", ""),
        (pid(2) + b"." + keys("1") + storage(2, b"1234"), "nothing in it refers to"),
        (pid(2) + b"." + keys("0", "0") + storage(2, b"1234") * 2, "or one twice"),
        (pid(2) + b"." + keys("0") + storage(3, b"123456"), "not all there"),
        (pid(2) + b"." + keys("0") + storage(-1, b""), "not all there"),
        (pid(2) + b"." + keys("0") + storage(2, b"123"), "not all there"),
        (pid(2) + b"." + keys("0") + storage(2, b"1234")[:7], "cut short"),
        (pid(2) + b"." + keys("0") + storage(2, b"12345"), "more bytes follow"),
        (pid(2) + b"." + START + b"N.", "no list"),
        (pid(2) + b"." + START + b"](N" + pid(2) + b"e.", "no list"),
        (pid(2) + b"." + START + b"]K\x01a.", "nothing in it refers to"),
        (b"(" + pid(2) + pid(3) + b"t." + keys("0") + storage(2, b"1234"), "in two ways"),
        (b"(" + pid(2) + pid(1, kind="FloatStorage") + b"t." + keys("0") + storage(2, b"1234"), "two ways"),
        (pid(2, view=b"(" + text("v") + b"K\x00K\x01t") + b"." + keys("0") + storage(2, b"1234"), "part of"),
        (pid(2, kind="DoubleStorage") + b"." + keys("0"), "asks for"),
        (b"cos\nsystem\n.", "os.system"),
        (b"N.", "cut short"),
    ],
)
def test_streams_made_by_hand(rest: bytes, word: str, tmp_path: Path) -> None:
    file = write(tmp_path, BEGIN + MACHINE + START + rest)
    if not word:
        open_torch(file)
        return
    with pytest.raises(RefusedError, match=word):
        open_torch(file)


@pytest.mark.parametrize("machine", [START + b"}.", START + b"N.", MACHINE.replace(b"\x88", b"\x89")])
def test_another_byte_order_is_refused(machine: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpointError, match="byte order"):
        open_torch(write(tmp_path, BEGIN + machine + START + b"N." + keys()))


def test_another_protocol_is_refused(tmp_path: Path) -> None:
    for rest in (b"", b"\x80\x02K\x01.", BEGIN[-6:-1]):
        with pytest.raises(RefusedError):
            open_torch(write(tmp_path, legacy.START + rest))


def test_a_reference_has_the_form_of_its_container() -> None:
    """In the zip five parts name a storage, here six: neither form passes for the other."""
    assert walk_first(START + pid(2) + b".rest")[2] == len(pid(2)) + 3
    with pytest.raises(UnsafeFileError):
        walk(START + pid(2) + b".")
    with pytest.raises(UnsafeFileError):
        walk_first(START + pid(2).replace(b"NtQ", b"tQ") + b".")


def test_storages_and_pickles_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"(" + pid(1) + pid(1, key="1") + b"t."
    data = BEGIN + MACHINE + START + body + keys("0", "1") + storage(1, b"12") * 2
    monkeypatch.setattr(legacy, "ENTRY_LIMIT", 2)
    monkeypatch.setattr(legacy, "PICKLE_LIMIT", len(START + body))
    assert len(open_torch(write(tmp_path, data)).storages) == 2
    monkeypatch.setattr(legacy, "PICKLE_LIMIT", len(START + body) - 1)
    with pytest.raises(BadCheckpointError, match="cut short"):
        open_torch(write(tmp_path, data))
    monkeypatch.setattr(legacy, "PICKLE_LIMIT", torch_zip.PICKLE_LIMIT)
    monkeypatch.setattr(legacy, "ENTRY_LIMIT", 1)
    with pytest.raises(BadCheckpointError, match="at most 1 key"):
        open_torch(write(tmp_path, data))


def test_cut_anywhere_it_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"weight": {"a.b": torch.ones(3)}}, buffer, _use_new_zipfile_serialization=False)
    whole = buffer.getvalue()
    open_torch(write(tmp_path, whole))
    for size in range(2, len(whole)):
        with pytest.raises(RefusedError):
            read_checkpoint(write(tmp_path, whole[:size]).path)
