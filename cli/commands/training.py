"""Making a voice: `train`, `tune`, `distil`, and `trainings`, the list of them.

Clips are sent to the daemon, which trains in a process of its own. Ctrl-C stops after a checkpoint. Follows
specs/cli.md and specs/trainings.md.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.clips import Clips, gather
from p2pvoice.cli.learning import Learning
from p2pvoice.cli.output import Output, date, json_option, seconds, size
from p2pvoice.cli.progress import Progress
from p2pvoice.cli.report import clip_table, training_report
from p2pvoice.node.rpc.client import Client, Event
from p2pvoice.protocol.errors import P2PVoiceError, UsageError

LICENCE = "CC-BY-4.0"
"""The licence that examples show."""

LANGUAGE = click.Choice(["yue", "zh", "en"])

ENTRY = click.Path(exists=True, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

MINUTES = click.FloatRange(0.05, 10_080)


@click.command()
@click.argument("clips", nargs=-1)
@click.option("--name", help="A name for the training, the draft and the voice.")
@click.option("--lang", type=LANGUAGE, help="The language that is spoken in the clips.")
@click.option("--text", help="What a single clip says, from beginning to end.")
@click.option("--transcripts", type=FILE, help="A list, one clip a line: PATH|SPEAKER|LANGUAGE|TEXT.")
@click.option("--asr", help="The installed recogniser that hears transcripts and judges errors.")
@click.option("--base", metavar="VOICE", help="The voice to start from; default: the one that comes along.")
@click.option("--epochs", type=click.IntRange(1, 10_000), help="Passes over the clips.")
@click.option("--minutes", type=MINUTES, help="Minutes of computing; default: 18.")
@click.option("--only", type=click.Choice(["all", "last-layers"]), default="all", show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--data", "declaration", help="Where the clips come from, for the manifest.")
@click.option("--resume", is_flag=True, help="Go on with a training: p2pvoice train --resume NAME.")
@json_option
@click.pass_obj
def train(
    output: Output,
    clips: tuple[str, ...],
    name: str | None,
    lang: str | None,
    text: str | None,
    transcripts: Path | None,
    asr: str | None,
    base: str | None,
    epochs: int | None,
    minutes: float | None,
    only: str,
    seed: int,
    declaration: str | None,
    resume: bool,
) -> None:
    """Train a voice from a minute of recordings.

    CLIPS are audio files, or folders of them. What they say comes from --text (a single clip), from a list,
    from .txt files of the same names beside them, or from an installed recogniser. The voice becomes a draft
    on this machine; the recordings never leave it, except for the few seconds of reference that the draft
    shows. Ctrl-C stops after a checkpoint; --resume goes on.
    """
    client = Client()
    if resume:
        chosen = name or (clips[0] if len(clips) == 1 else "")
        if not chosen:
            raise UsageError("which training?", hint="p2pvoice trainings, then: p2pvoice train --resume NAME")
        finish(output, client, chosen, client.resume_training(chosen))
        return
    if not clips:
        raise UsageError(
            "there is nothing to train on", hint='p2pvoice train me.wav --text "…" --name me --lang yue'
        )
    if not name or not lang:
        raise UsageError(f"missing {'--name' if not name else '--lang'}", hint="p2pvoice train --help")
    for clip in clips:
        if not Path(clip).exists():
            raise UsageError(f"there is no file {clip}", hint="p2pvoice train --help")
    if epochs and minutes:
        raise UsageError("--epochs and --minutes both say when to end", hint="leave one of them out")
    gathered = gather([Path(clip) for clip in clips], lang=lang, listed=transcripts, text=text)
    body: dict[str, object] = {
        "name": name,
        "lang": lang,
        "base": base,
        "asr": asr,
        "epochs": epochs,
        "minutes": minutes,
        "only": only,
        "seed": seed,
        "declaration": declaration,
    }
    finish(output, client, name, client.train(body | send(output, client, gathered)))


@click.command()
@click.argument("voice")
@click.argument("sentences", type=ENTRY, nargs=-1, required=True)
@click.option("--lang", type=LANGUAGE, required=True, help="The language of the sentences.")
@click.option("--name", help="A name for the tuned voice; default: the voice's, tuned.")
@click.option("--transcripts", type=FILE, help="A list, one clip a line: PATH|SPEAKER|LANGUAGE|TEXT.")
@click.option("--asr", help="The installed recogniser that judges errors.")
@click.option("--epochs", type=click.IntRange(1, 10_000), help="Passes over the sentences.")
@click.option("--minutes", type=MINUTES, help="Minutes of computing; default: 6.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@json_option
@click.pass_obj
def tune(
    output: Output,
    voice: str,
    sentences: tuple[Path, ...],
    lang: str,
    name: str | None,
    transcripts: Path | None,
    asr: str | None,
    epochs: int | None,
    minutes: float | None,
    seed: int,
) -> None:
    """Tune VOICE with recorded sentences whose words it gets wrong.

    SENTENCES is a folder of about twenty recordings, each with a .txt of the same name, or with a list. The
    error on these and on ordinary sentences is reported before and after, so that gain and forgetting show.
    """
    client = Client()
    if epochs and minutes:
        raise UsageError("--epochs and --minutes both say when to end", hint="leave one of them out")
    gathered = gather(sentences, lang=lang, listed=transcripts)
    body: dict[str, object] = {
        "voice": voice,
        "name": name,
        "lang": lang,
        "asr": asr,
        "epochs": epochs,
        "minutes": minutes,
        "seed": seed,
    }
    finish(output, client, name or voice, client.tune(body | send(output, client, gathered)))


@click.command()
@click.argument("voice")
@click.option("--name", required=True, help="A name for the lite voice.")
@click.option("--lang", type=LANGUAGE, help="The language it reads; default: the voice's own.")
@click.option("--asr", help="The installed recogniser that judges errors.")
@click.option("--minutes", type=MINUTES, help="Minutes of computing; default: 45.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@json_option
@click.pass_obj
def distil(
    output: Output,
    voice: str,
    name: str,
    lang: str | None,
    asr: str | None,
    minutes: float | None,
    seed: int,
) -> None:
    """Distil VOICE into a lite voice that is small and fast.

    VOICE reads sentences, and the lite voice learns from them; size, speed, errors and likeness of both are
    reported. The draft says what it was distilled from.
    """
    client = Client()
    body = {"voice": voice, "name": name, "lang": lang, "asr": asr, "minutes": minutes, "seed": seed}
    finish(output, client, name, client.distil(body))


def send(output: Output, client: Client, clips: Clips) -> dict[str, object]:
    """Send recordings and transcripts; what the request says of them."""
    with Progress(output) as progress:
        sent = [
            {"name": path.name, "upload": client.upload(path, progress=progress.sending(path))}
            for path in clips.paths
        ]
    said = client.upload_text(clips.transcripts) if clips.transcripts else None
    return {"clips": sent, "transcripts": said}


def finish(output: Output, client: Client, name: str, events: Iterator[Event]) -> None:
    """Show a training until it ends; Ctrl-C stops it and says how to go on."""
    result: dict[str, Any] = {}
    running = ""
    try:
        with Learning(output) as learning:
            for event in learning.follow(events):
                running = str(event.get("training") or running)
                if output.as_json:
                    output.document(event)
                elif event.get("clips") and event.get("stage") == "clips":
                    clip_table(output, event["clips"])
                elif event.get("event") == "warning":
                    output.note(f"note: {event.get('message', '')}")
                if event.get("event") == "result":
                    result = dict(event)
    except KeyboardInterrupt:
        _stop(output, client, events, running)
        raise
    if output.as_json:
        return
    draft = str(result.get("draft", name))
    output.line(draft)
    training_report(output, result)
    output.hint(f"p2pvoice publish {draft} --license {LICENCE} --consent self")


def _stop(output: Output, client: Client, events: Iterable[Event], running: str) -> None:
    """Hang up, which stops the training, and wait until what was learnt is on the disk."""
    if not running:
        return
    output.note("stopping; what was learnt is being kept")
    close = getattr(events, "close", None)
    if close is not None:
        close()
    try:
        client.stop_training(running)
    except P2PVoiceError as error:
        output.note(error.message)
    output.hint(f"p2pvoice train --resume {running}")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def trainings(ctx: click.Context) -> None:
    """List trainings, stop one, or delete one with its clips.

    `p2pvoice trainings` lists them; `stop NAME` ends one after a checkpoint; `rm NAME` deletes its folder
    with clips and checkpoints. The draft that it made stays.
    """
    if ctx.invoked_subcommand is not None:
        return
    output: Output = ctx.obj
    rows = Client().trainings()
    if output.as_json:
        output.document({"trainings": rows})
        return
    if not rows:
        output.note("no trainings yet")
        output.hint('p2pvoice train me.wav --text "…" --name me --lang yue')
        return
    output.table(
        ["NAME", "KIND", "STATE", "~AT", ">CLIPS", ">SIZE", "DRAFT", "SINCE"],
        [
            [
                str(row.get("training", "")),
                str(row.get("kind", "")),
                str(row.get("state", "")),
                where(row),
                str(row.get("clips", 0)),
                size(row.get("bytes", 0)),
                str(row.get("draft", "")),
                date(row.get("created")) or "",
            ]
            for row in rows
        ],
    )
    waiting = next((row for row in rows if row.get("state") in ("stopped", "failed")), None)
    if waiting is not None:
        output.hint(f"p2pvoice train --resume {waiting['training']}")


def where(row: dict[str, Any]) -> str:
    """How far a training has come, in a few words."""
    progress = row.get("progress") or {}
    if row.get("state") == "done" or not progress:
        return ""
    left = progress.get("seconds_left")
    told = f"{progress.get('stage', '')} {progress.get('step', 0)}/{progress.get('steps', 0)}"
    return told + (f", {seconds(float(left))} to go" if left is not None else "")


@trainings.command()
@click.argument("name")
@json_option
@click.pass_obj
def stop(output: Output, name: str) -> None:
    """Stop a training after a checkpoint."""
    answer = Client().stop_training(name)
    if output.as_json:
        output.document(answer)
        return
    output.line(str(answer["training"]))
    output.note("stopped; what was learnt is kept" if answer["stopped"] else "it was not running")
    output.hint(f"p2pvoice train --resume {answer['training']}")


@trainings.command("rm")
@click.argument("name")
@json_option
@click.pass_obj
def remove(output: Output, name: str) -> None:
    """Delete a training with its clips and checkpoints."""
    answer = Client().remove_training(name)
    if output.as_json:
        output.document(answer)
        return
    output.line(str(answer["training"]))
    output.note(f"removed, {size(answer['freed'])} freed; a draft that it made stays")
