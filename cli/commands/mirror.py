"""Keeping voices: `mirror` keeps whole collections alive, `pin` and `unpin` a voice, `seed` offers it.

Follows specs/cli.md and specs/mirror.md.
"""

from typing import Any

import click

from p2pvoice.cli.output import Output, date, json_option, short_author, size
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.amounts import parse_size
from p2pvoice.protocol.errors import UsageError


@click.command()
@click.argument("what", metavar="[AUTHOR|TAG]", required=False)
@click.option("--replicas", type=click.IntRange(1, 100), help="Holders each voice should have.  [default: 3]")
@click.option("--limit", metavar="BYTES", help="Most bytes to keep for it, such as 20GB.")
@click.option("--stop", is_flag=True, help="Mirror it no longer; what came stays until room is needed.")
@click.option("--now", is_flag=True, help="Look now what there is to keep alive.")
@json_option
@click.pass_obj
def mirror(
    output: Output, what: str | None, replicas: int | None, limit: str | None, stop: bool, now: bool
) -> None:
    """Keep the voices of AUTHOR, or those with TAG, alive; without either, show how mirrors stand.

    The daemon looks every hour which releases there are and how many nodes hold each. Those that fewer than
    `--replicas` others hold are fetched, the rarest first, and offered. They are let go of only when room is
    needed; `pin` keeps one for good.
    """
    client = Client()
    if what is None:
        if stop or replicas is not None or limit is not None:
            raise UsageError("which author, or which tag?", hint="p2pvoice mirror AUTHOR|TAG …")
        if now:
            client.look_at_mirrors()
        show_mirrors(output, client.mirrors())
        return
    if stop:
        row = client.stop_mirror(what)
    else:
        row = client.mirror(what, replicas=replicas, limit=parse_size(limit) if limit is not None else None)
        if now:
            client.look_at_mirrors()
    if output.as_json:
        output.document(row)
    elif stop:
        output.line(f"no longer mirroring {called(row)}")
        if row["held"]:
            voices = "1 voice stays" if row["held"] == 1 else f"{row['held']} voices stay"
            output.note(f"{voices} until room is needed, {size(row['bytes'])}")
            output.hint("p2pvoice gc   (frees them now; p2pvoice pin VOICE keeps one)")
    else:
        most = f", at most {size(row['limit'])}" if row["limit"] else ""
        output.line(f"mirroring {called(row)}: {row['replicas']} holders of each voice{most}")
        output.hint("p2pvoice mirror")


def show_mirrors(output: Output, found: dict[str, Any]) -> None:
    """The mirrors as a table, and what is fetched now."""
    if output.as_json:
        output.document(found)
        return
    rows = found["mirrors"]
    if not rows:
        output.note("nothing is mirrored")
        output.hint("p2pvoice mirror AUTHOR|TAG")
        return
    output.table(
        ["~MIRROR", ">REPLICAS", ">WANTED", ">HELD", ">BELOW", ">SIZE", "LOOKED", "~NOTE"],
        [
            [
                called(row),
                str(row["replicas"]),
                str(row["wanted"]),
                str(row["held"]),
                str(row["below"]),
                size(row["bytes"]) + (f" of {size(row['limit'])}" if row["limit"] else ""),
                date(row["looked"]) or "not yet",
                note(row),
            ]
            for row in rows
        ],
    )
    if found["quota"]:
        output.note(f"the store takes {size(found['store'])} of its quota of {size(found['quota'])}")
    fetching = found["fetching"]
    if fetching:
        output.note(f"fetching {fetching['name']}: {size(fetching['have'])} of {size(fetching['total'])}")
    elif found["looking"]:
        output.note("looking")


def called(row: dict[str, Any]) -> str:
    """A mirror in words: the tag, or the author by the user's own name and the key."""
    if row["kind"] != "author":
        return str(row["name"])
    return f"{row.get('author_name') or ''} {short_author(row['name'])}".strip()


def note(row: dict[str, Any]) -> str:
    """What was left out, and the last error."""
    said = [f"{count} left out: {why}" for why, count in sorted(row["left_out"].items())]
    return "; ".join([*said, *([row["error"]] if row["error"] else [])])


@click.command()
@click.argument("voice")
@json_option
@click.pass_obj
def pin(output: Output, voice: str) -> None:
    """Pin an installed voice: no mirror and no quota lets go of it, through all its releases."""
    _said(output, Client().pin(voice, on=True), "pinned")


@click.command()
@click.argument("voice")
@json_option
@click.pass_obj
def unpin(output: Output, voice: str) -> None:
    """Unpin a voice. It stays; one that a mirror brought may make room."""
    _said(output, Client().pin(voice, on=False), "unpinned")


@click.command()
@click.argument("voice")
@click.option("--on/--off", "on", required=True, help="Offer it to others, or stop that.")
@json_option
@click.pass_obj
def seed(output: Output, voice: str, on: bool) -> None:
    """Offer an installed voice to others, or stop: it is neither announced nor served then.

    What others fetched meanwhile stays with them.
    """
    _said(output, Client().seed(voice, on=on), "offered" if on else "no longer offered")


def _said(output: Output, done: dict[str, Any], what: str) -> None:
    if output.as_json:
        output.document(done)
    else:
        output.line(f"{what} {done['slug']}")
