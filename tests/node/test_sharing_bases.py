"""Bases between real daemons: shared under a licence, found by what they are, believed in for a reason."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..sovits import bench
from .nodes import Daemon

Make = Callable[[], Daemon]


def add(daemon: Daemon, folder: Path, name: str, *, license: str = "MIT", text: str = "") -> Any:
    """Install a base as `p2pvoice base add` does; its result event."""
    files = {path.name: daemon.client.upload(path) for path in folder.iterdir()}
    upload = daemon.client.upload_text(text) if text else ""
    *_, made = daemon.client.add_base(name, files, license=license, license_upload=upload)
    return made


def share(daemon: Daemon, ref: str, *tags: str) -> Any:
    """Publish a base; its result event."""
    *_, made = daemon.client.publish_base(ref, tags=tags)
    return made


def fetch(daemon: Daemon, ref: str, **options: Any) -> Any:
    """Fetch a base; its result event."""
    *_, made = daemon.client.fetch_base(ref, **options)
    return made


def test_a_base_goes_from_node_to_node(daemons: Make, tmp_path: Path) -> None:
    a = daemons().start()
    b, c = daemons().start(a), daemons().start(a)
    bert = bench.published_bert(tmp_path / "bert", 32)
    made = add(a, bert, "chinese-bert", text="Do what you like.\n")
    shared = share(a, "bert", "mandarin")
    assert (shared["license"], shared["id"], shared["kind"]) == ("MIT", made["id"], "bert")
    assert shared["announced"]

    got = fetch(b, shared["bundle"])
    assert (got["release"], got["bundle"], got["id"]) == (shared["release"], shared["bundle"], made["id"])
    assert (got["license"], got["seeding"], got["bytes_fetched"]) == ("MIT", True, shared["bytes"])
    (row,) = b.client.bases()
    assert (row["kind"], row["id"], row["release"]) == ("bert", made["id"], shared["release"])
    place = b.home / "bases" / row["name"]
    for name in ("model.safetensors", "vocab.txt"):
        assert (place / name).read_bytes() == (a.home / "bases" / "chinese-bert" / name).read_bytes()
    assert (place / "LICENSE").read_text() == "Do what you like.\n"
    # What is shared lies in the store, once.
    for daemon, name in ((a, "chinese-bert"), (b, row["name"])):
        link = daemon.home / "bases" / name / "model.safetensors"
        assert link.is_symlink()
        assert Path(os.readlink(link)).parent == daemon.home / "store" / "files"

    # It is no voice, for nobody.
    for daemon in (a, b):
        assert daemon.client.voices() == []
        assert [one for one in daemon.client.find(timeout=2) if one["event"] == "voice"] == []
        assert daemon.client.status()["voices"] == 0
    a.end()
    other = fetch(c, shared["bundle"])
    assert (other["release"], list(other["peers"])) == (shared["release"], [b.peer_id])
