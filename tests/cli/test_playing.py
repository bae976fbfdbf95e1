"""`speak --play` and `speak -o -`: sound that is heard while it is made, by real programs on PATH."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from p2pvoice.cli import playing
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.label import read_label

from .conftest import Command

BOOK = "It was a bright cold day in April, and the clocks were striking.\n" * 40


def program(folder: Path, name: str, script: str) -> Path:
    """A program of that name, alone in a folder that can be PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport os, signal, sys\n{script}\n")
    path.chmod(0o755)
    return folder


@pytest.fixture
def voice(running: Client) -> str:
    list(running.import_bundled("starter"))
    said = {"license": "Apache-2.0", "consent": "synthetic", "ai_voice_permission": True}
    *_, published = running.publish({"draft": "starter", "tags": ["narration"], **said})
    return str(published["release"])


def test_play_hands_samples_to_the_first_player_there_is(
    voice: str, p2pvoice: Command, tmp_path: Path, running: Client
) -> None:
    heard = tmp_path / "heard"
    script = (
        f"heard = open({str(heard)!r}, 'wb')\n"
        f"heard.write(repr(sys.argv[1:]).encode() + b'\\n' + sys.stdin.buffer.read())"
    )
    path = program(tmp_path / "bin", "aplay", script)
    program(path, "ffplay", "sys.exit(9)")
    words = ("speak", voice, "Good evening.", "--lang", "en", "--seed", "3", "--play")
    ran = p2pvoice(*words, PATH=str(path))
    assert ran.code == 0, ran.err
    assert ran.out == ""
    assert "first audio after" in ran.err
    arguments, _, pcm = heard.read_bytes().partition(b"\n")
    assert b"'24000'" in arguments
    with running.speak_stream(
        {"voice": voice, "text": "Good evening.", "lang": "en", "seed": 3, "format": "pcm"}
    ) as sound:
        assert pcm == b"".join(sound)
    told = p2pvoice(*words, "--json", PATH=str(path))
    assert told.json["release"] == voice
    assert told.json["audio_seconds"] == pytest.approx(len(pcm) / 48_000, abs=0.001)
    assert 0 < told.json["first_audio_seconds"] <= told.json["seconds"]

    # A player that fails is told of; a folder without one, and a file beside it, are refused at once.
    failing = p2pvoice(*words, PATH=str(program(tmp_path / "failing", "paplay", "sys.exit(9)")))
    assert failing.code == 2
    assert "exit code 9" in failing.err
    (tmp_path / "empty").mkdir()
    nothing = p2pvoice(*words, PATH=str(tmp_path / "empty"))
    assert nothing.code == 2
    assert "no player" in nothing.err
    both = p2pvoice(*words, "-o", "x.wav", PATH=str(path))
    assert both.code == 2
    assert "--play writes no file" in both.err


def test_stdout_is_a_stream_into_a_pipe_and_a_file_into_a_file(
    voice: str, p2pvoice: Command, home: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "p2pvoice.cli.main", "speak", voice]
    environment = {**os.environ, "P2PVOICE_HOME": str(home)}
    short = [*command, "Good evening.", "--lang", "en", "--seed", "3", "-o", "-"]
    piped = subprocess.run(short, capture_output=True, env=environment, check=True)
    assert piped.stdout[4:8] == b"\xff\xff\xff\xff"
    label = read_label(piped.stdout)
    assert label is not None
    assert label.release == voice
    assert b"first audio after" in piped.stderr
    target = tmp_path / "whole.wav"
    with target.open("wb") as file:
        subprocess.run(short, stdout=file, env=environment, check=True)
    whole = target.read_bytes()
    assert int.from_bytes(whole[4:8], "little") == len(whole) - 8
    lengths = [len(soundfile.read(io.BytesIO(data))[0]) for data in (piped.stdout, whole)]
    assert lengths[0] == lengths[1]

    # A reader that has heard enough ends it in peace.
    reader = subprocess.Popen(
        [*command, BOOK, "--lang", "en", "-o", "-"], stdout=subprocess.PIPE, env=environment
    )
    assert reader.stdout is not None
    assert reader.stdout.read(4) == b"RIFF"
    reader.stdout.close()
    assert reader.wait(60) == 0


def test_interrupting_ends_the_player_too(voice: str, home: Path, tmp_path: Path) -> None:
    """The player is told nothing by the terminal here: it is the command that ends it."""
    told = tmp_path / "pid"
    os.mkfifo(told)
    script = (
        f"signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"sys.stdin.buffer.read(1)\n"
        f"open({str(told)!r}, 'w').write(str(os.getpid()))\n"
        f"while sys.stdin.buffer.read(65536): pass\n"
        f"signal.pause()"
    )
    path = program(tmp_path / "bin", "aplay", script)
    command = [sys.executable, "-m", "p2pvoice.cli.main", "speak", voice, BOOK, "--lang", "en", "--play"]
    environment = {**os.environ, "P2PVOICE_HOME": str(home), "PATH": str(path)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    player = int(told.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(player, 0)


def test_each_player_is_told_what_it_gets() -> None:
    for name, arguments in playing.PLAYERS.items():
        assert any("24000" in word for word in arguments(24_000)), name


def test_without_a_player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no player") as caught:
        playing.player()
    assert "-o out.wav" in caught.value.hint
