"""Finding voices, listing those that are here, and removing one: `find`, `list`, `rm`.

The commands only ask and print; what a reference means is the daemon's to say. Follows specs/cli.md.
"""

import shlex

import click

from p2pvoice.cli.output import (
    Output,
    json_option,
    size,
)
from p2pvoice.cli.progress import Progress
from p2pvoice.cli.voices import VOICE, Summary, handle, voice_of, voice_table, warn
from p2pvoice.node.rpc.client import Client


@click.command()
@click.argument("text", required=False, default="")
@click.option("--tag", "tags", multiple=True, help="A tag, in Chinese or English; repeat to narrow.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Most voices to show."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 300),
    default=10.0,
    show_default=True,
    help="Seconds to ask the network for.",
)
@click.option("--cursor", default="", help="Go on where a page ended: what its last line said.")
@json_option
@click.pass_obj
def find(output: Output, text: str, tags: tuple[str, ...], limit: int, timeout: float, cursor: str) -> None:
    """Find voices by tag or free text.

    What this node already knows is shown first; then peers are asked. `--tag cantonese`, `--tag 粤语` and
    `--tag yue` are one question. Voices of those you follow come first, and no author fills a page.
    """
    found: dict[str, Summary] = {}
    behind = ""
    with Progress(output) as progress:
        events = Client().find(tags=tags, text=text, limit=limit, timeout=timeout, cursor=cursor)
        for event in progress.follow(events):
            behind = str(event.get("next") or "") if event.get("event") == "result" else behind
            if output.as_json:
                output.document(event)
            elif event.get("event") == "voice":
                voice = voice_of(event)
                found[str(voice.get("release"))] = voice
            elif event.get("event") == "warning":
                output.note(str(event.get("message", "")))
    if output.as_json:
        return
    if not found and cursor:
        output.note("nothing more")
        return
    if not found:
        output.note("nothing found")
        output.hint("p2pvoice peers   (a search reaches only peers that this node is connected to)")
        return
    voices = list(found.values())
    voice_table(output, voices)
    warn(output, voices)
    away = next((voice for voice in voices if not voice.get("installed")), None)
    output.hint(f"p2pvoice listen {handle(away)}" if away else f'p2pvoice speak {handle(voices[0])} "…"')
    if behind:
        asked = [*((shlex.quote(text),) if text else ()), *(f"--tag {shlex.quote(tag)}" for tag in tags)]
        output.hint(
            " ".join(["p2pvoice find", *asked, f"--limit {limit} --cursor {behind}   (more of them)"])
        )


@click.command("list")
@json_option
@click.pass_obj
def list_voices(output: Output) -> None:
    """List installed voices and your own."""
    voices = Client().voices()
    if output.as_json:
        output.document({"voices": voices})
        return
    if voices:
        voice_table(output, voices)
        warn(output, voices)
        return
    output.note("no voices yet")
    output.hint("p2pvoice find --tag cantonese")


@click.command()
@VOICE
@click.option("--draft", is_flag=True, help="VOICE is a draft: remove that, and nothing that was published.")
@json_option
@click.pass_obj
def rm(output: Output, voice: str, draft: bool) -> None:
    """Remove a voice from this node, or a draft.

    What others already hold cannot be called back.
    """
    if draft:
        gone = Client().remove_draft(voice)
        if output.as_json:
            output.document(gone)
        else:
            output.line(str(gone["draft"]))
            output.note(f"removed the draft {gone['name']}, {size(gone['bytes'])}")
        return
    answer = Client().remove(voice)
    if output.as_json:
        output.document(answer)
        return
    output.line(str(answer["release"]))
    output.note(
        f"removed {answer['slug']}, {size(answer['freed'])} freed; what others fetched stays with them"
    )
