"""Which logs make up one voice, and which voices' logs this node keeps and shows to peers.

An author who moved to another key goes on with the same voice: the logs under all keys of the line are one.
Logs are kept of voices that this node has something to do with; peers are told only of those that it offers
anyway, and of its own. Not for the logs themselves (log.py). All methods block. Follows specs/community.md.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.successors import Successors
from p2pvoice.node.tombstone import Tombstone
from p2pvoice.protocol.consent_state import consent_state
from p2pvoice.protocol.ids import author_id, parse_author_id
from p2pvoice.protocol.operations import VoiceName

ASKED_KEPT = 7 * 86_400
"""Seconds for which the log of a voice that the user asked about is kept without any other reason."""

OWN_VOICES = 1_000
"""Own voices whose logs are shown to peers."""


@dataclass(frozen=True)
class Line:
    """One voice under all keys of its author, the oldest first."""

    authors: tuple[str, ...]
    slug: str

    @cached_property
    def owners(self) -> frozenset[bytes]:
        """The raw keys of the voice's author."""
        return frozenset(parse_author_id(author) for author in self.authors)

    @cached_property
    def voices(self) -> tuple[VoiceName, ...]:
        """The names whose logs make up the voice."""
        return tuple(VoiceName(parse_author_id(author), self.slug) for author in self.authors)


class Lines:
    """Answers which voices are kept and shown, out of the catalog and the records of successors."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        successors: Successors,
        own: Callable[[], str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._successors = successors
        self._own = own
        self._clock = clock

    def of(self, author: str, slug: str) -> Line:
        """The line that a voice belongs to."""
        return Line(tuple(self._successors.family(author)), slug)

    def of_voice(self, voice: VoiceName) -> Line:
        """The same by the name that operations carry."""
        return self.of(author_id(voice.author), voice.slug)

    def newest(self, line: Line) -> VoiceName | None:
        """The voice's name under the latest of its author's keys that is known to have published it here."""
        known = [author for author in line.authors if self._catalog.has_voice(author, line.slug)]
        return VoiceName(parse_author_id(known[-1]), line.slug) if known else None

    def own_keys(self) -> frozenset[bytes]:
        """The raw author keys of this node's user, present and former."""
        return frozenset(parse_author_id(author) for author in self._successors.family(self._own()))

    def revoked(self, line: Line) -> Tombstone | None:
        """The tombstone of the whole voice."""
        stones = (self._catalog.tombstones.of_voice(author, line.slug) for author in line.authors)
        return next((stone for stone in stones if stone is not None), None)

    def keeps(self, line: Line) -> bool:
        """Whether operations on the voice are taken in: it is installed, own, or the user acts there."""
        if self.revoked(line) is not None:
            return False
        return self._installed(line, seeded=False) or self._is_own(line) or self._acted(line)

    def shows(self, line: Line) -> bool:
        """Whether peers may learn that the log is here: the voice is offered, or own."""
        if self.revoked(line) is not None:
            return False
        return self._installed(line, seeded=True) or self._is_own(line)

    def shown(self) -> list[VoiceName]:
        """The voices whose logs peers may have."""
        named = {(held.author, held.slug) for held in self._catalog.installed_voices() if held.seed}
        family = set(self._successors.family(self._own()))
        named |= {(author, slug) for author, slug, _ in self._catalog.names_of(family, OWN_VOICES)}
        lines = {self.of(author, slug) for author, slug in named}
        return sorted(voice for line in lines if self.shows(line) for voice in line.voices)

    def _installed(self, line: Line, *, seeded: bool) -> bool:
        for author in line.authors:
            held = self._catalog.installed_release(author, line.slug)
            if held is None or (seeded and not held.seed):
                continue
            if not seeded:
                return True
            release = self._catalog.release(held.release)
            if release is not None and consent_state(release.manifest, self._clock()) != "expired":
                return True
        return False

    def _is_own(self, line: Line) -> bool:
        """Whether the voice was published with a key of the user's: a name that somebody made up is not."""
        if self._successors.current(line.authors[-1]) != self._own():
            return False
        return any(self._catalog.has_voice(author, line.slug) for author in line.authors)

    def _acted(self, line: Line) -> bool:
        keys, since = self.own_keys(), int(self._clock()) - ASKED_KEPT
        for voice in line.voices:
            row = self._database.row(
                "SELECT id, asked FROM logs WHERE author=? AND slug=?", (voice.author, voice.slug)
            )
            if row is None:
                continue
            if row["asked"] > since:
                return True
            query = "SELECT 1 FROM chains WHERE log=? AND signer=?"
            if any(self._database.row(query, (row["id"], key)) is not None for key in keys):
                return True
        return False
