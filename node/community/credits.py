"""Credits: what can be counted of an author from signed and verified things that are here.

Counted are releases by their signatures, merged proposals by the signed word of the voice's author, and what
peers sent by the hashes of the chunks. It is this node's own count: no coin, no claim that anybody sends,
nothing that is told to others. All methods block. Follows specs/community.md, "Credits".
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.community.lines import Lines
from p2pvoice.node.community.reading import LogReader
from p2pvoice.node.community.standing import Standing
from p2pvoice.node.community.states import States
from p2pvoice.node.database import Database
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.ids import parse_author_id

VOICES_COUNTED = 1_000
"""Voices of one author that are counted."""

SERVED_LIMIT = 4_096
"""Rows kept of who served what to this node; the oldest go first."""


class Credits:
    """Counts, each time anew, from the catalog, the logs, and the table of who served this node."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        lines: Lines,
        standing: Standing,
        states: States,
        logs: LogReader,
        successors: Successors,
        own: Callable[[], str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._lines = lines
        self._standing = standing
        self._states = states
        self._logs = logs
        self._successors = successors
        self._own = own
        self._clock = clock

    def served(self, author: str, peers: Mapping[str, int]) -> None:
        """Peers have sent so many verified bytes of a voice of this author to this node."""
        now = int(self._clock())
        with self._database.write(lasting=False) as connection:
            connection.executemany(
                "INSERT INTO served_by(peer, author, bytes, at) VALUES (?,?,?,?) ON CONFLICT(peer, author)"
                " DO UPDATE SET bytes=bytes+excluded.bytes, at=excluded.at",
                [(peer, author, count, now) for peer, count in peers.items() if count > 0],
            )
            connection.execute(
                "DELETE FROM served_by WHERE (peer, author) IN (SELECT peer, author FROM served_by"
                " ORDER BY at DESC, peer LIMIT -1 OFFSET ?)",
                (SERVED_LIMIT,),
            )

    def of(self, author: str) -> dict[str, Any]:
        """The credits of an author id, under all keys of theirs."""
        family = self._successors.family(author)
        voices, releases = self._published(family)
        yours = self._successors.current(author) == self._own()
        found = {
            "author": author,
            "yours": yours,
            "voices": voices,
            "releases": releases,
            "merged": self._merged(family),
            "mirrored": self._mirrored(lambda name: name in family),
            "served": self._served(family),
        }
        if yours:
            mine = set(family)
            found["mirrors"] = self._mirrored(lambda name: name not in mine)
            found["served_by"] = self._served(None)
        return found

    def _published(self, family: list[str]) -> tuple[int, int]:
        """Voices and releases known here that the author signed; one voice under two keys is one."""
        slugs: set[str] = set()
        releases = 0
        for author, slug, _ in self._catalog.names_of(set(family), VOICES_COUNTED):
            if self._lines.revoked(self._lines.of(author, slug)) is None:
                slugs.add(slug)
                releases += len(self._catalog.releases_of(author, slug))
        return len(slugs), releases

    def _merged(self, family: list[str]) -> dict[str, int]:
        """Proposals of the author's that others merged: by authors whom the user follows, and by others.

        What somebody merges of their own counts nothing, and one release counts once.
        """
        keys = {parse_author_id(author) for author in family}
        trusted = self._standing.everywhere()
        counted: set[bytes] = set()
        others: set[bytes] = set()
        for line in {self._lines.of_voice(voice) for voice in self._logs.voices()}:
            if line.owners & keys or self._lines.revoked(line) is not None:
                continue
            for proposal in self._states.of(line).proposals.values():
                if proposal.merged is not None and proposal.signer in keys:
                    (counted if line.owners & trusted else others).add(proposal.release)
        return {"counted": len(counted), "others": len(others - counted)}

    def _mirrored(self, whose: Callable[[str], bool]) -> int:
        return sum(held.seed and whose(held.author) for held in self._catalog.installed_voices())

    def _served(self, family: list[str] | None) -> dict[str, int]:
        where = "1" if family is None else f"author IN ({','.join('?' * len(family))})"
        row = self._database.row(
            "SELECT count(DISTINCT peer) AS peers, coalesce(sum(bytes), 0) AS bytes FROM served_by"
            f" WHERE {where}",
            family or (),
        )
        assert row is not None
        return {"peers": int(row["peers"]), "bytes": int(row["bytes"])}
