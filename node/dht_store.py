"""The records of other peers that this node keeps for the DHT, bounded.

libp2p keeps provider records for as many keys as peers ids can be made for, with as many addresses as fit
into a message; and head records with whatever else their sender put beside the value. Both stores here have
a size. When one is full, newcomers make room for newcomers: what has been here for long stays until it
expires, so a flood cannot wash it out. Our own records are not counted. Follows specs/discovery.md, "Limits".
"""

import random
import time
from itertools import islice
from typing import Any

from libp2p.kad_dht.common import format_time_rfc3339
from libp2p.kad_dht.pb.kademlia_pb2 import Record
from libp2p.kad_dht.provider_store import ProviderRecord, ProviderStore
from libp2p.kad_dht.value_store import ValueStore
from libp2p.peer.peerinfo import PeerInfo

PROVIDERS_LIMIT = 20_000
"""Provider records of others: about 2 KB each."""

KEYS_PER_PEER = 4_000
"""Keys that one peer may be recorded for here; further ones are dropped."""

ADDRESSES_PER_RECORD = 8
"""Addresses kept of one provider record."""

ADDRESS_BYTES = 128
"""Bytes of one address in its binary form; longer ones are dropped."""

PROVIDERS_OF_KEY = 100
"""Providers of one key that are held, first come (libp2p: 20). As many as one look-up gathers."""

PROVIDERS_TOLD = 20
"""Of them, how many one answer names: each time others, so that the answers of several holders add up."""

KEY_SIZE = 32
"""Bytes of a provider key of ours; anything else is dropped."""

VALUES_LIMIT = 10_000
"""Head records: about 1 KB each."""

NEWCOMERS = 0.25
"""Share of a full store in which newcomers replace each other."""

EVICTED_AT_ONCE = 0.01
"""Share of a full store that is dropped in one go, so that a flood does not cost a search each time."""


class BoundedProviders(ProviderStore):
    """Provider records with limits on records, keys of a peer, and addresses."""

    def __init__(self, host: Any, peer_routing: Any) -> None:
        # Record -> nothing, in the order in which they first came; and how many each peer has.
        self._order: dict[tuple[bytes, str], None] = {}
        self._count: dict[str, int] = {}
        super().__init__(host, peer_routing)

    def __len__(self) -> int:
        return len(self._order)

    def add_provider(self, key: bytes, provider: PeerInfo) -> None:
        """Keep a provider record, if there is a place for it."""
        name = str(provider.peer_id)
        if provider.peer_id == self.local_peer_id:
            super().add_provider(key, provider)
            return
        if len(key) != KEY_SIZE:
            return
        if (key, name) not in self._order and self._count.get(name, 0) >= KEYS_PER_PEER:
            return
        short = [a for a in provider.addrs[:ADDRESSES_PER_RECORD] if len(a.to_bytes()) <= ADDRESS_BYTES]
        held = self.providers.setdefault(key, {})
        if name not in held and len(held) >= PROVIDERS_OF_KEY:
            return
        # Not through libp2p's method, which holds 20 of a key.
        held[name] = ProviderRecord(PeerInfo(provider.peer_id, short), time.time())
        if (key, name) in self._order:
            return
        self._order[key, name] = None
        self._count[name] = self._count.get(name, 0) + 1
        if len(self._order) > PROVIDERS_LIMIT:
            # Those that expired meanwhile are gone from libp2p's store, not from this count.
            for gone in [(k, n) for k, n in self._order if n not in self.providers.get(k, ())]:
                self._forget(*gone)
            if len(self._order) > PROVIDERS_LIMIT:
                for record in newcomers(self._order):
                    self._forget(*record)

    def all_providers(self, key: bytes) -> list[PeerInfo]:
        """Every provider of a key that is held, expired ones aside."""
        return super().get_providers(key)

    def get_providers(self, key: bytes) -> list[PeerInfo]:
        """What one answer to a peer names: 20 of those held, drawn anew each time."""
        found = self.all_providers(key)
        return random.sample(found, PROVIDERS_TOLD) if len(found) > PROVIDERS_TOLD else found

    def _forget(self, key: bytes, name: str) -> None:
        del self._order[key, name]
        self._count[name] -= 1
        if not self._count[name]:
            del self._count[name]
        held = self.providers.get(key)
        if held is not None:
            held.pop(name, None)
            if not held:
                del self.providers[key]


class BoundedValues(ValueStore):
    """Head records with a limit, and of each only the key, the value and the time."""

    def put_record(self, key: bytes, record: Record) -> None:
        """Keep a record that was validated; what stands beside its value was not, and is left out."""
        clean = Record(key=key, value=record.value, timeReceived=format_time_rfc3339())
        super().put_record(key, clean)
        if len(self.store) > VALUES_LIMIT:
            for old in newcomers(self.store):
                del self.store[old]


def newcomers(store: dict[Any, Any]) -> list[Any]:
    """The oldest entries of the newest part of a store that is in the order of arrival: those to drop."""
    size = len(store)
    start = size - int(size * NEWCOMERS)
    return list(islice(store, start, start + max(1, int(size * EVICTED_AT_ONCE))))
