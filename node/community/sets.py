"""The sets by which logs are compared with those of peers: each signer with the last of their operations.

Built again only when the log has changed. All methods block and may be called from several threads. Follows
specs/operations.md, "Reconciliation".
"""

import threading
from collections import OrderedDict

from p2pvoice.node.community.reading import LogReader
from p2pvoice.protocol.operations import VoiceName
from p2pvoice.protocol.reconcile import Pairs

SETS_KEPT = 256
"""Voices whose sets are kept in memory; one of a voice full of strangers has about 150 KB."""


class Sets:
    """The sets of all voices that have a log here."""

    def __init__(self, logs: LogReader) -> None:
        self._logs = logs
        self._lock = threading.Lock()
        self._kept: OrderedDict[VoiceName, tuple[int, Pairs]] = OrderedDict()
        #: The fingerprint of a log that is empty, or not here.
        self.empty = Pairs({}).fingerprint()

    def of(self, voice: VoiceName) -> Pairs:
        """The set of one voice's log."""
        version = self._logs.version(voice)
        with self._lock:
            kept = self._kept.get(voice)
            if kept is not None and kept[0] == version:
                self._kept.move_to_end(voice)
                return kept[1]
        pairs = Pairs(self._logs.heads(voice))
        with self._lock:
            self._kept[voice] = (version, pairs)
            self._kept.move_to_end(voice)
            while len(self._kept) > SETS_KEPT:
                self._kept.popitem(last=False)
        return pairs
