"""Writes a file as ``torch.save`` would, without torch's pickler: the index is put together opcode by opcode.

For: giving a voice back in upstream's form. What may stand in the index is closed: dictionaries, lists, text,
numbers, None, tensors, and objects of the one class that upstream's files have, made of nothing but such
values. So nothing that came with a stranger's voice can become a name that a reader would look up. Not for:
reading (see torch_file). Follows specs/export.md.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

#: Torch's dtype -> the name of its storage class.
STORAGES: Final = {
    torch.float16: "HalfStorage",
    torch.bfloat16: "BFloat16Storage",
    torch.float32: "FloatStorage",
}
ALIGNMENT: Final = 64
"""Numbers of a tensor begin at a multiple of this many bytes, as in torch's own files."""
PREFIX: Final = b"archive/"
_NOTES: Final = (
    (b".format_version", b"1"),
    (b".storage_alignment", str(ALIGNMENT).encode()),
    (b"byteorder", b"little"),
)
_DAY: Final = 0x21
"""1980-01-01, the first day that a zip file can name: files of equal content are equal."""

Piece = bytes | memoryview


@dataclass(frozen=True)
class Settings:
    """Fields that become an object of upstream's class ``utils.HParams``, and so do the tables in them."""

    fields: Mapping[str, object]


def torch_file(content: Mapping[str, object], mark: bytes = b"PK") -> list[Piece]:
    """The pieces of a weight file with ``content`` as its top-level dictionary; ``mark`` are its first bytes.

    Tensors must be contiguous, on the CPU, and of a type in STORAGES; each gets a storage of its own. They
    are not copied: the pieces are views of them. Raises TypeError for a value that has no place in such a
    file.
    """
    index = _Index()
    data = index.whole(content)
    entries: list[tuple[bytes, Sequence[Piece]]] = [(b"data.pkl", [data])]
    entries += [(name, [text]) for name, text in _NOTES]
    entries += [(b"data/%d" % number, [_numbers(tensor)]) for number, tensor in enumerate(index.tensors)]
    entries.append((b"version", [b"3\n"]))
    pieces = list(_zip(entries))
    assert isinstance(pieces[0], bytes)
    pieces[0] = mark + pieces[0][2:]
    return pieces


def _numbers(tensor: torch.Tensor) -> memoryview:
    if not tensor.numel():
        return memoryview(b"")
    return memoryview(tensor.detach().reshape(-1).view(torch.uint8).numpy())


class _Index:
    """A pickle of protocol 2, and the tensors that it refers to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.known: dict[tuple[str, str], int] = {}
        self.tensors: list[torch.Tensor] = []

    def whole(self, content: Mapping[str, object]) -> bytes:
        """The index of a file whose top level is the OrderedDict ``content``."""
        self.parts = [b"\x80\x02"]
        self._table(content, ordered=True)
        return b"".join((*self.parts, b"."))

    def _remembered(self, kind: str, text: str, made: bytes) -> None:
        """Put something in once and refer to it afterwards."""
        number = self.known.get((kind, text))
        if number is None:
            number = self.known[kind, text] = len(self.known)
            self.parts += [made, b"q%c" % number if number < 256 else b"r" + struct.pack("<I", number)]
        else:
            self.parts.append(b"h%c" % number if number < 256 else b"j" + struct.pack("<I", number))

    def _name(self, module: str, name: str) -> None:
        self._remembered("name", f"{module} {name}", f"c{module}\n{name}\n".encode("ascii"))

    def _value(self, value: object) -> None:
        if value is None or type(value) is bool:
            self.parts.append({None: b"N", True: b"\x88", False: b"\x89"}[value])  # type: ignore[index]
        elif type(value) is str:
            data = value.encode()
            self._remembered("text", value, b"X" + struct.pack("<I", len(data)) + data)
        elif type(value) is int:
            self._integer(value)
        elif type(value) is float:
            self.parts.append(b"G" + struct.pack(">d", value))
        elif isinstance(value, list | tuple):
            self.parts.append(b"](")
            for item in value:
                self._value(item)
            self.parts.append(b"e")
        elif isinstance(value, Settings):
            self._settings(value.fields)
        elif isinstance(value, Mapping):
            self._table(value)
        elif isinstance(value, torch.Tensor):
            self._tensor(value)
        else:
            raise TypeError(f"a {type(value).__name__} has no place in a weight file")

    def _integer(self, value: int) -> None:
        if 0 <= value < 1 << 8:
            self.parts.append(b"K%c" % value)
        elif 0 <= value < 1 << 16:
            self.parts.append(b"M" + struct.pack("<H", value))
        elif -(1 << 31) <= value < 1 << 31:
            self.parts.append(b"J" + struct.pack("<i", value))
        else:
            raise TypeError("a weight file has no integer of more than 32 bits")

    def _table(
        self, table: Mapping[str, object], *, ordered: bool = False, as_settings: bool = False
    ) -> None:
        if ordered:
            self._name("collections", "OrderedDict")
            self.parts.append(b")R")
        else:
            self.parts.append(b"}")
        self.parts.append(b"(")
        for key, value in table.items():
            if type(key) is not str:
                raise TypeError("a weight file's tables have keys of text")
            self._value(key)
            # Upstream's settings are such objects all the way down.
            self._value(Settings(value) if as_settings and isinstance(value, Mapping) else value)
        self.parts.append(b"u")

    def _settings(self, fields: Mapping[str, object]) -> None:
        self._name("utils", "HParams")
        self.parts.append(b")\x81")
        self._table(fields, as_settings=True)
        self.parts.append(b"b")

    def _tensor(self, tensor: torch.Tensor) -> None:
        if tensor.dtype not in STORAGES or tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise TypeError("a tensor of this kind has no place in a weight file")
        self._name("torch._utils", "_rebuild_tensor_v2")
        self.parts.append(b"((")
        self._value("storage")
        self._name("torch", STORAGES[tensor.dtype])
        self._value(str(len(self.tensors)))
        self._value("cpu")
        self._integer(tensor.numel())
        self.parts += [b"tQ", b"K\x00"]
        for numbers in (tensor.shape, tensor.stride()):
            self.parts.append(b"(")
            for number in numbers:
                self._integer(number)
            self.parts.append(b"t")
        self.parts.append(b"\x89")
        self._name("collections", "OrderedDict")
        self.parts.append(b")RtR")
        self.tensors.append(tensor)


def _zip(entries: Sequence[tuple[bytes, Sequence[Piece]]]) -> Iterator[Piece]:
    """A zip file of stored entries, each under PREFIX, and the directory at its end."""
    at, directory = 0, []
    for name, pieces in entries:
        name = PREFIX + name
        size, crc = sum(map(len, pieces)), 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
        # The padding is an extra field of its own kind ("FB"), as torch writes it.
        gap = -(at + 30 + len(name) + 4) % ALIGNMENT
        extra = b"FB" + struct.pack("<H", gap) + b"Z" * gap
        common = struct.pack("<HHHHHLLLHH", 20, 0, 0, 0, _DAY, crc, size, size, len(name), len(extra))
        yield b"PK\x03\x04" + common + name + extra
        yield from pieces
        common = struct.pack("<HHHHHLLLHH", 20, 0, 0, 0, _DAY, crc, size, size, len(name), 0)
        directory.append(b"PK\x01\x02\x14\x00" + common + struct.pack("<HHHLL", 0, 0, 0, 0, at) + name)
        at += 30 + len(name) + len(extra) + size
    whole = b"".join(directory)
    count = len(directory)
    yield whole + b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, count, count, len(whole), at, 0)
