"""The two messages on the catalog stream that concern collections.

Follows specs/messages.md and specs/collections.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from p2pvoice.protocol.checks import check_blob, refused
from p2pvoice.protocol.collection import COLLECTION_LIMIT
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.ids import check_slug, parse_author_id
from p2pvoice.protocol.messages import SLACK


@dataclass(frozen=True)
class GetCollection:
    """Ask for the newest collection of a name; ``author`` is an author id."""

    author: str
    slug: str
    TYPE: ClassVar[str] = "get-collection"
    LIMIT: ClassVar[int] = SLACK

    def __post_init__(self) -> None:
        refused(parse_author_id, self.author)
        refused(check_slug, self.slug)

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
    LIMIT: ClassVar[int] = COLLECTION_LIMIT + SLACK

    def __post_init__(self) -> None:
        check_blob(self.data, COLLECTION_LIMIT, "a collection")

    def _body(self) -> dict[str, Any]:
        return {"data": self.data}

    @classmethod
    def _read(cls, fields: Fields) -> "CollectionReply":
        return cls(fields.blob("data"))
