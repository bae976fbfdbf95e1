"""Reading the logs of voices: chains, operations by name, sizes; and the tables they stand in.

For looking only; what changes a log is log.py's. All methods block. Follows specs/community.md.
"""

import sqlite3
from collections.abc import Collection

from p2pvoice.node.database import Database
from p2pvoice.protocol.ids import Digest, author_id
from p2pvoice.protocol.operations import Signed, VoiceName, reread_operation

NAME_LETTERS = 6
"""Fewest letters, after "op", by which an operation is named."""

NAMED_LIMIT = 8
"""Operations of one beginning that are looked at."""


class LogReader:
    """The tables ``logs``, ``chains`` and ``operations`` of the node's database (schema.py), read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def version(self, voice: VoiceName) -> int:
        """A number that changes when the log does; 0 when there is none."""
        row = self._row(voice)
        return int(row["version"]) if row is not None else 0

    def heads(self, voice: VoiceName) -> dict[bytes, Digest]:
        """The id of the last operation of each signer."""
        row = self._row(voice)
        if row is None:
            return {}
        rows = self._database.rows("SELECT signer, head FROM chains WHERE log=?", (row["id"],))
        return {bytes(one["signer"]): bytes(one["head"]) for one in rows}

    def operations(self, voice: VoiceName) -> list[Signed]:
        """Every operation of a voice, chain by chain."""
        row = self._row(voice)
        if row is None:
            return []
        rows = self._database.rows(
            "SELECT o.data FROM operations o JOIN chains c ON c.id=o.chain WHERE c.log=?"
            " ORDER BY c.id, o.seq",
            (row["id"],),
        )
        return [reread_operation(bytes(one["data"])) for one in rows]

    def length(self, voice: VoiceName, signer: bytes) -> int:
        """Operations in a signer's chain."""
        row = self._chain(voice, signer)
        return int(row["length"]) if row is not None else 0

    def id_at(self, voice: VoiceName, signer: bytes, seq: int) -> Digest | None:
        """The id of an operation by its place in its chain."""
        chain = self._chain(voice, signer)
        if chain is None:
            return None
        row = self._database.row("SELECT id FROM operations WHERE chain=? AND seq=?", (chain["id"], seq))
        return bytes(row["id"]) if row is not None else None

    def behind(self, voice: VoiceName, signer: bytes, seq: int, count: int, size: int) -> list[bytes]:
        """The signed operations of a chain behind a place, at most so many of so many bytes together."""
        chain = self._chain(voice, signer)
        if chain is None:
            return []
        rows = self._database.rows(
            "SELECT data FROM operations WHERE chain=? AND seq>? ORDER BY seq LIMIT ?",
            (chain["id"], seq, count),
        )
        found: list[bytes] = []
        for row in rows:
            size -= len(row["data"])
            if size < 0:
                break
            found.append(bytes(row["data"]))
        return found

    def named(self, low: bytes, high: bytes) -> list[tuple[VoiceName, Digest]]:
        """The operations whose ids lie between two, the ends included; at most NAMED_LIMIT."""
        rows = self._database.rows(
            "SELECT l.author, l.slug, o.id FROM operations o JOIN chains c ON c.id=o.chain"
            " JOIN logs l ON l.id=c.log WHERE o.id>=? AND o.id<=? ORDER BY o.id LIMIT ?",
            (low, high, NAMED_LIMIT),
        )
        return [(VoiceName(bytes(row["author"]), row["slug"]), bytes(row["id"])) for row in rows]

    def signers_named(self, beginning: str) -> list[str]:
        """At most NAMED_LIMIT author ids that signed something and begin so, also without ``did:key:``."""
        wanted = beginning if beginning.startswith("did:key:") else "did:key:" + beginning
        rows = self._database.rows("SELECT DISTINCT signer FROM chains")
        return sorted(
            author
            for author in (author_id(bytes(row["signer"])) for row in rows)
            if author.startswith(wanted)
        )[:NAMED_LIMIT]

    def voices(self) -> list[VoiceName]:
        """Every voice that has a log here, in the order in which they came."""
        rows = self._database.rows("SELECT author, slug FROM logs ORDER BY id")
        return [VoiceName(bytes(row["author"]), row["slug"]) for row in rows]

    def sizes(self) -> dict[str, int]:
        """How much is kept: logs, chains, operations and their signed bytes; of strangers, too."""
        row = self._database.row(
            "SELECT (SELECT count(*) FROM logs) AS logs, count(*) AS chains,"
            " coalesce(sum(length), 0) AS operations, coalesce(sum(bytes), 0) AS bytes,"
            " (SELECT coalesce(sum(stranger_operations), 0) FROM logs) AS stranger_operations,"
            " (SELECT coalesce(sum(stranger_bytes), 0) FROM logs) AS stranger_bytes FROM chains"
        )
        assert row is not None
        return {key: int(row[key]) for key in row.keys()}  # noqa: SIM118 - a Row iterates over its values

    def untold(self, own: Collection[bytes]) -> list[tuple[VoiceName, bytes]]:
        """Voices, with the user's key, on which the newest operation of the user's reached nobody yet."""
        found = []
        for key in own:
            rows = self._database.rows(
                "SELECT l.author, l.slug FROM chains c JOIN logs l ON l.id=c.log"
                " WHERE c.signer=? AND c.length > c.told",
                (key,),
            )
            found += [(VoiceName(bytes(row["author"]), row["slug"]), key) for row in rows]
        return found

    def behind_told(self, voice: VoiceName, signer: bytes, count: int, size: int) -> list[Signed]:
        """The operations of a chain that reached nobody yet, from the earliest on."""
        chain = self._chain(voice, signer)
        place = int(chain["told"]) if chain is not None else 0
        return [reread_operation(data) for data in self.behind(voice, signer, place, count, size)]

    def lost(self) -> list[tuple[VoiceName, Signed]]:
        """Operations of the user's own that lost their place and were not signed again yet."""
        rows = self._database.rows("SELECT data FROM lost_operations ORDER BY rowid")
        found = [reread_operation(bytes(row["data"])) for row in rows]
        return [(one.operation.voice, one) for one in found]

    def _row(self, voice: VoiceName) -> sqlite3.Row | None:
        return self._database.row("SELECT * FROM logs WHERE author=? AND slug=?", (voice.author, voice.slug))

    def _chain(self, voice: VoiceName, signer: bytes) -> sqlite3.Row | None:
        return self._database.row(
            "SELECT c.* FROM chains c JOIN logs l ON l.id=c.log WHERE l.author=? AND l.slug=? AND c.signer=?",
            (voice.author, voice.slug, signer),
        )


def first_schema(connection: sqlite3.Connection) -> None:
    """The tables of logs, chains and operations."""
    for statement in (
        "CREATE TABLE logs(id INTEGER PRIMARY KEY, author BLOB NOT NULL, slug TEXT NOT NULL,"
        " version INTEGER NOT NULL DEFAULT 0, asked INTEGER NOT NULL DEFAULT 0,"
        " stranger_bytes INTEGER NOT NULL DEFAULT 0, stranger_operations INTEGER NOT NULL DEFAULT 0,"
        " UNIQUE(author, slug))",
        # The ids of chains are never used again, so that their order is that of arrival.
        "CREATE TABLE chains(id INTEGER PRIMARY KEY AUTOINCREMENT, log INTEGER NOT NULL,"
        " signer BLOB NOT NULL, length INTEGER NOT NULL, bytes INTEGER NOT NULL, head BLOB NOT NULL,"
        " time INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0, UNIQUE(log, signer))",
        "CREATE INDEX chains_by_signer ON chains(signer)",
        "CREATE TABLE operations(chain INTEGER NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL,"
        " time INTEGER NOT NULL, total INTEGER NOT NULL, target BLOB, data BLOB NOT NULL,"
        " UNIQUE(chain, seq))",
        "CREATE INDEX operations_by_id ON operations(id)",
        "CREATE INDEX operations_by_target ON operations(chain, target) WHERE target IS NOT NULL",
        "CREATE TABLE lost_operations(id BLOB NOT NULL UNIQUE, log INTEGER NOT NULL, data BLOB NOT NULL)",
        "CREATE INDEX successors_by_new ON successors(new)",
        "CREATE TABLE served_by(peer TEXT NOT NULL, author TEXT NOT NULL, bytes INTEGER NOT NULL,"
        " at INTEGER NOT NULL, PRIMARY KEY(peer, author)) WITHOUT ROWID",
    ):
        connection.execute(statement)
