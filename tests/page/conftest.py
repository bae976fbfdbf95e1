"""Fixtures of the page's tests; what they are made of is in world.py."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from .world import World, launched, made


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
