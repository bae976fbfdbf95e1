"""Knowing a voice before fetching it: `show` and `listen`. Follows specs/cli.md."""

from pathlib import Path

import click

from p2pvoice.cli.consent import rows as consent_rows
from p2pvoice.cli.files import check_output, write_output
from p2pvoice.cli.output import (
    Output,
    date,
    json_option,
    seconds,
    size,
)
from p2pvoice.cli.report import value_of
from p2pvoice.cli.said import figures_line
from p2pvoice.cli.voices import VOICE, Summary, handle, warn
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import NetworkError

HOLDERS_SECONDS = 3.0
"""Seconds `show` waits for the network to tell how many hold a voice."""


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
