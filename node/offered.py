"""Which files peers may have, and which they may know of, remembered until the catalog changes.

Asked for every chunk that is served, so a signed manifest is not opened again each time. Only the end of a
consent is kept of a release: it is compared with the clock whenever somebody asks. Not for what is in the
store. All methods block and may be called from several threads. Follows specs/exchange.md.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from p2pvoice.node.catalog import Catalog
from p2pvoice.protocol.consent_state import consent_end

#: Files of which is remembered what peers may do with them.
FILES_REMEMBERED = 256


class Offered:
    """What the catalog says of files, as long as nothing in it changed."""

    def __init__(self, catalog: Catalog, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._clock = clock
        self._lock = threading.Lock()
        self._changes = -1
        self._ends: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def file(self, digest: bytes) -> bool:
        """Whether peers may have a file: an offered release whose consent has not expired uses it."""
        return self._now("file", digest, self._catalog.offering)

    def base(self, digest: bytes) -> bool:
        """Whether peers may know of a file: an offered release uses it, or one that such a one comes from."""
        return self._now("base", digest, self._bases)

    def _bases(self, digest: bytes) -> list[str]:
        catalog = self._catalog
        return [
            release
            for release in catalog.users_of(digest)
            if catalog.is_offered(release) or catalog.leads_to_offered(release)
        ]

    def _now(self, what: str, digest: bytes, releases: Callable[[bytes], Iterable[str]]) -> bool:
        changes, key = self._catalog.changes, (what, digest)
        with self._lock:
            if changes != self._changes:
                self._ends.clear()
                self._changes = changes
            end = self._ends.get(key)
            if end is not None:
                self._ends.move_to_end(key)
        if end is None:
            opened = (self._catalog.release(release) for release in releases(digest))
            # A file that several releases share is had through any that may still be given.
            end = max((consent_end(one.manifest) for one in opened if one is not None), default=0.0)
            with self._lock:
                # What was read while somebody wrote is good for this answer only.
                if changes == self._changes == self._catalog.changes:
                    self._ends[key] = end
                    while len(self._ends) > FILES_REMEMBERED:
                        self._ends.popitem(last=False)
        return end > self._clock()
