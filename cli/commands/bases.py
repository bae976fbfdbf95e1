"""`base …`: the pretrained networks that import, Mandarin and transcripts need, here and in the network.

Follows specs/cli.md and specs/bases.md.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.commands.fetch import describe_transfer, follow
from p2pvoice.cli.output import Output, json_option, printable, size
from p2pvoice.cli.progress import Progress
from p2pvoice.cli.voices import byline
from p2pvoice.node.rpc.client import Client, Event
from p2pvoice.protocol.errors import UsageError

WANTED = {".json", ".safetensors", ".bin", ".txt", ".ckpt"}
"""File types of a base that are sent: its config, weights and vocabulary, never scripts."""


ASR = "asr"
"""The kind of a speech recogniser, the only one that is named."""

ASR_WANTED = (
    "config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.txt",
    "vocabulary.json",
    "preprocessor_config.json",
)
"""Files of a recogniser that are sent; whatever else lies beside them stays here."""

KINDS = ("hubert", "bert", "speaker")
"""Kinds of bases that are shared."""

BASE = click.argument("named", metavar="BASE")


@click.group()
def base() -> None:
    """Add, share and fetch base models (HuBERT, the speaker network, the Chinese BERT, a recogniser)."""


@base.command("add")
@click.argument("words", nargs=-1, required=True, metavar="[asr] FOLDER")
@click.option("--name", help="What to call it; default: the folder's name.")
@click.option("--license", "licence", help="The base's licence, an SPDX id such as MIT.")
@click.option(
    "--license-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The licence's text, kept beside the base.",
)
@json_option
@click.pass_obj
def add(
    output: Output, words: tuple[str, ...], name: str | None, licence: str | None, license_file: Path | None
) -> None:
    """Install a base model from a local FOLDER.

    GPT-SoVITS' chinese-hubert-base is needed to import voices trained on it, its sv to import v2Pro and
    v2ProPlus voices; chinese-roberta-wwm-ext-large makes Mandarin sound better. `asr FOLDER` installs a
    speech recogniser as faster-whisper reads it, which writes transcripts and judges what is understood. A
    base stays on this machine until it is shared with `base publish`, which needs a --license.
    """
    kind, folder = wanted(words)
    known = ASR_WANTED if kind == ASR else None
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and (path.name in known if known else path.suffix in WANTED)
    )
    if not files:
        raise UsageError(
            f"{folder} holds no model files", hint="name the folder that holds config.json and the weights"
        )
    client = Client()
    with Progress(output) as progress:
        uploads = {path.name: client.upload(path, progress=progress.sending(path)) for path in files}
    text = client.upload(license_file) if license_file is not None else ""
    events = client.add_base(
        name or folder.resolve().name, uploads, kind=kind, license=licence or "", license_upload=text
    )
    result = follow(output, events)
    if output.as_json:
        return
    output.line(str(result.get("base") or result.get("name") or name or folder.resolve().name))
    output.hint("p2pvoice base list")


def wanted(words: tuple[str, ...]) -> tuple[str, Path]:
    """Kind and folder, from `FOLDER` or `asr FOLDER`."""
    kind, folder = ("", words[0]) if len(words) == 1 else (words[0], words[1])
    if len(words) > 2 or kind not in ("", ASR):
        raise UsageError(f"unexpected {words[0]!r}", hint="p2pvoice base add FOLDER, or: base add asr FOLDER")
    if not Path(folder).is_dir():
        raise UsageError(f"there is no folder {folder}", hint="p2pvoice base add --help")
    return kind, Path(folder)


@base.command("list")
@click.option("--network", is_flag=True, help="Ask peers which bases they offer, instead.")
@click.option("--kind", type=click.Choice(KINDS), help="With --network: this kind alone.")
@json_option
@click.pass_obj
def list_bases(output: Output, network: bool, kind: str | None) -> None:
    """List the installed base models, or with --network those that peers offer."""
    client = Client()
    if network:
        found = list(told(output, client.offered_bases(kind or "")))
        if not output.as_json:
            output.table(
                ["BUNDLE", "KIND", "~NAME", "AUTHOR", ">SIZE", "LICENCE", "HERE", "TRUSTED"],
                [offer_row(row) for row in found],
            )
        return
    if kind:
        raise UsageError("--kind is for --network", hint=f"p2pvoice base list --network --kind {kind}")
    rows, bundled = client.bases(), client.bundled_base()
    if output.as_json:
        output.document({"bases": rows, "bundled": bundled})
        return
    if not rows:
        output.note("no base models; voices that bring their own need none")
        output.hint("p2pvoice base add DIR, or: p2pvoice base list --network")
    output.table(
        ["NAME", "KIND", ">SIZE", "LICENCE", "VERIFIED", "SHARED", "ID"],
        [
            [
                str(row.get("name", "")),
                str(row.get("kind", "")),
                size(row.get("size") or row.get("bytes") or 0),
                str(row.get("license") or "unknown"),
                "yes" if row.get("verified") else "no",
                "yes" if row.get("shared") else "no",
                str(row.get("id", "")),
            ]
            for row in (*rows, bundled)
        ],
    )


def told(output: Output, events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """The offers among the events of a stream; with `--json` each event is printed as it comes."""
    with Progress(output) as progress:
        for event in progress.follow(events):
            if output.as_json:
                output.document(event)
            if event.get("event") == "offer":
                yield dict(event)


def offer_row(row: dict[str, Any]) -> list[str]:
    """A base that somebody offers, as a line of a table."""
    return [
        str(row.get("bundle", "")),
        str(row.get("kind", "")),
        str(row.get("name", "")),
        byline(row),
        size(row.get("size", 0)),
        str(row.get("license", "")),
        "yes" if row.get("installed") else "no",
        str(row.get("trusted") or "no"),
    ]


@base.command("publish")
@BASE
@click.option("--tag", "tags", multiple=True, help="A tag of your own beside its kind; repeat for more.")
@json_option
@click.pass_obj
def publish(output: Output, named: str, tags: tuple[str, ...]) -> None:
    """Share an installed base with the network: its name, its kind or one of its ids.

    The licence said with `base add --license` must let everybody pass it on. The files are checked first, and
    are shared as they are stored here: only the layers that voices use.
    """
    result = follow(output, Client().publish_base(named, tags=tags))
    if output.as_json:
        return
    output.line(str(result["bundle"]))
    output.note(
        f"{result['name']} ({result['kind']}, {size(result['bytes'])}) is shared under {result['license']}"
    )
    if not result.get("announced"):
        output.note("no peer has heard of it yet; it is announced as soon as one is there")
    output.hint(f"p2pvoice base fetch {result['bundle']}   (on another node)")


@base.command("fetch")
@BASE
@click.option("--seed/--no-seed", default=True, show_default=True, help="Offer it to others once it is here.")
@json_option
@click.pass_obj
def fetch(output: Output, named: str, seed: bool) -> None:
    """Fetch a base from peers by its bundle id, content id or release id, or by its kind.

    By kind (hubert, bert, speaker) a base comes only when there is a reason to believe in it: a voice that is
    installed here was made with it, you follow who published it, or its numbers are known to the program.
    Else those that are offered are listed, and you choose one by its id.
    """
    result: dict[str, Any] = {}
    with Progress(output) as progress:
        for event in progress.follow(Client().fetch_base(named, seed=seed)):
            if output.as_json:
                output.document(event)
            elif event.get("event") == "offer":
                bundle, kind, name, whose, large, licence, *_ = offer_row(dict(event))
                output.note(printable(f"offered: {kind} {name} by {whose}, {large}, {licence}: {bundle}"))
            if event.get("event") == "result":
                result = dict(event)
    if output.as_json:
        return
    output.line(str(result["name"]))
    output.note(
        f"{result['kind']}, licence {result['license']} as its publisher says; {describe_transfer(result)}"
    )
    output.hint("p2pvoice base list")


@base.command("rm")
@BASE
@json_option
@click.pass_obj
def remove(output: Output, named: str) -> None:
    """Remove an installed base: its name, its kind or one of its ids.

    What others fetched stays with them.
    """
    answer = Client().remove_base(named)
    if output.as_json:
        output.document(answer)
        return
    output.line(str(answer["name"]))
    output.note(f"removed the {answer['kind']}, {size(answer['freed'])} freed")
