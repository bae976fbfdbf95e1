"""Answering peers about logs: the server's side of the stream of operations.

Nothing is told but of voices that this node offers or published itself: a voice that is kept and not offered
is one that is not here. Each peer has an allowance of operations, sent and taken; what it asks beyond that
is ``busy``. Not for asking (sync.py). Follows specs/community.md, "Syncing", and specs/operations.md,
"Messages".
"""

from typing import TypeAlias, get_args

import trio

from p2pvoice.node.community.intake import Allowance, Intake
from p2pvoice.node.community.lines import Lines
from p2pvoice.node.community.log import Logs
from p2pvoice.node.community.neighbours import Neighbours
from p2pvoice.node.community.sets import Sets
from p2pvoice.node.host import P2PHost
from p2pvoice.node.slots import Slots
from p2pvoice.node.turns import IDLE_TIMEOUT, Turns
from p2pvoice.protocol.chain import latest_common
from p2pvoice.protocol.conversation import (
    OPERATIONS,
    RECORDS_BYTES,
    ChainReply,
    Compare,
    Differ,
    GetChain,
    Reconcile,
    Reconciled,
    TellOperations,
    Told,
)
from p2pvoice.protocol.errors import BusyError, NotFoundError
from p2pvoice.protocol.operations import VoiceName
from p2pvoice.protocol.reconcile import answer

REQUESTS_PER_STREAM = 1_024
"""Requests on one stream."""

RECORDS_BURST = 4_096
"""Operations that one peer may send or be sent at once."""

RECORDS_PER_SECOND = 32.0
"""Operations a second that one peer may send or be sent from then on."""

RECORDS_OF_ALL = 512.0
"""Operations a second that all peers together may send; each costs a check of a signature."""

ALLOWANCES = 4_096
"""Peers whose allowances are remembered."""

QUESTION_COST = 2
"""What a question about ranges or a chain costs of the allowance, besides the operations in its answer."""

Request: TypeAlias = Compare | Reconcile | GetChain | TellOperations
"""What may be asked."""


class OperationsServer:
    """Answers streams of operations, from :meth:`attach` on."""

    def __init__(
        self,
        host: P2PHost,
        logs: Logs,
        lines: Lines,
        sets: Sets,
        intake: Intake,
        neighbours: Neighbours,
        disk: trio.CapacityLimiter,
        *,
        idle: float = IDLE_TIMEOUT,
    ) -> None:
        self._host = host
        self._logs = logs
        self._lines = lines
        self._sets = sets
        self._intake = intake
        self._neighbours = neighbours
        self._disk = disk
        self._turns = Turns(
            host, get_args(Request), self._answer, Slots(), count=REQUESTS_PER_STREAM, idle=idle, tells=True
        )
        self._allowance = Allowance(RECORDS_BURST, RECORDS_PER_SECOND, ALLOWANCES, trio.current_time)
        self._of_all = Allowance(4 * RECORDS_BURST, RECORDS_OF_ALL, 1, trio.current_time)

    def attach(self) -> None:
        """Begin to serve."""
        self._host.serve(OPERATIONS, self._turns.serve)

    async def _answer(self, peer: str, request: Request) -> Differ | Reconciled | ChainReply | Told:
        match request:
            case Compare():
                self._spend(peer, QUESTION_COST + len(request.voices))
                return await self._compare(peer, request)
            case Reconcile(voice, ranges):
                self._spend(peer, QUESTION_COST)

                def look() -> Reconciled:
                    self._require(voice)
                    return Reconciled(answer(self._sets.of(voice), ranges))

                return await trio.to_thread.run_sync(look, limiter=self._disk)
            case GetChain():
                return await self._chain(peer, request)
            case TellOperations(records):
                self._spend(peer, len(records))
                if not self._of_all.spend("", len(records)):
                    raise BusyError("too much is told just now")
                return await self._told(peer, records)

    async def _compare(self, peer: str, request: Compare) -> Differ:
        def look() -> tuple[Differ, list[VoiceName]]:
            indexes, common = [], []
            for number, (voice, fingerprint) in enumerate(request.voices):
                if self._lines.shows(self._lines.of_voice(voice)):
                    common.append(voice)
                    mine = self._sets.of(voice).fingerprint()
                else:
                    mine = self._sets.empty
                if mine != fingerprint:
                    indexes.append(number)
            return Differ(tuple(indexes)), common

        differ, common = await trio.to_thread.run_sync(look, limiter=self._disk)
        # Whoever compares a voice has a log of it.
        self._neighbours.holds(peer, common)
        return differ

    async def _chain(self, peer: str, request: GetChain) -> ChainReply:
        voice, signer = request.voice, request.signer

        def look() -> ChainReply:
            self._require(voice)
            length = self._logs.length(voice, signer)
            if not length:
                return ChainReply()
            place = latest_common(request.points, lambda seq: self._logs.id_at(voice, signer, seq))
            records = self._logs.behind(voice, signer, place, request.limit, RECORDS_BYTES)
            return ChainReply(tuple(records), length)

        self._spend(peer, QUESTION_COST)
        reply = await trio.to_thread.run_sync(look, limiter=self._disk)
        granted = self._allowance.grant(peer, len(reply.records))
        if reply.records and not granted:
            raise BusyError("too much at once")
        return ChainReply(reply.records[:granted], reply.length)

    async def _told(self, peer: str, records: tuple[bytes, ...]) -> Told:
        came = await self._intake.take(await self._intake.verify(records), peer)
        kept = came.kept

        def shown() -> int:
            """Of voices that are kept and not offered nothing is said, however many were taken."""
            voices = {one.operation.voice for one in kept}
            seen = {voice for voice in voices if self._lines.shows(self._lines.of_voice(voice))}
            return sum(one.operation.voice in seen for one in kept)

        return Told(await trio.to_thread.run_sync(shown, limiter=self._disk))

    def _require(self, voice: VoiceName) -> None:
        if not self._lines.shows(self._lines.of_voice(voice)):
            raise NotFoundError("not held here")

    def _spend(self, peer: str, count: int) -> None:
        if not self._allowance.spend(peer, count):
            raise BusyError("too much at once")
