"""Keeping whole collections alive: what mirrors look for, fetch, and offer, from time to time and when asked.

A look goes through the mirrors one after another: it asks which releases there are, counts who else has each,
and brings those that too few have, the rarest first, within the mirror's limit and the quota. It runs in the
daemon's nursery; whatever cuts it off, the next one goes on. Not for which releases may be mirrored
(mirror_choice.py), nor for what makes room (quota.py). Follows specs/mirror.md, "Mirrors".
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import trio

from p2pvoice.node.fetching import bring
from p2pvoice.node.mirror_choice import Candidate, choose, reason_against, rows_of
from p2pvoice.node.mirror_tables import AUTHOR, Mirror, Mirrored, Mirrors
from p2pvoice.node.parts import Parts
from p2pvoice.node.quota import last_used, spare_first
from p2pvoice.node.removing import let_go
from p2pvoice.node.rpc.errors import to_error
from p2pvoice.node.voices import disk
from p2pvoice.protocol.errors import P2PVoiceError, QuotaError, RevokedError
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release

log = logging.getLogger("p2pvoice.mirroring")

LOOK_SOON = 300.0
"""Seconds until the next look when one found nothing, or did not get what it wanted."""

JOIN_WAIT = 20.0
"""Seconds a look waits for a node that has only just started to find its way into the DHT."""

LOOK_EVERY = 3600.0
"""Seconds between two looks, give or take a fifth: mirrors of one collection must not move in step."""

FIND_SECONDS = 30.0
"""Seconds one search of the network may take."""

NOBODY = "nobody has it"
"""Why a release is left out that is known and that nobody offers."""

COUNT_WIDTH = 4
"""Releases whose holders are counted at the same time."""

COUNT_SECONDS = 30.0
"""Seconds one count may take; one that takes longer says nothing."""

RELEASES_LIMIT = 1_000
"""Releases of one mirror that are looked at."""

HEADS_LIMIT = 200
"""Voices of one author whose newest head is asked for in one look."""


class Mirroring:
    """The mirrors at work. Start :meth:`run` in the daemon's nursery."""

    def __init__(self, mirrors: Mirrors, *, chance: random.Random | None = None) -> None:
        self._mirrors = mirrors
        self._chance = chance or random.Random()
        self._asked = trio.Event()
        self._scope: trio.CancelScope | None = None
        self._at: Mirror | None = None
        #: Told of by status: what is fetched just now.
        self.fetching: dict[str, Any] | None = None
        self.looking = False
        self.next_look = 0.0
        """When the next look is due, in seconds since 1970; 0 when none is."""

    def ask(self) -> None:
        """Look now, or once more when a look is under way."""
        self._asked.set()

    def stopped(self, kind: str, name: str) -> None:
        """A mirror was stopped: leave off what is done for it."""
        at = self._at
        if self._scope is not None and at is not None and (at.kind, at.name) == (kind, name):
            self._scope.cancel()

    async def run(self, parts: Parts) -> None:
        """Look at the start, when asked, and from time to time; for ever."""
        while True:
            self._asked = trio.Event()
            if await disk(parts, self._mirrors.all):
                await parts.network.arrival()
                await parts.network.joined(JOIN_WAIT)
                await self.look(parts)
            rows = await disk(parts, self._mirrors.all)
            soon = any(not row.wanted or row.error or NOBODY in row.left_out for row in rows)
            pause = (LOOK_SOON if soon else LOOK_EVERY) * self._chance.uniform(0.8, 1.2)
            self.next_look = time.time() + pause
            with trio.move_on_after(pause):
                await self._asked.wait()

    async def look(self, parts: Parts) -> None:
        """Look at every mirror once. Raises nothing: what goes wrong is noted with its mirror."""
        self.looking = True
        try:
            alive: dict[str, bool] = {}
            for mirror in await disk(parts, self._mirrors.all):
                self._at = mirror
                with trio.CancelScope() as self._scope:
                    await self._guarded(parts, mirror, alive)
        finally:
            self.looking, self._scope, self._at, self.fetching = False, None, None, None

    async def _guarded(self, parts: Parts, mirror: Mirror, alive: dict[str, bool]) -> None:
        found = _Found()
        try:
            await self._look_at(parts, mirror, alive, found)
        except Exception as error:  # libp2p raises many things, and none of them may end the mirrors.
            found.error = to_error(error).message
            log.warning("the look at a mirror failed", extra={"kind": mirror.kind, "why": found.error})
        note = partial(
            self._mirrors.looked,
            mirror,
            wanted=found.wanted,
            below=found.below,
            left_out=found.left_out,
            error=found.error,
        )
        await disk(parts, note)

    async def _look_at(self, parts: Parts, mirror: Mirror, alive: dict[str, bool], found: "_Found") -> None:
        releases, offered = await _releases(parts, mirror)
        allowed: list[Release] = []
        for release in releases:
            why = await disk(parts, partial(reason_against, parts, mirror, release, time.time()))
            if why:
                found.left_out[why] += 1
            else:
                allowed.append(release)
        found.wanted = len(allowed)
        counts = await _count(parts, allowed, alive)
        for identifier in offered & counts.keys():
            # Whoever told of it just now has it, though its record may still be on its way.
            counts[identifier] = max(1, counts[identifier])
        candidates = await disk(parts, partial(rows_of, parts, allowed, counts))
        await _note_counts(parts, counts)
        found.below = sum(one.total < mirror.replicas for one in candidates)
        for one in choose(candidates, mirror.replicas, parts.network.peer_id):
            if not one.others:
                found.left_out[NOBODY] += 1
                continue
            if not await self._fits(parts, mirror, one):
                found.left_out["limit"] += 1
                continue
            why, message = await self._bring(parts, mirror, one)
            if why:
                found.left_out[why] += 1
                found.error = message
            elif one.total < mirror.replicas <= one.total + 1:
                found.below -= 1

    async def _fits(self, parts: Parts, mirror: Mirror, wanted: Candidate) -> bool:
        """Whether a release fits into its mirror's limit, after letting go of what enough others have."""
        if not mirror.limit:
            return True
        voice = (author_id(wanted.release.manifest.author), wanted.release.manifest.slug)

        def held(without: Collection[str] = ()) -> int:
            return bytes_of(parts, mirror, voice, without)

        spare = [one for one in await spare_first(parts) if one.plenty and _is_of(one, mirror)]
        if await disk(parts, lambda: held([one.release for one in spare])) + wanted.size > mirror.limit:
            log.info("no room in a mirror", extra={"kind": mirror.kind, "wants": wanted.size})
            return False
        while spare and await disk(parts, held) + wanted.size > mirror.limit:
            await let_go(parts, spare.pop(0))
        return True

    async def _bring(self, parts: Parts, mirror: Mirror, one: Candidate) -> tuple[str, str]:
        """Fetch one release; why it did not come, in a word and in full, or nothing."""
        release = one.release
        author, slug = author_id(release.manifest.author), release.manifest.slug
        self.fetching = {"release": release.id, "name": slug, "have": 0, "total": one.size}

        async def tell(event: Mapping[str, Any]) -> None:
            if self.fetching is not None and "have" in event:
                self.fetching |= {"have": event["have"], "total": event["total"]}

        try:
            await disk(parts, partial(self._mirrors.bring, author, slug, mirror, one.others))
            await bring(parts, release, seed=True, tell=tell, mirror=True)
            log.info("mirrored", extra={"release": release.id, "holders": one.others})
            return "", ""
        except QuotaError as error:
            return "quota", error.message
        except RevokedError as error:
            return "revoked", error.message
        except P2PVoiceError as error:
            log.info("not mirrored: %s", error.message, extra={"release": release.id})
            return "failed", f"{slug}: {error.message}"
        finally:
            self.fetching = None


class _Found:
    """What one look at one mirror found."""

    def __init__(self) -> None:
        self.wanted = 0
        self.below = 0
        self.left_out: Counter[str] = Counter()
        self.error = ""


async def _releases(parts: Parts, mirror: Mirror) -> tuple[list[Release], set[str]]:
    """The newest release of each voice of a mirror, after asking the network; which of them a peer offers.

    They are verified, and not known to be revoked.
    """
    offered: set[str] = set()

    async def note(release: Release) -> None:
        offered.add(release.id)

    if mirror.kind != AUTHOR:
        await parts.network.find([mirror.name], note, FIND_SECONDS)
        found: list[Release] = await disk(
            parts, lambda: parts.catalog.search([mirror.name], "", RELEASES_LIMIT)
        )
        return found, offered
    # Who offers an author's voices is not known by the author, so those are asked who are connected.
    await parts.network.find([], note, FIND_SECONDS)
    names = await disk(parts, partial(_names, parts, mirror.name))
    limiter = trio.CapacityLimiter(COUNT_WIDTH)

    async def look_up(author: str, slug: str, release: str) -> None:
        async with limiter:
            try:
                head = await parts.network.newest_head(author, slug, release)
                if await disk(parts, lambda: parts.catalog.release(head.release)) is None:
                    await parts.network.find_release(head.release)
            except P2PVoiceError as error:
                log.info("no newer head: %s", error.message, extra={"release": release})

    async with trio.open_nursery() as nursery:
        for author, slug, release in names[:HEADS_LIMIT]:
            nursery.start_soon(look_up, author, slug, release)

    def read() -> list[Release]:
        rows = _names(parts, mirror.name)
        return [parts.catalog.resolve(f"{author}/{slug}") for author, slug, _ in rows]

    newest: list[Release] = await disk(parts, read)
    return newest, offered


def _names(parts: Parts, author: str) -> list[tuple[str, str, str]]:
    """(author, slug, a release) of each voice known of an author, under the newest key; blocking."""
    return parts.catalog.names_of({author, parts.successors.current(author)}, RELEASES_LIMIT)


async def _count(parts: Parts, releases: list[Release], alive: dict[str, bool]) -> dict[str, int]:
    """Release -> how many others say that they have it and can be reached; without those not counted."""
    limiter = trio.CapacityLimiter(COUNT_WIDTH)
    counts: dict[str, int] = {}

    async def count(release: Release) -> None:
        async with limiter:
            with trio.move_on_after(COUNT_SECONDS):
                try:
                    counts[release.id] = await parts.network.count_holders(release.id, alive)
                except P2PVoiceError as error:
                    log.info("the holders of %s were not counted: %s", release.id, error.message)

    async with trio.open_nursery() as nursery:
        for release in releases:
            nursery.start_soon(count, release)
    return counts


async def _note_counts(parts: Parts, counts: Mapping[str, int]) -> None:
    """Note with each mirrored voice how many others have it, and when it was last used."""
    for one in await disk(parts, parts.mirrors.held):
        if one.release in counts:
            used = await last_used(parts, one)
            call = partial(parts.mirrors.counted, one.author, one.slug, counts[one.release], used)
            await disk(parts, call)


def bytes_of(
    parts: Parts, mirror: Mirror, voice: tuple[str, str] | None = None, without: Collection[str] = ()
) -> int:
    """Bytes of the files that a mirror holds, each once; blocking.

    ``voice`` does not count, which makes room for its own next release, nor do the releases in ``without``.
    """
    files: dict[bytes, int] = {}
    for one in parts.mirrors.held():
        if _is_of(one, mirror) and (one.author, one.slug) != voice and one.release not in without:
            release = parts.catalog.release(one.release)
            files |= {file.digest: file.size for file in release.manifest.files} if release else {}
    return sum(files.values())


def _is_of(one: Mirrored, mirror: Mirror) -> bool:
    return (one.kind, one.name) == (mirror.kind, mirror.name)
