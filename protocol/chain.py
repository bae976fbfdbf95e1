"""Chains: how operations join the log of their signer, so that every node ends with the same one.

Of two operations with one predecessor the one with the smaller id stays, and what followed the other goes.
That makes each chain the least of all that its signer has signed, whatever came first. :func:`judge` needs
to see three points of a chain only, so that it serves a table on disk as well as :class:`Log`, which holds
a voice's chains in memory. Not for what operations mean (replay.py). Follows specs/operations.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.operations import Signed, VoiceName


class Verdict(Enum):
    """What becomes of an operation."""

    JOINS = "joins"
    """It is the new end of its chain."""
    REPLACES = "replaces"
    """It takes the place of the operation at its seq, and what followed that one goes."""
    KNOWN = "known"
    """It is there already."""
    LOSES = "loses"
    """It follows, or is, an operation that lost its place to another of the same signer."""
    EARLY = "early"
    """The operation before it has not come yet."""
    REFUSED = "refused"
    """It can never join: it goes back in time, or beyond its signer's quota."""

    @property
    def kept(self) -> bool:
        """Whether the operation is in the chain from now on, and was not before."""
        return self in (Verdict.JOINS, Verdict.REPLACES)


@dataclass(frozen=True)
class Link:
    """One operation of a chain as far as its neighbours care.

    ``total`` is the number of signed bytes of the chain up to and with it.
    """

    id: Digest
    time: int
    total: int


START = Link(b"", 0, 0)
"""What stands before the first operation."""


def judge(new: Signed, before: Link | None, held: Link | None) -> Verdict:
    """What becomes of an operation, by the links of its signer's chain at the place before it and at its own.

    ``before`` is None where the chain is shorter, and START when the operation is the first.
    """
    operation = new.operation
    if before is None:
        return Verdict.EARLY
    if held is not None and held.id == new.id:
        return Verdict.KNOWN
    if operation.previous is not None and before.id != operation.previous:
        # Either its branch lost here, or it is the better one and its beginning has not come yet. Whoever
        # sends chains from their common point on sends the beginning first.
        return Verdict.LOSES
    if operation.time <= before.time or before.total + len(new.data) > operation.quota[1]:
        return Verdict.REFUSED
    if held is None:
        return Verdict.JOINS
    return Verdict.REPLACES if new.id < held.id else Verdict.LOSES


def point_places(length: int) -> tuple[int, ...]:
    """The seqs by which an asker names its chain of this length: the last, and 1, 2, 4, 8 … before it."""
    places, back = [], 0
    while length - back >= 1:
        places.append(length - back)
        back = 2 * back or 1
    return tuple(places)


def latest_common(points: Iterable[tuple[int, Digest]], held: Callable[[int], Digest | None]) -> int:
    """The seq of the latest of an asker's points that is held here, too; 0 when none is.

    ``held`` gives the id of the operation held at a seq, or None.
    """
    return max((seq for seq, digest in points if held(seq) == digest), default=0)


class ChainExchange:
    """The asking side of the exchange of one chain: what to ask next, and what the other side lacks then.

    ``points`` go into the next question, and are None when the last was answered. ``common`` is the seq up
    to which the two chains are known to be the same: what follows it here, the other side lacks or had lost.
    """

    def __init__(self, points: tuple[tuple[int, Digest], ...]) -> None:
        self.points: tuple[tuple[int, Digest], ...] | None = points
        self.common = 0
        self._asked = 0

    def take(self, got: Sequence[tuple[Signed, Verdict]], length: int) -> None:
        """Learn from an answer: its operations in order, each with what became of it here, and its length.

        An answer whose operations are all known is gone on from as well: points lie apart.
        """
        places = [one.operation.seq for one, _ in got]
        self.points = None
        if not got:
            self.common = max(self.common, length)
            return
        if self._asked and places[0] != self._asked + 1:
            return
        self.common = places[0] - 1
        for one, verdict in got:
            if one.operation.seq != self.common + 1 or not (verdict.kept or verdict is Verdict.KNOWN):
                return
            self.common = one.operation.seq
        if self.common < length:
            self.points, self._asked = ((self.common, got[-1][0].id),), self.common


class Log:
    """All chains of one voice, in memory."""

    def __init__(self, voice: VoiceName) -> None:
        self.voice = voice
        self._chains: dict[bytes, list[Signed]] = {}
        # The links of the same operations, so that nothing is summed up twice.
        self._links: dict[bytes, list[Link]] = {}

    def add(self, new: Signed) -> Verdict:
        """Let a verified operation join its chain, if it may. ValueError for another voice's."""
        if new.operation.voice != self.voice:
            raise ValueError("the operation is about another voice")
        links = self._links.get(new.operation.signer, [])
        place = new.operation.seq - 1
        before = START if place == 0 else links[place - 1] if place <= len(links) else None
        verdict = judge(new, before, links[place] if place < len(links) else None)
        if verdict.kept and before is not None:
            chain = self._chains.setdefault(new.operation.signer, [])
            links = self._links.setdefault(new.operation.signer, links)
            chain[place:] = [new]
            links[place:] = [Link(new.id, new.operation.time, before.total + len(new.data))]
        return verdict

    def add_all(self, operations: Iterable[Signed]) -> int:
        """Add operations that came in any order; how many joined.

        Once through them by their seq is enough: when the turn of a seq comes, the link before it is final.
        """
        in_order = sorted(operations, key=lambda one: one.operation.seq)
        return sum(self.add(one).kept for one in in_order)

    def points(self, signer: bytes) -> tuple[tuple[int, Digest], ...]:
        """The points (seq, id) of a chain that an asker names, latest first."""
        links = self._links.get(signer, [])
        return tuple((seq, links[seq - 1].id) for seq in point_places(len(links)))

    def after(self, signer: bytes, points: Iterable[tuple[int, Digest]]) -> tuple[Signed, ...]:
        """What stands in a chain behind the latest of an asker's points that is here, too."""
        links = self._links.get(signer, [])
        common = latest_common(points, lambda seq: links[seq - 1].id if seq <= len(links) else None)
        return tuple(self._chains.get(signer, [])[common:])

    def chains(self) -> Mapping[bytes, tuple[Signed, ...]]:
        """The chain of each signer."""
        return {signer: tuple(chain) for signer, chain in self._chains.items()}

    def operations(self) -> list[Signed]:
        """Every operation, in the order in which they are replayed."""
        return sorted((one for chain in self._chains.values() for one in chain), key=lambda one: one.order)

    def heads(self) -> dict[bytes, Digest]:
        """The id of the last operation of each signer: what two nodes compare."""
        return {signer: chain[-1].id for signer, chain in self._chains.items()}
