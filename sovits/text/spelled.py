"""How a text is read, for people to look at: each word with its reading in a dictionary's notation.

What it shows can be put into a dictionary as it is. Not for speaking: that is ``phonemize``.
Follows specs/pronunciation.md.
"""

from typing import Any

from . import Part, Phones
from .pronunciations import Pronunciations
from .readings import written
from .stand_ins import is_stand_in


def spell(phones: Phones, words: Pronunciations) -> list[dict[str, Any]]:
    """Every part of a sentence with its words: ``{language, text, norm_text, phones, words}``.

    A word is ``{text, reading, from}``; ``from`` is ``user`` or ``voice`` where a dictionary says it, else
    empty.
    """
    return [
        {
            "language": part.language,
            "text": part.text,
            "norm_text": part.norm_text,
            "phones": phones.names[part.start : part.start + part.length],
            "words": _chinese(part, phones, words) if part.word2ph is not None else _english(part, words),
        }
        for part in phones.parts
    ]


def _chinese(part: Part, phones: Phones, words: Pronunciations) -> list[dict[str, str]]:
    rows, at, place = [], part.start, 0
    for piece, said in words.cut(part.language, part.norm_text):
        read = []
        for count in (part.word2ph or [])[place : place + len(piece)]:
            read.append(written(part.language, phones.names[at : at + count]))
            at += count
        place += len(piece)
        if said is not None:
            rows.append({"text": piece, "reading": " ".join(read), "from": said.source})
        else:
            rows += [
                {"text": character, "reading": reading, "from": ""}
                for character, reading in zip(piece, read, strict=True)
                if character.isalpha()
            ]
    return rows


def _english(part: Part, words: Pronunciations) -> list[dict[str, str]]:
    from . import english

    rows = []
    for token, spoken in english.spoken_words(words.hide(part.norm_text), words=words):
        said = words.behind(token[0]) if is_stand_in(token[0]) else None
        if any(phone[0].isalpha() for phone in spoken):
            source = said.source if said is not None else ""
            rows.append({"text": words.show(token), "reading": " ".join(spoken), "from": source})
    return rows
