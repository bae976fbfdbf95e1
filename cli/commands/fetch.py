"""Getting voices: `fetch` and `update`, and the sentence that tells what came from where.

What may be fetched is the daemon's to say. Follows specs/cli.md.
"""

from collections.abc import Iterable

import click

from p2pvoice.cli.output import (
    Output,
    json_option,
    seconds,
    size,
)
from p2pvoice.cli.progress import Progress
from p2pvoice.cli.voices import VOICE, Summary, handle, warn
from p2pvoice.node.rpc.client import Client, Event

WORTH_TELLING = 0.03
"""Share of the bytes that compression or deltas must have saved to be told of."""

RATE_FROM = 1_000_000
"""Bytes below which a transfer's rate says more about the start than about the line."""


@click.command()
@VOICE
@click.option(
    "--seed/--no-seed", default=True, show_default=True, help="Offer the voice to others once it is here."
)
@click.option("--bases", is_flag=True, help="Fetch the bases that speaking needs, too.")
@json_option
@click.pass_obj
def fetch(output: Output, voice: str, seed: bool, bases: bool) -> None:
    """Fetch a voice from the peers that hold it.

    An interrupted fetch resumes where it stopped when the command is repeated.
    """
    result = follow(output, Client().fetch(voice, seed=seed, bases=bases))
    if output.as_json:
        return
    output.line(str(result.get("release", voice)))
    output.note(describe_transfer(result))
    for one in result.get("bases") or ():
        output.note(f"fetched its {one['kind']} {one['name']}, licence {one['license']}")
    warn(output, [Client().show(str(result.get("release", voice)))])
    for need in result.get("needs") or ():
        output.note(f"{need['for']} sounds better with a {need['kind']}, which is not installed")
        output.hint(f"p2pvoice base fetch {need['fetch']}")
    output.hint(f'p2pvoice speak {handle(result) or voice} "今日天氣好好" --lang yue -o out.wav')


def follow(output: Output, events: Iterable[Event]) -> Summary:
    """Show a stream's progress (or print it, with `--json`) and return its result."""
    result: Summary = {}
    with Progress(output) as progress:
        for event in progress.follow(events):
            if output.as_json:
                output.document(event)
            if event.get("event") == "result":
                result = dict(event)
            elif event.get("event") == "warning" and not output.as_json:
                output.note(f"note: {event.get('message', '')}")
    return result


def describe_transfer(result: Summary) -> str:
    """How much came from where, in one sentence."""
    fetched, reused = result.get("bytes_fetched", 0), result.get("bytes_reused", 0)
    count = len(result.get("peers") or ())
    moving, whole = float(result.get("transfer_seconds", 0)), float(result.get("seconds", 0))
    sent = result.get("bytes_sent") or fetched
    text = f"fetched {size(fetched)}" if fetched else "nothing had to be fetched"
    if sent < fetched * (1 - WORTH_TELLING):
        text += f", sent as {size(sent)},"
    if fetched:
        text += f" in {seconds(moving)}"
    if fetched > RATE_FROM and moving > 0:
        text += f" ({size(fetched / moving)}/s)"
    if count:
        text += f" from {count} peer{'s' if count != 1 else ''}"
    text += f", checked in {seconds(whole - moving)}"
    if reused:
        text += f"; {size(reused)} were already here"
    return text


@click.command()
@click.argument("voice", required=False)
@json_option
@click.pass_obj
def update(output: Output, voice: str | None) -> None:
    """Fetch the latest release of VOICE, or of every installed voice.

    Only what changed travels.
    """
    result = follow(output, Client().update(voice or ""))
    if output.as_json:
        return
    newer = [row for row in result.get("voices", [result]) if row.get("updated")]
    for row in newer:
        output.line(str(row["release"]))
        output.note(f"{row.get('slug', 'updated')}: {describe_transfer(row)}")
    if not newer and not result.get("failed"):
        output.note("everything is up to date")
