"""Licences of helper networks: what their owner says, and for which content ids the licence is known here.

A base is another author's work, so it is shared only under a licence that lets everybody do so. Not for
installing (bases.py), nor for which licences those are (protocol/base.py). Follows specs/bases.md.
"""

from collections.abc import Mapping
from typing import Any, Final

from p2pvoice.protocol.base import LICENSE_TEXT_LIMIT, require_shareable
from p2pvoice.protocol.consent import Licence
from p2pvoice.protocol.errors import PolicyError, UsageError

#: Largest text of a licence, in bytes.
LICENCE_TEXT_LIMIT = LICENSE_TEXT_LIMIT

#: The file of a base's folder in which its licence's text is kept.
LICENCE_FILE = "LICENSE"

#: The content encoder that comes with the program, made with it (specs/starter.md).
BUNDLED: Final[Mapping[str, Any]] = {
    "name": "starter",
    "kind": "content",
    "id": "bafkreihktiav5ymaz6rtbhtrvinngfrt7w4swuuauhlnpdhp7e5ujukzy4",
    "size": 3_327_704,
}

#: Content id, of a BERT bundle id -> licence, for bases whose numbers and licence were both looked at.
KNOWN: Final[Mapping[str, str]] = {BUNDLED["id"]: "Apache-2.0"}


def checked(spdx: str, text: bytes | None) -> tuple[str, str | None]:
    """An SPDX id and a licence's text as they may be kept; empty and None where nothing was said.

    Raises ConsentError for an id that is not known, UsageError for a text that is too long or no text.
    """
    known = Licence.parse(spdx).spdx if spdx else ""
    if text is None:
        return known, None
    if len(text) > LICENCE_TEXT_LIMIT:
        raise UsageError(f"the text of a licence has at most {LICENCE_TEXT_LIMIT} bytes")
    try:
        return known, text.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError("the text of the licence is not UTF-8") from None


def shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A base's facts with its licence, and whether it is verified: known here, and not said otherwise."""
    stated, known = str(facts.get("license") or ""), KNOWN.get(str(facts.get("id", "")), "")
    verified = bool(known) and stated in ("", known)
    return {**facts, "license": stated or known, "verified": verified}


def require_ours(facts: Mapping[str, Any]) -> str:
    """The licence of an installed base that its owner wants to share. PolicyError says why it is not."""
    name = str(facts["name"])
    try:
        return require_shareable(str(facts.get("license") or ""), known=KNOWN.get(str(facts.get("id")), ""))
    except PolicyError as error:
        error.hint = f"when you know its licence: p2pvoice base add FOLDER --name {name} --license SPDX"
        raise


def require_theirs(license: str, content: str) -> str:
    """The licence of a base that somebody offers. PolicyError when it is none to take it under."""
    try:
        return require_shareable(license, known=KNOWN.get(content, ""))
    except PolicyError as error:
        error.hint = "get it from those who made it, then: p2pvoice base add FOLDER"
        raise


def bundled() -> dict[str, Any]:
    """The base that comes with the program, as the others are shown."""
    return shown(BUNDLED)
