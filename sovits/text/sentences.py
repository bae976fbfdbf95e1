"""A long text cut into the pieces that are spoken one after the other.

The six methods are those of the published program, since users choose them by name; its corners, too, but
that with ``upstream`` a text is also cut inside 1,234, 3.14 and 10:30, as there:
cut0 not at all, cut1 every four clauses, cut2 about fifty characters, cut3 at 。, cut4 at the full stop,
cut5 at every mark. Follows specs/text.md.
"""

import re
from collections.abc import Callable
from typing import Final

from ...protocol.errors import UsageError
from .punctuation import collapse
from .stand_ins import RANGE

LONGEST_TEXT: Final = 100_000
"""Characters of a text that is to be cut."""
LONGEST_PIECE: Final = 510
"""Characters of a piece (what the Chinese BERT can read at once)."""
SHORTEST_PIECE: Final = 5
"""A shorter piece is joined with the next."""
SHORTEST_START: Final = 4
"""A text whose first clause is shorter gets a mark in front, or its first syllable is lost."""
CLAUSES_A_PIECE: Final = 4
CHARACTERS_A_PIECE: Final = 50

CLAUSE_ENDS: Final = frozenset("，。？！,.?!~:：—…")
_MARKS_ONLY: Final = frozenset("!?…,.- ")
_EVERY_MARK: Final = frozenset(",.;?!、，。？！：…")
_WORD = re.compile(rf"[\w{RANGE}]")
# Marks that belong to a number, and what they are while the text is cut: characters of no text.
_IN_NUMBER = re.compile(r"(?<=[0-9])(?:[.:](?=[0-9])|,(?=[0-9]{3}(?![0-9])))")
_KEPT_MARKS: Final = {",": "\ue000", ".": "\ue001", ":": "\ue002"}
_HIDDEN = str.maketrans(_KEPT_MARKS)
_SHOWN = str.maketrans({hidden: mark for mark, hidden in _KEPT_MARKS.items()})
_ANY_HIDDEN = re.compile("[\ue000-\ue002]")


def clauses(text: str) -> list[str]:
    """Clauses with their final mark."""
    text = text.replace("……", "。").replace("——", "，")
    if text and text[-1] not in CLAUSE_ENDS:
        text += "。"
    return re.findall(r"[^，。？！,.?!~:：—…]*[，。？！,.?!~:：—…]", text)


def _cut_none(text: str) -> list[str]:
    return [text]


def _cut_four_clauses(text: str) -> list[str]:
    parts = clauses(text)
    starts = list(range(0, len(parts), CLAUSES_A_PIECE))
    if len(starts) < 2:
        return [text]
    # What is left at the end stays with the last whole piece.
    ends: list[int | None] = [*starts[1:-1], None]
    return ["".join(parts[start:end]) for start, end in zip(starts[:-1], ends, strict=True)]


def _cut_fifty(text: str) -> list[str]:
    parts = clauses(text)
    if len(parts) < 2:
        return [text]
    pieces = [""]
    for part in parts:
        if len(pieces[-1]) > CHARACTERS_A_PIECE:
            pieces.append("")
        pieces[-1] += part
    if len(pieces) > 1 and len(pieces[-1]) < CHARACTERS_A_PIECE:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return pieces


def _cut_chinese_stop(text: str) -> list[str]:
    return text.strip("。").split("。")


def _cut_english_stop(text: str) -> list[str]:
    return re.split(r"(?<!\d)\.(?!\d)", text.strip("."))


def _cut_every_mark(text: str) -> list[str]:
    pieces = [""]
    for index, character in enumerate(text):
        pieces[-1] += character
        inside_number = (
            character == "." and text[index - 1 : index].isdigit() and text[index + 1 : index + 2].isdigit()
        )
        if character in _EVERY_MARK and not inside_number:
            pieces.append("")
    return [piece for piece in pieces if not _EVERY_MARK.issuperset(piece)]


METHODS: Final[dict[str, Callable[[str], list[str]]]] = {
    "cut0": _cut_none,
    "cut1": _cut_four_clauses,
    "cut2": _cut_fifty,
    "cut3": _cut_chinese_stop,
    "cut4": _cut_english_stop,
    "cut5": _cut_every_mark,
}


def _join_short(pieces: list[str]) -> list[str]:
    joined: list[str] = []
    pending = ""
    for piece in pieces:
        pending += piece
        if len(pending) >= SHORTEST_PIECE:
            joined.append(pending)
            pending = ""
    if pending and joined:
        joined[-1] += pending
    elif pending:
        joined.append(pending)
    return joined


def _cut_long(piece: str) -> list[str]:
    """A piece over the limit cut at marks, or anywhere if it has none."""
    pieces = [""]
    for part in re.findall(r"[^，。？！,.?!~:：—…]+|[，。？！,.?!~:：—…]", piece):
        for start in range(0, len(part), LONGEST_PIECE):
            run = part[start : start + LONGEST_PIECE]
            if len(pieces[-1]) + len(run) > LONGEST_PIECE:
                pieces.append("")
            pieces[-1] += run
    return [piece for piece in pieces if piece]


def split(text: str, method: str = "cut1", lang: str = "auto", *, upstream: bool = False) -> list[str]:
    """The pieces of ``text`` by ``method``; a piece without a word in it is left out."""
    if upstream:
        return _split(text, method, lang)
    hidden = _IN_NUMBER.sub(lambda mark: mark[0].translate(_HIDDEN), _ANY_HIDDEN.sub("", text))
    return [piece.translate(_SHOWN) for piece in _split(hidden, method, lang)]


def _split(text: str, method: str, lang: str) -> list[str]:
    if method not in METHODS:
        raise UsageError(f"unknown way to cut a text: {method[:20]!r}", hint=f"one of {' '.join(METHODS)}")
    if len(text) > LONGEST_TEXT:
        raise UsageError(f"the text has {len(text)} characters; at most {LONGEST_TEXT} are read at once")
    mark = "." if lang == "en" else "。"
    text = collapse(text).strip("\n")
    if not text:
        return []
    first = re.split("[，。？！,.?!~:：—…]", text, maxsplit=1)[0].strip()
    if text[0] not in CLAUSE_ENDS and len(first) < SHORTEST_START:
        text = mark + text
    pieces = [piece for piece in METHODS[method](text) if not _MARKS_ONLY.issuperset(piece)]
    lines = [line for piece in pieces for line in piece.split("\n") if line not in ("", " ")]
    if not lines:
        raise UsageError("the text has no words in it")
    whole: list[str] = []
    for piece in _join_short(lines):
        if _WORD.search(piece):
            ended = piece if piece[-1] in CLAUSE_ENDS else piece + mark
            whole += _cut_long(ended) if len(ended) > LONGEST_PIECE else [ended]
    return whole
