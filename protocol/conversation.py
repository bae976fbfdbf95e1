"""The messages peers exchange about what people say of voices, on the stream of operations.

For turning requests and replies into bytes and back, each with its own limits, in the same form as the
messages of the other streams; `messages.py` reads and writes them, and its ``Fail`` stands in place of any
reply. Operations are carried as signed bytes and verified by nobody here. Not for deciding what to ask
(reconcile.py, chain.py). Follows specs/operations.md, "Messages".
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias

from p2pvoice.protocol.checks import check_blobs, check_bytes, check_slug_in, read_rows
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.ids import DIGEST_SIZE, PUBLIC_KEY_SIZE, SLUG_LIMIT, Digest
from p2pvoice.protocol.messages import SLACK
from p2pvoice.protocol.operations import OPERATION_LIMIT, OWNER_CHAIN_LIMIT, VoiceName
from p2pvoice.protocol.ranges import RANGES_BYTES, read_ranges, shown_ranges
from p2pvoice.protocol.reconcile import FINGERPRINT_SIZE, Range, check_ranges

OPERATIONS = "/p2pvoice/operations/1.0.0"
"""Stream protocol for operations on voices."""

VOICES_COMPARED = 64
"""Voices in one Compare."""

POINTS_LIMIT = 16
"""Points of a chain that one GetChain names; enough for the longest chain."""

RECORDS_LIMIT = 512
"""Operations in one ChainReply."""

RECORDS_BYTES = 256 * 1024
"""Signed bytes of the operations in one message."""

TOLD_LIMIT = 128
"""Operations in one TellOperations."""

_VOICE_BYTES = PUBLIC_KEY_SIZE + SLUG_LIMIT + 8


@dataclass(frozen=True)
class Compare:
    """Ask in which of these voices the other side's log differs; each with the fingerprint of its heads."""

    voices: tuple[tuple[VoiceName, bytes], ...]
    TYPE: ClassVar[str] = "compare"
    LIMIT: ClassVar[int] = VOICES_COMPARED * (_VOICE_BYTES + FINGERPRINT_SIZE + 8) + SLACK

    def __post_init__(self) -> None:
        if not 1 <= len(self.voices) <= VOICES_COMPARED:
            raise ManifestError(f"1 to {VOICES_COMPARED} voices are compared at once")
        for voice, fingerprint in self.voices:
            _voice(voice)
            check_bytes(fingerprint, FINGERPRINT_SIZE, "a fingerprint")
        if len({voice for voice, _ in self.voices}) != len(self.voices):
            raise ManifestError("a voice is compared once")

    def _body(self) -> dict[str, Any]:
        return {"voices": [[voice.author, voice.slug, fingerprint] for voice, fingerprint in self.voices]}

    @classmethod
    def _read(cls, fields: Fields) -> "Compare":
        voices = []
        for row in read_rows(fields, "voices", VOICES_COMPARED, 3):
            voices.append((VoiceName(row[0], row[1]), row[2]))
        return cls(tuple(voices))


@dataclass(frozen=True)
class Differ:
    """The places in the list of a Compare, from 0 and rising, of the voices whose logs are not alike.

    A voice of which the other side holds nothing is among them when the asker holds something.
    """

    indexes: tuple[int, ...] = ()
    TYPE: ClassVar[str] = "differ"
    LIMIT: ClassVar[int] = SLACK

    def __post_init__(self) -> None:
        if len(self.indexes) > VOICES_COMPARED:
            raise ManifestError(f"at most {VOICES_COMPARED} voices differ")
        for index in self.indexes:
            check_number(index, 0, VOICES_COMPARED - 1, "the place of a voice that differs")
        if any(one >= two for one, two in pairwise(self.indexes)):
            raise ManifestError("the places of voices that differ are not in order")

    def _body(self) -> dict[str, Any]:
        return {"indexes": list(self.indexes)}

    @classmethod
    def _read(cls, fields: Fields) -> "Differ":
        return cls(tuple(fields.items("indexes", VOICES_COMPARED)))


@dataclass(frozen=True)
class Reconcile:
    """One question about the heads of a voice's chains: ranges of signers."""

    voice: VoiceName
    ranges: tuple[Range, ...]
    TYPE: ClassVar[str] = "reconcile"
    LIMIT: ClassVar[int] = RANGES_BYTES + SLACK

    def __post_init__(self) -> None:
        _voice(self.voice)
        check_ranges(self.ranges)

    def _body(self) -> dict[str, Any]:
        return _named(self.voice) | {"ranges": shown_ranges(self.ranges)}

    @classmethod
    def _read(cls, fields: Fields) -> "Reconcile":
        return cls(_read_voice(fields), read_ranges(fields))


@dataclass(frozen=True)
class Reconciled:
    """The answer to a Reconcile: ranges again, none when everything is alike."""

    ranges: tuple[Range, ...] = ()
    TYPE: ClassVar[str] = "reconciled"
    LIMIT: ClassVar[int] = RANGES_BYTES + SLACK

    def __post_init__(self) -> None:
        check_ranges(self.ranges)

    def _body(self) -> dict[str, Any]:
        return {"ranges": shown_ranges(self.ranges)}

    @classmethod
    def _read(cls, fields: Fields) -> "Reconciled":
        return cls(read_ranges(fields))


@dataclass(frozen=True)
class GetChain:
    """Ask for what follows in a signer's chain after the latest of the ``points`` that both sides hold.

    ``points`` are (seq, id) of the asker's chain, seq falling; none asks from the beginning. ``limit`` is
    the number of operations wanted at most.
    """

    voice: VoiceName
    signer: bytes
    points: tuple[tuple[int, Digest], ...] = ()
    limit: int = RECORDS_LIMIT
    TYPE: ClassVar[str] = "get-chain"
    LIMIT: ClassVar[int] = POINTS_LIMIT * (DIGEST_SIZE + 8) + _VOICE_BYTES + PUBLIC_KEY_SIZE + SLACK

    def __post_init__(self) -> None:
        _voice(self.voice)
        check_bytes(self.signer, PUBLIC_KEY_SIZE, "a signer")
        check_number(self.limit, 1, RECORDS_LIMIT, "the number of operations wanted")
        if len(self.points) > POINTS_LIMIT:
            raise ManifestError(f"at most {POINTS_LIMIT} points of a chain are named")
        for seq, digest in self.points:
            check_number(seq, 1, OWNER_CHAIN_LIMIT, "the place of an operation in its chain")
            check_bytes(digest, DIGEST_SIZE, "an operation's id")
        if any(one[0] <= two[0] for one, two in pairwise(self.points)):
            raise ManifestError("the points of a chain are not in order, latest first")

    def _body(self) -> dict[str, Any]:
        points = [[seq, digest] for seq, digest in self.points]
        return _named(self.voice) | {"signer": self.signer, "points": points, "limit": self.limit}

    @classmethod
    def _read(cls, fields: Fields) -> "GetChain":
        voice, signer = _read_voice(fields), fields.blob("signer", PUBLIC_KEY_SIZE)
        points = tuple((row[0], row[1]) for row in read_rows(fields, "points", POINTS_LIMIT, 2, ()))
        return cls(voice, signer, points, fields.number("limit", RECORDS_LIMIT))


@dataclass(frozen=True)
class ChainReply:
    """Signed operations of one chain in their order, and the seq of the last one held (0 for none).

    More is to be had when the last record's seq is below ``length``. Nothing is verified by being here.
    """

    records: tuple[bytes, ...] = ()
    length: int = 0
    TYPE: ClassVar[str] = "chain"
    LIMIT: ClassVar[int] = RECORDS_BYTES + RECORDS_LIMIT * 5 + SLACK

    def __post_init__(self) -> None:
        _records(self.records, RECORDS_LIMIT)
        check_number(self.length, 0, OWNER_CHAIN_LIMIT, "the length of a chain")
        if len(self.records) > self.length:
            raise ManifestError("a part of a chain is longer than the chain")

    def _body(self) -> dict[str, Any]:
        return {"records": list(self.records), "length": self.length}

    @classmethod
    def _read(cls, fields: Fields) -> "ChainReply":
        return cls(fields.blobs("records", RECORDS_LIMIT), fields.number("length"))


@dataclass(frozen=True)
class TellOperations:
    """Tell a peer of signed operations, unasked; those of one chain in their order."""

    records: tuple[bytes, ...]
    TYPE: ClassVar[str] = "tell-operations"
    LIMIT: ClassVar[int] = RECORDS_BYTES + TOLD_LIMIT * 5 + SLACK

    def __post_init__(self) -> None:
        if not self.records:
            raise ManifestError("nothing is told")
        _records(self.records, TOLD_LIMIT)

    def _body(self) -> dict[str, Any]:
        return {"records": list(self.records)}

    @classmethod
    def _read(cls, fields: Fields) -> "TellOperations":
        return cls(fields.blobs("records", TOLD_LIMIT))


@dataclass(frozen=True)
class Told:
    """How many of the operations told were new to the other side, and stay with it."""

    kept: int
    TYPE: ClassVar[str] = "told"
    LIMIT: ClassVar[int] = SLACK

    def __post_init__(self) -> None:
        check_number(self.kept, 0, TOLD_LIMIT, "the number of operations kept")

    def _body(self) -> dict[str, Any]:
        return {"kept": self.kept}

    @classmethod
    def _read(cls, fields: Fields) -> "Told":
        return cls(fields.number("kept"))


Said: TypeAlias = Compare | Differ | Reconcile | Reconciled | GetChain | ChainReply | TellOperations | Told
"""Anything that travels on the stream of operations, besides ``Fail``."""


def _named(voice: VoiceName) -> dict[str, Any]:
    return {"author": voice.author, "slug": voice.slug}


def _read_voice(fields: Fields) -> VoiceName:
    return VoiceName(fields.blob("author", PUBLIC_KEY_SIZE), fields.text("slug"))


def _voice(voice: VoiceName) -> None:
    check_bytes(voice.author, PUBLIC_KEY_SIZE, "an author")
    check_slug_in(voice.slug)


def _records(records: tuple[bytes, ...], limit: int) -> None:
    check_blobs(records, limit, OPERATION_LIMIT, "operations")
    if sum(map(len, records)) > RECORDS_BYTES:
        raise ManifestError(f"the operations of a message have at most {RECORDS_BYTES} bytes together")
