"""What can be done with voices: find, show, hear the preview of, fetch, update, and remove them.

Each function here is one user's verb, above the catalog, the store and the network and below the RPC.
Not for making voices: see publish.py. Follows specs/catalog.md and specs/rpc.md.
"""

import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import trio

from p2pvoice.node.admit import admit, voice_folder
from p2pvoice.node.fetch import FetchReport, Progress
from p2pvoice.node.former import former_key
from p2pvoice.node.moves import look_up, look_up_followed
from p2pvoice.node.offer import Landing
from p2pvoice.node.parts import Parts
from p2pvoice.node.tidy import needed_files
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.consent_state import consent_facts, require_current
from p2pvoice.protocol.consent_statement import verify_statement
from p2pvoice.protocol.errors import (
    IntegrityError,
    NetworkError,
    NoPeersError,
    NotFoundError,
    P2PVoiceError,
    RevokedError,
    UsageError,
)
from p2pvoice.protocol.ids import author_id, check_slug, parse_author_id, parse_release_id
from p2pvoice.protocol.manifest import FileEntry, Release
from p2pvoice.protocol.tags import canonical_tag

log = logging.getLogger("p2pvoice.voices")

#: The file of a bundle that is fetched alone, to listen before downloading.
PREVIEW = "preview.wav"

#: Bytes that a progress event must add before the next one is sent; a file's end is always told.
PROGRESS_STEP = 1 << 18

Tell = Callable[[Mapping[str, Any]], Awaitable[None]]


async def disk(parts: Parts, call: Callable[[], Any]) -> Any:
    """Run blocking work in a thread."""
    return await trio.to_thread.run_sync(call, limiter=parts.disk)


def summary(parts: Parts, release: Release, *, source: str = "local") -> dict[str, Any]:
    """A voice as find, list and show give it. Blocks on the catalog."""
    manifest = release.manifest
    author = author_id(manifest.author)
    head = parts.catalog.head(author, manifest.slug)
    return {
        "release": release.id,
        "author": author,
        "slug": manifest.slug,
        "name": manifest.name,
        "description": manifest.description,
        "languages": list(manifest.languages),
        "tags": list(manifest.tags),
        "license": manifest.license,
        "consent": consent_facts(manifest, time.time()),
        "size": sum(file.size for file in manifest.files),
        "created": manifest.created,
        "sequence": head.sequence if head is not None and head.release == release.id else None,
        "newest": head.release if head is not None else release.id,
        "sample_rate": manifest.engine.sample_rate,
        "installed": parts.catalog.is_installed(release.id),
        "source": source,
        **parts.names.whose(author),
        "warnings": parts.names.warnings(release),
    }


async def find(parts: Parts, tags: list[str], text: str, limit: int, seconds: float, tell: Tell) -> int:
    """Tell of every voice that fits, the known ones at once, then those the network adds; their number.

    Raises UsageError for a tag that does not exist.
    """
    wanted = [canonical_tag(tag) for tag in tags]
    told: set[str] = set()
    gate = trio.Lock()

    async def look(source: str) -> None:
        async with gate:
            for release in await disk(parts, lambda: parts.catalog.search(wanted, text, limit)):
                if release.id in told or len(told) >= limit:
                    continue
                told.add(release.id)
                found = await disk(parts, partial(summary, parts, release, source=source))
                await tell({"event": "voice", **found})

    async def arrived(release: Release) -> None:
        await look("network")

    await look("local")
    if seconds > 0:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_look_up_within, parts, seconds, tell)
            answered = await parts.network.find(wanted, arrived, seconds)
        if not answered and not told and not parts.network.connected_count():
            await tell({"event": "warning", "message": "no peer is connected: only this node was searched"})
    return len(told)


async def _look_up_within(parts: Parts, seconds: float, tell: Tell) -> None:
    """Whether a followed author has a new key is asked beside a search, and ends with its time."""
    with trio.move_on_after(seconds):
        try:
            await look_up_followed(parts, tell, always=False)
        except* P2PVoiceError as errors:
            # What a search is for is found without it.
            log.info("no look-up of followed authors: %s", errors.exceptions[0])


async def resolve(parts: Parts, ref: str, *, prefer_installed: bool = False) -> Release:
    """The release a reference names, asking the network when it is a whole name that is not known here.

    Raises NotFoundError, RevokedError, or UsageError when the reference is ambiguous.
    """
    try:
        return await _known(parts, ref, prefer_installed=prefer_installed)
    except NotFoundError:
        pass
    if _is(parse_release_id, ref):
        return await parts.network.find_release(ref)
    author, _, slug = ref.rpartition("/")
    if author and _is(parse_author_id, author) and _is(check_slug, slug):
        author = await disk(parts, lambda: parts.successors.current(author))
        head = await parts.network.newest_head(author, slug, None)
        known: Release | None = await disk(parts, lambda: parts.catalog.release(head.release))
        if known is not None:
            return known
        try:
            return await parts.network.find_release(head.release)
        except (NotFoundError, NetworkError):
            await parts.recall.seek(head.release, author, slug)
            raise
    revoked = await disk(parts, lambda: parts.catalog.tombstones.named(ref))
    if revoked is not None:
        raise revoked[0].error()
    raise NotFoundError(f"no voice by the name {ref!r} is known here", hint="p2pvoice find --tag …")


async def _known(parts: Parts, ref: str, *, prefer_installed: bool) -> Release:
    """The release here that a reference names. RevokedError when it was here and was revoked."""
    stones = parts.catalog.tombstones

    def look() -> Release:
        revoked = stones.named(ref)
        try:
            found = parts.catalog.resolve(ref, prefer_installed=prefer_installed)
        except NotFoundError:
            # One release of a voice says nothing of the next: its name may mean a newer one in the network.
            if revoked is not None and (revoked[1] or revoked[0].revocation.release is None):
                raise revoked[0].error() from None
            raise
        # A bare name that stood for a voice which was revoked does not become another author's voice.
        if revoked is not None and ref == found.manifest.slug:
            said = revoked[0].revocation
            author, now = author_id(said.author), author_id(found.manifest.author)
            # Who gave a key up and called its releases back is the same author under the next key.
            same = said.signer == said.author and parts.successors.current(author) == now
            if author != now and not same:
                raise revoked[0].error()
        return found

    release: Release = await disk(parts, look)
    return release


async def resolve_installed(parts: Parts, ref: str) -> Release:
    """The installed release a reference names, to speak with or learn from.

    Raises NotFoundError when the voice is not usable here yet, RevokedError when it was revoked, ConsentError
    when its consent has expired, IntegrityError when one of its files was damaged and set aside.
    """
    try:
        release = await _known(parts, ref, prefer_installed=True)
    except NotFoundError:
        revoked = await disk(parts, lambda: parts.catalog.tombstones.named(ref))
        if revoked is not None:
            raise revoked[0].error() from None
        raise
    if not await disk(parts, lambda: parts.catalog.is_installed(release.id)):
        raise NotFoundError(f"{release.manifest.name} is not installed here", hint=f"p2pvoice fetch {ref}")
    require_current(release.manifest, time.time())
    if not await disk(parts, lambda: all(parts.store.has(file.digest) for file in release.manifest.files)):
        raise IntegrityError(
            f"a file of {release.manifest.name} is damaged and was set aside", hint=f"p2pvoice verify {ref}"
        )
    return release


async def show(parts: Parts, ref: str) -> dict[str, Any]:
    """Everything that can be said about a voice; of one that was revoked, the tombstone's facts."""
    try:
        release = await resolve(parts, ref)
    except RevokedError as error:
        revoked = await disk(parts, lambda: parts.catalog.tombstones.named(ref))
        if revoked is None:
            raise
        facts: dict[str, Any] = revoked[0].facts()
        return facts | {"release": revoked[1] or facts["release"], "revoked": error.to_dict() | facts}
    manifest = release.manifest
    found: dict[str, Any] = await disk(parts, lambda: summary(parts, release))
    return found | {
        "revoked": None,
        "bundle": manifest.bundle_id,
        "engine": {
            "family": manifest.engine.family,
            "version": manifest.engine.version,
            "sample_rate": manifest.engine.sample_rate,
            "bases": dict(manifest.engine.bases),
        },
        "consent": found["consent"] | _consent_words(manifest.consent),
        "parents": [{"release": parent.release, "kind": parent.kind} for parent in manifest.parents],
        "training": manifest.training.facts() if manifest.training is not None else None,
        "measured": [one.facts() for one in manifest.measured],
        "files": [
            {"path": file.path, "size": file.size, "chunks": len(file.chunks), "digest": file.digest.hex()}
            for file in manifest.files
        ],
    }


def _consent_words(consent: ConsentDeclaration) -> dict[str, Any]:
    """What else is said of the consent, by the author and in the person's own statement."""
    signed = verify_statement(consent.signed) if consent.signed is not None else None
    return {
        "ai_voice_permission": consent.ai_voice_permission,
        "statement": consent.statement,
        "data_sources": list(consent.data_sources),
        "signed_statement": signed.facts() if signed is not None else None,
    }


async def preview(parts: Parts, ref: str) -> tuple[Release, bytes]:
    """The preview clip's bytes; only this file is fetched when it is not here."""
    release = await resolve(parts, ref)
    require_current(release.manifest, time.time())
    file = next((file for file in release.manifest.files if file.path == PREVIEW), None)
    if file is None:
        raise NotFoundError(f"{release.manifest.name} has no preview")
    with parts.store.holding([file.digest]):
        if not await disk(parts, lambda: parts.store.has(file.digest)):
            await parts.recall.inquire(release)
            landing = Landing(parts.store, parts.disk, _silent)
            try:
                await parts.network.fetch(release.id, [file], landing)
            finally:
                landing.close()
        return release, await disk(parts, lambda: parts.store.path(file.digest).read_bytes())


async def fetch(parts: Parts, ref: str, *, seed: bool, tell: Tell) -> dict[str, Any]:
    """Fetch a release, admit it, make it usable, and announce that we have it (unless ``seed`` is false).

    Whatever stops it, the chunks that came are kept and the next fetch goes on from there.
    """
    release = await resolve(parts, ref)
    return await fetch_release(parts, release, seed=seed, tell=tell)


async def fetch_release(parts: Parts, release: Release, *, seed: bool, tell: Tell) -> dict[str, Any]:
    """As :func:`fetch`, of a release that is known.

    RevokedError when it was revoked, or is meanwhile; ConsentError when its consent has expired.
    """
    require_current(release.manifest, time.time())
    lock = parts.fetching.setdefault(release.id, trio.Lock())
    async with lock:
        await tell({"event": "progress", "step": "asking whether it was revoked"})
        await parts.recall.inquire(release)
        with parts.recall.fetching(release):
            return await _fetch_and_admit(parts, release, seed=seed, tell=tell)


async def _fetch_and_admit(parts: Parts, release: Release, *, seed: bool, tell: Tell) -> dict[str, Any]:
    started = trio.current_time()
    files = sorted(release.manifest.files, key=_small_first)
    report = None
    with parts.store.holding(file.digest for file in files):
        if not await disk(parts, lambda: all(_is_here(parts, file) for file in files)):
            # What comes of it outlives a crash, until the fetch is taken up again or given up.
            await disk(parts, lambda: parts.store.index.begin_fetch(release.id, int(time.time())))
            report = await _fetch_files(parts, release, files, tell)
        transferred = trio.current_time()
        await tell({"event": "progress", "step": "checking"})
        previous = await disk(
            parts,
            lambda: parts.catalog.installed_release(
                author_id(release.manifest.author), release.manifest.slug
            ),
        )
        await admit(parts, release)
        await disk(parts, lambda: parts.catalog.install(release, seed=seed))
        await disk(parts, lambda: parts.store.index.end_fetch(release.id))
    if previous is not None and previous.release != release.id:
        await _withdraw(parts, previous.release)
    if seed:
        parts.network.announce(release)
    else:
        parts.network.withdraw(release)
    total = sum(file.size for file in files)
    return {
        "release": release.id,
        "bytes_total": total,
        "bytes_fetched": report.received if report else 0,
        "bytes_reused": report.reused if report else total,
        "transfer_seconds": round(transferred - started, 3),
        "seconds": round(trio.current_time() - started, 3),
        "peers": report.peers if report else {},
        "dropped": report.dropped if report else {},
        "seeding": seed,
        "warnings": await disk(parts, lambda: parts.names.warnings(release)),
    }


async def fetch_missing(
    parts: Parts, release: Release, files: list[FileEntry], tell: Tell
) -> FetchReport:
    """Bring some files of an installed release back, as a repair does. Raises as a fetch does."""
    async with parts.fetching.setdefault(release.id, trio.Lock()):
        with parts.store.holding(file.digest for file in files):
            return await _fetch_files(parts, release, files, tell)


async def update(parts: Parts, ref: str, tell: Tell) -> dict[str, Any]:
    """Bring an installed voice to its newest release."""
    release = await resolve(parts, ref, prefer_installed=True)
    manifest = release.manifest
    author = author_id(manifest.author)
    held = await disk(parts, lambda: parts.catalog.installed_release(author, manifest.slug))
    if held is None:
        raise NotFoundError(f"{manifest.name} is not installed here", hint=f"p2pvoice fetch {ref}")
    await tell({"event": "progress", "step": "looking for a newer release"})
    await parts.recall.inquire(release)
    now = await look_up(parts, author, held.release, tell)
    try:
        head = await parts.network.newest_head(now, manifest.slug, held.release)
    except NotFoundError:
        if now == author:
            raise
        # Nothing that the old key signs counts any more, so the voice stays as it is here.
        message = f"{manifest.slug}: its author has a new key, {now}, and has not published it there yet"
        await tell({"event": "warning", "message": message})
        return {"release": held.release, "updated": False, "sequence": None, "moved_to": now}
    if head.release == held.release:
        return {"release": held.release, "updated": False, "sequence": head.sequence}
    newest: Release | None = await disk(parts, lambda: parts.catalog.release(head.release))
    if newest is None:
        newest = await parts.network.find_release(head.release)
    if author_id(newest.manifest.author) != now or newest.manifest.slug != manifest.slug:
        raise UsageError(f"the head of {manifest.slug} names a release of another voice")
    result = await fetch_release(parts, newest, seed=held.seed, tell=tell)
    if now != author:
        # The same voice stands under its author's new key now.
        await disk(parts, lambda: parts.catalog.uninstall(held.release))
        await _withdraw(parts, held.release)
        result["moved_to"] = now
    return result | {"updated": True, "previous": held.release, "sequence": head.sequence}


async def update_all(parts: Parts, tell: Tell) -> dict[str, Any]:
    """Bring every installed voice to its newest release; one that fails does not stop the others."""
    updated, failed = [], []
    await look_up_followed(parts, tell, always=True)
    for held in await disk(parts, parts.catalog.installed):
        if held.author == parts.author:
            continue
        try:
            result = await update(parts, held.release, tell)
        except P2PVoiceError as error:
            failed.append({"release": held.release, "slug": held.slug, "error": error.to_dict()})
            await tell({"event": "warning", "message": f"{held.slug}: {error.message}"})
            continue
        updated.append({"slug": held.slug, **result})
    return {"voices": updated, "failed": failed, "updated": sum(bool(one["updated"]) for one in updated)}


async def remove(parts: Parts, ref: str) -> dict[str, Any]:
    """Take a voice out of use, stop serving it, and free what no other voice needs.

    A voice whose fetch was begun and did not end is given up.
    """
    try:
        release = await resolve(parts, ref, prefer_installed=True)
    except RevokedError:
        return await _remove_revoked(parts, ref)
    except NotFoundError as error:
        if any(ref in (one.slug, one.name) for one in await disk(parts, parts.trainings.all)):
            error.hint = f"there is a training of that name: p2pvoice trainings rm {ref}"
        raise
    installed = await disk(parts, lambda: parts.catalog.uninstall(release.id))
    begun = await disk(parts, lambda: parts.store.index.end_fetch(release.id))
    if not installed and not begun:
        raise NotFoundError(f"{release.manifest.name} is not installed here")
    parts.network.withdraw(release, with_head=author_id(release.manifest.author) == parts.author)
    return {"release": release.id, "slug": release.manifest.slug, "freed": await _collect(parts, release.id)}


async def revoke(
    parts: Parts, ref: str, *, whole: bool, reason: str, passphrase: str, tell: Tell
) -> dict[str, Any]:
    """Call a release back, or its whole voice, as its author or as the person whose voice it is.

    ``passphrase`` opens the former key that signs when the release is of one and it lies sealed.
    """

    async def step(facts: Mapping[str, Any]) -> None:
        await tell({"event": "progress", **facts})

    try:
        release = await resolve(parts, ref, prefer_installed=True)
    except RevokedError:
        # One release was revoked before, and now the whole voice is.
        found = await disk(parts, lambda: parts.catalog.tombstones.named(ref))
        kept = await disk(parts, lambda: parts.catalog.tombstones.releases(found[0])) if found else []
        if not kept:
            raise
        release = next((one for one in kept if one.id == found[1]), kept[0])
    former = await disk(parts, lambda: former_key(parts, release, passphrase))
    return await parts.recall.revoke(release, whole=whole, reason=reason, step=step, former=former)


async def _remove_revoked(parts: Parts, ref: str) -> dict[str, Any]:
    """Free the files of a voice that was revoked; its tombstone stays."""

    def work() -> dict[str, Any] | None:
        found = parts.catalog.tombstones.named(ref)
        if found is None:
            return None
        stone, identifier = found
        wanted, freed = parts.catalog.wanted_files(), 0
        for release in parts.catalog.tombstones.releases(stone):
            digests = [file.digest for file in release.manifest.files]
            freed += parts.store.remove(digest for digest in digests if digest not in wanted)
            identifier = identifier or release.id
        return {"release": identifier, "slug": stone.revocation.slug, "freed": freed}

    answer: dict[str, Any] | None = await disk(parts, work)
    if answer is None:
        raise NotFoundError(f"nothing of {ref!r} is here")
    return answer


async def _withdraw(parts: Parts, identifier: str) -> None:
    """An older release of a voice makes room for a newer one."""
    release: Release | None = await disk(parts, lambda: parts.catalog.release(identifier))
    if release is not None:
        parts.network.withdraw(release)
    await _collect(parts, identifier)


async def _collect(parts: Parts, identifier: str) -> int:
    def work() -> int:
        shutil.rmtree(voice_folder(parts, identifier), ignore_errors=True)
        wanted = needed_files(parts.store, parts.catalog)
        release = parts.catalog.release(identifier)
        files = [file.digest for file in release.manifest.files] if release is not None else []
        return parts.store.remove(digest for digest in files if digest not in wanted)

    freed: int = await disk(parts, work)
    return freed


def _small_first(file: FileEntry) -> tuple[bool, int]:
    return file.path != PREVIEW, file.size


def _is_here(parts: Parts, file: FileEntry) -> bool:
    return parts.store.has(file.digest) and parts.store.ensure_indexed(file.digest, file.chunks)


def _is(check: Callable[[str], object], text: str) -> bool:
    try:
        check(text)
    except P2PVoiceError:
        return False
    return True


async def _silent(file: FileEntry, have: int) -> None:
    """Nobody wants to hear of single chunks."""


class _Teller:
    """Turns a fetch's progress, reported from the middle of its work, into events of a bounded number."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._last = -PROGRESS_STEP
        self._latest: Progress | None = None
        self._news = trio.Event()

    def note(self, progress: Progress) -> None:
        """Remember how far the fetch is."""
        self._latest = progress
        if progress.have - self._last >= PROGRESS_STEP or progress.have == progress.total:
            self._last = progress.have
            self._news.set()

    async def run(self) -> None:
        """Tell of it, until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await self.say()

    async def say(self) -> None:
        """Tell of what was not told yet."""
        latest, self._latest = self._latest, None
        if latest is not None:
            await self._tell({"event": "progress", **asdict(latest)})


async def _fetch_files(
    parts: Parts, release: Release, files: list[FileEntry], tell: Tell
) -> FetchReport:
    teller = _Teller(tell)
    landing = Landing(parts.store, parts.disk, _silent)
    report: FetchReport | None = None
    failure: P2PVoiceError | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(teller.run)
            # An error that left through the nursery would arrive wrapped in a group.
            try:
                report = await parts.network.fetch(release.id, files, landing, teller.note)
            except P2PVoiceError as error:
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        landing.close()
    if report is None:
        raise failure or NoPeersError()
    await teller.say()
    return report
