"""Sizes and rates as people type them: `2MB`, `1.5 GB`, `500 kB/s`, `200000`; always bytes, never bits.

One reading of such a word for the command line and for config.toml. Not for showing them (cli/output.py).
Follows specs/mirror.md, "Amounts".
"""

import re
from decimal import Decimal

from p2pvoice.protocol.errors import UsageError

AMOUNT_LENGTH = 32
"""Characters of an amount."""

AMOUNT_LIMIT = 1 << 53
"""Bytes; more than any disk has, and still exact in JSON everywhere."""

LEAST_RATE = 35_000
"""Bytes per second below which no limit is taken: 1 MiB, the largest chunk, takes 30 s at it, and a peer
gives a chunk up after 60 s."""

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_AMOUNT = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,9})?)\s*(?:([kmgt]?)(i?)b?)(/s)?", re.ASCII)
_HINT = "such as 2MB, 500 kB, 1.5GB; 0 for no limit"


def parse_size(text: str) -> int:
    """The bytes that a word means; `k`, `M`, `G`, `T` are decimal, `Ki`, `Mi`, `Gi`, `Ti` binary.

    UsageError for anything else.
    """
    return _parse(text, "size", rate=False)


def parse_rate(text: str | int) -> int:
    """The bytes per second that a word or a number means; 0 is no limit.

    UsageError for anything else, and for a limit below LEAST_RATE.
    """
    return check_rate(_parse(text, "rate", rate=True) if isinstance(text, str) else text)


def check_rate(rate: int) -> int:
    """The rate itself. UsageError for one that is negative, too large, or below LEAST_RATE and not 0."""
    if not 0 <= rate <= AMOUNT_LIMIT:
        raise UsageError(f"{rate} is no rate in bytes per second", hint=_HINT)
    if 0 < rate < LEAST_RATE:
        raise UsageError(
            f"a limit of {rate} bytes per second is too low: peers give up a chunk that takes over a minute",
            hint=f"at least {LEAST_RATE // 1000} kB/s, or 0 for no limit",
        )
    return rate


def _parse(text: str, what: str, *, rate: bool) -> int:
    found = _AMOUNT.fullmatch(text.strip().lower()) if len(text) <= AMOUNT_LENGTH else None
    if found is None or (found[4] and not rate) or (found[3] and not found[2]):
        raise UsageError(f"{text[:AMOUNT_LENGTH]!r} is no {what} in bytes", hint=_HINT)
    amount = int(Decimal(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2]])
    if amount > AMOUNT_LIMIT:
        raise UsageError(f"{text!r} is too much", hint=_HINT)
    return amount
