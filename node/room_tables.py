"""The tables behind the catalog's room: since when authors are known, this node's salt, words by number.

Not for the rules (fairness.py) nor for applying them (eviction.py). Follows specs/catalog.md, "Room".
"""

import sqlite3

_CHANGES_STANDING = ("follows", "successors", "collections")
"""Tables whose rows say how far an author is from the user."""


def first_schema(connection: sqlite3.Connection) -> None:
    """The tables, filled with what is here.

    An author is known at least since the earliest time that stands at one of its releases. A release names
    its row among the words, which are found by their number only. ``room.changed`` counts what changes
    distances.
    """
    for statement in (
        "CREATE TABLE authors(author TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO authors(author, since) SELECT author, min(seen) FROM releases GROUP BY author",
        "CREATE TABLE room(salt BLOB NOT NULL, changed INTEGER NOT NULL)",
        "INSERT INTO room(salt, changed) VALUES (randomblob(32), 0)",
        "ALTER TABLE releases ADD COLUMN words INTEGER",
    ):
        connection.execute(statement)
    # All are read first: the rows that are written stand in another table, whose scan goes on meanwhile.
    words = connection.execute("SELECT rowid, release FROM words").fetchall()
    connection.executemany("UPDATE releases SET words=? WHERE id=?", [(row[0], row[1]) for row in words])
    for table in _CHANGES_STANDING:
        for change in ("INSERT", "DELETE"):
            connection.execute(
                f"CREATE TRIGGER standing_{table}_{change.lower()} AFTER {change} ON {table}"
                " BEGIN UPDATE room SET changed=changed+1; END"
            )
