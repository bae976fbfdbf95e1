"""Fixtures of the tests with the compatible APIs: real nodes with the packaged voice, and a caller."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree

import pytest

from ..node.conftest import daemons
from ..node.nodes import Daemon, publish
from .caller import Caller

__all__ = ["daemons"]

PAGE = "http://127.0.0.1:8000"
"""Where SillyTavern's own page comes from."""


@contextmanager
def node_with(*names: str) -> Iterator[Caller]:
    """A node that has the packaged voice under these names, its APIs open at some port."""
    daemon = Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))).start()
    try:
        for name in names:
            *_, draft = daemon.client.import_bundled(name)
            publish(daemon, draft["draft"])
        daemon.client.open_api(port=0, origins=[PAGE])
        yield Caller(daemon)
    finally:
        if daemon.process is not None:
            with suppress(ProcessLookupError):
                daemon.end()
        rmtree(daemon.home, ignore_errors=True)


@pytest.fixture(scope="session")
def api() -> Iterator[Caller]:
    """One node with one voice, `storyteller`. Tests leave it as it was."""
    with node_with("Storyteller") as one:
        yield one


@pytest.fixture(scope="session")
def two() -> Iterator[Caller]:
    """One node with two voices, `storyteller` and `night-reader`. Tests leave it as it was."""
    with node_with("Storyteller", "Night reader") as one:
        yield one
