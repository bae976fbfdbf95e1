"""The dictionaries of a user and a voice made ready: which words of a text they know, and how those are read.

Made once of entries, then only asked. Chinese words are looked for in normalised text, English ones in
text as it was written, where a run of a private character takes their place (see stand_ins). Not for files
and not for what a reading may be (see readings). Follows specs/pronunciation.md.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from ...protocol.errors import UsageError
from ...protocol.pronunciation import Entry, parse
from .readings import check
from .stand_ins import FIRST, LAST, PATTERN, is_stand_in

_APOSTROPHES: Final = "'’"


class Said(NamedTuple):
    """A word that is read as a dictionary says."""

    entry: Entry
    source: str
    """``user`` or ``voice``."""
    phones: tuple[tuple[str, ...], ...]
    """Phonemes of each character (Chinese) or of the word (English)."""


@dataclass(frozen=True)
class _Table:
    """The words of one language by what is looked for; by first characters their lengths, longest first."""

    words: Mapping[str, Said]
    lengths: Mapping[str, tuple[int, ...]]

    def lengths_at(self, text: str, at: int) -> tuple[int, ...]:
        """How long words may be that begin at a place."""
        return self.lengths.get(_folded(text[at])[:1], ())

    def longest_at(self, text: str, at: int) -> tuple[int, Said] | None:
        """The longest word that begins at a place, with its length there."""
        for length in self.lengths_at(text, at):
            found = self.words.get(_folded(text[at : at + length]))
            if found is not None and at + length <= len(text):
                return length, found
        return None


def _folded(text: str) -> str:
    return text.lower().replace("’", "'")


class Pronunciations:
    """What the dictionaries say; without entries nothing, and then every text is read as without them."""

    def __init__(self, voice: Iterable[Entry] = (), user: Iterable[Entry] = ()) -> None:
        """Raises UsageError for a reading that no voice can speak."""
        words: dict[str, dict[str, Said]] = {}
        lengths: dict[str, dict[str, set[int]]] = {}
        for source, entries in (("voice", voice), ("user", user)):
            for one in entries:
                try:
                    kept, key, phones = check(one)
                except UsageError as error:
                    told = f"the {source}'s dictionary, {one.lang} {one.word}: {error.message}"
                    raise UsageError(told, hint=error.hint) from None
                words.setdefault(one.lang, {})[_folded(key)] = Said(kept, source, phones)
                known = lengths.setdefault(one.lang, {})
                known.setdefault(_folded(key)[:1], set()).add(len(one.word))
        self._tables = {
            lang: _Table(
                found, {first: tuple(sorted(all_, reverse=True)) for first, all_ in lengths[lang].items()}
            )
            for lang, found in words.items()
        }
        english = self._tables.get("en")
        self._english = list(english.words.values())[: LAST - FIRST + 1] if english is not None else []
        self._numbers = {one.entry.key: number for number, one in enumerate(self._english)}

    def __bool__(self) -> bool:
        return bool(self._tables)

    def cut(self, lang: str, text: str) -> list[tuple[str, Said | None]]:
        """A normalised text in order: words of the dictionary, and what lies between them."""
        table = self._tables.get(lang)
        if table is None:
            return [(text, None)] if text else []
        pieces: list[tuple[str, Said | None]] = []
        at = start = 0
        while at < len(text):
            found = table.longest_at(text, at)
            if found is None:
                at += 1
                continue
            if start < at:
                pieces.append((text[start:at], None))
            pieces.append((text[at : at + found[0]], found[1]))
            at = start = at + found[0]
        if start < len(text):
            pieces.append((text[start:], None))
        return pieces

    def hide(self, text: str) -> str:
        """The text with a stand-in for each letter of an English word: as long as before.

        What is hidden already stays so.
        """
        table = self._tables.get("en")
        if table is None:
            return text
        pieces, at = [], 0
        while at < len(text):
            found = _whole_word(table, text, at)
            if found is None:
                pieces.append(text[at])
                at += 1
            else:
                length, said = found
                pieces.append(chr(FIRST + self._numbers[said.entry.key]) * length)
                at += length
        return "".join(pieces)

    def behind(self, stand_in: str) -> Said | None:
        """The word for which a character stands; None for one that stands for none."""
        number = ord(stand_in) - FIRST
        return self._english[number] if 0 <= number < len(self._english) else None

    def only_known(self, text: str) -> str:
        """The text without characters that would stand for a word and stand for none."""
        return PATTERN.sub(lambda one: one[0] if self.behind(one[0]) else "", text)

    def show(self, text: str) -> str:
        """A text with the words written out in the place of their stand-ins."""
        shown, before = [], ""
        for character in text:
            said = self.behind(character) if is_stand_in(character) else None
            if said is None:
                shown.append(character)
            elif character != before:
                shown.append(said.entry.word)
            before = character
        return "".join(shown)

    def respell(self, lang: str, text: str) -> str:
        """A Japanese or Korean text with the words of the dictionary spelled as they are read."""
        return "".join(said.entry.reading if said else piece for piece, said in self.cut(lang, text))


NONE: Final = Pronunciations()
"""No dictionary."""


@lru_cache(maxsize=4)
def of_texts(voice: str, user: str) -> Pronunciations:
    """The dictionaries of two files' texts, each within its bounds already. Raises UsageError."""
    return Pronunciations(parse(voice), parse(user)) if voice or user else NONE


def _whole_word(table: _Table, text: str, at: int) -> tuple[int, Said] | None:
    """The longest English word at a place that is no part of a longer one."""
    if at and _in_word(text[at]) and (_in_word(text[at - 1]) or _joined(text, at)):
        return None
    for length in table.lengths_at(text, at):
        end = at + length
        said = table.words.get(_folded(text[at:end]))
        if said is not None and end <= len(text) and _ends_at(text, end):
            return length, said
    return None


def _joined(text: str, at: int) -> bool:
    """Whether an apostrophe ties what begins here to the word before it: the t of don't."""
    return at > 1 and text[at - 1] in _APOSTROPHES and _in_word(text[at - 2])


def _ends_at(text: str, end: int) -> bool:
    if end == len(text) or not _in_word(text[end - 1]):
        return True
    if _in_word(text[end]):
        return False
    if text[end] not in _APOSTROPHES or end + 1 == len(text) or not _in_word(text[end + 1]):
        return True
    # The possessive is spoken after the word; any other ending makes another word of it.
    return text[end + 1] in "sS" and (end + 2 == len(text) or not _in_word(text[end + 2]))


def _in_word(character: str) -> bool:
    if character.isascii():
        return character.isalnum()
    return character.isalpha() and "LATIN" in unicodedata.name(character, "")
