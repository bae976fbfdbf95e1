"""Strict reading of decoded maps: each field with its type, and the unknown ones kept.

For everything that turns a map from the wire into a frozen dataclass. It knows types and lengths; what a
field means is checked by the class that owns it. Every mistake is a ManifestError. Follows specs/manifest.md.
"""

import unicodedata
from typing import Any

from p2pvoice.protocol.errors import ManifestError

KEY_LENGTH = 64
"""Characters of a map key, known or not."""

# Format characters that scripts and emoji need; every other one only serves to make two texts look alike.
_JOINERS = "\u200c\u200d"

_MISSING: Any = object()


def check_text(value: object, what: str, limit: int, *, minimum: int = 0, lines: bool = False) -> str:
    """The text itself when it is NFC, printable and of an allowed length, counted in characters.

    ``lines`` also allows line feeds and tabs. Direction overrides and other invisible characters are refused,
    because they let a name pass for another one.
    """
    if not isinstance(value, str):
        raise ManifestError(f"{what} is not text")
    if not minimum <= len(value) <= limit:
        raise ManifestError(f"{what} has {len(value)} characters; {minimum} to {limit} are allowed")
    for character in value:
        if character in _JOINERS or (lines and character in "\n\t"):
            continue
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            raise ManifestError(f"{what} contains a character that cannot be shown (U+{ord(character):04X})")
    if unicodedata.normalize("NFC", value) != value:
        raise ManifestError(f"{what} is not in Unicode normal form C")
    if value != value.strip():
        raise ManifestError(f"{what} begins or ends with space")
    return value


class Fields:
    """One decoded map while it is being read; ``rest`` gives what nobody asked for."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise ManifestError(f"{what} is not a map")
        for key in value:
            if not isinstance(key, str) or not 1 <= len(key) <= KEY_LENGTH:
                raise ManifestError(f"{what} has a key that is not 1 to {KEY_LENGTH} characters of text")
        self._values: dict[str, Any] = dict(value)
        self._what = what

    def any(self, key: str, default: Any = _MISSING) -> Any:
        """A field of any type."""
        if key in self._values:
            return self._values.pop(key)
        if default is _MISSING:
            raise ManifestError(f"{self._what} lacks {key!r}")
        return default

    def text(self, key: str, default: Any = _MISSING) -> str:
        """A text field."""
        value = self.any(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "text")
        return value

    def blob(self, key: str, size: int | None = None, default: Any = _MISSING) -> bytes:
        """A field of bytes, of exactly ``size`` when given."""
        value = self.any(key, default)
        if not isinstance(value, bytes):
            raise self._wrong(key, "bytes")
        if size is not None and len(value) != size:
            raise self._wrong(key, f"{size} bytes")
        return value

    def number(self, key: str, default: Any = _MISSING) -> int:
        """An integer field; true and false are not integers here."""
        value = self.any(key, default)
        if type(value) is not int:
            raise self._wrong(key, "an integer")
        return value

    def optional_number(self, key: str) -> int | None:
        """An integer field that may be absent."""
        return self.number(key) if key in self._values else None

    def optional_text(self, key: str) -> str | None:
        """A text field that may be absent."""
        return self.text(key) if key in self._values else None

    def optional_blob(self, key: str) -> bytes | None:
        """A field of bytes that may be absent."""
        return self.blob(key) if key in self._values else None

    def flag(self, key: str, default: Any = _MISSING) -> bool:
        """A field that is true or false."""
        value = self.any(key, default)
        if type(value) is not bool:
            raise self._wrong(key, "true or false")
        return value

    def items(self, key: str, limit: int, default: Any = _MISSING) -> list[Any]:
        """A list field of at most ``limit`` items."""
        value = self.any(key, default)
        if not isinstance(value, list | tuple):
            raise self._wrong(key, "a list")
        if len(value) > limit:
            raise ManifestError(
                f"{key!r} in {self._what} has {len(value)} items; at most {limit} are allowed"
            )
        return list(value)

    def texts(self, key: str, limit: int, default: Any = _MISSING) -> tuple[str, ...]:
        """A list of texts."""
        values = self.items(key, limit, default)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(key, "a list of texts")
        return tuple(values)

    def blobs(self, key: str, limit: int, default: Any = _MISSING) -> tuple[bytes, ...]:
        """A list of byte strings."""
        values = self.items(key, limit, default)
        if not all(isinstance(value, bytes) for value in values):
            raise self._wrong(key, "a list of bytes")
        return tuple(values)

    def rest(self) -> dict[str, Any]:
        """The fields nobody asked for: written by a newer version, kept and signed over."""
        return self._values

    def _wrong(self, key: str, expected: str) -> ManifestError:
        return ManifestError(f"{key!r} in {self._what} is not {expected}")
