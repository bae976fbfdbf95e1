"""Range-based reconciliation: two nodes find where their sets differ; traffic follows the difference.

For comparing any two sets of (key, value) pairs of 32 bytes each: the chains of a voice, or a whole catalog.
Nothing here sends or waits: ranges come in and ranges go out. The side that is asked keeps no state, and the
side that asks keeps a :class:`Reconciliation`. Not for fetching what differs (conversation.py has the
messages). Follows specs/operations.md, "Reconciliation".
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TypeAlias

from p2pvoice.protocol.errors import ManifestError

KEY_SIZE = 32
"""Bytes of a key, and of a value."""

FINGERPRINT_SIZE = 16
"""Bytes of the fingerprint of a range."""

PAIRS_SENT = 32
"""Pairs in one range; a range that holds more is split."""

PARTS = 16
"""Most ranges that one range is split into."""

RANGES_LIMIT = 256
"""Ranges in one message."""

PAIRS_LIMIT = 2048
"""Pairs in one message, all its ranges together."""

ROUNDS_LIMIT = 128
"""Questions that one reconciliation asks; what it has not looked at by then is left for another time."""

LAST_KEY = b"\xff" * KEY_SIZE
"""The upper end of the range of all keys."""

_MODULUS = 1 << 256

Pair: TypeAlias = tuple[bytes, bytes]
"""A key and its value."""


@dataclass(frozen=True)
class Range:
    """All keys behind the range before it, up to and with ``upper``.

    It carries the ``fingerprint`` of the sender's pairs in it, or all these ``pairs``; a range with neither
    is settled.
    """

    upper: bytes
    fingerprint: bytes | None = None
    pairs: tuple[Pair, ...] | None = None

    def __post_init__(self) -> None:
        _sized(self.upper, KEY_SIZE, "the end of a range")
        if self.fingerprint is not None:
            _sized(self.fingerprint, FINGERPRINT_SIZE, "a fingerprint")
        if self.pairs is None:
            return
        if self.fingerprint is not None:
            raise ManifestError("a range carries its fingerprint or its pairs, not both")
        if len(self.pairs) > PAIRS_SENT:
            raise ManifestError(f"a range carries at most {PAIRS_SENT} pairs")
        for key, value in self.pairs:
            _sized(key, KEY_SIZE, "a key")
            _sized(value, KEY_SIZE, "a value")
        if any(one[0] >= two[0] for one, two in pairwise(self.pairs)):
            raise ManifestError("the pairs of a range are not in order")
        if self.pairs and self.pairs[-1][0] > self.upper:
            raise ManifestError("a pair lies outside its range")

    @property
    def settled(self) -> bool:
        """Whether nothing is left to say about the range."""
        return self.fingerprint is None and self.pairs is None


@dataclass(frozen=True)
class Difference:
    """A key that the two sets do not hold alike: our value and theirs, None for the side that lacks it."""

    key: bytes
    ours: bytes | None
    theirs: bytes | None


class Pairs:
    """An immutable set of pairs, sorted by key, that knows the fingerprint of each of its ranges.

    Takes O(n log n) to build and O(log n) for a fingerprint.
    """

    def __init__(self, values: Mapping[bytes, bytes]) -> None:
        for key, value in values.items():
            _sized(key, KEY_SIZE, "a key")
            _sized(value, KEY_SIZE, "a value")
        self._keys = sorted(values)
        self._values = [values[key] for key in self._keys]
        hashes = (
            int.from_bytes(hashlib.sha256(key + value).digest())
            for key, value in zip(self._keys, self._values, strict=True)
        )
        # The sum of a range is the difference of two of these.
        self._sums = list(accumulate(hashes, lambda total, one: (total + one) % _MODULUS, initial=0))

    def __len__(self) -> int:
        return len(self._keys)

    def span(self, lower: bytes | None, upper: bytes) -> tuple[int, int]:
        """The places, first and behind the last, of the keys behind ``lower`` up to and with ``upper``."""
        first = 0 if lower is None else bisect_right(self._keys, lower)
        return first, max(first, bisect_right(self._keys, upper))

    def key(self, place: int) -> bytes:
        """The key at a place."""
        return self._keys[place]

    def slice(self, first: int, end: int) -> tuple[Pair, ...]:
        """The pairs from a place up to another."""
        return tuple(zip(self._keys[first:end], self._values[first:end], strict=True))

    def fingerprint(self, first: int = 0, end: int | None = None) -> bytes:
        """What the pairs from a place up to another are compared by; without places, the whole set's."""
        end = len(self._keys) if end is None else end
        total = (self._sums[end] - self._sums[first]) % _MODULUS
        said = total.to_bytes(32) + (end - first).to_bytes(8)
        return hashlib.sha256(said).digest()[:FINGERPRINT_SIZE]


def check_ranges(ranges: tuple[Range, ...]) -> None:
    """ManifestError unless the ranges may stand in one message: in order, each with its own pairs only."""
    if len(ranges) > RANGES_LIMIT:
        raise ManifestError(f"a message has at most {RANGES_LIMIT} ranges")
    if sum(len(one.pairs or ()) for one in ranges) > PAIRS_LIMIT:
        raise ManifestError(f"the ranges of a message have at most {PAIRS_LIMIT} pairs together")
    for before, one in pairwise(ranges):
        if one.upper <= before.upper:
            raise ManifestError("the ranges of a message are not in order")
        if one.pairs and one.pairs[0][0] <= before.upper:
            raise ManifestError("a pair lies outside its range")


def opening(pairs: Pairs) -> tuple[Range, ...]:
    """The first question: ranges that cover all keys."""
    return _written(pairs, _parts(pairs, 0, len(pairs), LAST_KEY), LAST_KEY)


def answer(pairs: Pairs, ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """What the side that is asked says to these ranges. ManifestError when they are malformed."""
    check_ranges(ranges)

    def parts() -> Iterator[Range]:
        lower = None
        for one in ranges:
            first, end = pairs.span(lower, one.upper)
            lower = one.upper
            if one.settled or pairs.fingerprint(first, end) == one.fingerprint:
                yield Range(one.upper)
            elif one.pairs is None:
                yield from _parts(pairs, first, end, one.upper)
            elif one.pairs == pairs.slice(first, end):
                yield Range(one.upper)
            else:
                # The asker has shown all of its own, so it gets all of ours, in as many lists as it takes.
                yield from _lists(pairs, first, end, one.upper)

    return _written(pairs, parts(), _last(ranges))


def compare(pairs: Pairs, ranges: tuple[Range, ...]) -> tuple[tuple[Range, ...], tuple[Difference, ...]]:
    """What the asking side learns from an answer: the next question, empty at the end, and what differs.

    ManifestError when the answer is malformed.
    """
    check_ranges(ranges)
    found: list[Difference] = []
    lower = None
    for one in ranges:
        if one.pairs is not None:
            ours, theirs = dict(pairs.slice(*pairs.span(lower, one.upper))), dict(one.pairs)
            for key in sorted({*ours, *theirs}):
                if ours.get(key) != theirs.get(key):
                    found.append(Difference(key, ours.get(key), theirs.get(key)))
        lower = one.upper

    def parts() -> Iterator[Range]:
        lower = None
        for one in ranges:
            first, end = pairs.span(lower, one.upper)
            lower = one.upper
            if one.fingerprint is None or pairs.fingerprint(first, end) == one.fingerprint:
                yield Range(one.upper)
            else:
                yield from _parts(pairs, first, end, one.upper)

    return _written(pairs, parts(), _last(ranges)), tuple(found)


class Reconciliation:
    """The asking side of one conversation: what to ask next, and what it has found.

    ``question`` is empty when nothing is left to ask. ``complete`` then says whether everything was
    compared, or the rounds were used up.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._found: dict[bytes, Difference] = {}
        self.question = opening(pairs)
        self.rounds = 0
        self.complete = False

    def take(self, ranges: tuple[Range, ...]) -> None:
        """Learn from the answer to ``question``, and set the next one.

        ManifestError when the answer is malformed, speaks of what was not asked, or only gives the question
        back.
        """
        check_ranges(ranges)
        self._check_within(ranges)
        question, found = compare(self._pairs, ranges)
        self._found.update((one.key, one) for one in found)
        self.rounds += 1
        self.complete = not question
        self.question = question if self.rounds < ROUNDS_LIMIT else ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What differs as far as it has been compared, by key."""
        return tuple(self._found[key] for key in sorted(self._found))

    def _check_within(self, ranges: tuple[Range, ...]) -> None:
        """An honest answer looks closer at the first of the ranges that differ, and at nothing else."""
        asked = _last(self.question)
        if any(not one.settled and one.upper > asked for one in ranges):
            raise ManifestError("the answer speaks of ranges that were not asked about")
        same = {(lower, one.upper) for lower, one in _bounds(self.question) if one.fingerprint is not None}
        first = next(((lower, one) for lower, one in _bounds(ranges) if not one.settled), None)
        if first is not None and first[1].fingerprint is not None and (first[0], first[1].upper) in same:
            raise ManifestError("the answer is the question again")


def _parts(pairs: Pairs, first: int, end: int, upper: bytes) -> Iterator[Range]:
    """A range that differs, looked at more closely: its pairs when they are few, else parts of it."""
    count = end - first
    if count <= PAIRS_SENT:
        yield Range(upper, pairs=pairs.slice(first, end))
        return
    # Parts of half a list's length or more, so that the next answer is lists and not many tiny ones.
    parts = min(PARTS, -(-count // (PAIRS_SENT // 2)))
    edges = [first + count * number // parts for number in range(parts + 1)]
    for a, b in pairwise(edges):
        yield Range(upper if b == end else pairs.key(b - 1), pairs.fingerprint(a, b))


def _lists(pairs: Pairs, first: int, end: int, upper: bytes) -> Iterator[Range]:
    for place in range(first, max(end, first + 1), PAIRS_SENT):
        behind = min(place + PAIRS_SENT, end)
        yield Range(upper if behind == end else pairs.key(behind - 1), pairs=pairs.slice(place, behind))


def _written(pairs: Pairs, parts: Iterator[Range], last: bytes) -> tuple[Range, ...]:
    """The ranges of one message: what does not fit goes as one fingerprint up to ``last``."""
    written: list[Range] = []
    spent = 0
    for part in parts:
        spent += len(part.pairs or ())
        if part.settled and written and written[-1].settled:
            written[-1] = part
            continue
        if len(written) == RANGES_LIMIT - 1 or spent > PAIRS_LIMIT:
            if part.settled and part.upper >= last:
                break
            lower = written[-1].upper if written else None
            written.append(Range(last, pairs.fingerprint(*pairs.span(lower, last))))
            return tuple(written)
        written.append(part)
    if written and written[-1].settled:
        written.pop()
    return tuple(written)


def _bounds(ranges: tuple[Range, ...]) -> Iterator[tuple[bytes | None, Range]]:
    lower = None
    for one in ranges:
        yield lower, one
        lower = one.upper


def _last(ranges: tuple[Range, ...]) -> bytes:
    """Where the ranges end about which something is left to say."""
    return max((one.upper for one in ranges if not one.settled), default=b"")


def _sized(value: object, size: int, what: str) -> None:
    if not isinstance(value, bytes) or len(value) != size:
        raise ManifestError(f"{what} has {size} bytes")
