"""Mirrors, pins and the quota between real daemons: what is kept alive, what makes room, what never does."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.protocol.errors import NetworkError, NotFoundError, P2PVoiceError, QuotaError, UsageError

from .nodes import Daemon, bring, eventually, install_encoder, large_gpt, publish, refusal
from .test_collections import two_voices

Make = Callable[[], Daemon]


def row(daemon: Daemon) -> dict[str, Any]:
    """The one mirror of a daemon."""
    (found,) = daemon.client.mirrors()["mirrors"]
    return dict(found)


def looked(daemon: Daemon, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The mirror as it is when it is as the test expects; it is made to look until then."""

    def look() -> dict[str, Any] | None:
        found = daemon.client.mirrors()
        if not found["looking"]:
            if found["mirrors"][0]["looked"] and fits(found["mirrors"][0]):
                return dict(found["mirrors"][0])
            daemon.client.look_at_mirrors()
            time.sleep(0.2)
        return None

    return dict(eventually(look))


def far(daemon: Daemon, size: int) -> bool:
    """Whether a mirror's fetch has this much; the daemon is made to look until one is under way."""
    found = daemon.client.mirrors()
    if not found["looking"]:
        daemon.client.look_at_mirrors()
    return bool(found["fetching"] and found["fetching"]["have"] > size)


def here(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """The voices of a daemon by their slugs."""
    return {voice["slug"]: voice for voice in daemon.client.voices()}


def random_voices(daemon: Daemon, encoder: Path, clip: Path, folder: Path, count: int) -> dict[str, str]:
    """Published voices of one author that share next to nothing, slug -> release; each has over 1 MB."""
    install_encoder(daemon, encoder)
    made = {}
    for number in range(count):
        gpt = large_gpt(folder / f"{number}.ckpt", feed=2048, seed=number, layers=2)
        bring(daemon, clip, gpt=gpt, name=f"Voice {number}")
        made[f"voice-{number}"] = publish(daemon, f"voice-{number}")["release"]
    return made


def test_a_mirrored_author_outlives_its_node(daemons: Make, encoder: Path, clip: Path) -> None:
    a, b, c = daemons().start(), daemons(), daemons()
    ids = two_voices(a, encoder, clip)
    author = a.client.status()["author"]
    b.start(a)
    assert b.client.mirror(author, replicas=2)["wanted"] == 0
    found = looked(b, lambda one: one["held"] == 2)
    assert (found["kind"], found["name"], found["wanted"], found["below"]) == ("author", author, 2, 0)
    assert found["bytes"] > 0
    assert not found["error"]
    held = [voice for voice in b.client.voices() if voice["mirrored"] and voice["seed"]]
    assert {voice["release"] for voice in held} == set(ids)
    # A new release is taken as it comes, and takes the place of the old one.
    newer = publish(a, "teacher", description="newer")["release"]
    looked(b, lambda _: here(b)["teacher"]["release"] == newer)
    assert here(b)["teacher"]["mirrored"]
    a.end()
    c.start(b)
    for release in (ids[0], newer):
        # Announcements keep a pace, so the last one may still wait for its turn.
        eventually(lambda release=release: c.client.holders(release, timeout=20)["peers"])
        *_, result = c.client.fetch(release)
        assert result["peers"].keys() <= {b.peer_id}
    assert set(here(c)) == {"storyteller", "teacher"}
    # After a restart the mirror is there, with what it knew.
    b.end()
    b.start()
    assert row(b)["held"] == 2
    assert here(b)["storyteller"]["mirrored"]
    assert not c.client.mirrors()["mirrors"]


def test_replicas_are_counted_and_not_exceeded(daemons: Make, encoder: Path, clip: Path) -> None:
    a, b, c = daemons().start(), daemons(), daemons()
    install_encoder(a, encoder)
    bring(a, clip)
    release = publish(a)["release"]
    b.start(a)
    list(b.client.fetch(release))
    c.start(a)
    eventually(lambda: len(c.client.holders(release, timeout=20)["peers"] or ()) == 2)
    assert c.client.mirror("cantonese", replicas=2)["name"] == "language/yue"
    found = looked(c, lambda one: one["wanted"] == 1)
    assert (found["held"], found["below"]) == (0, 0)
    # One more holder is asked for, and this node becomes it.
    c.client.mirror("cantonese", replicas=3)
    found = looked(c, lambda one: one["held"] == 1)
    assert found["below"] == 0
    assert c.client.holders(release, timeout=20)["here"]
    # Whoever is gone does not count, though the DHT still names it.
    b.end()
    found = looked(c, lambda one: one["below"] == 1)
    assert found["held"] == 1


def test_what_is_not_mirrored(daemons: Make, encoder: Path, clip: Path) -> None:
    a, b = daemons().start(), daemons()
    install_encoder(a, encoder)
    for name, license in (("Free", "CC-BY-NC-ND-4.0"), ("Own terms", "LicenseRef-mine"), ("Quiet", "MIT")):
        bring(a, clip, name=name)
        publish(a, name.lower().replace(" ", "-"), license=license)
    b.start(a)
    author = a.client.status()["author"]
    # Announcements keep a pace, so the last one may still wait for its turn.
    eventually(lambda: sum(one["event"] == "voice" for one in b.client.find(tags=("cantonese",))) == 3)
    # Fetched by hand and not offered: a mirror leaves it so.
    list(b.client.fetch("quiet", seed=False))
    b.client.mirror(author)
    found = looked(b, lambda one: one["held"] == 1)
    assert found["left_out"] == {"licence": 1, "not offered by you": 1}
    assert not here(b)["quiet"]["seed"]
    assert not here(b)["quiet"]["mirrored"]
    assert here(b)["free"]["mirrored"]
    # What the user removes does not come again, until the user fetches it.
    b.client.remove("free")
    found = looked(b, lambda one: one["left_out"].get("removed by you") == 1)
    assert found["held"] == 0
    list(b.client.fetch("free"))
    assert not here(b)["free"]["mirrored"]
    for wrong in ("no/such", "", "x" * 300):
        assert isinstance(refusal(lambda wrong=wrong: b.client.mirror(wrong)), UsageError)
    assert isinstance(refusal(lambda: b.client.mirror("did:key:z6MkNobody")), NotFoundError)
    assert isinstance(refusal(lambda: b.client.stop_mirror("narration")), NotFoundError)
    for body in ({"replicas": 0}, {"replicas": 101}, {"limit": -1}):
        assert isinstance(refusal(lambda body=body: b.client.mirror("narration", **body)), UsageError)


def test_a_stopped_mirror_and_gc_with_pins(daemons: Make, encoder: Path, clip: Path, tmp_path: Path) -> None:
    a, b = daemons().start(), daemons()
    random_voices(a, encoder, clip, tmp_path, 2)
    b.start(a)
    b.client.mirror("narration")
    looked(b, lambda one: one["held"] == 2)
    assert b.client.pin("voice-1")["changed"]
    assert not b.client.pin("voice-1")["changed"]
    *_, result = b.client.gc()
    assert (result["removed"], result["unfinished"]) == (0, [])
    assert b.client.stop_mirror("narration")["held"] == 2
    assert b.client.mirrors()["mirrors"] == []
    assert set(here(b)) == {"voice-0", "voice-1"}
    # Nobody asks for them any more: gc frees them, but for the pinned one.
    *_, dry = b.client.gc(dry_run=True)
    told, result = list(b.client.gc())
    assert (told["kind"], told["name"]) == ("mirrored", "voice-0")
    assert told["bytes"] == result["freed"] == dry["freed"] > 1_000_000
    assert set(here(b)) == {"voice-1"}
    assert here(b)["voice-1"]["pinned"]
    b.client.pin("voice-1", on=False)
    *_, result = b.client.gc()
    assert result["freed"] > 1_000_000
    assert here(b) == {}
    assert os.listdir(b.home / "store" / "files") == []
    assert isinstance(refusal(lambda: b.client.pin("voice-1")), NotFoundError)


def test_a_quota_that_holds(daemons: Make, encoder: Path, clip: Path, tmp_path: Path) -> None:
    a, b = daemons().start(), daemons()
    ids = random_voices(a, encoder, clip, tmp_path, 3)
    one = max(voice["size"] for voice in a.client.voices())
    # Room for two of the three, and not for another: half of what its own file takes is missing.
    own = next(file["size"] for file in a.client.show(ids["voice-0"])["files"] if "gpt" in file["path"])
    quota = a.client.status()["disk"]["bytes"] - own // 2
    (b.home / "config.toml").write_text(f"quota_bytes = {quota}\n")
    b.start(a)
    b.client.mirror("narration", limit=int(one * 1.5))
    found = looked(b, lambda one: one["held"] == 1 and one["left_out"] == {"limit": 2})
    assert found["bytes"] <= found["limit"]
    (mirrored,) = here(b)
    first, second = (slug for slug in ids if slug != mirrored)
    list(b.client.fetch(ids[first]))
    assert set(here(b)) == {mirrored, first}
    # A voice that the user fetches takes the place of what is here for a mirror's sake only.
    b.client.stop_mirror("narration")
    b.client.pin(mirrored)
    before = b.client.status()["disk"]
    error = refusal(lambda: list(b.client.fetch(ids[second])))
    assert isinstance(error, QuotaError)
    assert "p2pvoice unpin" in error.hint
    assert b.client.status()["disk"] == before
    assert os.listdir(b.home / "store" / "partial") == []
    assert set(here(b)) == {mirrored, first}
    b.client.pin(mirrored, on=False)
    list(b.client.fetch(ids[second]))
    assert set(here(b)) == {first, second}
    assert b.client.status()["disk"]["bytes"] <= quota


def test_a_mirror_that_is_stopped_leaves_off_and_what_came_is_kept(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    a, b = daemons(), daemons()
    (a.home / "config.toml").write_text('[network]\nlimit_lan = true\nup = "100 kB"\n')
    a.start()
    ids = random_voices(a, encoder, clip, tmp_path, 1)
    b.start(a)
    b.client.mirror("narration")
    eventually(lambda: far(b, 500_000))
    b.client.stop_mirror("narration")
    eventually(lambda: not b.client.mirrors()["looking"])
    assert b.client.mirrors()["fetching"] is None
    assert here(b) == {}
    for _ in range(2):
        # Neither a start nor gc prunes what came, and gc tells of it.
        *_, result = b.client.gc()
        (left,) = result["unfinished"]
        assert left["release"] == ids["voice-0"]
        assert left["bytes"] > 200_000
        assert result["removed"] == 0
        b.end()
        b.start(a)
    a.client.set_limits(up=0)
    *_, result = b.client.fetch(ids["voice-0"])
    assert result["bytes_reused"] > 200_000
    assert not here(b)["voice-0"]["mirrored"]
    *_, result = b.client.gc()
    assert result["unfinished"] == []


def test_offered_or_not_can_be_changed(daemons: Make, encoder: Path, clip: Path) -> None:
    a, b, c = daemons().start(), daemons(), daemons()
    install_encoder(a, encoder)
    bring(a, clip)
    release = publish(a)["release"]
    b.start(a)
    list(b.client.fetch(release, seed=False))
    a.end()
    c.start(b)
    # Not announced, not told of, not served.
    *_, found = c.client.find(tags=("cantonese",), timeout=5)
    assert found["count"] == 0
    assert isinstance(refusal(lambda: list(c.client.fetch(release))), NotFoundError | NetworkError)
    assert b.client.seed("storyteller", on=True) | {"release": ""} == {
        "release": "", "slug": "storyteller", "seed": True, "changed": True,
    }  # fmt: skip
    eventually(lambda: _fetched(c, release))
    assert b.client.seed("storyteller", on=False)["changed"]
    assert not b.client.seed("storyteller", on=False)["changed"]
    assert not here(b)["storyteller"]["seed"]
    c.client.remove("storyteller")
    assert not _fetched(c, release)


def _fetched(daemon: Daemon, release: str) -> bool:
    try:
        list(daemon.client.fetch(release))
    except P2PVoiceError:
        return False
    return True


@pytest.mark.parametrize("bad", [{"on": "yes"}, {}])
def test_seed_wants_a_word(daemons: Make, bad: dict[str, Any]) -> None:
    daemon = daemons().start()
    assert refusal(lambda: daemon.client.json("POST", "/v1/voices/x/seed", bad)).code == "usage"
