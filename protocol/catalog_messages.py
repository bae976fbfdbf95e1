"""Messages of the catalog: searching a peer's releases, and asking for one release or head.

Not for revocations and successors, which travel on the same stream: recall_messages.py. Follows
specs/messages.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from p2pvoice.protocol.checks import check_ascii, check_blob, check_blobs, refused
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.head import HEAD_LIMIT
from p2pvoice.protocol.ids import DIGEST_SIZE, check_slug, cid_of, parse_author_id, parse_release_id
from p2pvoice.protocol.manifest import RELEASE_LIMIT
from p2pvoice.protocol.messages import REQUEST_LIMIT, SLACK
from p2pvoice.protocol.revocation import REVOCATION_LIMIT
from p2pvoice.protocol.tags import TAGS_LIMIT, check_tag

CATALOG = "/p2pvoice/catalog/1.0.0"
"""Stream protocol for questions about releases and heads."""

PAGE_LIMIT = 1024 * 1024
"""Bytes of releases and heads in one page; one release always fits."""

PAGE_ITEMS = 64
"""Releases, and heads, in one page."""

SHELF_SIZE = 1 << 40
"""What a shelf may be said to hold lies below this."""

PAGE_REVOCATIONS = 16
"""Revocations in one page: of releases that would have been in the answer."""

CURSOR_LENGTH = 128
"""Characters of a cursor: whatever the answering peer wrote, given back to it unread."""

KNOWN_SIZE = 8
"""Bytes by which a query names a release that is known: too many for anybody to meet another's by trying."""

KNOWN_LIMIT = 256
"""Releases that a query names as known."""


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
        left = REQUEST_LIMIT - SLACK - CURSOR_LENGTH - sum(len(tag.encode()) + 3 for tag in tags)
        return max(0, min(KNOWN_LIMIT, left // KNOWN_SIZE))

    def __post_init__(self) -> None:
        if len(self.tags) > TAGS_LIMIT or len(set(self.tags)) != len(self.tags):
            raise ManifestError(f"a query has at most {TAGS_LIMIT} different tags")
        for tag in self.tags:
            check_tag(tag)
        check_number(self.limit, 1, PAGE_ITEMS, "the limit of a query")
        check_ascii(self.cursor, CURSOR_LENGTH, "a cursor", least=0)
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
    LIMIT: ClassVar[int] = PAGE_LIMIT + PAGE_ITEMS * 16 + PAGE_REVOCATIONS * (REVOCATION_LIMIT + 8) + SLACK

    def __post_init__(self) -> None:
        for records, limit in ((self.releases, RELEASE_LIMIT), (self.heads, HEAD_LIMIT)):
            if len(records) > PAGE_ITEMS:
                raise ManifestError(f"a page has at most {PAGE_ITEMS} releases and {PAGE_ITEMS} heads")
            for record in records:
                check_blob(record, limit, "a record of a page")
        if sum(map(len, self.releases)) + sum(map(len, self.heads)) > PAGE_LIMIT:
            raise ManifestError(f"the records of a page have at most {PAGE_LIMIT} bytes together")
        check_blobs(self.revocations, PAGE_REVOCATIONS, REVOCATION_LIMIT, "revocations")
        check_ascii(self.next, CURSOR_LENGTH, "a cursor", least=0)
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
        refused(parse_release_id, self.id)

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
    LIMIT: ClassVar[int] = RELEASE_LIMIT + SLACK

    def __post_init__(self) -> None:
        check_blob(self.data, RELEASE_LIMIT, "a release")

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
        refused(parse_author_id, self.author)
        refused(check_slug, self.slug)

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
    LIMIT: ClassVar[int] = HEAD_LIMIT + SLACK

    def __post_init__(self) -> None:
        check_blob(self.data, HEAD_LIMIT, "a head")

    def _body(self) -> dict[str, Any]:
        return {"data": self.data}

    @classmethod
    def _read(cls, fields: Fields) -> "HeadReply":
        return cls(fields.blob("data"))
