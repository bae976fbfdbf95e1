"""Keeping the store in order: `gc` frees what nobody needs, `verify` finds and repairs damaged files.

Follows specs/cli.md.
"""

import click

from p2pvoice.cli.output import Output, json_option, short_id, size
from p2pvoice.cli.progress import Progress
from p2pvoice.node.rpc.client import Client, Event

KINDS = {"file": "whole", "partial": "unfinished", "damaged": "damaged", "mirrored": "mirrored"}
"""What a removed file was, in words."""


@click.command()
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@json_option
@click.pass_obj
def gc(output: Output, dry_run: bool) -> None:
    """Free the space of files that no installed voice needs.

    What an interrupted fetch has got so far stays; `p2pvoice rm VOICE` gives such a fetch up.
    """
    removed: list[Event] = []
    result: Event = {}
    for event in Client().gc(dry_run=dry_run):
        if output.as_json:
            output.document(event)
        elif event["event"] == "removed":
            removed.append(event)
        elif event["event"] == "result":
            result = event
    if output.as_json:
        return
    if removed:
        output.table(
            ["WAS", ">SIZE", "~FILE"],
            [
                [KINDS.get(one["kind"], one["kind"]), size(one["bytes"]), one["name"] or one["file"][:12]]
                for one in removed
            ],
        )
    kept = result.get("kept") or {}
    freed = f"{'would free' if dry_run else 'freed'} {size(result.get('freed', 0))}"
    output.note(f"{freed}; {kept.get('files', 0)} files of {size(kept.get('bytes', 0))} are here")
    for one in result.get("unfinished") or ():
        output.note(
            f"kept: {size(one['bytes'])} of {one['name']}, whose fetch did not end;"
            f" p2pvoice fetch {short_id(one['release'])} goes on, p2pvoice rm gives it up"
        )


@click.command()
@click.argument("voice", required=False)
@click.option("--no-repair", is_flag=True, help="Only find what is damaged, and take it out of service.")
@json_option
@click.pass_obj
def verify(output: Output, voice: str | None, no_repair: bool) -> None:
    """Check the stored files of VOICE, or of every installed voice, and repair damaged ones.

    A damaged file is neither served nor spoken with until it is repaired. Peers are asked for the damaged
    chunks only.
    """
    result: Event = {}
    with Progress(output) as progress:
        for event in progress.follow(Client().verify(voice or "", repair=not no_repair)):
            if output.as_json:
                output.document(event)
            elif event["event"] == "damage":
                output.line(
                    f"{short_id(event['release'])}  {event['file']}: "
                    f"{_count(len(event['chunks']), 'damaged chunk')}, {size(event['bytes'])}"
                )
            elif event["event"] == "result":
                result = event
    if output.as_json:
        return
    files, voices = _count(result["files"], "file"), _count(result["voices"], "voice")
    checked = f"checked {files} of {voices}, {size(result['bytes'])}"
    if not result["damaged"]:
        output.note(f"{checked}: all whole")
        return
    output.note(f"{checked}: {result['repaired']} repaired, {size(result['bytes_fetched'])} fetched")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
