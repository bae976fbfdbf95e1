"""`inspect`: what a file on disk says about itself, read here without a daemon.

Audio: the AIGC label and our own text beside it. Safetensors: the header. It judges no content: a label can
be stripped, so its absence proves nothing. Follows specs/label.md and specs/cli.md.
"""

from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.output import Output, date, json_option, printable, size
from p2pvoice.protocol.errors import UsageError

FILE_LIMIT = 256 * 1024 * 1024
"""Bytes of an audio file that are read to look for its label: an hour and a half of CD-quality wav."""

HEADER_LIMIT = 100 * 1024 * 1024
"""Bytes of a safetensors file that may be read for its header: the format's own limit."""

MARKS = {"1": "yes", "2": "possibly", "3": "suspected"}
"""What the label's three values mean."""

TENSORS_SHOWN = 12
"""Tensors listed for a person; `--json` lists all."""


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def inspect(output: Output, file: Path) -> None:
    """Read a file's AIGC label (wav, flac, mp3, ogg) or its safetensors header.

    Tells whether an audio file says that it is synthetic, and which release spoke it.
    """
    with file.open("rb") as opened:
        start = opened.read(12)
    if audio_kind(start):
        facts = inspect_audio(file)
    elif start[8:9] == b"{":
        facts = inspect_tensors(file)
    elif start[:2] in (b"PK", b"03", b"04", b"05", b"06") or start[:1] == b"\x80":
        # A pickle can run code when it is opened: only the importer, which never unpickles, reads it.
        raise UsageError(
            f"{file}: a PyTorch checkpoint is not opened here",
            hint="p2pvoice import reads it without running what is in it",
        )
    else:
        raise UsageError(
            f"{file}: neither sound nor safetensors",
            hint="inspect reads wav, flac, mp3, ogg and safetensors files",
        )
    if output.as_json:
        output.document(facts)
    else:
        show(output, facts)


def audio_kind(start: bytes) -> str:
    """What kind of sound a file holds, by its first bytes; empty for something else."""
    from p2pvoice.protocol.mp3 import is_mp3

    kinds = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg"}
    return kinds.get(start[:4], "mp3" if is_mp3(start) else "")


def inspect_audio(file: Path) -> dict[str, Any]:
    """The label of a sound file, as data."""
    from p2pvoice.protocol.label import read_label

    length = file.stat().st_size
    if length > FILE_LIMIT:
        raise UsageError(f"{file}: larger than {size(FILE_LIMIT)}")
    data = file.read_bytes()
    label = read_label(data)
    return {
        "file": str(file),
        "kind": audio_kind(data[:12]),
        "size": length,
        "label": None if label is None else label_facts(label),
    }


def label_facts(label: Any) -> dict[str, Any]:
    """A label's fields by name, without the empty ones."""
    import dataclasses

    return {name: value for name, value in dataclasses.asdict(label).items() if value not in (None, "")}


def inspect_tensors(file: Path) -> dict[str, Any]:
    """The header of a safetensors file, as data."""
    from p2pvoice.protocol.tensors import read_header

    length = file.stat().st_size
    with file.open("rb") as opened:
        prefix = opened.read(8)
        announced = int.from_bytes(prefix, "little")
        if announced > min(HEADER_LIMIT, length):
            raise UsageError(f"{file}: not a safetensors file, its header would be {announced} bytes long")
        data = prefix + opened.read(announced)
    header = read_header(data, length)
    return {
        "file": str(file),
        "kind": "safetensors",
        "size": length,
        "metadata": dict(header.metadata or {}),
        "tensors": [
            {
                "name": name,
                "dtype": str(info.dtype),
                "shape": list(info.shape),
                "bytes": info.end - info.start,
            }
            for name, info in header.tensors.items()
        ],
    }


def show(output: Output, facts: dict[str, Any]) -> None:
    """What was found, for a person."""
    rows: list[tuple[str, Any]] = [
        ("file", facts["file"]),
        ("kind", facts["kind"]),
        ("size", size(facts["size"])),
    ]
    if facts["kind"] == "safetensors":
        tensors = facts["tensors"]
        shown = [f"{printable(tensor['name'])}  {tensor['dtype']} {tensor['shape']}" for tensor in tensors]
        if len(shown) > TENSORS_SHOWN:
            shown = [*shown[:TENSORS_SHOWN], f"… and {len(shown) - TENSORS_SHOWN} more (--json lists all)"]
        rows += [("tensors", str(len(tensors))), ("", shown)]
        rows += [(printable(name), printable(str(value))) for name, value in facts["metadata"].items()]
        output.pairs(rows)
        return
    label = facts["label"]
    if label is None:
        output.pairs(rows)
        output.note("no AIGC label: the file does not say it is synthetic, which proves nothing either way")
        return
    output.pairs(
        [
            *rows,
            ("synthetic", f"{MARKS.get(label['mark'], 'unknown')} (AIGC label {label['mark']})"),
            ("release", label.get("release")),
            ("voice", label.get("voice")),
            ("licence", label.get("license")),
            ("made by", label.get("producer")),
            ("made at", date(label.get("created"))),
            ("produce id", label.get("produce_id")),
            (
                "passed on by",
                " ".join(label.get(part, "") for part in ("propagator", "propagate_id")).strip(),
            ),
        ]
    )
