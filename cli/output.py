"""What is printed where: data on stdout, everything else on stderr.

With `--json` stdout carries one document, or one document a line where a command streams. Without it stdout
carries the table or text a person came for. Notes, hints and progress always go to stderr, so that
`p2pvoice … > file` keeps only data. Rich is imported for tables and bars only: a plain line must not cost its
start. Follows specs/cli.md.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

PIPE_WIDTH = 240
"""Columns a table may take when stdout is no terminal: nothing is cut that another program may read."""

Function = TypeVar("Function", bound=Callable[..., Any])


class Output:
    """Where one command writes; one instance a run, handed to commands as click's context object."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.quiet = False

    def document(self, data: Any) -> None:
        """One JSON document, or one line of NDJSON, on stdout."""
        click.echo(json.dumps(data, ensure_ascii=False))

    def line(self, text: str = "") -> None:
        """A line of data for a person, on stdout."""
        click.echo(text)

    def pairs(self, rows: Iterable[tuple[str, Any]]) -> None:
        """Aligned `name value` lines, on stdout; rows without a value are left out."""
        kept = [(name, value) for name, value in rows if value not in (None, "", [], ())]
        width = max((len(name) for name, _ in kept), default=0)
        for name, value in kept:
            values = value if isinstance(value, (list, tuple)) else [value]
            for number, item in enumerate(values):
                title = (name if number == 0 else "").ljust(width)
                click.echo(f"{click.style(title, bold=True)}  {printable(str(item))}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """An aligned table on stdout.

        A title that starts with `>` aligns its column to the right; one that starts with `~` may lose its
        end where a terminal is too narrow, the others stay whole as long as there is any room.
        """
        # 45 ms of import, paid by the commands that show a table.
        from rich.cells import cell_len
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        # Text, not str: a voice's name is a stranger's words and must not be read as markup.
        cells = [[Text(printable(cell)) for cell in row] for row in rows]
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for number, column in enumerate(columns):
            title = column.lstrip("~>")
            widest = max([cell_len(title), *(row[number].cell_len for row in cells)])
            table.add_column(
                title,
                justify="right" if ">" in column else "left",
                no_wrap=True,
                overflow="ellipsis",
                min_width=None if "~" in column else widest,
            )
        for row in cells:
            table.add_row(*row)
        terminal = sys.stdout.isatty()
        console = Console(file=sys.stdout, highlight=False, width=None if terminal else PIPE_WIDTH)
        console.print(table)

    def note(self, text: str) -> None:
        """Something a person may want to know, on stderr."""
        if not self.quiet:
            click.echo(text, err=True)

    def hint(self, command: str) -> None:
        """The command that usually comes next, on stderr."""
        if not self.quiet and not self.as_json:
            click.echo(f"{click.style('next:', fg='cyan')} {command}", err=True)


def json_option(function: Function) -> Function:
    """`--json` for a command; the switch is kept in the Output, so it works before and after the command."""

    def switch(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            ctx.ensure_object(Output).as_json = True

    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=switch,
        help="Print JSON (one document, or one a line where the command streams).",
    )(function)


def printable(text: str) -> str:
    """The text without control characters: a stranger's description must not drive the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def size(count: float) -> str:
    """Bytes for a person, in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the loop returns at its last unit")


def seconds(count: float) -> str:
    """A duration for a person."""
    if count < 60:
        return f"{count:.1f} s" if count >= 0.1 else f"{count * 1000:.0f} ms"
    minutes, rest = divmod(round(count), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def date(created: Any) -> str | None:
    """A moment in seconds since 1970 for a person, in UTC; None for what is no moment."""
    if not isinstance(created, (int, float)):
        return None
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(created))


SHORT_ID = 17
"""Characters of a release id that tables show: the first 8 are the same for every release."""


def short_id(release: str) -> str:
    """The beginning of a release id: what tables show and every command accepts."""
    return release[:SHORT_ID]


FINGERPRINT = 8
"""Characters of an author's key that stand for it beside a name, after the part all keys share."""


def short_author(author: str) -> str:
    """`z6Mk…` and the beginning that differs, of a did:key author."""
    key = author.removeprefix("did:key:")
    return key[: len("z6Mk") + FINGERPRINT]
