"""A pronunciation dictionary as text: entries, the lines of a file, and edits that keep the rest of it.

For the user's dictionary and for the file that travels with a voice. Checks form and bounds. Not for whether
a reading has sounds that a voice knows: that is sovits/text/readings.py. Follows specs/pronunciation.md.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from p2pvoice.protocol.errors import NotFoundError, UsageError

LANGUAGES: Final = ("zh", "yue", "en", "ja", "ko")
"""Languages an entry may be in."""

WORD_LENGTH: Final = 64
"""Characters of a word."""

READING_LENGTH: Final = 512
"""Characters of a reading."""

USER_BYTES: Final = 512 * 1024
"""Bytes of the user's dictionary."""

USER_ENTRIES: Final = 5_000
"""Entries of the user's dictionary."""

VOICE_BYTES: Final = 64 * 1024
"""Bytes of a voice's dictionary."""

VOICE_ENTRIES: Final = 1_000
"""Entries of a voice's dictionary."""

USER_NAME: Final = "pronunciations.txt"
"""The user's dictionary in the home."""

VOICE_NAME: Final = "pronunciation.txt"
"""A voice's dictionary in its bundle."""

HEADER: Final = "# How words are read: language, tab, word, tab, reading. p2pvoice pronounce --help\n"
"""What a new dictionary of the user begins with."""

_FORM: Final = "a line is: language, tab, word, tab, reading, as in  zh\t重庆\tchong2 qing4"


@dataclass(frozen=True)
class Entry:
    """How a word of a language is read. One that exists is in form and within its bounds."""

    lang: str
    word: str
    reading: str

    def __post_init__(self) -> None:
        if self.lang not in LANGUAGES:
            raise UsageError(
                f"{self.lang[:20]!r} is no language of a dictionary", hint=f"languages: {' '.join(LANGUAGES)}"
            )
        for what, text, limit in (
            ("word", self.word, WORD_LENGTH),
            ("reading", self.reading, READING_LENGTH),
        ):
            if not 1 <= len(text) <= limit:
                raise UsageError(f"a {what} has 1 to {limit} characters, not {len(text)}")
            if not text.isprintable() or text != text.strip() or not unicodedata.is_normalized("NFC", text):
                raise UsageError(f"the {what} {text[:40]!a} has characters that cannot be shown")

    @property
    def key(self) -> tuple[str, str]:
        """What makes two entries the same word."""
        return self.lang, self.word.lower() if self.lang == "en" else self.word

    @property
    def line(self) -> str:
        """The entry as a line of a file, without its end."""
        return f"{self.lang}\t{self.word}\t{self.reading}"


def entry(lang: str, word: str, reading: str) -> Entry:
    """An entry of what somebody typed: NFC, single spaces, none at the ends. Raises UsageError."""
    # A word that is too long is refused before it is normalised, which may take its time.
    if len(word) > 4 * WORD_LENGTH or len(reading) > 4 * READING_LENGTH:
        raise UsageError(f"a word has 1 to {WORD_LENGTH} characters, a reading 1 to {READING_LENGTH}")
    word, reading = (" ".join(unicodedata.normalize("NFC", text).split()) for text in (word, reading))
    return Entry(lang.strip(), word, reading)


def parse(text: str, *, entries: int = USER_ENTRIES) -> tuple[Entry, ...]:
    """The entries of a file in order, of the same word the last.

    Raises UsageError that names the line which does not fit.
    """
    found: dict[tuple[str, str], Entry] = {}
    count = 0
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        read = _read(line, number)
        if read is None:
            continue
        count += 1
        if count > entries:
            raise UsageError(f"a dictionary like this has at most {entries} entries")
        # The later line also takes the later place.
        found.pop(read.key, None)
        found[read.key] = read
    return tuple(found.values())


def decode(data: bytes, *, size: int = USER_BYTES, entries: int = USER_ENTRIES) -> tuple[Entry, ...]:
    """The entries of a file's bytes. Raises UsageError."""
    return parse(text_of(data, size=size), entries=entries)


def text_of(data: bytes, *, size: int = USER_BYTES) -> str:
    """A file's bytes as text. Raises UsageError for too many of them and for what is not UTF-8."""
    if len(data) > size:
        raise UsageError(f"a dictionary like this has at most {size} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError("a dictionary is UTF-8 text, and this is not") from None


def encode(entries: Iterable[Entry]) -> str:
    """A file of these entries alone, in the order of language and word: the same ones give the same text."""
    chosen = {one.key: one for one in entries}
    return "".join(f"{chosen[key].line}\n" for key in sorted(chosen))


def put(text: str, entries: Iterable[Entry]) -> str:
    """The text with these entries: in the place of the same word's line, or at the end."""
    wanted = {one.key: one for one in entries}
    placed: set[tuple[str, str]] = set()
    lines = []
    for line in _lines(text):
        read = _lenient(line)
        if read is None or read.key not in wanted:
            lines.append(line)
        elif read.key not in placed:
            placed.add(read.key)
            lines.append(wanted[read.key].line)
    lines += [one.line for key, one in wanted.items() if key not in placed]
    return "".join(f"{line}\n" for line in lines)


def remove(text: str, lang: str, word: str) -> str:
    """The text without the lines of a word; NotFoundError when there is none."""
    key = entry(lang, word, "-").key
    lines = _lines(text)
    kept = [line for line in lines if (read := _lenient(line)) is None or read.key != key]
    if len(kept) == len(lines):
        raise NotFoundError(f"the dictionary has no {lang} word {key[1]!r}", hint="p2pvoice pronounce list")
    return "".join(f"{line}\n" for line in kept)


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _read(line: str, number: int) -> Entry | None:
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    fields = line.split("\t") if "\t" in line else line.split(None, 2)
    if len(fields) != 3:
        raise UsageError(f"line {number} of the dictionary has {len(fields)} of 3 parts", hint=_FORM)
    try:
        return entry(*fields)
    except UsageError as error:
        raise UsageError(f"line {number} of the dictionary: {error.message}", hint=error.hint) from None


def _lenient(line: str) -> Entry | None:
    """What a line says; None for one that says nothing or does not fit, which an edit leaves as it is."""
    try:
        return _read(line, 0)
    except UsageError:
        return None
