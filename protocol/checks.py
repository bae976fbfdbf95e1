"""Checks of what a message carries, the same in every family of messages; ManifestError for a misfit.

Not for what is signed: manifests and operations have limits of their own (entries.py). Follows
specs/messages.md.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from p2pvoice.protocol.errors import ManifestError, UsageError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.ids import check_slug

_Checked = TypeVar("_Checked")


def check_bytes(value: object, size: int, what: str) -> None:
    """Exactly ``size`` bytes."""
    if not isinstance(value, bytes) or len(value) != size:
        raise ManifestError(f"{what} has {size} bytes")


def check_blob(value: object, limit: int, what: str, *, least: int = 1) -> None:
    """``least`` to ``limit`` bytes."""
    if not isinstance(value, bytes) or not least <= len(value) <= limit:
        raise ManifestError(f"{what} has {least} to {limit} bytes")


def check_blobs(values: tuple[bytes, ...], count: int, limit: int, what: str) -> None:
    """At most ``count`` values, each of 1 to ``limit`` bytes; ``what`` is a plural."""
    if len(values) > count:
        raise ManifestError(f"a message has at most {count} {what}")
    for value in values:
        check_blob(value, limit, f"each of the {what}")


def check_ascii(text: object, limit: int, what: str, *, least: int = 1) -> None:
    """``least`` to ``limit`` printable ASCII characters."""
    if not isinstance(text, str) or not least <= len(text) <= limit or not text.isascii():
        raise ManifestError(f"{what} has {least} to {limit} printable ASCII characters")
    if not text.isprintable():
        raise ManifestError(f"{what} is printable")


def check_slug_in(slug: object) -> None:
    """A voice's or a collection's slug."""
    if not isinstance(slug, str):
        raise ManifestError("a slug is text")
    refused(check_slug, slug)


def refused(check: Callable[[str], _Checked], text: str) -> _Checked:
    """The result of a check that blames the user: in a message it is the peer that is to blame."""
    try:
        return check(text)
    except UsageError as error:
        raise ManifestError(error.message) from error


def read_rows(fields: Fields, key: str, limit: int, width: int, *default: Any) -> list[list[Any]]:
    """At most ``limit`` lists of ``width`` values each."""
    rows = fields.items(key, limit, *default)
    if any(not isinstance(row, list) or len(row) != width for row in rows):
        raise ManifestError(f"each of the {key} is a list of {width}")
    return rows
