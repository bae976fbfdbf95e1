"""Proposals between real daemons: offering, looking, deciding, merging, and what all of them see of it."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.node.drafts import Drafts
from p2pvoice.protocol.errors import ConflictError, NotFoundError, PolicyError, UsageError

from .nodes import Daemon, bring, install_encoder, publish, refusal
from .test_merging import NOTHING_SAID, moved_gpt, parts_of, result

PATIENCE = 30.0
"""Seconds until something that peers do by themselves must have happened."""


@dataclass(frozen=True)
class Pair:
    """A voice's author, and somebody with a better version of it; both hold the voice."""

    author: Daemon
    other: Daemon
    base: str
    mine: str

    def proposals(self, one: Daemon) -> list[dict[str, Any]]:
        voice = f"{self.author.client.status()['author']}/storyteller"
        return list(one.client.said(voice, "proposals")["proposals"])

    def eventually(self, one: Daemon, state: str) -> dict[str, Any]:
        """The only proposal as soon as a node sees it in this state."""
        end = time.monotonic() + PATIENCE
        while not (rows := [row for row in self.proposals(one) if row["state"] == state]):
            assert time.monotonic() < end, f"it did not become {state}"
            time.sleep(0.05)
        return rows[0]


@pytest.fixture(scope="module")
def pair(encoder: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    author, other = (Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))) for _ in range(2))
    try:
        author.start()
        other.start(author)
        install_encoder(author, encoder)
        install_encoder(other, encoder)
        bring(author, clip)
        base = str(publish(author)["release"])
        other.meet(author)
        list(other.client.fetch(base))
        gpt = moved_gpt(tmp_path_factory.mktemp("gpt") / "moved.ckpt", 1)
        bring(other, clip, gpt=gpt, name="Mine")
        drafts = Drafts(other.home / "drafts")
        drafts.note(drafts.get("mine"), {"parents": [[base, "fine-tuned-from"]]})
        yield Pair(author, other, base, str(publish(other, "mine")["release"]))
    finally:
        for daemon in (author, other):
            if daemon.process is not None:
                with suppress(ProcessLookupError):
                    daemon.end()
            shutil.rmtree(daemon.home, ignore_errors=True)


def test_what_cannot_be_proposed_is_refused_with_a_way_out(pair: Pair, clip: Path) -> None:
    author, other = pair.author.client, pair.other.client
    bring(pair.other, clip, name="Only a draft")
    shutil.copytree(pair.other.home / "drafts" / "mine", pair.other.home / "drafts" / "stranger")
    drafts = Drafts(pair.other.home / "drafts")
    drafts.note(drafts.get("stranger"), {"parents": []})
    stranger = publish(pair.other, "stranger")["release"]
    list(other.fork("storyteller", "Copy"))
    publish(pair.other, "copy", **NOTHING_SAID)
    for mine, kind, words, hint in (
        ("Only a draft", UsageError, "only what is published", "p2pvoice publish only-a-draft"),
        ("nobody", NotFoundError, "no voice", ""),
        (stranger, ConflictError, "does not come from", "p2pvoice fork"),
        ("storyteller", PolicyError, "somebody else's", "p2pvoice fork"),
        ("copy", ConflictError, "nothing changed", "p2pvoice diff"),
    ):
        error = refusal(lambda mine=mine: other.propose(pair.base, mine, "Take it."))  # type: ignore[misc]
        assert isinstance(error, kind), (mine, error)
        assert words in error.message
        assert hint in error.hint
    assert isinstance(refusal(lambda: other.propose("storyteller", "mine", "  ")), UsageError)
    assert isinstance(refusal(lambda: other.propose("storyteller", "mine", "x" * 4001)), UsageError)
    error = refusal(lambda: author.propose("storyteller", "storyteller", "Mine to mine."))
    assert isinstance(error, UsageError)
    assert pair.proposals(pair.author) == []


def test_a_proposal_from_offer_to_release(pair: Pair) -> None:
    author, other = pair.author.client, pair.other.client
    made = other.propose("storyteller", "mine", "Better pauses.\n\nTrained on the same clips.")
    assert made["done"]
    assert (made["release"], made["base"], made["head"]) == (pair.mine, pair.base, pair.base)
    again = other.propose("storyteller", "mine", "Once more.")
    assert (again["done"], again["operation"]) == (False, None)
    assert "already" in again["nothing"]
    name = made["operation"]

    row = pair.eventually(pair.author, "open")
    assert (row["operation"], row["release"], row["base"]) == (name, pair.mine, pair.base)
    assert row["text"].startswith("Better pauses.")
    assert (row["yours"], row["followed"], row["shown"]) == (False, False, False)
    offer = author.said("storyteller", "proposals", sync=True)["proposals"][0]["offer"]
    assert (offer["slug"], offer["changed"], offer["license"]) == ("mine", ["gpt.safetensors"], "CC-BY-4.0")
    assert 0 < offer["new_bytes"] < offer["bytes"]

    # What it would change, heard and measured; nothing of it is installed.
    found = result(author.proposal_diff(name[:10], samples=True, measure=True, text="你好。"))
    assert parts_of(found["parts"])["phrasing"] == 24
    assert (found["related"], found["unfit"]) == (True, None)
    assert [one["of"] for one in found["samples"]] == ["a", "b"]
    assert set(found["report"]["similarity"]) >= {"a", "b"}
    assert [voice["slug"] for voice in author.voices()] == ["storyteller"]

    # Only the voice's author merges, and not what was rejected.
    body = {"mode": "average", "sentences": ["你好。"]}
    error = refusal(lambda: result(other.merge_proposal(name, body)))
    assert isinstance(error, PolicyError)
    assert author.act_on(name, "review", verdict="reject", text="Not yet.")["done"]
    assert pair.eventually(pair.other, "rejected")["reviews"][0]["text"] == "Not yet."
    error = refusal(lambda: result(author.merge_proposal(name, body)))
    assert isinstance(error, ConflictError)
    assert "--accept" in error.hint
    assert author.act_on(name, "review", verdict="accept", text="")["done"]

    merged = result(author.merge_proposal(name, body))
    assert (merged["draft"], merged["proposal"], merged["theirs"]) == ("storyteller-merge", name, pair.mine)
    # A merge that is not published is none, in anybody's eyes.
    assert pair.eventually(pair.author, "accepted")["merged"] is None
    published = publish(pair.author, "storyteller-merge", **NOTHING_SAID)
    assert published["proposal"]["proposal"] == name
    assert published["proposal"]["error"] is None
    assert published["parents"] == [
        {"release": pair.base, "kind": "revision-of"},
        {"release": pair.mine, "kind": "merged-from"},
    ]
    for one in (pair.author, pair.other):
        row = pair.eventually(one, "merged")
        assert row["merged"] == {"release": published["release"], "mode": "average"}
    assert isinstance(refusal(lambda: result(author.merge_proposal(name, body))), ConflictError)
    # The draft can be published again; the proposal is settled all the same, and says so once.
    again = publish(pair.author, "storyteller-merge", **{**NOTHING_SAID, "description": "Again."})
    assert again["proposal"]["operation"] is None
    assert pair.eventually(pair.other, "merged")["merged"]["release"] == published["release"]


def test_a_proposal_can_be_withdrawn_and_made_again(pair: Pair) -> None:
    author, other = pair.author.client, pair.other.client
    name = other.propose("storyteller", "mine", "Take it.")["operation"]
    pair.eventually(pair.author, "open")
    assert other.act_on(name, "close", text="")["done"]
    pair.eventually(pair.author, "withdrawn")
    error = refusal(lambda: result(author.merge_proposal(name, {"mode": "take"})))
    assert "withdrawn" in error.message
    assert other.propose("storyteller", "mine", "On second thoughts.")["done"]


def test_an_operation_that_is_no_proposal_is_neither_compared_nor_merged(pair: Pair) -> None:
    author = pair.author.client
    said = author.act("storyteller", "comment", text="Hm.")["operation"]
    for error in (
        refusal(lambda: result(author.proposal_diff(said))),
        refusal(lambda: result(author.merge_proposal(said, {"mode": "take"}))),
    ):
        assert isinstance(error, UsageError)
        assert "no proposal" in error.message
