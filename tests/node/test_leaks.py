"""What leaves the machine, held against the table in specs/threats.md; each test is named there.

Two real daemons whose every outgoing byte is written down (recorder.py) go through a user's day. What must
stay private is marked with words that occur nowhere else, and is looked for in everything that left.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.protocol.head import head_key, release_key, tag_key
from p2pvoice.protocol.ids import parse_author_id
from p2pvoice.protocol.label import read_label
from p2pvoice.protocol.revocation import revocation_key
from p2pvoice.protocol.successor import successor_key

from .nodes import Daemon, bring, install_encoder, publish, refusal

RECORDER = str(Path(__file__).parent / "recorder.py")

SPOKEN = "Nine quiet herons."
SEARCHED = "zimtschnecke"
CLIP_NAME = "grandmother-in-the-kitchen.wav"
KEPT = "Kranich im Nebel"
"""The name of a draft that is never published."""
TRANSCRIPT = "The lighthouse forgot its umbrella."
"""What a clip says that somebody tries to train from."""

PETNAME = "Grosstante Wilhelmine"
"""What somebody calls an author whom they follow."""

SAID = "Lovely as fog over the harbour."
ANSWERED = "The harbour says thank you."
"""What the listener says of the voice in public, and what its author answers."""

ENDS = ("cantonese", "male", "narration")
TAGS = ("language/yue", "gender/male", "style/narration")
"""What `publish` is told, and the tags that these are."""


@dataclass(frozen=True)
class Recorded:
    """A daemon that had its day, and what left it."""

    daemon: Daemon
    folder: Path
    log: str

    @property
    def sent(self) -> bytes:
        return (self.folder / "sent.bin").read_bytes()

    def events(self, kind: str) -> list[Any]:
        """What was noted under one name, in order."""
        lines = (self.folder / "events.jsonl").read_text().splitlines()
        return [value for name, value in map(json.loads, lines) if name == kind]

    def keys(self, kind: str) -> set[bytes]:
        """Keys that the DHT was told of or asked for."""
        return {bytes.fromhex(key) for key in self.events(kind)}


@dataclass(frozen=True)
class Day:
    """What two people did: one publishes, the other finds, fetches without seeding, and speaks."""

    author: Recorded
    listener: Recorded
    release: str
    spoken: bytes


@pytest.fixture(scope="module")
def day(encoder: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("day")
    # A socket's path must be short, so the homes lie apart from the records.
    homes = [tmp_path_factory.mktemp(name) for name in "ab"]
    records = [folder / name for name in "ab"]
    for record in records:
        record.mkdir()
    a, b = Daemon(homes[0]), Daemon(homes[1])
    try:
        a.start(program=(RECORDER, str(records[0])))
        b.start(a, program=(RECORDER, str(records[1])))
        install_encoder(a, encoder)
        named = clip.with_name(CLIP_NAME)
        os.link(clip, named)
        bring(a, named)
        bring(a, named, name=KEPT)
        refused = a.client.upload(clip)
        listed = a.client.upload_text(f"one.wav|me|EN|{TRANSCRIPT}\n")
        body = {"name": KEPT, "lang": "en", "clips": [{"name": "one.wav", "upload": refused}]}
        refusal(lambda: list(a.client.train({**body, "transcripts": listed})))
        release = publish(a, tags=list(ENDS))["release"]
        list(b.client.find(tags=["cantonese"], timeout=10.0))
        list(b.client.find(text=SEARCHED, timeout=2.0))
        b.client.preview(release)
        list(b.client.fetch(release, seed=False))
        said = b.client.speak({"voice": release, "text": SPOKEN, "lang": "en", "seed": 1})
        b.client.follow(a.client.status()["author"], PETNAME)
        list(b.client.update(release))
        logs = [(home / "daemon.log").read_text() for home in homes]
        yield Day(Recorded(a, records[0], logs[0]), Recorded(b, records[1], logs[1]), release, said.data)
    finally:
        for daemon in (a, b):
            if daemon.process is not None:
                daemon.end()


def test_what_is_private_never_leaves(day: Day) -> None:
    """Texts, searches, drafts, trainings and file names: in no byte that was handed to the network."""
    for one in (day.author, day.listener):
        sent = one.sent
        # The record is one: what is public is in it.
        assert day.release.encode() in sent or release_key(day.release) in sent
        for private in (SPOKEN, SEARCHED, CLIP_NAME, KEPT, TRANSCRIPT, PETNAME, str(one.daemon.home)):
            assert private.encode() not in sent, private


def test_private_keys_never_leave(day: Day) -> None:
    for one in (day.author, day.listener):
        for name in ("author.key", "peer.key"):
            secret = (one.daemon.home / "keys" / name).read_bytes()
            assert len(secret) == 32
            assert secret not in one.sent
            assert secret.hex() not in one.log


def test_the_listeners_author_key_is_told_to_nobody(day: Day) -> None:
    """Who publishes nothing shows no author key: only the peer id is seen."""
    name = day.listener.daemon.client.status()["author"]
    assert name.encode() not in day.listener.sent
    assert day.author.daemon.client.status()["author"].encode() in day.author.sent


def test_the_dht_is_told_of_what_is_seeded_and_of_nothing_else(day: Day) -> None:
    release = release_key(day.release)
    author = day.author.daemon.client.status()["author"]
    assert day.author.keys("provide") == {release, *(tag_key(tag) for tag in TAGS)}
    assert day.author.keys("put") == {head_key(author, "storyteller")}
    assert day.listener.keys("provide") == set()
    assert day.listener.keys("put") == set()


def test_look_ups_name_the_tag_the_release_and_the_voice(day: Day) -> None:
    """A search by text asks the DHT nothing; what is asked for by tag or id can be watched."""
    author = day.author.daemon.client.status()["author"]
    assert day.listener.keys("find_providers") == {tag_key(TAGS[0]), release_key(day.release)}
    public = parse_author_id(author)
    assert day.listener.keys("get") == {
        head_key(author, "storyteller"),
        successor_key(author),
        *(revocation_key(public, public, "storyteller", name) for name in (day.release, None)),
    }
    # Who seeds a voice looks for the other keepers of its tags, and for nothing else.
    assert day.author.keys("find_providers") <= {tag_key(tag) for tag in TAGS}
    assert day.author.keys("get") == set()


def test_a_node_serves_these_protocols_and_no_others(day: Day) -> None:
    """No gossip, no relay for others, no mDNS on loopback: what is not listed here is not spoken."""
    assert set(day.author.events("serves")) == {
        "/ipfs/id/1.0.0",
        "/ipfs/id/push/1.0.0",
        "/ipfs/ping/1.0.0",
        "/libp2p/autonat/1.0.0",
        "/libp2p/circuit/relay/0.2.0/stop",
        "/libp2p/dcutr",
        "/p2pvoice/catalog/1.0.0",
        "/p2pvoice/exchange/1.0.0",
        "/p2pvoice/kad/1.0.0",
        "/p2pvoice/operations/1.0.0",
        "/p2pvoice/shelf/1.0.0",
    }


def test_identify_names_the_library_and_not_the_program(day: Day) -> None:
    """A peer learns which libp2p this is, and nothing of the machine."""
    for one in (day.author, day.listener):
        assert set(re.findall(rb"py-libp2p/[0-9.]+", one.sent)) == {b"py-libp2p/0.8.1"}
        for private in (os.uname().release, os.uname().version):
            assert private.encode() not in one.sent


def test_a_node_talks_to_its_peers_and_to_nobody_else(day: Day) -> None:
    """No name is looked up and no socket goes anywhere else: no telemetry, no search for updates."""
    both = (day.author, day.listener)
    known = {f"('127.0.0.1', {address.split('/')[4]})" for one in both for address in one.daemon.addresses}
    for one in both:
        for kind in ("socket.sendto", "socket.sendmsg", "socket.gethostbyname"):
            assert one.events(kind) == [], kind
        assert {host for host, *_ in one.events("socket.getaddrinfo")} <= {"127.0.0.1"}
        assert {address for (address,) in one.events("socket.connect")} <= known
    assert day.listener.events("socket.connect")


def test_audio_names_the_release_and_not_the_node(day: Day) -> None:
    label = read_label(day.spoken)
    assert label is not None
    assert (label.release, label.reserved1, label.reserved2) == (day.release, "", "")
    listener = day.listener.daemon
    for private in (listener.peer_id, listener.client.status()["author"], str(listener.home), SPOKEN):
        assert private.encode() not in day.spoken, private


def test_the_log_keeps_no_words(day: Day) -> None:
    """A log that is sent along with a report of a fault tells nothing of what was spoken or sought."""
    for one in (day.author, day.listener):
        assert "ready" in one.log
        for private in (SPOKEN, SEARCHED, TRANSCRIPT, CLIP_NAME, PETNAME):
            assert private not in one.log, private


def test_what_is_said_leaves_and_nothing_beside_it(day: Day) -> None:
    """The last of the day: what somebody says of a voice is public and signed; who counts for them is not."""
    listener, author = day.listener, day.author
    client, key = listener.daemon.client, listener.daemon.client.status()["author"]
    logs = [(one.daemon.home / "daemon.log") for one in (listener, author)]
    looked_up, told = listener.keys("find_providers"), [len(log.read_text()) for log in logs]
    assert SAID.encode() not in listener.sent
    assert client.act(day.release, "comment", text=SAID)["told"] == 1
    assert client.said(day.release, "comments", sync=True)["comments"][0]["text"] == SAID
    credits = client.credits(author.daemon.client.status()["author"])
    assert (credits["voices"], credits["mirrored"], credits["served"]["peers"]) == (1, 0, 1)
    assert credits["served"]["bytes"] > 0
    assert SAID.encode() in listener.sent
    assert parse_author_id(key) in listener.sent
    # Whom the listener asks is told nothing but the voice: no name for its author, no paths, no words spoken.
    for private in (SPOKEN, SEARCHED, PETNAME, str(listener.daemon.home)):
        assert private.encode() not in listener.sent, private
    assert listener.keys("find_providers") == looked_up
    assert listener.keys("provide") | listener.keys("put") == set()
    [row] = author.daemon.client.said(day.release, "comments")["comments"]
    assert (row["text"], row["signer"], row["counted"], row["author_name"]) == (SAID, key, False, "")
    author.daemon.client.act_on(row["operation"], "comment", text=ANSWERED)
    assert author.keys("find_providers") <= {release_key(day.release), *(tag_key(tag) for tag in TAGS)}
    for log, size in zip(logs, told, strict=True):
        assert SAID not in log.read_text()
        assert ANSWERED not in log.read_text()
        assert len(log.read_text()) >= size
