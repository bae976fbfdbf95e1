"""Reads the index of a torch weight file by walking its pickle opcodes; nothing is imported or called.

For: the handful of opcodes and names that an honest weight file needs. They build inert values: dicts, lists,
tuples, strings, numbers and :class:`TensorSpec` descriptions. Not for: pickles in general. Every other opcode
or name ends the walk with :class:`UnsafeFileError`. Follows specs/checkpoints.md.
"""

import struct
from dataclasses import dataclass, field
from typing import TypeGuard

from p2pvoice.protocol.errors import BadCheckpointError, UnsafeFileError

#: Opcodes executed; a published model takes 20,000.
WORK_LIMIT = 1_000_000
#: Values on the stack at once (a pickler writes batches of 1,000 pairs).
STACK_LIMIT = 16_384
#: Open marks at once.
MARK_LIMIT = 64
#: Values remembered by number.
MEMO_LIMIT = 200_000
#: Bytes of one string.
TEXT_LIMIT = 65_536
#: Bytes of one arbitrary-length integer: what fits 64 bits.
LONG_LIMIT = 8
#: The first integer that may no longer be a key of a dictionary (an optimizer's state has such keys).
KEY_LIMIT = 1 << 20
#: Dimensions of a tensor.
RANK_LIMIT = 8

#: Storage class -> (dtype name, bytes an element).
STORAGES = {
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "FloatStorage": ("float32", 4),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "BoolStorage": ("bool", 1),
}
_NAMES = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "utils.HParams",
    "GPT_SoVITS.utils.HParams",
    "__main__.HParams",
} | {f"torch.{name}" for name in STORAGES}

#: The codes of the opcodes that are never needed, for a message that says which one was met.
_KNOWN_BAD = {
    0x93: "STACK_GLOBAL", 0x69: "INST", 0x6F: "OBJ", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x50: "PERSID",
    0x95: "FRAME", 0x92: "NEWOBJ_EX", 0x8B: "LONG4", 0x49: "INT", 0x4C: "LONG", 0x53: "STRING",
    0x56: "UNICODE",
    0x8C: "SHORT_BINUNICODE", 0x94: "MEMOIZE", 0x42: "BINBYTES", 0x43: "SHORT_BINBYTES", 0x54: "BINSTRING",
    0x55: "SHORT_BINSTRING", 0x64: "DICT", 0x6C: "LIST", 0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP",
    0x97: "NEXT_BUFFER", 0x96: "BYTEARRAY8", 0x8F: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET",
}  # fmt: skip


@dataclass(frozen=True)
class Name:
    """A name that the file asks for, from the allow list. It stays a name: nothing is looked up."""

    text: str


@dataclass(frozen=True)
class StorageSpec:
    """A run of numbers in the file: dtype, key of its zip entry, number of elements."""

    dtype: str
    itemsize: int
    key: str
    count: int


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as the file describes it, checked against its storage. Offset and strides count elements."""

    storage: StorageSpec
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(eq=False)
class Record:
    """Stands where the file has an object of class HParams: only its fields."""

    fields: dict[str, object] = field(default_factory=dict)


def walk(data: bytes) -> object:
    """Interpret one whole pickle and return the value it describes."""
    value, _, used = _Walk(data, pid_size=5).run()
    if used != len(data):
        raise _broken("does not end where it should")
    return value


def walk_first(data: bytes) -> tuple[object, dict[str, StorageSpec], int]:
    """Interpret the pickle that ``data`` begins with, in the form of torch before 1.6.

    Returns its value, the storages that it refers to, and how many bytes it has.
    """
    return _Walk(data, pid_size=6).run()


class _Walk:
    def __init__(self, data: bytes, pid_size: int) -> None:
        self.data = data
        self.pid_size = pid_size
        self.at = 0
        self.storages: dict[str, StorageSpec] = {}
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def run(self) -> tuple[object, dict[str, StorageSpec], int]:
        for _ in range(WORK_LIMIT):
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                if self.marks or len(self.stack) != 1:
                    raise _broken("does not end where it should")
                return self.stack[0], self.storages, self.at
            step = _STEPS.get(code)
            if step is None:
                raise UnsafeFileError(
                    f"the file uses the pickle opcode {_KNOWN_BAD.get(code, hex(code))}, "
                    "which no weight file needs"
                )
            step(self)
            if len(self.stack) > STACK_LIMIT:
                raise _broken(f"holds more than {STACK_LIMIT} values at once")
        raise _broken(f"takes more than {WORK_LIMIT} steps")

    # Reading arguments and moving values ------------------------------------------------------------

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise _broken("is cut short")
        piece = self.data[self.at : self.at + size]
        self.at += size
        return piece

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def pop(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _broken("takes a value that is not there")
        return self.stack.pop()

    def top(self) -> object:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _broken("takes a value that is not there")
        return self.stack[-1]

    def pop_mark(self) -> list[object]:
        if not self.marks:
            raise _broken("closes a group that it never opened")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def push(self, value: object) -> None:
        self.stack.append(value)

    # One method an opcode that needs more than a line -------------------------------------------------

    def proto(self) -> None:
        version = self.take(1)[0]
        if version != 2:
            raise UnsafeFileError(f"the file's index is written in pickle protocol {version}; torch writes 2")

    def mark(self) -> None:
        if len(self.marks) >= MARK_LIMIT:
            raise _broken(f"is nested more than {MARK_LIMIT} levels deep")
        self.marks.append(len(self.stack))

    def global_name(self) -> None:
        words = []
        for _ in range(2):
            end = self.data.find(b"\n", self.at, self.at + 256)
            if end < 0:
                raise _broken("has a name without an end")
            words.append(self.data[self.at : end].decode("utf-8", "replace"))
            self.at = end + 1
        name = ".".join(words)
        if name not in _NAMES:
            raise UnsafeFileError(f"the file asks for {name[:80]!a}, which no weight file needs")
        self.push(Name(name))

    def put(self, form: str) -> None:
        number = self.number(form)
        if len(self.memo) >= MEMO_LIMIT:
            raise _broken(f"remembers more than {MEMO_LIMIT} values")
        self.memo[number] = self.top()

    def get(self, form: str) -> None:
        number = self.number(form)
        if number not in self.memo:
            raise _broken("recalls a value that it never stored")
        self.push(self.memo[number])

    def text(self) -> None:
        size = self.number("<I")
        if size > TEXT_LIMIT:
            raise _broken(f"has a text of {size} bytes")
        try:
            self.push(self.take(size).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise _broken("has a text that is not UTF-8") from None

    def long1(self) -> None:
        size = self.take(1)[0]
        if size > LONG_LIMIT:
            raise _broken(f"has an integer of {size} bytes")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def fixed_tuple(self, size: int) -> None:
        items = [self.pop() for _ in range(size)]
        self.push(tuple(reversed(items)))

    def append(self, items: list[object]) -> None:
        target = self.top()
        if type(target) is not list:
            raise UnsafeFileError("the file appends to something that is no list")
        target.extend(items)

    def set_items(self, items: list[object]) -> None:
        target = self.top()
        if type(target) is not dict:
            raise UnsafeFileError("the file sets items of something that is no dictionary")
        if len(items) % 2:
            raise _broken("has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Only plain keys: a nested tuple could take for ever to hash, large integers can be made to
            # collide.
            if type(key) is not str and not (type(key) is int and 0 <= key < KEY_LIMIT):
                raise UnsafeFileError(
                    "the file has a dictionary whose key is neither text nor a small number"
                )
            target[key] = value

    def reduce(self) -> None:
        arguments, called = self.pop(), self.pop()
        if type(called) is not Name or type(arguments) is not tuple:
            raise UnsafeFileError("the file calls something that is no allowed name")
        if called.text == "collections.OrderedDict" and not arguments:
            self.push({})
        elif called.text == "torch._utils._rebuild_tensor_v2":
            self.push(_tensor(arguments))
        elif called.text == "torch._utils._rebuild_parameter":
            if len(arguments) != 3 or type(arguments[0]) is not TensorSpec:
                raise UnsafeFileError("the file builds a parameter from something that is no tensor")
            self.push(arguments[0])
        else:
            raise UnsafeFileError(f"the file calls {called.text!a}, which no weight file does")

    def new_object(self) -> None:
        arguments, kind = self.pop(), self.pop()
        if type(kind) is not Name or not kind.text.endswith(".HParams") or arguments != ():
            raise UnsafeFileError("the file makes an object that no weight file has")
        self.push(Record())

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if type(state) is not dict or not all(type(key) is str for key in state):
            raise UnsafeFileError("the file sets the state of an object in a way that no weight file does")
        if type(target) is Record:
            target.fields.update(state)
        elif type(target) is not dict:  # A dict here is an OrderedDict whose _metadata is of no use to us.
            raise UnsafeFileError("the file sets the state of something that has none")

    def persistent(self) -> None:
        pid = self.pop()
        if type(pid) is not tuple or len(pid) != self.pid_size or pid[0] != "storage":
            raise UnsafeFileError("the file refers to something that is no storage")
        if self.pid_size > 5 and pid[5] is not None:  # Torch before 0.4 could name a part of a storage there.
            raise _broken("refers to a part of a storage")
        _, kind, key, location, count = pid[:5]
        if type(kind) is not Name or kind.text.removeprefix("torch.") not in STORAGES:
            raise UnsafeFileError("the file asks for a storage of an unknown kind")
        if type(key) is not str or type(location) is not str or not _is_size(count):
            raise UnsafeFileError("the file describes a storage wrongly")
        dtype, itemsize = STORAGES[kind.text.removeprefix("torch.")]
        spec = StorageSpec(dtype, itemsize, key, count)
        if self.storages.setdefault(key, spec) != spec:
            raise _broken("describes a storage in two ways")
        self.push(spec)


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 40


def _tensor(arguments: tuple[object, ...]) -> TensorSpec:
    """Check a tensor description against its storage: inside, not overlapping itself, nothing negative."""
    if len(arguments) not in (6, 7):
        raise UnsafeFileError("the file builds a tensor in a way that no weight file does")
    storage, offset, shape, stride = arguments[:4]
    if not isinstance(storage, StorageSpec):
        raise UnsafeFileError("the file builds a tensor from something that is no storage")
    if type(shape) is not tuple or type(stride) is not tuple or len(shape) != len(stride):
        raise _broken("describes a tensor wrongly")
    if len(shape) > RANK_LIMIT or not _is_size(offset) or not all(_is_size(n) for n in shape + stride):
        raise _broken("describes a tensor of impossible size")
    reach = 1
    for step, size in sorted((step, size) for step, size in zip(stride, shape, strict=True) if size > 1):
        # Each dimension must step over everything below it; a stride of 0 would make much out of nothing.
        if step < reach:
            raise _broken("describes a tensor that uses the same numbers twice")
        reach = step * (size - 1) + reach
    if 0 not in shape and offset + reach > storage.count:
        raise _broken("describes a tensor larger than its storage")
    return TensorSpec(storage, offset, shape, stride)


def _broken(what: str) -> BadCheckpointError:
    return BadCheckpointError(f"the file's index {what}", hint="download or export the file again")


_STEPS = {
    0x80: _Walk.proto,
    0x28: _Walk.mark,
    0x63: _Walk.global_name,
    0x71: lambda walk: walk.put("<B"),
    0x72: lambda walk: walk.put("<I"),
    0x68: lambda walk: walk.get("<B"),
    0x6A: lambda walk: walk.get("<I"),
    0x7D: lambda walk: walk.push({}),
    0x5D: lambda walk: walk.push([]),
    0x29: lambda walk: walk.push(()),
    0x74: lambda walk: walk.push(tuple(walk.pop_mark())),
    0x85: lambda walk: walk.fixed_tuple(1),
    0x86: lambda walk: walk.fixed_tuple(2),
    0x87: lambda walk: walk.fixed_tuple(3),
    0x58: _Walk.text,
    0x4A: lambda walk: walk.push(walk.number("<i")),
    0x4B: lambda walk: walk.push(walk.number("<B")),
    0x4D: lambda walk: walk.push(walk.number("<H")),
    0x8A: _Walk.long1,
    0x47: lambda walk: walk.push(struct.unpack(">d", walk.take(8))[0]),
    0x88: lambda walk: walk.push(True),
    0x89: lambda walk: walk.push(False),
    0x4E: lambda walk: walk.push(None),
    0x52: _Walk.reduce,
    0x81: _Walk.new_object,
    0x62: _Walk.build,
    0x61: lambda walk: walk.append([walk.pop()]),
    0x65: lambda walk: walk.append(walk.pop_mark()),
    0x73: lambda walk: walk.set_items([*reversed([walk.pop(), walk.pop()])]),
    0x75: lambda walk: walk.set_items(walk.pop_mark()),
    0x51: _Walk.persistent,
}
