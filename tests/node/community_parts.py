"""Signers, signed operations and logs over a real database, for the tests of the community's parts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.community.acting import Acting
from p2pvoice.node.community.lines import Lines
from p2pvoice.node.community.log import Logs
from p2pvoice.node.community.standing import Standing
from p2pvoice.node.community.states import States
from p2pvoice.node.community.views import Views
from p2pvoice.node.database import Database
from p2pvoice.node.following import Following
from p2pvoice.node.identity import Identity, generate
from p2pvoice.node.names import Names
from p2pvoice.node.schema import open_database
from p2pvoice.node.successors import Successors
from p2pvoice.protocol.acts import Act
from p2pvoice.protocol.envelope import public_key_of
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.operations import Operation, Signed, VoiceName, sign_operation

NOW = 1_800_000_000.0
"""The clock of these tests, in seconds since 1970."""


@dataclass
class Clock:
    """A clock that is moved by hand."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Writer:
    """Somebody who signs operations on one voice, one after another."""

    voice: VoiceName
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    said: list[Signed] = field(default_factory=list)

    @property
    def public(self) -> bytes:
        return public_key_of(self.key)

    @property
    def author(self) -> str:
        return author_id(self.public)

    def say(self, act: Act, *, time: int = 0) -> Signed:
        """The next operation of the chain; its time is a millisecond later than the last one, or given."""
        before = self.said[-1] if self.said else None
        moment = time or (before.operation.time + 1 if before else int(NOW * 1000) - 3_600_000)
        self.said.append(self.sign(act, before, moment))
        return self.said[-1]

    def sign(self, act: Act, before: Signed | None, time: int) -> Signed:
        """An operation behind another one."""
        seq, previous = (before.operation.seq + 1, before.id) if before else (1, None)
        return sign_operation(Operation(self.voice, self.public, seq, previous, time, act), self.key)


class Desk:
    """The parts of one node that need no network, over a database of their own."""

    def __init__(
        self, path: Path, identity: Identity | None = None, clock: Callable[[], float] | None = None
    ):
        self.path = path
        self.identity = identity or generate()
        self.clock = clock or Clock()
        self.database: Database = open_database(path)
        self.catalog = Catalog(self.database, clock=self.clock)
        self.successors = Successors(self.database, clock=self.clock)
        self.following = Following(self.database, clock=self.clock)
        self.names = Names(self.catalog, self.following, self.successors, self.own)
        self.lines = Lines(self.database, self.catalog, self.successors, self.own, clock=self.clock)
        self.standing = Standing(self.following, self.successors, self.own)
        self.logs = Logs(
            self.database, lambda voice: self.standing.on(self.lines.of_voice(voice)), clock=self.clock
        )
        self.states = States(self.logs)
        self.views = Views(self.logs, self.states, self.standing, self.names, self.lines.own_keys)

    def own(self) -> str:
        return author_id(self.identity.author_public)

    def acting(self) -> Acting:
        """Needs a running loop."""
        return Acting(self.logs, self.lines, self.states, self.identity, trio.CapacityLimiter(2))

    def take(self, operations: Sequence[Signed], size: int = 64) -> int:
        """Take operations in batches, as they come from a peer; how many joined."""
        voice = operations[0].operation.voice
        batches = [operations[at : at + size] for at in range(0, len(operations), size)]
        return sum(self.logs.take(voice, batch, self.lines.own_keys()).kept for batch in batches)

    def signers(self, voice: VoiceName) -> set[bytes]:
        return set(self.logs.heads(voice))

    def close(self) -> None:
        self.database.close()


def interleaved(writers: Iterable[Writer]) -> list[Signed]:
    """What several people said, in turns."""
    chains = [writer.said for writer in writers]
    return [
        chain[place]
        for place in range(max(map(len, chains), default=0))
        for chain in chains
        if place < len(chain)
    ]
