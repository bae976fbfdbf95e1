"""A flood of validly signed releases on one facet, and honest authors before it and in it.

For tests/bench/flood.py and the smaller copy in test_flood.py. Releases are the least that verifies, made by
changing a template, so that a hundred thousand of them take seconds; they get in by ``Catalog.add_release``,
which verifies each.
"""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.eviction import LIMITS
from p2pvoice.node.process import resident_bytes
from p2pvoice.node.schema import open_database
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.ids import release_id
from p2pvoice.protocol.manifest import KIND, MANIFEST_LIMIT

from .recall_parts import NOW, make_release

FACET = "language/yue"


@dataclass
class Maker:
    """Makes signed releases of one facet by many keys; ``seed`` makes it the same ones each time."""

    seed: int = 1
    _template: dict[str, Any] = field(default_factory=dict)
    _keys: dict[str, tuple[Ed25519PrivateKey, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        self._template = dict(decode(make_release(key).envelope.payload, limit=MANIFEST_LIMIT))
        self._random = random.Random(self.seed)

    def make(self, author: str, number: int, tag: str = FACET) -> tuple[str, bytes]:
        """The id and the signed bytes of a release by the key that belongs to a name."""
        if author not in self._keys:
            key = Ed25519PrivateKey.from_private_bytes(self._random.randbytes(32))
            self._keys[author] = key, key.public_key().public_bytes_raw()
        key, public = self._keys[author]
        name = f"v{number}"
        said = {"author": public, "slug": name, "name": name, "created": NOW + number, "tags": [tag]}
        payload = encode({**self._template, **said})
        return release_id(payload), seal(KIND, payload, key).to_bytes()


@dataclass(frozen=True)
class Outcome:
    """What a flood left: shares are of releases that a search can still find, seconds of CPU by insertion."""

    offered: int
    kept: int
    places: int
    before: float
    during: float
    elsewhere: float
    disk: int
    memory: int
    seconds: float


def flood(folder: Path, offered: int, keys: int, *, authors: int = 200) -> Outcome:
    """One flood on one facet: so many releases by so many keys, among those of honest authors.

    Half of the honest authors, of one to five voices each, are known four days before; the others come during
    the flood. As many again are known on another facet, and come on it during the flood.
    """
    maker, chance = Maker(), random.Random(2)
    honest = [
        [maker.make(f"honest {n} {tag}", voice, tag) for voice in range(1 + n % 5)]
        for tag in (FACET, "gender/male")
        for n in range(authors)
    ]
    half = authors // 2
    before = [one for n in range(half) for one in honest[n]]
    during = [one for n in range(half, authors) for one in honest[n]]
    elsewhere = [one for voices in honest[authors:] for one in voices]
    known = [one for voices in honest[authors : authors + half] for one in voices]
    # Places in the flood at which somebody honest comes.
    coming = [one for one in [*during, *elsewhere] if one not in known]
    turns: dict[int, list[tuple[str, bytes]]] = {}
    for one in coming:
        turns.setdefault(chance.randrange(offered), []).append(one)

    now = float(NOW)
    database = open_database(folder / "catalog.sqlite")
    catalog = Catalog(database, clock=lambda: now)
    for _, data in [*before, *known]:
        catalog.add_release(data)
    now += 4 * 86_400
    memory, seconds = resident_bytes(os.getpid()), 0.0
    for batch in _batches(maker, offered, keys):
        started = time.process_time()
        for number, data in batch:
            catalog.add_release(data)
            for _, late in turns.get(number, ()):
                catalog.add_release(late)
        seconds += time.process_time() - started
        now += 1
    memory = resident_bytes(os.getpid()) - memory
    held = {one for tag in (FACET, "gender/male") for one, _, _ in catalog.releases_tagged(tag)}
    count = catalog.counts()[0]
    database.close()

    def share(of: list[tuple[str, bytes]]) -> float:
        return sum(identifier in held for identifier, _ in of) / len(of)

    return Outcome(
        offered,
        sum(1 for _ in held),
        count,
        share(before),
        share(during),
        share(elsewhere),
        sum(path.stat().st_size for path in folder.iterdir()),
        memory,
        seconds / (offered + len(coming)),
    )


def _batches(maker: Maker, offered: int, keys: int) -> Iterator[list[tuple[int, bytes]]]:
    """The flood, made a part at a time and in an order by chance, so that no key comes in one piece."""
    order = list(range(offered))
    random.Random(3).shuffle(order)
    for at in range(0, offered, 2_000):
        yield [
            (at + place, maker.make(f"junk {number % keys}", number)[1])
            for place, number in enumerate(order[at : at + 2_000])
        ]


def most_kept() -> int:
    """Releases that a catalog ever holds of strangers: those with places, and the latest without."""
    return LIMITS.places + LIMITS.guests
