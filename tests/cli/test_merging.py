"""Comparing and merging at the command line: what is printed, what is asked, and what is refused unasked."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.cli.commands.merging import OPERATION, merged
from p2pvoice.cli.commands.proposals import in_short
from p2pvoice.cli.comparison import change, shape, value, whose
from p2pvoice.cli.output import Output
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import DaemonUnavailableError

from .conftest import Command

MERGE: dict[str, Any] = {
    "event": "result",
    "draft": "storyteller-merge",
    "voice": "storyteller",
    "theirs": "baga" + "q" * 57,
    "mode": "average",
    "share": 0.25,
    "taken": [],
    "changes": [{"part": "phrasing", "tensors": 72, "changed": 3, "relative": 0.0123}],
    "report": {
        "sentences": 3,
        "similarity": {"before": 1.0, "theirs": 0.9, "after": 0.95, "method": "cosine"},
        "quality": {"before": None, "theirs": None, "after": None, "reason": "the extra is missing"},
        "errors": {"before": 0.1, "theirs": 0.2, "after": 0.15, "method": "WER by the recogniser"},
    },
    "samples": [],
}


class Terminal(io.StringIO):
    """Somebody at a terminal who types this."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_merge_stays_a_draft(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merged(Output(), Client(home), [MERGE], samples=None, yes=False)
    out, err = capsys.readouterr()
    assert "average, 25 % theirs" in out
    assert "1.23 %" in out
    assert "not measured: the extra is missing" in out
    assert out.splitlines()[-1] == "storyteller-merge"
    assert "p2pvoice publish storyteller-merge" in err


@pytest.mark.parametrize(("typed", "publishes"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_on_a_terminal_the_author_is_asked(
    home: Path,
    typed: str,
    publishes: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    # No daemon runs on this home: whoever tries to publish learns it.
    if publishes:
        with pytest.raises(DaemonUnavailableError):
            merged(Output(), Client(home), [MERGE], samples=None, yes=False)
        return
    merged(Output(), Client(home), [MERGE], samples=None, yes=False)
    assert capsys.readouterr().out.splitlines()[-1] == "storyteller-merge"


def test_yes_does_not_ask(home: Path) -> None:
    with pytest.raises(DaemonUnavailableError):
        merged(Output(), Client(home), [MERGE], samples=None, yes=True)


def test_json_gives_the_events_and_asks_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def events() -> Iterator[dict[str, Any]]:
        yield {"event": "progress", "stage": "merge", "done": 0.5}
        yield MERGE

    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    merged(Output(as_json=True), Client(home), events(), samples=None, yes=False)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["event"] for row in rows] == ["progress", "result"]


def test_what_is_no_request_is_refused_without_a_daemon(p2pvoice: Command) -> None:
    for words, hint in (
        (("merge", "storyteller"), "--with VOICE"),
        (("merge", "storyteller", "--with", "calm", "--mode", "layers", "--weight", "0.5"), "--mode average"),
        (("review", "opaaaaaaaa"), "--accept"),
        (("proposals", "storyteller", "--text", "x"), "p2pvoice proposals storyteller"),
    ):
        ran = p2pvoice(*words)
        assert (ran.code, hint in ran.err) == (2, True), (words, ran)
    assert p2pvoice("merge", "opaaaaaaaa").code == 3


def test_names_of_operations_are_told_from_voices() -> None:
    for name in ("opaaaaaaaa", "op" + "a2" * 26):
        assert OPERATION.fullmatch(name)
    for name in ("storyteller", "opa", "op-aaaaaaaa", "did:key:z6Mk/opaaaaaaaa", "op" + "a" * 53):
        assert not OPERATION.fullmatch(name)


def test_words_of_a_difference() -> None:
    assert change({"changed": 0, "relative": 0.0}) == "same"
    assert change({"changed": 1, "relative": None}) == "new"
    assert change({"changed": True, "relative": 0.5}) == "50 %"
    assert shape([2, 3]) == "2x3"
    assert shape([]) == "1"
    assert shape({"a": [2, 3], "b": None}) == "2x3 / missing"
    assert value("tags", []) == "-"
    said = {"subject": "named", "subject_name": "A", "state": "signed"}
    assert value("consent", said) == "named, A: signed"
    assert value("parents", [{"kind": "forked-from", "release": "baga" + "q" * 57}]).startswith("forked-from")
    assert "draft x-merge" in whose({"name": "X", "draft": "x-merge"})
    assert in_short({"offer": None}) == "not found in the network"
    offer = {"changed": ["gpt.safetensors"], "new_bytes": 1000, "bytes": 2000}
    assert in_short({"offer": offer}) == "gpt: 1.0 kB of 2.0 kB new"
    assert in_short({"offer": {**offer, "changed": None}}) == "2.0 kB"
