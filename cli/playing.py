"""Sound that is heard while it is made: through a player of the system's, or on stdout.

A player is a program on PATH that reads samples from its stdin. Not for files: see files.py. Follows
specs/cli.md and specs/streaming.md.
"""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable

from p2pvoice.protocol.errors import UsageError

#: Programs that play 16-bit little-endian mono samples from their stdin, in the order they are tried.
PLAYERS: dict[str, Callable[[int], list[str]]] = {
    "pw-cat": lambda rate: ["-p", "--format", "s16", "--rate", str(rate), "--channels", "1", "-"],
    "paplay": lambda rate: ["--raw", "--format=s16le", f"--rate={rate}", "--channels=1"],
    "aplay": lambda rate: ["-q", "-t", "raw", "-f", "S16_LE", "-r", str(rate), "-c", "1", "-"],
    "ffplay": lambda rate: [
        "-nodisp", "-autoexit", "-loglevel", "error", "-f", "s16le", "-ar", str(rate), "-i", "-",
    ],
}  # fmt: skip


def player() -> str:
    """The path of an installed player; UsageError when there is none."""
    for name in PLAYERS:
        if found := shutil.which(name):
            return found
    raise UsageError(
        "no player is installed (" + ", ".join(PLAYERS) + ")", hint="p2pvoice speak … -o out.wav"
    )


def play(program: str, rate: int, pieces: Iterable[bytes]) -> None:
    """Play samples as they come, and return when they were heard.

    UsageError when the player fails; what ``pieces`` raises, or Ctrl-C, ends the player at once.
    """
    command = [program, *PLAYERS[os.path.basename(program)](rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sys.stderr) as process:
        assert process.stdin is not None
        try:
            for piece in pieces:
                process.stdin.write(piece)
                process.stdin.flush()
            process.stdin.close()
        except BrokenPipeError:
            pass
        except BaseException:
            process.kill()
            raise
        if code := process.wait():
            raise UsageError(f"{command[0]} ended with exit code {code}", hint="p2pvoice speak … -o out.wav")


def pour(pieces: Iterable[bytes]) -> None:
    """Write pieces to stdout as they come; a reader that goes away has heard enough, which is no error."""
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What is still buffered must not fail again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_stream(descriptor: int) -> bool:
    """Whether what is written there is read as it comes, as from a pipe; a file should know its length."""
    return not stat.S_ISREG(os.fstat(descriptor).st_mode)
