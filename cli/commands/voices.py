"""Voices, from finding one to removing it: `find`, `show`, `listen`, `fetch`, `update`, `list`, `rm`.

The commands only ask and print; what a reference means and what may be fetched is the daemon's to say.
Follows specs/cli.md.
"""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.consent import rows as consent_rows
from p2pvoice.cli.files import check_output, write_output
from p2pvoice.cli.output import (
    Output,
    date,
    json_option,
    printable,
    seconds,
    short_author,
    short_id,
    size,
)
from p2pvoice.cli.progress import Progress
from p2pvoice.cli.report import value_of
from p2pvoice.cli.said import figures_line
from p2pvoice.node.rpc.client import Client, Event
from p2pvoice.protocol.errors import NetworkError

Summary = dict[str, Any]

WORTH_TELLING = 0.03
"""Share of the bytes that compression or deltas must have saved to be told of."""

RATE_FROM = 1_000_000
"""Bytes below which a transfer's rate says more about the start than about the line."""

HOLDERS_SECONDS = 3.0
"""Seconds `show` waits for the network to tell how many hold a voice."""

VOICE = click.argument("voice")


def handle(voice: Summary) -> str:
    """The shortest thing to type that names this voice here: its slug beside the beginning of its author."""
    return short_id(str(voice.get("release", "")))


def byline(voice: Summary) -> str:
    """Who published it: *you*, or a key's fingerprint marked unknown until its owner is followed."""
    fingerprint = short_author(str(voice.get("author", "")))
    if voice.get("source") == "own" or voice.get("own"):
        return f"{fingerprint} (you)"
    if voice.get("followed"):
        # The name is the user's own for this key, so it is no claim; the key stands beside it all the same.
        return f"{voice.get('author_name') or ''} {fingerprint} (followed)".strip()
    return f"{fingerprint} (unknown)"


def warn(output: Output, voices: Iterable[Summary]) -> None:
    """Tell what to know before believing a name, on stderr."""
    for voice in voices:
        for one in voice.get("warnings") or ():
            message = printable(str(one.get("message", "")))
            output.note(f"warning: {handle(voice)} by {byline(voice)}: {message}")


def bare_tags(tags: Iterable[str]) -> str:
    """Tags as people say them: `language/yue` becomes `yue`."""
    return " ".join(tag.split("/", 1)[-1] for tag in tags)


def voice_table(output: Output, voices: list[Summary]) -> None:
    """The table of `find` and `list`."""
    output.table(
        ["RELEASE", "~NAME", "AUTHOR", "LANG", "~TAGS", ">SIZE", "HERE"],
        [
            [
                handle(voice),
                str(voice.get("name") or voice.get("slug", "")),
                byline(voice),
                " ".join(voice.get("languages", [])),
                bare_tags(voice.get("tags", [])),
                size(voice.get("size", 0)),
                here(voice),
            ]
            for voice in voices
        ],
    )


def here(voice: Summary) -> str:
    """Whether a voice is here, and what is to be known of that: pinned, for a mirror, not offered."""
    if not voice.get("installed"):
        return "no"
    said = [word for word in ("mirrored", "pinned") if voice.get(word)]
    if voice.get("seed") is False:
        said.append("not offered")
    return ", ".join(["yes", *said])


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


def voice_of(event: Event) -> Summary:
    """The summary that a `voice` event carries."""
    return {key: value for key, value in event.items() if key != "event"}


@click.command()
@VOICE
@click.option("--offline", is_flag=True, help="Do not ask the network how many hold it.")
@json_option
@click.pass_obj
def show(output: Output, voice: str, offline: bool) -> None:
    """Show everything a release says about itself, and how many hold it.

    Of one that was revoked: who revoked it, when and why (exit 5).
    """
    # Imported here because recall.py builds on this file.
    from p2pvoice.cli.commands.recall import refuse_revoked, show_revoked

    client = Client()
    found = client.show(voice)
    if not offline and not found.get("revoked"):
        found["held_by"] = holders_of(client, str(found.get("release")))
    if output.as_json:
        output.document(found)
    elif found.get("revoked"):
        show_revoked(output, found)
    refuse_revoked(found)
    if output.as_json:
        return
    show_voice(output, found)
    warn(output, [found])
    if found.get("installed"):
        output.hint(f'p2pvoice speak {handle(found)} "…" --lang yue -o out.wav')
    else:
        output.hint(f"p2pvoice fetch {handle(found)}")


def holders_of(client: Client, release: str) -> Summary | None:
    """How many others say that they hold a release, and whether it is here; None when that is not told."""
    try:
        found = client.holders(release, timeout=HOLDERS_SECONDS)
    except NetworkError:
        return None
    return None if found["peers"] is None else {"peers": len(found["peers"]), "here": bool(found["here"])}


def holders_line(held: Summary | None) -> str | None:
    """The same in words."""
    if held is None:
        return None
    count = int(held["peers"])
    if not count:
        return "you alone" if held["here"] else "nobody who could be asked"
    return f"{count} peer{'s' if count != 1 else ''}{' (and you)' if held['here'] else ''}"


def training_line(training: Summary | None) -> str | None:
    """A training record in one line."""
    if not training:
        return None
    data, took = training.get("data") or {}, seconds(float(training.get("seconds", 0)))
    return (
        f"{training.get('kind')}, {training.get('steps')} steps in {took}, "
        f"{data.get('clips')} clips, {seconds(float(data.get('seconds', 0)))} of speech"
    )


def measured_line(row: Summary) -> str:
    """A measured field in one line."""
    return f"{row.get('field')}  {value_of(row)}  ({row.get('confidence')} %, {row.get('method')})"


def need_line(need: Summary) -> str:
    """A base that a voice needs, in one line: which, what for, and whether it is here."""
    if need.get("installed"):
        state = f"installed as {need.get('name')}"
    elif need.get("instead"):
        state = f"not here, {need.get('instead')} is used"
    else:
        state = "not here"
    return f"{need.get('kind')} for {need.get('for')}, {state}  ({need.get('fetch')})"


def whose(voice: Summary) -> str:
    """Whose key it is, in words: you, followed under a name, or unknown."""
    if voice.get("own"):
        return "you"
    if voice.get("followed"):
        return f"followed as {voice['author_name']}" if voice.get("author_name") else "followed"
    return "unknown"


def show_voice(output: Output, voice: Summary) -> None:
    """One voice as aligned lines."""
    engine = voice.get("engine") or {}
    files = voice.get("files") or []
    output.pairs(
        [
            ("name", voice.get("name")),
            ("release", voice.get("release")),
            ("author", f"{voice.get('author')} ({whose(voice)})"),
            ("slug", voice.get("slug")),
            ("sequence", voice.get("sequence")),
            ("created", date(voice.get("created"))),
            ("description", voice.get("description")),
            ("languages", " ".join(voice.get("languages", []))),
            ("tags", " ".join(voice.get("tags", []))),
            ("licence", voice.get("license")),
            *consent_rows(voice),
            ("engine", f"{engine.get('family', '')} {engine.get('version', '')}".strip()),
            ("needs", [need_line(need) for need in voice.get("needs") or []]),
            ("sample rate", f"{voice['sample_rate']} Hz" if voice.get("sample_rate") else None),
            ("made from", [f"{one['release']}  ({one['kind']})" for one in voice.get("parents", [])]),
            ("training", training_line(voice.get("training"))),
            ("data", ((voice.get("training") or {}).get("data") or {}).get("declaration")),
            ("trained", " ".join((voice.get("training") or {}).get("layers", []))),
            ("measured", [measured_line(row) for row in voice.get("measured") or []]),
            ("size", size(voice.get("size", 0))),
            (
                "files",
                [
                    f"{file.get('path')}  {size(file.get('size', 0))}"
                    for file in files
                    if isinstance(file, dict)
                ],
            ),
            ("installed", "yes" if voice.get("installed") else "no"),
            ("held by", holders_line(voice.get("held_by"))),
            ("said of it", figures_line(voice)),
        ]
    )


@click.command()
@VOICE
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("preview.wav"),
    show_default=True,
    help="Where to write the clip; - for stdout.",
)
@json_option
@click.pass_obj
def listen(output: Output, voice: str, target: Path) -> None:
    """Get a voice's preview clip before fetching the voice."""
    check_output(target)
    client = Client()
    heard = client.preview(voice)
    clip, shown = heard.data, client.show(heard.release or voice)
    write_output(target, clip)
    if output.as_json and str(target) != "-":
        warnings = shown.get("warnings", [])
        output.document({"voice": voice, "file": str(target), "bytes": len(clip), "warnings": warnings})
    elif str(target) != "-":
        output.line(str(target))
        output.note(f"wrote {size(len(clip))}")
        warn(output, [shown])
        output.hint(f"p2pvoice fetch {voice}")


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
