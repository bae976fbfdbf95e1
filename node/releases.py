"""The releases the catalog remembers: how they get in, and are found by id, voice, file and lineage.

Signed bytes go in and come out unchanged; the columns beside them are only for searching. Not for searching
(searching.py) nor for which are forgotten when there are too many (eviction.py). Follows specs/catalog.md.
"""

import sqlite3

from p2pvoice.node import base_tables, lineage_tables
from p2pvoice.node.catalog_tables import forget_releases, open_release
from p2pvoice.node.installed import Installations
from p2pvoice.node.search import index_text
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Manifest, Release, verify_release
from p2pvoice.protocol.tags import tag_names


class Releases(Installations):
    """The table of releases, with those of their tags, files, words, parents and bases."""

    def add_release(self, data: bytes) -> Release:
        """Verify a signed release and remember it.

        Raises what ``verify_release`` raises, and RevokedError for a release that was revoked.
        """
        release = verify_release(data)
        manifest = release.manifest
        now = int(self._clock())
        # What a power cut takes of this is found again, or comes before a lasting commit, as a publication's.
        with self._database.write(lasting=False) as connection:
            self.tombstones.check(release, installed=self.is_installed(release.id))
            known = connection.execute("SELECT 1 FROM releases WHERE id=?", (release.id,)).fetchone()
            connection.execute(
                "INSERT INTO releases(id, author, slug, created, seen, data) VALUES (?,?,?,?,?,?)"
                " ON CONFLICT(id) DO UPDATE SET seen=excluded.seen",
                (release.id, author_id(manifest.author), manifest.slug, manifest.created, now, data),
            )
            if known is None:
                connection.executemany(
                    "INSERT OR IGNORE INTO tags(tag, release) VALUES (?,?)",
                    [(tag, release.id) for tag in manifest.finding_tags],
                )
                connection.executemany(
                    "INSERT OR IGNORE INTO files(digest, release) VALUES (?,?)",
                    [(file.digest, release.id) for file in manifest.files],
                )
                connection.execute(
                    "INSERT INTO words(release, text) VALUES (?,?)", (release.id, _words_of(manifest))
                )
                lineage_tables.note(connection, release)
                base_tables.note(connection, release)
                author = author_id(manifest.author)
                forget_releases(connection, self._room.added_release(connection, author, len(data), now))
        return release

    def release(self, identifier: str) -> Release | None:
        """A remembered release, or None."""
        data = self.release_bytes(identifier)
        return open_release(data) if data is not None else None

    def release_bytes(self, identifier: str) -> bytes | None:
        """The signed bytes of a remembered release."""
        row = self._database.row("SELECT data FROM releases WHERE id=?", (identifier,))
        return bytes(row["data"]) if row is not None else None

    def forget(self, identifier: str) -> None:
        """Forget a release altogether."""
        with self._database.write() as connection:
            forget_releases(connection, [identifier])

    def drop(self, connection: sqlite3.Connection, identifier: str) -> None:
        """Take a release out of use and forget it, inside a transaction of the caller's."""
        connection.execute("DELETE FROM installed WHERE release=?", (identifier,))
        forget_releases(connection, [identifier])

    def releases_of(self, author: str, slug: str) -> list[Release]:
        """Every remembered release of a voice, newest first."""
        rows = self._database.rows(
            "SELECT data FROM releases WHERE author=? AND slug=? ORDER BY created DESC, id", (author, slug)
        )
        return [open_release(bytes(row["data"])) for row in rows]

    def has_voice(self, author: str, slug: str) -> bool:
        """Whether any release of a voice is remembered."""
        query = "SELECT 1 FROM releases WHERE author=? AND slug=?"
        return self._database.row(query, (author, slug)) is not None

    def releases_with(self, digest: bytes) -> list[Release]:
        """Every remembered release that has a file."""
        rows = self._database.rows(
            "SELECT r.data FROM files f JOIN releases r ON r.id=f.release WHERE f.digest=?", (digest,)
        )
        return [open_release(bytes(row["data"])) for row in rows]

    def children(self, identifier: str, limit: int) -> list[str]:
        """Ids of remembered releases that say they were made from this one, installed ones first."""
        return lineage_tables.children_of(self._database, identifier, limit)

    def bases(self, *, kind: str = "", content: str = "", bundle: str = "", limit: int) -> list[Release]:
        """Remembered bases of a kind, with these weights or of these files, installed ones first."""
        found = base_tables.known(self._database, kind=kind, content=content, bundle=bundle, limit=limit)
        return [release for release in map(self.release, found) if release is not None]

    def newest(self) -> int:
        """When the newest known release says it was made, in seconds since 1970; 0 when none is known."""
        row = self._database.row("SELECT max(created) AS newest FROM releases")
        return int(row["newest"] or 0) if row is not None else 0

    def counts(self) -> tuple[int, int]:
        """Number of remembered releases, and of installed voices."""
        row = self._database.row(
            "SELECT (SELECT count(*) FROM releases) AS releases,"
            " (SELECT count(*) FROM installed WHERE release NOT IN (SELECT release FROM bases)) AS installed"
        )
        assert row is not None
        return int(row["releases"]), int(row["installed"])


def _words_of(manifest: Manifest) -> str:
    names = [name for tag in manifest.tags for lang in ("zh", "en") for name in tag_names(tag, lang)]
    return index_text(" ".join([manifest.name, manifest.slug, manifest.description, *names]))
