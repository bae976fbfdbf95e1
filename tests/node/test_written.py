"""What a worker made is taken out of its scratch folder; what it planted is not."""

import os
from pathlib import Path

import pytest

from p2pvoice.node.written import take
from p2pvoice.protocol.errors import UnsafeFileError


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch" / "bundle"
    (folder / "reference").mkdir(parents=True)
    (folder / "voice.json").write_text("{}")
    return folder


def test_plain_files_are_moved_and_replace_what_was_there(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "draft"
    place.mkdir()
    (place / "old").write_text("old")
    take(made, place)
    assert sorted(path.name for path in place.iterdir()) == ["reference", "voice.json"]
    assert not made.exists()


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "pipe"])
def test_a_link_is_never_followed(made: Path, tmp_path: Path, kind: str) -> None:
    """A bundle is read and published by the daemon, which may see the keys that the worker may not."""
    secret = tmp_path / "keys"
    secret.mkdir()
    (secret / "author.key").write_bytes(b"k" * 32)
    planted, place = made / "reference" / "0.wav", tmp_path / "draft"
    if kind == "pipe":
        os.mkfifo(planted)
    else:
        planted.symlink_to(secret if kind == "link to a folder" else secret / "author.key")
    with pytest.raises(UnsafeFileError, match="no plain file"):
        take(made, place)
    assert made.is_dir()
    assert not place.exists()
