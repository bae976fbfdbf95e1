"""Tables, sizes, progress: what a person reads, and what a pipe gets."""

import io
import json
import sys

import pytest

from p2pvoice.cli.commands.fetch import describe_transfer
from p2pvoice.cli.output import Output, printable, seconds, short_author, size
from p2pvoice.cli.progress import Progress
from p2pvoice.cli.voices import bare_tags, byline, voice_table

RELEASE = "bafyreiexample0123456789abcdefghijklmnop"
AUTHOR = "did:key:z6MkfABCDEFGHIJKLMNOP"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e12, "5000.0 GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0.0123, "12 ms"), (1.24, "1.2 s"), (61, "1 min 1 s"), (7325, "2 h 2 min")]
)
def test_seconds(count: float, text: str) -> None:
    assert seconds(count) == text


def test_a_stranger_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("a\x1b[31mb\r\nc\u202e") == "a [31mb  c "
    voice_table(Output(), [{"release": RELEASE, "name": "[red]\x1b[2J聲", "author": AUTHOR}])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[red]" in shown


def test_chinese_names_keep_the_columns_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"release": RELEASE, "name": name, "author": AUTHOR, "license": "X"} for name in ("講古佬", "abcdef")
    ]
    voice_table(Output(), rows)
    _, chinese, latin = capsys.readouterr().out.splitlines()
    # Three wide characters take the six columns of six narrow ones.
    assert chinese.index("z6Mk") + 3 == latin.index("z6Mk")


def test_a_pipe_gets_whole_cells(capsys: pytest.CaptureFixture[str]) -> None:
    voice_table(
        Output(), [{"release": RELEASE, "name": "n" * 63, "author": AUTHOR, "tags": ["tag/" + "t" * 40]}]
    )
    shown = capsys.readouterr().out
    assert "n" * 63 in shown
    assert "t" * 40 in shown


def test_an_author_is_unknown_until_followed() -> None:
    assert byline({"author": AUTHOR}) == "z6MkfABCDEFG (unknown)"
    followed = {"author": AUTHOR, "followed": True}
    assert byline(followed) == "z6MkfABCDEFG (followed)"
    assert byline(followed | {"author_name": "Mei"}) == "Mei z6MkfABCDEFG (followed)"
    assert byline({"author": AUTHOR, "source": "own"}) == "z6MkfABCDEFG (you)"
    assert short_author(AUTHOR) == "z6MkfABCDEFG"


def test_small_phrases() -> None:
    assert bare_tags(["language/yue", "tag/narration"]) == "yue narration"
    told = describe_transfer(
        {
            "bytes_fetched": 2_000_000,
            "bytes_reused": 1_000,
            "transfer_seconds": 2,
            "seconds": 3,
            "peers": ["a", "b"],
        }
    )
    assert (
        told == "fetched 2.0 MB in 2.0 s (1.0 MB/s) from 2 peers, checked in 1.0 s; 1.0 kB were already here"
    )


def test_progress_without_a_terminal_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(Output()) as progress:
        for have in range(0, 1_000_001, 10_000):
            progress.show(
                {
                    "event": "progress",
                    "file": "gpt.safetensors",
                    "received": 0,
                    "have": have,
                    "total": 1_000_000,
                }
            )
        progress.show({"event": "progress", "step": "signing"})
        progress.show({"event": "progress", "step": "signing"})
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "fetching: 0 B of 1.0 MB",
        "fetching: 250.0 kB of 1.0 MB",
        "fetching: 500.0 kB of 1.0 MB",
        "fetching: 750.0 kB of 1.0 MB",
        "fetching: 1.0 MB of 1.0 MB",
        "signing",
    ]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress(Output()) as progress:
        progress.show(
            {
                "event": "progress",
                "file": "gpt.safetensors",
                "received": 0,
                "have": 500_000,
                "total": 1_000_000,
            }
        )
    assert "fetching" in terminal.getvalue()
    assert "█" in terminal.getvalue()


@pytest.mark.parametrize("silent", [Output(as_json=True)])
def test_json_shows_no_progress(silent: Output, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(silent) as progress:
        progress.show({"event": "progress", "step": "signing"})
        silent.document({"名": "聲"})
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out) == {"名": "聲"}
    assert "聲" in captured.out
