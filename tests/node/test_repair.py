"""Bits rot on one of two daemons: found, taken out of service, and repaired from the other."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.protocol.errors import P2PVoiceError

from .nodes import Daemon, bring, install_encoder, large_gpt, publish, refusal
from .test_merging import moved_gpt
from .test_store import damage

Make = Callable[[], Daemon]


def verify(daemon: Daemon, ref: str = "", *, repair: bool = True) -> tuple[list[Any], Any]:
    """The damage events of a verification, and its result, or the error it ended with."""
    found: list[Any] = []
    try:
        for event in daemon.client.verify(ref, repair=repair):
            if event["event"] == "damage":
                found.append(event)
            if event["event"] == "result":
                return found, event
    except P2PVoiceError as error:
        return found, error
    raise AssertionError("the stream ended without a result")


def test_rotten_bits_are_found_and_only_their_chunks_are_fetched(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    a = daemons().start()
    b = daemons().start(a)
    install_encoder(a, encoder)
    bring(a, clip, gpt=large_gpt(tmp_path / "gpt.ckpt", feed=20_000, seed=1))
    release = publish(a)["release"]
    list(b.client.fetch(release))
    files = {file["path"]: file for file in b.client.show(release)["files"]}
    stored = {path: b.home / "store" / "files" / file["digest"] for path, file in files.items()}
    whole = {path: place.read_bytes() for path, place in stored.items()}
    assert verify(b)[1]["damaged"] == 0

    said = {"voice": release, "text": "好", "lang": "yue", "seed": 1}
    assert b.client.speak(said).release == release
    gpt, reference = "gpt.safetensors", "reference/0.wav"
    size = files[gpt]["size"]
    assert files[gpt]["chunks"] >= 5
    for at in (size // 2, size - 10):
        damage(stored[gpt], at)
    damage(stored[reference], 100)
    events, error = verify(b, "storyteller", repair=False)
    assert error.exit_code == 5
    assert error.hint == "p2pvoice verify storyteller"
    lost = {event["file"]: (len(event["chunks"]), event["bytes"]) for event in events}
    assert set(lost) == {gpt, reference}
    assert lost[gpt][0] == 2
    # Out of service: not spoken, and not served to a third node.
    error = refusal(lambda: b.client.speak(said))
    assert (error.exit_code, error.hint) == (5, f"p2pvoice verify {release}")
    for path in lost:
        assert not stored[path].exists()

    # A killed daemon does not forget it. Whom it knew it would dial again by itself.
    b.end()
    (b.home / "peers.json").unlink()
    b.start()
    before = a.client.status()["debug"]["served_bytes"]
    events, error = verify(b, release)
    assert error.exit_code == 5
    assert "p2pvoice connect" in error.hint
    assert set(event["file"] for event in events) == set(lost)
    assert not b.client.status()["debug"]["served_bytes"]

    b.meet(a)
    events, result = verify(b, release)
    wanted = sum(count for _, count in lost.values())
    assert (result["damaged"], result["repaired"]) == (2, 2)
    assert result["bytes_fetched"] == wanted < size // 2
    assert a.client.status()["debug"]["served_bytes"] - before <= wanted
    assert {path: place.read_bytes() for path, place in stored.items()} == whole
    assert b.client.speak(said).release == release
    assert verify(b)[1]["damaged"] == 0
    print(f"{sum(map(len, whole.values()))} bytes, {wanted} damaged, {result['bytes_fetched']} fetched")

    # Found while serving: the chunk is refused, the file set aside, and verify brings it back.
    damage(stored[reference], 100)
    c = daemons().start(b)
    a.end()
    error = refusal(lambda: list(c.client.fetch(release)))
    assert error.exit_code == 6
    assert not stored[reference].exists()
    assert refusal(lambda: b.client.speak(said)).exit_code == 5
    a.start()
    b.meet(a)
    assert verify(b)[1]["bytes_fetched"] == lost[reference][1]
    list(c.client.fetch(release))

    assert refusal(lambda: list(b.client.verify("nobody/knows"))).exit_code == 4


def test_gc_frees_what_no_voice_needs_and_keeps_what_is_wanted(
    daemons: Make, encoder: Path, clip: Path, tmp_path: Path
) -> None:
    a = daemons().start()
    install_encoder(a, encoder)
    bring(a, clip)
    releases = [publish(a)["release"]]
    for seed in (1, 2):
        bring(a, clip, gpt=moved_gpt(tmp_path / f"{seed}.ckpt", seed))
        releases.append(publish(a)["release"])
    first, second, third = ({file["digest"] for file in a.client.show(one)["files"]} for one in releases)
    # The release before the offered one stays: those who have it fetch the newer one as deltas.
    wanted = second | third
    assert first - wanted
    *told, result = a.client.gc(dry_run=True)
    assert {event["file"] for event in told} == first - wanted
    assert {event["name"] for event in told} == {"storyteller/preview.wav", "storyteller/gpt.safetensors"}
    assert result["dry_run"]
    assert result["freed"] > 0
    store = a.home / "store" / "files"
    assert {path.name for path in store.iterdir()} == first | wanted
    *_, result = a.client.gc()
    assert result["removed"] == 2
    assert {path.name for path in store.iterdir()} == wanted
    assert [*a.client.gc()][-1]["freed"] == 0
    *_, checked = a.client.verify()
    assert (checked["files"], checked["damaged"]) == (len(third), 0)


@pytest.mark.parametrize("command", ["gc", "verify"])
def test_commands_say_when_there_is_no_daemon(command: str, home: Path) -> None:
    line = [sys.executable, "-m", "p2pvoice.cli.main", "--json", command]
    assert subprocess.run(line, capture_output=True).returncode == 3
