"""What one running daemon consists of, handed to everything that answers a request.

Only a list of parts: how they are started and stopped is daemon.py's, what they do is their own files'.
"""

import importlib.metadata
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.collection_tables import Collections
from p2pvoice.node.community.parts import Community
from p2pvoice.node.config import Config
from p2pvoice.node.drafts import Drafts
from p2pvoice.node.engine import Engine
from p2pvoice.node.evaluations import Evaluations
from p2pvoice.node.following import Following
from p2pvoice.node.identity import Identity
from p2pvoice.node.mirror_tables import Mirrors
from p2pvoice.node.names import Names
from p2pvoice.node.paths import Home
from p2pvoice.node.reserved import Reserved
from p2pvoice.node.samples import Samples
from p2pvoice.node.store import Store
from p2pvoice.node.successors import Successors
from p2pvoice.node.training import Trainer
from p2pvoice.node.trainings import Trainings
from p2pvoice.node.uploads import Uploads
from p2pvoice.node.user_words import UserWords
from p2pvoice.protocol.ids import author_id

if TYPE_CHECKING:
    from p2pvoice.node.api.door import ApiDoor
    from p2pvoice.node.hearsay import Hearsay
    from p2pvoice.node.lan import Lan
    from p2pvoice.node.mirroring import Mirroring
    from p2pvoice.node.network import Network
    from p2pvoice.node.page.door import PageDoor
    from p2pvoice.node.recalling import Recall
    from p2pvoice.node.shelves.parts import Shelving
    from p2pvoice.node.wyoming.server import WyomingDoor

#: Threads that wait for the disk at the same time; a chunk served to a peer takes one for a moment.
DISK_THREADS = 8

VERSION = importlib.metadata.version("p2pvoice")


@dataclass
class Parts:
    """The parts of a daemon. All of them live as long as it does."""

    home: Home
    config: Config
    identity: Identity
    store: Store
    catalog: Catalog
    drafts: Drafts
    uploads: Uploads
    samples: Samples
    trainings: Trainings
    engine: Engine
    #: A second worker process, for what takes minutes to hours: speaking goes on beside it.
    training_engine: Engine
    trainer: Trainer
    network: "Network"
    successors: Successors
    following: Following
    names: Names
    #: Mirrors, what they brought here, and pins.
    mirrors: Mirrors
    mirroring: "Mirroring"
    page: "PageDoor"
    api: "ApiDoor"
    community: Community
    #: The shelves of the tags of what is offered here.
    shelves: "Shelving"
    #: The user's pronunciation dictionary.
    words: UserWords
    #: The port for Home Assistant, when the settings ask for one.
    wyoming: "WyomingDoor | None" = None
    #: mDNS, when it is on.
    lan: "Lan | None" = None
    stop: trio.Event = field(default_factory=trio.Event)
    disk: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(DISK_THREADS))
    #: Answers of the RPC by method, endpoint and status.
    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)
    #: One release is fetched once at a time: whoever asks second waits for the first.
    fetching: dict[str, trio.Lock] = field(default_factory=dict)
    #: Releases that requests are looking at without having installed them, by how many do.
    visited: Counter[str] = field(default_factory=Counter)
    #: The files of fetches that run now: the quota counts them.
    reserved: Reserved = field(default_factory=Reserved)
    #: Release -> when somebody here last used it, in seconds since 1970; of this run only.
    used: dict[str, float] = field(default_factory=dict)
    #: Author -> when its successor was last asked for, in trio's time.
    looked_up: dict[str, float] = field(default_factory=dict)
    #: One draft is imported, trained or published once at a time.
    drafting: trio.Lock = field(default_factory=trio.Lock)

    @property
    def recall(self) -> "Recall":
        """Revocations: taking them in, and passing them on."""
        return self.network.recall

    @property
    def hearsay(self) -> "Hearsay":
        """Revocations: learning of them."""
        return self.network.hearsay

    @property
    def collections(self) -> Collections:
        """The collections kept here, and their drafts."""
        return self.catalog.collections

    @property
    def evaluations(self) -> Evaluations:
        """What was measured of releases here."""
        return self.catalog.evaluations

    @property
    def author(self) -> str:
        """Our own author id."""
        return author_id(self.identity.author_public)

    def bases(self) -> list[str]:
        """Folders in which the worker finds helper networks."""
        return [str(self.home.bases)]
