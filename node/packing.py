"""Whether compressing a chunk is worth its time on the stream that it is to be sent on.

Weights save about a tenth: on a slow line that is time won, on a fast one compressing takes longer than
sending. So a chunk is compressed only when that is expected to save more time than it takes, by what chunks
of the same file saved before and by how fast the stream takes bytes. Not for the compression itself: see
protocol/codec.py. Follows specs/chunks.md, "Encode".
"""

from collections import OrderedDict
from dataclasses import dataclass

#: A chunk in so many is compressed in any case, to see whether this part of the file saves more.
LOOK_EVERY = 32

#: Seconds that compressing must save for each that it takes: who receives it has to decompress it, too.
WORTH = 2.0

#: Files of which is remembered what they saved.
FILES_REMEMBERED = 256

#: How much the newest measurement counts.
NEWEST = 0.3


@dataclass
class _Seen:
    """What compressing chunks of one file brought: the share saved, and seconds a byte that it took."""

    saved: float
    cost: float
    since: int = 0


class Packing:
    """What is known of the files that a node serves. Single-threaded."""

    def __init__(self) -> None:
        self._files: OrderedDict[bytes, _Seen] = OrderedDict()

    def worth(self, file: bytes, pace: float | None) -> bool:
        """Whether to compress the next chunk of ``file``; ``pace`` is seconds a byte on its stream."""
        seen = self._files.get(file)
        if seen is None or pace is None:
            return True
        seen.since += 1
        return seen.since >= LOOK_EVERY or seen.saved * pace > WORTH * seen.cost

    def note(self, file: bytes, size: int, packed: int, seconds: float) -> None:
        """Compressing a chunk of ``size`` bytes took so long, and left so many bytes."""
        saved, cost = 1 - packed / size, seconds / size
        seen = self._files.pop(file, None)
        if seen is not None:
            saved = seen.saved + NEWEST * (saved - seen.saved)
            cost = seen.cost + NEWEST * (cost - seen.cost)
        self._files[file] = _Seen(saved, cost)
        while len(self._files) > FILES_REMEMBERED:
            self._files.popitem(last=False)


class Outflow:
    """How fast one stream takes bytes."""

    def __init__(self) -> None:
        self.seconds_a_byte: float | None = None

    def note(self, size: int, seconds: float) -> None:
        """So many bytes left in so many seconds."""
        newest = seconds / max(size, 1)
        before = self.seconds_a_byte
        self.seconds_a_byte = newest if before is None else before + NEWEST * (newest - before)
