"""One tombstone: the revocation it keeps, why it is here, and what is told of it.

Not for the table of them all: see recall.py. Follows specs/recall.md.
"""

import sqlite3
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from p2pvoice.protocol.errors import RevokedError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.revocation import Revocation, is_subject, revokes, verify_revocation


class Kind(IntEnum):
    """Why a tombstone is here; a higher one is kept longer and believed to matter more."""

    SEEN = 0
    """The release was remembered from a search."""
    ASKED = 1
    """This node's user asked for the release."""
    HELD = 2
    """The release was installed here."""
    OWN = 3
    """Signed with this node's author key."""


@dataclass(frozen=True)
class Tombstone:
    """A revocation that is in force here, with the name its release had."""

    revocation: Revocation
    data: bytes
    kind: Kind
    name: str
    learned: int

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> "Tombstone":
        """The tombstone of a row of the table ``tombstones``."""
        data = bytes(row["data"])
        return cls(
            revocation=verify_revocation(data),
            data=data,
            kind=Kind(row["kind"]),
            name=str(row["name"]),
            learned=int(row["learned"]),
        )

    def error(self) -> RevokedError:
        """What whoever asks for the voice is told: who revoked it, when, and why."""
        revocation = self.revocation
        who = "its author" if revocation.signer == revocation.author else "the person whose voice it is"
        date = time.strftime("%Y-%m-%d", time.gmtime(revocation.created))
        what = "the whole voice " if revocation.release is None else ""
        reason = f": {revocation.reason}" if revocation.reason else ""
        return RevokedError(
            f"{what}{self.name or revocation.slug} was revoked by {who} on {date}{reason}",
            hint="p2pvoice revocations",
        )

    def facts(self) -> dict[str, Any]:
        """The tombstone as the RPC gives it."""
        revocation = self.revocation
        return {
            "release": revocation.release,
            "author": author_id(revocation.author),
            "slug": revocation.slug,
            "name": self.name,
            "all": revocation.release is None,
            "by": "author" if revocation.signer == revocation.author else "subject",
            "signer": author_id(revocation.signer),
            "created": revocation.created,
            "reason": revocation.reason,
            "bundle": revocation.bundle,
            "learned": self.learned,
            "own": self.kind is Kind.OWN,
        }


@dataclass(frozen=True)
class Hit:
    """A release known here that a revocation takes out of use.

    ``shelved`` says that peers could see it on a shelf here, so that they may see the revocation, too.
    """

    release: Release
    installed: bool
    offered: bool
    shelved: bool = False


def binds_files(revocation: Revocation, release: Release) -> bool:
    """Whether a release that is here lets its subject's revocation refuse the same files everywhere.

    Only a subject may, and only for the very files that this release has.
    """
    same = revocation.bundle is not None and revocation.bundle == release.manifest.bundle_id
    return same and is_subject(revocation, release) and revokes(revocation, release)
