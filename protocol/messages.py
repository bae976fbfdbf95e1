"""The messages peers exchange on the catalog and exchange streams.

For turning requests and replies into bytes and back, each with its own limits. The version is in the stream's
protocol id; inside one version, unknown keys are ignored, so a newer peer may add some. Messages are
canonical MessagePack maps with their type under ``t``. Not for framing, nor for sending. Follows
specs/messages.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeAlias, TypeVar

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.chunks import CHUNK_LIMIT, CHUNKS_LIMIT, Bitmap
from p2pvoice.protocol.codec import DELTA
from p2pvoice.protocol.collection_messages import CollectionReply, GetCollection
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.errors import (
    ManifestError,
    NetworkError,
    P2PVoiceError,
    ProtocolMismatchError,
    UsageError,
    by_code,
)
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.head import HEAD_LIMIT
from p2pvoice.protocol.ids import DIGEST_SIZE, Digest, check_slug, cid_of, parse_author_id, parse_release_id
from p2pvoice.protocol.manifest import RELEASE_LIMIT
from p2pvoice.protocol.revocation import REVOCATION_LIMIT
from p2pvoice.protocol.successor import SUCCESSOR_LIMIT
from p2pvoice.protocol.tags import TAGS_LIMIT, check_tag

CATALOG = "/p2pvoice/catalog/1.0.0"
"""Stream protocol for questions about releases and heads."""

EXCHANGE = "/p2pvoice/exchange/1.0.0"
"""Stream protocol for chunks."""

REQUEST_LIMIT = 4096
"""Bytes of any request."""

PAGE_LIMIT = 1024 * 1024
"""Bytes of releases and heads in one page; one release always fits."""

PAGE_ITEMS = 64
"""Releases, and heads, in one page."""

SHELF_SIZE = 1 << 40
"""What a shelf may be said to hold lies below this."""

PAGE_REVOCATIONS = 16
"""Revocations in one page: of releases that would have been in the answer."""

REVOCATIONS_ASKED = 64
"""Releases one GetRevocations may name, and revocations its answer may hold."""

PROOFS_LIMIT = 16
"""Releases that one answer may carry to show that its revocations were signed by somebody with a say."""

PROOFS_BYTES = 512 * 1024
"""Bytes of these releases together; one always fits."""

CURSOR_LENGTH = 128
"""Characters of a cursor: whatever the answering peer wrote, given back to it unread."""

WINDOW_LIMIT = 64
"""Chunks one Want may ask for."""

FAIL_MESSAGE_LENGTH = 200
"""Characters of a failure's message that are sent and shown."""

CODE_LENGTH = 32
"""Characters of an error code."""

CODECS = ("raw", "zstd", DELTA)
"""How a chunk may be encoded on the wire; the last only when a base was named."""

PLAIN_CODECS = CODECS[:2]
"""How a chunk may be encoded without a base."""

BASES_LIMIT = 4
"""Files a want may name as bases for deltas."""

KNOWN_SIZE = 8
"""Bytes by which a query names a release that is known: too many for anybody to meet another's by trying."""

KNOWN_LIMIT = 256
"""Releases that a query names as known."""

_SLACK = 512
"""Bytes of keys, numbers and lengths around the payload of a reply."""

_ITEMS = 1024
"""Values in one message."""


@dataclass(frozen=True)
class Query:
    """Ask for the releases that carry all these canonical tags; no tags asks for everything offered.

    ``offered`` leaves out what stands on shelves only. ``known`` are the beginnings, ``KNOWN_SIZE`` bytes
    each, of the digests of releases that need not be told: beside many long tags fewer of them fit
    (:meth:`known_beside`).
    """

    tags: tuple[str, ...] = ()
    limit: int = PAGE_ITEMS
    cursor: str = ""
    offered: bool = False
    known: bytes = b""
    TYPE: ClassVar[str] = "query"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    @staticmethod
    def known_beside(tags: Sequence[str]) -> int:
        """How many known releases a query with these tags may name, whatever its cursor."""
        left = REQUEST_LIMIT - _SLACK - CURSOR_LENGTH - sum(len(tag.encode()) + 3 for tag in tags)
        return max(0, min(KNOWN_LIMIT, left // KNOWN_SIZE))

    def __post_init__(self) -> None:
        if len(self.tags) > TAGS_LIMIT or len(set(self.tags)) != len(self.tags):
            raise ManifestError(f"a query has at most {TAGS_LIMIT} different tags")
        for tag in self.tags:
            check_tag(tag)
        check_number(self.limit, 1, PAGE_ITEMS, "the limit of a query")
        _cursor(self.cursor)
        if type(self.offered) is not bool:
            raise ManifestError("a query is about what is offered only, or about shelves, too")
        if not isinstance(self.known, bytes) or len(self.known) > KNOWN_LIMIT * KNOWN_SIZE:
            raise ManifestError(f"a query names at most {KNOWN_LIMIT} known releases")
        if len(self.known) % KNOWN_SIZE:
            raise ManifestError(f"a known release is named by {KNOWN_SIZE} bytes")

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"tags": list(self.tags), "limit": self.limit, "cursor": self.cursor}
        # Absent where they say nothing: an older peer gets the query it knows.
        body |= {"offered": True} if self.offered else {}
        return body | ({"known": self.known} if self.known else {})

    @classmethod
    def _read(cls, fields: Fields) -> "Query":
        return cls(
            fields.texts("tags", TAGS_LIMIT, ()),
            fields.number("limit", PAGE_ITEMS),
            fields.text("cursor", ""),
            fields.flag("offered", False),
            fields.blob("known", default=b""),
        )


@dataclass(frozen=True)
class QueryPage:
    """Part of the answer: signed releases and heads as stored, and the cursor of the next part, if any.

    ``revocations`` are of releases that would have been in the answer and are not given out any more.
    ``shelf`` is how many voices the other side keeps on the shelf that it answers from (0: it keeps none),
    and ``partial`` whether there were more than it has room for. Nothing in it is verified by being here.
    """

    releases: tuple[bytes, ...] = ()
    heads: tuple[bytes, ...] = ()
    next: str = ""
    revocations: tuple[bytes, ...] = ()
    shelf: int = 0
    partial: bool = False
    TYPE: ClassVar[str] = "page"
    LIMIT: ClassVar[int] = PAGE_LIMIT + PAGE_ITEMS * 16 + PAGE_REVOCATIONS * (REVOCATION_LIMIT + 8) + _SLACK

    def __post_init__(self) -> None:
        for records, limit in ((self.releases, RELEASE_LIMIT), (self.heads, HEAD_LIMIT)):
            if len(records) > PAGE_ITEMS:
                raise ManifestError(f"a page has at most {PAGE_ITEMS} releases and {PAGE_ITEMS} heads")
            for record in records:
                _blob(record, limit, "a record of a page")
        if sum(map(len, self.releases)) + sum(map(len, self.heads)) > PAGE_LIMIT:
            raise ManifestError(f"the records of a page have at most {PAGE_LIMIT} bytes together")
        _records(self.revocations, PAGE_REVOCATIONS, REVOCATION_LIMIT, "revocations")
        _cursor(self.next)
        check_number(self.shelf, 0, SHELF_SIZE - 1, "the number of voices on a shelf")
        if type(self.partial) is not bool:
            raise ManifestError("a shelf is either partial or whole")

    def _body(self) -> dict[str, Any]:
        body = {"releases": list(self.releases), "heads": list(self.heads), "next": self.next}
        # Absent when there are none: an older peer gets the page it knows.
        body |= {"revocations": list(self.revocations)} if self.revocations else {}
        return body | ({"shelf": self.shelf, "partial": self.partial} if self.shelf else {})

    @classmethod
    def _read(cls, fields: Fields) -> "QueryPage":
        return cls(
            fields.blobs("releases", PAGE_ITEMS, ()),
            fields.blobs("heads", PAGE_ITEMS, ()),
            fields.text("next", ""),
            fields.blobs("revocations", PAGE_REVOCATIONS, ()),
            fields.number("shelf", 0),
            fields.flag("partial", False),
        )


@dataclass(frozen=True)
class GetRelease:
    """Ask for one release by its id."""

    id: str
    TYPE: ClassVar[str] = "get-release"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    def __post_init__(self) -> None:
        _as_manifest_error(parse_release_id, self.id)

    def _body(self) -> dict[str, Any]:
        return {"id": parse_release_id(self.id)}

    @classmethod
    def _read(cls, fields: Fields) -> "GetRelease":
        return cls(cid_of(fields.blob("id", DIGEST_SIZE)))


@dataclass(frozen=True)
class ReleaseReply:
    """One signed release, not verified by being here."""

    data: bytes
    TYPE: ClassVar[str] = "release"
    LIMIT: ClassVar[int] = RELEASE_LIMIT + _SLACK

    def __post_init__(self) -> None:
        _blob(self.data, RELEASE_LIMIT, "a release")

    def _body(self) -> dict[str, Any]:
        return {"data": self.data}

    @classmethod
    def _read(cls, fields: Fields) -> "ReleaseReply":
        return cls(fields.blob("data"))


@dataclass(frozen=True)
class GetHead:
    """Ask for the newest head of a voice; ``author`` is an author id."""

    author: str
    slug: str
    TYPE: ClassVar[str] = "get-head"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    def __post_init__(self) -> None:
        _as_manifest_error(parse_author_id, self.author)
        _as_manifest_error(check_slug, self.slug)

    def _body(self) -> dict[str, Any]:
        return {"author": self.author, "slug": self.slug}

    @classmethod
    def _read(cls, fields: Fields) -> "GetHead":
        return cls(fields.text("author"), fields.text("slug"))


@dataclass(frozen=True)
class HeadReply:
    """One signed head, not verified by being here."""

    data: bytes
    TYPE: ClassVar[str] = "head"
    LIMIT: ClassVar[int] = HEAD_LIMIT + _SLACK

    def __post_init__(self) -> None:
        _blob(self.data, HEAD_LIMIT, "a head")

    def _body(self) -> dict[str, Any]:
        return {"data": self.data}

    @classmethod
    def _read(cls, fields: Fields) -> "HeadReply":
        return cls(fields.blob("data"))


@dataclass(frozen=True)
class GetRevocations:
    """Ask for revocations of releases, and of the voice ``author``/``slug`` when both are given.

    Without any of them: for the newest ones that the peer passes on. ``proofs`` asks for the releases that
    show who has a say, too: whoever does not know a release needs it to judge its revocation.
    """

    releases: tuple[str, ...] = ()
    author: str = ""
    slug: str = ""
    proofs: bool = False
    TYPE: ClassVar[str] = "get-revocations"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    def __post_init__(self) -> None:
        if len(self.releases) > REVOCATIONS_ASKED or len(set(self.releases)) != len(self.releases):
            raise ManifestError(f"at most {REVOCATIONS_ASKED} different releases are asked about at once")
        for release in self.releases:
            _as_manifest_error(parse_release_id, release)
        if bool(self.author) != bool(self.slug):
            raise ManifestError("a voice is an author and a slug")
        if self.author:
            _as_manifest_error(parse_author_id, self.author)
            _as_manifest_error(check_slug, self.slug)
        if type(self.proofs) is not bool:
            raise ManifestError("proofs are either wanted or not")

    def _body(self) -> dict[str, Any]:
        return {
            "releases": [parse_release_id(release) for release in self.releases],
            "author": self.author,
            "slug": self.slug,
            "proofs": self.proofs,
        }

    @classmethod
    def _read(cls, fields: Fields) -> "GetRevocations":
        digests = fields.blobs("releases", REVOCATIONS_ASKED, ())
        for digest in digests:
            _digest(digest)
        return cls(
            tuple(map(cid_of, digests)),
            fields.text("author", ""),
            fields.text("slug", ""),
            fields.flag("proofs", False),
        )


@dataclass(frozen=True)
class Revocations:
    """Signed revocations, and signed releases that show who has a say; not verified by being here."""

    records: tuple[bytes, ...] = ()
    proofs: tuple[bytes, ...] = ()
    TYPE: ClassVar[str] = "revocations"
    LIMIT: ClassVar[int] = PROOFS_BYTES + REVOCATIONS_ASKED * (REVOCATION_LIMIT + 8) + _SLACK

    def __post_init__(self) -> None:
        _records(self.records, REVOCATIONS_ASKED, REVOCATION_LIMIT, "revocations")
        _records(self.proofs, PROOFS_LIMIT, RELEASE_LIMIT, "releases")
        if sum(map(len, self.proofs)) > PROOFS_BYTES:
            raise ManifestError(f"the releases beside revocations have at most {PROOFS_BYTES} bytes together")

    def _body(self) -> dict[str, Any]:
        return {"records": list(self.records), "proofs": list(self.proofs)}

    @classmethod
    def _read(cls, fields: Fields) -> "Revocations":
        return cls(
            fields.blobs("records", REVOCATIONS_ASKED, ()),
            fields.blobs("proofs", PROOFS_LIMIT, ()),
        )


@dataclass(frozen=True)
class TellRevocation:
    """Tell a peer of one revocation, unasked; it is answered with an empty ``Revocations``."""

    record: bytes
    TYPE: ClassVar[str] = "tell-revocation"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    def __post_init__(self) -> None:
        _blob(self.record, REVOCATION_LIMIT, "a revocation")

    def _body(self) -> dict[str, Any]:
        return {"record": self.record}

    @classmethod
    def _read(cls, fields: Fields) -> "TellRevocation":
        return cls(fields.blob("record"))


@dataclass(frozen=True)
class GetSuccessor:
    """Ask which key comes after an author's; ``author`` is an author id."""

    author: str
    TYPE: ClassVar[str] = "get-successor"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    def __post_init__(self) -> None:
        _as_manifest_error(parse_author_id, self.author)

    def _body(self) -> dict[str, Any]:
        return {"author": self.author}

    @classmethod
    def _read(cls, fields: Fields) -> "GetSuccessor":
        return cls(fields.text("author"))


@dataclass(frozen=True)
class SuccessorReply:
    """One signed successor record, not verified by being here."""

    data: bytes
    TYPE: ClassVar[str] = "successor"
    LIMIT: ClassVar[int] = SUCCESSOR_LIMIT + _SLACK

    def __post_init__(self) -> None:
        _blob(self.data, SUCCESSOR_LIMIT, "a successor record")

    def _body(self) -> dict[str, Any]:
        return {"data": self.data}

    @classmethod
    def _read(cls, fields: Fields) -> "SuccessorReply":
        return cls(fields.blob("data"))


@dataclass(frozen=True)
class GetHave:
    """Ask which chunks of a file a peer has."""

    file: Digest
    TYPE: ClassVar[str] = "get-have"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    def __post_init__(self) -> None:
        _digest(self.file)

    def _body(self) -> dict[str, Any]:
        return {"file": self.file}

    @classmethod
    def _read(cls, fields: Fields) -> "GetHave":
        return cls(fields.blob("file", DIGEST_SIZE))


@dataclass(frozen=True)
class Have:
    """Which chunks of a file the peer has: a bitmap over ``count`` chunks."""

    count: int
    bits: bytes
    TYPE: ClassVar[str] = "have"
    LIMIT: ClassVar[int] = CHUNKS_LIMIT // 8 + _SLACK

    def __post_init__(self) -> None:
        check_number(self.count, 0, CHUNKS_LIMIT, "the number of chunks")
        self.bitmap()

    def bitmap(self) -> Bitmap:
        """The chunks as a set of bits."""
        return Bitmap.from_bytes(self.bits, self.count)

    def _body(self) -> dict[str, Any]:
        return {"count": self.count, "bits": self.bits}

    @classmethod
    def _read(cls, fields: Fields) -> "Have":
        return cls(fields.number("count"), fields.blob("bits"))


@dataclass(frozen=True)
class Want:
    """Ask for ``count`` chunks of a file from index ``first`` on, in codecs the asker can decode.

    ``bases`` are whole files of the asker, cut into chunks of the same sizes: a chunk may come as a delta to
    the one with its index in any of them.
    """

    file: Digest
    first: int
    count: int = 1
    codecs: tuple[str, ...] = PLAIN_CODECS
    bases: tuple[Digest, ...] = ()
    TYPE: ClassVar[str] = "want"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    def __post_init__(self) -> None:
        _digest(self.file)
        check_number(self.first, 0, CHUNKS_LIMIT - 1, "the first chunk")
        check_number(self.count, 1, WINDOW_LIMIT, "the number of chunks wanted")
        if self.first + self.count > CHUNKS_LIMIT:
            raise ManifestError(f"a file has at most {CHUNKS_LIMIT} chunks")
        if not 1 <= len(self.codecs) <= 8 or not all(1 <= len(codec) <= 16 for codec in self.codecs):
            raise ManifestError("a want names 1 to 8 codecs")
        if len(self.bases) > BASES_LIMIT:
            raise ManifestError(f"a want names at most {BASES_LIMIT} bases")
        for base in self.bases:
            _digest(base)

    def _body(self) -> dict[str, Any]:
        body = {"file": self.file, "first": self.first, "count": self.count, "codecs": list(self.codecs)}
        return body | ({"bases": list(self.bases)} if self.bases else {})

    @classmethod
    def _read(cls, fields: Fields) -> "Want":
        file = fields.blob("file", DIGEST_SIZE)
        first, count = fields.number("first"), fields.number("count", 1)
        # Absent codecs mean the one that everybody decodes.
        codecs = fields.texts("codecs", 8, ()) or ("raw",)
        return cls(file, first, count, codecs, fields.blobs("bases", BASES_LIMIT, ()))


@dataclass(frozen=True)
class ChunkFrame:
    """Announces the chunk with this index of the file; its ``size`` encoded bytes follow, without a frame.

    ``base`` counts into the bases of the want, for a delta.
    """

    index: int
    codec: str
    size: int
    base: int = 0
    TYPE: ClassVar[str] = "chunk"
    LIMIT: ClassVar[int] = _SLACK

    def __post_init__(self) -> None:
        check_number(self.index, 0, CHUNKS_LIMIT - 1, "the index of a chunk")
        # An encoding longer than the largest raw chunk would never be sent honestly.
        check_number(self.size, 1, CHUNK_LIMIT, "the encoded size of a chunk")
        if self.codec not in CODECS:
            raise ManifestError(f"unknown codec {self.codec[:20]!r}")
        check_number(self.base, 0, BASES_LIMIT - 1, "the base of a delta")

    def _body(self) -> dict[str, Any]:
        body = {"index": self.index, "codec": self.codec, "size": self.size}
        return body | ({"base": self.base} if self.base else {})

    @classmethod
    def _read(cls, fields: Fields) -> "ChunkFrame":
        index, codec, size = fields.number("index"), fields.text("codec"), fields.number("size")
        return cls(index, codec, size, fields.number("base", 0))


@dataclass(frozen=True)
class Fail:
    """The request cannot be answered: a code of the error tree, and a message that a person may read.

    The message comes from a stranger, so what cannot be shown is taken out of it before it is believed.
    """

    code: str
    message: str = ""
    TYPE: ClassVar[str] = "fail"
    LIMIT: ClassVar[int] = 4 * FAIL_MESSAGE_LENGTH + _SLACK

    def __post_init__(self) -> None:
        if not 1 <= len(self.code) <= CODE_LENGTH or not self.code.replace("_", "").isalnum():
            raise ManifestError("a failure carries an error code")
        if not self.code.isascii() or len(self.message) > FAIL_MESSAGE_LENGTH:
            raise ManifestError(f"the message of a failure has at most {FAIL_MESSAGE_LENGTH} characters")

    @classmethod
    def of(cls, error: P2PVoiceError) -> "Fail":
        """The failure a peer may be told of. Hints stay here: they are for our own user."""
        return cls(error.code, _shown(error.message))

    def error(self) -> P2PVoiceError:
        """The failure as an error on the asking side; NetworkError for a code this version does not know."""
        kind = by_code(self.code)
        # A bug on the other side is not a bug here.
        if kind.code != self.code or (kind.http_status >= 500 and not issubclass(kind, NetworkError)):
            kind = NetworkError
        return kind(f"the peer says: {_shown(self.message)}" if self.message else "")

    def _body(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message}

    @classmethod
    def _read(cls, fields: Fields) -> "Fail":
        return cls(fields.text("code"), fields.text("message", ""))


Message: TypeAlias = (
    Query
    | QueryPage
    | GetRelease
    | ReleaseReply
    | GetHead
    | HeadReply
    | GetRevocations
    | Revocations
    | TellRevocation
    | GetSuccessor
    | SuccessorReply
    | GetCollection
    | CollectionReply
    | GetHave
    | Have
    | Want
    | ChunkFrame
    | Fail
)
"""Anything that travels in a frame."""

_Any = TypeVar("_Any")


class Wire(Protocol):
    """What every message is, in whatever module it is written: a type, a limit in bytes, and its keys."""

    TYPE: ClassVar[str]
    LIMIT: ClassVar[int]

    def _body(self) -> dict[str, Any]: ...

    @classmethod
    def _read(cls, fields: Fields) -> Self: ...


_Expected = TypeVar("_Expected", bound=Wire)


def encode_message(message: Wire) -> bytes:
    """The payload of the frame that carries a message."""
    data = encode(message._body() | {"t": message.TYPE})
    if len(data) > message.LIMIT:
        raise ManifestError(f"a {message.TYPE} message has at most {message.LIMIT} bytes")
    return data


def decode_message(data: bytes, *expected: type[_Expected]) -> _Expected:
    """Read a message, which must be one of the expected types.

    Raises ManifestError for anything malformed and ProtocolMismatchError for a message of another type.
    """
    value = decode(data, limit=message_limit(*expected), max_items=_ITEMS)
    fields = Fields(value, "the message")
    name = fields.text("t")
    for kind in expected:
        if name == kind.TYPE:
            if len(data) > kind.LIMIT:
                raise ManifestError(f"a {name} message has at most {kind.LIMIT} bytes")
            return kind._read(fields)
    raise ProtocolMismatchError(f"a message of type {name[:20]!r} came where it makes no sense")


def message_limit(*expected: type[_Expected]) -> int:
    """The longest frame to accept while waiting for one of these messages, in bytes."""
    return max(kind.LIMIT for kind in expected)


def _shown(text: str) -> str:
    kept = "".join(character if character.isprintable() else " " for character in text[:FAIL_MESSAGE_LENGTH])
    return " ".join(kept.split())


def _as_manifest_error(check: Callable[[str], _Any], text: str) -> _Any:
    try:
        return check(text)
    except UsageError as error:
        raise ManifestError(error.message) from error


def _digest(value: object) -> None:
    if not isinstance(value, bytes) or len(value) != DIGEST_SIZE:
        raise ManifestError(f"a file is named by a digest of {DIGEST_SIZE} bytes")


def _blob(value: object, limit: int, what: str) -> None:
    if not isinstance(value, bytes) or not 1 <= len(value) <= limit:
        raise ManifestError(f"{what} has 1 to {limit} bytes")


def _records(values: tuple[bytes, ...], count: int, limit: int, what: str) -> None:
    if len(values) > count:
        raise ManifestError(f"a message has at most {count} {what}")
    for value in values:
        _blob(value, limit, f"each of the {what}")


def _cursor(text: str) -> None:
    if len(text) > CURSOR_LENGTH or not text.isascii() or (text and not text.isprintable()):
        raise ManifestError(f"a cursor has at most {CURSOR_LENGTH} printable ASCII characters")
