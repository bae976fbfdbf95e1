"""Japanese to phonemes with accent marks, by Open JTalk's dictionary.

``[`` stands where the pitch rises, ``]`` where it falls, ``#`` between accent phrases; the symbol tables lack
``#`` (and version 1 the brackets), so these are ``UNK`` there, as every published voice has heard them. Open
JTalk is C code that trusts its input: it gets short clauses of known characters only, and from its labels no
more than phonemes and places of accents are read. Nothing is downloaded, written or printed. Follows
specs/text.md.
"""

import importlib.util
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..symbols import UNKNOWN, symbol_ids
from .extra import missing, unreadable
from .punctuation import collapse
from .spans import Reading

LONGEST_CLAUSE: Final = 100
"""Characters that Open JTalk gets at once. Its buffers hold 1,024 bytes of one unknown word, and it does not
look before it writes: 400 katakana end the process."""
_CUT_AFTER: Final = 60
"""A clause that is longer is cut after this many characters, where a particle or an ending seems to end."""

_PAUSE: Final = "_"
_RISE: Final = "["
_FALL: Final = "]"
_BORDER: Final = "#"

_MARKS: Final = {
    "：": ",", "；": ",", "，": ",", "。": ".", "！": "!", "？": "?", "\n": ".", "·": ",", "、": ",",
}  # fmt: skip
# What is spoken: letters, digits, kana, kanji, in both widths, and the point inside a number.
_CLAUSE = re.compile(
    r"(?:[A-Za-z0-9\u3005\u3040-\u30ff\u4e00-\u9fff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9d]"
    r"|(?<=[0-9\uff10-\uff19])[.．](?=[0-9\uff10-\uff19]))+"
)
_THOUSANDS = re.compile(r"(?<=[0-9０-９])[,，](?=[0-9０-９]{3}(?![0-9０-９]))")
_ENDING = re.compile(r"(?<=[\u3041-\u3096])(?=[^\u3041-\u309f\u30fc])")
_UNSPOKEN = re.compile(r"[^\S\n]")

_MORA = re.compile("[ァ-ヺ]")
# The labels also tell the part of speech, which nobody reads here; this one is known to all of Open JTalk.
_ANY_WORD: Final = {
    "pos": "名詞", "pos_group1": "一般", "pos_group2": "*", "pos_group3": "*", "ctype": "*", "cform": "*",
}  # fmt: skip
_OWN_WORDS: Final = {"hello": ("ハロー", 0, 3)}
"""Words that the published front end's own dictionary reads otherwise: kana, mora of the fall, moras."""

# The fields of a full-context label that are read: the phoneme, where it is in its accent phrase (moras after
# the fall, mora from the start, mora from the end) and how many moras the phrase has.
_LABEL = re.compile(
    r"-(?P<phone>[^+]+)\+.*/A:(?P<fall>[^+]+)\+(?P<mora>[^+]+)\+(?P<left>[^/]+)/.*/F:(?P<moras>[^_]+)_"
)
_DEVOICED: Final = frozenset("AEIOU")
_MORA_ENDS: Final = frozenset((*"aeiouN", "cl"))
"""Phonemes that a mora can end with; a border stands after one of them."""


class Place(NamedTuple):
    """A phoneme and its place in its accent phrase; None for the numbers of a pause or silence."""

    phone: str
    fall: int | None
    mora: int | None
    left: int | None
    moras: int | None


def _number(text: str) -> int | None:
    return None if text == "xx" else int(text)


def parse_label(label: str) -> Place:
    """The place of the phoneme that a full-context label is about."""
    found = _LABEL.search(label)
    assert found is not None, label[:80]
    phone = found["phone"]
    return Place(
        phone.lower() if phone in _DEVOICED else phone,
        _number(found["fall"]),
        _number(found["mora"]),
        _number(found["left"]),
        _number(found["moras"]),
    )


def with_accents(places: list[Place]) -> list[str]:
    """The phonemes of a clause with the marks of its accents; ``places`` begin and end with a silence."""
    phones: list[str] = []
    for here, after in pairwise(places[1:]):
        if here.phone == "pau":
            phones.append(_PAUSE)
            continue
        phones.append(here.phone)
        if here.mora is None:
            continue
        if here.left == 1 and after.mora == 1 and here.phone in _MORA_ENDS:
            phones.append(_BORDER)
        elif here.fall == 0 and after.mora == here.mora + 1 and here.mora != here.moras:
            phones.append(_FALL)
        elif here.mora == 1 and after.mora == 2:
            phones.append(_RISE)
    return phones


@cache
def _jtalk() -> Any:
    """Open JTalk with the dictionary of its package. Raises UnsupportedLanguageError."""
    found = importlib.util.find_spec("pyopenjtalk")
    folders = [Path(folder) for folder in (found.submodule_search_locations or ())] if found else []
    # The package would fetch a dictionary that is not there; so it is looked for first, and given by path.
    dictionaries = [path for folder in folders for path in sorted(folder.glob("open_jtalk_dic_utf_8-*"))]
    if not dictionaries:
        raise missing("Japanese", "ja")
    try:
        from pyopenjtalk.openjtalk import OpenJTalk

        return OpenJTalk(dn_mecab=str(dictionaries[0]).encode())
    except (ImportError, RuntimeError, OSError) as error:
        raise unreadable("Japanese", "ja") from error


def _words(clause: str) -> list[dict[str, Any]]:
    """The words of a clause as Open JTalk reads them, without what its labels would stumble over.

    It prints a warning for a pause or a lengthening with nothing before it, for a part of speech it does not
    know and for a clause without any sound; none of them has a sound.
    """
    words: list[dict[str, Any]] = []
    silent = True  # nothing has been spoken that a pause could follow, or a long vowel lengthen
    for word in _jtalk().run_frontend(clause):
        own = _OWN_WORDS.get(unicodedata.normalize("NFKC", word["string"]).lower())
        if own:
            word = word | {"pron": own[0], "acc": own[1], "mora_size": own[2]}
        spoken = word["pron"].lstrip("ー’、？！") if silent else word["pron"]
        if spoken:
            silent = not _MORA.search(spoken)
            words.append(word | {"pron": spoken} | _ANY_WORD)
    return words if any(_MORA.search(word["pron"]) for word in words) else []


def _speak(clause: str) -> list[str]:
    words = _words(clause)
    if not words:
        return []
    return with_accents([parse_label(label) for label in _jtalk().make_label(words)])


def _short(clause: str) -> Iterator[str]:
    """``clause`` in pieces that Open JTalk can hold."""
    while len(clause) > LONGEST_CLAUSE:
        ending = _ENDING.search(clause, _CUT_AFTER, LONGEST_CLAUSE)
        end = ending.end() if ending else LONGEST_CLAUSE
        yield clause[:end]
        clause = clause[end:]
    yield clause


def to_phones(text: str) -> list[str]:
    """Phonemes, marks and ``UNK`` of any text; not yet what a version of the table lacks."""
    text = _THOUSANDS.sub("", text.replace("％", "パーセント").replace("%", "パーセント"))
    phones: list[str] = []
    done = 0
    for found in _CLAUSE.finditer(text):
        phones += _marks(text[done : found.start()])
        for clause in _short(found[0]):
            phones += _speak(clause)
        done = found.end()
    return phones + _marks(text[done:])


def _marks(text: str) -> list[str]:
    return [_MARKS.get(mark, mark) for mark in _UNSPOKEN.sub("", text)]


def read(text: str, version: str = "v2") -> Reading:
    """Text and phonemes of any Japanese text. Raises UnsupportedLanguageError without the extra."""
    text = collapse(text.replace("...", "…"))
    known = symbol_ids(version)
    return Reading(text, [phone if phone in known else UNKNOWN for phone in to_phones(text)], None)
