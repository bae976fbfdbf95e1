"""Withdrawing voices whose consent has expired while the daemon ran.

A refusal to serve is immediate (offer.py); this takes back what was announced, so that nobody is sent here in
vain. Not for deciding what expired means: see protocol/consent_state.py. Follows specs/consent.md.
"""

import logging
import time
from collections.abc import Callable

import trio

from p2pvoice.node.parts import Parts
from p2pvoice.protocol.consent_state import consent_state
from p2pvoice.protocol.manifest import Release

#: Seconds between two looks at what has expired.
CHECK_EVERY = 600.0

log = logging.getLogger("p2pvoice.expiry")


def offered_releases(parts: Parts, now: float) -> tuple[list[Release], list[Release]]:
    """The installed and seeded releases, good and expired; blocking."""
    good: list[Release] = []
    expired: list[Release] = []
    for held in parts.catalog.installed():
        release = parts.catalog.release(held.release)
        if held.seed and release is not None:
            (expired if consent_state(release.manifest, now) == "expired" else good).append(release)
    return good, expired


async def withdraw_expired(parts: Parts, now: float) -> None:
    """Stop announcing what has expired; a voice that was withdrawn before stays so."""
    _, expired = await trio.to_thread.run_sync(offered_releases, parts, now, limiter=parts.disk)
    for release in expired:
        log.info("the consent has expired, the voice is not announced", extra={"release": release.id})
        parts.network.withdraw(release, with_head=release.manifest.author == parts.identity.author_public)


async def run(parts: Parts, clock: Callable[[], float] = time.time) -> None:
    """Look from time to time, until cancelled."""
    while True:
        await trio.sleep(CHECK_EVERY)
        await withdraw_expired(parts, clock())
