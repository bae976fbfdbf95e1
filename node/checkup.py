"""The daemon's half of `p2pvoice doctor`: what only a running node can tell of itself.

Each check yields a row that says what was found and what to do about it. Nothing is repaired here, nothing
is sent to anybody, and a check that fails in a way nobody foresaw is a row like another. Not for what can be
told without a daemon (cli/checkup.py), nor for how others reach us (checkup_reach.py). Follows
specs/doctor.md.
"""

import logging
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import trio

from p2pvoice.node.admit import voice_folder
from p2pvoice.node.checkup_reach import addresses, lan, reachable, relay
from p2pvoice.node.parts import Parts
from p2pvoice.node.sandbox import landlock
from p2pvoice.node.sandbox.kernel import architecture
from p2pvoice.node.sandbox.room import gpu_devices
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.findings import Finding

log = logging.getLogger("p2pvoice.checkup")

SAMPLE_FILES = 4
"""Files of the store that are read again."""

SAMPLE_BYTES = 512 << 20
"""Bytes of them, all together."""

QUOTA_NEAR = 0.9
"""Part of the quota from which on a row warns."""

FUTURE_SECONDS = 3600.0
"""How far ahead of our clock a release may have been made before one of the two clocks is doubted."""

SENTENCES = {"yue": "你好。", "zh": "你好。", "ja": "こんにちは。", "ko": "안녕하세요.", "en": "Hello there."}
"""What a voice says when it is tried; English stands in for other languages."""


async def checkup(parts: Parts) -> AsyncIterator[Finding]:
    """Every check of the daemon's half, in turn, as it is done."""
    checks: Sequence[tuple[str, Callable[[Parts], Awaitable[Finding]]]] = (
        ("addresses", addresses),
        ("reachable", reachable),
        ("relay", relay),
        ("lan", lan),
        ("peers", peers),
        ("releases", releases),
        ("api", api),
        ("quota", quota),
        ("store", store),
        ("kernel", kernel),
        ("sandbox", sandbox),
        ("torch", torch),
        ("speech", speech),
    )
    for name, check in checks:
        try:
            found = await check(parts)
        except P2PVoiceError as error:
            found = Finding(name, "fail", error.message, error.hint or "see the daemon's log")
        except Exception as error:
            log.error("a check failed", exc_info=error)
            found = Finding(
                name, "fail", f"the check broke off: {error}", "see the daemon's log, and report it"
            )
        yield found


async def peers(parts: Parts) -> Finding:
    """Whether there is anybody."""
    count = parts.network.connected_count()
    if count:
        return Finding("peers", "ok", f"{count} connected")
    if parts.config.bootstrap:
        return Finding("peers", "warn", "none of the bootstrap peers is connected", "p2pvoice peers")
    return Finding("peers", "warn", "no peer is connected", "p2pvoice connect MULTIADDR, or set bootstrap")


async def api(parts: Parts) -> Finding:
    """Whether the compatible APIs are open, as the settings or the user wanted."""
    if parts.api.problem:
        return Finding("api", "fail", parts.api.problem, "p2pvoice api on --port 0, or set port under [api]")
    found = parts.api.facts()
    if not found["on"]:
        return Finding("api", "ok", "closed: no other program speaks through this node")
    pages = f", also for {', '.join(found['origins'])}" if found["origins"] else ""
    return Finding("api", "ok", f"open at {found['url']} for whoever has the token{pages}")


async def releases(parts: Parts) -> Finding:
    """Whether known releases, made by other clocks, lie in our future: the only ones to compare with."""
    ahead = await trio.to_thread.run_sync(parts.catalog.newest, limiter=parts.disk) - time.time()
    if ahead > FUTURE_SECONDS:
        return Finding(
            "releases",
            "warn",
            f"a known release was made {ahead / 3600:.1f} hours from now: our clock or its author's is wrong",
            "compare `date -u` with another clock",
        )
    return Finding("releases", "ok", "no known release was made in the future")


async def quota(parts: Parts) -> Finding:
    """What the store takes of what it may."""
    used = await trio.to_thread.run_sync(parts.store.layout.usage, limiter=parts.disk)
    limit = parts.config.quota_bytes
    if not limit:
        return Finding("quota", "ok", f"the store takes {used.bytes / 1e6:.1f} MB; no quota is set")
    text = f"the store takes {used.bytes / 1e6:.1f} MB of {limit / 1e6:.1f} MB"
    if used.bytes >= QUOTA_NEAR * limit:
        return Finding("quota", "warn", text, "p2pvoice list, then p2pvoice rm VOICE; or raise quota_bytes")
    return Finding("quota", "ok", text)


async def store(parts: Parts) -> Finding:
    """Read a few files of the store again and compare them with their hashes."""

    def verify() -> Finding:
        wanted = sorted(parts.catalog.wanted_files())
        count = room = 0
        for digest in random.sample(wanted, len(wanted)):
            chunks = parts.store.chunks(digest) or ()
            size = sum(chunk.size for chunk in chunks)
            if count == SAMPLE_FILES or (count and room + size > SAMPLE_BYTES):
                continue
            if not chunks or parts.store.inspection.check(digest, chunks, range(len(chunks))):
                message = f"the file {digest.hex()[:16]}… is damaged"
                return Finding("store", "fail", message, "p2pvoice verify")
            count, room = count + 1, room + size
        return Finding("store", "ok", f"{count} of {len(wanted)} files were read again and have their hashes")

    return await trio.to_thread.run_sync(verify, limiter=parts.disk)


async def kernel(parts: Parts) -> Finding:
    """What this system could give a sandbox."""
    version = landlock.version()
    if not architecture():
        return Finding(
            "kernel", "warn", "no sandbox is known for this system", "use Linux on x86_64 or aarch64"
        )
    if not version:
        return Finding(
            "kernel", "warn", "no Landlock", "use Linux 5.13 or newer with landlock in its lsm= list"
        )
    return Finding("kernel", "ok", f"Landlock {version}, seccomp on {architecture()}")


async def sandbox(parts: Parts) -> Finding:
    """What holds the speaking worker, by its own word; it is started for that."""
    await parts.engine.call("ping", {})
    said = parts.engine.sandbox or {"sandbox": "none", "missing": []}
    if said["missing"]:
        text = f"{said['sandbox']}: {said['missing'][0]}"
        todo = 'sandbox = "require" under [worker] in config.toml speaks with a whole sandbox or not at all'
        chosen = parts.config.worker.sandbox == "off"
        bare = said["sandbox"] == "none" and not chosen
        return Finding("sandbox", "fail" if bare else "warn", text, todo)
    return Finding("sandbox", "ok", f"{said['sandbox']} holds the worker")


async def torch(parts: Parts) -> Finding:
    """Whether torch computes, where, and how fast."""
    found = await parts.engine.call("selftest", {})
    text = f"torch {found['torch']} on {found['device']}, {found['threads']} threads; "
    text += f"a product of matrices in {found['milliseconds']:.1f} ms"
    if not found["exact"]:
        return Finding("torch", "fail", text + " is wrong", "do not speak on this device; check its memory")
    if gpu_devices() and not found["gpu"]:
        todo = "install the driver that this torch was built for, or go on with the processor"
        return Finding("torch", "warn", text + "; there is a GPU that torch cannot use", todo)
    return Finding("torch", "ok", text + ("" if found["gpu"] else "; no GPU is used"))


async def speech(parts: Parts) -> Finding:
    """Whether a voice speaks: an installed one, else a draft, else the packaged one."""
    async with parts.drafting:
        key, folder, lang, name = await _some_voice(parts)
        arguments = {
            "key": key,
            "folder": str(folder),
            "bases": parts.bases(),
            "text": SENTENCES.get(lang, SENTENCES["en"]),
            "lang": lang if lang in SENTENCES else "en",
            "format": "flac",
            "options": {"seed": 1},
        }
        began = trio.current_time()
        made = await parts.engine.call("speak", arguments)
        took = trio.current_time() - began
        if key == PACKAGED:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = made["samples"] / made["sample_rate"]
    if not seconds:
        return Finding("speech", "fail", f"{name} says nothing", "try another voice: p2pvoice list")
    return Finding("speech", "ok", f"{name} spoke {seconds:.1f} s within {took:.1f} s, loading included")


PACKAGED = "packaged"


async def _some_voice(parts: Parts) -> tuple[str, Path, str, str]:
    """A voice to try: its key, folder, language and name."""
    for held in await trio.to_thread.run_sync(parts.catalog.installed, limiter=parts.disk):
        release = parts.catalog.release(held.release)
        if release is not None:
            manifest = release.manifest
            return release.id, voice_folder(parts, release.id), manifest.languages[0], manifest.name
    for draft in await trio.to_thread.run_sync(parts.drafts.all, limiter=parts.disk):
        return f"draft {draft.slug} {draft.created}", draft.bundle, draft.facts["languages"][0], draft.name
    made = parts.engine.scratch / "checkup"
    await trio.to_thread.run_sync(lambda: shutil.rmtree(made, ignore_errors=True), limiter=parts.disk)
    facts = await parts.engine.call("import_bundled", {"out": str(made), "bases": parts.bases()})
    return PACKAGED, made, facts["languages"][0], "the packaged voice"
