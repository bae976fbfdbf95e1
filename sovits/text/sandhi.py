"""Mandarin tone sandhi inside words: 不, 一, neutral tones and third tones in a row.

Works on the rhymes of a word, each with its tone as last character. Words are first joined where a change
of tone crosses the border that the segmenter drew. The rules are those of the published front end,
including where they are coarser than the language. Follows specs/text.md.
"""

from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from .tables import load_json


class Word(NamedTuple):
    """A word and its part of speech as jieba names it."""

    text: str
    tag: str


Rhymes = list[str]
ReadWord = Callable[[str], Rhymes]
"""From a word to its rhymes with tones."""
CutFine = Callable[[str], list[str]]
"""From a word to its shortest known parts."""

_PARTICLES: Final = frozenset("吧呢哈啊呐噻嘛吖嗨哦哒额滴哩哟喽啰耶喔诶")
_STRUCTURAL: Final = frozenset("的地得")
_ASPECT: Final = frozenset("了着过")
_ASPECT_TAGS: Final = frozenset({"ul", "uz", "ug"})
_DIRECTIONS: Final = frozenset("上下进出回过起开")
_BEFORE_GE: Final = frozenset("几有两半多各整每做是")
_MARKS: Final = frozenset("：，；。？！“”‘’':,;.?!")


@cache
def _words(name: str) -> frozenset[str]:
    return frozenset(load_json("mandarin.json")[name])


def _tone(rhyme: str, tone: str) -> str:
    return rhyme[:-1] + tone


def _all_third(rhymes: Rhymes) -> bool:
    return all(rhyme.endswith("3") for rhyme in rhymes)


# --- joining words ---------------------------------------------------------------------------------------


def _join_bu(words: list[Word]) -> list[Word]:
    """不 goes with the word behind it."""
    joined: list[Word] = []
    previous = ""
    for text, tag in words:
        text = previous + text if previous == "不" else text
        if text != "不":
            joined.append(Word(text, tag))
        previous = text
    if previous == "不":
        joined.append(Word("不", "d"))
    return joined


def _join_yi(words: list[Word]) -> list[Word]:
    """看 一 看 becomes one word; any other 一 goes with the word behind it."""
    doubled: list[Word] = []
    skip = False
    for index, word in enumerate(words):
        if skip:
            skip = False
            continue
        if word.text == "一" and 0 < index < len(words) - 1:
            left, right = words[index - 1], words[index + 1]
            if left.text == right.text and left.tag == right.tag == "v":
                doubled[-1] = Word(f"{left.text}一{right.text}", "v")
                skip = True
                continue
        doubled.append(word)
    joined: list[Word] = []
    for word in doubled:
        if joined and joined[-1].text == "一":
            joined[-1] = Word("一" + word.text, joined[-1].tag)
        else:
            joined.append(word)
    return joined


def _join_repeated(words: list[Word]) -> list[Word]:
    joined: list[Word] = []
    for word in words:
        if joined and word.text == joined[-1].text:
            joined[-1] = Word(joined[-1].text + word.text, joined[-1].tag)
        else:
            joined.append(word)
    return joined


def _join_third(words: list[Word], read: ReadWord, *, whole: bool) -> list[Word]:
    """Short neighbours with third tones meet in one word: all of both (``whole``), or the two that touch."""
    rhymes = [read(word.text) for word in words]
    joined: list[Word] = []
    previous_joined = False
    for index, word in enumerate(words):
        join = False
        if index and not previous_joined:
            left, right = rhymes[index - 1], rhymes[index]
            third = _all_third(left) and _all_third(right) if whole else _all_third([left[-1], right[0]])
            before = words[index - 1].text
            doubled = len(before) == 2 and before[0] == before[1]
            join = third and not doubled and len(before) + len(word.text) <= 3
        if join:
            joined[-1] = Word(joined[-1].text + word.text, joined[-1].tag)
        else:
            joined.append(word)
        previous_joined = join
    return joined


def _join_er(words: list[Word]) -> list[Word]:
    joined: list[Word] = []
    for word in words:
        if joined and word.text == "儿":
            joined[-1] = Word(joined[-1].text + "儿", joined[-1].tag)
        else:
            joined.append(word)
    return joined


def join_words(words: list[Word], read: ReadWord) -> list[Word]:
    """The words between which tones do not change each other."""
    words = _join_repeated(_join_yi(_join_bu(words)))
    words = _join_third(words, read, whole=True)
    words = _join_third(words, read, whole=False)
    return _join_er(words)


# --- changing tones --------------------------------------------------------------------------------------


def _bu(text: str, rhymes: Rhymes) -> None:
    if len(text) == 3 and text[1] == "不":
        rhymes[1] = _tone(rhymes[1], "5")
        return
    for index, character in enumerate(text[:-1]):
        if character == "不" and rhymes[index + 1].endswith("4"):
            rhymes[index] = _tone(rhymes[index], "2")


def _yi(text: str, rhymes: Rhymes) -> None:
    if all(character == "一" or character.isnumeric() for character in text):
        return
    if len(text) == 3 and text[1] == "一" and text[0] == text[2]:
        rhymes[1] = _tone(rhymes[1], "5")
    elif text.startswith("第一"):
        rhymes[1] = _tone(rhymes[1], "1")
    else:
        for index, character in enumerate(text[:-1]):
            if character == "一" and rhymes[index + 1].endswith("4"):
                rhymes[index] = _tone(rhymes[index], "2")
            elif character == "一" and text[index + 1] not in _MARKS:
                rhymes[index] = _tone(rhymes[index], "4")


def change_before(text: str, rhymes: Rhymes, tone: str) -> Rhymes:
    """The rhymes of a text's last word where a word that is not touched itself follows with this tone."""
    last = text[-1]
    counts = last == "一" and (len(text) == 1 or not (text[-2] == "第" or text[-2].isnumeric()))
    if last == "不" and tone == "4":
        return [*rhymes[:-1], _tone(rhymes[-1], "2")]
    if counts and tone in tuple("1234"):
        return [*rhymes[:-1], _tone(rhymes[-1], "2" if tone == "4" else "4")]
    return rhymes


def _is_neutral(text: str) -> bool:
    return text in _words("neutral") or text[-2:] in _words("neutral")


def _ends_neutral(text: str, tag: str) -> bool:
    """Whether the last syllable loses its tone, apart from the measure word 个."""
    last, kept = text[-1], text in _words("not_neutral")
    if last in _PARTICLES or last in _STRUCTURAL:
        return True
    if len(text) == 1:
        return last in _ASPECT and tag in _ASPECT_TAGS
    if last in "们子" and tag in ("r", "n") and not kept:
        return True
    if last in "上下里" and tag in ("s", "l", "f"):
        return True
    return last in "来去" and text[-2] in _DIRECTIONS


def _neutral(word: Word, rhymes: Rhymes, parts: list[str]) -> None:
    text, tag = word
    if tag[:1] in ("n", "v", "a") and text not in _words("not_neutral"):
        for index in range(1, len(text)):
            if text[index] == text[index - 1]:
                rhymes[index] = _tone(rhymes[index], "5")
    measure = text.find("个")
    if _ends_neutral(text, tag):
        rhymes[-1] = _tone(rhymes[-1], "5")
    elif text == "个" or (
        measure >= 1 and (text[measure - 1].isnumeric() or text[measure - 1] in _BEFORE_GE)
    ):
        rhymes[measure] = _tone(rhymes[measure], "5")
    elif _is_neutral(text):
        rhymes[-1] = _tone(rhymes[-1], "5")
    end = 0
    for part in parts:
        end += len(part)
        if part and _is_neutral(part):
            rhymes[end - 1] = _tone(rhymes[end - 1], "5")


def _third(text: str, rhymes: Rhymes, parts: list[str]) -> None:
    if len(text) == 2 and _all_third(rhymes):
        rhymes[0] = _tone(rhymes[0], "2")
    elif len(text) == 3:
        cut = len(parts[0])
        if _all_third(rhymes):
            for index in (0, 1) if cut == 2 else (1,) if cut == 1 else ():
                rhymes[index] = _tone(rhymes[index], "2")
            return
        if cut == 2 and _all_third(rhymes[:2]):
            rhymes[0] = _tone(rhymes[0], "2")
        if 3 - cut == 2 and _all_third(rhymes[cut:]):
            rhymes[cut] = _tone(rhymes[cut], "2")
        elif 0 < cut < 3 and not _all_third(rhymes[cut:]) and _all_third(rhymes[cut - 1 : cut + 1]):
            rhymes[cut - 1] = _tone(rhymes[cut - 1], "2")
    elif len(text) == 4:
        for index in (0, 2):
            if _all_third(rhymes[index : index + 2]):
                rhymes[index] = _tone(rhymes[index], "2")


def _halves(text: str, cut: CutFine) -> list[str]:
    """``text`` in two, one of them its shortest known part."""
    shortest = min(cut(text), key=len)
    if text.startswith(shortest):
        return [shortest, text[len(shortest) :]]
    return [text[: -len(shortest)], shortest]


def change_tones(word: Word, rhymes: Rhymes, cut: CutFine) -> Rhymes:
    """The rhymes of ``word`` as spoken."""
    rhymes = list(rhymes)
    _bu(word.text, rhymes)
    _yi(word.text, rhymes)
    _neutral(word, rhymes, _halves(word.text, cut))
    _third(word.text, rhymes, _halves(word.text, cut))
    return rhymes
