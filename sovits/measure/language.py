"""Which language is spoken: by the transcript where there is one, else by a recogniser; with a confidence.

Scripts decide most; Cantonese and Mandarin share theirs and are told apart by the words that only one of
them writes. A text in standard written Chinese can be read aloud in either, and is then called Mandarin with
little confidence. Not for mixed texts sentence by sentence: that is p2pvoice.sovits.text. Follows
specs/measurement.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from p2pvoice.sovits.measure.asr import Ear
from p2pvoice.sovits.measure.levels import Samples
from p2pvoice.sovits.text.chinese_normalize import to_simplified

TEXT_LIMIT: Final = 20_000
"""Characters of a text that are looked at."""

# Written in colloquial Cantonese and hardly ever in Mandarin, and the other way round; simplified.
_CANTONESE: Final = frozenset("嘅咗喺冇佢哋啲唔嚟咁嘢冚睇啱嗰嘥揾瞓攞俾畀咩嘞喎啫噉乜嗌咪瞓褛掟孭")
_CANTONESE_WORDS: Final = re.compile(
    "系咪|而家|今日|听日|寻日|琴日|点解|边度|边个|几时|依家|呢个|呢度|呢本|我系|你系|好彩|倾偈|返工|收工"
)
_MANDARIN: Final = frozenset("的了在没他们这那哪吗呢吧很说谁什么")
_WORDS: Final = {
    "en": "the and of to in is that it was for you with on are this have be not he she we they at from",
    "de": "der die das und ist nicht ein eine zu den mit sich auf ich es auch wir sie von dem",
    "fr": "le la les et est un une de des que pas pour dans je il vous nous ce qui sur",
    "es": "el la los las y es un una de que no en por con para se lo como está su",
    "pt": "o a os as e é um uma de que não em por com para se do da como você",
    "vi": "và là của không có được cho người một những trong này với các đã",
}
_OF_WORD: Final = {
    word: {lang for lang, words in _WORDS.items() if word in words.split()}
    for words in _WORDS.values()
    for word in words.split()
}


@dataclass(frozen=True)
class Language:
    """A language's key, how sure it is (0 to 1), and by what."""

    lang: str
    confidence: float
    method: str


def of_text(text: str) -> Language | None:
    """The language of a text, or nothing where there is too little of it."""
    seen = text[:TEXT_LIMIT]
    counts = {
        "han": len(re.findall(r"[\u3400-\u9fff]", seen)),
        "kana": len(re.findall(r"[\u3040-\u30ff]", seen)),
        "hangul": len(re.findall(r"[\uac00-\ud7af]", seen)),
        "thai": len(re.findall(r"[\u0e00-\u0e7f]", seen)),
        "cyrillic": len(re.findall(r"[\u0400-\u04ff]", seen)),
        # A Latin word is about as much as one Chinese character.
        "latin": len(re.findall(r"[A-Za-z\u00c0-\u024f]+", seen)),
    }
    total = sum(counts.values())
    if not total:
        return None
    sure = min(0.99, 0.7 + 0.03 * total)
    if counts["kana"] > 0.1 * total:
        return Language("ja", sure, "script of the transcript")
    for script, lang in (("hangul", "ko"), ("thai", "th"), ("cyrillic", "ru")):
        if counts[script] > 0.4 * total:
            return Language(lang, sure, "script of the transcript")
    if counts["han"] >= counts["latin"]:
        return _chinese(seen, counts["han"])
    return _latin(seen)


def of_speech(audio: Samples, rate: int, ear: Ear, heard: str = "") -> Language | None:
    """What the recogniser takes the language for; ``heard`` is what it wrote, if that is at hand.

    A recogniser without Cantonese calls it Mandarin: unless it wrote Cantonese words, little is claimed then.
    """
    chances: Mapping[str, float] = ear.languages(audio, rate)
    if not chances:
        return None
    lang, chance = next(iter(chances.items()))
    method = "recogniser's language detection"
    if lang == "zh" and not ear.knows_cantonese:
        written = of_text(heard) if heard else None
        if written is not None and written.lang == "yue":
            return Language("yue", min(0.7, written.confidence), "words the recogniser wrote")
        return Language("zh", min(chance, 0.6), method + ", which knows no Cantonese")
    return Language(lang, chance, method)


def of_folder(audio: Samples, rate: int, folder: Path) -> Language | None:
    """As :func:`of_speech`, with the recogniser in a folder."""
    return of_speech(audio, rate, Ear(folder))


def _chinese(text: str, count: int) -> Language:
    plain = to_simplified(text)
    cantonese = sum(c in _CANTONESE for c in text) + 2 * len(_CANTONESE_WORDS.findall(plain))
    mandarin = sum(c in _MANDARIN for c in plain)
    if cantonese > mandarin:
        return Language("yue", min(0.98, 0.6 + 0.1 * (cantonese - mandarin)), "words of the transcript")
    # Characters that both languages write say little: somebody may read them aloud in Cantonese.
    share = mandarin / max(count, 1)
    return Language("zh", min(0.9, 0.5 + 2 * share), "words of the transcript")


def _latin(text: str) -> Language:
    scores = dict.fromkeys(_WORDS, 0.0)
    words = re.findall(r"[^\W\d_]+", text.lower())
    for word in words:
        for lang in (of := _OF_WORD.get(word, ())):
            scores[lang] += 1 / len(of)
    best = max(scores, key=lambda lang: scores[lang])
    others = sum(score for lang, score in scores.items() if lang != best)
    if scores[best] == 0:
        return Language("en", 0.3, "script of the transcript")
    sure = (scores[best] - others) / (scores[best] + others + 1)
    return Language(best, min(0.98, max(0.3, sure)), "words of the transcript")
