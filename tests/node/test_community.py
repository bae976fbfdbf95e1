"""What people say of a voice, between real daemons: acting, away and back, strangers, restarts, kills."""

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.identity import load_or_create
from p2pvoice.protocol.acts import Comment
from p2pvoice.protocol.envelope import public_key_of
from p2pvoice.protocol.errors import (
    ConflictError,
    KeyLockedError,
    NotFoundError,
    PolicyError,
    RevokedError,
    UsageError,
)
from p2pvoice.protocol.head import Head, sign_head
from p2pvoice.protocol.keyfile import SealedKey, open_key, parse_key
from p2pvoice.protocol.manifest import Release
from p2pvoice.protocol.operations import VoiceName

from .community_parts import Desk, Writer
from .nodes import Daemon, eventually, refusal
from .recall_parts import make_release


@dataclass(frozen=True)
class Village:
    """An author's node, and two that hold the voice; all know each other."""

    author: Daemon
    listener: Daemon
    holder: Daemon
    release: Release


def hold(daemon: Daemon, release: Release, head: bytes | None = None) -> Daemon:
    """Let a daemon that does not run yet hold a voice, as if it had been fetched; nothing here speaks it."""
    desk = Desk(daemon.home / "catalog.sqlite", clock=time.time)
    desk.catalog.add_release(release.envelope.to_bytes())
    desk.catalog.install(release, seed=True, head=head)
    desk.close()
    return daemon


@pytest.fixture(scope="module")
def village() -> Iterator[Village]:
    # A socket's path must be short.
    a, b, c = (Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))) for _ in range(3))
    try:
        key = load_or_create(a.home / "keys").author
        release = make_release(key, created=int(time.time()))
        head = Head(public_key_of(key), "storyteller", 1, release.id, int(time.time()) + 3600)
        hold(a, release, sign_head(head, key)).start()
        for one in (b, c):
            hold(one, release).start(a)
        eventually(lambda: a.client.status()["peers"] == 2)
        c.meet(b)
        yield Village(a, b, c, release)
    finally:
        for one in (a, b, c):
            if one.process is not None:
                one.end()
            shutil.rmtree(one.home, ignore_errors=True)


def comments(daemon: Daemon) -> list[str]:
    return [row["text"] for row in daemon.client.said("storyteller", "comments")["comments"]]


def stars(daemon: Daemon) -> tuple[int, int]:
    found = daemon.client.said("storyteller", "log")
    return found["totals"]["stars"], found["others"]["stars"]


def test_on_an_own_voice_everything_can_be_said(village: Village) -> None:
    a, client = village.author, village.author.client
    starred = client.act("storyteller", "star")
    assert (starred["done"], starred["told"], starred["totals"]["stars"]) == (True, 2, 1)
    again = client.act("storyteller", "star")
    assert (again["done"], again["operation"], again["nothing"]) == (
        False,
        None,
        "you have starred it already",
    )
    first = client.act("storyteller", "comment", text="Scho\u0308n!\r\n  and warm ")["operation"]
    client.act_on(first, "comment", text="Thanks")
    answer = client.act_on(first, "comment", text="No, thank you")["operation"]
    assert comments(a)[0] == "Sch\u00f6n!\n  and warm"
    client.act_on(first[:10], "edit", text="Very warm")
    issue = client.act("storyteller", "issue", title="It lisps", text="On every s.")["operation"]
    client.act_on(issue, "label", add=["bug", "sibilants"])
    client.act_on(issue, "label", remove=["bug"])
    client.act_on(issue, "edit", title="It lisped")
    client.act_on(issue, "close", text="trained again")
    thread = client.said("storyteller", "comments")["comments"]
    assert [(row["text"], row["depth"], row["yours"], row["counted"], row["owner"]) for row in thread] == [
        ("Very warm", 0, True, True, True),
        ("Thanks", 1, True, True, True),
        ("No, thank you", 1, True, True, True),
    ]
    assert thread[0]["edited"] > thread[0]["time"] > 1_700_000_000
    assert thread[1]["target"] == first
    [row] = client.said("storyteller", "issues")["issues"]
    assert (row["title"], row["text"], row["labels"]) == ("It lisped", "On every s.", ["sibilants"])
    assert (row["state"], row["closed"]["reason"], row["closed"]["yours"]) == (
        "closed",
        "trained again",
        True,
    )
    client.act_on(answer, "retract")
    assert client.said("storyteller", "comments")["comments"][2]["text"] == ""
    log = client.said("storyteller", "log")
    assert [entry["act"] for entry in log["entries"]] == [
        "retract", "close", "edit", "label", "label", "issue", "edit", "comment", "comment", "comment",
        "star",
    ]  # fmt: skip
    assert not any(entry.get("text") == "No, thank you" for entry in log["entries"])
    [row] = client.voices()
    assert (row["stars"], row["starred"], row["comments"], row["issues_open"]) == (1, True, 2, 0)
    assert client.show("storyteller")["stars"] == 1
    for one in (village.listener, village.holder):
        eventually(
            lambda one=one: len(one.client.said("storyteller", "log")["entries"]) == len(log["entries"])
        )
    assert client.act("storyteller", "unstar")["totals"]["stars"] == 0


def test_what_makes_no_sense_is_not_signed(village: Village) -> None:
    a, b = village.author.client, village.listener.client
    mine = a.act("storyteller", "comment", text="mine")["operation"]
    issue = a.act("storyteller", "issue", title="an issue")["operation"]
    eventually(lambda: "mine" in comments(village.listener))
    eventually(lambda: any(row["title"] == "an issue" for row in b.said("storyteller", "issues")["issues"]))
    before = len(b.said("storyteller", "log", everything=True)["entries"])
    assert isinstance(refusal(lambda: b.act_on(mine, "edit", text="yours")), PolicyError)
    assert isinstance(refusal(lambda: b.act_on(mine, "retract")), PolicyError)
    assert isinstance(refusal(lambda: b.act_on(issue, "close")), PolicyError)
    assert isinstance(refusal(lambda: b.act_on(issue, "label", add=["bug"])), PolicyError)
    assert isinstance(refusal(lambda: b.act_on(mine, "close")), UsageError)
    assert isinstance(refusal(lambda: b.act_on(mine, "review", verdict="accept")), UsageError)
    assert isinstance(refusal(lambda: b.act_on("opaaaaaaaa", "retract")), NotFoundError)
    assert isinstance(refusal(lambda: b.act_on(mine, "nonsense")), UsageError)
    assert isinstance(refusal(lambda: b.act_on("opa", "retract")), UsageError)
    assert isinstance(refusal(lambda: b.act("storyteller", "comment", text=" ")), UsageError)
    assert isinstance(refusal(lambda: b.act("storyteller", "comment", text="x" * 4001)), UsageError)
    assert isinstance(refusal(lambda: b.act("storyteller", "comment", text="\u202eevil")), UsageError)
    assert isinstance(refusal(lambda: b.act("storyteller", "retract")), UsageError)
    assert isinstance(refusal(lambda: b.act("no-such-voice", "star")), NotFoundError)
    assert len(b.said("storyteller", "log", everything=True)["entries"]) == before
    a.act_on(mine, "retract")
    assert isinstance(refusal(lambda: a.act_on(mine, "edit", text="again")), ConflictError)
    assert a.act_on(mine, "retract")["nothing"]
    a.change_key("passphrase", new="horsehair", passphrase="")
    a.change_key("lock")
    locked = refusal(lambda: a.act("storyteller", "comment", text="locked"))
    assert isinstance(locked, KeyLockedError)
    assert "key unlock" in locked.hint
    a.change_key("unlock", passphrase="horsehair")


def test_an_act_reaches_who_was_away_through_who_holds_the_voice(village: Village) -> None:
    a, b, c = village.author, village.listener, village.holder
    a.end()
    assert b.client.act("storyteller", "star")["told"] == 1
    b.client.act("storyteller", "comment", text="Wo bist du?")
    eventually(lambda: "Wo bist du?" in comments(c))
    # Who has acted leaves; only who holds the voice is there when its author comes back.
    b.end()
    a.start()
    a.client.change_key("unlock", passphrase="horsehair")
    a.meet(c)
    eventually(lambda: "Wo bist du?" in comments(a))
    assert stars(a) == (0, 1)
    b.start(a)
    b.meet(c)


def test_a_late_joiner_learns_everything_once(village: Village, daemons: Callable[[], Daemon]) -> None:
    a, b, c = village.author, village.listener, village.holder
    first = b.client.act("storyteller", "comment", text="eins")["operation"]
    for one in (a, c):
        eventually(lambda one=one: "eins" in comments(one))
    a.client.act_on(first, "comment", text="zwei")
    c.client.act_on(first, "comment", text="drei")
    late = hold(daemons(), village.release).start(c)

    def thread(one: Daemon) -> list[Any]:
        rows = one.client.said("storyteller", "comments")["comments"]
        return [row for row in rows if first in (row["operation"], row["target"])]

    for one in (a, b, c, late):
        rows = eventually(lambda one=one: (found := thread(one)) and len(found) == 3 and found)
        assert [row["text"] for row in rows] == ["eins", "zwei", "drei"]
    rows = thread(late)
    # The listener is a stranger here, but the author has answered: the question is shown.
    assert [(row["counted"], row["shown"]) for row in rows] == [(False, True), (True, True), (False, False)]
    assert stars(late) == (0, 1)
    # Who has published nothing is found by as much of the key as is shown, and by no less.
    cousin = c.client.status()["author"]
    assert isinstance(refusal(lambda: late.client.follow(cousin[len("did:key:") :][:11])), NotFoundError)
    assert late.client.follow(cousin[len("did:key:") :][:12], "Cousine")["author"] == cousin
    assert [(row["counted"], row["author_name"]) for row in thread(late)][2] == (True, "Cousine")
    # Taking the voice out of use leaves a log with own words; without any it goes with the next collection.
    late.client.act("storyteller", "star")
    late.client.remove("storyteller")
    list(late.client.gc())
    assert len(thread(late)) == 3
    found = late.client.credits(a.client.status()["author"])
    assert (found["voices"], found["releases"], found["mirrored"]) == (1, 1, 0)


def test_killed_in_the_middle_of_a_sync(village: Village) -> None:
    """A long log comes in; the daemon is killed while it does, and has it all soon after it starts again."""
    a, b, c = village.author, village.listener, village.holder
    for one in (a, b, c):
        one.end()
    sealed = parse_key((a.home / "keys" / "author.key").read_bytes())
    assert isinstance(sealed, SealedKey)
    key = Ed25519PrivateKey.from_private_bytes(open_key(sealed, "horsehair"))
    desk = Desk(a.home / "catalog.sqlite", clock=time.time)
    writer = Writer(VoiceName(public_key_of(key), "storyteller"), key=key)
    writer.said = [one for one in desk.logs.operations(writer.voice) if one.operation.signer == writer.public]
    before = len(writer.said)
    for number in range(400):
        writer.say(Comment(f"line {number}"))
    desk.take(writer.said[before:])
    desk.close()
    a.start()
    b.start(a)

    def comments_at(one: Daemon) -> int:
        found = one.client.said("storyteller", "issues")
        return int(found["totals"]["comments"] + found["others"]["comments"])

    eventually(lambda: comments_at(b) > 100)
    b.end(signal.SIGKILL)
    desk = Desk(b.home / "catalog.sqlite", clock=time.time)
    kept = [
        one.operation.seq
        for one in desk.logs.operations(writer.voice)
        if one.operation.signer == writer.public
    ]
    desk.close()
    assert kept == list(range(1, len(kept) + 1))
    b.start(a)
    whole = comments_at(a)
    assert whole >= 400
    eventually(lambda: comments_at(b) == whole)


def test_a_revoked_voice_shows_its_tombstone_and_nothing_else(village: Village) -> None:
    a, b = village.author, village.listener
    a.client.change_key("unlock", passphrase="horsehair")
    list(a.client.revoke("storyteller", whole=True, reason="enough"))
    eventually(lambda: b.client.said("storyteller", "log")["revoked"])
    for one in (a, b):
        found = one.client.said("storyteller", "log", everything=True)
        assert (found["entries"], found["revoked"]["reason"]) == ([], "enough")
        assert isinstance(refusal(lambda one=one: one.client.act("storyteller", "star")), RevokedError)
        assert isinstance(refusal(lambda one=one: one.client.said("storyteller", "comments")), RevokedError)
        list(one.client.gc())
    a.end()
    desk = Desk(a.home / "catalog.sqlite", clock=time.time)
    assert desk.logs.voices() == []
    desk.close()
