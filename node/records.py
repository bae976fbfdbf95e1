"""Which records this node lets into the DHT: heads, revocations, successors, each under its own key.

A record is judged by itself: form, bounds, signatures, and that it stands where it belongs. Not for putting
or getting records: see kad.py. Follows specs/discovery.md, "Validation".
"""

import time
from collections.abc import Callable

from libp2p.records.validator import Validator

from p2pvoice.protocol.errors import P2PVoiceError, RefusedError
from p2pvoice.protocol.head import HEAD_LIMIT, HEAD_NAMESPACE, Head, head_key, verify_head
from p2pvoice.protocol.revocation import (
    REVOCATION_LIMIT,
    REVOCATION_NAMESPACE,
    Revocation,
    key_of,
    verify_revocation,
)
from p2pvoice.protocol.successor import (
    SUCCESSOR_LIMIT,
    SUCCESSOR_NAMESPACE,
    Successor,
    successor_key,
    verify_successor,
)


class HeadValidator(Validator):
    """Lets a record into ``/p2pvoice/head/<author>/<slug>`` only with the author's own, fresh signature."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def validate(self, key: str, value: bytes) -> None:
        """Raise when the value may not stand under the key; libp2p refuses the record then."""
        self._open(key, value)

    def select(self, key: str, values: list[bytes]) -> int:
        """The index of the best value: highest sequence, then latest expiry, then the LAST of equals.

        The last must win ties, or libp2p refuses to refresh a record with an equal one.
        """
        best, best_rank = -1, (-1, -1)
        for index, value in enumerate(values):
            try:
                head = self._open(key, value)
            except P2PVoiceError:
                continue
            rank = (head.sequence, head.expires)
            if rank >= best_rank:
                best, best_rank = index, rank
        if best < 0:
            raise RefusedError("none of the records is a valid head")
        return best

    def _open(self, key: str, value: bytes) -> Head:
        if len(value) > HEAD_LIMIT:
            raise RefusedError(f"a head record of {len(value)} bytes, the limit is {HEAD_LIMIT}")
        head = verify_head(value, int(self._clock()))
        if head_key(head.author, head.slug) != key.encode():
            raise RefusedError("a head record under somebody else's key")
        return head


class SuccessorValidator(Validator):
    """Lets a record into ``/p2pvoice/successor/<old author>`` only when both keys signed it."""

    def validate(self, key: str, value: bytes) -> None:
        """Raise when the value may not stand under the key."""
        self._open(key, value)

    def select(self, key: str, values: list[bytes]) -> int:
        """The index of the value that stays: what names the same successor as the first, the LAST of those.

        Whoever holds a record keeps it against one that names another successor: the first is believed.
        """
        chosen, first = -1, b""
        for index, value in enumerate(values):
            try:
                record = self._open(key, value)
            except P2PVoiceError:
                continue
            if chosen < 0 or record.new == first:
                chosen, first = index, record.new
        if chosen < 0:
            raise RefusedError("none of the records is a valid successor record")
        return chosen

    def _open(self, key: str, value: bytes) -> Successor:
        if len(value) > SUCCESSOR_LIMIT:
            raise RefusedError(f"a successor record of {len(value)} bytes, the limit is {SUCCESSOR_LIMIT}")
        record = verify_successor(value)
        if successor_key(record.old) != key.encode():
            raise RefusedError("a successor record under somebody else's key")
        return record


class RevocationValidator(Validator):
    """Lets a record into ``/p2pvoice/revocation/…`` only where its signer and its subject hash to the key."""

    def validate(self, key: str, value: bytes) -> None:
        """Raise when the value may not stand under the key; libp2p refuses the record then."""
        self._open(key, value)

    def select(self, key: str, values: list[bytes]) -> int:
        """The index of the value made last; of equals the LAST, as for heads."""
        best, best_rank = -1, -1
        for index, value in enumerate(values):
            try:
                created = self._open(key, value).created
            except P2PVoiceError:
                continue
            if created >= best_rank:
                best, best_rank = index, created
        if best < 0:
            raise RefusedError("none of the records is a valid revocation")
        return best

    def _open(self, key: str, value: bytes) -> Revocation:
        if len(value) > REVOCATION_LIMIT:
            raise RefusedError(f"a revocation of {len(value)} bytes, the limit is {REVOCATION_LIMIT}")
        revocation = verify_revocation(value)
        if key_of(revocation) != key.encode():
            raise RefusedError("a revocation under another key than its own")
        return revocation


class RecordValidator(Validator):
    """Hands each record under ``/p2pvoice`` to the validator of its kind; any other key is refused."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._kinds: dict[str, Validator] = {
            HEAD_NAMESPACE.decode(): HeadValidator(clock),
            REVOCATION_NAMESPACE.decode(): RevocationValidator(),
            SUCCESSOR_NAMESPACE.decode(): SuccessorValidator(),
        }

    def validate(self, key: str, value: bytes) -> None:
        """As the validator of the key's kind does."""
        self._of(key).validate(key, value)

    def select(self, key: str, values: list[bytes]) -> int:
        """As the validator of the key's kind does."""
        return int(self._of(key).select(key, values))

    def _of(self, key: str) -> Validator:
        for namespace, validator in self._kinds.items():
            if key.startswith(namespace):
                return validator
        raise RefusedError("there are no records of that kind")
