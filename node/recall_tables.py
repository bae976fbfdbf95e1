"""The tables of tombstones, and of the releases they took out of use here: keys, rows, and how many.

Not for what is asked of them: see recall.py. All functions block, in a transaction of the caller's. Follows
specs/recall.md, "Limits".
"""

import sqlite3
from collections.abc import Sequence

from p2pvoice.node.tombstone import Kind
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.revocation import Revocation

#: Tombstones kept in all.
TOMBSTONES_LIMIT = 4096

#: Tombstones of one signer for releases that were only remembered here.
SIGNER_LIMIT = 256

# A tombstone by its key, the releases of one, and both together.
HERE = "signer=? AND author=? AND slug=? AND release=?"
KEY = "signer, of_author, of_slug, whole"
OF = "signer=? AND of_author=? AND of_slug=? AND whole=?"
JOIN = "r.signer=t.signer AND r.of_author=t.author AND r.of_slug=t.slug AND r.whole=t.release"


def first_schema(connection: sqlite3.Connection) -> None:
    """The tables of tombstones, and of the releases they took out of use here.

    ``release`` of a tombstone, and ``whole``, which names it, are "" where the whole voice is revoked.
    ``say``: the signer was shown to have a say in the voice; ``subject``: to be its subject; ``binds``: the
    files are refused under other names, too.
    """
    for statement in (
        "CREATE TABLE tombstones(signer TEXT NOT NULL, author TEXT NOT NULL, slug TEXT NOT NULL,"
        " release TEXT NOT NULL, bundle TEXT NOT NULL, say INTEGER NOT NULL, subject INTEGER NOT NULL,"
        " binds INTEGER NOT NULL, kind INTEGER NOT NULL, created INTEGER NOT NULL,"
        " learned INTEGER NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,"
        " PRIMARY KEY(signer, author, slug, release))",
        "CREATE INDEX tombstones_by_voice ON tombstones(author, slug)",
        "CREATE INDEX tombstones_by_slug ON tombstones(slug)",
        "CREATE INDEX tombstones_by_release ON tombstones(release)",
        "CREATE INDEX tombstones_by_bundle ON tombstones(bundle)",
        "CREATE TABLE recalled(release TEXT PRIMARY KEY, author TEXT NOT NULL, slug TEXT NOT NULL,"
        " signer TEXT NOT NULL, of_author TEXT NOT NULL, of_slug TEXT NOT NULL, whole TEXT NOT NULL,"
        " tags TEXT NOT NULL, offered INTEGER NOT NULL, data BLOB)",
        "CREATE INDEX recalled_by_tombstone ON recalled(signer, of_author, of_slug, whole)",
        "CREATE INDEX recalled_by_slug ON recalled(slug)",
    ):
        connection.execute(statement)


def row_key(revocation: Revocation) -> tuple[str, str, str, str]:
    """The key of a revocation's tombstone: signer, author, slug, and the release or ""."""
    return (
        author_id(revocation.signer),
        author_id(revocation.author),
        revocation.slug,
        revocation.release or "",
    )


def remember(
    connection: sqlite3.Connection, release: Release, place: Sequence[str], offered: bool, *, keep: bool
) -> None:
    """Note a release that the tombstone with the key ``place`` takes out of use.

    ``keep`` its manifest as proof of who had a say, too.
    """
    manifest, data = release.manifest, release.envelope.to_bytes() if keep else None
    tags = "\n".join(manifest.tags)
    connection.execute(
        f"INSERT INTO recalled(release, author, slug, {KEY}, tags, offered, data)"
        " VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT(release) DO UPDATE SET"
        " offered=max(offered, excluded.offered), data=coalesce(data, excluded.data)",
        (release.id, author_id(manifest.author), manifest.slug, *place, tags, offered, data),
    )


def make_room(connection: sqlite3.Connection, signer: str, kind: Kind) -> bool:
    """Make room for one more tombstone; False when everything here matters more than the new one."""
    if kind is Kind.SEEN:
        query = "SELECT count(*) FROM tombstones WHERE signer=? AND kind=?"
        if connection.execute(query, (signer, Kind.SEEN)).fetchone()[0] >= SIGNER_LIMIT:
            return False
    if connection.execute("SELECT count(*) FROM tombstones").fetchone()[0] < TOMBSTONES_LIMIT:
        return True
    row = connection.execute(
        "SELECT * FROM tombstones WHERE kind <= ? ORDER BY kind, learned LIMIT 1",
        (min(kind, Kind.ASKED),),
    ).fetchone()
    if row is None:
        return kind >= Kind.HELD
    place = (row["signer"], row["author"], row["slug"], row["release"])
    connection.execute(f"DELETE FROM tombstones WHERE {HERE}", place)
    connection.execute(f"DELETE FROM recalled WHERE {OF}", place)
    return True
