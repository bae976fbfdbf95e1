"""The command line's half of `doctor`: what can be told of a home and a machine without a daemon.

It reads files and asks the operating system, opens databases read-only, and changes nothing. What only a
running node can tell comes from its RPC. Follows specs/doctor.md.
"""

import ctypes
import importlib.metadata
import os
import re
import shutil
import sqlite3
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from p2pvoice.cli.output import seconds, size
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import DaemonUnavailableError
from p2pvoice.protocol.findings import Finding

FREE_FAIL, FREE_WARN = 256 << 20, 4 << 30
"""Free bytes below which nothing works, and below which a large voice or a training finds no room."""

FUTURE_SECONDS = 300.0
"""How far ahead of the clock a file's time may be."""

CLOCK_UNSYNCHRONISED = 5
"""What adjtimex(2) answers when nobody sets the clock."""

TIMEX_BYTES = 512
"""Room for the structure of adjtimex(2), which has 208 bytes."""

KEY_BYTES = 32


def local(client: Client) -> Iterator[Finding]:
    """Every check that needs no daemon."""
    yield python()
    yield packages()
    yield from home(client)
    yield settings(client)
    yield disk(client)
    yield clock(client)
    yield from databases(client)
    yield daemon(client)


def python() -> Finding:
    """The interpreter and the system."""
    found = os.uname()
    text = f"Python {sys.version.split()[0]} on {found.sysname} {found.release} {found.machine}"
    if sys.platform != "linux":
        return Finding("system", "warn", text, "use Linux: elsewhere there is no sandbox")
    return Finding("system", "ok", text)


def packages() -> Finding:
    """Whether what is installed is what this version was made for."""
    wrong, pinned = [], []
    for line in importlib.metadata.requires("p2pvoice") or []:
        if "extra ==" in line:
            continue
        match = re.match(r"([A-Za-z0-9_.-]+)\s*(?:==\s*([^\s,;]+))?", line)
        assert match is not None
        name, wanted = match.groups()
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        # A build of torch for other hardware has a suffix, such as +cpu.
        if wanted and found.split("+")[0] != wanted:
            wrong.append(f"{name} is {found}, not {wanted}")
        elif wanted:
            pinned.append(f"{name} {found}")
    if wrong:
        return Finding("packages", "fail", "; ".join(wrong), "pip install --force-reinstall p2pvoice")
    return Finding("packages", "ok", ", ".join(pinned))


def home(client: Client) -> Iterator[Finding]:
    """The home's folder and the keys in it: there, ours, and for nobody else to read."""
    root = client.home.root
    if not root.is_dir():
        yield Finding("home", "warn", f"{root} is not there yet", "p2pvoice daemon start makes it")
        return
    yield _private("home", root, 0o700)
    keys = [client.home.keys / name for name in ("author.key", "peer.key")]
    if not any(key.exists() for key in keys):
        yield Finding("keys", "warn", "there are none yet", "p2pvoice daemon start makes them")
        return
    for key in keys:
        if not key.exists():
            yield Finding("keys", "fail", f"{key.name} is missing", "put it back from a backup")
            return
        found = _private("keys", key, 0o600)
        if found.state != "ok":
            yield found
            return
        if key.stat().st_size != KEY_BYTES:
            yield Finding("keys", "fail", f"{key.name} is damaged", "put it back from a backup")
            return
    yield Finding("keys", "ok", "both are there and can be read by you alone")


def _private(check: str, path: Path, mode: int) -> Finding:
    facts = path.stat()
    if facts.st_uid != os.getuid():
        return Finding(check, "fail", f"{path} belongs to another user", f"chown -R {os.getuid()} {path}")
    if facts.st_mode & 0o077:
        told = f"{path} can be reached by other users (mode {facts.st_mode & 0o777:o})"
        # A home that others may enter still has closed folders in it; a key is open or it is not.
        return Finding(check, "fail" if path.is_file() else "warn", told, f"chmod {mode:o} {path}")
    return Finding(check, "ok", str(path))


def settings(client: Client) -> Finding:
    """Whether config.toml can be read at all; its meaning is checked by the daemon that starts with it."""
    try:
        with client.home.config.open("rb") as file:
            found = tomllib.load(file)
    except FileNotFoundError:
        return Finding("settings", "ok", "no config.toml: everything is at its default")
    except (OSError, ValueError) as error:
        return Finding("settings", "fail", f"config.toml: {error}", "specs/home.md lists the settings")
    return Finding("settings", "ok", "config.toml sets " + (", ".join(found) or "nothing"))


def disk(client: Client) -> Finding:
    """Free space where the home is, or will be."""
    place = client.home.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{size(free)} are free"
    if free < FREE_FAIL:
        return Finding("disk", "fail", text, "free some space: p2pvoice list, p2pvoice trainings")
    if free < FREE_WARN:
        return Finding("disk", "warn", text, "enough to speak; a large voice or a training needs more")
    return Finding("disk", "ok", text)


def clock(client: Client) -> Finding:
    """The clock against the home's files, and what the kernel says of it. Nobody is asked."""
    now = time.time()
    files = [client.home.log, client.home.catalog, *_entries(client.home.keys), *_entries(client.home.drafts)]
    ahead = max((path.stat().st_mtime - now for path in files if path.exists()), default=0.0)
    if ahead > FUTURE_SECONDS:
        told = f"the clock is behind: a file of this home was written {seconds(ahead)} from now"
        return Finding("clock", "fail", told, "set the clock: heads and consents expire by it")
    if synchronised() is False:
        told = "no time service sets this machine's clock, as far as the kernel knows"
        return Finding("clock", "warn", told, "turn on NTP (timedatectl set-ntp true)")
    return Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)))


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def synchronised() -> bool | None:
    """Whether the kernel's clock is set by somebody; None where it cannot be told."""
    if sys.platform != "linux":
        return None
    answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return None if answer < 0 else bool(answer != CLOCK_UNSYNCHRONISED)


def databases(client: Client) -> Iterator[Finding]:
    """SQLite's own check of both files, read-only and beside a running daemon."""
    for name, path in (("catalog", client.home.catalog), ("index", client.home.store / "index.sqlite")):
        if not path.exists():
            continue
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
            try:
                said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
            finally:
                connection.close()
        except sqlite3.Error as error:
            said = [str(error)]
        if said == ["ok"]:
            yield Finding(name, "ok", f"{path.name} is whole, {size(path.stat().st_size)}")
        else:
            todo = f"p2pvoice daemon stop; mv {path} {path}.damaged   (a new one is built)"
            yield Finding(name, "fail", f"{path.name} is damaged: {said[0][:100]}", todo)


def daemon(client: Client) -> Finding:
    """Whether a daemon answers."""
    try:
        state: dict[str, Any] = client.status()
    except DaemonUnavailableError:
        return Finding(
            "daemon",
            "fail",
            "none runs: network, sandbox, torch and speech were not checked",
            "p2pvoice daemon start",
        )
    return Finding("daemon", "ok", f"process {state['pid']}, version {state['version']}")
