"""In which order voices are shown that were found, and where a page of them ends: pure rules.

Nobody can buy a better place with more keys, more voices or a newer date: what counts is how far the author
is from the user, what the user and those near have done with a voice, and since when this node knows the
author. Not for reading candidates out of the tables (searching.py). Follows specs/catalog.md, "Ranking".
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.errors import P2PVoiceError, UsageError

ROUND = 3
"""Voices of one author that are shown before those of others at the same distance."""

CURSOR_LENGTH = 320
"""Characters of a cursor, at most."""

NUMBER_LIMIT = 1 << 62
"""Numbers in a cursor are below this."""

_TEXT_LIMIT = 128

Key = tuple[int, int, int, int, int, str, int, str]
"""A place in the order: distance, round, not installed, less the signals, since, author, less created, id."""

BEGINNING: Key = (-1, 0, 0, 0, 0, "", 0, "")
"""The place before all voices."""


@dataclass(frozen=True)
class Candidate:
    """A voice that fits, by the release that stands for it.

    ``distance`` is 0 for the user's own, 1 for followed authors, 2 for their kin, 3 for strangers.
    ``signals`` counts those at distance 0 who made something from the release or put it into a collection,
    and the stars of those who count. ``since`` is when this node first knew something of the author,
    ``created`` the author's own claim; both in seconds since 1970.
    """

    release: str
    author: str
    created: int
    since: int
    distance: int
    installed: bool
    signals: int


@dataclass(frozen=True)
class Place:
    """Where a voice stands."""

    key: Key
    release: str


def rank(candidates: Iterable[Candidate]) -> list[Place]:
    """All of them in the order in which they are shown."""
    of: dict[tuple[int, str], list[Candidate]] = {}
    for one in candidates:
        of.setdefault((one.distance, one.author), []).append(one)
    places = []
    for voices in of.values():
        voices.sort(key=lambda one: (not one.installed, -one.signals, -one.created, one.release))
        for number, one in enumerate(voices):
            key = (
                one.distance,
                number // ROUND,
                int(not one.installed),
                -one.signals,
                one.since,
                one.author,
                -one.created,
                one.release,
            )
            places.append(Place(key, one.release))
    places.sort(key=lambda place: place.key)
    return places


def behind(places: Sequence[Place], key: Key | None) -> Sequence[Place]:
    """Those that stand behind a place, whether or not something still stands there."""
    return places if key is None else [place for place in places if place.key > key]


def write_cursor(key: Key, tags: Sequence[str], text: str) -> str:
    """The place as text; good for this search only."""
    return base64.urlsafe_b64encode(encode([_query(tags, text), *key])).decode("ascii").rstrip("=")


def read_cursor(cursor: str, tags: Sequence[str], text: str) -> Key | None:
    """The place that a cursor means; None for "". UsageError for what is none, or is another search's."""
    if not cursor:
        return None
    try:
        if len(cursor) > CURSOR_LENGTH:
            raise ValueError
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        query, *key = decode(data, limit=CURSOR_LENGTH, max_depth=1, max_items=16)
        place = _key(key)
    except (ValueError, TypeError, binascii.Error, P2PVoiceError) as error:
        raise UsageError("this is no cursor of a search", hint="leave it out to begin anew") from error
    if query != _query(tags, text):
        raise UsageError("the cursor belongs to another search", hint="leave it out to begin anew")
    return place


def _key(values: list[Any]) -> Key:
    distance, number, away, signals, since, author, created, release = values
    for one in (distance, number, away, signals, since, created):
        if isinstance(one, bool) or not isinstance(one, int) or not -NUMBER_LIMIT < one < NUMBER_LIMIT:
            raise ValueError
    for name in (author, release):
        if not isinstance(name, str) or len(name) > _TEXT_LIMIT:
            raise ValueError
    return distance, number, away, signals, since, author, created, release


def _query(tags: Sequence[str], text: str) -> bytes:
    return blake2b(encode([sorted(set(tags)), text]), digest_size=8).digest()
