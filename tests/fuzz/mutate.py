"""How a case is made out of others: edits of bytes, and edits that keep the form around them whole.

A signature, a checksum or a length in front refuses nearly every random edit, so what lies behind it would
never be tried: the structured edits take the form apart, change what is inside and put the form together
again. Every mutator is a pure function of its bytes and of the random generator. Follows specs/fuzzing.md.
"""

import hashlib
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.envelope import public_key_of, seal
from p2pvoice.protocol.errors import RefusedError

#: Makes a case of an earlier one, and of others that may lend it pieces.
Mutator = Callable[[bytes, Sequence[bytes], random.Random], bytes]

#: The key of the test vectors: what is changed under a signature is signed again with it.
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

#: Every key the vectors sign with, by its public key: an author, a consent's subject, an author's next key.
KEYS = {
    public_key_of(key): key
    for key in (
        KEY,
        Ed25519PrivateKey.from_private_bytes(bytes(32)),
        Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))),
    )
}

#: Bytes of a structured case that is taken apart at all.
TREE_LIMIT = 1 << 20

_INTEGERS = (
    0, 1, 2, -1, 127, 128, 255, 256, 4096, 65535, 65536, 1 << 20, (1 << 20) + 1, (1 << 31) - 1, 1 << 31,
    1 << 32, 1 << 40, 1 << 53, (1 << 63) - 1, -(1 << 63),
)  # fmt: skip
_TEXTS = (
    "", "\0", " ", "../../etc/passwd", "/", "a" * 64, "a" * 257, "\u202eabc", "e\u0301", "\ud7a3",
    "\U0001f600", "NaN", "1e999", "None", "self", "CC-BY-4.0", "language/yue", "\n", "\u200b", "-", "0",
)  # fmt: skip
_SIZES = (1, 1, 1, 2, 3, 4, 8, 16, 64, 256)


def edit_bytes(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """One to four small edits anywhere."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = _edit_once(data, others, rng)
    return data


def _edit_once(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    size = min(rng.choice(_SIZES), len(data) - at)
    match rng.randrange(9):
        case 0:
            return data[:at] + rng.randbytes(rng.choice(_SIZES)) + data[at:]
        case 1:
            return data[:at] + data[at + size :]
        case 2:
            return data[:at] + rng.randbytes(size) + data[at + size :]
        case 3 if at < len(data):
            return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]
        case 4:
            return data[:at]
        case 5:
            return data[:at] + data[at : at + size] * rng.choice((2, 3, 50)) + data[at + size :]
        case 6 if others:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            return data[:at] + other[start : start + rng.choice(_SIZES) * 4] + data[at + size :]
        case 7:
            form = rng.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
            width = struct.calcsize(form)
            number = (rng.choice(_INTEGERS) + rng.choice((-1, 0, 0, 1))) % (1 << 8 * width)
            return data[:at] + struct.pack(form, number) + data[at + width :]
        case _ if others:
            other = rng.choice(others)
            return data[:at] + other[rng.randrange(len(other) + 1) :]
    return data + b"\0"


def edit_value(value: Any, rng: random.Random) -> Any:
    """The same tree with one place of it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        match rng.randrange(10):
            case 0:
                return {name: item for name, item in value.items() if name != key}
            case 1:
                return value | {rng.choice(_TEXTS): value[key]}
            case 2:
                return value | {"x" + str(rng.randrange(100)): _any_value(rng)}
            case _:
                return value | {key: edit_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        match rng.randrange(8):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value[:at] + [value[at]] * rng.choice((2, 3, 70)) + value[at + 1 :]
            case 2:
                return value[::-1]
            case 3:
                return [*value, _any_value(rng)]
            case _:
                return [*value[:at], edit_value(value[at], rng), *value[at + 1 :]]
    return _edit_leaf(value, rng)


def _edit_leaf(value: Any, rng: random.Random) -> Any:
    if rng.random() < 0.2:
        return _any_value(rng)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value * 2, rng.choice(_INTEGERS)))
    if isinstance(value, bytes):
        return rng.choice((value[:-1], value + b"\0", edit_bytes(value, (), rng)))
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        return rng.choice(
            (
                value[:at],
                value[:at] + rng.choice(_TEXTS) + value[at:],
                value.upper(),
                value * 9,
                rng.choice(_TEXTS),
            )
        )
    return _any_value(rng)


def _any_value(rng: random.Random) -> Any:
    return rng.choice(
        (
            None, True, False, [], {}, [[]], {"a": {}}, rng.choice(_INTEGERS), rng.choice(_TEXTS),
            rng.randbytes(rng.choice((0, 1, 32, 33))), [rng.choice(_INTEGERS)],
            {rng.choice(_TEXTS): rng.choice(_TEXTS)},
        )
    )  # fmt: skip


def edit_map(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An edit of the value inside canonical MessagePack; now and then of the bytes themselves."""
    if rng.random() < 0.85:
        try:
            value = decode(data, limit=TREE_LIMIT)
            for _ in range(rng.choice((1, 1, 2, 3))):
                value = edit_value(value, rng)
            return encode(value)
        except RefusedError:
            pass
    return edit_bytes(data, others, rng)


def edit_ranges(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An edit of a message's ranges of keys that leaves most of them in order; now and then any edit."""
    if rng.random() < 0.8:
        try:
            value = decode(data, limit=TREE_LIMIT)
            ranges = {row[0]: row[1:] for row in value["ranges"]}
            for _ in range(rng.choice((1, 1, 2, 8))):
                upper = rng.choice([*ranges, rng.randbytes(32), b"\xff" * 32])
                match rng.randrange(5):
                    case 0:
                        ranges.pop(upper, None)
                    case 1:
                        ranges[upper] = []
                    case 2:
                        ranges[upper] = [rng.randbytes(16)]
                    case 3:
                        ranges[upper] = [b""]
                    case _:
                        # Its upper end as a pair, which is the one that surely lies in it.
                        ranges[upper] = [(ranges.get(upper) or [b""])[0][:-64] + upper + rng.randbytes(32)]
            return encode(value | {"ranges": [[upper, *ranges[upper]] for upper in sorted(ranges)]})
        except (RefusedError, KeyError, TypeError, IndexError):
            pass
    return edit_map(data, others, rng)


def edit_signed(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An edit of the payload of an envelope, signed again; now and then of the envelope itself."""
    if rng.random() < 0.85:
        try:
            envelope = decode(data, limit=TREE_LIMIT)
            if isinstance(envelope["payload"], bytes):
                return _signed_again(envelope, edit_map(envelope["payload"], (), rng))
        except (RefusedError, KeyError, TypeError, AttributeError):
            pass
    return edit_map(data, others, rng)


def _signed_again(envelope: Any, payload: bytes) -> bytes:
    """An envelope over another payload, by the same signer where that is one of the vectors'."""
    return seal(envelope["kind"], payload, KEYS.get(envelope["author"], KEY)).to_bytes()


def edit_consent(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An edit of the signed consent inside a release, both signed again; now and then of the release."""
    if rng.random() < 0.7:
        try:
            envelope = decode(data, limit=TREE_LIMIT)
            manifest = decode(envelope["payload"], limit=TREE_LIMIT)
            manifest["consent"]["signed"] = edit_signed(manifest["consent"]["signed"], (), rng)
            return _signed_again(envelope, encode(manifest))
        except (RefusedError, KeyError, TypeError, AttributeError):
            pass
    return edit_signed(data, others, rng)


def edit_keyfile(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An edit of a key file whose check sum is made right again."""
    if rng.random() < 0.85 and len(data) > hashlib.sha256().digest_size:
        body = bytearray(data[: -hashlib.sha256().digest_size])
        for _ in range(rng.choice((1, 1, 2, 4))):
            # The parameters stand in the first bytes, so they are changed most.
            body[rng.randrange(min(len(body), rng.choice((16, 16, len(body)))))] = rng.randrange(256)
        return bytes(body) + hashlib.sha256(body).digest()
    return edit_bytes(data, others, rng)


def edit_json(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An edit of the value inside a JSON text."""
    if rng.random() < 0.8:
        try:
            return json.dumps(_jsonable(edit_value(json.loads(data), rng)), ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            pass
    return edit_bytes(data, others, rng)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def edit_safetensors(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An edit of a file's JSON header, with its length and its padding made right again."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8 or rng.random() < 0.15:
        return edit_bytes(data, others, rng)
    header = edit_json(data[8 : 8 + size].rstrip(b" "), [other[8:] for other in others], rng)
    header += b" " * (-len(header) % 8)
    body = data[8 + size :] if rng.random() < 0.9 else edit_bytes(data[8 + size :], others, rng)
    return len(header).to_bytes(8, "little") + header + body


def edit_zip(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An edit inside one entry of a zip file, with a container around it whose checksums are right."""
    if rng.random() < 0.8:
        mark = data[:2]
        try:
            with zipfile.ZipFile(io.BytesIO(b"PK" + data[2:])) as archive:
                entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
            return mark + _zipped(_edit_entries(entries, others, rng))[2:]
        except Exception:
            # The library's decoders raise errors of many kinds for a file that they cannot take apart.
            return edit_bytes(data, others, rng)
    return edit_bytes(data, others, rng)


def _edit_entries(
    entries: list[tuple[str, bytes]], others: Sequence[bytes], rng: random.Random
) -> list[tuple[str, bytes]]:
    index = [at for at, (name, _) in enumerate(entries) if name.endswith("data.pkl")]
    at = index[0] if index and rng.random() < 0.75 else rng.randrange(len(entries))
    name, body = entries[at]
    match rng.randrange(12):
        case 0:
            return entries[:at] + entries[at + 1 :]
        case 1:
            return [*entries, (rng.choice(("a/../x", name + "x", "archive/data/9", "/x")), body[:64])]
        case 2:
            return [*entries[:at], (name, body[:-2]), *entries[at + 1 :]]
        case _:
            return [*entries[:at], (name, edit_pickle(body, others, rng)), *entries[at + 1 :]]


def _zipped(entries: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        # A name twice is what is wanted now and then.
        warnings.simplefilter("ignore")
        for name, body in entries:
            archive.writestr(zipfile.ZipInfo(name), body)
    return buffer.getvalue()


#: Pieces of pickles: opcodes with their arguments, names that are allowed, and some that are not.
_PIECES = (
    b"(", b".", b"}", b"]", b")", b"t", b"\x85", b"\x86", b"\x87", b"N", b"\x88", b"\x89", b"R", b"\x81",
    b"b", b"a", b"e", b"s", b"u", b"Q", b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"r\0\0\1\0", b"j\0\0\1\0",
    b"K\x00", b"K\x01", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x8a\x09", b"G\x7f\xf8\0\0\0\0\0\0", b"X\x01\0\0\0a",
    b"X\x06\0\0\0weight", b"X\x06\0\0\0config", b"X\x07\0\0\0storage", b"X\x01\0\0\x000",
    b"X\x03\0\0\0cpu", b"X\x03\0\0\0\xed\xa0\x80", b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch\nHalfStorage\n", b"ctorch\nFloatStorage\n", b"ctorch\nBoolStorage\n", b"cutils\nHParams\n",
    b"cos\nsystem\n", b"\x80\x02", b"\x80\x04", b"\x93", b"\x8c\x01a", b"0", b"2",
)  # fmt: skip


def edit_pickle(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """An edit of a pickle: whole opcodes put in, or bytes changed."""
    if rng.random() < 0.5:
        return edit_bytes(data, others, rng)
    at = rng.randrange(len(data) + 1)
    pieces = b"".join(rng.choice(_PIECES) for _ in range(rng.choice((1, 1, 2, 3, 8))))
    return data[:at] + pieces + data[at + rng.choice((0, 0, 1, 2, len(pieces))) :]
