"""Lies about manifests: frames, records, pages and floods of them; refused, and the liar remembered."""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node import ask, eviction
from p2pvoice.node.ask import get_release, query
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.fairness import PLACE_BYTES
from p2pvoice.node.peers import Fault
from p2pvoice.node.schema import open_database
from p2pvoice.node.seeking import find_releases
from p2pvoice.protocol.canonical import encode
from p2pvoice.protocol.catalog_messages import (
    CATALOG,
    CURSOR_LENGTH,
    PAGE_ITEMS,
    PAGE_LIMIT,
    QueryPage,
)
from p2pvoice.protocol.errors import ManifestError, P2PVoiceError
from p2pvoice.protocol.framing import MESSAGE_LIMIT
from p2pvoice.protocol.head import HEAD_LIMIT
from p2pvoice.protocol.ids import cid_of
from p2pvoice.protocol.manifest import RELEASE_LIMIT, Release, sign_manifest
from p2pvoice.protocol.messages import Fail, encode_message, message_limit

from . import attacks
from .attacks import answering
from .victim import MIB, forget_peak, memory

Tally = Callable[..., None]
Make = Callable[..., Any]


def large_release(publish: Make, key: Ed25519PrivateKey, slug: str, size: int = 60_000) -> Release:
    """A validly signed release whose manifest is as large as asked for, by keys that nobody knows."""
    manifest = publish(slug=slug, key=key).release.manifest
    return sign_manifest(replace(manifest, extra={"junk": bytes(size)}), key)


async def test_frames_that_announce_too_much(network: Make, tally: Tally) -> None:
    sizes = [message_limit(QueryPage, Fail) + 1, MESSAGE_LIMIT + 1, 2**32 - 1]
    before = forget_peak()
    async with network(2) as (liar, victim):
        for size in sizes:
            liar.serve(CATALOG, attacks.huge_frame_then_trickle(size))
            victim.peers.forgive(liar.id)
            with trio.fail_after(10), pytest.raises(P2PVoiceError, match="is announced"):
                await query(victim, attacks.info(liar), [], deliver_nowhere, limit=10)
            drop = victim.peers.entry(liar.id).drop
            assert drop is not None
            assert drop.fault is Fault.BROKE_PROTOCOL
            assert victim.peers.is_shunned(liar.id)
    growth = memory("VmHWM") - before
    assert growth < 24  # two hosts among it
    tally("frames of too many bytes", tried=3, refused=3, cost=f"+{growth:.0f} MiB at most")


async def test_records_one_byte_over(network: Make, tally: Tally) -> None:
    over = {
        "a release": {"t": "release", "data": bytes(RELEASE_LIMIT + 1)},
        "a release in a page": {"t": "page", "releases": [bytes(RELEASE_LIMIT + 1)], "heads": [], "next": ""},
        "a head in a page": {"t": "page", "releases": [], "heads": [bytes(HEAD_LIMIT + 1)], "next": ""},
        "a page": {"t": "page", "releases": [bytes(PAGE_LIMIT // 4)] * 4, "heads": [b"h"], "next": ""},
        "a page of many": {"t": "page", "releases": [b"r"] * (PAGE_ITEMS + 1), "heads": [], "next": ""},
        "a cursor": {"t": "page", "releases": [], "heads": [], "next": "x" * (CURSOR_LENGTH + 1)},
    }
    async with network(2) as (liar, victim):
        for name, value in over.items():
            liar.serve(CATALOG, answering(encode(value)))
            victim.peers.forgive(liar.id)
            asking = (
                get_release(victim, attacks.info(liar), cid_of(bytes(32)))
                if value["t"] == "release"
                else query(victim, attacks.info(liar), [], deliver_nowhere, limit=10)
            )
            with trio.fail_after(10), pytest.raises(ManifestError):
                await asking
            assert victim.peers.is_shunned(liar.id), name
    tally("records, pages and cursors one over", tried=len(over), refused=len(over))


async def test_allowed_frame_that_trickles(network: Make, tally: Tally) -> None:
    """Bytes that come one by one keep a reader alive; the search's own time ends it."""
    async with network(2) as (liar, victim):
        liar.serve(CATALOG, attacks.huge_frame_then_trickle(MIB))
        began = trio.current_time()
        with trio.fail_after(10):
            answered = await find_releases(victim, [], deliver_nowhere, timeout=2.0)
        assert answered == 0
        seconds = trio.current_time() - began
    assert seconds < 5
    tally("an allowed frame, a byte at a time", tried=1, refused=1, cost=f"{seconds:.1f} s of a 2 s search")


async def deliver_nowhere(*_: object) -> None:
    """Nothing may be delivered by a liar."""
    raise AssertionError("something was delivered")


@pytest.mark.parametrize("next_cursor", ["another", "the same"])
async def test_pages_without_end(network: Make, publish: Make, tally: Tally, next_cursor: str) -> None:
    key = Ed25519PrivateKey.generate()
    release = large_release(publish, key, "junk").envelope.to_bytes()
    asked = 0

    def page(number: int) -> bytes:
        nonlocal asked
        asked += 1
        cursor = {"another": str(number), "the same": "x"}[next_cursor]
        # Without the tag that was asked for, so that nothing ever counts.
        return encode_message(QueryPage((release,) * 6, (), cursor))

    async with network(2) as (liar, victim):
        liar.serve(CATALOG, lambda channel: attacks.endless_pages(channel, page))
        began = time.process_time()
        with trio.fail_after(30):
            count = await query(victim, attacks.info(liar), ["gender/male"], deliver_nowhere, limit=200)
        cpu = time.process_time() - began
    assert count == 0
    assert asked == (2 if next_cursor == "the same" else ask.PAGES_LIMIT)
    cost = f"{asked} pages, {cpu:.1f} s CPU"
    tally(f"pages without end, cursor {next_cursor}", tried=1, refused=1, cost=cost)


async def test_flood_of_signed_junk_leaves_what_was_known(
    network: Make, publish: Make, tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer offers more validly signed releases by fresh keys than the catalog may hold."""
    monkeypatch.setattr(eviction, "LIMITS", replace(eviction.LIMITS, places=130, guests=20))
    database = open_database(tmp_path / "catalog.sqlite")
    now = time.time() - eviction.LIMITS.settled
    catalog = Catalog(database, clock=lambda: now)
    known = [publish(slug=f"known-{number}").release for number in range(40)]
    for release in known:
        catalog.add_release(release.envelope.to_bytes())
    now = time.time()
    junk = [large_release(publish, Ed25519PrivateKey.generate(), "junk", 40_000) for _ in range(100)]
    releases = itertools.cycle([release.envelope.to_bytes() for release in junk])

    def page(number: int) -> bytes:
        return encode_message(QueryPage(tuple(itertools.islice(releases, 16)), (), str(number)))

    async def keep(found: Any) -> None:
        catalog.add_release(found.release.envelope.to_bytes())

    async with network(2) as (liar, victim):
        liar.serve(CATALOG, lambda channel: attacks.endless_pages(channel, page))
        with trio.fail_after(30):
            await find_releases(victim, [], keep)
    assert all(catalog.release(release.id) for release in known)
    count = catalog.counts()[0]
    held = sum(len(catalog.release_bytes(r.id) or b"") for r in [*known, *junk])
    assert count <= 130 + 20
    assert held <= (130 + 20) * PLACE_BYTES < 2 * MIB
    database.close()
    disk = on_disk(tmp_path)
    assert disk < 3 * 2 + 4
    tally("signed junk by fresh keys, 4 MB for a catalog of 2", tried=100, refused=100,
          cost=f"{disk:.1f} MiB on disk; all 40 known voices stay")  # fmt: skip


def on_disk(folder: Path) -> float:
    """MiB of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir()) / MIB


@pytest.mark.slow
def test_ten_thousand_releases_by_fresh_keys(publish: Make, tally: Tally, tmp_path: Path) -> None:
    """10,000 releases of 32 KiB, 330 MB together, against the real limits."""
    database = open_database(tmp_path / "catalog.sqlite")
    now = time.time() - eviction.LIMITS.settled
    catalog = Catalog(database, clock=lambda: now)
    known = [publish(slug=f"known-{number}").release for number in range(100)]
    for release in known:
        catalog.add_release(release.envelope.to_bytes())
    now = time.time()
    began = time.monotonic()
    for _ in range(10_000):
        key = Ed25519PrivateKey.generate()
        catalog.add_release(large_release(publish, key, "junk", 32 << 10).envelope.to_bytes())
    seconds = time.monotonic() - began
    assert all(catalog.release(release.id) for release in known)
    database.close()
    disk = on_disk(tmp_path)
    assert disk < 2 * eviction.LIMITS.places * PLACE_BYTES / MIB
    tally("10,000 signed releases of 32 KiB by fresh keys", tried=10_000, refused=10_000,
          cost=f"{disk:.0f} MiB on disk, {seconds:.0f} s")  # fmt: skip
