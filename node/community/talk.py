"""Asking one peer about logs: the client's side of one stream of operations.

What a peer answers is checked as far as its form goes, and that it is about what was asked; a peer that lies
is shunned as elsewhere. Not for what to ask, nor for what becomes of the answers (sync.py). Follows
specs/operations.md, "Messages".
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.blame import blamed
from p2pvoice.node.host import P2PHost
from p2pvoice.node.turns import ask
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.conversation import (
    OPERATIONS,
    ChainReply,
    Compare,
    Differ,
    GetChain,
    Reconcile,
    Reconciled,
    TellOperations,
    Told,
)
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.operations import Signed, VoiceName
from p2pvoice.protocol.reconcile import Difference, Pairs, Reconciliation


class Talk:
    """One stream to one peer; questions are asked one after another.

    Every question raises NotFoundError when the peer has no log of the voice, BusyError when it has no time,
    and NetworkError and its kin when it fails.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.peer = channel.peer

    async def compare(self, voices: Sequence[tuple[VoiceName, bytes]]) -> list[VoiceName]:
        """The voices among these, with the fingerprints of our logs, whose logs differ there."""
        differ = await ask(self._channel, Compare(tuple(voices)), Differ)
        if differ.indexes and differ.indexes[-1] >= len(voices):
            raise ManifestError("a voice differs that was not asked about")
        return [voices[index][0] for index in differ.indexes]

    async def differences(self, voice: VoiceName, pairs: Pairs) -> tuple[Difference, ...]:
        """The chains of a voice that are not alike here and there."""
        reconciliation = Reconciliation(pairs)
        while reconciliation.question:
            answer = await ask(self._channel, Reconcile(voice, reconciliation.question), Reconciled)
            reconciliation.take(answer.ranges)
        return reconciliation.differences

    async def chain(
        self, voice: VoiceName, signer: bytes, points: Sequence[tuple[int, bytes]], limit: int
    ) -> ChainReply:
        """What the peer has of a chain behind the latest of these points."""
        reply = await ask(self._channel, GetChain(voice, signer, tuple(points), limit), ChainReply)
        if len(reply.records) > limit:
            raise ManifestError("more operations came than were asked for")
        return reply

    async def tell(self, records: Sequence[bytes]) -> int:
        """Tell the peer of operations; how many were news to it, and stay."""
        told = await ask(self._channel, TellOperations(tuple(records)), Told)
        if told.kept > len(records):
            raise ManifestError("the peer kept more operations than it was told of")
        return told.kept


@asynccontextmanager
async def talk_to(host: P2PHost, peer: PeerInfo) -> AsyncIterator[Talk]:
    """A talk with a peer; what it does wrong inside the block is written into the peer book.

    A peer that does not speak the protocol is not blamed: ProtocolMismatchError then.
    """
    async with await host.open_stream(peer, OPERATIONS) as channel:
        with blamed(host, channel.peer):
            yield Talk(channel)


def check_chain(verified: Sequence[Signed], voice: VoiceName, signer: bytes) -> None:
    """ManifestError unless the operations are of one chain of this voice, in their order, without gaps."""
    for before, one in zip((None, *verified), verified, strict=False):
        operation = one.operation
        if operation.voice != voice or operation.signer != signer:
            raise ManifestError("the peer sent operations of another chain than the one asked for")
        if before is not None and (operation.seq, operation.previous) != (
            before.operation.seq + 1,
            before.id,
        ):
            raise ManifestError("the peer sent a chain with gaps")
