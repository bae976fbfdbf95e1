"""Finding and showing voices: what a search tells, what a reference names, what is known of one voice.

Each function here is one user's verb, or what several verbs begin with, above the catalog, the store and the
network and below the RPC. Not for bringing a voice here (fetching.py, updating.py) nor for taking one out of
use (removing.py); how voices are made is publish.py's. Follows specs/catalog.md and specs/rpc.md.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from p2pvoice.node import base_needs, inheriting
from p2pvoice.node.moves import look_up_followed
from p2pvoice.node.parts import Parts
from p2pvoice.node.searching import Found
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.consent_state import consent_facts, require_current
from p2pvoice.protocol.consent_statement import verify_statement
from p2pvoice.protocol.errors import (
    IntegrityError,
    NetworkError,
    NotFoundError,
    P2PVoiceError,
    RevokedError,
    UsageError,
)
from p2pvoice.protocol.ids import author_id, check_slug, parse_author_id, parse_release_id
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.tags import canonical_tag

log = logging.getLogger("p2pvoice.voices")

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
        **_figures(parts, author, release),
        "warnings": parts.names.warnings(release),
    }


def _figures(parts: Parts, author: str, release: Release) -> dict[str, Any]:
    """Stars and what else is said of a voice that is installed here; nothing is kept of others."""
    if not parts.catalog.is_installed(release.id):
        return {}
    return parts.community.views.figures(parts.community.lines.of(author, release.manifest.slug))


@dataclass(frozen=True)
class Sought:
    """What a search came to: how many voices it told of, and the cursor of what stands behind, or ""."""

    count: int
    next: str


async def find(
    parts: Parts, tags: list[str], text: str, limit: int, seconds: float, tell: Tell, cursor: str = ""
) -> Sought:
    """Tell of the voices that fit, the known ones at once, then those the network adds.

    With a cursor it goes on behind a place of the known ones and asks nobody. Nothing is left out between two
    pages; what came from the network while a page was told may be told again on the next one. Raises
    UsageError for a tag that does not exist, and for a cursor that is none or is another search's.
    """
    wanted = [canonical_tag(tag) for tag in tags]
    told: set[str] = set()
    gate = trio.Lock()
    due = False

    async def look(source: str) -> Found:
        nonlocal due
        async with gate:
            # What arrives from here on is not seen by this look and asks for another one.
            due = False
            page: Found = await disk(parts, lambda: parts.catalog.page(wanted, text, limit, cursor))
            for release in page.releases:
                if release.id in told or len(told) >= limit:
                    continue
                told.add(release.id)
                found = await disk(parts, partial(summary, parts, release, source=source))
                await tell({"event": "voice", **found})
            return page

    async def arrived(release: Release) -> None:
        nonlocal due
        # One look serves all that came while another one was going on: each reads the whole facet.
        if not due and len(told) < limit:
            due = True
            await look("network")

    page = await look("local")
    if seconds > 0 and not cursor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_look_up_within, parts, seconds, tell)
            answered = await parts.network.find(wanted, arrived, seconds)
        page = await look("network")
        if not answered and not told and not parts.network.connected_count():
            await tell({"event": "warning", "message": "no peer is connected: only this node was searched"})
    return Sought(len(told), _behind(page, told))


def _behind(page: Found, told: set[str]) -> str:
    """The cursor behind the last voice before which every one was told; "" when that is all there is."""
    place = page.begin
    for release, cursor in zip(page.releases, page.cursors, strict=True):
        if release.id not in told:
            return place
        place = cursor
    return page.next


async def _look_up_within(parts: Parts, seconds: float, tell: Tell) -> None:
    """Whether a followed author has a new key is asked beside a search, and ends with its time."""
    with trio.move_on_after(seconds):
        try:
            await look_up_followed(parts, tell, always=False)
        except* P2PVoiceError as errors:
            # What a search is for is found without it.
            log.info("no look-up of followed authors: %s", errors.exceptions[0])


async def resolve(parts: Parts, ref: str, *, prefer_installed: bool = False) -> Release:
    """The voice's release a reference names, asking the network when it is a whole name not known here.

    Raises NotFoundError, RevokedError, or UsageError when the reference is ambiguous or names a base.
    """
    return require_voice(await resolve_any(parts, ref, prefer_installed=prefer_installed))


def require_voice(release: Release) -> Release:
    """The release itself; UsageError for a base, which neither speaks nor is listened to."""
    if release.manifest.is_base:
        raise UsageError(
            f"{release.manifest.name} is a base and no voice",
            hint=f"p2pvoice base --help, such as p2pvoice base fetch {release.manifest.bundle_id}",
        )
    return release


async def resolve_any(parts: Parts, ref: str, *, prefer_installed: bool = False) -> Release:
    """As :func:`resolve`, of a voice or a base."""
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
            await parts.hearsay.seek(head.release, author, slug)
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
        release = require_voice(await _known(parts, ref, prefer_installed=True))
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
    parts.used[release.id] = time.time()
    return release


async def holders(parts: Parts, ref: str, seconds: float) -> dict[str, Any]:
    """Who else says that they have a release; ``peers`` is None when that was not told in time."""
    release = await resolve(parts, ref)
    here = await disk(parts, lambda: parts.catalog.is_installed(release.id))
    peers: list[str] | None = None
    if parts.network.connected_count():
        with trio.move_on_after(seconds):
            try:
                peers = await parts.network.holders(release.id)
            except NetworkError as error:
                log.info("who holds %s was not told: %s", release.id, error.message)
    return {"release": release.id, "here": here, "peers": peers}


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
    loosened = await disk(parts, lambda: inheriting.warnings(parts, release))
    needed = await disk(parts, lambda: base_needs.needs(parts, manifest))
    return found | {
        "warnings": [*loosened, *found["warnings"]],
        "revoked": None,
        "bundle": manifest.bundle_id,
        "engine": {
            "family": manifest.engine.family,
            "version": manifest.engine.version,
            "sample_rate": manifest.engine.sample_rate,
            "bases": dict(manifest.engine.bases),
            "pins": {
                role: {"bundle": pin.bundle, "content": pin.content}
                for role, pin in manifest.engine.pins.items()
            },
        },
        "needs": needed,
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


def _is(check: Callable[[str], object], text: str) -> bool:
    try:
        check(text)
    except P2PVoiceError:
        return False
    return True
