"""Fixtures for every test: no test touches the user's home, and golden data is found or the test fails."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Torch reads these when it is first imported: tests run beside real daemons.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell without job control starts what stands in its background deaf to Ctrl-C, and children inherit that:
# the tests that interrupt a process would then wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_real_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever a test forgets to say, it lands in a temporary home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2PVOICE_HOME", str(tmp_path_factory.mktemp("nobody")))
        yield


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home of the test's own, named by P2PVOICE_HOME; its path is short enough for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="p2pv-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("P2PVOICE_HOME", folder)
        yield Path(folder)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden data (sovits_v2.npz and its siblings): $P2PVOICE_GOLDEN, else tests/golden."""
    named = os.environ.get("P2PVOICE_GOLDEN")
    folder = Path(named) if named else Path(__file__).parent / "golden"
    assert folder.is_dir(), f"no golden data at {folder}"
    return folder
