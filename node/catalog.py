"""What this node knows about voices: releases, heads, tags, and which voices are installed here.

The front door: ``Catalog`` is put together of its parts, each of which is a file of its own: heads.py,
installed.py, releases.py, searching.py, naming.py over catalog_tables.py. A release gets in after its
signature was verified, a head when it is newer than the one we hold: the catalog never goes back in
sequence. Not for files, which are the store's. All methods block; the daemon calls them from threads.
Follows specs/catalog.md.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from p2pvoice.node.collection_tables import Collections
from p2pvoice.node.database import Database
from p2pvoice.node.evaluations import Evaluations
from p2pvoice.node.installed import Installed
from p2pvoice.node.naming import Naming
from p2pvoice.node.searching import Searching

__all__ = ["Catalog", "Installed"]


class Catalog(Searching, Naming):
    """The catalog's tables in the node's database (schema.py)."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(database, clock=clock)
        #: Lists of releases: own drafts, and signed ones.
        self.collections = Collections(database, clock=clock)
        #: What was measured of releases.
        self.evaluations = Evaluations(database, clock=clock)

    def alone(self) -> AbstractContextManager[None]:
        """Keep other threads out of the database for several calls."""
        return self._database.alone()

    @property
    def changes(self) -> int:
        """Counts up with every change of the node's database."""
        return self._database.changes
