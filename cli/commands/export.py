"""`export`: a voice in the form that GPT-SoVITS loads. Follows specs/cli.md and specs/export.md."""

import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import click

from p2pvoice.cli.output import Output, json_option, size
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import ConflictError, DaemonUnavailableError, UsageError

LAST = "TERMS.txt"
"""The file that an archive ends with: one without it broke off."""


@click.command()
@click.argument("what", metavar="VOICE|DRAFT")
@click.option(
    "--format",
    "form",
    type=click.Choice(["gpt-sovits"]),
    default="gpt-sovits",
    show_default=True,
    help="Whose form to write.",
)
@click.option(
    "--plain-config",
    "plain",
    is_flag=True,
    help="Settings as dictionaries, not GPT-SoVITS' objects: torch.load(weights_only=True) opens them.",
)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    help="The new folder to write to; default: the voice's name.",
)
@json_option
@click.pass_obj
def export(output: Output, what: str, form: str, plain: bool, target: Path | None) -> None:
    """Write an installed voice, or a draft, as the files that GPT-SoVITS loads.

    The folder gets a .pth and a .ckpt file, the reference clips with a list of what they say, and TERMS.txt
    with the licence and the consent, which go with the voice wherever it goes.
    """
    client = Client()
    if target is not None and target.exists():
        raise ConflictError(f"{target} exists already", hint="p2pvoice export … -o ANOTHER_FOLDER")
    drafts = (name for draft in client.drafts() for name in (draft["slug"], draft["name"]))
    subject = {"draft": what} if what in drafts else {"voice": what}
    place, files = unpack(client.export(subject, form, plain=plain), target)
    total = sum(path.stat().st_size for path in files)
    if output.as_json:
        output.document(
            {"folder": str(place), "files": [str(path.relative_to(place)) for path in files], "bytes": total}
        )
        return
    output.line(str(place))
    output.note(f"wrote {len(files)} files ({size(total)}); read {place / LAST} before you pass them on")


def unpack(pieces: Iterator[bytes], target: Path | None) -> tuple[Path, list[Path]]:
    """Write an archive to the new folder ``target``, whole or not at all -> the folder and its files.

    Without a target it is the archive's own top folder, in the current one. Raises ConflictError when that
    exists, DaemonUnavailableError for an archive that broke off.
    """
    beside = (target or Path("export")).absolute()
    growing = beside.with_name(f".{beside.name}.{os.getpid()}.part")
    try:
        growing.mkdir()
        names: list[str] = []
        with tarfile.open(fileobj=_Stream(pieces), mode="r|") as archive:
            for entry in archive:
                # The archive is our own daemon's; still no entry may leave the folder or be a link.
                if not entry.isfile():
                    raise UsageError(f"the archive holds something that is no plain file: {entry.name!a}")
                archive.extract(entry, growing, filter="data")
                names.append(entry.name)
        top = names[0].split("/", 1)[0] if names else ""
        if not names or names[-1] != f"{top}/{LAST}":
            raise DaemonUnavailableError("the export broke off", hint="p2pvoice doctor")
        place = target or Path(top)
        if place.exists():
            raise ConflictError(f"{place} exists already", hint="p2pvoice export … -o ANOTHER_FOLDER")
        (growing / top).rename(place)
    except tarfile.TarError as error:
        raise DaemonUnavailableError("the export broke off", hint="p2pvoice doctor") from error
    finally:
        shutil.rmtree(growing, ignore_errors=True)
    return place, [place / name.split("/", 1)[1] for name in names]


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file that can be read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._pieces, b"")
        taken = min(len(buffer), len(self._rest))
        buffer[:taken], self._rest = self._rest[:taken], self._rest[taken:]
        return taken
