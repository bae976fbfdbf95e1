"""A real daemon that is attacked: one process, one home, one seeded voice, and a look at its memory."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.paths import Home
from p2pvoice.node.schema import open_database
from p2pvoice.node.store import Store

from ..conftest import LOOPBACK, Publication, make_publication

MIB = 1 << 20


class Victim:
    """The daemon's process, from ``with`` on. Its voice has 8 MiB of weights."""

    def __init__(self, folder: Path) -> None:
        self.home = Home.at(str(folder / "home"))
        self.voice: Publication = make_publication(
            sizes={"gpt.safetensors": 5 * MIB, "sovits.safetensors": 3 * MIB, "voice.json": 500}, seed=7
        )
        self._folder = folder
        self.address = ""

    def __enter__(self) -> "Victim":
        self._seed()
        command = [sys.executable, "-m", "p2pvoice.node.daemon", "--home", str(self.home.root)]
        self._process = subprocess.Popen(
            [*command, "--listen", LOOPBACK[0]], stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        self.address, self.id = ready["addresses"][0], ready["peer_id"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(30) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def port(self) -> int:
        return int(self.address.split("/tcp/")[1].split("/")[0])

    def forget_peak(self) -> float:
        """Begin to look for a new peak; MiB of memory now."""
        assert self._process.poll() is None, "the daemon died"
        return forget_peak(self._process.pid)

    def peak(self) -> float:
        """MiB of memory at most since :meth:`forget_peak`."""
        assert self._process.poll() is None, "the daemon died"
        return memory("VmHWM", self._process.pid)

    def _seed(self) -> None:
        """Put the voice into store and catalog, as a publication does."""
        self.home.prepare()
        store = Store(self.home.store)
        for number, file in enumerate(self.voice.files):
            source = self._folder / str(number)
            source.write_bytes(self.voice.blobs[file.digest])
            assert store.add_file(source, file.chunks) == file.digest
        store.close()
        database = open_database(self.home.catalog)
        catalog = Catalog(database)
        release = catalog.add_release(self.voice.release.envelope.to_bytes())
        catalog.add_head(self.voice.head)
        catalog.install(release, seed=True)
        database.close()


def memory(what: str, pid: int | str = "self") -> float:
    """MiB of a process: ``VmRSS`` now, ``VmHWM`` at most since the peak was forgotten."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(what)]
    return int(line.split()[1]) / 1024


def forget_peak(pid: int | str = "self") -> float:
    """Begin to look for a new peak; MiB of memory now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory("VmRSS", pid)
