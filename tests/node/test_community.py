"""What people say of a voice, between real daemons: acting, away and back, late, twice, strangers, restarts."""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.protocol.errors import (
    ConflictError,
    NotFoundError,
    PolicyError,
    UsageError,
)

from .nodes import Daemon, bring, install_encoder, publish, refusal

PATIENCE = 30.0
"""Seconds until something that peers do by themselves must have happened."""


def eventually(look: Callable[[], Any]) -> Any:
    """What ``look`` returns as soon as that is true; it is asked again and again until then."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


@dataclass(frozen=True)
class Village:
    """An author's node, and two that hold the voice; all know each other."""

    author: Daemon
    listener: Daemon
    holder: Daemon
    release: str


@pytest.fixture
def village(daemons: Callable[[], Daemon], encoder: Path, clip: Path) -> Iterator[Village]:
    a, b, c = daemons().start(), daemons(), daemons()
    install_encoder(a, encoder)
    bring(a, clip)
    release = publish(a)["release"]
    for one in (b, c):
        one.start(a)
        eventually(lambda one=one: one.client.status()["peers"])
        list(one.client.fetch(release))
    c.meet(b)
    yield Village(a, b, c, release)


def comments(daemon: Daemon, ref: str = "storyteller") -> list[str]:
    return [row["text"] for row in daemon.client.said(ref, "comments")["comments"]]


def stars(daemon: Daemon) -> tuple[int, int]:
    found = daemon.client.said("storyteller", "log")
    return found["totals"]["stars"], found["others"]["stars"]


def test_one_node_alone(daemons: Callable[[], Daemon], encoder: Path, clip: Path) -> None:
    """Everything can be said of an own voice without anybody there, and is there after a kill."""
    a = daemons().start()
    install_encoder(a, encoder)
    bring(a, clip)
    publish(a)
    client = a.client
    starred = client.act("storyteller", "star")
    assert (starred["done"], starred["told"], starred["totals"]["stars"]) == (True, 0, 1)
    again = client.act("storyteller", "star")
    assert (again["done"], again["operation"], again["nothing"]) == (
        False,
        None,
        "you have starred it already",
    )
    first = client.act("storyteller", "comment", text="Schön!\r\n  and warm ")["operation"]
    answer = client.act_on(first, "comment", text="Thanks")["operation"]
    client.act_on(first[:10], "edit", text="Very warm")
    issue = client.act("storyteller", "issue", title="It lisps", text="On every s.")["operation"]
    client.act_on(issue, "label", add=["bug", "sibilants"])
    client.act_on(issue, "label", remove=["bug"])
    client.act_on(issue, "close", text="trained again")
    a.end(signal.SIGKILL)
    a.start()
    thread = client.said("storyteller", "comments")["comments"]
    assert [(row["text"], row["depth"], row["yours"], row["counted"], row["owner"]) for row in thread] == [
        ("Very warm", 0, True, True, True),
        ("Thanks", 1, True, True, True),
    ]
    assert thread[0]["edited"] > thread[0]["time"] > 1_700_000_000
    assert thread[1]["target"] == first
    [row] = client.said("storyteller", "issues")["issues"]
    assert (row["title"], row["labels"], row["state"]) == ("It lisps", ["sibilants"], "closed")
    assert row["closed"]["reason"] == "trained again"
    client.act_on(answer, "retract")
    assert client.said("storyteller", "comments")["comments"][1]["text"] == ""
    log = client.said("storyteller", "log")
    assert [entry["act"] for entry in log["entries"]] == [
        "retract", "close", "label", "label", "issue", "edit", "comment", "comment", "star",
    ]  # fmt: skip
    assert not any(entry.get("text") == "Thanks" for entry in log["entries"])
    assert client.act("storyteller", "unstar")["totals"]["stars"] == 0
    [row] = client.voices()
    assert (row["stars"], row["comments"], row["issues_open"]) == (0, 1, 0)


def test_what_makes_no_sense_is_not_signed(village: Village) -> None:
    a, b = village.author.client, village.listener.client
    mine = a.act("storyteller", "comment", text="mine")["operation"]
    issue = a.act("storyteller", "issue", title="an issue")["operation"]
    eventually(lambda: len(comments(village.listener)) == 1)
    eventually(lambda: b.said("storyteller", "issues")["issues"])
    assert isinstance(refusal(lambda: b.act_on(mine, "edit", text="yours")), PolicyError)
    assert isinstance(refusal(lambda: b.act_on(mine, "retract")), PolicyError)
    assert isinstance(refusal(lambda: b.act_on(issue, "close")), PolicyError)
    assert isinstance(refusal(lambda: b.act_on(issue, "label", add=["bug"])), PolicyError)
    assert isinstance(refusal(lambda: b.act_on(mine, "close")), UsageError)
    assert isinstance(refusal(lambda: b.act_on(mine, "review", verdict="accept")), UsageError)
    assert isinstance(refusal(lambda: b.act_on("opaaaaaaaa", "retract")), NotFoundError)
    assert isinstance(refusal(lambda: b.act_on("opaaaa", "nonsense")), NotFoundError)
    assert isinstance(refusal(lambda: b.act_on("opaaa", "retract")), UsageError)
    assert isinstance(refusal(lambda: b.act("storyteller", "comment", text=" ")), UsageError)
    assert isinstance(refusal(lambda: b.act("storyteller", "comment", text="x" * 4001)), UsageError)
    assert isinstance(refusal(lambda: b.act("storyteller", "retract")), UsageError)
    a.act_on(mine, "retract")
    assert isinstance(refusal(lambda: a.act_on(mine, "edit", text="again")), ConflictError)
    assert a.act_on(mine, "retract")["nothing"]
    assert [row["act"] for row in b.said("storyteller", "log", everything=True)["entries"]].count("edit") == 0


def test_an_act_reaches_who_was_away_through_who_holds_the_voice(village: Village) -> None:
    a, b, c = village.author, village.listener, village.holder
    a.end()
    told = b.client.act("storyteller", "star")
    assert told["told"] == 1
    b.client.act("storyteller", "comment", text="Wo bist du?")
    assert eventually(lambda: comments(c)) == ["Wo bist du?"]
    # Who has acted leaves; only who holds the voice is there when its author comes back.
    b.end()
    a.start()
    a.meet(c)
    assert eventually(lambda: comments(a)) == ["Wo bist du?"]
    assert stars(a) == (0, 1)


def test_a_late_joiner_learns_everything_once(village: Village, daemons: Callable[[], Daemon]) -> None:
    a, b, c = village.author, village.listener, village.holder
    a.client.act("storyteller", "star")
    first = b.client.act("storyteller", "comment", text="eins")["operation"]
    for one in (a, c):
        eventually(lambda one=one: comments(one) == ["eins"])
    a.client.act_on(first, "comment", text="zwei")
    c.client.act_on(first, "comment", text="drei")
    late = daemons().start(c)
    eventually(lambda: late.client.status()["peers"])
    list(late.client.fetch(village.release))
    for one in (a, b, c, late):
        found = eventually(lambda one=one: (r := comments(one)) and len(r) == 3 and r)
        assert found == ["eins", "zwei", "drei"]
    rows = late.client.said("storyteller", "comments")["comments"]
    # The listener is a stranger here, but the author has answered: the question is shown, the other answer is not.
    assert [(row["counted"], row["shown"]) for row in rows] == [(False, True), (True, True), (False, False)]
    assert stars(late) == (1, 0)
    late.client.follow(c.client.status()["author"], "Cousine")
    rows = late.client.said("storyteller", "comments")["comments"]
    assert [(row["counted"], row["author_name"]) for row in rows][2] == (True, "Cousine")
