"""What the logs of a voice add up to here, replayed only when one of them has changed.

For reading; what enters a log is log.py's. All methods block and may be called from several threads. Follows
specs/community.md and specs/operations.md, "Replay".
"""

import threading
from collections import OrderedDict

from p2pvoice.node.community.lines import Line
from p2pvoice.node.community.reading import LogReader
from p2pvoice.protocol.replay import VoiceState, replay

STATES_KEPT = 32
"""Voices whose state is kept in memory: at the very worst 4 MiB of strangers' words each."""


class States:
    """The states of voices, kept in memory while they are looked at."""

    def __init__(self, logs: LogReader) -> None:
        self._logs = logs
        self._lock = threading.Lock()
        self._kept: OrderedDict[Line, tuple[tuple[int, ...], VoiceState]] = OrderedDict()

    def of(self, line: Line) -> VoiceState:
        """The state of a voice; empty when nothing is known to be said of it."""
        versions = tuple(self._logs.version(voice) for voice in line.voices)
        with self._lock:
            kept = self._kept.get(line)
            if kept is not None and kept[0] == versions:
                self._kept.move_to_end(line)
                return kept[1]
        # Read after the versions were: what came between is read again next time, never missed.
        said = [one for voice in line.voices for one in self._logs.operations(voice)]
        state = replay(said, line.owners)
        with self._lock:
            self._kept[line] = (versions, state)
            self._kept.move_to_end(line)
            while len(self._kept) > STATES_KEPT:
                self._kept.popitem(last=False)
        return state
