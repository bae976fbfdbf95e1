"""Operations by name: a whole id, or an unambiguous beginning of one, with or without "op".

For what a person types. Follows specs/community.md, "Names of operations".
"""

import base64
import re

from p2pvoice.node.community.reading import NAME_LETTERS, NAMED_LIMIT, LogReader
from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.operations import ID_LENGTH, ID_PREFIX, VoiceName, operation_id

_LETTERS = ID_LENGTH - len(ID_PREFIX)
_BEGINNING = re.compile(f"[a-z2-7]{{{NAME_LETTERS},{_LETTERS}}}")

SHOWN = ID_LENGTH // 5
"""Characters of an id that are shown to a person: "op" and eight letters."""


def looks_like_operation(text: str) -> bool:
    """Whether a text could name an operation."""
    return bool(_BEGINNING.fullmatch(text.removeprefix(ID_PREFIX))) or bool(_BEGINNING.fullmatch(text))


def find_operation(logs: LogReader, text: str) -> tuple[VoiceName, Digest]:
    """The voice and the id of the operation that is meant; blocking.

    Raises UsageError for what is no such name or fits several, NotFoundError when nothing here fits.
    """
    name = text.strip().lower()
    if not looks_like_operation(name):
        raise UsageError(
            f"{text[:80]!r} does not name an operation",
            hint=f"give op and the first {NAME_LETTERS} letters or more of its id",
        )
    # A beginning may itself begin with the letters "op", which "op" before it then repeats.
    found: dict[Digest, VoiceName] = {}
    for letters in {name.removeprefix(ID_PREFIX), name}:
        if _BEGINNING.fullmatch(letters):
            for voice, digest in logs.named(_digest(letters, "A"), _digest(letters, "7")):
                if operation_id(digest)[len(ID_PREFIX) :].startswith(letters):
                    found[digest] = voice
    if not found:
        raise NotFoundError(f"no operation {text!r} is known here", hint="p2pvoice log VOICE")
    if len(found) > 1:
        listed = ", ".join(sorted(operation_id(digest) for digest in found)[:NAMED_LIMIT])
        raise UsageError(f"{text!r} could mean several operations: {listed}", hint="give more of the id")
    digest, voice = found.popitem()
    return voice, digest


def _digest(letters: str, filler: str) -> bytes:
    padded = letters.upper() + filler * (_LETTERS - len(letters))
    return base64.b32decode(padded + "=" * (-_LETTERS % 8))
