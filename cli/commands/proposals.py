"""Offering a voice for another one, and what becomes of it: `propose`, `proposals`, `review`.

Merging a proposal is `merge OP`, in merging.py. Follows specs/cli.md and specs/proposals.md.
"""

from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.commands.community import everything_option, offline_option, said
from p2pvoice.cli.commands.fetch import follow
from p2pvoice.cli.commands.merging import FOLDER, LANGUAGE
from p2pvoice.cli.comparison import difference, report_table, save_samples
from p2pvoice.cli.output import Output, date, json_option, printable, short_author, short_id, size
from p2pvoice.cli.said import fold, headline, short_operation, thread, who, words
from p2pvoice.cli.voices import VOICE
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import NotFoundError, UsageError

OPERATION = click.argument("operation", metavar="OP")

OPEN = ("open", "accepted")
"""States of a proposal on which something is still to be decided."""


@click.command()
@VOICE
@click.option("--from", "mine", required=True, metavar="MINE", help="Your published voice, made from it.")
@click.option("-m", "--message", required=True, help="What is better, or what it is for.")
@json_option
@click.pass_obj
def propose(output: Output, voice: str, mine: str, message: str) -> None:
    """Offer a voice of yours for VOICE, whose author may merge it.

    MINE must be published and come from VOICE: a fork, or what was trained or tuned from it. What you say is
    signed and public. Keep your node on, so that others can fetch what you offer.
    """
    answer = Client().propose(voice, mine, message)
    said(output, answer)
    if output.as_json or not answer["done"]:
        return
    output.note(f"offered {short_id(answer['release'])}, made from {short_id(answer['base'])}")
    if answer["head"] != answer["base"]:
        output.note(f"the voice has had another release since: {short_id(answer['head'])}")
    output.hint(f"p2pvoice proposals {voice} {short_operation(answer['operation'])}")


@click.command()
@VOICE
@click.argument("operation", metavar="[OP]", required=False, default="")
@click.option("--samples", type=FOLDER, help="Write what both say, before and after, into this folder.")
@click.option("--text", help="What they say; default: a sentence in each language both speak.")
@click.option("--lang", type=LANGUAGE, help="The language of the sentence.")
@click.option("--tensors", type=click.IntRange(0, 4096), help="Tensors to list, the largest change first.")
@click.option("--settled", is_flag=True, help="Also those that were merged, rejected or withdrawn.")
@everything_option
@offline_option
@json_option
@click.pass_obj
def proposals(
    output: Output,
    voice: str,
    operation: str,
    samples: Path | None,
    text: str | None,
    lang: str | None,
    tensors: int | None,
    settled: bool,
    everything: bool,
    offline: bool,
) -> None:
    """List what was proposed for a voice; with OP show one: what it would change, and how both sound.

    OP is the proposal's id or its beginning. The release that is offered is fetched for that, and not
    installed.
    """
    client = Client()
    if operation:
        body = {"samples": samples is not None, "text": text, "lang": lang, "tensors": tensors or 0}
        _show(output, client, operation, body, samples, everything=everything)
        return
    if samples is not None or text or lang or tensors:
        raise UsageError("which proposal?", hint=f"p2pvoice proposals {voice}, then the same with OP")
    found = client.said(voice, "proposals", sync=not offline)
    if output.as_json:
        output.document(found)
        return
    rows = [row for row in found["proposals"] if settled or row["state"] in OPEN]
    shown = [row for row in rows if everything or row["shown"]]
    if shown:
        output.table(
            ["OP", "STATE", "~WHAT", "CHANGES", "BY", "ON"],
            [
                [
                    short_operation(row["operation"]),
                    row["state"],
                    printable(str(row["text"]).split("\n")[0]),
                    in_short(row),
                    who(row),
                    date(row["time"]) or "",
                ]
                for row in shown
            ],
        )
    else:
        output.note("no proposals" if settled else "no open proposals")
    if not everything:
        fold(output, rows, "proposal")
    hidden = len(found["proposals"]) - len(rows)
    if hidden:
        output.note(f"{hidden} settled; --settled shows them")
    if shown:
        output.hint(f"p2pvoice proposals {voice} {short_operation(shown[0]['operation'])}")
    elif not found["proposals"]:
        output.hint(f"p2pvoice fork {voice} --name …")


def in_short(row: dict[str, Any]) -> str:
    """What a proposal changes, by the manifests: files, and bytes of them that are new."""
    offer = row.get("offer")
    if not offer:
        return "not found in the network"
    if offer["changed"] is None:
        return size(offer["bytes"])
    names = ", ".join(name.removesuffix(".safetensors") for name in offer["changed"]) or "nothing"
    return f"{names}: {size(offer['new_bytes'])} of {size(offer['bytes'])} new"


def _show(
    output: Output,
    client: Client,
    operation: str,
    body: dict[str, Any],
    samples: Path | None,
    *,
    everything: bool,
) -> None:
    found = client.operation(operation)
    if "proposal" not in found:
        raise NotFoundError(f"{operation} is no proposal", hint="p2pvoice proposals VOICE")
    row: dict[str, Any] = found["proposal"]
    if output.as_json:
        output.document({"event": "proposal", **found})
    else:
        _headlines(output, row)
    result = follow(output, client.proposal_diff(operation, measure=True, **body))
    saved = save_samples(client, samples, result.get("samples", ())) if samples is not None else []
    if output.as_json:
        return
    difference(output, result, body["tensors"])
    if result.get("report"):
        report_table(output, result["report"], {"a": "now", "b": "proposed"})
    for path in saved:
        output.note(f"wrote {path}")
    if found["comments"]:
        output.line("")
        thread(output, found["comments"], everything=everything)
    if row["state"] in OPEN:
        name = short_operation(row["operation"])
        output.hint(f"p2pvoice review {name} --accept -m …   (and its author: p2pvoice merge {name})")


def _headlines(output: Output, row: dict[str, Any]) -> None:
    output.line(click.style(headline(row, row["state"]), bold=True))
    for line in words(row["text"]) or ["    (retracted)"]:
        output.line(line)
    offer = row.get("offer") or {}
    whose = f"{short_author(offer['author'])}/{offer['slug']}" if offer else "not found in the network"
    merged = row.get("merged")
    output.pairs(
        [
            ("offered", f"{short_id(row['release'])}  {whose}"),
            ("made from", short_id(row["base"])),
            ("licence", offer.get("license")),
            ("merged", f"{short_id(merged['release'])} ({merged['mode']})" if merged else None),
        ]
    )
    for review in row["reviews"]:
        output.line(f"{review['verdict']} by {who(review)}  {date(review['time']) or ''}")
        for line in words(review["text"]):
            output.line(line)


@click.command()
@OPERATION
@click.option("--accept", "verdict", flag_value="accept", help="It should be merged.")
@click.option("--reject", "verdict", flag_value="reject", help="It should not.")
@click.option("--withdraw", "verdict", flag_value="withdraw", help="Take your own proposal back.")
@click.option("-m", "--message", default="", help="Why.")
@json_option
@click.pass_obj
def review(output: Output, operation: str, verdict: str | None, message: str) -> None:
    """Accept or reject a proposal, or withdraw your own.

    The voice's author decides; what others say is advice. Signed and public. Accepting merges nothing: that
    is `p2pvoice merge OP`.
    """
    if verdict is None:
        raise UsageError("--accept or --reject?", hint=f"p2pvoice review {operation} --accept -m …")
    if verdict == "withdraw":
        said(output, Client().act_on(operation, "close", text=message))
        return
    answer = Client().act_on(operation, "review", verdict=verdict, text=message)
    said(output, answer)
    if answer["done"] and verdict == "accept":
        output.hint(f"p2pvoice merge {short_operation(operation)}")
