"""Ranges of a reconciliation as they stand in messages; shared by the streams that compare sets.

Only their form: what is said in them is reconcile.py's. Follows specs/operations.md, "Messages".
"""

from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.reconcile import (
    FINGERPRINT_SIZE,
    KEY_SIZE,
    PAIRS_LIMIT,
    PAIRS_SENT,
    RANGES_LIMIT,
    Pair,
    Range,
)

RANGES_BYTES = RANGES_LIMIT * (KEY_SIZE + FINGERPRINT_SIZE + 8) + PAIRS_LIMIT * 2 * KEY_SIZE
"""Bytes that the ranges of one message have at most."""


def shown_ranges(ranges: tuple[Range, ...]) -> list[list[bytes]]:
    """Each range as its upper end, then its fingerprint or its pairs, which their length tells apart."""
    rows = []
    for one in ranges:
        row = [one.upper]
        if one.fingerprint is not None:
            row.append(one.fingerprint)
        elif one.pairs is not None:
            row.append(b"".join(key + value for key, value in one.pairs))
        rows.append(row)
    return rows


def read_ranges(fields: Fields) -> tuple[Range, ...]:
    """The ranges of a message. ManifestError for anything malformed."""
    ranges = []
    for row in fields.items("ranges", RANGES_LIMIT):
        if not isinstance(row, list) or len(row) not in (1, 2) or {type(item) for item in row} != {bytes}:
            raise ManifestError("a range is its upper end and what is said of it")
        said = row[1] if len(row) == 2 else None
        if said is None:
            ranges.append(Range(row[0]))
        elif len(said) == FINGERPRINT_SIZE:
            ranges.append(Range(row[0], said))
        elif len(said) % (2 * KEY_SIZE) == 0 and len(said) <= PAIRS_SENT * 2 * KEY_SIZE:
            ranges.append(Range(row[0], pairs=tuple(_cut(said))))
        else:
            raise ManifestError("what is said of a range is neither its fingerprint nor its pairs")
    return tuple(ranges)


def _cut(said: bytes) -> list[Pair]:
    places = range(0, len(said), 2 * KEY_SIZE)
    return [(said[at : at + KEY_SIZE], said[at + KEY_SIZE : at + 2 * KEY_SIZE]) for at in places]
