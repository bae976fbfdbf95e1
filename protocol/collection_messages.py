"""The two messages on the catalog stream that concern collections.

They are messages like those of messages.py, which lists them among all there are; they stand here because
that file is long. Follows specs/messages.md and specs/collections.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from p2pvoice.protocol.collection import COLLECTION_LIMIT
from p2pvoice.protocol.errors import ManifestError, UsageError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.ids import check_slug, parse_author_id

_SLACK = 512
"""Bytes of keys, numbers and lengths around what a message carries."""


@dataclass(frozen=True)
class GetCollection:
    """Ask for the newest collection of a name; ``author`` is an author id."""

    author: str
    slug: str
    TYPE: ClassVar[str] = "get-collection"
    LIMIT: ClassVar[int] = _SLACK

    def __post_init__(self) -> None:
        try:
            parse_author_id(self.author)
            check_slug(self.slug)
        except UsageError as error:
            raise ManifestError(error.message) from error

    def _body(self) -> dict[str, Any]:
        return {"author": self.author, "slug": self.slug}

    @classmethod
    def _read(cls, fields: Fields) -> "GetCollection":
        return cls(fields.text("author"), fields.text("slug"))


@dataclass(frozen=True)
class CollectionReply:
    """One signed collection, not verified by being here."""

    data: bytes
    TYPE: ClassVar[str] = "collection"
    LIMIT: ClassVar[int] = COLLECTION_LIMIT + _SLACK

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes) or not 1 <= len(self.data) <= COLLECTION_LIMIT:
            raise ManifestError(f"a collection has 1 to {COLLECTION_LIMIT} bytes")

    def _body(self) -> dict[str, Any]:
        return {"data": self.data}

    @classmethod
    def _read(cls, fields: Fields) -> "CollectionReply":
        return cls(fields.blob("data"))
