"""The home: names, the lock, the socket's place, the settings."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pvoice.node.config import CONFIG_LIMIT, Config, load_config
from p2pvoice.node.paths import SOCKET_PATH_LIMIT, Home, HomeLock
from p2pvoice.protocol.errors import ConflictError, PolicyError, UsageError


def test_home_comes_from_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("P2PVOICE_HOME", str(tmp_path / "h"))
    assert Home.at().root == tmp_path / "h"


def test_home_without_the_variable_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("P2PVOICE_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Home.at().root == tmp_path / "p2pvoice"


def test_keys_are_for_the_user_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")
    home.prepare()
    assert home.keys.stat().st_mode & 0o777 == 0o700
    assert home.root.stat().st_mode & 0o077 == 0


def test_lock_keeps_a_second_holder_out_and_names_the_first(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with HomeLock(home), pytest.raises(ConflictError, match=str(os.getpid())):
        HomeLock(home).acquire()
    with HomeLock(home):
        pass


def test_lock_is_free_again_when_its_holder_was_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from p2pvoice.node.paths import Home, HomeLock;"
        "HomeLock(Home(Path(sys.argv[1]))).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    with HomeLock(Home(tmp_path)):
        pass


def _root_of_length(base: Path, socket_length: int) -> Path:
    """A home whose socket path has exactly this many bytes."""
    fill = socket_length - len(os.fsencode(base)) - len("/") - len("/rpc.sock")
    return base / ("x" * fill)


def test_socket_stands_in_the_home_up_to_the_limit(tmp_path: Path) -> None:
    home = Home(_root_of_length(tmp_path, SOCKET_PATH_LIMIT))
    home.prepare()
    assert home.choose_socket() == home.find_socket() == home.root / "rpc.sock"


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder with a short name: that of a test among several processes is too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="p2pv-r") as folder:
        yield Path(folder)


def test_socket_moves_to_a_private_folder_beyond_the_limit(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    home = Home(_root_of_length(tmp_path, SOCKET_PATH_LIMIT + 1))
    home.prepare()
    chosen = home.choose_socket()
    assert runtime in chosen.parents
    assert len(os.fsencode(chosen)) <= SOCKET_PATH_LIMIT
    assert chosen.parent.stat().st_mode & 0o777 == 0o700
    assert home.find_socket() == chosen


def test_socket_folder_that_is_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "r"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    home = Home(_root_of_length(tmp_path, SOCKET_PATH_LIMIT + 1))
    home.prepare()
    folder = home.choose_socket().parent
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PolicyError):
        home.choose_socket()


def test_settings_are_read_and_overridden(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert load_config(home) == Config()
    home.config.write_text('listen = ["/ip4/0.0.0.0/tcp/4001"]\nquota_bytes = 5\n[worker]\nvoices = 3\n')
    config = load_config(home)
    assert (config.listen, config.quota_bytes, config.worker.voices) == (("/ip4/0.0.0.0/tcp/4001",), 5, 3)
    assert load_config(home, listen=["/ip4/127.0.0.1/tcp/0"]).listen == ("/ip4/127.0.0.1/tcp/0",)


@pytest.mark.parametrize("text", ["listen = 3", "no_such_setting = 1", "[worker]\nvoices = 0", "= ="])
def test_settings_that_make_no_sense_are_refused_by_name(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    home.config.write_text(text)
    with pytest.raises(UsageError, match=r"config\.toml"):
        load_config(home)


def test_settings_end_at_their_limit(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.config.write_bytes(b"#" * CONFIG_LIMIT)
    assert load_config(home) == Config()
    home.config.write_bytes(b"#" * (CONFIG_LIMIT + 1))
    with pytest.raises(UsageError):
        load_config(home)
