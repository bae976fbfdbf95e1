"""`find` a page at a time, on a daemon whose catalog holds more than one page."""

import shlex
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.ranking import CURSOR_LENGTH
from p2pvoice.node.rpc.client import Client
from p2pvoice.node.schema import open_database
from p2pvoice.protocol.errors import UsageError

from ..node.recall_parts import make_release
from .conftest import Command

VOICES = 23


@pytest.fixture
def home(home: Path) -> Path:
    """A home whose node knows voices of seven authors on one facet; the last one's are the most."""
    database = open_database(home / "catalog.sqlite")
    catalog = Catalog(database, clock=time.time)
    for number in range(VOICES):
        key = Ed25519PrivateKey.from_private_bytes(bytes([1 + min(number, 6)]) * 32)
        catalog.add_release(make_release(key, f"voice-{number}").envelope.to_bytes())
    database.close()
    return home


def test_pages_of_a_search(p2pvoice: Command, running: Client) -> None:
    command = ["find", "--tag", "cantonese", "--limit", "10", "--timeout", "0.1"]
    pages, rows = 0, list[str]()
    while True:
        ran = p2pvoice(*command)
        assert ran.code == 0, ran.err
        pages += 1
        rows += [line.split()[0] for line in ran.out.splitlines()[1:]]
        last = ran.err.splitlines()[-1]
        if "--cursor" not in last:
            break
        # What it says can be typed as it is.
        command = shlex.split(last.removeprefix("next: p2pvoice ").split("   (")[0])
        assert command[0] == "find"
    assert pages == 3
    assert len(rows) == len(set(rows)) == VOICES
    first = [
        one["author"] for one in running.find(tags=("cantonese",), limit=9, timeout=0) if "author" in one
    ]
    assert max(first.count(author) for author in first) == 3
    assert len(set(first)) == 7


def test_what_the_daemon_says_of_a_page(p2pvoice: Command, running: Client) -> None:
    *voices, result = running.find(text="voice", limit=VOICES, timeout=0)
    assert (len(voices), result["count"], result["next"]) == (VOICES, VOICES, None)
    *voices, result = running.find(text="voice", limit=VOICES - 1, timeout=0)
    assert (result["count"], len(result["next"]) <= CURSOR_LENGTH) == (VOICES - 1, True)
    *rest, end = running.find(text="voice", limit=5, timeout=0, cursor=result["next"])
    assert (len(rest), end["next"]) == (1, None)
    assert rest[0]["release"] not in {voice["release"] for voice in voices}
    for wrong in ("x", result["next"][:-4], "A" * CURSOR_LENGTH, "A" * (CURSOR_LENGTH + 1)):
        with pytest.raises(UsageError):
            list(running.find(text="voice", timeout=0, cursor=wrong))
    with pytest.raises(UsageError, match="another search"):
        list(running.find(tags=("cantonese",), timeout=0, cursor=result["next"]))
    ran = p2pvoice("find", "voice", "--cursor", "x", "--json")
    assert ran.code == 2
