"""Forks between real daemons: they share every chunk, remember their parents, and loosen nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pvoice.protocol.errors import ConflictError, ConsentError, PolicyError

from .nodes import Daemon, bring, install_encoder, publish, refusal

Make = Callable[[], Daemon]

BOUND = 64_000
"""Bytes of disk that a fork may cost: its record, and no weights."""


def fork(daemon: Daemon, ref: str, name: str) -> dict[str, Any]:
    *_, result = daemon.client.fork(ref, name)
    return result


def publish_fork(daemon: Daemon, draft: str, **said: object) -> dict[str, Any]:
    """Publish saying nothing but what is given: the rest is the parent's."""
    *_, result = daemon.client.publish({"draft": draft, **said})
    return result


def allocated(folder: Path) -> int:
    """Bytes on disk, each file once however many names it has."""
    found = {path.stat().st_ino: path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()}
    return sum(found.values())


def test_a_fork_shares_every_chunk_and_keeps_what_its_parent_says(
    daemons: Make, encoder: Path, clip: Path
) -> None:
    a = daemons().start()
    b = daemons().start(a)
    install_encoder(a, encoder)
    bring(a, clip)
    parent = publish(a, license="CC-BY-SA-4.0")["release"]
    # It is fetched when it is not here yet.
    made = fork(b, parent, "My Own")
    assert (made["draft"], made["parent"], made["license"]) == ("my-own", parent, "CC-BY-SA-4.0")
    before = a.client.show(parent)
    assert made["bytes"] == made["shared_bytes"] == before["size"]
    assert isinstance(refusal(lambda: fork(b, parent, "my own")), ConflictError)
    held = b.client.status()["disk"]
    disk = allocated(b.home / "store") + allocated(b.home / "drafts")

    loose = refusal(lambda: publish_fork(b, "my-own", license="CC-BY-4.0"))
    assert isinstance(loose, PolicyError)
    assert loose.hint == "--license CC-BY-SA-4.0"
    other = refusal(lambda: publish_fork(b, "my-own", consent="self", ai_voice_permission=True))
    assert isinstance(other, ConsentError)

    made = publish_fork(b, "my-own")
    shown = b.client.show(made["release"])
    assert shown["parents"] == made["parents"] == [{"release": parent, "kind": "forked-from"}]
    for same in ("license", "tags", "description", "bundle", "files"):
        assert shown[same] == before[same], same
    assert shown["consent"]["subject"] == "synthetic"
    assert shown["warnings"] == []
    assert b.client.status()["disk"] == held
    assert allocated(b.home / "store") + allocated(b.home / "drafts") - disk < BOUND
    # It is a voice like any other: the parent may go.
    b.client.remove(parent)
    assert b.client.speak({"voice": made["release"], "text": "好", "lang": "yue", "seed": 1}).data
    # Published again it is a revision, and still a fork.
    again = publish_fork(b, "my-own", description="Mine.")
    assert again["parents"] == [
        {"release": made["release"], "kind": "revision-of"},
        {"release": parent, "kind": "forked-from"},
    ]
