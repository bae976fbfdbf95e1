"""Shelves between real daemons: a voice is found by way of a keeper that never held its files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .nodes import Daemon, bring, eventually, install_encoder, publish


@pytest.fixture
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """Three daemons that are not started yet."""
    made = [Daemon(tmp_path_factory.mktemp(name)) for name in "abc"]
    yield made
    for daemon in made:
        if daemon.process is not None:
            daemon.end()


def test_a_voice_is_found_after_its_author_has_gone(daemons: list[Daemon], encoder: Path, clip: Path) -> None:
    """A and B each offer a voice of one tag; C comes when A has stopped, and asks B."""
    a, b, c = daemons
    a.start()
    b.start(a)
    released = []
    for daemon, name in ((a, "Storyteller"), (b, "Announcer")):
        install_encoder(daemon, encoder)
        bring(daemon, clip, name=name)
        released.append(publish(daemon, name.lower())["release"])
    first, second = released
    # By itself: a hint, or the first comparison.
    eventually(lambda: a.client.status()["shelves"]["voices"] == b.client.status()["shelves"]["voices"] == 2)
    assert b.client.status()["shelves"] | {"talks": 0} == {
        "kept": 3, "voices": 2, "partial": 0, "taken": 1, "talks": 0,
    }  # fmt: skip
    a.end()
    # What was brought lasts through a restart, and does not have to be brought again.
    b.end()
    b.start()
    eventually(lambda: b.client.status()["shelves"]["voices"] == 2)
    assert b.client.status()["shelves"]["taken"] == 0
    c.start(b)
    eventually(lambda: c.client.status()["peers"])
    rows = eventually(
        lambda: [
            rows
            for rows in [list(c.client.find(tags=["cantonese"], timeout=10.0))]
            if {row.get("release") for row in rows} >= {first, second}
        ]
    )[0]
    assert {row["name"] for row in rows if row.get("event") == "voice"} == {"Storyteller", "Announcer"}
    # Who only searched keeps no shelf.
    assert c.client.status()["shelves"]["kept"] == 0
    # Nor does who has lost its last voice of the tag.
    b.client.remove(second)
    eventually(lambda: b.client.status()["shelves"]["kept"] == 0)
    assert b.client.status()["shelves"]["voices"] == 0


def test_a_voice_without_tags_is_on_no_shelf(daemons: list[Daemon], encoder: Path, clip: Path) -> None:
    daemon = daemons[0]
    daemon.start()
    install_encoder(daemon, encoder)
    bring(daemon, clip, name="Quiet")
    release = publish(daemon, "quiet", tags=[])["release"]
    assert release in str(daemon.client.voices())
    assert daemon.client.status()["shelves"]["voices"] == 0
