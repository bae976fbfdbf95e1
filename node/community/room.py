"""How much room strangers' operations take, and which are forgotten first when it is full.

Author keys cost nothing, so anybody can sign endless operations. Chains of the voice's author, of followed
signers and of one's own, and of those whom one of these has answered, are never forgotten for strangers'.
Among strangers the earliest known stay, newcomers make room for newcomers, and who has most goes first. A
chain that was forgotten is turned away for a while, so that it is not fetched again and again. Not for which
operations join a chain (log.py). All functions run inside a transaction of the log. Follows
specs/community.md, "Room".
"""

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from p2pvoice.protocol.operations import VoiceName

VOICE_CHAINS = 512
"""Chains of strangers that are kept of one voice."""

VOICE_BYTES = 4 * 1024 * 1024
"""Signed bytes of them together."""

FAIR_BYTES = VOICE_BYTES // VOICE_CHAINS
"""Signed bytes within which a chain is as good as any other one."""

NODE_BYTES = 64 * 1024 * 1024
"""Signed bytes of strangers' chains of all voices together."""

NODE_OPERATIONS = 100_000
"""Operations of strangers on all voices together."""

NEWCOMERS = 0.25
"""Share of a voice's places, and of its bytes, in which newcomers replace each other."""

FILL_AGAIN = 0.01
"""Share of the node's limits that is made free at once, so that a flood does not cost a count each time."""

TURNED_AWAY_LIMIT = 8_192
"""Chains that are remembered as turned away, in memory."""

TURNED_AWAY_SECONDS = 3_600.0
"""Seconds for which a chain that was forgotten is not taken again, unless its signer gains trust."""


@dataclass(frozen=True)
class Evicted:
    """A chain that was forgotten."""

    chain: int
    signer: bytes


@dataclass(frozen=True)
class _Held:
    chain: int
    signer: bytes
    length: int
    size: int

    @property
    def share(self) -> int:
        """The size as far as it is beyond what each chain could have."""
        return max(self.size, FAIR_BYTES)


class TurnedAway:
    """Which chains were forgotten lately. Bounded; the oldest are let in again first."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._until: OrderedDict[tuple[VoiceName, bytes], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, voice: VoiceName, signer: bytes) -> None:
        """Do not take this chain for a while."""
        self._until[voice, signer] = self._clock() + TURNED_AWAY_SECONDS
        self._until.move_to_end((voice, signer))
        while len(self._until) > TURNED_AWAY_LIMIT:
            self._until.popitem(last=False)

    def holds(self, voice: VoiceName, signer: bytes) -> bool:
        """Whether the chain is still turned away."""
        until = self._until.get((voice, signer))
        if until is None:
            return False
        if until <= self._clock():
            self._until.pop((voice, signer), None)
            return False
        return True


def make_room(connection: sqlite3.Connection, log: int, trusted: Collection[bytes]) -> list[Evicted]:
    """Forget what is too much of one voice's strangers; what was forgotten."""
    rows = connection.execute(
        "SELECT id, signer, length, bytes FROM chains WHERE log=? ORDER BY id", (log,)
    ).fetchall()
    held = [
        _Held(row["id"], bytes(row["signer"]), row["length"], row["bytes"])
        for row in rows
        if bytes(row["signer"]) not in trusted
    ]
    gone: list[Evicted] = []
    if len(held) > VOICE_CHAINS or sum(one.size for one in held) > VOICE_BYTES:
        vouched = _vouched(connection, log, trusted)
        held = [one for one in held if one.chain not in vouched]
        gone = _beyond(held, VOICE_CHAINS, VOICE_BYTES)
        _forget(connection, gone)
    left = {one.chain for one in gone}
    held = [one for one in held if one.chain not in left]
    connection.execute(
        "UPDATE logs SET stranger_bytes=?, stranger_operations=? WHERE id=?",
        (sum(one.size for one in held), sum(one.length for one in held), log),
    )
    return gone


def make_room_among_voices(
    connection: sqlite3.Connection, trusted_of: Callable[[VoiceName], Collection[bytes]]
) -> list[tuple[VoiceName, Evicted]]:
    """Forget what is too much of all strangers together, from the voices that have most of it."""
    gone: list[tuple[VoiceName, Evicted]] = []
    total = connection.execute(
        "SELECT coalesce(sum(stranger_bytes), 0), coalesce(sum(stranger_operations), 0) FROM logs"
    ).fetchone()
    if total[0] <= NODE_BYTES and total[1] <= NODE_OPERATIONS:
        return gone
    for figure, limit in (("stranger_bytes", NODE_BYTES), ("stranger_operations", NODE_OPERATIONS)):
        goal = int(limit * (1 - FILL_AGAIN))
        while True:
            total = connection.execute(f"SELECT coalesce(sum({figure}), 0) FROM logs").fetchone()[0]
            row = connection.execute(f"SELECT * FROM logs ORDER BY {figure} DESC, id LIMIT 1").fetchone()
            if total <= goal or row is None or not row[figure]:
                break
            voice = VoiceName(bytes(row["author"]), row["slug"])
            trusted = trusted_of(voice)
            spared = _vouched(connection, row["id"], trusted)
            held = [
                _Held(one["id"], bytes(one["signer"]), one["length"], one["bytes"])
                for one in connection.execute(
                    "SELECT id, signer, length, bytes FROM chains WHERE log=? ORDER BY id", (row["id"],)
                )
                if bytes(one["signer"]) not in trusted and one["id"] not in spared
            ]
            # A part of it at a time, so that the voice which has most is always the one that gives.
            part = _beyond(held, int(len(held) * 0.9), int(sum(one.size for one in held) * 0.9))
            _forget(connection, part)
            gone += [(voice, one) for one in part]
            left = {one.chain for one in part}
            held = [one for one in held if one.chain not in left]
            connection.execute(
                "UPDATE logs SET stranger_bytes=?, stranger_operations=? WHERE id=?",
                (sum(one.size for one in held), sum(one.length for one in held), row["id"]),
            )
    return gone


def _beyond(held: Sequence[_Held], chains: int, size: int) -> list[Evicted]:
    """The chains that must go so that so many, of so many bytes, are left; ``held`` in order of arrival."""
    split = len(held) - max(2, int(len(held) * NEWCOMERS))
    early, late = list(held[: max(0, split)]), list(held[max(0, split) :])
    # Who goes first stands last. Within their fair share all are alike: else the smallest spam would stay
    # for good, and every honest newcomer with more to say than a star would go at once.
    early.sort(key=lambda one: (one.share, one.chain))
    late.sort(key=lambda one: (one.share, -one.chain))
    gone: list[_Held] = []
    while late and len(early) + len(late) > chains:
        gone.append(late.pop())
    early_bytes, late_bytes = sum(one.size for one in early), sum(one.size for one in late)
    # Early ones that grew keep to their share, else they would leave newcomers no room at all.
    while early and early_bytes > size * (1 - NEWCOMERS) and early_bytes + late_bytes > size:
        early_bytes -= early[-1].size
        gone.append(early.pop())
    while late and early_bytes + late_bytes > size:
        late_bytes -= late[-1].size
        gone.append(late.pop())
    while early and len(early) > chains:
        gone.append(early.pop())
    return [Evicted(one.chain, one.signer) for one in gone]


def _vouched(connection: sqlite3.Connection, log: int, trusted: Collection[bytes]) -> set[int]:
    """The chains of strangers whom somebody trusted has answered, reviewed, merged, labelled or closed."""
    chains = {
        bytes(row["signer"]): row["id"]
        for row in connection.execute("SELECT id, signer FROM chains WHERE log=?", (log,))
    }
    found: set[int] = set()
    for signer, chain in chains.items():
        if signer in trusted:
            rows = connection.execute(
                "SELECT DISTINCT t.chain FROM operations o JOIN operations t ON t.id=o.target"
                " WHERE o.chain=? AND o.target IS NOT NULL",
                (chain,),
            )
            found.update(row["chain"] for row in rows)
    return found & set(chains.values())


def _forget(connection: sqlite3.Connection, gone: Sequence[Evicted]) -> None:
    for one in gone:
        connection.execute("DELETE FROM operations WHERE chain=?", (one.chain,))
        connection.execute("DELETE FROM chains WHERE id=?", (one.chain,))
