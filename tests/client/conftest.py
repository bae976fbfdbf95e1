"""Fixtures: one daemon with a published voice, which the examples of the documentation call storyteller."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..node.conftest import clip, daemons, encoder
from ..node.nodes import Daemon, bring, install_encoder, publish

__all__ = ["clip", "daemons", "encoder"]


@pytest.fixture(scope="session")
def node(encoder: Path, clip: Path) -> Iterator[Daemon]:
    """A daemon with the tiny voice installed."""
    one = Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))).start()
    try:
        install_encoder(one, encoder)
        bring(one, clip)
        publish(one)
        yield one
    finally:
        one.end()
        shutil.rmtree(one.home, ignore_errors=True)
