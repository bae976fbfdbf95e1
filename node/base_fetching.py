"""Getting a base from peers: which release is meant, whether it may be believed in, and bringing it here.

An id names what somebody has chosen. A kind names nothing: then a base is taken only when there is a reason
to believe in it, and else all that was found are told of with what to type. Not for how files travel and are
checked (fetching.py, admit.py). Follows specs/bases.md, "Bases as releases".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from p2pvoice.node import base_needs, garbage
from p2pvoice.node.base_licences import require_theirs
from p2pvoice.node.base_trust import pinned, trust
from p2pvoice.node.bases import installed_bases
from p2pvoice.node.fetching import bring
from p2pvoice.node.parts import Parts
from p2pvoice.node.removing import withdraw
from p2pvoice.node.tidy import needed_files
from p2pvoice.node.voices import Tell, disk
from p2pvoice.protocol.base import (
    BASE_KINDS,
    VOCABULARY,
    base_ids,
    base_paths,
    bundle_tag,
    content_tag,
    kind_tag,
)
from p2pvoice.protocol.errors import (
    IntegrityError,
    NetworkError,
    NotFoundError,
    P2PVoiceError,
    PolicyError,
    RefusedError,
    UsageError,
)
from p2pvoice.protocol.ids import author_id, parse_raw_cid, parse_release_id
from p2pvoice.protocol.manifest import Release

#: Releases that are looked at for one request, at most.
OFFERS_LIMIT = 64

#: Seconds the network is asked for a base.
FIND_SECONDS = 15.0


def offer_facts(parts: Parts, release: Release, why: str) -> dict[str, Any]:
    """A base that somebody offers, as the RPC tells of it; blocking."""
    manifest, ids = release.manifest, base_ids(release.manifest)
    author = author_id(manifest.author)
    return {
        "release": release.id,
        "bundle": ids.bundle,
        "id": ids.content,
        "kind": manifest.engine.version,
        "name": manifest.name,
        "author": author,
        "license": manifest.license,
        "size": manifest.size,
        "installed": parts.catalog.is_installed(release.id),
        "trusted": why,
        **parts.names.whose(author),
    }


async def offers(parts: Parts, kind: str, seconds: float, tell: Tell) -> int:
    """Tell of every base of a kind, or of all kinds, that is known here or that peers offer; their number."""
    if kind and kind not in BASE_KINDS:
        raise UsageError(f"{kind[:20]!r} is no kind of base", hint=f"kinds: {' '.join(BASE_KINDS)}")
    found: dict[str, Release] = {}
    for one in (kind,) if kind else BASE_KINDS:
        releases = await _look(parts, kind_tag(one), {"kind": one}, seconds)
        found.update((release.id, release) for release in releases)

    def rows() -> list[dict[str, Any]]:
        reasons = trust(parts)
        return [offer_facts(parts, release, reasons.why(release)) for release in found.values()]

    for row in await disk(parts, rows):
        await tell({"event": "offer", **row})
    return len(found)


async def fetch(parts: Parts, ref: str, *, seed: bool, tell: Tell) -> dict[str, Any]:
    """Fetch a base by bundle id, content id, release id or kind, admit it, install it, and offer it on.

    Raises NotFoundError when nobody has it, PolicyError for a licence that does not let it be shared or for
    one of several that nobody vouches for, and what fetching and admission raise. What came stays.
    """
    failed: P2PVoiceError | None = None
    for release in await find(parts, ref, tell):
        manifest = release.manifest
        step = f"{manifest.name} by {author_id(manifest.author)}, licence {manifest.license}"
        await tell({"event": "progress", "step": step})
        try:
            require_theirs(manifest.license, base_ids(manifest).content)
            result = await bring(parts, release, seed=seed, tell=tell)
        except (NetworkError, NotFoundError, RefusedError, IntegrityError) as error:
            # Somebody else may have published the same files, be there, say a licence, or tell the truth.
            failed = failed or error
            if isinstance(error, RefusedError | IntegrityError):
                await _give_up(parts, release)
            continue
        await _replace(parts, release)
        # A voice that was loaded without it is loaded again.
        await parts.engine.unload()
        here = await disk(parts, lambda: installed_bases(parts.home.bases))
        facts: dict[str, Any] = next((row for row in here if row.get("release") == release.id), {})
        return {**facts, "author": author_id(manifest.author), **result}
    raise failed or _nobody(ref)


async def with_needs(
    parts: Parts, fetched: dict[str, Any], *, bring: bool, seed: bool, tell: Tell
) -> dict[str, Any]:
    """What a fetch of a voice answered, with what speaking needs and lacks; with ``bring`` that is fetched.

    A base that cannot be had is told of, and the voice is here all the same.
    """

    def missing() -> list[dict[str, Any]]:
        release = parts.catalog.release(fetched["release"])
        return base_needs.missing(parts, release.manifest) if release is not None else []

    bases = []
    for one in await disk(parts, missing) if bring else ():
        try:
            bases.append(await fetch(parts, one["fetch"], seed=seed, tell=tell))
        except P2PVoiceError as error:
            await tell({"event": "warning", "message": f"its {one['kind']} did not come: {error.message}"})
    return {**fetched, "bases": bases, "needs": await disk(parts, missing)}


async def find(parts: Parts, ref: str, tell: Tell) -> list[Release]:
    """The releases that a reference means, the best first; all of them have the same files.

    Raises NotFoundError, PolicyError as :func:`fetch` does, and UsageError for what is no reference.
    """
    if ref not in BASE_KINDS and not _is(parse_raw_cid, ref) and not _is(parse_release_id, ref):
        raise UsageError(
            f"{ref[:80]!r} is neither a kind of base nor an id",
            hint=f"kinds: {' '.join(BASE_KINDS)}; ids: p2pvoice base list --network",
        )
    await tell({"event": "progress", "step": "asking who has it"})
    if ref in BASE_KINDS:
        bundles = await disk(parts, lambda: pinned(parts, ref))
        if len(bundles) == 1:
            # Asked for by itself: among all that are offered it might be one too many.
            (bundle,) = bundles
            found = await _look(parts, bundle_tag(bundle), {"bundle": bundle}, FIND_SECONDS)
            if found:
                return await _ordered(parts, found)
        return await _chosen(parts, ref, await _look(parts, kind_tag(ref), {"kind": ref}, FIND_SECONDS), tell)
    if _is(parse_raw_cid, ref):
        found = await _look(parts, content_tag(ref), {"content": ref}, FIND_SECONDS)
        whole = all(VOCABULARY not in base_paths(one.manifest.engine.version) for one in found)
        if found and whole:
            return await _ordered(parts, found)
        return await _chosen(parts, ref, found, tell)
    known: Release | None = await disk(parts, lambda: parts.catalog.release(ref))
    if known is None:
        found = await _look(parts, bundle_tag(ref), {"bundle": ref}, FIND_SECONDS)
        if found:
            return await _ordered(parts, found)
        try:
            known = await parts.network.find_release(ref)
        except NotFoundError:
            raise _nobody(ref) from None
    if not known.manifest.is_base:
        raise UsageError(f"{known.manifest.name} is a voice and no base", hint=f"p2pvoice fetch {known.id}")
    return [known]


async def _look(parts: Parts, tag: str, ids: Mapping[str, str], seconds: float) -> list[Release]:
    """The bases that are known here under some ids, and those that peers offer under a tag."""

    async def ignore(release: Release) -> None:
        """What arrives is remembered in the catalog, which is read below."""

    await parts.network.find([tag], ignore, seconds)
    return list(await disk(parts, lambda: parts.catalog.bases(**ids, limit=OFFERS_LIMIT)))


async def _chosen(parts: Parts, ref: str, found: Sequence[Release], tell: Tell) -> list[Release]:
    """The releases of the one base that there is reason to believe in. PolicyError when there is not one."""
    if not found:
        raise _nobody(ref)

    def judge() -> tuple[list[Release], list[dict[str, Any]]]:
        reasons = trust(parts)
        good = [release for release in found if reasons.why(release)]
        return good, [offer_facts(parts, release, reasons.why(release)) for release in found]

    good, rows = await disk(parts, judge)
    bundles = {release.manifest.bundle_id for release in good}
    if len(bundles) == 1:
        return await _ordered(parts, good)
    for row in rows:
        await tell({"event": "offer", **row})
    first = good[0] if good else found[0]
    what = f"a {ref}" if ref in BASE_KINDS else "these weights"
    raise PolicyError(
        f"peers offer {what}, and there is no reason to believe in {'one of them alone' if good else 'any'}",
        hint=f"choose one yourself, such as p2pvoice base fetch {first.manifest.bundle_id}",
    )


async def _ordered(parts: Parts, found: Sequence[Release]) -> list[Release]:
    """Installed ones first, then those of authors who are followed, then those that say they are oldest."""

    def work() -> list[Release]:
        known = trust(parts).authors

        def rank(one: Release) -> tuple[bool, bool, int, str]:
            stranger = author_id(one.manifest.author) not in known
            return not parts.catalog.is_installed(one.id), stranger, one.manifest.created, one.id

        return sorted(found, key=rank)

    ordered: list[Release] = await disk(parts, work)
    return ordered


async def _give_up(parts: Parts, release: Release) -> None:
    """Forget the files of a release that was refused: under its chunk list they would stand in the way."""

    def work() -> None:
        parts.store.index.end_fetch(release.id)
        needed = needed_files(parts.store, parts.catalog)
        digests = [file.digest for file in release.manifest.files]
        garbage.remove(parts.store, [digest for digest in digests if digest not in needed])

    await disk(parts, work)


async def _replace(parts: Parts, release: Release) -> None:
    """Other releases with the same weights go: an installed base is of one release."""
    content = base_ids(release.manifest).content

    def others() -> list[str]:
        same = parts.catalog.bases(content=content, limit=OFFERS_LIMIT)
        return [one.id for one in same if one.id != release.id and parts.catalog.uninstall(one.id)]

    for identifier in await disk(parts, others):
        await withdraw(parts, identifier)


def _nobody(ref: str) -> NotFoundError:
    return NotFoundError(
        f"nobody in the network offers the base {ref[:80]}",
        hint="p2pvoice base add FOLDER, where you have it",
    )


def _is(check: Callable[[str], object], text: str) -> bool:
    try:
        check(text)
    except UsageError:
        return False
    return True
