"""Messages about what ended: revocations, and what comes after an author's key, on the catalog's stream.

Follows specs/messages.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from p2pvoice.protocol.checks import check_blob, check_blobs, check_bytes, refused
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.ids import DIGEST_SIZE, check_slug, cid_of, parse_author_id, parse_release_id
from p2pvoice.protocol.manifest import RELEASE_LIMIT
from p2pvoice.protocol.messages import REQUEST_LIMIT, SLACK
from p2pvoice.protocol.revocation import REVOCATION_LIMIT
from p2pvoice.protocol.successor import SUCCESSOR_LIMIT

REVOCATIONS_ASKED = 64
"""Releases one GetRevocations may name, and revocations its answer may hold."""

PROOFS_LIMIT = 16
"""Releases that one answer may carry to show that its revocations were signed by somebody with a say."""

PROOFS_BYTES = 512 * 1024
"""Bytes of these releases together; one always fits."""


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
            refused(parse_release_id, release)
        if bool(self.author) != bool(self.slug):
            raise ManifestError("a voice is an author and a slug")
        if self.author:
            refused(parse_author_id, self.author)
            refused(check_slug, self.slug)
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
            check_bytes(digest, DIGEST_SIZE, "a digest")
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
    LIMIT: ClassVar[int] = PROOFS_BYTES + REVOCATIONS_ASKED * (REVOCATION_LIMIT + 8) + SLACK

    def __post_init__(self) -> None:
        check_blobs(self.records, REVOCATIONS_ASKED, REVOCATION_LIMIT, "revocations")
        check_blobs(self.proofs, PROOFS_LIMIT, RELEASE_LIMIT, "releases")
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
        check_blob(self.record, REVOCATION_LIMIT, "a revocation")

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
        refused(parse_author_id, self.author)

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
    LIMIT: ClassVar[int] = SUCCESSOR_LIMIT + SLACK

    def __post_init__(self) -> None:
        check_blob(self.data, SUCCESSOR_LIMIT, "a successor record")

    def _body(self) -> dict[str, Any]:
        return {"data": self.data}

    @classmethod
    def _read(cls, fields: Fields) -> "SuccessorReply":
        return cls(fields.blob("data"))
