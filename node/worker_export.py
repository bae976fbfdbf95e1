"""The worker's operation that turns a bundle into files of GPT-SoVITS, handed over as one tar archive.

Follows specs/worker.md and specs/export.md.
"""

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pvoice.node.worker import Worker

#: Bytes handed over at once.
PIECE = 1 << 20


def export(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Send the archive as pieces; the folder in it is named like the voice."""
    from p2pvoice.sovits.export import export as files_of

    name, names = str(arguments["name"]), []
    folder, plain = Path(arguments["folder"]), bool(arguments["plain"])
    for file in files_of(folder, name, dict(arguments["notes"]), plain=plain):
        entry = tarfile.TarInfo(f"{name}/{file.name}")
        entry.size = file.size
        worker.piece(entry.tobuf(tarfile.USTAR_FORMAT))
        for piece in file.pieces:
            for at in range(0, len(piece), PIECE):
                worker.piece(bytes(piece[at : at + PIECE]))
        worker.piece(bytes(-file.size % tarfile.BLOCKSIZE))
        names.append(file.name)
    worker.piece(bytes(2 * tarfile.BLOCKSIZE))
    return {"files": names}
