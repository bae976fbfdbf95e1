"""The messages with which keepers of a tag compare and complete their shelves.

In the same form as the messages of the other streams; `messages.py` reads and writes them, and its ``Fail``
stands in place of any reply. Releases and heads are carried as signed bytes and verified by nobody here. Not
for deciding what to say (shelf_talk.py). Follows specs/shelves.md, "Messages".
"""

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from p2pvoice.protocol.checks import check_ascii, check_bytes, read_rows
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.messages import SLACK
from p2pvoice.protocol.ranges import RANGES_BYTES, read_ranges, shown_ranges
from p2pvoice.protocol.reconcile import FINGERPRINT_SIZE, KEY_SIZE, Pair, Range, check_ranges
from p2pvoice.protocol.shelf import Arc
from p2pvoice.protocol.shelf_entry import (
    ENTRIES_BYTES,
    ENTRIES_LIMIT,
    REVOCATIONS_BYTES,
    Entry,
    check_entries,
    check_revocations,
    read_entries,
    read_revocations,
    shown_entries,
    shown_revocations,
)
from p2pvoice.protocol.tags import TAG_LENGTH, check_tag

SHELF = "/p2pvoice/shelf/1.0.0"
"""Stream protocol between keepers of a tag."""

TAGS_COMPARED = 16
"""Tags in one Open."""

PAIRS_TOUCHED = 128
"""Pairs in one Touch."""

OTHERS_LIMIT = 4
"""Other keepers that an answer names for one tag."""

ADDRESSES_LIMIT = 4
"""Addresses of one of them."""

ADDRESS_LENGTH = 128
"""Characters of such an address."""

PEER_LENGTH = 64
"""Characters of a peer id."""

SHELF_LIMIT = 1 << 40
"""What a shelf may claim to hold lies below this."""

_SHARE_SIZE = 2
_ARC_SIZE = 2 * KEY_SIZE + _SHARE_SIZE
_ARC_BYTES = _ARC_SIZE + 8
_TAG_BYTES = 4 * TAG_LENGTH + 8
_OTHERS_BYTES = OTHERS_LIMIT * (PEER_LENGTH + 8 + ADDRESSES_LIMIT * (ADDRESS_LENGTH + 3))


@dataclass(frozen=True)
class Contact:
    """Another keeper, as somebody names it: a peer id and addresses at which it may be found."""

    peer: str
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ascii(self.peer, PEER_LENGTH, "a peer id")
        if len(self.addresses) > ADDRESSES_LIMIT:
            raise ManifestError(f"at most {ADDRESSES_LIMIT} addresses of a peer are named")
        for address in self.addresses:
            check_ascii(address, ADDRESS_LENGTH, "an address")


@dataclass(frozen=True)
class Opening:
    """One tag whose shelves are to be compared: the asker's arc, and the fingerprint of its set there."""

    tag: str
    arc: Arc
    fingerprint: bytes

    def __post_init__(self) -> None:
        _tag(self.tag)
        check_bytes(self.fingerprint, FINGERPRINT_SIZE, "a fingerprint")


@dataclass(frozen=True)
class Open:
    """Ask in which of these tags the other side's shelf differs."""

    shelves: tuple[Opening, ...]
    TYPE: ClassVar[str] = "open-shelves"
    LIMIT: ClassVar[int] = TAGS_COMPARED * (_TAG_BYTES + _ARC_BYTES + FINGERPRINT_SIZE + 8) + SLACK

    def __post_init__(self) -> None:
        if not 1 <= len(self.shelves) <= TAGS_COMPARED:
            raise ManifestError(f"1 to {TAGS_COMPARED} tags are compared at once")
        if len({one.tag for one in self.shelves}) != len(self.shelves):
            raise ManifestError("a tag is compared once")

    def _body(self) -> dict[str, Any]:
        return {"shelves": [[one.tag, _shown_arc(one.arc), one.fingerprint] for one in self.shelves]}

    @classmethod
    def _read(cls, fields: Fields) -> "Open":
        rows = read_rows(fields, "shelves", TAGS_COMPARED, 3)
        return cls(tuple(Opening(row[0], _read_arc(row[1]), row[2]) for row in rows))


@dataclass(frozen=True)
class Opened:
    """What the other side has of one tag: whether its shelf is like the asker's, its arc, how many voices.

    ``others`` are other keepers of the tag.
    """

    same: bool
    arc: Arc
    count: int
    others: tuple[Contact, ...] = ()

    def __post_init__(self) -> None:
        if type(self.same) is not bool:
            raise ManifestError("shelves are either alike or not")
        check_number(self.count, 0, SHELF_LIMIT - 1, "the number of voices on a shelf")
        if len(self.others) > OTHERS_LIMIT:
            raise ManifestError(f"at most {OTHERS_LIMIT} other keepers are named")


@dataclass(frozen=True)
class Shelves:
    """The answer to an Open, tag by tag in its order; None for a tag that is not kept there."""

    shelves: tuple[Opened | None, ...]
    TYPE: ClassVar[str] = "shelves"
    LIMIT: ClassVar[int] = TAGS_COMPARED * (_ARC_BYTES + 16 + _OTHERS_BYTES) + SLACK

    def __post_init__(self) -> None:
        if len(self.shelves) > TAGS_COMPARED:
            raise ManifestError(f"at most {TAGS_COMPARED} tags are compared at once")

    def _body(self) -> dict[str, Any]:
        rows: list[Any] = []
        for one in self.shelves:
            if one is None:
                rows.append([])
                continue
            others = [[other.peer, list(other.addresses)] for other in one.others]
            rows.append([one.same, _shown_arc(one.arc), one.count, others])
        return {"shelves": rows}

    @classmethod
    def _read(cls, fields: Fields) -> "Shelves":
        shelves: list[Opened | None] = []
        for row in fields.items("shelves", TAGS_COMPARED):
            if row == []:
                shelves.append(None)
                continue
            if not isinstance(row, list) or len(row) != 4 or not isinstance(row[3], list):
                raise ManifestError("a shelf is said to be alike or not, with its arc, its size, and others")
            shelves.append(Opened(row[0], _read_arc(row[1]), row[2], tuple(map(_read_contact, row[3]))))
        return cls(tuple(shelves))


@dataclass(frozen=True)
class CompareShelf:
    """One question about the pairs on a shelf, within the asker's arc."""

    tag: str
    arc: Arc
    ranges: tuple[Range, ...]
    TYPE: ClassVar[str] = "compare-shelf"
    LIMIT: ClassVar[int] = RANGES_BYTES + _TAG_BYTES + _ARC_BYTES + SLACK

    def __post_init__(self) -> None:
        _tag(self.tag)
        check_ranges(self.ranges)

    def _body(self) -> dict[str, Any]:
        return {"tag": self.tag, "arc": _shown_arc(self.arc), "ranges": shown_ranges(self.ranges)}

    @classmethod
    def _read(cls, fields: Fields) -> "CompareShelf":
        return cls(fields.text("tag"), _read_arc(fields.any("arc")), read_ranges(fields))


@dataclass(frozen=True)
class ComparedShelf:
    """The answer to a CompareShelf: ranges again, none when everything is alike."""

    ranges: tuple[Range, ...] = ()
    TYPE: ClassVar[str] = "compared-shelf"
    LIMIT: ClassVar[int] = RANGES_BYTES + SLACK

    def __post_init__(self) -> None:
        check_ranges(self.ranges)

    def _body(self) -> dict[str, Any]:
        return {"ranges": shown_ranges(self.ranges)}

    @classmethod
    def _read(cls, fields: Fields) -> "ComparedShelf":
        return cls(read_ranges(fields))


@dataclass(frozen=True)
class GetEntries:
    """Ask for the voices with these keys on the shelf of a tag."""

    tag: str
    keys: tuple[bytes, ...]
    TYPE: ClassVar[str] = "get-entries"
    LIMIT: ClassVar[int] = _TAG_BYTES + ENTRIES_LIMIT * (KEY_SIZE + 2) + SLACK

    def __post_init__(self) -> None:
        _tag(self.tag)
        _keys(self.keys, 1, ENTRIES_LIMIT)

    def _body(self) -> dict[str, Any]:
        return {"tag": self.tag, "keys": list(self.keys)}

    @classmethod
    def _read(cls, fields: Fields) -> "GetEntries":
        return cls(fields.text("tag"), fields.blobs("keys", ENTRIES_LIMIT))


@dataclass(frozen=True)
class Entries:
    """The voices asked for, in order; ``looked`` keys were looked up, the rest is to be asked for again."""

    entries: tuple[Entry, ...] = ()
    looked: int = 0
    TYPE: ClassVar[str] = "entries"
    LIMIT: ClassVar[int] = ENTRIES_BYTES + ENTRIES_LIMIT * 16 + SLACK

    def __post_init__(self) -> None:
        check_entries(self.entries)
        check_number(self.looked, 0, ENTRIES_LIMIT, "the number of keys looked up")
        if len(self.entries) > self.looked:
            raise ManifestError("more voices came than keys were looked up")

    def _body(self) -> dict[str, Any]:
        return {"entries": shown_entries(self.entries), "looked": self.looked}

    @classmethod
    def _read(cls, fields: Fields) -> "Entries":
        return cls(read_entries(fields), fields.number("looked"))


@dataclass(frozen=True)
class Touch:
    """Name pairs that are held here: what the other side lacks of them it asks to be told.

    It is how a shelf is completed on the other side, how epochs are renewed, and how news are hinted at.
    """

    tag: str
    pairs: tuple[Pair, ...]
    TYPE: ClassVar[str] = "touch-shelf"
    LIMIT: ClassVar[int] = _TAG_BYTES + PAIRS_TOUCHED * 2 * KEY_SIZE + SLACK

    def __post_init__(self) -> None:
        _tag(self.tag)
        if not 1 <= len(self.pairs) <= PAIRS_TOUCHED:
            raise ManifestError(f"1 to {PAIRS_TOUCHED} pairs are named at once")
        for key, value in self.pairs:
            check_bytes(key, KEY_SIZE, "a key")
            check_bytes(value, KEY_SIZE, "a value")
        if len({key for key, _ in self.pairs}) != len(self.pairs):
            raise ManifestError("a key is named once")

    def _body(self) -> dict[str, Any]:
        return {"tag": self.tag, "pairs": b"".join(key + value for key, value in self.pairs)}

    @classmethod
    def _read(cls, fields: Fields) -> "Touch":
        tag, said, size = fields.text("tag"), fields.blob("pairs"), 2 * KEY_SIZE
        if len(said) % size or len(said) > PAIRS_TOUCHED * size:
            raise ManifestError(f"1 to {PAIRS_TOUCHED} pairs are named at once")
        places = range(0, len(said), size)
        return cls(tag, tuple((said[at : at + KEY_SIZE], said[at + KEY_SIZE : at + size]) for at in places))


@dataclass(frozen=True)
class Wanted:
    """The places in a Touch, from 0 and rising, of the voices that the other side wants to be told.

    ``revocations`` are of others among them, not verified by being here.
    """

    indexes: tuple[int, ...] = ()
    revocations: tuple[bytes, ...] = ()
    TYPE: ClassVar[str] = "wanted"
    LIMIT: ClassVar[int] = PAIRS_TOUCHED * 2 + REVOCATIONS_BYTES + SLACK

    def __post_init__(self) -> None:
        if len(self.indexes) > PAIRS_TOUCHED:
            raise ManifestError(f"at most {PAIRS_TOUCHED} voices are wanted")
        for index in self.indexes:
            check_number(index, 0, PAIRS_TOUCHED - 1, "the place of a voice that is wanted")
        if sorted(set(self.indexes)) != list(self.indexes):
            raise ManifestError("the places of voices that are wanted are not in order")
        check_revocations(self.revocations)

    def _body(self) -> dict[str, Any]:
        return {"indexes": list(self.indexes)} | shown_revocations(self.revocations)

    @classmethod
    def _read(cls, fields: Fields) -> "Wanted":
        indexes = tuple(fields.items("indexes", PAIRS_TOUCHED))
        return cls(indexes, read_revocations(fields))


@dataclass(frozen=True)
class TellEntries:
    """Tell the other side of voices with a tag."""

    tag: str
    entries: tuple[Entry, ...]
    TYPE: ClassVar[str] = "tell-entries"
    LIMIT: ClassVar[int] = ENTRIES_BYTES + ENTRIES_LIMIT * 16 + _TAG_BYTES + SLACK

    def __post_init__(self) -> None:
        _tag(self.tag)
        if not self.entries:
            raise ManifestError("nothing is told")
        check_entries(self.entries)

    def _body(self) -> dict[str, Any]:
        return {"tag": self.tag, "entries": shown_entries(self.entries)}

    @classmethod
    def _read(cls, fields: Fields) -> "TellEntries":
        return cls(fields.text("tag"), read_entries(fields))


@dataclass(frozen=True)
class Took:
    """How many of the voices told are on the shelf now, and revocations of some that are not."""

    kept: int
    revocations: tuple[bytes, ...] = ()
    TYPE: ClassVar[str] = "took"
    LIMIT: ClassVar[int] = REVOCATIONS_BYTES + SLACK

    def __post_init__(self) -> None:
        check_number(self.kept, 0, ENTRIES_LIMIT, "the number of voices kept")
        check_revocations(self.revocations)

    def _body(self) -> dict[str, Any]:
        return {"kept": self.kept} | shown_revocations(self.revocations)

    @classmethod
    def _read(cls, fields: Fields) -> "Took":
        return cls(fields.number("kept"), read_revocations(fields))


ShelfRequest: TypeAlias = Open | CompareShelf | GetEntries | Touch | TellEntries
"""What may be asked on the stream of shelves."""

ShelfReply: TypeAlias = Shelves | ComparedShelf | Entries | Wanted | Took
"""What is answered, besides ``Fail``."""

REPLY: dict[type[ShelfRequest], type[ShelfReply]] = {
    Open: Shelves,
    CompareShelf: ComparedShelf,
    GetEntries: Entries,
    Touch: Wanted,
    TellEntries: Took,
}
"""Which answer a request has."""


def _shown_arc(arc: Arc) -> bytes:
    return b"".join(
        (arc.center.to_bytes(KEY_SIZE), arc.reach.to_bytes(KEY_SIZE), arc.share.to_bytes(_SHARE_SIZE))
    )


def _read_arc(value: object) -> Arc:
    check_bytes(value, _ARC_SIZE, "an arc")
    assert isinstance(value, bytes)
    center, reach, share = value[:KEY_SIZE], value[KEY_SIZE : 2 * KEY_SIZE], value[2 * KEY_SIZE :]
    return Arc(int.from_bytes(center), int.from_bytes(reach), int.from_bytes(share))


def _read_contact(row: object) -> Contact:
    if not isinstance(row, list) or len(row) != 2 or not isinstance(row[1], list):
        raise ManifestError("a keeper is named by its peer id and addresses")
    return Contact(row[0], tuple(row[1]))


def _keys(keys: tuple[bytes, ...], least: int, most: int) -> None:
    if not least <= len(keys) <= most or len(set(keys)) != len(keys):
        raise ManifestError(f"{least} to {most} different keys are named at once")
    for key in keys:
        check_bytes(key, KEY_SIZE, "a key")


def _tag(tag: object) -> None:
    if not isinstance(tag, str):
        raise ManifestError("a tag is text")
    check_tag(tag)
