"""What the shell sees of an error: one line, one hint, one exit code.

The exit codes are the tree's own (`p2pvoice.protocol.errors`): 0 done, 1 failed, 2 usage, 3 no daemon, 4 not
found, 5 refused, 6 no peer or time-out, 130 interrupted. This is the only place where the command line maps
errors. Follows specs/errors.md and specs/cli.md.
"""

import errno
import json
import os
import sys

import click

from p2pvoice.cli.output import Output
from p2pvoice.protocol.errors import BugError, DiskFullError, P2PVoiceError, StorageError, UsageError

INTERRUPTED = 130
"""The shell's convention for a command ended by Ctrl-C (128 + SIGINT)."""


def as_p2pvoice_error(error: BaseException) -> P2PVoiceError:
    """Any exception as a member of the tree."""
    if isinstance(error, P2PVoiceError):
        return error
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "p2pvoice"
        return UsageError(error.format_message(), hint=f"{path} --help")
    if isinstance(error, click.FileError):
        return UsageError(error.format_message())
    if isinstance(error, click.ClickException):
        return P2PVoiceError(error.format_message())
    if isinstance(error, OSError):
        kind = DiskFullError if error.errno == errno.ENOSPC else StorageError
        name = f"{error.filename}: " if error.filename else ""
        return kind(f"{name}{error.strerror or error}")
    return BugError(
        f"{type(error).__name__}: {error}", hint="run again with P2PVOICE_TRACEBACK=1 and report it"
    )


def exit_code_of(error: BaseException) -> int:
    """The exit code of the command that ended with this error."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return INTERRUPTED
    return as_p2pvoice_error(error).exit_code


def report(error: BaseException, output: Output) -> None:
    """Tell the user on stderr: one line, then the hint; one JSON line when `--json` was asked for."""
    if isinstance(error, (click.exceptions.Exit, SystemExit)):
        return
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        click.echo("interrupted", err=True)
        return
    known = as_p2pvoice_error(error)
    if os.environ.get("P2PVOICE_TRACEBACK"):
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    if output.as_json:
        click.echo(json.dumps({"error": known.to_dict()}, ensure_ascii=False), err=True)
        return
    click.echo(f"{click.style('error:', fg='red')} {_one_line(known.message)}", err=True)
    if known.hint:
        click.echo(f"{click.style('hint:', fg='cyan')} {_one_line(known.hint)}", err=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())
