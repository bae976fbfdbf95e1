"""`base add` and `base list`: the pretrained networks that import, Mandarin and transcripts need.

Follows specs/cli.md and specs/bases.md.
"""

from pathlib import Path

import click

from p2pvoice.cli.commands.voices import follow
from p2pvoice.cli.output import Output, json_option, size
from p2pvoice.cli.progress import Progress
from p2pvoice.node.rpc.client import Client
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


@click.group()
def base() -> None:
    """Add or list base models (HuBERT, the speaker network, the Chinese BERT, a recogniser)."""


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
    base stays on this machine, whatever its licence.
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
@json_option
@click.pass_obj
def list_bases(output: Output) -> None:
    """List the installed base models."""
    client = Client()
    rows, bundled = client.bases(), client.bundled_base()
    if output.as_json:
        output.document({"bases": rows, "bundled": bundled})
        return
    if not rows:
        output.note("no base models; voices that bring their own need none")
        output.hint("p2pvoice base add DIR")
    output.table(
        ["NAME", "KIND", ">SIZE", "LICENCE", "VERIFIED", "ID"],
        [
            [
                str(row.get("name", "")),
                str(row.get("kind", "")),
                size(row.get("size") or row.get("bytes") or 0),
                str(row.get("license") or "unknown"),
                "yes" if row.get("verified") else "no",
                str(row.get("id", "")),
            ]
            for row in (*rows, bundled)
        ],
    )
