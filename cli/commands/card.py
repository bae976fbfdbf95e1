"""`card`: a release's card as Markdown, made of what its manifest says. Follows specs/cli.md."""

from typing import Any

import click

from p2pvoice.cli.commands.recall import refuse_revoked
from p2pvoice.cli.consent import rows as consent_rows
from p2pvoice.cli.output import Output, date, json_option, printable, seconds, size
from p2pvoice.cli.report import value_of
from p2pvoice.cli.voices import bare_tags
from p2pvoice.node.rpc.client import Client


@click.command()
@click.argument("voice")
@json_option
@click.pass_obj
def card(output: Output, voice: str) -> None:
    """Print a release's card as Markdown: who, how it was made, what was measured."""
    found = Client().show(voice)
    refuse_revoked(found)
    if output.as_json:
        output.document(found)
        return
    for line in card_lines(found):
        output.line(line)


def card_lines(voice: dict[str, Any]) -> list[str]:
    """The card, a line each. Everything in it is what its author says, measured or not."""
    training = voice.get("training")
    lines = [f"# {plain(voice.get('name'))}", ""]
    if voice.get("description"):
        lines += [plain(voice["description"]), ""]
    rows = [
        ("release", voice.get("release")),
        ("author", voice.get("author")),
        ("created", date(voice.get("created"))),
        ("licence", voice.get("license")),
        *consent_rows(voice),
        ("languages", " ".join(voice.get("languages", []))),
        ("tags", bare_tags(voice.get("tags", []))),
        ("size", size(voice.get("size", 0))),
    ]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {name} | {plain(value)} |" for name, value in rows if value]
    parents = voice.get("parents") or []
    if parents:
        lines += ["", "## Where it comes from", ""]
        lines += [f"- {plain(one.get('kind'))} {plain(one.get('release'))}" for one in parents]
    if training:
        lines += ["", "## How it was made", "", *training_lines(training)]
    if voice.get("measured"):
        lines += [
            "",
            "## What was measured",
            "",
            "| field | value | confidence | method |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {plain(row.get('field'))} | {plain(value_of(row))} "
            f"| {row.get('confidence')} % | {plain(row.get('method'))} |"
            for row in voice["measured"]
        ]
    return lines


def training_lines(training: dict[str, Any]) -> list[str]:
    """A training record in a few sentences."""
    data = training.get("data") or {}
    clips = data.get("clips")
    layers = [str(layer) for layer in training.get("layers", [])]
    return [
        f"{plain(training.get('kind')).capitalize()} from {plain(training.get('base'))}: "
        f"{training.get('steps')} steps in {seconds(float(training.get('seconds') or 0))}, "
        f"{clips} clip{'' if clips == 1 else 's'} with {seconds(float(data.get('seconds') or 0))} of speech.",
        "",
        f"Data: {plain(data.get('declaration'))}",
        "",
        "Trained parts: " + " ".join(plain(layer) for layer in layers),
    ]


def plain(value: Any) -> str:
    """A stranger's words without control characters and without a table's bars."""
    return printable(str(value if value is not None else "")).replace("|", "\\|").strip()
