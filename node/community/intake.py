"""Operations on their way in: verified, sorted by voice, and taken as far as this node keeps them.

The one place through which operations of others get into a log, whoever brought them. What was news goes on
to the listeners that were set: telling.py passes it on. Not for asking (sync.py) nor answering (server.py).
Follows specs/community.md, "Syncing".
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import trio

from p2pvoice.node.community.acting import Acting
from p2pvoice.node.community.lines import Lines
from p2pvoice.node.community.log import Logs
from p2pvoice.protocol.chain import Verdict
from p2pvoice.protocol.operations import Signed, VoiceName, verify_operation

BATCH = 64
"""Operations that join in one transaction, so that others wait for milliseconds only."""

Heard = Callable[[VoiceName, Sequence[Signed], str], None]
"""Told of operations that are new here, and of the peer that brought them."""

log = logging.getLogger("p2pvoice.community")


@dataclass(frozen=True)
class Came:
    """What became of records that came: each verified one with its verdict, in their order."""

    judged: tuple[tuple[Signed, Verdict], ...]

    @property
    def kept(self) -> list[Signed]:
        """Those that are new here and stay."""
        return [one for one, verdict in self.judged if verdict.kept]


class Intake:
    """Takes operations in. ``heard`` is called with what was new."""

    def __init__(self, logs: Logs, lines: Lines, acting: Acting, disk: trio.CapacityLimiter) -> None:
        self._logs = logs
        self._lines = lines
        self._acting = acting
        self._disk = disk
        self.heard: Heard = lambda voice, signed, peer: None
        #: Operations that joined a log here since the start, and such as did not.
        self.joined = self.refused = 0

    async def verify(self, records: Sequence[bytes]) -> list[Signed]:
        """Verify operations, a few at a time in a thread. ManifestError or SignatureError for a bad one."""
        verified: list[Signed] = []
        for at in range(0, len(records), BATCH):
            part = records[at : at + BATCH]
            verified += await trio.to_thread.run_sync(
                lambda part=part: [verify_operation(data) for data in part],
                limiter=self._disk,
            )
        return verified

    async def take(self, verified: Iterable[Signed], peer: str) -> Came:
        """Let verified operations join the logs that this node keeps; others are refused."""
        judged: list[tuple[Signed, Verdict]] = []
        lost = False
        for voice, batch in _by_voice(verified):
            # Not to be cut short: what joined must be told of.
            with trio.CancelScope(shield=True):
                verdicts, own = await trio.to_thread.run_sync(self._take, voice, batch, limiter=self._disk)
            judged += zip(batch, verdicts, strict=True)
            lost = lost or own
            news = [one for one, verdict in zip(batch, verdicts, strict=True) if verdict.kept]
            self.joined += len(news)
            self.refused += sum(verdict is Verdict.REFUSED for verdict in verdicts)
            if news:
                self.heard(voice, news, peer)
        if lost:
            await self.restore()
        return Came(tuple(judged))

    async def restore(self) -> None:
        """Sign the user's operations again that others of the same key have displaced, and tell of them."""
        again = await self._acting.sign_again()
        for voice, batch in _by_voice(again):
            log.warning(
                "operations of this key were signed again: another device signs with it, too",
                extra={"voice": str(voice), "operations": len(batch)},
            )
            self.heard(voice, batch, "")

    def _take(self, voice: VoiceName, batch: Sequence[Signed]) -> tuple[tuple[Verdict, ...], bool]:
        if not self._lines.keeps(self._lines.of_voice(voice)):
            return (Verdict.REFUSED,) * len(batch), False
        taken = self._logs.take(voice, batch, self._lines.own_keys())
        return taken.verdicts, bool(taken.lost)


class Allowance:
    """How many records each peer may make this node look at: so many at once, then so many a second.

    ``clock`` counts seconds; the peers are forgotten when their allowance is whole again.
    """

    def __init__(
        self, burst: float, rate: float, peers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._rate = rate
        self._peers = peers
        self._clock = clock
        self._spent: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._spent)

    def spend(self, peer: str, count: int) -> bool:
        """Take ``count`` records from the peer's allowance; False, taking nothing, when it is too small."""
        return self._take(peer, count, whole=True) == count

    def grant(self, peer: str, count: int) -> int:
        """Take up to ``count`` records from the peer's allowance; how many."""
        return self._take(peer, count, whole=False)

    def _take(self, peer: str, count: int, *, whole: bool) -> int:
        now = self._clock()
        spent, at = self._spent.get(peer, (0.0, now))
        spent = max(0.0, spent - (now - at) * self._rate)
        given = min(count, int(self._burst - spent))
        if whole and given < count:
            return 0
        self._spent[peer] = (spent + given, now)
        if len(self._spent) > self._peers:
            self._forget(now)
        return given

    def _forget(self, now: float) -> None:
        whole = [peer for peer, (spent, at) in self._spent.items() if spent <= (now - at) * self._rate]
        for peer in whole or [next(iter(self._spent))]:
            del self._spent[peer]


def _by_voice(operations: Iterable[Signed]) -> Iterable[tuple[VoiceName, list[Signed]]]:
    found: dict[VoiceName, list[Signed]] = {}
    for one in operations:
        found.setdefault(one.operation.voice, []).append(one)
    for voice, batch in found.items():
        for at in range(0, len(batch), BATCH):
            yield voice, batch[at : at + BATCH]
