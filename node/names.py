"""What a name must not be taken for: names that look like those of authors the user has reason to know.

Known are the user's own voices, followed authors with their voices and the user's names for them, and the
authors of installed voices. A voice of anybody else whose name looks like one of these is flagged, never
hidden. Not for comparing two names (protocol/confusable.py). All methods block. Follows specs/trust.md.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.following import Following
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.confusable import skeletons
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release

VOICES_LIMIT = 5_000
"""Known voices whose names are compared, the newest first."""

WARNINGS_LIMIT = 4
"""Warnings that one voice carries; more would say nothing more."""


@dataclass(frozen=True)
class _Known:
    """A name that means somebody: as it is written, whose it is, and how to tell of it."""

    name: str
    author: str
    what: str


class Names:
    """Flags names that look like known ones. The known ones are gathered anew when something changed."""

    def __init__(
        self,
        catalog: Catalog,
        following: Following,
        successors: Successors,
        own: Callable[[], str],
    ) -> None:
        self._catalog = catalog
        self._following = following
        self._successors = successors
        self._own = own
        self._changes = (-1, "")
        self._state: object = None
        self._index: dict[str, list[_Known]] = {}

    def whose(self, author: str) -> dict[str, Any]:
        """Whose key this is to the user: ``own``, ``followed``, and the user's name for its owner."""
        petname = self._following.name_of(author)
        return {
            "own": self._successors.current(author) == self._own(),
            "followed": petname is not None,
            "author_name": petname or "",
        }

    def warnings(self, release: Release) -> list[dict[str, str]]:
        """What to know before believing a voice's name and author: ``{code, message, author}`` each.

        ``author`` is the other author id that the warning speaks of.
        """
        author = author_id(release.manifest.author)
        return [*self._of_key(author), *self._of_name(release, author)][:WARNINGS_LIMIT]

    def _of_key(self, author: str) -> Iterable[dict[str, str]]:
        now, rival = self._successors.current(author), self._successors.rival(author)
        if now != author:
            message = f"its author gave this key up for {now}"
            yield {"code": "moved", "message": message, "author": now}
        if rival is not None:
            message = f"this key also named {rival} as its successor, which is not believed"
            yield {"code": "successor_fork", "message": message, "author": rival}

    def _of_name(self, release: Release, author: str) -> Iterable[dict[str, str]]:
        if self._successors.current(author) == self._own() or self._following.name_of(author) is not None:
            return
        told: set[str] = set()
        index, manifest = self._known(), release.manifest
        for name in dict.fromkeys((manifest.name, manifest.slug)):
            for known in sorted(
                {one for form in skeletons(name) for one in index.get(form, ())},
                key=lambda one: (one.name != name, one.author, one.name),
            ):
                same = known.name == name
                if known.author in told or self._successors.current(known.author) in (
                    author,
                    self._successors.current(author),
                ):
                    continue
                told.add(known.author)
                relation = "the same name as" if same else "a name that looks like"
                yield {
                    "code": "same_name" if same else "lookalike",
                    "message": f"another key published this under {relation} {known.what}",
                    "author": known.author,
                }

    def _known(self) -> dict[str, list[_Known]]:
        changes = (self._catalog.changes, self._own())
        if changes == self._changes:
            return self._index
        follows = self._following.all()
        installed = self._catalog.installed_voices()
        own = self._own()
        authors = {own, *(one.author for one in follows), *(held.author for held in installed)}
        voices = self._catalog.names_of(authors, VOICES_LIMIT)
        state = (own, tuple(follows), tuple(voices))
        if state == self._state:
            self._changes = changes
            return self._index
        index: dict[str, list[_Known]] = {}
        petnames = {one.author: one.name for one in follows}

        def add(name: str, author: str, what: str) -> None:
            for form in skeletons(name):
                index.setdefault(form, []).append(_Known(name, author, what))

        for one in follows:
            if one.name:
                add(one.name, one.author, f"{one.name}, whom you follow")
        for author, slug, identifier in voices:
            release = self._catalog.release(identifier)
            name = release.manifest.name if release is not None else slug
            if author == own:
                whose = "of your own"
            elif author in petnames:
                whose = f"by {petnames[author] or 'an author'}, whom you follow"
            else:
                whose = "by an author whose voice you installed"
            for text in dict.fromkeys((name, slug)):
                add(text, author, f"{text} {whose}")
        self._changes, self._state, self._index = changes, state, index
        return index
