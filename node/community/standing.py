"""Whose operations count: those of the voice's author, of authors the user follows, and the user's own.

Signers are raw keys; an author's former keys stand as the author does. What counts decides what is shown
first and what strangers cannot push out, never what a log says. Not for the names that are shown beside keys
(node/names.py). All methods block. Follows specs/community.md, "Who counts".
"""

from collections.abc import Callable

from p2pvoice.node.community.lines import Line
from p2pvoice.node.following import Following
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.ids import parse_author_id


class Standing:
    """Answers whose word counts on a voice."""

    def __init__(self, following: Following, successors: Successors, own: Callable[[], str]) -> None:
        self._following = following
        self._successors = successors
        self._own = own
        self._known: tuple[object, frozenset[bytes]] = (None, frozenset())

    def everywhere(self) -> frozenset[bytes]:
        """The raw keys that count on every voice: the user's own and those of followed authors."""
        authors = (self._own(), *(one.author for one in self._following.all()))
        state = (authors, self._successors.count())
        if self._known[0] != state:
            keys = {parse_author_id(one) for author in authors for one in self._successors.family(author)}
            self._known = (state, frozenset(keys))
        return self._known[1]

    def on(self, line: Line) -> frozenset[bytes]:
        """The raw keys that count on one voice."""
        return self.everywhere() | line.owners
