"""Fixtures of the page's tests; what they are made of is in world.py."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ..node.conftest import daemons
from ..node.nodes import Daemon
from .world import World, launched, made

__all__ = ["daemons"]


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """One node that holds nothing."""
    one = Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))).start()
    try:
        yield one
    finally:
        one.end()
        shutil.rmtree(one.home, ignore_errors=True)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Two nodes. Tests that change them leave them as they were, or use names of their own."""
    with made() as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of one file: its loop must be gone before other tests run theirs."""
    with launched() as found:
        yield found
