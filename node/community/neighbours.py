"""What this node knows of its neighbours' logs: who holds which voice, who lacks it, who declined what.

Hints in memory that save questions; none of them is believed beyond that, and all are bounded. Only voices
that this node itself keeps are noted, so nobody fills the memory with names. Follows specs/community.md,
"Syncing".
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from p2pvoice.protocol.operations import VoiceName

VOICES_NOTED = 1_024
"""Voices noted of one peer as held, and as lacking."""

LACK_SECONDS = 3_600.0
"""Seconds for which a peer that does not hold a voice is not compared with about it."""

DECLINED_LIMIT = 8_192
"""Chains that peers did not want, remembered of all peers together."""

DECLINED_SECONDS = 3_600.0
"""Seconds for which a chain is not sent again to a peer that did not keep it."""


@dataclass
class _Noted:
    holds: "OrderedDict[VoiceName, None]" = field(default_factory=OrderedDict)
    lacks: "OrderedDict[VoiceName, float]" = field(default_factory=OrderedDict)


class Neighbours:
    """Notes on connected peers, by peer id."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: dict[str, _Noted] = {}
        self._declined: OrderedDict[tuple[str, VoiceName, bytes], float] = OrderedDict()

    def holds(self, peer: str, voices: Iterable[VoiceName]) -> None:
        """The peer has logs of these voices, of which this node keeps logs, too."""
        noted = self._noted.setdefault(peer, _Noted())
        for voice in voices:
            noted.lacks.pop(voice, None)
            noted.holds[voice] = None
            noted.holds.move_to_end(voice)
        while len(noted.holds) > VOICES_NOTED:
            noted.holds.popitem(last=False)

    def lacks(self, peer: str, voice: VoiceName) -> None:
        """The peer says that it has no log of the voice."""
        noted = self._noted.setdefault(peer, _Noted())
        noted.holds.pop(voice, None)
        noted.lacks[voice] = self._clock() + LACK_SECONDS
        noted.lacks.move_to_end(voice)
        while len(noted.lacks) > VOICES_NOTED:
            noted.lacks.popitem(last=False)

    def is_lacking(self, peer: str, voice: VoiceName) -> bool:
        """Whether the peer said lately that it has no log of the voice."""
        noted = self._noted.get(peer)
        return noted is not None and noted.lacks.get(voice, 0.0) > self._clock()

    def holders(self, voice: VoiceName) -> list[str]:
        """The peers that are known to hold the voice."""
        return [peer for peer, noted in self._noted.items() if voice in noted.holds]

    def declined(self, peer: str, voice: VoiceName, signer: bytes) -> None:
        """The peer was sent a chain and kept nothing of it."""
        key = (peer, voice, signer)
        self._declined[key] = self._clock() + DECLINED_SECONDS
        self._declined.move_to_end(key)
        while len(self._declined) > DECLINED_LIMIT:
            self._declined.popitem(last=False)

    def has_declined(self, peer: str, voice: VoiceName, signer: bytes) -> bool:
        """Whether the peer did not keep the chain when it was sent lately."""
        return self._declined.get((peer, voice, signer), 0.0) > self._clock()

    def only(self, connected: Collection[str]) -> None:
        """Forget peers that left."""
        for peer in [peer for peer in self._noted if peer not in connected]:
            del self._noted[peer]
