"""Exit codes, the two lines of an error, and which stream gets what."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from p2pvoice.cli.errors import exit_code_of, report
from p2pvoice.cli.output import Output
from p2pvoice.protocol import errors

from .conftest import Command

NEEDS_A_DAEMON = [
    ["status"],
    ["peers"],
    ["list"],
    ["show", "x"],
    ["find", "--tag", "yue"],
    ["fetch", "x"],
    ["update"],
    ["listen", "x"],
    ["speak", "x", "hello"],
    ["rm", "x"],
    ["import", "--bundled", "--name", "x"],
    ["publish", "x"],
    ["base", "list"],
    ["connect", "/ip4/127.0.0.1/tcp/1"],
    ["daemon", "stop"],
    ["daemon", "status"],
]


@pytest.mark.parametrize("words", NEEDS_A_DAEMON, ids=" ".join)
def test_without_a_daemon_it_says_what_to_type(p2pvoice: Command, words: list[str]) -> None:
    ran = p2pvoice(*words)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines() == ["error: No p2pvoice daemon is running.", "hint: p2pvoice daemon start"]


@pytest.mark.parametrize(
    "words", [["--json", "status"], ["status", "--json"], ["daemon", "status", "--json"]]
)
def test_json_errors_are_one_line_on_stderr(p2pvoice: Command, words: list[str]) -> None:
    ran = p2pvoice(*words)
    assert (ran.code, ran.out) == (3, "")
    (line,) = ran.err.splitlines()
    assert json.loads(line)["error"]["code"] == "daemon_unavailable"


@pytest.mark.parametrize(
    "words", [["--nosuch"], ["fetch"], ["find", "--limit", "many"], ["publish", "x", "--consent", "perhaps"]]
)
def test_a_mistyped_command_is_exit_2_with_the_help_to_read(p2pvoice: Command, words: list[str]) -> None:
    ran = p2pvoice(*words)
    assert (ran.code, ran.out) == (2, "")
    error, hint = ran.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: p2pvoice")
    assert hint.endswith("--help")


def test_import_names_every_missing_option(p2pvoice: Command) -> None:
    ran = p2pvoice("import", "--name", "x", "--ref-lang", "yue")
    assert ran.code == 2
    assert ran.err.splitlines()[0] == "error: missing --sovits, --gpt, --ref, --ref-text"


def all_classes(root: type[errors.P2PVoiceError]) -> list[type[errors.P2PVoiceError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in all_classes(child))]


@pytest.mark.parametrize("kind", all_classes(errors.P2PVoiceError), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_has_its_exit_code_and_two_lines(
    kind: type[errors.P2PVoiceError], capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("two\nlines", hint="do\nthis")
    report(error, Output())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: two lines\nhint: do this\n"
    assert exit_code_of(error) == kind.exit_code


def test_other_endings(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(KeyboardInterrupt()) == 130
    assert exit_code_of(click.Abort()) == 130
    assert exit_code_of(OSError(28, "No space left on device", "x.wav")) == errors.DiskFullError.exit_code
    report(OSError(28, "No space left on device", "x.wav"), Output())
    assert capsys.readouterr().err.splitlines()[0] == "error: x.wav: No space left on device"
    report(ZeroDivisionError("oops"), Output(as_json=True))
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "bug"


def test_an_unwritable_home_is_told_in_one_line(p2pvoice: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ran = p2pvoice("--home", str(tmp_path / "file" / "below"), "daemon", "start")
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("words", [["status"], ["fetch", "x", "--json"]], ids=" ".join)
def test_ctrl_c_is_130_and_no_traceback(home: Path, words: list[str]) -> None:
    """The command is interrupted while it waits for an answer that never comes."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(home / "rpc.sock"))
        silent.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "p2pvoice.cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            silent.settimeout(60)
            connection, _ = silent.accept()
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        connection.close()
    assert process.returncode == 130
    assert out == ""
    assert err.strip() == "interrupted"
