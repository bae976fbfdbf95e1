"""What can be measured of a voice or a recording: `describe`, `similarity`, `stability`.

Each figure comes with its method and a confidence; a draft keeps what was found and publishes it. Follows
specs/cli.md and specs/measurement.md.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.learning import Learning
from p2pvoice.cli.output import Output, json_option
from p2pvoice.cli.progress import Progress
from p2pvoice.cli.report import figure_table
from p2pvoice.node.rpc.client import Client, Event

LANGUAGE = click.Choice(["yue", "zh", "en", "ja", "ko"])


@click.command()
@click.argument("what", metavar="DRAFT|CLIP")
@click.option("--lang", type=LANGUAGE, help="The language of a clip.")
@click.option("--text", help="What a clip says, for its rate of speech.")
@click.option("--asr", help="The installed recogniser that hears language and words.")
@json_option
@click.pass_obj
def describe(output: Output, what: str, lang: str | None, text: str | None, asr: str | None) -> None:
    """Describe a draft or a recording by measurement.

    Pitch, rate, hoarseness, loudness, noise and more, each with its method and a confidence; gender, age and
    the like are proposals to confirm. What is found of a draft is kept and published with it.
    """
    client = Client()
    subject = subject_of(output, client, what, clip="upload")
    body = {**subject, "lang": lang, "text": text, "asr": asr, "name": Path(what).name}
    result = follow(output, client.describe(body))
    if output.as_json:
        return
    figure_table(output, result.get("measured", ()))
    for note in result.get("notes", ()):
        output.note(str(note))
    tags = [str(tag) for tag in result.get("tags", ())]
    if tags:
        output.note("proposed tags: " + " ".join(tags))
    if "draft" in subject:
        options = "".join(f" --tag {tag}" for tag in tags)
        output.hint(f"p2pvoice publish {subject['draft']}{options} --license CC-BY-4.0 --consent self")


@click.command()
@click.argument("a")
@click.argument("b")
@json_option
@click.pass_obj
def similarity(output: Output, a: str, b: str) -> None:
    """Tell how alike two speakers are: voices, drafts or recordings.

    The figure is the cosine of two speaker embeddings, 1 for the same sound. It compares; it proves nothing.
    """
    client = Client()
    first, second = (subject_of(output, client, one) for one in (a, b))
    result = follow(output, client.similarity(first, second))
    if output.as_json:
        return
    output.line(f"{float(result['similarity']):.3f}")
    output.note(str(result.get("method", "")))


@click.command()
@click.argument("voice")
@json_option
@click.pass_obj
def stability(output: Output, voice: str) -> None:
    """Tell how well a voice stays itself: over sentences, devices and languages."""
    client = Client()
    result = follow(output, client.stability(subject_of(output, client, voice)))
    if output.as_json:
        return
    figure_table(output, result.get("measured", ()))
    for note in result.get("notes", ()):
        output.note(str(note))


def subject_of(output: Output, client: Client, what: str, *, clip: str = "upload") -> dict[str, str]:
    """What a word on the command line means: a file that exists, a draft of this home, or a voice."""
    path = Path(what)
    if path.is_file():
        with Progress(output) as progress:
            return {clip: client.upload(path, progress=progress.sending(path))}
    if any(what in (draft["slug"], draft["name"]) for draft in client.drafts()):
        return {"draft": what}
    return {"voice": what}


def follow(output: Output, events: Iterator[Event]) -> dict[str, Any]:
    """Show a measurement's progress (or print it, with `--json`) and return its result."""
    result: dict[str, Any] = {}
    with Learning(output) as learning:
        for event in learning.follow(events):
            if output.as_json:
                output.document(event)
            if event.get("event") == "result":
                result = dict(event)
    return result
