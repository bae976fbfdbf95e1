"""Searching the catalog by tags and words, for the user and for peers.

What text becomes in the index is search.py's. Follows specs/catalog.md, "Search".
"""

from collections.abc import Sequence

from p2pvoice.node import base_tables
from p2pvoice.node.catalog_tables import open_release
from p2pvoice.node.releases import Releases
from p2pvoice.node.search import match_expression
from p2pvoice.protocol.manifest import Release


class Searching(Releases):
    """Queries over releases, tags and words."""

    def search(self, tags: Sequence[str], text: str, limit: int) -> list[Release]:
        """Remembered voices that carry all tags and all words; of each the newest release, newest first.

        With a tag of bases, those instead.
        """
        query, values = _filter(tags, text)
        rows = self._database.rows(
            f"SELECT r.data, r.author, r.slug, r.id FROM releases r WHERE {query}"
            " ORDER BY r.created DESC, r.id",
            values,
        )
        found: list[Release] = []
        voices: set[tuple[str, str]] = set()
        for row in rows:
            voice = (row["author"], row["slug"])
            if voice in voices:
                continue
            head = self.head(*voice)
            # A known head decides which release stands for the voice; without one the newest does.
            newest = head.release if head is not None else row["id"]
            if newest != row["id"] and self.release_bytes(newest) is not None:
                continue
            voices.add(voice)
            found.append(open_release(bytes(row["data"])))
            if len(found) >= limit:
                break
        return found

    def offered(self, tags: Sequence[str], limit: int, after: str) -> list[str]:
        """Ids of installed, seeded releases with all tags, in order, beginning after a given id."""
        query, values = _filter(tags, "")
        rows = self._database.rows(
            "SELECT r.id FROM releases r JOIN installed i ON i.release = r.id"
            f" WHERE i.seed = 1 AND r.id > ? AND {query} ORDER BY r.id LIMIT ?",
            [after, *values, limit],
        )
        return [str(row["id"]) for row in rows]


def _filter(tags: Sequence[str], text: str) -> tuple[str, list[object]]:
    parts, values = [base_tables.searched(tags)], list[object]()
    for tag in tags:
        parts.append("EXISTS (SELECT 1 FROM tags t WHERE t.tag=? AND t.release=r.id)")
        values.append(tag)
    if text.strip():
        expression = match_expression(text)
        if not expression:
            return "0", []
        parts.append("r.id IN (SELECT release FROM words WHERE words MATCH ?)")
        values.append(expression)
    return " AND ".join(parts), values
