"""What this node remembers of its peers: traffic, a score, and why a peer was dropped.

The book is memory, not policy at a distance: nothing in it is sent to anyone. A peer that served wrong
bytes is shunned, that is, not asked again until the time runs out; a peer that hangs is shunned for a
shorter time. This file opens no connection. Follows specs/network.md, "Peers".
"""

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

PEER_LIMIT = 2_000
"""Peers remembered; the one seen longest ago is forgotten first, shunned ones last."""

ADDRESS_LIMIT = 8
"""Addresses remembered of one peer."""

ADDRESS_LENGTH = 128
"""Characters of an address that is remembered; a longer one, say of an endless host name, is not."""

DIAL_MEMORY = 30 * 24 * 3600.0
"""Seconds after which a peer that was not seen is no longer dialed at the start."""

SCORE_LIMIT = 100.0
"""Scores stay within plus and minus this."""

BOOK_LIMIT = 4 * 1024 * 1024
"""Bytes of a stored book that are read; a longer file is ignored, and none is written."""

_BOOK = '{"version": 1, "peers": [%s]}'
_SEPARATOR = ",\n"


class Fault(Enum):
    """Why a peer was dropped; the value is what ``p2pvoice peers`` shows."""

    WRONG_BYTES = "served wrong bytes"
    BAD_SIGNATURE = "served a bad signature"
    BROKE_PROTOCOL = "broke the protocol"
    HUNG = "stopped answering"
    SLOW = "was too slow"
    UNREACHABLE = "could not be reached"
    LEFT = "closed the connection"


SHUN_SECONDS = {
    Fault.WRONG_BYTES: 6 * 3600.0,
    Fault.BAD_SIGNATURE: 6 * 3600.0,
    Fault.BROKE_PROTOCOL: 3600.0,
    Fault.HUNG: 120.0,
    Fault.SLOW: 0.0,
    Fault.UNREACHABLE: 0.0,
    Fault.LEFT: 0.0,
}
"""How long a peer is not asked after a fault. Lies cost hours, silence minutes, absence nothing."""

SCORE_LOSS = {
    Fault.WRONG_BYTES: 50.0,
    Fault.BAD_SIGNATURE: 50.0,
    Fault.BROKE_PROTOCOL: 20.0,
    Fault.HUNG: 10.0,
    Fault.SLOW: 2.0,
    Fault.UNREACHABLE: 2.0,
    Fault.LEFT: 1.0,
}
"""Score points a fault costs."""


@dataclass(frozen=True)
class Drop:
    """The last time a peer was dropped: why, with what detail, and when (seconds since 1970)."""

    fault: Fault
    detail: str
    at: float

    @property
    def reason(self) -> str:
        """One line for people."""
        return f"{self.fault.value}: {self.detail}" if self.detail else self.fault.value


@dataclass
class PeerEntry:
    """One peer's page in the book."""

    id: str
    addresses: list[str] = field(default_factory=list)
    direction: str = ""
    link: str = ""
    connected: bool = False
    score: float = 0.0
    drop: Drop | None = None
    shunned_until: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    last_seen: float = 0.0

    def row(self) -> dict[str, Any]:
        """The entry as the RPC shows it."""
        dropped = None if self.drop is None else {"reason": self.drop.reason, "at": self.drop.at}
        return {
            "id": self.id,
            "addresses": list(self.addresses),
            "connected": self.connected,
            "direction": self.direction,
            "link": self.link if self.connected else "",
            "score": round(self.score, 2),
            "dropped": dropped,
            "shunned_until": self.shunned_until or None,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "last_seen": self.last_seen,
        }


class PeerBook:
    """All peers this node met. Not thread-safe: it belongs to the event loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._entries: dict[str, PeerEntry] = {}
        #: Since the start, of all peers: payload bytes in and out, and drops by fault.
        self.received = self.sent = 0
        self.drops: Counter[Fault] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, peer: str) -> PeerEntry:
        """The peer's page; a new one, with the oldest page torn out, when it has none."""
        found = self._entries.get(peer)
        if found is None:
            if len(self._entries) >= PEER_LIMIT:
                self._forget_one()
            found = self._entries[peer] = PeerEntry(peer, last_seen=self._clock())
        return found

    def seen(self, peer: str, addresses: Iterable[str] = ()) -> None:
        """Note that the peer exists, at these addresses (newest first)."""
        entry = self.entry(peer)
        entry.last_seen = self._clock()
        fresh = [address for address in addresses if len(address) <= ADDRESS_LENGTH]
        entry.addresses = (fresh + [a for a in entry.addresses if a not in fresh])[:ADDRESS_LIMIT]

    def connected(self, peer: str, direction: str, link: str = "") -> None:
        """Note an open connection: ``inbound`` or ``outbound``, and its kind (links.py)."""
        entry = self.entry(peer)
        entry.connected, entry.direction, entry.last_seen = True, direction, self._clock()
        entry.link = link

    def disconnected(self, peer: str) -> None:
        """Note that the last connection to the peer closed."""
        if peer in self._entries:
            self._entries[peer].connected = False
            self._entries[peer].last_seen = self._clock()

    def link(self, peer: str) -> str:
        """The kind of the open connection to a peer (links.py); "" without one."""
        entry = self._entries.get(peer)
        return entry.link if entry is not None and entry.connected else ""

    def count(self, peer: str, *, received: int = 0, sent: int = 0) -> None:
        """Add payload bytes that passed on our own streams."""
        entry = self.entry(peer)
        self.received += received
        self.sent += sent
        entry.bytes_in += received
        entry.bytes_out += sent

    def reward(self, peer: str, points: float = 1.0) -> None:
        """Note that the peer served well."""
        entry = self.entry(peer)
        entry.score = min(SCORE_LIMIT, entry.score + points)

    def drop(self, peer: str, fault: Fault, detail: str = "") -> None:
        """Note why the peer was dropped and shun it for as long as the fault deserves."""
        entry = self.entry(peer)
        now = self._clock()
        self.drops[fault] += 1
        entry.drop = Drop(fault, detail[:200], now)
        entry.score = max(-SCORE_LIMIT, entry.score - SCORE_LOSS[fault])
        if SHUN_SECONDS[fault]:
            entry.shunned_until = max(entry.shunned_until, now + SHUN_SECONDS[fault])

    def is_shunned(self, peer: str) -> bool:
        """Whether the peer is not to be asked now."""
        entry = self._entries.get(peer)
        return entry is not None and entry.shunned_until > self._clock()

    def forgive(self, peer: str) -> None:
        """End a shunning early, as when the user connects to the peer by hand."""
        if peer in self._entries:
            self._entries[peer].shunned_until = 0.0

    def best_first(self, peers: Iterable[str]) -> list[str]:
        """The peers that may be asked, best score first."""
        return sorted(
            (p for p in peers if not self.is_shunned(p)),
            key=lambda p: -self._entries[p].score if p in self._entries else 0.0,
        )

    def worth_dialing(self, count: int) -> list[PeerEntry]:
        """Peers to begin with after a start: not connected, not known to be bad, best first."""
        horizon = self._clock() - DIAL_MEMORY
        able = (
            entry
            for entry in self._entries.values()
            if entry.addresses
            and not entry.connected
            and entry.score >= 0
            and entry.last_seen >= horizon
            and not self.is_shunned(entry.id)
        )
        return sorted(able, key=lambda e: (-e.score, -(e.bytes_in + e.bytes_out), -e.last_seen))[:count]

    def rows(self) -> list[dict[str, Any]]:
        """Every peer as the RPC shows it: connected ones first, then by the time last seen."""
        ordered = sorted(self._entries.values(), key=lambda e: (not e.connected, -e.last_seen))
        return [entry.row() for entry in ordered]

    def save(self, path: Path) -> None:
        """Write the book atomically; a crash leaves the old one.

        Who is shunned comes first: when strangers' texts make the book too long to be read again, its end
        is left out, not the memory of liars.
        """
        now = self._clock()
        pages: list[str] = []
        size = len(_BOOK % "")
        for entry in sorted(
            self._entries.values(), key=lambda e: (e.shunned_until <= now, e.score == 0, -e.last_seen)
        ):
            drop = entry.drop
            page = json.dumps(
                entry.row()
                | {"dropped": None if drop is None else [drop.fault.name, drop.detail, drop.at]}
                | {"shunned_until": entry.shunned_until}
            )
            size += len(page) + len(_SEPARATOR)
            if size > BOOK_LIMIT:
                break
            pages.append(page)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            temporary.write_text(_BOOK % _SEPARATOR.join(pages))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def load(self, path: Path) -> None:
        """Read a book written by :meth:`save`. A missing or damaged book is an empty one, never an error."""
        try:
            if path.stat().st_size > BOOK_LIMIT:
                return
            pages = json.loads(path.read_text())["peers"]
            for page in pages[:PEER_LIMIT]:
                drop = page["dropped"]
                entry = PeerEntry(
                    id=str(page["id"]),
                    addresses=[str(a) for a in page["addresses"]][:ADDRESS_LIMIT],
                    direction=str(page["direction"]),
                    score=float(page["score"]),
                    drop=None if drop is None else Drop(Fault[drop[0]], str(drop[1]), float(drop[2])),
                    shunned_until=float(page["shunned_until"]),
                    bytes_in=int(page["bytes_in"]),
                    bytes_out=int(page["bytes_out"]),
                    last_seen=float(page["last_seen"]),
                )
                self._entries[entry.id] = entry
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return

    def _forget_one(self) -> None:
        now = self._clock()
        victim = min(self._entries.values(), key=lambda e: (e.connected, e.shunned_until > now, e.last_seen))
        del self._entries[victim.id]
