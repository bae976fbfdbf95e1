"""A voice as it travels between shelves: its signed release and head, and lists of both and of revocations.

Signed bytes are carried and verified by nobody here. Follows specs/shelves.md, "Messages".
"""

from dataclasses import dataclass
from typing import Any

from p2pvoice.protocol.checks import check_blob, check_blobs, read_rows
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.head import HEAD_LIMIT
from p2pvoice.protocol.manifest import RELEASE_LIMIT
from p2pvoice.protocol.revocation import REVOCATION_LIMIT
from p2pvoice.protocol.shelf import EPOCH_LIMIT

ENTRIES_LIMIT = 64
"""Voices in one message."""

ENTRIES_BYTES = 1024 * 1024
"""Signed bytes of the voices in one message."""

REVOCATIONS_LIMIT = 16
"""Revocations beside an answer."""

REVOCATIONS_BYTES = REVOCATIONS_LIMIT * (REVOCATION_LIMIT + 8)
"""Bytes of these revocations in a message."""


@dataclass(frozen=True)
class Entry:
    """A signed release, the newest signed head known that names it (empty when none is), and its epoch."""

    release: bytes
    head: bytes = b""
    epoch: int = 0

    def __post_init__(self) -> None:
        check_blob(self.release, RELEASE_LIMIT, "a release")
        check_blob(self.head, HEAD_LIMIT, "a head", least=0)
        check_number(self.epoch, 0, EPOCH_LIMIT - 1, "the epoch of a voice")

    @property
    def size(self) -> int:
        """Signed bytes."""
        return len(self.release) + len(self.head)


def check_entries(entries: tuple[Entry, ...]) -> None:
    """Few enough for one message, and small enough together."""
    if len(entries) > ENTRIES_LIMIT:
        raise ManifestError(f"a message has at most {ENTRIES_LIMIT} voices")
    if sum(one.size for one in entries) > ENTRIES_BYTES:
        raise ManifestError(f"the voices of a message have at most {ENTRIES_BYTES} bytes together")


def shown_entries(entries: tuple[Entry, ...]) -> list[list[Any]]:
    """The entries as they stand in a message."""
    return [[one.release, one.head, one.epoch] for one in entries]


def read_entries(fields: Fields) -> tuple[Entry, ...]:
    """The entries of a message."""
    return tuple(Entry(*row) for row in read_rows(fields, "entries", ENTRIES_LIMIT, 3))


def check_revocations(records: tuple[bytes, ...]) -> None:
    """Few enough to stand beside an answer, each small enough."""
    check_blobs(records, REVOCATIONS_LIMIT, REVOCATION_LIMIT, "revocations")


def shown_revocations(records: tuple[bytes, ...]) -> dict[str, Any]:
    """The revocations as they stand in a message: no key when there are none."""
    return {"revocations": list(records)} if records else {}


def read_revocations(fields: Fields) -> tuple[bytes, ...]:
    """The revocations of a message."""
    return fields.blobs("revocations", REVOCATIONS_LIMIT, ())
