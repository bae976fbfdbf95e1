"""A fork between real daemons: it shares every chunk, remembers its parent, takes a person's word anew."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pvoice.protocol.errors import ConflictError, ConsentError, CorruptError, PolicyError

from .nodes import Daemon, bring, install_encoder, publish, refusal

Make = Callable[[], Daemon]

BOUND = 64_000
"""Bytes of disk that a fork may cost: its record, and no weights."""


def publish_fork(daemon: Daemon, draft: str, **said: object) -> dict[str, Any]:
    """Publish saying nothing but what is given: the rest is the parent's."""
    *_, result = daemon.client.publish({"draft": draft, **said})
    return result


def allocated(home: Path) -> int:
    """Bytes on disk of a home's store and drafts, each file once however many names it has."""
    paths = [path for part in ("store", "drafts") for path in (home / part).rglob("*") if path.is_file()]
    return sum({path.stat().st_ino: path.stat().st_blocks * 512 for path in paths}.values())


def test_a_fork_shares_every_chunk_and_takes_the_persons_word_anew(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    a = daemons().start()
    b = daemons().start(a)
    install_encoder(a, encoder)
    bring(a, clip, name="Ada")
    parent = publish(a, "ada", consent="self", license="CC-BY-NC-4.0", tags=["female"])["release"]
    before = a.client.show(parent)
    ada, author = (daemon.client.status()["author"] for daemon in (a, b))

    # It is fetched when it is not here yet, and what publishing it will take is told.
    *events, made = b.client.fork(parent, "Ada at Night")
    assert (made["draft"], made["parent"], made["license"]) == ("ada-at-night", parent, "CC-BY-NC-4.0")
    assert made["bytes"] == made["shared_bytes"] == before["size"]
    (warning,) = [event["message"] for event in events if event["event"] == "warning"]
    assert ada in warning
    assert author in warning
    again = refusal(lambda: list(b.client.fork(parent, "ada at night")))
    assert isinstance(again, ConflictError)
    held, disk = b.client.status()["disk"], allocated(b.home)

    # Nobody else's word will do, and no other licence.
    claimed = {"consent": "named", "subject": "Ada", "ai_voice_permission": True}
    for said in ({}, {"consent": "self", "ai_voice_permission": True}, claimed):
        assert isinstance(refusal(lambda said=said: publish_fork(b, "ada-at-night", **said)), ConsentError)
    wanted = {"author": author, "name": "Ada", "statement": "Yes.", "language": "en", "scope": ["commercial"]}
    (tmp_path / "consent").write_bytes(base64.b64decode(a.client.sign_consent(wanted)["consent"]))

    def consented() -> dict[str, object]:
        return {"consent": "named", "consent_upload": b.client.upload(tmp_path / "consent")}

    loose = refusal(lambda: publish_fork(b, "ada-at-night", license="CC-BY-4.0", **consented()))
    assert isinstance(loose, PolicyError)
    assert loose.hint.startswith("--license CC-BY-NC")
    # The person gives this author more than the release that was forked says: it is too much all the same.
    assert "commercial" in refusal(lambda: publish_fork(b, "ada-at-night", **consented())).message
    wanted["scope"] = []
    (tmp_path / "consent").write_bytes(base64.b64decode(a.client.sign_consent(wanted)["consent"]))

    made = publish_fork(b, "ada-at-night", **consented())
    shown = b.client.show(made["release"])
    assert shown["parents"] == made["parents"] == [{"release": parent, "kind": "forked-from"}]
    for same in ("license", "tags", "description", "bundle", "files"):
        assert shown[same] == before[same], same
    assert (shown["consent"]["subject"], shown["consent"]["signed_by"]) == ("named", ada)
    # Its references are the voice's own speech already, so they stay as they are.
    assert shown["consent"]["references_may_travel"] is before["consent"]["references_may_travel"] is False
    assert shown["warnings"] == []
    assert b.client.status()["disk"] == held
    assert allocated(b.home) - disk < BOUND

    # It is a voice like any other: the parent may go.
    b.client.remove(parent)
    assert b.client.speak({"voice": made["release"], "text": "好", "lang": "yue", "seed": 1}).data
    # Files that changed are no fork any more.
    file = b.home / "drafts" / "ada-at-night" / "bundle" / "voice.json"
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data + b" ")
    assert isinstance(refusal(lambda: publish_fork(b, "ada-at-night", **consented())), CorruptError)

    # Who comes by sees a place where the parent is, and may ask for it.
    c = daemons().start(a)
    c.meet(b)
    assert c.client.show(made["release"])["warnings"] == []
    for fetch in (False, True):
        graph = c.client.lineage(made["release"], fetch=fetch)
        assert graph["edges"] == [
            {"child": made["release"], "parent": parent, "kind": "forked-from", "loosens": False}
        ]
        known = {row["release"]: row["known"] for row in graph["nodes"]}
        assert known == {made["release"]: True, parent: fetch}
