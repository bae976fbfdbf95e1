"""Reading what clients of GPT-SoVITS send: numbers and truth as texts, too, and paths that are names.

Values of a wrong type become the 422 that those clients know. Not for what the fields mean: see
gpt_sovits.py. Follows specs/api.md, "GPT-SoVITS".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2pvoice.protocol.errors import UsageError

API_BODY = 256 * 1024
"""Bytes of a request's body: the longest text, every character escaped, and the fields beside it."""

PATH_LIMIT = 4096
"""Characters of a field that is a path for others and a name for us."""

ENDINGS = (".wav", ".mp3", ".ogg", ".flac", ".ckpt", ".pth")
"""What a name may end with in a path."""

_TRUTH = {
    "true": True, "1": True, "yes": True, "on": True,
    "false": False, "0": False, "no": False, "off": False, "": False,
}  # fmt: skip


class WrongTypeError(Exception):
    """A field that cannot be what it should be; ``detail`` is what a client of FastAPI's reads."""

    def __init__(self, where: str, name: str, message: str) -> None:
        self.detail = [{"type": "value_error", "loc": [where, name], "msg": message}]
        super().__init__(message)


@dataclass(frozen=True)
class Fields:
    """The fields of one request, from its query or its body; what is missing or null is the default."""

    values: Mapping[str, Any]
    where: str

    def text(self, name: str, default: str = "", *, limit: int) -> str:
        """A text of at most ``limit`` characters."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or any("\ud800" <= one <= "\udfff" for one in value):
            raise WrongTypeError(self.where, name, "Input should be a valid string")
        if len(value) > limit:
            raise UsageError(f"{name} has more than {limit} characters")
        return value

    def number(self, name: str, low: float, high: float, *, whole: bool = False) -> float | int | None:
        """A number within its range, or None when it is missing."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        try:
            if isinstance(value, bool | list | dict):
                raise ValueError
            # Texts of digits only: Python's own reading takes underlines and other scripts' digits.
            if isinstance(value, str) and not re.fullmatch(r"[-+]?[0-9.]{1,40}(e[-+]?[0-9]{1,3})?", value):
                raise ValueError
            found = float(value)
            if whole:
                exact = int(value) if isinstance(value, str | int) else int(found)
                if exact != found and abs(exact) < 2**53:
                    raise ValueError
                found_number: float | int = exact
            else:
                found_number = found
        except (ValueError, OverflowError):
            raise WrongTypeError(
                self.where, name, f"Input should be a valid {'integer' if whole else 'number'}"
            ) from None
        if not low <= found_number <= high:
            raise UsageError(f"{name} must lie between {low:g} and {high:g}")
        return found_number

    def truth(self, name: str) -> bool:
        """True or false; false when it is missing."""
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        found = _TRUTH.get(str(value).lower()) if isinstance(value, str | int) else None
        if found is None:
            raise WrongTypeError(self.where, name, "Input should be a valid boolean")
        return found

    def streaming(self, name: str) -> int:
        """How an answer is streamed: 0 (not) to 3, or truth, which is 0 or 1."""
        value = self.values.get(name)
        if isinstance(value, str) and value in ("2", "3"):
            return int(value)
        if type(value) is int and 0 <= value <= 3:
            return value
        if type(value) is int or (isinstance(value, str) and value.lstrip("-").isdecimal() and value > "1"):
            raise UsageError(f"the value of {name} must be 0, 1, 2, 3(int) or true/false(bool)")
        return int(self.truth(name))

    def name(self, name: str) -> str:
        """The last component of a path without its ending; empty when there is none. Nothing is opened."""
        path = self.text(name, limit=PATH_LIMIT)
        last = re.split(r"[/\\]", path)[-1]
        ending = next((one for one in ENDINGS if last.lower().endswith(one)), "")
        return last[: len(last) - len(ending)]
