"""Where a node keeps its things, and the lock that keeps a second daemon out.

This module names files and makes folders; it reads no configuration and opens no database. It imports
only the standard library (platformdirs when nothing else says where home is), because the CLI's RPC
client needs it too. Follows specs/home.md.
"""

import fcntl
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from p2pvoice.protocol.errors import ConflictError, PolicyError

#: Longest socket path in bytes that every Unix accepts with some room to spare (Linux ends at 107).
SOCKET_PATH_LIMIT = 100

#: The environment variable that names the node's home.
HOME_VARIABLE = "P2PVOICE_HOME"


def default_home() -> Path:
    """The home that ``P2PVOICE_HOME`` names, else the platform's place for a user's data."""
    named = os.environ.get(HOME_VARIABLE, "")
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_path("p2pvoice", appauthor=False))


@dataclass(frozen=True)
class Home:
    """Names of everything in a node's home. Making one touches nothing on disk."""

    root: Path

    @classmethod
    def at(cls, root: Path | str | None = None) -> Self:
        """The home at ``root``, or the default home."""
        return cls(Path(root).expanduser().absolute() if root is not None else default_home())

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def lock(self) -> Path:
        return self.root / "node.lock"

    @property
    def api_token(self) -> Path:
        """What programs show to the compatible APIs; not there until those were opened once."""
        return self.root / "api.token"

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.sqlite"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def drafts(self) -> Path:
        return self.root / "drafts"

    @property
    def trainings(self) -> Path:
        """Work folders of trainings, one each: clips, features, checkpoints."""
        return self.root / "trainings"

    @property
    def bases(self) -> Path:
        return self.root / "bases"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def voices(self) -> Path:
        """Folders of links into the store, one a release, as the worker opens them."""
        return self.root / "voices"

    @property
    def scratch(self) -> Path:
        """One folder a worker process: what it may write. Emptied before each of its starts."""
        return self.root / "scratch"

    @property
    def deltas(self) -> Path:
        """Encoded deltas that are kept to be sent again; may be emptied at any time."""
        return self.root / "deltas"

    @property
    def dht(self) -> Path:
        return self.root / "dht"

    @property
    def words(self) -> Path:
        """The user's pronunciation dictionary."""
        return self.root / "pronunciations.txt"

    @property
    def log(self) -> Path:
        return self.root / "daemon.log"

    @property
    def pid(self) -> Path:
        return self.root / "daemon.pid"

    @property
    def addresses(self) -> Path:
        return self.root / "daemon.addresses"

    @property
    def token(self) -> Path:
        """The secret that a TCP face of the RPC asks for; the unix socket needs none."""
        return self.root / "rpc.token"

    @property
    def socket_pointer(self) -> Path:
        """Holds the socket's path when the socket could not stand in the home itself."""
        return self.root / "rpc.path"

    def prepare(self) -> None:
        """Make the home and its folders; all of them are for this user's eyes only."""
        for folder in (
            self.root,
            self.keys,
            self.store,
            self.drafts,
            self.trainings,
            self.bases,
            self.uploads,
            self.voices,
            self.scratch,
            self.dht,
        ):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.keys.chmod(0o700)

    def choose_socket(self) -> Path:
        """The path a daemon binds: in the home, or in a private runtime folder when that path is too long.

        Raises PolicyError when the runtime folder belongs to someone else.
        """
        direct = self.root / "rpc.sock"
        if len(os.fsencode(direct)) <= SOCKET_PATH_LIMIT:
            self.socket_pointer.unlink(missing_ok=True)
            return direct
        name = "p2pvoice-" + hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        parent = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        if len(os.fsencode(parent / name / "rpc.sock")) > SOCKET_PATH_LIMIT:
            parent = Path("/tmp")
        folder = parent / name
        folder.mkdir(mode=0o700, exist_ok=True)
        # In a shared folder somebody else may have made this name before us, and would then own our socket.
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PolicyError(
                f"{folder} belongs to someone else", hint="set XDG_RUNTIME_DIR or a shorter P2PVOICE_HOME"
            )
        folder.chmod(0o700)
        chosen = folder / "rpc.sock"
        self.socket_pointer.write_text(str(chosen))
        return chosen

    def find_socket(self) -> Path:
        """The path where a running daemon of this home listens."""
        try:
            return Path(self.socket_pointer.read_text().strip())
        except OSError:
            return self.root / "rpc.sock"


class HomeLock:
    """An advisory lock on a home, held as long as the process lives.

    The kernel drops it when the process ends, however it ends, so no stale lock can remain.
    """

    def __init__(self, home: Home) -> None:
        self._path = home.lock
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock, or raise ConflictError when another daemon has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise ConflictError(
                f"another daemon (process {holder}) already runs on {self._path.parent}",
                hint="p2pvoice daemon status, or choose another home with P2PVOICE_HOME",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._file = descriptor

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
