"""Fixtures: a daemon with the port open and one tiny voice installed."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..node.conftest import clip, daemons, encoder
from ..node.nodes import PROGRAM, Daemon, bring, install_encoder, publish

__all__ = ["clip", "daemons", "encoder"]


@pytest.fixture(scope="session")
def home(encoder: Path, clip: Path) -> Iterator[Daemon]:
    """A daemon that speaks for Home Assistant. Its voice is Cantonese and tiny; nobody understands it."""
    one = Daemon(Path(tempfile.mkdtemp(prefix="p2pv-")))
    one.start(program=(*PROGRAM, "--wyoming", "127.0.0.1:0"))
    try:
        install_encoder(one, encoder)
        bring(one, clip)
        publish(one)
        yield one
    finally:
        one.end()
        shutil.rmtree(one.home, ignore_errors=True)
