"""Licences of helper networks: what their owner says, and for which content ids the licence is known here.

A base is another author's work. While its licence is not verified nobody but its owner may use it, so it is
never offered; sharing bases is not built at all. Not for installing: see bases.py. Follows specs/bases.md.
"""

from collections.abc import Mapping
from typing import Any, Final

from p2pvoice.protocol.consent import Licence
from p2pvoice.protocol.errors import UsageError

#: Largest text of a licence, in bytes.
LICENCE_TEXT_LIMIT = 64 * 1024

#: The file of a base's folder in which its licence's text is kept.
LICENCE_FILE = "LICENSE"

#: The content encoder that comes with the program, made with it (specs/starter.md).
BUNDLED: Final[Mapping[str, Any]] = {
    "name": "starter",
    "kind": "content",
    "id": "bafkreihktiav5ymaz6rtbhtrvinngfrt7w4swuuauhlnpdhp7e5ujukzy4",
    "size": 3_327_704,
}

#: Content id -> licence, for bases whose numbers and licence were both looked at.
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


def bundled() -> dict[str, Any]:
    """The base that comes with the program, as the others are shown."""
    return shown(BUNDLED)
