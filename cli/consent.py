"""Consent in words: what is typed about one, and what is shown of one.

Follows specs/cli.md and specs/consent.md.
"""

import datetime
import re
from typing import Any

from p2pvoice.cli.output import date
from p2pvoice.protocol.errors import UsageError

DAY = 86_400
"""Seconds of a day."""

UNITS = {"d": 1, "w": 7, "mo": 30, "y": 365}
"""Days of the units that a length of time is given in."""

_LENGTH = re.compile(r"([1-9][0-9]{0,4})\s*(d|w|mo|y)")


def expiry(text: str, now: float) -> int:
    """The end of a consent, in seconds since 1970: `2y`, `6mo`, `4w`, `10d`, or the beginning of a date.

    Dates are UTC. Raises UsageError.
    """
    length = _LENGTH.fullmatch(text.strip().lower())
    if length is not None:
        return int(now) + int(length[1]) * UNITS[length[2]] * DAY
    try:
        day = datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"{text[:40]!r} is neither a length of time nor a date",
            hint="--expires 2y, or --expires 2030-12-31",
        ) from None
    return int(datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp())


def words(name: str, author: str, *, slug: str | None, scope: tuple[str, ...], clips_may_travel: bool) -> str:
    """What a person says who writes no statement of their own, in English; `author` is an author id."""
    under = f" as {slug}" if slug else ""
    uses = "" if not scope else f" It may also be used in these ways: {', '.join(scope)}."
    clips = "may" if clips_may_travel else "must not"
    return (
        f"I am {name}. I permit {author} to make an AI voice of mine and to publish it{under}.{uses}"
        f" Recordings of me {clips} be published with it."
    )


def state_line(consent: dict[str, Any], author: str) -> str:
    """Whose voice it is and how far that is borne out, in one line; `author` is the release's author id."""
    name, key = consent.get("subject_name"), consent.get("signed_by")
    whose = f"{consent.get('subject')}{f' ({name})' if name else ''}"
    borne_out = "claimed by the author, not signed"
    if consent.get("signed"):
        borne_out = "signed by the author" if key == author else f"signed by {key}"
    expired = "EXPIRED, " if consent.get("state") == "expired" else ""
    return f"{whose}: {expired}{borne_out}"


def rows(voice: dict[str, Any]) -> list[tuple[str, Any]]:
    """A voice's consent as rows to show: state, uses allowed, whether recordings travel, expiry, words."""
    consent = voice.get("consent") or {}
    if not consent:
        return []
    said = consent.get("signed_statement") or {}
    return [
        ("consent", state_line(consent, str(voice.get("author", "")))),
        ("also allowed", " ".join(consent.get("scope") or ())),
        ("recordings", clips_line(consent)),
        ("expires", date(consent.get("expires"))),
        ("in words", said.get("statement") or consent.get("statement")),
    ]


def clips_line(consent: dict[str, Any]) -> str | None:
    """What the reference clips of a release are."""
    travel = consent.get("references_may_travel")
    if travel is None or consent.get("subject") == "synthetic":
        return None
    return "travel with the voice" if travel else "stay with the author; the clips are the voice's own speech"
