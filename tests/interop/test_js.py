"""Another implementation against a real daemon: js-libp2p, and scripts written from the specs alone.

Not in the default run, since npm fetches js-libp2p: `pytest -m interop`. Follows specs/interop.md.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.schema import open_database
from p2pvoice.protocol.ids import parse_author_id
from p2pvoice.protocol.manifest import FileEntry

from ..node.conftest import clip, encoder
from ..node.nodes import Daemon, bring, eventually, install_encoder, publish

__all__ = ["clip", "encoder"]

pytestmark = pytest.mark.interop

HERE = Path(__file__).parent
PINS = ("package.json", "package-lock.json")
TAG = "language/yue"

#: What npm says when the registry cannot be reached: a reason to skip. Anything else it says is a failure.
UNREACHABLE = re.compile(r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH")


@dataclass
class Scripts:
    """A folder with the scripts and what they need."""

    folder: Path

    def run(self, script: str, *words: str) -> tuple[int, list[dict[str, Any]]]:
        """Run one; its exit code and the lines it printed."""
        command = ["node", script, *words]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stderr == ""
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Scripts:
    """The scripts beside their packages, which are kept in $P2PVOICE_INTEROP_MODULES when that is set."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here; js-libp2p needs Node 20 or later")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"node {version} is too old; js-libp2p needs Node 20 or later")
    named = os.environ.get("P2PVOICE_INTEROP_MODULES")
    folder = Path(named) if named else tmp_path_factory.mktemp("interop")
    folder.mkdir(parents=True, exist_ok=True)
    installed = folder / "node_modules" / ".package-lock.json"
    lock = folder / PINS[1]
    if not installed.exists() or lock.read_bytes() != (HERE / PINS[1]).read_bytes():
        for name in PINS:
            shutil.copy(HERE / name, folder / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode and (why := UNREACHABLE.search(done.stderr)):
            pytest.skip(f"npm cannot reach its registry ({why[0]})")
        assert done.returncode == 0, done.stderr
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, folder / script.name)
    return Scripts(folder)


@dataclass
class House:
    """A daemon that published the tiny voice, and one that only knows it."""

    owner: Daemon
    door: Daemon
    release: str
    author: str


@pytest.fixture(scope="module")
def house(scripts: Scripts, encoder: Path, clip: Path) -> Iterator[House]:
    """Two connected daemons; asks for the scripts first, so that nothing starts when they cannot run."""
    homes = [Path(tempfile.mkdtemp(prefix="p2pv-")) for _ in range(2)]
    door, owner = map(Daemon, homes)
    try:
        owner.start(door.start())
        install_encoder(owner, encoder)
        bring(owner, clip)
        done = publish(owner)
        yield House(owner, door, done["release"], done["author"])
    finally:
        for daemon in (owner, door):
            if daemon.process is not None:
                daemon.end()
            shutil.rmtree(daemon.home, ignore_errors=True)


def file_of(house: House, path: str) -> FileEntry:
    """What the published manifest says of one file."""
    database = open_database(house.owner.home / "catalog.sqlite")
    try:
        release = Catalog(database).release(house.release)
    finally:
        database.close()
    assert release is not None
    return next(file for file in release.manifest.files if file.path == path)


def test_dials_pings_finds_and_verifies(scripts: Scripts, house: House) -> None:
    code, lines = scripts.run("fetch.mjs", house.owner.addresses[0], TAG)
    assert code == 0, lines
    dial, ping, provider, manifest, *chunks, file = lines
    assert dial == {"step": "dial", "peer": house.owner.peer_id}
    assert ping["step"] == "ping"
    assert 0 <= ping["milliseconds"] < 10_000
    assert (provider["step"], provider["peer"]) == ("provider", house.owner.peer_id)
    assert manifest == {
        "step": "manifest",
        "release": house.release,
        "name": "Storyteller",
        "author": parse_author_id(house.author).hex(),
        "signature": "fits",
    }
    # The script compared each chunk with the manifest it had verified; here with what our own code reads.
    said = file_of(house, "gpt.safetensors")
    assert chunks == [
        {"step": "chunk", "path": said.path, "index": index, "size": chunk.size, "sha256": chunk.digest.hex()}
        for index, chunk in enumerate(said.chunks)
    ]
    assert file == {"step": "file", "path": "gpt.safetensors", "chunks": len(chunks), "of": len(chunks)}


def test_finds_the_provider_through_another_node(scripts: Scripts, house: House) -> None:
    def found() -> list[dict[str, Any]]:
        # The owner announces at its own pace; until the door has heard, nobody provides the tag.
        code, lines = scripts.run("fetch.mjs", house.door.addresses[0], TAG)
        return [] if code and lines[-1]["why"] == f"nobody provides {TAG}" else lines

    lines = eventually(found)
    assert lines[0]["peer"] == house.door.peer_id
    assert lines[2]["peer"] == house.owner.peer_id
    assert lines[3]["release"] == house.release
    assert lines[-1]["step"] == "file"


@pytest.mark.parametrize(
    ("flip", "why", "last"),
    [
        ("flip-manifest", "the signature does not fit", "provider"),
        ("flip-chunk", "chunk 0 of gpt.safetensors: wrong bytes", "manifest"),
    ],
)
def test_what_was_changed_is_refused(scripts: Scripts, house: House, flip: str, why: str, last: str) -> None:
    code, lines = scripts.run("fetch.mjs", house.owner.addresses[0], TAG, flip)
    assert code == 1
    assert lines[-1] == {"step": "refused", "why": why}
    assert lines[-2]["step"] == last


def test_a_tag_of_nobody_has_no_provider(scripts: Scripts, house: House) -> None:
    code, lines = scripts.run("fetch.mjs", house.owner.addresses[0], "language/ko")
    assert (code, lines[-1]) == (1, {"step": "refused", "why": "nobody provides language/ko"})


def test_malformed_frames_are_answered_and_end_the_stream(scripts: Scripts, house: House) -> None:
    code, lines = scripts.run("malformed.mjs", house.owner.addresses[0])
    assert code == 0
    malformed = ["empty", "one byte too long", "not MessagePack", "keys not sorted", "wrong field"]
    assert lines == [
        *({"what": what, "answer": "fail", "code": "bad_manifest", "ended": True} for what in malformed),
        {"what": "unknown type", "answer": "fail", "code": "protocol_mismatch", "ended": True},
        {"what": "an answer", "answer": "fail", "code": "protocol_mismatch", "ended": True},
        {"what": "a good request", "answer": "page", "ended": True},
    ]
