"""What ours is compared with when files are fetched: libtorrent and js-libp2p, each a pair of processes.

They move the same file over loopback, verify it and write it to disk, and say what that took. Neither is
needed for anything else: what is not there is told of and left out. Not for our own daemons: see
fetch_bench.py. Follows specs/exchange.md, "Figures".
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from p2pvoice.cli import fetch_torrent
from p2pvoice.protocol.errors import BugError

TIMEOUT = 600
"""Seconds that one side may take."""

NODE = 20
"""The oldest Node that js-libp2p runs on here."""

PACKAGES = (
    "@chainsafe/libp2p-noise@17.0.0",
    "@chainsafe/libp2p-yamux@8.0.1",
    "@libp2p/tcp@11.0.28",
    "@libp2p/utils@7.4.1",
    "@multiformats/multiaddr@13.0.3",
    "libp2p@3.3.11",
)
"""What transfer.mjs imports. npm fetches it, unless P2PVOICE_INTEROP_MODULES names a folder that has it."""

SCRIPT = "transfer.mjs"

TORRENTS: Mapping[str, Sequence[str]] = {
    "libtorrent": (),
    "libtorrent-v2": ("--version", "2"),
    "libtorrent-tuned": ("--tuned",),
}

Work = Callable[[], dict[str, Any]]


def make(rival: str, file: Path, root: Path, tell: Callable[[str], None]) -> dict[str, Work] | str:
    """By name, functions that fetch ``file`` once and tell what a Run of fetch_bench.py holds; or why not."""
    if rival == "libtorrent":
        if importlib.util.find_spec("libtorrent") is None:
            return "libtorrent is not installed: pip install libtorrent"
        return {name: _torrent(file, root, words) for name, words in TORRENTS.items()}
    try:
        folder = _packages(root, tell)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return str(error)
    return {"js": lambda: _transfer(["node", SCRIPT, "serve", str(file)], folder, root, _js_fetch)}


def settings(contestants: Iterable[str]) -> dict[str, Any]:
    """What each was told beside its defaults."""
    found: dict[str, Any] = {
        "own": {"wire": "own"},
        "stock": {"wire": "stock"},
        "js": {"packages": PACKAGES, "synced": "every 4 chunks, as ours at most"},
    }
    for name, words in TORRENTS.items():
        tuned = fetch_torrent.TUNED if "--tuned" in words else {}
        version = "v2, SHA-256" if "--version" in words else "v1, SHA-1"
        told = {"torrent": version, "piece": fetch_torrent.PIECE, "synced": "never"}
        found[name] = told | fetch_torrent.CALM | tuned
    return {name: found[name] for name in contestants}


# -- BitTorrent --------------------------------------------------------------------------------------------


def _torrent(file: Path, root: Path, words: Sequence[str]) -> Work:
    program = [sys.executable, "-P", "-m", fetch_torrent.__name__, *words]
    torrent = root / f"{'-'.join(words) or 'plain'}.torrent"

    def fetch(said: dict[str, Any], folder: Path) -> list[str]:
        return [*program, "fetch", str(torrent), str(said["port"]), str(folder)]

    return lambda: _transfer([*program, "seed", str(file), str(torrent)], root, root, fetch)


# -- js-libp2p ---------------------------------------------------------------------------------------------


def _packages(root: Path, tell: Callable[[str], None]) -> Path:
    """A folder with the script beside its packages. Raises OSError or ValueError saying what is missing."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise ValueError(f"no {program} here: js-libp2p needs Node {NODE} or later")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < NODE:
        raise ValueError(f"node {version} is too old: js-libp2p needs Node {NODE} or later")
    folder = root / "js"
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    with as_file(files("p2pvoice.cli") / "data" / SCRIPT) as script:
        shutil.copy(script, folder / SCRIPT)
    kept = os.environ.get("P2PVOICE_INTEROP_MODULES")
    if kept and (Path(kept) / "node_modules" / "libp2p").is_dir():
        (folder / "node_modules").symlink_to(Path(kept).resolve() / "node_modules")
        return folder
    tell("npm fetches js-libp2p")
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
    command = ["npm", "install", *quiet, *PACKAGES]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise ValueError("npm could not fetch js-libp2p: " + " ".join(done.stderr.split())[:200])
    return folder


def _js_fetch(said: dict[str, Any], folder: Path) -> list[str]:
    return ["node", SCRIPT, "fetch", str(said["address"]), str(folder / "copy")]


# -- both --------------------------------------------------------------------------------------------------


def _transfer(
    serve: Sequence[str],
    where: Path,
    root: Path,
    fetch: Callable[[dict[str, Any], Path], list[str]],
) -> dict[str, Any]:
    """One fetch: a process that serves, and one that is told by ``fetch`` how to reach it."""
    with (
        tempfile.TemporaryDirectory(prefix="copy-", dir=root) as place,
        subprocess.Popen(
            serve, cwd=where, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            said = _line(server.stdout.readline())
            done = subprocess.run(
                fetch(said, Path(place)),
                cwd=where,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
            if done.returncode:
                raise BugError(f"the other side failed: {done.stderr.strip()[-300:]}")
            fetched = _line(done.stdout)
            server.stdin.close()
            served = _line(server.stdout.readline())
        finally:
            server.kill()
    return {
        "size": fetched["size"],
        "wire": fetched.get("wire", fetched["size"]),
        "wall": fetched["wall"],
        "fetching": fetched["cpu"],
        "serving": served["cpu"],
        "peak": fetched["peak"],
    }


def _line(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise BugError("a contestant ended without a word") from error
