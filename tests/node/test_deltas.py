"""An update between daemons travels as deltas, and what a node may not speak of is no base."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from p2pvoice.node.delta_cache import DeltaCache
from p2pvoice.protocol.ids import parse_release_id
from p2pvoice.sovits.checkpoint import read_checkpoint

from .nodes import Daemon, bring, eventually, install_encoder, large_gpt, publish

Make = Callable[[], Daemon]


def step(source: Path, path: Path, seed: int) -> Path:
    """The checkpoint after one small step of a training."""
    found = read_checkpoint(source)
    generator = torch.Generator().manual_seed(seed)
    weight = {
        name: (tensor.float() + 1e-4 * torch.randn(tensor.shape, generator=generator)).half()
        for name, tensor in found.tensors.items()
    }
    torch.save({"weight": weight, "config": found.config, "info": "GPT-e2"}, path)
    return path


def result(events: Any) -> Any:
    *_, last = events
    return last


def test_an_update_travels_as_deltas(daemons: Make, encoder: Path, clip: Path, tmp_path: Path) -> None:
    a = daemons().start()
    c = daemons().start(a)
    install_encoder(a, encoder)
    first_gpt = large_gpt(tmp_path / "first.ckpt", feed=8192, seed=1)
    bring(a, clip, gpt=first_gpt)
    first = publish(a)["release"]
    fetched = result(c.client.fetch(first))
    assert fetched["bytes_sent"] > 0.7 * fetched["bytes_fetched"]  # Nothing to tell it from.

    bring(a, clip, gpt=step(first_gpt, tmp_path / "second.ckpt", 2))
    second = publish(a)["release"]
    eventually(lambda: c.client.show(second)["release"] == second)
    updated = result(c.client.update(f"{a.client.status()['author']}/storyteller"))
    assert updated["release"] == second
    assert updated["bytes_fetched"] > 2_000_000
    assert updated["bytes_sent"] < 0.6 * updated["bytes_fetched"]
    assert list((a.home / "deltas").iterdir())

    # What the author keeps for that is not garbage, after a restart neither; the asker keeps nothing.
    size = a.client.status()["disk"]["bytes"]
    assert result(a.client.gc())["removed"] == 0
    assert c.client.status()["disk"]["bytes"] < 0.7 * size
    a.end()
    a.start()
    assert a.client.status()["disk"]["bytes"] == size


def test_a_release_with_other_words_brings_no_files(daemons: Make, encoder: Path, clip: Path) -> None:
    a = daemons().start()
    c = daemons().start(a)
    install_encoder(a, encoder)
    bring(a, clip)
    first = publish(a)["release"]
    list(c.client.fetch(first))
    said = publish(a, description="Another word.")["release"]
    assert said != first
    eventually(lambda: c.client.show(said)["release"] == said)
    updated = result(c.client.update(f"{a.client.status()['author']}/storyteller"))
    assert updated["release"] == said
    assert updated["bytes_fetched"] == 0
    files = [{file["path"]: file["digest"] for file in one.client.show(said)["files"]} for one in (a, c)]
    assert "preview.wav" in files[0]
    assert files[0] == files[1]


def test_cache_keeps_within_its_quota(tmp_path: Path) -> None:
    cache = DeltaCache(tmp_path / "deltas", 3 * 132)
    for name in ("aa", "bb", "cc"):
        cache.put(name, name.encode() * 50)
    assert cache.held == 3 * 132
    assert cache.get("aa") == b"aa" * 50  # Used, so "bb" is the oldest now.
    cache.put("dd", b"dd" * 50)
    assert cache.get("bb") is None
    assert cache.get("aa") == b"aa" * 50
    cache.put("ee", bytes(3 * 132))  # One byte over, with its hash more than that.
    assert cache.get("ee") is None
    assert cache.held == 3 * 132
    cache.put("ff", b"")
    assert cache.get("ff") == b""


@pytest.mark.parametrize("damage", ["other", "short", "gone", "empty"])
def test_a_damaged_entry_is_not_given_out(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "deltas"
    DeltaCache(folder, 10_000).put("aa", b"delta")
    path = folder / "aa"
    data = path.read_bytes()
    (folder / "bb.1.new").write_bytes(b"half")
    cache = DeltaCache(folder, 10_000)
    assert not (folder / "bb.1.new").exists()
    assert cache.get("aa") == b"delta"
    match damage:
        case "other":
            path.write_bytes(data[:-1] + b"x")
        case "short":
            path.write_bytes(data[:20])
        case "empty":
            path.write_bytes(b"")
        case _:
            path.unlink()
    assert cache.get("aa") is None
    assert cache.held == 0
    cache.put("aa", b"again")
    assert cache.get("aa") == b"again"


def test_cache_that_is_over_a_smaller_quota_shrinks(tmp_path: Path) -> None:
    folder = tmp_path / "deltas"
    cache = DeltaCache(folder, 10_000)
    for name in ("aa", "bb"):
        cache.put(name, bytes(100))
    assert DeltaCache(folder, 140).held == 132
    assert DeltaCache(folder, 0).held == 0
    assert not list(folder.iterdir())


def test_unseeded_voices_are_no_bases(daemons: Make, encoder: Path, clip: Path, tmp_path: Path) -> None:
    """C holds the base without offering it: neither does it name it, nor does it answer with deltas to it."""
    a = daemons().start()
    c = daemons().start(a)
    install_encoder(a, encoder)
    gpt = large_gpt(tmp_path / "first.ckpt", feed=8192, seed=1)
    bring(a, clip, gpt=gpt)
    first = publish(a)["release"]
    list(c.client.fetch(first, seed=False))
    bring(a, clip, gpt=step(gpt, tmp_path / "second.ckpt", 2), name="Other")
    other = publish(a, "other")["release"]
    assert parse_release_id(other) != parse_release_id(first)
    fetched = result(c.client.fetch(other))
    assert fetched["bytes_sent"] > 0.7 * fetched["bytes_fetched"]
    c.client.remove(other)
    list(c.client.fetch(first))  # Now it is offered, so it may be named.
    again = result(c.client.fetch(other))
    assert again["bytes_sent"] < 0.6 * again["bytes_fetched"]
