"""Import, publish, fetch and update on a disk that is really full, and again when there is room."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2pvoice.protocol.errors import P2PVoiceError

from .nodes import Daemon, bring, install_encoder, publish

Make = Callable[[], Daemon]

#: Bytes left free while an operation is tried: none, and enough for its beginnings.
ROOMS = (0, 64 << 10, 300 << 10)


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[Path]]:
    """Two file systems of 12 MiB, where the tests may mount them."""
    mounted: list[Path] = []
    for name in ("a", "b"):
        place = tmp_path / name
        place.mkdir()
        line = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
        done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
    yield mounted
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """The disk with only so many bytes left."""
    filler = disk / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        room = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, max(room.f_bavail * room.f_frsize - left, 1))
    try:
        yield
    finally:
        filler.unlink()


def tried(disk: Path, call: Callable[[], object]) -> int:
    """Call it with little room, again and again; how often it was refused, each time as a full disk."""
    refused = 0
    for left in ROOMS:
        with filled(disk, left):
            error = _failure(call)
        if error is not None:
            log = (disk / "home" / "daemon.log").read_text()
            assert error.code == "disk_full", f"{error}\n{log[-5000:]}"
            assert error.hint
            refused += 1
    return refused


def _failure(call: Callable[[], object]) -> P2PVoiceError | None:
    try:
        call()
    except P2PVoiceError as error:
        return error
    return None


def test_full_disk_is_said_and_the_same_command_completes_later(
    daemons: Make, disks: list[Path], encoder: Path, clip: Path
) -> None:
    a, b = daemons(), daemons()
    a.home, b.home = disks[0] / "home", disks[1] / "home"
    a.start()
    install_encoder(a, encoder)
    refused = {"import": tried(disks[0], lambda: bring(a, clip))}
    bring(a, clip)
    assert [draft["draft"] for draft in a.client.drafts()] == ["storyteller"]
    refused["publish"] = tried(disks[0], lambda: publish(a))
    release = publish(a)["release"]
    b.start(a)
    refused["fetch"] = tried(disks[1], lambda: list(b.client.fetch(release)))
    list(b.client.fetch(release))
    assert [voice["release"] for voice in b.client.voices()] == [release]
    newer = publish(a, description="newer")["release"]
    refused["update"] = tried(disks[1], lambda: list(b.client.update("storyteller")))
    list(b.client.update("storyteller"))
    assert [voice["release"] for voice in b.client.voices()] == [newer]
    for daemon in (a, b):
        assert list(daemon.client.verify())[-1]["damaged"] == 0
        partial = os.listdir(daemon.home / "store" / "partial")
        assert partial == []
    for operation, count in refused.items():
        print(f"{operation}: tried {len(ROOMS)}, refused {count}, lost: 0")
        assert count >= 1, f"{operation} found room where there was none"
