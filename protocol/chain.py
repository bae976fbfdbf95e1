"""Chains: how operations join the log of their signer, so that every node ends with the same one.

Of two operations with one predecessor the one with the smaller id stays, and what followed the other goes.
That makes each chain the least of all that its signer has signed, whatever came first. :func:`judge` needs
to see three points of a chain only, so that it serves a table on disk as well as :class:`Log`, which holds
a voice's chains in memory. Not for what operations mean (replay.py). Follows specs/operations.md.
"""

from collections.abc import Callable, Iterable, Mapping
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


class Log:
    """All chains of one voice, in memory."""

    def __init__(self, voice: VoiceName) -> None:
        self.voice = voice
        self._chains: dict[bytes, list[Signed]] = {}

    def add(self, new: Signed) -> Verdict:
        """Let a verified operation join its chain, if it may. ValueError for another voice's."""
        if new.operation.voice != self.voice:
            raise ValueError("the operation is about another voice")
        chain = self._chains.get(new.operation.signer, [])
        place = new.operation.seq - 1
        before = START if place == 0 else _link(chain, place - 1)
        verdict = judge(new, before, _link(chain, place))
        if verdict.kept:
            self._chains[new.operation.signer] = [*chain[:place], new]
        return verdict

    def add_all(self, operations: Iterable[Signed]) -> int:
        """Add operations in any order, again and again until none joins any more; how many joined."""
        waiting, joined = list(operations), 0
        while True:
            verdicts = [self.add(one) for one in waiting]
            kept = sum(verdict.kept for verdict in verdicts)
            joined += kept
            if not kept:
                return joined

    def points(self, signer: bytes) -> tuple[tuple[int, Digest], ...]:
        """The points (seq, id) of a chain that an asker names, latest first."""
        chain = self._chains.get(signer, [])
        return tuple((seq, chain[seq - 1].id) for seq in point_places(len(chain)))

    def after(self, signer: bytes, points: Iterable[tuple[int, Digest]]) -> tuple[Signed, ...]:
        """What stands in a chain behind the latest of an asker's points that is here, too."""
        chain = self._chains.get(signer, [])
        common = latest_common(points, lambda seq: chain[seq - 1].id if seq <= len(chain) else None)
        return tuple(chain[common:])

    def chains(self) -> Mapping[bytes, tuple[Signed, ...]]:
        """The chain of each signer."""
        return {signer: tuple(chain) for signer, chain in self._chains.items()}

    def operations(self) -> list[Signed]:
        """Every operation, in the order in which they are replayed."""
        return sorted((one for chain in self._chains.values() for one in chain), key=lambda one: one.order)

    def heads(self) -> dict[bytes, Digest]:
        """The id of the last operation of each signer: what two nodes compare."""
        return {signer: chain[-1].id for signer, chain in self._chains.items()}


def _link(chain: list[Signed], place: int) -> Link | None:
    if place >= len(chain):
        return None
    total = sum(len(one.data) for one in chain[: place + 1])
    return Link(chain[place].id, chain[place].operation.time, total)
