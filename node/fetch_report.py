"""What a fetch tells of itself: while it goes on, and at its end.

Not for how these come to the user: see fetching.py. Follows specs/exchange.md and specs/rpc.md.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a fetch is: bytes of the files, bytes received now, bytes a second, peers at work.

    ``received``, ``rate`` and ``rates``, bytes a second of each peer at work, count bytes of the files;
    ``wire`` counts what they took to be sent.
    """

    have: int
    total: int
    received: int
    rate: float
    peers: int
    file: str
    wire: int
    rates: dict[str, int]


@dataclass(frozen=True)
class FetchReport:
    """What a fetch did. ``reused`` bytes were on disk already; ``peers`` maps peers to bytes received.

    ``wire`` bytes were sent for the ``received`` ones: fewer where chunks came compressed or as deltas.
    ``rates`` maps peers to the bytes a second that they gave while something was asked of them.
    """

    total: int
    received: int
    reused: int
    wire: int
    seconds: float
    peers: dict[str, int]
    dropped: dict[str, str]
    rates: dict[str, int]
