"""How far authors are from the user: followed, kin of those, or strangers. Known here, told to nobody.

Distance 0 are the user's own keys and followed authors with theirs. Distance 1 are the authors of releases
that one of these has forked, merged or otherwise made a release from, or put into a signed collection, as far
as this node knows the releases. What a stranger says moves nobody. Not for what follows from it (fairness.py,
ranking.py). All methods block. Follows specs/catalog.md, "Room".
"""

import json
from collections.abc import Callable, Iterable

from p2pvoice.node.database import Database
from p2pvoice.node.fairness import Standing
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.ancestry import OWN_STEP
from p2pvoice.protocol.collection import verify_collection
from p2pvoice.protocol.manifest import Release

NAMED_LIMIT = 50_000
"""Releases named by those at distance 0 that are kept in mind."""


class Distances:
    """Who is how far. Looked at anew when a follow, a successor or a collection changed."""

    def __init__(self, database: Database, own: Callable[[], str]) -> None:
        self._database = database
        self._successors = Successors(database)
        self._own = own
        self._state: object = None
        self._looks = 0
        self._near: frozenset[str] = frozenset()
        self._mine: frozenset[str] = frozenset()
        self._kin: set[str] = set()
        #: Release -> those at distance 0 who named it.
        self._named: dict[str, set[str]] = {}

    def of(self, author: str) -> Standing:
        """The standing of an author, as of the last look."""
        if author in self._near:
            return Standing.FOLLOWED
        return Standing.KIN if author in self._kin else Standing.STRANGER

    def is_own(self, author: str) -> bool:
        """Whether this is the user's own key, or a former one."""
        return author in self._mine

    def vouchers(self, release: str) -> int:
        """How many at distance 0 made something from a release, or put it into a collection."""
        return len(self._named.get(release, ()))

    def near(self) -> dict[str, Standing]:
        """Everybody who is no stranger."""
        return {author: Standing.KIN for author in self._kin} | {
            author: Standing.FOLLOWED for author in self._near
        }

    def look(self) -> int:
        """Look whether somebody moved since the last time: another number then than before."""
        row = self._database.row("SELECT changed FROM room")
        state = (int(row["changed"]) if row is not None else 0, self._own())
        if state == self._state:
            return self._looks
        own = self._own()
        self._mine = frozenset(self._successors.family(own)) if own else frozenset()
        follows = [str(row["author"]) for row in self._database.rows("SELECT author FROM follows")]
        self._near = self._mine | {key for one in follows for key in self._successors.family(one)}
        self._named = {}
        near = json.dumps(sorted(self._near))
        for row in self._database.rows(
            "SELECT r.author, p.parent FROM json_each(?) n JOIN releases r ON r.author=n.value"
            " JOIN parents p ON p.child=r.id AND p.kind!=?",
            (near, OWN_STEP),
        ):
            self._name(str(row["author"]), [str(row["parent"])])
        for row in self._database.rows(
            "SELECT c.author, c.data FROM json_each(?) n JOIN collections c ON c.author=n.value"
            " ORDER BY c.at DESC",
            (near,),
        ):
            items = verify_collection(bytes(row["data"])).collection.items
            self._name(str(row["author"]), [item.release for item in items])
        rows = self._database.rows(
            "SELECT DISTINCT r.author FROM json_each(?) n JOIN releases r ON r.id=n.value",
            (json.dumps(list(self._named)),),
        )
        self._kin = {str(row["author"]) for row in rows} - self._near
        self._state = state
        self._looks += 1
        return self._looks

    def learn(self, release: Release, author: str) -> list[str]:
        """A release by an author came in: the authors it brings nearer."""
        brought: list[str] = []
        if author in self._near:
            self._name(author, [one.release for one in release.manifest.parents if one.kind != OWN_STEP])
            for parent in release.manifest.parents:
                row = self._database.row("SELECT author FROM releases WHERE id=?", (parent.release,))
                if row is not None and parent.release in self._named:
                    brought.append(str(row["author"]))
        elif release.id in self._named:
            brought.append(author)
        new = [one for one in dict.fromkeys(brought) if one not in self._near and one not in self._kin]
        self._kin.update(new)
        return new

    def _name(self, author: str, releases: Iterable[str]) -> None:
        for release in releases:
            if release in self._named or len(self._named) < NAMED_LIMIT:
                self._named.setdefault(release, set()).add(author)
