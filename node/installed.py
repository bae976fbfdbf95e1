"""Which releases are installed here, which of those peers may have, and the files they need.

Not for the files themselves, which are the store's. Follows specs/catalog.md.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from p2pvoice.node import base_tables, lineage_tables
from p2pvoice.node.catalog_tables import forget_releases
from p2pvoice.node.heads import Heads
from p2pvoice.protocol.ancestry import OWN_STEP
from p2pvoice.protocol.errors import ConflictError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release


@dataclass(frozen=True)
class Installed:
    """A voice whose files are all here and admitted."""

    release: str
    author: str
    slug: str
    at: int
    seed: bool


class Installations(Heads):
    """The table of installed releases, and the files they need."""

    def install(self, release: Release, *, seed: bool, head: bytes | None = None) -> None:
        """Mark a release usable, after admission; an older release of the same voice stops being so.

        A publication gives the new ``head``, too: both are there afterwards, or neither. Raises RevokedError
        for a release that was revoked meanwhile, ConflictError when a base would take a voice's place or the
        other way round.
        """
        author = author_id(release.manifest.author)
        with self._database.write() as connection:
            self.tombstones.check(release, installed=self.is_installed(release.id))
            row = connection.execute(
                "SELECT release FROM installed WHERE author=? AND slug=?", (author, release.manifest.slug)
            ).fetchone()
            if row is not None and base_tables.is_base(connection, row[0]) != release.manifest.is_base:
                raise ConflictError(f"{release.manifest.slug} is installed, and is something else")
            if head is not None:
                self._advance(connection, head)
            connection.execute(
                "DELETE FROM installed WHERE author=? AND slug=?", (author, release.manifest.slug)
            )
            connection.execute(
                "INSERT INTO installed(release, author, slug, at, seed) VALUES (?,?,?,?,?)",
                (release.id, author, release.manifest.slug, int(self._clock()), int(seed)),
            )
            self._room.left([release.id])
            if row is not None and row[0] != release.id:
                self._takes_room(connection, row[0])

    def uninstall(self, identifier: str) -> bool:
        """Take a release out of use; True when it was installed."""
        with self._database.write() as connection:
            done = connection.execute("DELETE FROM installed WHERE release=?", (identifier,)).rowcount > 0
            if done:
                self._takes_room(connection, identifier)
            return done

    def shelve(self, rows: Iterable[tuple[bytes, bytes, bytes, str]]) -> None:
        """Put releases on shelves: voice, value, head, and the release's id. What is not here is left out.

        While it stands there a release takes no room of the catalog's; what it replaces does again.
        """
        # What a power cut takes of this comes again with the next talk.
        with self._database.write(lasting=False) as connection:
            for voice, value, head, release in rows:
                before = connection.execute("SELECT release FROM shelved WHERE voice=?", (voice,)).fetchone()
                connection.execute(
                    "INSERT OR REPLACE INTO shelved(voice, release, value, head)"
                    " SELECT ?, id, ?, ? FROM releases WHERE id=?",
                    (voice, value, head, release),
                )
                self._room.left([release])
                if before is not None and before[0] != release:
                    self._takes_room(connection, before[0])

    def unshelve(self, voices: Iterable[bytes]) -> None:
        """Take voices off the shelves; their releases take room of the catalog's, if they are to stay."""
        with self._database.write(lasting=False) as connection:
            for voice in voices:
                row = connection.execute("SELECT release FROM shelved WHERE voice=?", (voice,)).fetchone()
                if row is not None:
                    connection.execute("DELETE FROM shelved WHERE voice=?", (voice,))
                    self._takes_room(connection, row[0])

    def _takes_room(self, connection: sqlite3.Connection, identifier: str) -> None:
        """What is not installed any more, nor on a shelf, counts like everything else."""
        gone = self._room.entered(connection, identifier, int(self._clock()))
        forget_releases(connection, gone)

    def set_seed(self, identifier: str, seed: bool) -> bool:
        """Offer an installed release to peers, or not; False when that changes nothing."""
        with self._database.write() as connection:
            query = "UPDATE installed SET seed=? WHERE release=? AND seed<>?"
            return connection.execute(query, (int(seed), identifier, int(seed))).rowcount > 0

    def installed(self) -> list[Installed]:
        """Every installed voice and base, oldest first."""
        rows = self._database.rows("SELECT * FROM installed ORDER BY at, release")
        return [_installed(row) for row in rows]

    def installed_voices(self) -> list[Installed]:
        """The same without bases."""
        rows = self._database.rows(
            "SELECT * FROM installed WHERE release NOT IN (SELECT release FROM bases) ORDER BY at, release"
        )
        return [_installed(row) for row in rows]

    def installed_release(self, author: str, slug: str) -> Installed | None:
        """The installed release of a voice."""
        row = self._database.row("SELECT * FROM installed WHERE author=? AND slug=?", (author, slug))
        return _installed(row) if row is not None else None

    def is_installed(self, identifier: str) -> bool:
        """Whether a release is usable here."""
        return self._database.row("SELECT 1 FROM installed WHERE release=?", (identifier,)) is not None

    def is_offered(self, identifier: str) -> bool:
        """Whether peers may have a release."""
        query = "SELECT 1 FROM installed WHERE release=? AND seed=1"
        return self._database.row(query, (identifier,)) is not None

    def is_shelved(self, identifier: str) -> bool:
        """Whether a release stands on a shelf here: offered, or brought by others (specs/shelves.md)."""
        return self._database.row("SELECT 1 FROM shelved WHERE release=?", (identifier,)) is not None

    def leads_to_offered(self, identifier: str) -> bool:
        """Whether a release that peers may have comes from this one."""
        return lineage_tables.leads_to_offered(self._database, identifier)

    def offering(self, digest: bytes) -> list[str]:
        """Ids of the releases that peers may have and that a file belongs to."""
        rows = self._database.rows(
            "SELECT f.release FROM files f JOIN installed i ON i.release=f.release"
            " WHERE f.digest=? AND i.seed=1",
            (digest,),
        )
        return [str(row["release"]) for row in rows]

    def wanted_files(self, without: Collection[str] = ()) -> set[bytes]:
        """Digests of all files that installed releases need, but for the releases in ``without``."""
        rows = self._database.rows(
            "SELECT DISTINCT f.digest FROM files f JOIN installed i ON i.release=f.release"
            " WHERE f.release NOT IN (SELECT value FROM json_each(?))",
            (json.dumps(list(without)),),
        )
        return {bytes(row["digest"]) for row in rows}

    def former_files(self, author: str) -> set[bytes]:
        """Digests of the files of the releases that an author's offered ones take the place of."""
        rows = self._database.rows(
            "SELECT DISTINCT f.digest FROM installed i JOIN parents p ON p.child=i.release AND p.kind=?"
            " JOIN files f ON f.release=p.parent WHERE i.author=? AND i.seed=1",
            (OWN_STEP, author),
        )
        return {bytes(row["digest"]) for row in rows}

    def users_of(self, digest: bytes) -> list[str]:
        """Ids of the remembered releases that have a file."""
        rows = self._database.rows("SELECT DISTINCT release FROM files WHERE digest=?", (digest,))
        return [str(row["release"]) for row in rows]

    def known_files(self) -> set[bytes]:
        """Digests of all files of all remembered releases."""
        return {bytes(row["digest"]) for row in self._database.rows("SELECT DISTINCT digest FROM files")}


def _installed(row: sqlite3.Row) -> Installed:
    return Installed(row["release"], row["author"], row["slug"], int(row["at"]), bool(row["seed"]))
