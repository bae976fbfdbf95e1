"""`evaluate`: measure all voices of a collection and write a table, one row a voice.

The daemon measures and keeps what it found; this shows progress and writes the file. Follows specs/cli.md and
specs/collections.md.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.commands.collections import tell_failed, voices_of
from p2pvoice.cli.learning import Learning
from p2pvoice.cli.output import Output, json_option, printable, short_id
from p2pvoice.cli.table import check_target, write_table
from p2pvoice.node.rpc.client import Client, Event
from p2pvoice.protocol.errors import UsageError

SENTENCES_BYTES = 256 * 1024
"""Bytes of a file of test sentences that are read."""


@click.command()
@click.argument("collection")
@click.option("--asr", default="", help="The installed recogniser that counts errors; default: the only one.")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="The table: .csv, .parquet (with pandas and pyarrow), or - for CSV on stdout.",
)
@click.option(
    "--sentences",
    "sentences_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What the voices say, a line each: yue|今日天氣好好。",
)
@click.option("--fetch", is_flag=True, help="Fetch the voices that are not here first.")
@click.option("--stability", is_flag=True, help="Measure stability, too: minutes a voice.")
@click.option("--again", is_flag=True, help="Measure anew what was measured before.")
@json_option
@click.pass_obj
def evaluate(
    output: Output,
    collection: str,
    asr: str,
    target: Path | None,
    sentences_file: Path | None,
    fetch: bool,
    stability: bool,
    again: bool,
) -> None:
    """Measure all voices of a collection and write a table for researchers.

    One row a voice: licence and consent, pitch, rate and levels, how alike the voices are, speed, and with a
    recogniser the errors that it hears. What was measured is kept by release, so an interrupted run goes on
    where it stopped.
    """
    if target is not None:
        check_target(target)
    elif not output.as_json:
        # Made of the last part of a name, which may hold a stranger's key and a slash.
        target = Path(f"{collection.rpartition('/')[2] or 'collection'}.csv")
    body: dict[str, object] = {"asr": asr, "fetch": fetch, "stability": stability, "again": again}
    if sentences_file is not None:
        body["sentences"] = read_sentences(sentences_file)
    gathered = Gathered(output)
    try:
        gathered.follow(Client().evaluate(collection, body))
    except BaseException:
        gathered.rescue(target)
        raise
    if target is None:
        return
    write_table(target, gathered.columns, list(gathered.rows.values()))
    if output.as_json or str(target) == "-":
        return
    output.line(str(target))
    result = gathered.result
    output.note(f"{result.get('measured')} of {result.get('rows')} voices measured")


class Gathered:
    """The rows that came so far, whatever comes after."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.columns: list[str] = []
        self.rows: dict[str, dict[str, Any]] = {}
        self.result: dict[str, Any] = {}

    def follow(self, events: Iterable[Event]) -> None:
        """Take the events in, showing how far it is."""
        output = self._output
        with Learning(output) as learning:
            # Where there is no terminal a line a voice says enough, and a full collection has many.
            shown = learning.follow(events) if sys.stderr.isatty() else events
            for event in shown:
                if output.as_json:
                    output.document(event)
                self._take(event)

    def _take(self, event: Event) -> None:
        output, kind = self._output, event.get("event")
        if kind == "columns":
            self.columns = [str(column) for column in event["columns"]]
            if not output.as_json:
                output.note(f"measuring {voices_of({'voices': event['rows']})}")
        elif kind == "row":
            row = dict(event["row"])
            news = row["release"] not in self.rows
            # Kept before it is told of: what the user has seen is never lost.
            self.rows[str(row["release"])] = row
            if news and not output.as_json:
                output.note(told(row))
        elif kind == "voice" and "error" in event and not output.as_json:
            tell_failed(output, [dict(event)])
        elif kind == "warning" and not output.as_json:
            output.note(f"note: {printable(str(event.get('message', '')))}")
        elif kind == "result":
            self.result = dict(event)

    def rescue(self, target: Path | None) -> None:
        """Write the finished rows beside the target, which itself appears whole or not at all."""
        finished = [row for row in self.rows.values() if row["state"] == "measured"]
        if target is None or str(target) == "-" or not finished:
            return
        beside = target.with_name(f"{target.stem}.partial{target.suffix or '.csv'}")
        write_table(beside, self.columns, finished)
        self._output.note(
            f"interrupted: the finished rows are in {beside}; the same command goes on from here"
        )


def told(row: dict[str, Any]) -> str:
    """One row as a line for a person."""
    called = printable(str(row.get("slug") or short_id(str(row["release"]))))
    problem = f": {printable(str(row['problem']))}" if row.get("problem") else ""
    return f"{row['place']}. {called}: {row['state']}{problem}"


def read_sentences(path: Path) -> dict[str, list[str]]:
    """Test sentences by language, of lines ``lang|text``; empty lines and those after # are left out.

    UsageError for a file that is too large, no text, or has a line without a language.
    """
    with path.open("rb") as file:
        data = file.read(SENTENCES_BYTES + 1)
    if len(data) > SENTENCES_BYTES:
        raise UsageError(f"{path.name} is larger than {SENTENCES_BYTES} bytes")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"{path.name} is not text in UTF-8") from None
    found: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        lang, bar, text = line.partition("|")
        if not bar or not lang.strip() or not text.strip():
            raise UsageError(f"{path.name}, line {number}: no language", hint="a line is yue|今日天氣好好。")
        found.setdefault(lang.strip(), []).append(text.strip())
    if not found:
        raise UsageError(f"{path.name} holds no sentence", hint="a line is yue|今日天氣好好。")
    return found
