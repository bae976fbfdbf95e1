"""Chinese words with their part of speech, by jieba's dictionary.

Builds the dictionary in memory: jieba itself would read a cache file from the shared temporary folder,
which any other user of the machine could have written. Follows specs/text.md.
"""

import logging
import threading
from functools import cache
from typing import Any

from .sandhi import Word

_lock = threading.Lock()


@cache
def _load() -> tuple[Any, Any]:
    import jieba  # type: ignore[import-untyped]
    import jieba.posseg  # type: ignore[import-untyped]

    jieba.setLogLevel(logging.WARNING)
    cutter = jieba.Tokenizer()
    cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True
    return cutter, jieba.posseg.POSTokenizer(cutter)


def _loaded() -> tuple[Any, Any]:
    with _lock:
        return _load()


def tagged_words(text: str) -> list[Word]:
    """The words of ``text`` in order."""
    return [Word(pair.word, pair.flag) for pair in _loaded()[1].lcut(text)]


def cut_fine(text: str) -> list[str]:
    """``text`` cut into words and the shorter words inside them."""
    return list(_loaded()[0].cut_for_search(text)) or [text]
