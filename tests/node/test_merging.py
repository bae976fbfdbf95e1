"""Diff and merge between real daemons: an author, and somebody who made a voice of the author's."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from p2pvoice.node.drafts import Drafts
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import ConflictError, NotFoundError, RefusedError, UsageError
from p2pvoice.protocol.label import read_label
from p2pvoice.sovits.checkpoint import read_checkpoint

from .nodes import CHECKPOINTS, Daemon, bring, install_encoder, publish, refusal

NOTHING_SAID: dict[str, object] = {
    **dict.fromkeys(("license", "consent", "description")),
    "tags": [],
    "ai_voice_permission": False,
}
"""A publication of which only the draft is named."""


def moved_gpt(path: Path, seed: int) -> Path:
    """A GPT checkpoint like the tiny one, with other layers."""
    tiny = read_checkpoint(CHECKPOINTS / "tiny_v2.ckpt")
    generator = torch.Generator().manual_seed(seed)
    weight = {
        name: (tensor.float() + 0.05 * torch.randn(tensor.shape, generator=generator)).half()
        if name.startswith("model.h.")
        else tensor.clone()
        for name, tensor in tiny.tensors.items()
    }
    torch.save({"weight": weight, "config": tiny.config, "info": "GPT-e1"}, path)
    return path


@dataclass
class Village:
    """An author's node and a reader's, connected; releases by what they are."""

    author: Daemon
    reader: Daemon
    releases: dict[str, str]
    clip: Path

    def offer(self, name: str, parents: list[tuple[str, str]], gpt: Path | None = None) -> str:
        """Have the reader publish a voice that names these parents; its release."""
        if gpt is not None:
            bring(self.reader, self.clip, gpt=gpt, name=name)
        drafts = Drafts(self.reader.home / "drafts")
        slug = name.lower()
        if gpt is None:
            shutil.copytree(self.reader.home / "drafts" / "mine", self.reader.home / "drafts" / slug)
        drafts.note(drafts.get(slug), {"parents": [list(parent) for parent in parents]})
        self.releases[name] = str(publish(self.reader, slug)["release"])
        return self.releases[name]

    def newest(self) -> dict[str, Any]:
        return self.author.client.show("storyteller")


@pytest.fixture(scope="module")
def village(encoder: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    author, reader = (Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))) for _ in range(2))
    found = Village(author, reader, {}, clip)
    try:
        author.start()
        reader.start(author)
        install_encoder(author, encoder)
        install_encoder(reader, encoder)
        bring(author, clip)
        ours = found.releases["ours"] = str(publish(author)["release"])
        reader.meet(author)
        gpt = moved_gpt(tmp_path_factory.mktemp("gpt") / "moved.ckpt", 1)
        found.offer("Mine", [(ours, "fine-tuned-from")], gpt)
        found.offer("Stranger", [])
        found.offer("Pupil", [(ours, "distilled-from")])
        found.offer("Grandchild", [(found.releases["Mine"], "fine-tuned-from")])
        yield found
    finally:
        for daemon in (author, reader):
            if daemon.process is not None:
                with suppress(ProcessLookupError):
                    daemon.end()
            shutil.rmtree(daemon.home, ignore_errors=True)


def result(events: Iterator[Any]) -> Any:
    *_, last = events
    return last


def parts_of(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {row["part"]: row["changed"] for row in rows}


def merged(client: Client, theirs: str, mode: str = "average", **more: object) -> Any:
    body = {"with": theirs, "mode": mode, "sentences": ["你好。"], **more}
    return result(client.merge("storyteller", body))


# Diff ---------------------------------------------------------------------------------------------


def test_a_release_somewhere_in_the_network_is_compared_and_not_installed(village: Village) -> None:
    client, mine = village.author.client, village.releases["Mine"]
    found = result(client.diff("storyteller", mine, samples=True, text="你好。"))
    assert parts_of(found["parts"]) == {
        "reading": 0, "phrasing": 24, "choice": 0, "codes": 0, "text": 0, "style": 0, "flow": 0, "decoder": 0,
        "references": 0,
    }  # fmt: skip
    assert (found["changed"], found["related"], found["unfit"]) == (24, True, None)
    assert all(row["part"] == "phrasing" and row["relative"] > 0 for row in found["tensors"])
    order = [row["relative"] for row in found["tensors"]]
    assert order == sorted(order, reverse=True)
    fields = {row["field"]: (row["a"], row["b"]) for row in found["metadata"]}
    assert fields["name"] == ("Storyteller", "Mine")
    assert fields["parents"][1] == [{"release": village.releases["ours"], "kind": "fine-tuned-from"}]
    assert not found["license"]["changed"]
    assert found["consent"]["a"]["subject"] == "synthetic"
    assert "sovits.safetensors" in found["files"]["same"]
    assert "gpt.safetensors" in found["files"]["changed"]
    assert 0 < found["files"]["shared_bytes"] < found["files"]["bytes"]
    # Each said the sentence, and the sound says whose it is.
    assert [one["of"] for one in found["samples"]] == ["a", "b"]
    for one, release in zip(found["samples"], (village.releases["ours"], mine), strict=True):
        audio = client.sample(one["sample"])
        label = read_label(audio.data)
        assert label is not None
        assert label.release == release
        assert audio.headers["x-aigc-label"] == "1"
    assert [voice["slug"] for voice in client.voices()] == ["storyteller"]
    assert [path.name for path in (village.author.home / "voices").iterdir()] == [village.releases["ours"]]


def test_what_was_listed_is_bounded_by_what_was_asked_for(village: Village) -> None:
    found = result(village.author.client.diff("storyteller", village.releases["Mine"], tensors=3))
    assert (len(found["tensors"]), found["changed"]) == (3, 24)
    for wrong in (-1, 4097, 1.5, "many"):
        with pytest.raises(UsageError):
            result(village.author.client.diff("storyteller", "storyteller", tensors=wrong))


def test_samples_are_known_by_their_ids_alone(village: Village) -> None:
    for name in ("0" * 32, "../../keys/author.key", "x", "draft.json"):
        with pytest.raises(NotFoundError):
            village.author.client.sample(name)


# Refusals -----------------------------------------------------------------------------------------


def test_what_cannot_be_merged_is_refused_with_the_reason(village: Village) -> None:
    client, known = village.author.client, village.releases
    for theirs, body, kind, words in (
        (known["Stranger"], {}, ConflictError, "not of one lineage"),
        (known["Pupil"], {}, ConflictError, "not of one lineage"),
        (known["ours"], {}, ConflictError, "nothing to merge"),
        (known["Mine"], {"mode": "stir"}, UsageError, "no way to merge"),
        (known["Mine"], {"weight": 0}, UsageError, "between 0 and 1"),
        (known["Mine"], {"weight": 1}, UsageError, "between 0 and 1"),
        (known["Mine"], {"mode": "layers"}, UsageError, "named parts"),
        (known["Mine"], {"parts": ["decoder"]}, UsageError, "named parts"),
        (known["Mine"], {"mode": "layers", "parts": ["engine"]}, UsageError, "no part of a voice"),
        (known["Mine"], {"mode": "layers", "parts": ["codes"]}, UsageError, "nothing to take"),
        (known["Mine"], {"sentences": ["x"] * 7}, UsageError, "at most 6"),
        (known["Mine"], {"sentences": ["x" * 201]}, UsageError, "1 to 200"),
        (known["Mine"], {"asr": "nobody"}, NotFoundError, "no speech recogniser"),
        ("baga" + "q" * 57, {}, NotFoundError, ""),
    ):
        error = refusal(lambda theirs=theirs, body=body: merged(client, theirs, **body))  # type: ignore[misc]
        assert isinstance(error, kind), (theirs, body, error)
        assert words in error.message
    assert [draft["slug"] for draft in client.drafts()] == ["storyteller"]


def test_somebody_elses_voice_is_not_merged_into(village: Village) -> None:
    ours, mine = village.releases["ours"], village.releases["Mine"]
    error = refusal(lambda: result(village.reader.client.merge(ours, {"with": mine, "mode": "take"})))
    assert isinstance(error, RefusedError)
    assert "only its author" in error.message


# Merging ------------------------------------------------------------------------------------------


def test_an_average_is_heard_reported_and_published_with_what_was_declared_before(village: Village) -> None:
    client, mine = village.author.client, village.releases["Mine"]
    before = village.newest()
    draft_before = (village.author.home / "drafts" / "storyteller" / "draft.json").read_bytes()
    made = merged(client, mine, weight=0.25)
    assert (made["draft"], made["voice"], made["share"]) == ("storyteller-merge", "storyteller", 0.25)
    assert parts_of(made["changes"])["phrasing"] == 24
    assert sum(parts_of(made["changes"]).values()) == 24
    report = made["report"]
    assert report["sentences"] == 1
    assert report["errors"]["after"] is None
    assert "--asr" in report["errors"]["reason"]
    for figure in ("similarity", "quality"):
        assert set(report[figure]) >= {"before", "theirs", "after"}
        assert ("method" in report[figure]) != ("reason" in report[figure])
    assert [one["of"] for one in made["samples"]] == ["before", "theirs", "after"]
    assert all(read_label(client.sample(one["sample"]).data) for one in made["samples"])
    # A draft can be compared with what it comes from, before anybody publishes it.
    found = result(client.diff("storyteller", "storyteller-merge"))
    assert found["b"]["draft"] == "storyteller-merge"
    assert found["changed"] == 24
    assert village.newest()["release"] == before["release"]

    published = publish(village.author, "storyteller-merge", **NOTHING_SAID)
    after = village.newest()
    assert (after["release"], after["sequence"]) == (published["release"], before["sequence"] + 1)
    for said in ("license", "description", "tags", "name", "slug"):
        assert after[said] == before[said]
    assert after["consent"] == before["consent"]
    assert after["parents"] == [
        {"release": before["release"], "kind": "revision-of"},
        {"release": mine, "kind": "merged-from"},
    ]
    assert (village.author.home / "drafts" / "storyteller" / "draft.json").read_bytes() == draft_before
    list(village.reader.client.fetch(published["release"]))
    spoken = village.reader.client.speak({"voice": published["release"], "text": "你好", "lang": "yue"})
    assert spoken.release == published["release"]
    # The same draft again, to declare something else.
    again = publish(village.author, "storyteller-merge", **{**NOTHING_SAID, "description": "Gemischt."})
    assert village.newest()["description"] == "Gemischt."
    assert again["release"] != published["release"]


def test_two_nodes_that_merge_the_same_get_the_same_files(village: Village) -> None:
    """Half of each: whoever of the two authors does it, into a voice of their own."""
    author, reader = village.author, village.reader
    list(reader.client.update("storyteller"))
    newest = village.newest()["release"]
    here = merged(author.client, village.releases["Mine"])
    body = {"with": newest, "mode": "average", "sentences": ["你好。"]}
    there = result(reader.client.merge("mine", body))
    for name in ("gpt.safetensors", "sovits.safetensors", "voice.json"):
        one, two = (
            (daemon.home / "drafts" / made["draft"] / "bundle" / name).read_bytes()
            for daemon, made in ((author, here), (reader, there))
        )
        assert one == two
    # A revision names again what it comes from: nobody offers the release before it any more.
    publish(reader, "mine-merge", **NOTHING_SAID)
    mine = reader.client.show("mine")
    assert [parent["kind"] for parent in mine["parents"]] == ["revision-of", "fine-tuned-from", "merged-from"]
    assert mine["parents"][1]["release"] == village.releases["ours"]


def test_a_chain_of_parents_is_asked_for_in_the_network(village: Village) -> None:
    """A node that knows neither the voice nor what was made of it in between."""
    third = Daemon(Path(tempfile.mkdtemp(prefix="p2pv-")))
    try:
        third.start(village.reader)
        third.meet(village.author)
        newest, grandchild = village.newest()["release"], village.releases["Grandchild"]
        assert result(third.client.diff(newest, grandchild))["related"] is True
        assert result(third.client.diff(newest, village.releases["Pupil"]))["related"] is False
    finally:
        third.end()
        shutil.rmtree(third.home, ignore_errors=True)


def test_a_merge_of_what_is_no_longer_newest_is_not_published(village: Village) -> None:
    merged(village.author.client, village.releases["Grandchild"], "layers", parts=["gpt"])
    publish(village.author, "storyteller")
    error = refusal(lambda: publish(village.author, "storyteller-merge", **NOTHING_SAID))
    assert isinstance(error, ConflictError)
    assert "another release since" in error.message
    assert "p2pvoice merge storyteller" in error.hint


def test_taking_is_taking_every_file(village: Village) -> None:
    client, mine = village.author.client, village.releases["Mine"]
    made = merged(client, mine, "take")
    assert made["taken"] == []
    publish(village.author, "storyteller-merge", **NOTHING_SAID)
    ours = {file["path"]: file["digest"] for file in village.newest()["files"]}
    theirs = {file["path"]: file["digest"] for file in client.show(mine)["files"]}
    assert ours.keys() == theirs.keys()
    assert {path for path in ours if ours[path] != theirs[path]} == {"preview.wav"}


def test_a_draft_that_no_merge_made_is_not_replaced(village: Village) -> None:
    drafts = Drafts(village.author.home / "drafts")
    drafts.note(drafts.get("storyteller-merge"), {"merge": None})
    error = refusal(lambda: merged(village.author.client, village.releases["Mine"], "take"))
    assert isinstance(error, ConflictError)
    assert "there is a draft storyteller-merge already" in error.message
    shutil.rmtree(village.author.home / "drafts" / "storyteller-merge")


def test_another_version_is_refused_before_anything_is_fetched(village: Village) -> None:
    list(village.reader.client.import_bundled("Lite"))
    lite = str(publish(village.reader, "lite", tags=["english"])["release"])
    error = refusal(lambda: merged(village.author.client, lite, "take", unrelated=True))
    assert isinstance(error, ConflictError)
    assert "the version is lite, not v2" in error.message
    events = village.author.client.gc(dry_run=True)
    assert not any(event.get("kind") == "partial" for event in events)
    # They can be compared all the same.
    found = result(village.author.client.diff("storyteller", lite))
    assert "of another version" in found["unfit"]
    assert found["related"] is False
    assert any(row["relative"] is None for row in found["tensors"])


def test_a_voices_own_clips_are_not_spoken_anew(village: Village) -> None:
    """A person's voice whose recordings stay at home: the references of a merge are those of its release."""
    author = village.author
    shutil.copytree(author.home / "drafts" / "storyteller", author.home / "drafts" / "person")
    first = publish(author, "person", consent="self", clips_may_travel=False)
    assert first["consent"]["references_may_travel"] is False
    theirs = village.releases["Grandchild"]
    body = {"with": theirs, "mode": "average", "sentences": ["你好。"], "unrelated": True}
    result(author.client.merge(first["release"], body))
    second = publish(author, "person-merge", **NOTHING_SAID)
    assert second["consent"] | {"signed_by": ""} == first["consent"] | {"signed_by": ""}
    assert second["consent"]["state"] == "signed"
    one, two = (author.client.show(release) for release in (first["release"], second["release"]))
    references = [
        {file["path"]: file["digest"] for file in shown["files"] if file["path"].startswith("reference/")}
        for shown in (one, two)
    ]
    assert references[0] == references[1]


@pytest.mark.slow
def test_recordings_do_not_slip_in_with_another_voices_clips(village: Village) -> None:
    """Theirs are said to travel, ours are not: then the merged voice speaks clips of its own."""
    author, theirs = village.author, village.releases["Grandchild"]
    shutil.copytree(author.home / "drafts" / "storyteller", author.home / "drafts" / "somebody")
    first = publish(author, "somebody", consent="self", clips_may_travel=False)
    body = {"with": theirs, "mode": "take", "sentences": ["你好。"], "unrelated": True}
    result(author.client.merge(first["release"], body))
    second = publish(author, "somebody-merge", **NOTHING_SAID)
    clips = {file["path"]: file["digest"] for file in author.client.show(second["release"])["files"]}
    given = {file["path"]: file["digest"] for file in author.client.show(theirs)["files"]}
    assert clips["gpt.safetensors"] == given["gpt.safetensors"]
    assert clips["reference/0.wav"] != given["reference/0.wav"]
