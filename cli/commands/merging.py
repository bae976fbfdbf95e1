"""Two voices side by side, `diff`, and one made of both, `merge`.

A merge makes a draft and a report; publishing is a second step, after the author has seen it. Follows
specs/cli.md and specs/merging.md.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from p2pvoice.cli.commands.fetch import follow
from p2pvoice.cli.commands.publish import request, settled
from p2pvoice.cli.comparison import difference, merge_report, report_table, save_samples
from p2pvoice.cli.output import Output, json_option, short_id, size
from p2pvoice.node.rpc.client import Client, Event
from p2pvoice.protocol.errors import UsageError

LANGUAGE = click.Choice(["yue", "zh", "en", "ja", "ko"])
SHARE = click.FloatRange(0.001, 0.999)
FOLDER = click.Path(file_okay=False, path_type=Path)

OPERATION = re.compile("op[a-z2-7]{8,52}")
"""The id of a proposal's operation, or its beginning."""

MODES = ["take", "average", "layers"]
"""How two voices become one; the daemon knows no others."""


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--samples", type=FOLDER, help="Let both speak and write what they say into this folder.")
@click.option("--measure", is_flag=True, help="Measure what they say: likeness to A, quality.")
@click.option("--text", help="What they say; default: a sentence in each language both speak.")
@click.option("--lang", type=LANGUAGE, help="The language of the sentence.")
@click.option("--tensors", type=click.IntRange(0, 4096), help="Tensors to list, the largest change first.")
@json_option
@click.pass_obj
def diff(
    output: Output,
    a: str,
    b: str,
    samples: Path | None,
    measure: bool,
    text: str | None,
    lang: str | None,
    tensors: int | None,
) -> None:
    """Show what differs between two voices.

    A and B are releases, here or in the network, or drafts of yours. Shown are what their authors say,
    licence and consent, files, and how far the weights moved, part by part: the length of the change over the
    length of what was there. Neither is installed.
    """
    client = Client()
    body: dict[str, object] = {"samples": samples is not None, "measure": measure, "text": text, "lang": lang}
    if tensors is not None or not output.as_json:
        body["tensors"] = tensors or 0
    result = follow(output, client.diff(a, b, **body))
    saved = save_samples(client, samples, result.get("samples", ())) if samples is not None else []
    if output.as_json:
        return
    difference(output, result, tensors or 0)
    if result.get("report"):
        report_table(output, result["report"], {"a": "a", "b": "b"})
    for path in saved:
        output.note(f"wrote {path}")
    if samples is None:
        output.hint(f"p2pvoice diff {a} {b} --samples heard")


@click.command()
@click.argument("what", metavar="OP|VOICE")
@click.option("--with", "theirs", metavar="VOICE", help="The release to merge into your VOICE.")
@click.option("--mode", type=click.Choice(MODES), default="take", show_default=True, help="How.")
@click.option("--weight", type=SHARE, help="Share of the other voice in an average; default: 0.5.")
@click.option("--part", "parts", multiple=True, help="A part to take, with --mode layers; repeat for more.")
@click.option("--asr", help="The installed recogniser that judges errors.")
@click.option("--sentence", "sentences", multiple=True, help="A sentence to try it with; repeat for more.")
@click.option("--lang", type=LANGUAGE, help="The language of the sentences.")
@click.option("--samples", type=FOLDER, help="Write what the voices said into this folder.")
@click.option("--unrelated", is_flag=True, help="Merge although no common ancestor is known.")
@click.option("--yes", is_flag=True, help="Publish without asking.")
@json_option
@click.pass_obj
def merge(
    output: Output,
    what: str,
    theirs: str | None,
    mode: str,
    weight: float | None,
    parts: tuple[str, ...],
    asr: str | None,
    sentences: tuple[str, ...],
    lang: str | None,
    samples: Path | None,
    unrelated: bool,
    yes: bool,
) -> None:
    """Merge a proposal, or any other release, into a voice of yours.

    `p2pvoice merge OP` merges what was proposed, `p2pvoice merge VOICE --with OTHER` what was not. `take`
    replaces the voice by the other release, `average` takes the mean of both, `layers` takes parts of the
    other: reading, phrasing, choice (together: gpt), text, style, flow, decoder (together: sovits), and
    references. Your voice, the other and the merged one speak the same sentences; what is measured is shown
    before you are asked. Publishing says of licence and consent what the voice's newest release says.
    """
    if weight is not None and mode != "average":
        raise UsageError("--weight is for an average", hint="--mode average")
    client = Client()
    body: dict[str, object] = {
        "mode": mode,
        "weight": weight,
        "parts": list(parts),
        "asr": asr,
        "sentences": list(sentences),
        "lang": lang,
        "unrelated": unrelated,
    }
    if theirs is None:
        if not OPERATION.fullmatch(what):
            raise UsageError("merge what into it?", hint=f"p2pvoice merge {what} --with VOICE, or: merge OP")
        events = client.merge_proposal(what, body)
    else:
        events = client.merge(what, {**body, "with": theirs})
    merged(output, client, events, samples=samples, yes=yes)


def merged(
    output: Output, client: Client, events: Iterable[Event], *, samples: Path | None, yes: bool
) -> None:
    """Show a merge and its report, and publish the draft if its author says so."""
    result = follow(output, events)
    saved = save_samples(client, samples, result.get("samples", ())) if samples is not None else []
    draft = str(result.get("draft", ""))
    if not output.as_json:
        merge_report(output, result)
        for path in saved:
            output.note(f"wrote {path}")
    asked = sys.stdin.isatty() and not output.as_json
    if not yes and not (asked and click.confirm(f"Publish {result.get('voice')} like this?", err=True)):
        if not output.as_json:
            output.line(draft)
            output.note("nothing is published yet: this is a draft")
            output.hint(f"p2pvoice publish {draft}")
        return
    published = follow(output, client.publish(request(draft, (), licence=None, consent=None)))
    if not output.as_json:
        output.line(str(published.get("release", "")))
        output.note(f"published {published.get('slug', '')} ({size(published.get('bytes', 0))})")
        settled(output, published.get("proposal"))
        output.hint(f"p2pvoice show {short_id(str(published.get('release', '')))}")
