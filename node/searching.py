"""Searching the catalog by tags and words, for the user and for peers, a page at a time.

The order is ranking.py's; what text becomes in the index is search.py's. Follows specs/catalog.md, "Search"
and "Ranking".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2pvoice.node import base_tables
from p2pvoice.node.ranking import BEGINNING, Candidate, behind, rank, read_cursor, write_cursor
from p2pvoice.node.releases import Releases
from p2pvoice.node.search import match_expression
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release

STARRED_LIMIT = 500
"""Installed voices with something said of them whose stars are looked at in one search."""


@dataclass(frozen=True)
class Found:
    """A page of a search: releases, and the cursor of what stands behind each of them.

    ``begin`` is the cursor of the page itself, ``next`` that of the one behind it, "" at the end.
    """

    releases: tuple[Release, ...]
    cursors: tuple[str, ...]
    begin: str
    next: str


class Searching(Releases):
    """Queries over releases, tags and words."""

    #: The stars that those who count gave a voice, by author id and slug; set by the part that knows.
    stars: Callable[[str, str], int] | None = None

    def search(self, tags: Sequence[str], text: str, limit: int) -> list[Release]:
        """The first voices of a search in the order of ranking.py; of each one release.

        With a tag of bases, those instead.
        """
        return list(self.page(tags, text, limit).releases)

    def page(self, tags: Sequence[str], text: str, limit: int, cursor: str = "") -> Found:
        """The voices behind a place. UsageError for a cursor that is none, or is another search's.

        A voice that keeps its place is on exactly one page, whatever comes and goes meanwhile.
        """
        start = read_cursor(cursor, tags, text)
        with self._database.alone():
            self._room.distances.look()
            places = behind(rank(self._candidates(tags, text)), start)
            found = [(place, release) for place in places[:limit] if (release := self.release(place.release))]
        cursors = tuple(write_cursor(place.key, tags, text) for place, _ in found)
        more = cursors[-1] if cursors and len(places) > len(cursors) else ""
        begin = write_cursor(start or BEGINNING, tags, text)
        return Found(tuple(release for _, release in found), cursors, begin, more)

    def _candidates(self, tags: Sequence[str], text: str) -> list[Candidate]:
        """One release for each voice that fits: the one its head names, else the newest that fits."""
        query, values = candidates_query(tags, text)
        voices: dict[tuple[str, str], Candidate] = {}
        distances, said = self._room.distances, self._said_of()
        looked = 0
        for row in self._database.rows(query, values) if query else ():
            voice, installed = (str(row["author"]), str(row["slug"])), row["place"] is not None
            # A known head decides which release stands for the voice; without one the newest does.
            if voice in voices or (row["held"] is not None and row["held"] != row["id"]):
                continue
            signals = distances.vouchers(row["id"])
            if self.stars is not None and installed and voice in said and looked < STARRED_LIMIT:
                looked += 1
                signals += self.stars(*voice)
            standing = distances.of(voice[0])
            voices[voice] = Candidate(
                release=str(row["id"]),
                author=voice[0],
                created=int(row["created"]),
                since=int(row["since"] or 0),
                distance=0 if distances.is_own(voice[0]) else standing + 1,
                installed=installed,
                signals=signals,
            )
        return list(voices.values())

    def _said_of(self) -> set[tuple[str, str]]:
        """Voices of which something was said."""
        if self.stars is None:
            return set()
        rows = self._database.rows("SELECT author, slug FROM logs")
        return {(author_id(bytes(row["author"])), str(row["slug"])) for row in rows}

    def offered(self, tags: Sequence[str], limit: int, after: str) -> list[str]:
        """Ids of installed, seeded releases with all tags, in order, beginning after a given id."""
        query, values = offered_query(tags, limit, after)
        return [str(row["release"]) for row in self._database.rows(query, values)]


def candidates_query(tags: Sequence[str], text: str) -> tuple[str, list[object]]:
    """Rows of releases that fit, the newest first; "" when nothing can."""
    source, parts, values = _tagged(tags, "r.id")
    parts.append(base_tables.searched(tags))
    if text.strip():
        expression = match_expression(text)
        if not expression:
            return "", []
        parts.append("r.id IN (SELECT release FROM words WHERE words MATCH ?)")
        values.append(expression)
    source = f"{source} CROSS JOIN releases r ON r.id=t.release" if source else "releases r"
    return (
        "SELECT r.id, r.author, r.slug, r.created, a.since, i.release AS place, h2.id AS held"
        f" FROM {source} LEFT JOIN authors a ON a.author=r.author LEFT JOIN installed i ON i.release=r.id"
        " LEFT JOIN heads h ON h.author=r.author AND h.slug=r.slug LEFT JOIN releases h2 ON h2.id=h.release"
        f" WHERE {' AND '.join(parts)} ORDER BY r.created DESC, r.id",
        values,
    )


def offered_query(tags: Sequence[str], limit: int, after: str) -> tuple[str, list[object]]:
    """Rows of installed and seeded releases that fit, in the order of their ids.

    With tags it goes along one facet, whose strangers are bounded, and otherwise along what is installed; in
    both the index gives the order, so that a page costs the same wherever it begins.
    """
    source, parts, values = _tagged(tags, "i.release")
    first = "t.release" if source else "i.release"
    source = f"{source} CROSS JOIN installed i ON i.release=t.release" if source else "installed i"
    parts += [f"{first} > ?", "i.seed=1", base_tables.searched(tags).replace("r.id", "i.release")]
    return (
        f"SELECT {first} AS release FROM {source} WHERE {' AND '.join(parts)} ORDER BY {first} LIMIT ?",
        [*values, after, limit],
    )


def _tagged(tags: Sequence[str], identifier: str) -> tuple[str, list[str], list[object]]:
    """Where rows come from that carry all tags: the table to begin with, conditions, and their values."""
    if not tags:
        return "", [], []
    parts = ["t.tag=?"]
    parts += [f"EXISTS (SELECT 1 FROM tags o WHERE o.tag=? AND o.release={identifier})" for _ in tags[1:]]
    return "tags t", parts, list(tags)
