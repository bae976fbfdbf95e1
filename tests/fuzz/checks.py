"""What must hold for whatever bytes a parser of the protocol is given: the functions behind the targets.

Each takes bytes and returns nothing. Only documented refusals may come out of the code under test; where it
accepts, the round trip holds: what was read is written again as the same bytes, or reads back as an equal
value where unknown fields are dropped. Anything else is a finding. Follows specs/fuzzing.md.
"""

import contextlib
import struct
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import safetensors

from p2pvoice.protocol import (
    canonical,
    chain,
    chunks,
    codec,
    collection,
    confusable,
    conversation,
    delta,
    delta_planes,
    exchange_messages,
    framing,
    head,
    ids,
    keyfile,
    label,
    messages,
    ogg,
    operations,
    pronunciation,
    reconcile,
    replay,
    successor,
    tags,
    tensors,
)
from p2pvoice.protocol.canonical import decode
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import (
    BadCheckpointError,
    ChunkMismatchError,
    CorruptError,
    ManifestError,
    ProtocolMismatchError,
    RefusedError,
    UsageError,
)

from .mutate import KEYS

#: What a target is: it returns for whatever is accepted or refused rightly, and raises for a finding.
Check = Callable[[bytes], None]

T = TypeVar("T")

#: Bytes of a document for the parsers that leave the limit to their caller.
LIMIT = 64 * 1024

#: A moment at which the heads of the vectors are valid, in seconds since 1970.
NOW = 1_790_000_000


def wire(read: Callable[[bytes], T], write: Callable[[T], bytes]) -> Check:
    """A struct whose bytes are canonical: what is accepted is written again as exactly those bytes."""

    def check(data: bytes) -> None:
        try:
            value = read(data)
        except RefusedError:
            return
        assert write(value) == data

    return check


def mapped(read: Callable[[object], T], write: Callable[[T], Any]) -> Check:
    """The same for a part of a document, which is read from a decoded map and written as one."""
    return wire(lambda data: read(decode(data, limit=LIMIT)), lambda value: canonical.encode(write(value)))


def signed(
    kind: str, read: Callable[[bytes], T], author: Callable[[T], bytes], payload: Callable[[T], bytes]
) -> Check:
    """A signed record: what is accepted, signed again by its author, is accepted as an equal record."""

    def check(data: bytes) -> None:
        try:
            value = read(data)
        except RefusedError:
            return
        key = KEYS.get(author(value))
        if key is not None:
            assert read(seal(kind, payload(value), key).to_bytes()) == value

    return check


def text(read: Callable[[str], T], write: Callable[[T], str]) -> Check:
    """A short text with one spelling; UsageError is its refusal."""

    def check(data: bytes) -> None:
        typed = data.decode("utf-8", "surrogateescape")
        try:
            value = read(typed)
        except (UsageError, ManifestError):
            return
        assert write(value) == typed

    return check


def check_heads(data: bytes) -> None:
    """A head by itself, and beside another one of the same voice."""
    try:
        one = head.verify_head(data, NOW)
    except RefusedError:
        return
    assert head.advance(None, one) == one
    assert head.advance(one, one) == one
    assert not head.newer(one, one)
    assert not head.is_fork(one, one)
    key = head.head_key(one.author, one.slug)
    assert len(key) <= 128
    if len(one.slug) <= head.SLUG_IN_KEY:
        assert head.parse_head_key(key) == (one.author, one.slug)


def check_collection(data: bytes) -> None:
    """A collection: it is no fork of itself and has a key, and signed again it is an equal one."""
    try:
        one = collection.verify_collection(data)
    except RefusedError:
        return
    held = one.collection
    assert len(data) <= collection.COLLECTION_LIMIT
    assert len(held.items) == len(set(held.releases)) <= collection.ITEMS_LIMIT
    assert collection.advance(one, one) is one
    assert not collection.is_fork(one, one)
    assert collection.collection_key(one.author, held.slug) == collection.collection_key(
        held.author, held.slug
    )
    if held.author in KEYS:
        again = collection.sign_collection(held, KEYS[held.author])
        assert collection.verify_collection(again.data) == again
        assert again.collection == held


def check_head_key(data: bytes) -> None:
    """The DHT key of a head."""
    try:
        author, slug = head.parse_head_key(data)
    except UsageError:
        return
    assert head.head_key(author, slug) == data


def check_successor(data: bytes) -> None:
    """A successor record: it has a key of its own, is no fork of itself, and signed again it is the same."""
    try:
        one = successor.verify_successor(data)
    except RefusedError:
        return
    assert not successor.is_fork(one, one)
    assert successor.parse_successor_key(successor.successor_key(one.old)) == one.old
    if one.old in KEYS and one.new in KEYS:
        again = successor.sign_successor(one, KEYS[one.old], KEYS[one.new])
        assert successor.verify_successor(again) == one


def check_successor_key(data: bytes) -> None:
    """The DHT key of a successor record."""
    try:
        author = successor.parse_successor_key(data)
    except UsageError:
        return
    assert successor.successor_key(author) == data


def check_keyfile(data: bytes) -> None:
    """A key file: what it asks of memory is bounded. It is not opened, which would take seconds a case."""
    try:
        read = keyfile.parse_key(data)
    except CorruptError:
        return
    if isinstance(read, bytes):
        assert read == data
        assert len(read) == keyfile.SEED_SIZE
        return
    assert read.data == data
    assert len(data) == keyfile.SEALED_SIZE
    assert 128 * (1 << read.cost) * read.block <= 256 << 20
    assert 1 <= read.parallel <= keyfile.PARALLEL_LIMIT
    header = (read.cost, read.block, read.parallel, *read.salt, *read.nonce, *read.public)
    assert keyfile.MAGIC + bytes((keyfile.VERSION, *header)) == data[: 12 + 16 + 12 + 32]


def check_pronunciation(data: bytes) -> None:
    """A voice's dictionary: what is accepted is within bounds and reads back the same, spoken or not."""
    from p2pvoice.sovits.text.pronunciations import Pronunciations

    try:
        found = pronunciation.decode(data, size=LIMIT, entries=pronunciation.VOICE_ENTRIES)
    except UsageError:
        return
    assert len({one.key for one in found}) == len(found) <= pronunciation.VOICE_ENTRIES
    text = pronunciation.encode(found)
    assert sorted(pronunciation.parse(text), key=repr) == sorted(found, key=repr)
    assert pronunciation.encode(pronunciation.parse(text)) == text
    with contextlib.suppress(UsageError):
        words = Pronunciations(found)
        for one in found:
            hidden = words.hide(one.word)
            assert len(hidden) == len(one.word)
            assert words.hide(hidden) == hidden


def check_confusable(data: bytes) -> None:
    """A stranger's name: its skeletons do not change for what cannot be seen, nor with how it is composed."""
    name = data.decode("utf-8", "replace")
    try:
        forms = confusable.skeletons(name)
    except UsageError:
        assert len(name) > confusable.TEXT_LIMIT
        return
    assert all(forms)
    assert confusable.alike(name, name) == bool(forms)
    for other in (name + "\u200b", unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name)):
        if len(other) <= confusable.TEXT_LIMIT:
            assert confusable.skeletons(other) == forms


def check_framing(data: bytes) -> None:
    """A stream cut in two places gives what it gives whole, and its frames are the bytes that came."""
    limit = 1024
    whole = _frames([data], limit)
    cuts = sorted({len(data) // 3, 2 * len(data) // 3})
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert _frames(pieces, limit) == whole
    frames, rest = whole
    if rest is not None:
        assert b"".join(framing.encode_frame(frame, limit) for frame in frames) == data[: len(data) - rest]


def _frames(pieces: list[bytes], limit: int) -> tuple[list[bytes], int | None]:
    reader = framing.FrameReader(limit)
    frames: list[bytes] = []
    for piece in pieces:
        try:
            frames += reader.feed(piece)
        except ManifestError:
            # How many whole frames came out before the bad one depends on the cuts.
            return [], None
        assert reader.pending < limit + framing.PREFIX_SIZE
    return frames, reader.pending


def check_operation(data: bytes) -> None:
    """A signed operation: signed again it is the same; it joins a log or not, and is replayed alone."""
    try:
        one = operations.verify_operation(data)
    except RefusedError:
        return
    key = KEYS.get(one.operation.signer)
    if key is not None:
        again = operations.verify_operation(operations.sign_operation(one.operation, key).data)
        assert again.operation == one.operation
    assert operations.parse_operation_id(operations.operation_id(one.id)) == one.id
    log = chain.Log(one.operation.voice)
    assert log.add(one).kept == (one.operation.seq == 1)
    state = replay.replay([one], (one.operation.voice.author,))
    assert replay.totals(state, lambda signer: True).signers <= 1


#: The sets of two nodes that reconcile, as long as both split their ranges.
OURS, THEIRS = (
    reconcile.Pairs(
        {ids.digest_of(b"key %d" % n): ids.digest_of(b"%d" % n) for n in range(first, first + 400)}
    )
    for first in (0, 40)
)


def check_reconcile(data: bytes) -> None:
    """Ranges of a stranger: whatever is said to them is within the limits, and a conversation ends."""
    try:
        ranges = messages.decode_message(data, conversation.Reconciled).ranges
    except (ManifestError, ProtocolMismatchError):
        return
    for pairs in (OURS, reconcile.Pairs({})):
        messages.encode_message(conversation.Reconciled(reconcile.answer(pairs, ranges)))
        question, found = reconcile.compare(pairs, ranges)
        messages.encode_message(conversation.Reconciled(question))
        assert len({one.key for one in found}) == len(found)
        assert all(one.ours != one.theirs for one in found)
    asking = reconcile.Reconciliation(OURS)
    # The stranger lies once, and is honest from then on.
    with contextlib.suppress(ManifestError):
        asking.take(ranges)
    while asking.question:
        asking.take(reconcile.answer(THEIRS, asking.question))
    assert asking.rounds < reconcile.ROUNDS_LIMIT


def check_safetensors(data: bytes) -> None:
    """A whole file: what the strict reader accepts, the format's own library reads as the same tensors."""
    try:
        header = tensors.read_header(data, len(data))
    except BadCheckpointError:
        return
    assert header.header_size <= tensors.HEADER_LIMIT
    place = header.header_size
    for info in header.tensors.values():
        assert info.start == place
        place = info.end
        tensors.is_finite(info.dtype, data[info.start : info.end])
    assert place == header.file_size == len(data)
    assert sum(chunks.plan_chunks(len(data), header)) == len(data)
    theirs = {name: (entry["dtype"], tuple(entry["shape"]), bytes(entry["data"]))
              for name, entry in safetensors.deserialize(data)}  # fmt: skip
    assert theirs == {n: (t.dtype, t.shape, data[t.start : t.end]) for n, t in header.tensors.items()}


LABEL = label.Label(
    produce_id="019ab000-0000-7000-8000-000000000000", producer="p2pvoice/0.1.0", voice="说书人"
)


def check_label(data: bytes) -> None:
    """A sound file: it is read or refused, and labelling it gives a file with exactly that label."""
    with contextlib.suppress(ManifestError):
        label.read_label(data)
    for write in (label.label_wav, label.label_flac, label.label_mp3, label.label_ogg):
        try:
            labelled = write(data, LABEL)
        except (ManifestError, UsageError):
            continue
        assert label.read_label(labelled) == LABEL
        assert write(labelled, LABEL) == labelled
    with contextlib.suppress(ManifestError):
        length = ogg.head_length(data)
        assert length is None or ogg.head_length(data[:length]) == length


def streams() -> Iterator[bytes]:
    """Beginnings of MP3 and Ogg files, without a label and with one."""
    old = b"ID3\x03\0\0\0\0\0\x13TXXX\0\0\0\x09\0\0\x01\xff\xfea\0\0\0b\0"
    sound = b"\xff\xf3\x84\xc4" + bytes(60)
    for begin in (b"", sound, old + sound):
        yield begin
        yield label.label_mp3(begin, LABEL)
    for first, second in ((b"OpusHead", b"OpusTags"), (b"\x01vorbis", b"\x03vorbis")):
        packets = (first + bytes(11), second + b"\0\0\0\0\1\0\0\0\3\0\0\0A=b\1", b"\x05vorbis setup")
        pages = [
            b"OggS\0" + bytes((0 if number else 2,)) + bytes(8) + b"one "
            + bytes((number, 0, 0, 0, 0, 0, 0, 0, 1, len(packet))) + packet
            for number, packet in enumerate(packets)
        ]  # fmt: skip
        yield b"".join(pages)
        yield label.label_ogg(b"".join(pages), LABEL)


#: What the chunks of the vectors and of the target's seeds hold, so that some cases decode.
CHUNK = b"weights " * 64


def check_chunk(data: bytes) -> None:
    """A chunk from a stranger, in either codec, and the same bytes as a chunk of ours."""
    for name in codec_names(data):
        try:
            raw = codec.decode_chunk(name, data, len(CHUNK), ids.digest_of(CHUNK))
        except ChunkMismatchError:
            continue
        assert raw == CHUNK
    if data:
        name, packed = codec.encode_chunk(data)
        assert len(packed) <= len(data)
        assert codec.decode_chunk(name, packed, len(data), ids.digest_of(data)) == data


#: What deltas are told from: 1,200 numbers of several exponents, so that there are two groups in each format.
BASE = b"".join(struct.pack("<e", (-1.4) ** (i % 19) * (1 + i / 1200)) for i in range(1200))


def check_delta(data: bytes) -> None:
    """A delta from a stranger, and the same bytes as a chunk of ours told from the base."""
    with suppress(ChunkMismatchError):
        assert len(delta.decode(data, BASE)) == len(BASE)
    base = BASE[: len(data)]
    for form in delta_planes.FORMATS.values():
        blob = delta.encode(data, base, form)
        assert blob is None or delta.decode(blob, base) == data


def deltas() -> Iterator[bytes]:
    """Deltas to BASE: of numbers that moved a little, some of them, far, and not at all."""
    numbers = struct.unpack(f"<{len(BASE) // 2}H", BASE)
    for every, step in ((1, 3), (7, 1), (3, 700), (10_000, 0)):
        moved = [
            (value + (step * index % 997 if index % every == 0 else 0)) % 65_536
            for index, value in enumerate(numbers)
        ]
        for form in delta_planes.FORMATS.values():
            blob = delta.encode(struct.pack(f"<{len(moved)}H", *moved), BASE, form)
            if blob is not None:
                yield blob


def codec_names(data: bytes) -> tuple[str, ...]:
    """Both codecs, and one that nobody knows, named by the data."""
    return (*exchange_messages.CODECS, data[:16].decode("latin-1"))


def check_tag(data: bytes) -> None:
    """A tag as somebody typed it: its key is in canonical form and may stand in a manifest."""
    try:
        key = tags.canonical_tag(data.decode("utf-8", "surrogateescape"))
    except UsageError:
        return
    assert tags.canonical_tag(key) == key
    assert tags.check_tag(key) == key
    assert tags.tag_names(key)


def check_slugify(data: bytes) -> None:
    """Whatever a voice is called, its slug is one."""
    made = ids.slugify(data.decode("utf-8", "surrogatepass" if _surrogates(data) else "replace"))
    assert ids.check_slug(made) == made


def _surrogates(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
