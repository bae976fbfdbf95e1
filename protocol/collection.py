"""Collections: a signed list of releases with one card, such as a dialect archive or a set for research.

For signing, verifying and ordering them; like a head, a collection moves forward only, and two different ones
at one sequence are a fork that is shown. Not for the voices themselves: each keeps its own licence and
consent, whatever list names it. Follows specs/collections.md.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.consent import check_license_shape
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.envelope import ENVELOPE_OVERHEAD, open_envelope, public_key_of, seal
from p2pvoice.protocol.errors import ManifestError, SignatureError, StaleError, UsageError
from p2pvoice.protocol.fields import Fields, check_text
from p2pvoice.protocol.head import SEQUENCE_LIMIT
from p2pvoice.protocol.ids import (
    DIGEST_SIZE,
    PUBLIC_KEY_SIZE,
    Digest,
    author_id,
    check_slug,
    cid_of,
    digest_of,
    parse_author_id,
    parse_release_id,
)

COLLECTION_PAYLOAD_LIMIT = 64 * 1024
"""Bytes of a collection's payload: card, names and items together."""

COLLECTION_LIMIT = COLLECTION_PAYLOAD_LIMIT + ENVELOPE_OVERHEAD
"""Bytes of a signed collection, as it is stored and sent."""

ITEMS_LIMIT = 512
"""Releases in one collection."""

NAME_LENGTH = 80
"""Characters of a collection's display name."""

NOTE_LENGTH = 200
"""Characters that a collection may say of one release."""

CARD_LENGTH = 16_000
"""Characters of the card; in Chinese they take three bytes each, so the payload may be full before."""

TIME_LIMIT = 1 << 40
"""Times are seconds since 1970, below this."""

FORMAT = 1
"""The format this version writes, and the newest one it reads."""

KIND = "collection"
"""The kind of a collection's envelope."""

_VALUES = 4096
"""Values in one payload; the fields and 512 items with notes take 2600."""

_COLLECTION_DOMAIN = b"p2pvoice/key/collection/1\0"


@dataclass(frozen=True)
class Item:
    """One release of a collection by its id, and what the collection's author says of it, in one line."""

    release: str
    note: str = ""

    def __post_init__(self) -> None:
        try:
            parse_release_id(self.release)
        except UsageError as error:
            raise ManifestError(error.message) from error
        check_text(self.note, "the note on a release", NOTE_LENGTH)

    def to_map(self) -> dict[str, Any]:
        """The item as it stands in a collection."""
        return {"release": parse_release_id(self.release)} | ({"note": self.note} if self.note else {})

    @classmethod
    def from_map(cls, value: object) -> "Item":
        """Read an item out of a decoded collection."""
        fields = Fields(value, "an item of the collection")
        return cls(cid_of(fields.blob("release", DIGEST_SIZE)), fields.text("note", ""))


@dataclass(frozen=True)
class Collection:
    """A list of releases by one author: ``sequence`` counts from 1, ``created`` is in seconds since 1970.

    ``license`` is the SPDX id under which the list itself (name, card and notes) may be used, "" when nothing
    is said; it says nothing of the voices. A list may be empty: so its author takes it back.
    """

    author: bytes
    slug: str
    sequence: int
    name: str
    created: int
    items: tuple[Item, ...] = ()
    card: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.author, bytes) or len(self.author) != PUBLIC_KEY_SIZE:
            raise ManifestError("the author of a collection is a 32-byte public key")
        try:
            check_slug(self.slug)
        except UsageError as error:
            raise ManifestError(error.message) from error
        check_number(self.sequence, 1, SEQUENCE_LIMIT - 1, "the sequence of a collection")
        check_text(self.name, "the name of a collection", NAME_LENGTH, minimum=1)
        check_number(self.created, 1, TIME_LIMIT - 1, "the time of a collection")
        check_text(self.card, "the card of a collection", CARD_LENGTH, lines=True)
        if self.license:
            check_license_shape(self.license)
        if len(self.items) > ITEMS_LIMIT:
            raise ManifestError(f"a collection has at most {ITEMS_LIMIT} releases, not {len(self.items)}")
        if len({item.release for item in self.items}) != len(self.items):
            raise ManifestError("a collection names a release twice")
        if len(self.payload) > COLLECTION_PAYLOAD_LIMIT:
            raise ManifestError(
                f"the collection has {len(self.payload)} bytes;"
                f" at most {COLLECTION_PAYLOAD_LIMIT} are allowed",
                hint="a shorter card, shorter notes or fewer releases",
            )

    @cached_property
    def payload(self) -> bytes:
        """The bytes that are signed."""
        body: dict[str, Any] = {
            "v": FORMAT,
            "min_reader": FORMAT,
            "author": self.author,
            "slug": self.slug,
            "sequence": self.sequence,
            "name": self.name,
            "created": self.created,
            "items": [item.to_map() for item in self.items],
        }
        # Absent when there is none, as everywhere: a text that is empty has one spelling.
        body |= {key: text for key, text in (("card", self.card), ("license", self.license)) if text}
        return encode(body)

    @property
    def releases(self) -> tuple[str, ...]:
        """The ids of the releases, in the author's order."""
        return tuple(item.release for item in self.items)


@dataclass(frozen=True)
class SignedCollection:
    """A verified collection, its id, and the bytes it came in, to store or pass on."""

    collection: Collection
    id: str
    data: bytes

    @property
    def author(self) -> str:
        """The author id."""
        return author_id(self.collection.author)


def sign_collection(collection: Collection, key: Ed25519PrivateKey) -> SignedCollection:
    """The signed collection. SignatureError when the key is not the author's."""
    if public_key_of(key) != collection.author:
        raise SignatureError("the collection names another author than the key that signs it")
    data = seal(KIND, collection.payload, key).to_bytes()
    return SignedCollection(collection, collection_id(collection.payload), data)


def verify_collection(data: bytes) -> SignedCollection:
    """Verify a collection that came from anywhere; its id is that of the payload as it came.

    Raises ManifestError for anything out of form or bounds, SignatureError when the signature is wrong or
    another key's than the author's.
    """
    envelope = open_envelope(data, kind=KIND, limit=COLLECTION_PAYLOAD_LIMIT)
    value = decode(envelope.payload, limit=COLLECTION_PAYLOAD_LIMIT, max_items=_VALUES)
    fields = Fields(value, "the collection")
    fields.number("v")
    min_reader = fields.number("min_reader")
    if min_reader > FORMAT:
        raise ManifestError(
            f"the collection needs a reader of format {min_reader}, this is format {FORMAT}",
            hint="a newer version of p2pvoice can read it",
        )
    collection = Collection(
        author=fields.blob("author", PUBLIC_KEY_SIZE),
        slug=fields.text("slug"),
        sequence=fields.number("sequence"),
        name=fields.text("name"),
        created=fields.number("created"),
        items=tuple(Item.from_map(item) for item in fields.items("items", ITEMS_LIMIT)),
        card=fields.text("card", ""),
        license=fields.text("license", ""),
    )
    if collection.author != envelope.author:
        raise SignatureError("the collection is signed by another key than its author's")
    return SignedCollection(collection, collection_id(envelope.payload), data)


def collection_id(payload: bytes) -> str:
    """The id of a collection: the CID of its payload's bytes, in the form of a release id."""
    return cid_of(digest_of(payload))


def is_fork(one: SignedCollection, other: SignedCollection) -> bool:
    """Whether an author signed two different lists at one sequence: both are shown, the one held stays."""
    _check_same(one, other)
    return one.collection.sequence == other.collection.sequence and one.id != other.id


def advance(held: SignedCollection | None, candidate: SignedCollection) -> SignedCollection:
    """The collection to hold once a candidate came in: only a higher sequence replaces what is held.

    StaleError for a lower sequence: the past is replayed. ManifestError for another collection.
    """
    if held is None:
        return candidate
    _check_same(held, candidate)
    known, came = held.collection.sequence, candidate.collection.sequence
    if came < known:
        raise StaleError(
            f"an old collection {held.collection.slug}: sequence {came}, and {known} is known already"
        )
    return candidate if came > known else held


def collection_key(author: bytes | str, slug: str) -> Digest:
    """The 32-byte DHT key under which those who keep a collection are found; of a public key or author id."""
    public = author if isinstance(author, bytes) else parse_author_id(author)
    return digest_of(_COLLECTION_DOMAIN + public + check_slug(slug).encode("ascii"))


def _check_same(one: SignedCollection, other: SignedCollection) -> None:
    if (one.author, one.collection.slug) != (other.author, other.collection.slug):
        raise ManifestError("these are different collections")
