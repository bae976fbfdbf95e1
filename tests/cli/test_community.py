"""The commands of the community: what they refuse, what they print; the rest is on the transcript page."""

from collections.abc import Callable
from typing import Any

import pytest

from p2pvoice.cli.main import run
from p2pvoice.cli.output import Output
from p2pvoice.cli.said import headline, thread, who, words
from p2pvoice.node.rpc.client import Client

Command = Callable[..., Any]

ME = {"signer": "did:key:z6MkAbcdefgh12345", "yours": True, "counted": True, "shown": True}
STRANGER = {
    "signer": "did:key:z6MkZyxwvuts98765",
    "counted": False,
    "shown": False,
    "author_name": "evil\nname",
}


@pytest.mark.parametrize(
    "line",
    [
        ("comment",),
        ("comment", "voice", "text", "more"),
        ("comment", "--reply", "opabcdefgh"),
        ("comment", "--edit", "opabcdefgh"),
        ("comment", "--retract", "opabcdefgh", "text"),
        ("comment", "--edit", "opabcdefgh", "--reply", "opabcdefgh", "text"),
        ("issue", "label", "opabcdefgh"),
        ("issue", "label", "opabcdefgh", "bug"),
        ("issue", "label", "opabcdefgh", "+"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    line: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line, Output()) == 2
    assert "hint: p2pvoice" in capsys.readouterr().err


def test_json_and_errors_of_a_running_node(p2pvoice: Command, running: Client) -> None:
    credits = p2pvoice("credits", "--json")
    assert credits.json["yours"] is True
    assert credits.json["voices"] == 0
    for line in (
        ("star", "nobody-knows-it"),
        ("log", "nobody-knows-it"),
        ("issue", "list", "nobody-knows-it"),
    ):
        done = p2pvoice(*line, "--json")
        assert (done.code, done.out) == (4, "")
        assert '"code": "not_found"' in done.err
    done = p2pvoice("issue", "label", "opaaaaaaaa", "+bug", "-hum", "--json")
    assert done.code == 4, done.err


def test_words_of_strangers_are_indented_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    assert words("one\n\x1b[31mtwo\n\nthree") == ["    one", "     [31mtwo", "", "    three"]
    rows = [
        {**ME, "operation": "op" + "a" * 52, "time": 0, "text": "hello", "depth": 0},
        {**STRANGER, "operation": "op" + "b" * 52, "time": 0, "text": "told 9 peers", "depth": 1},
        {**STRANGER, "operation": "op" + "c" * 52, "time": 0, "text": "", "depth": 1, "retracted": True},
    ]
    thread(Output(), rows, everything=False)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["opaaaaaaaa  z6MkAbcdefgh (you)  1970-01-01 00:00 UTC", "    hello"]
    assert shown.err == "and 1 comment by 1 other; --all shows them\n"
    thread(Output(), rows, everything=True)
    assert "\n        told 9 peers\n" in capsys.readouterr().out
    assert who(STRANGER) == "evil name z6MkZyxwvuts (unknown)"
    assert "edited" in headline({**ME, "edited": 5.0, "operation": "op"})
