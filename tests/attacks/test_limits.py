"""The walker and the container at their limits, n and n + 1, and attacks written by hand."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError, NotFoundError, RefusedError, UnsafeFileError
from p2pvoice.sovits import checkpoint, mapped, pickle_walk, torch_zip
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.mapped import MappedFile
from p2pvoice.sovits.pickle_walk import walk

from . import forge

START = b"\x80\x02"
#: Levels of nesting by reference; each takes up to 12 opcodes of the million allowed.
LEVELS = 50_000


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word.encode())) + word.encode()


def storage(count: int, kind: str = "HalfStorage") -> bytes:
    return (
        b"("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text("0")
        + text("cpu")
        + number(count)
        + b"tQ"
    )


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def tensor(count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    sizes = b"".join(b"(" + b"".join(map(number, numbers)) + b"t" for numbers in (shape, stride))
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage(count)
        + number(offset)
        + sizes
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"]" + b"(K\x01e" * 3 + b".", b"]" + b"(K\x01e" * 3),
        (b"(" * pickle_walk.MARK_LIMIT + b"t" * pickle_walk.MARK_LIMIT + b".",
         b"(" * (pickle_walk.MARK_LIMIT + 1) + b"t" * (pickle_walk.MARK_LIMIT + 1) + b"."),
        (b"(" + b"N" * pickle_walk.STACK_LIMIT + b"t.", b"(" + b"N" * (pickle_walk.STACK_LIMIT + 1) + b"t."),
        (text("x" * pickle_walk.TEXT_LIMIT) + b".", text("x" * (pickle_walk.TEXT_LIMIT + 1)) + b"."),
        (b"\x8a\x08" + b"\x01" * 8 + b".", b"\x8a\x09" + b"\x01" * 9 + b"."),
        (b"}" + number(pickle_walk.KEY_LIMIT - 1) + b"Ns.", b"}" + number(pickle_walk.KEY_LIMIT) + b"Ns."),
        (tensor(6, 0, (2, 3), (3, 1)) + b".", tensor(5, 0, (2, 3), (3, 1)) + b"."),
        (tensor(6, 0, (2, 3), (1, 2)) + b".", tensor(6, 0, (2, 3), (1, 1)) + b"."),
        (tensor(7, 1, (2, 3), (3, 1)) + b".", tensor(6, 1, (2, 3), (3, 1)) + b"."),
        (tensor(1, 0, (1,), (0,)) + b".", tensor(1, 0, (2,), (0,)) + b"."),
        (tensor(1, 0, (1,) * 8, (1,) * 8) + b".", tensor(1, 0, (1,) * 9, (1,) * 9) + b"."),
        (tensor(4, 0, (2, 2), (2, 1)) + b".", tensor(4, 0, (-2, -2), (2, 1)) + b"."),
        (tensor(4, 0, (2,), (1,)) + b".", tensor(4, -1, (2,), (1,)) + b"."),
    ],
)  # fmt: skip
def test_walker_at_a_limit_and_beyond(good: bytes, bad: bytes) -> None:
    walk(START + good)
    with pytest.raises(RefusedError):
        walk(START + bad)


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    body = START + b"(" + b"N" * 97 + b"t."
    monkeypatch.setattr(pickle_walk, "WORK_LIMIT", 101)
    assert walk(body) == (None,) * 97
    monkeypatch.setattr(pickle_walk, "WORK_LIMIT", 100)
    with pytest.raises(BadCheckpointError, match="steps"):
        walk(body)


def test_memo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_walk, "MEMO_LIMIT", 2)
    walk(START + b"Nq\x00q\x01.")
    with pytest.raises(BadCheckpointError, match="remembers"):
        walk(START + b"Nq\x00q\x01q\x02.")


@pytest.mark.parametrize(
    "body",
    [
        b"cos\nsystem\n.",
        b"cbuiltins\neval\n.",
        b"ctorch._utils\n_import_dotted_name\n.",
        b"ctorch\nload\n.",
        b"c__main__\nHParams\nX\x01\x00\x00\x00a\x85\x81.",
        b"cutils\nHParams\n)R.",
        b"ccollections\nOrderedDict\n)\x81.",
        b"ccollections\nOrderedDict\n](K\x01e\x85R.",
        b"ctorch\nHalfStorage\n)R.",
        b"ctorch\nHalfStorage\n}b.",
        b"cutils\nHParams\n)\x81K\x01b.",
        b"cutils\nHParams\n)\x81}K\x01K\x02sb.",
        b"cutils\nHParams\n)\x81K\x01K\x02s.",
        b"]K\x01K\x02s.",
        b"}K\x01a.",
        b"})Ns.",
        b"}}Ns.",
        b"}\x88Ns.",
        b"K\x01Q.",
        b"((tQ.",
        b"(" + text("module") + b"ctorch\nHalfStorage\n" + text("0") + text("cpu") + b"K\x01tQ.",
        b"(" + text("storage") + b"cutils\nHParams\n" + text("0") + text("cpu") + b"K\x01tQ.",
        b"(" + text("storage") + b"ctorch\nHalfStorage\n" + text("0") + text("cpu") + b"J\xff\xff\xff\xfftQ.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch._utils\n_rebuild_parameter\n(K\x01\x89NtR.",
        b"\x93.",
        b"\x82\x01.",
        b"P0\n.",
    ],
)
def test_what_no_weight_file_does_is_unsafe(body: bytes) -> None:
    with pytest.raises(UnsafeFileError):
        walk(START + body)


@pytest.mark.parametrize(
    "body", [b"", b".", b"NN.", b"(.", b"a.", b"N", b"h\x05.", b"u.", b"\x85.", b"X\xff\xff\xff\xff.",
             b"(Nu.", b"N.N", b"(}(Nu.", b"X\x01\x00\x00\x00\xff.", b"cutils"]
)  # fmt: skip
def test_broken_pickles_are_refused(body: bytes) -> None:
    with pytest.raises(BadCheckpointError):
        walk(START + body)


def test_a_name_from_the_file_cannot_break_the_line() -> None:
    with pytest.raises(UnsafeFileError) as caught:
        walk(START + "cos\r\x1b[31m\nsyst\u202eem\n.".encode())
    assert caught.value.message.isprintable()
    assert caught.value.message.isascii()


def test_billion_laughs_in_the_config_are_bounded(tmp_path: Path) -> None:
    """Lists of lists by reference: small in the file, 2 ** 60 items when followed."""
    laughs = b"](K\x01K\x01eq\x00" + b"".join(
        b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60)
    )
    body = (
        START + b"}(" + text("weight") + b"}" + text("a.b") + tensor(1, 0, (1,), (1,)) + b"s"
        + text("config") + b"}" + text("model") + b"}" + text("upsample_rates") + laughs + b"0"
    )  # fmt: skip
    body = body[:-1] + b"sssu."
    with pytest.raises(RefusedError):
        read_checkpoint(_write(tmp_path, forge.raw_zip(body, {"0": b"\0\0"})))


def test_one_storage_shared_by_many_tensors_is_bounded(tmp_path: Path) -> None:
    shared = tensor(4096, 0, (4096,), (1,))
    body = START + b"}" + text("weight") + b"}("
    body += b"".join(text(f"a.b{i}") + shared for i in range(200)) + b"us."
    with pytest.raises(BadCheckpointError, match="far more numbers"):
        read_checkpoint(_write(tmp_path, forge.raw_zip(body, {"0": bytes(8192)})))


def _write(folder: Path, data: bytes) -> Path:
    path = folder / "file.pth"
    path.write_bytes(data)
    return path


def _zip(folder: Path, entries: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> Path:
    path = folder / "file.pth"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"a/data.pkl": b"\x80\x02N.", "a/../x": b""}, "outside"),
        ({"a/data.pkl": b"\x80\x02N.", "/etc/x": b""}, "outside"),
        ({"a/data.pkl": b"\x80\x02N.", "C:x": b""}, "outside"),
        ({"a/data.pkl": b"\x80\x02N.", "b/data/0": b""}, "not in the folder"),
        ({"a/data.pkl": b"\x80\x02N.", "a/code/x.py": b""}, "entry that no weight file has"),
        ({"a/code/x.py": b"", "a/constants.pkl": b""}, "TorchScript"),
        ({"a/b/data.pkl": b"\x80\x02N."}, "one top folder"),
        ({"data.pkl": b"\x80\x02N."}, "one top folder"),
        ({"a/readme": b""}, "not one that torch wrote"),
        ({"a/data.pkl": b"\x80\x02N.", "a/byteorder": b"big"}, "byte order"),
        ({"a/data.pkl": b"\x80\x02N.", "a/version": b"3" * (torch_zip.NOTE_LIMIT + 1)}, "too long"),
    ],
)
def test_odd_containers_are_refused(entries: dict[str, bytes], word: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=word):
        read_checkpoint(_zip(tmp_path, entries))


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path, {"a/data.pkl": b"\x80\x02" + b"N" * 5000}, method=zipfile.ZIP_DEFLATED)
    with pytest.raises(BadCheckpointError, match="compressed"):
        read_checkpoint(path)


def test_entries_and_pickle_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(tmp_path, {"a/data.pkl": b"\x80\x02N.", "a/version": b"3"})
    monkeypatch.setattr(torch_zip, "ENTRY_LIMIT", 2)
    monkeypatch.setattr(torch_zip, "PICKLE_LIMIT", 4)
    assert torch_zip.open_zip(MappedFile(path)).pickle == b"\x80\x02N."
    monkeypatch.setattr(torch_zip, "PICKLE_LIMIT", 3)
    with pytest.raises(BadCheckpointError, match="index has 4 bytes"):
        torch_zip.open_zip(MappedFile(path))
    monkeypatch.setattr(torch_zip, "ENTRY_LIMIT", 1)
    with pytest.raises(BadCheckpointError, match="2 entries"):
        torch_zip.open_zip(MappedFile(path))


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    data = bytearray(_zip(tmp_path, {"a/data.pkl": b"\x80\x02N.", "a/data/0": b"xx"}).read_bytes())
    second = data.rindex(b"PK\x01\x02")
    # The directory now says that the second entry's bytes reach into the directory itself.
    for field in (20, 24):
        struct.pack_into("<L", data, second + field, 60)
    with pytest.raises(BadCheckpointError, match="outside"):
        read_checkpoint(_write(tmp_path, bytes(data)))


def test_a_file_over_the_limit_is_not_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, b"12345678")
    monkeypatch.setattr(mapped, "FILE_LIMIT", 8)
    assert MappedFile(path).size == 8
    monkeypatch.setattr(mapped, "FILE_LIMIT", 7)
    with pytest.raises(BadCheckpointError, match="8 bytes"):
        MappedFile(path)


def test_too_many_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = forge.folder() / "good" / "tiny_v2.ckpt"
    monkeypatch.setattr(checkpoint, "TENSOR_LIMIT", 31)
    assert len(read_checkpoint(path).tensors) == 31
    monkeypatch.setattr(checkpoint, "TENSOR_LIMIT", 30)
    with pytest.raises(BadCheckpointError, match="31 tensors"):
        read_checkpoint(path)


def test_no_file_and_no_readable_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(BadCheckpointError):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["config"]["model"].update(n_heads=0),
        lambda c: c["config"]["model"].update(n_heads=3),
        lambda c: c["config"]["model"].update(n_heads=4),
        lambda c: c["config"]["model"].update(n_heads="2"),
        lambda c: c["config"]["model"].update(n_heads=True),
        lambda c: c["config"]["model"].update(n_layers=6),
        lambda c: c["config"]["model"].update(resblock="2"),
        lambda c: c["config"]["model"].update(semantic_frame_rate="50hz"),
        lambda c: c["config"]["model"].update(hidden_channels=192),
        lambda c: c["config"]["model"].update(upsample_rates=[10, 8, 2, 2]),
        lambda c: c["config"]["model"].update(upsample_rates=[10, 8, 2, 2, 4]),
        lambda c: c["config"]["model"].update(upsample_kernel_sizes=[16, 16, 8, 2, 4]),
        lambda c: c["config"]["model"].update(resblock_kernel_sizes=[3, 7, 9]),
        lambda c: c["config"]["model"].update(resblock_dilation_sizes=[[1, 3, 5]] * 2),
        lambda c: c["config"]["model"].update(resblock_dilation_sizes=[[1, 3, 500]] * 3),
        lambda c: c["config"]["model"].update(version="v1"),
        lambda c: c["config"].update(version="v2Pro"),
        lambda c: c["config"].update(content_module="/home/me/x y"),
        lambda c: c["config"]["data"].update(sampling_rate=10**9),
        lambda c: c["config"]["data"].update(hop_length=320),
        lambda c: c["config"]["data"].update(filter_length=1024),
        lambda c: c["config"].update(model=7),
        lambda c: c["weight"].update({"dec.cond.bias": torch.zeros(32, dtype=torch.int64)}),
        lambda c: c["weight"].update({"dec.cond.bias": 7}),
        lambda c: c["weight"].pop("dec.cond.bias"),
        lambda c: c["weight"].update({"dec.more": torch.zeros(1)}),
    ],
)  # fmt: skip
def test_configs_and_tensors_that_disagree_are_refused(
    change: Callable[[dict], object], tmp_path: Path
) -> None:
    content = forge.tiny()
    change(content)
    with pytest.raises(RefusedError):
        read_checkpoint(_write(tmp_path, forge.save(content)))


def test_a_mark_must_fit_the_tensors(tmp_path: Path) -> None:
    for head in (b"00", b"02", b"03", b"05"):
        with pytest.raises(BadCheckpointError, match="mark"):
            read_checkpoint(_write(tmp_path, forge.save(forge.tiny(), head=head)))
    assert read_checkpoint(_write(tmp_path, forge.save(forge.tiny(), head=b"01"))).version == "v2"


@pytest.mark.parametrize(
    "wrap", [b"]h\x00a", b"h\x00\x85", b"}K\x01h\x00s", b"cutils\nHParams\n)\x81}X\x01\x00\x00\x00ah\x00sb"]
)
def test_depth_by_reference_does_not_break_the_process(wrap: bytes) -> None:
    """50,000 levels on a flat stack, each value holding the one before: built and freed without harm."""
    outer = walk(START + b"]Nq\x00a" + (wrap + b"q\x00a") * LEVELS + b".")
    assert isinstance(outer, list)
    assert len(outer) == LEVELS + 1
    # Freed from the outside in, as when nothing else holds the levels.
    last = outer.pop()
    outer.clear()
    del last
