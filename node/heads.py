"""The heads the catalog holds: which release of a voice is the latest. They never go back in sequence.

Not for signing heads (protocol/head.py) nor for finding them in the network (discovery.py). Follows
specs/catalog.md and specs/head.md.
"""

import sqlite3

from p2pvoice.node.catalog_tables import Tables
from p2pvoice.protocol.head import Head, advance, verify_head
from p2pvoice.protocol.ids import author_id


class Heads(Tables):
    """The table of heads."""

    def add_head(self, data: bytes, *, lasting: bool = True) -> Head:
        """Verify a head and remember it when it is newer; returns it.

        Raises StaleError for an expired head, and for one older than the one we hold: somebody replays
        an old record. Of two releases at one sequence the one that came first stays. ``lasting=False`` is
        for a stranger's that comes with many others and can be found again.
        """
        with self._database.write(lasting=lasting) as connection:
            return self._advance(connection, data)

    def _advance(self, connection: sqlite3.Connection, data: bytes) -> Head:
        head = verify_head(data, self._clock())
        author = author_id(head.author)
        row = connection.execute(
            "SELECT data FROM heads WHERE author=? AND slug=?", (author, head.slug)
        ).fetchone()
        held = _open_head(bytes(row["data"])) if row is not None else None
        if held is not None and advance(held, head) is held:
            return held
        # An update keeps the row's place in the order of arrival, which eviction.py goes by.
        connection.execute(
            "INSERT INTO heads(author, slug, sequence, release, data) VALUES (?,?,?,?,?)"
            " ON CONFLICT(author, slug) DO UPDATE SET"
            " sequence=excluded.sequence, release=excluded.release, data=excluded.data",
            (author, head.slug, head.sequence, head.release, data),
        )
        if held is None:
            self._room.added_head(connection)
        return head

    def head(self, author: str, slug: str) -> Head | None:
        """The newest head we hold of a voice."""
        data = self.head_bytes(author, slug)
        return _open_head(data) if data is not None else None

    def head_bytes(self, author: str, slug: str) -> bytes | None:
        """The signed bytes of the newest head we hold of a voice."""
        row = self._database.row("SELECT data FROM heads WHERE author=? AND slug=?", (author, slug))
        return bytes(row["data"]) if row is not None else None


def _open_head(data: bytes) -> Head:
    # What is in the catalog was verified when it came in; an expired head still orders what follows it.
    return verify_head(data, 0)
