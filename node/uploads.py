"""Files a caller sends over the RPC, until something takes them.

The daemon opens no path that a caller names; whoever wants it to read a file sends the file. An upload is
named by a random id, lives for an hour at most, and is deleted with the request that used it. Follows
specs/rpc.md, "Uploads".
"""

import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from p2pvoice.node.partial import storage_error
from p2pvoice.protocol.errors import UsageError

#: Largest upload in bytes.
UPLOAD_LIMIT = 4 << 30

#: Uploads that may wait at the same time: the clips of one training.
WAITING_LIMIT = 520

#: Seconds after which an upload that nobody took is deleted.
LIFETIME = 3_600.0

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Upload:
    """A received file."""

    id: str
    size: int


class Uploads:
    """The uploads of one home."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def clean(self, *, all_of_them: bool = False) -> None:
        """Delete what nobody took in time, or everything, as at the daemon's start."""
        for path in self._folder.iterdir():
            if all_of_them or path.stat().st_mtime < self._clock() - LIFETIME:
                path.unlink(missing_ok=True)

    async def receive(self, pieces: AsyncIterator[bytes], *, limit: int = UPLOAD_LIMIT) -> Upload:
        """Write a body to a file of its own; nothing of it stays when this fails or is cancelled."""
        await trio.to_thread.run_sync(self.clean)
        waiting = await trio.to_thread.run_sync(lambda: len(os.listdir(self._folder)))
        if waiting >= WAITING_LIMIT:
            raise UsageError(f"{waiting} uploads are waiting already", hint="try again in an hour")
        name = secrets.token_hex(16)
        path = self._folder / name
        size = 0
        try:
            async with await trio.open_file(path, "xb") as file:
                async for piece in pieces:
                    size += len(piece)
                    if size > limit:
                        raise UsageError(f"an upload may have at most {limit} bytes")
                    await file.write(piece)
        except OSError as error:
            self.discard(name)
            raise storage_error(error, path) from error
        except BaseException:
            self.discard(name)
            raise
        if not size:
            self.discard(name)
            raise UsageError("the upload is empty")
        return Upload(name, size)

    def path(self, name: str) -> Path:
        """Where an upload is; UsageError when there is none by that id."""
        path = self._folder / name
        if not _ID.fullmatch(name) or not path.is_file():
            raise UsageError("there is no such upload", hint="send the file again with PUT /v1/uploads")
        return path

    def discard(self, *names: str) -> None:
        """Delete uploads that have served; a name that is no upload's id names nothing."""
        for name in names:
            if _ID.fullmatch(name):
                (self._folder / name).unlink(missing_ok=True)
