"""Turning free text into what SQLite's full-text index can match, Chinese included.

SQLite's tokenizer takes a run of Chinese characters for one word, so nobody would ever find a part of
it. Every such character becomes a word of its own, in the index and in the query alike, and a run in
the query becomes a phrase. Not for tags: those are exact (protocol/tags.py).
"""

import re
import unicodedata

#: Longest query that is looked at, in characters.
QUERY_LIMIT = 200

#: Han, Kana and Hangul, with the Han extensions that Cantonese characters live in.
_SINGLE = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
_WORD = re.compile(r"\w+")


def index_text(text: str) -> str:
    """The text as it is stored in the index."""
    return " ".join(word for run in _runs(text) for word in run)


def match_expression(text: str) -> str:
    """The query as an FTS5 expression: all words must occur; "" when nothing searchable is in it.

    A run of Chinese characters is a phrase; a word of letters or digits matches as a beginning.
    """
    terms = []
    for run in _runs(text[:QUERY_LIMIT]):
        phrase = " ".join(run)
        terms.append(f'"{phrase}"' if _SINGLE.match(run[0]) else f'"{phrase}"*')
    return " AND ".join(terms)


def _runs(text: str) -> list[list[str]]:
    """Runs of words: each run is one word of letters, or consecutive single characters."""
    runs: list[list[str]] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        letters = ""
        singles: list[str] = []
        for character in word:
            if _SINGLE.match(character):
                if letters:
                    runs.append([letters])
                    letters = ""
                singles.append(character)
            else:
                if singles:
                    runs.append(singles)
                    singles = []
                letters += character
        if letters:
            runs.append([letters])
        if singles:
            runs.append(singles)
    return runs
