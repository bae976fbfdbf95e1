"""Dictionaries and texts: which words are found, how they are read, and that nothing else changes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pvoice.protocol.errors import P2PVoiceError, UsageError
from p2pvoice.protocol.pronunciation import Entry, entry
from p2pvoice.sovits.text import Phones, Pronunciations, phonemize, split
from p2pvoice.sovits.text.pronunciations import NONE, of_texts
from p2pvoice.sovits.text.readings import LONGEST_PER_CHARACTER, LONGEST_SPARE, check, written
from p2pvoice.sovits.text.spelled import spell


def words(*user: tuple[str, str, str], voice: tuple[tuple[str, str, str], ...] = ()) -> Pronunciations:
    return Pronunciations([entry(*one) for one in voice], [entry(*one) for one in user])


def read(text: str, lang: str, known: Pronunciations = NONE, **more: bool) -> Phones:
    return phonemize(text, lang, words=known, **more)


def said(text: str, lang: str, known: Pronunciations = NONE) -> str:
    # A sentence of fewer than six phonemes gets a full stop in front.
    return " ".join(read(text, lang, known).names).removeprefix(". ")


def shown(text: str, lang: str, known: Pronunciations = NONE) -> list[tuple[str, str, str]]:
    rows = spell(read(text, lang, known), known)
    return [(row["text"], row["reading"], row["from"]) for part in rows for row in part["words"]]


# --- readings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lang", "word", "typed", "kept", "phones"),
    [
        ("zh", "杭州", "hang2 zhou1", "hang2 zhou1", "h ang2 zh ou1"),
        ("zh", "重慶", "Chóng qìng", "chong2 qing4", "ch ong2 q ing4"),
        ("zh", "绿女", "lǜ nu:3", "lv4 nv3", "l v4 n v3"),
        ("zh", "虐了", "nüè le0", "nve4 le5", "n ve4 l e5"),
        ("zh", "而安", "er2 an1", "er2 an1", "EE er2 AA an1"),
        ("yue", "杭州", "hong4 zau1", "hong4 zau1", "Yh Yong4 Yz Yau1"),
        ("yue", "唔五", "m4 ng5", "m4 ng5", "Ym Ym4 Yng Yg5"),
        ("yue", "愛屋", "oi3 uk1", "oi3 uk1", "Yoi Yi3 Yuk Yk1"),
        ("en", "SoVITS", "s ow1 v ih0 t s", "S OW1 V IH0 T S", "S OW1 V IH0 T S"),
        ("ja", "東京", "とうきょう", "とうきょう", ""),
        ("ko", "서울", "서울 역", "서울 역", ""),
    ],
)
def test_readings_become_phonemes(lang: str, word: str, typed: str, kept: str, phones: str) -> None:
    checked = check(entry(lang, word, typed))
    assert checked.entry == Entry(lang, word, kept)
    assert " ".join(phone for unit in checked.phones for phone in unit) == phones


@pytest.mark.parametrize(
    ("lang", "word", "typed", "message", "hint"),
    [
        ("zh", "杭州", "hnag2 zhou1", "'hnag2' is no Mandarin syllable", "hang2"),
        ("zh", "杭州", "hang zhou1", "'hang' has no tone", "now it is read hang2 zhou1"),
        ("zh", "杭州", "hang6 zhou1", "'hang6' has no tone from 1 to 5", "hang1 hang2"),
        ("zh", "杭州", "hang2", "has 2 characters, its reading 1 syllable", "now it is read hang2 zhou1"),
        ("zh", "AI", "ei1 ai4", "Han characters alone", "--lang en"),
        ("zh", "三2", "san1 er4", "Han characters alone", "write digits"),
        ("yue", "杭州", "hong4 zuo1", "'zuo1' is no Cantonese syllable", "did you mean"),
        ("yue", "杭州", "hong7 zau1", "no tone from 1 to 6", "hong1"),
        ("yue", "重慶", "cung4 hing3 m4", "its reading 3 syllables", "now it is read cung4 hing3"),
        ("en", "Qwen", "K W EH N", "the vowel EH has no stress", "EH1 is stressed"),
        ("en", "Qwen", "K W EN1", "'EN1' is no sound", "did you mean"),
        ("en", "重庆", "CH", "Latin letters", "--lang zh"),
        ("ja", "東京", "tokyo", "not kana alone", "kana"),
        ("ko", "서울", "seoul", "not hangul alone", "hangul"),
    ],
)
def test_a_wrong_reading_is_told_with_the_nearest_right_one(
    lang: str, word: str, typed: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check(entry(lang, word, typed), advise=True)
    assert hint in caught.value.hint


@pytest.mark.parametrize("word", ["a", "abc"])
def test_a_reading_is_not_much_longer_than_its_word(word: str) -> None:
    longest = LONGEST_SPARE + LONGEST_PER_CHARACTER * len(word)
    check(entry("en", word, " ".join("Z" * longest)))
    check(entry("ja", word, "あ" * longest))
    for one in (entry("en", word, " ".join("Z" * (longest + 1))), entry("ja", word, "あ" * (longest + 1))):
        with pytest.raises(UsageError, match=f"at most {longest}"):
            check(one)


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("zh", "知道四雨鱼言也安恩哦二儿女略学圈云穷军子吃日绿"),
        ("yue", "五唔愛屋鴨惡我安亞歐音月佢鵝吳"),
    ],
)
def test_what_is_shown_can_be_typed(lang: str, text: str) -> None:
    """Every reading that is shown, put into a dictionary, gives the same phonemes."""
    phones = read(text, lang)
    rows = shown(text, lang)
    assert len(rows) == len(text)
    known = words(*((lang, word, reading) for word, reading, _ in rows))
    assert read(text, lang, known).names == phones.names


# --- words in a text -------------------------------------------------------------------------------------


def test_mandarin_words_are_read_as_they_say() -> None:
    known = words(("zh", "重慶", "zhong4 qing3"), ("zh", "行", "xing2"))
    assert shown("我在重庆", "zh", known)[2:] == [("重庆", "zhong4 qing3", "user")]
    # Either script is meant, spaces do not count, and a digit is a word by then.
    for text in ("我在重慶", "我在重 庆"):
        assert read(text, "zh", known).ids == read("我在重庆", "zh", known).ids
    assert ("一百", "yi4 bai2", "user") in shown("有100个", "zh", words(("zh", "一百", "yi4 bai2")))
    assert said("银行", "zh", known) == "y in2 x ing2"


def test_word2ph_counts_the_words_of_a_dictionary() -> None:
    known = words(("zh", "重庆", "zhong4 qing4"), ("en", "Qwen", "K"))
    phones = read("我们去重庆，用Qwen说话。", "zh", known)
    for part in phones.parts:
        if part.word2ph is not None:
            assert len(part.word2ph) == len(part.norm_text)
            assert sum(part.word2ph) == part.length
    first = phones.parts[0]
    assert (first.norm_text, first.word2ph) == ("我们去重庆,用", [2, 2, 2, 2, 2, 1, 2])


def test_sandhi_touches_no_word_of_a_dictionary_and_sees_its_tone() -> None:
    # By itself 你好 is ni2 hao3: what was typed stays as it was typed.
    assert said("你好", "zh") == "n i2 h ao3"
    assert said("你好", "zh", words(("zh", "你好", "ni3 hao3"))) == "n i3 h ao3"
    assert said("女儿", "zh", words(("zh", "女儿", "nv3 er5"))).endswith("EE er5")
    to_fourth, to_third = (words(("zh", "行", f"hang{tone}")) for tone in "43")
    assert said("我不行", "zh", to_fourth) == "w o3 b u2 h ang4"
    assert said("我不行", "zh", to_third) == "w o3 b u4 h ang3"
    assert said("这一行", "zh", to_fourth) == "zh e4 y i2 h ang4"
    assert said("这一行", "zh", to_third) == "zh e4 y i4 h ang3"
    assert said("第一行", "zh", to_fourth) == "d i4 y i1 h ang4"


def test_cantonese_words_are_read_as_they_say() -> None:
    known = words(("yue", "重慶", "zung6 hing3"), ("zh", "重庆", "zhong4 qing4"))
    assert shown("去重慶玩", "yue", known)[1] == ("重庆", "zung6 hing3", "user")
    plain, changed = read("去重慶玩", "yue"), read("去重慶玩", "yue", known)
    assert changed.names[:2] + changed.names[6:] == plain.names[:2] + plain.names[6:]
    assert changed.word2ph == plain.word2ph
    # Each language has its own words.
    assert shown("去重庆", "zh", known)[1] == ("重庆", "zhong4 qing4", "user")


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("Qwen", "K W EH1 N"),
        ("QWEN qwen", "K W EH1 N K W EH1 N"),
        ("(Qwen)-Qwen.", "K W EH1 N - K W EH1 N ."),
        ("Qwen's model", "K W EH1 N Z M AA1 D AH0 L"),
        ("Qwen’s model", "K W EH1 N Z M AA1 D AH0 L"),
        ("'Qwen' model", "- K W EH1 N - M AA1 D AH0 L"),
    ],
)
def test_english_words_match_whole_and_in_any_case(text: str, phones: str) -> None:
    assert said(text, "en", words(("en", "Qwen", "K W EH1 N"))) == phones


@pytest.mark.parametrize(
    "text", ["Qwens are here", "reQwen it now", "Qwen2 is here", "Qwen'll come", "Qwén is here"]
)
def test_parts_of_english_words_do_not_match(text: str) -> None:
    assert read(text, "en", words(("en", "Qwen", "K W EH1 N"))).names == read(text, "en").names


def test_an_english_word_may_hold_marks_digits_and_spaces() -> None:
    known = words(
        ("en", "Node.js", "N OW1 D"),
        ("en", "GPT-4", "JH IY1"),
        ("en", "New York", "Y AO1"),
        ("en", "don't", "D OW1"),
    )
    assert said("Node.js, GPT-4, new york, don’t!", "en", known) == "N OW1 D , JH IY1 , Y AO1 , D OW1 !"
    # In Chinese text the digit belongs to the word, and no cut goes through its dot.
    assert shown("GPT-4很好", "zh", known)[0] == ("GPT-4", "JH IY1", "user")
    assert [part.language for part in read("GPT-4很好", "zh", known).parts] == ["en", "zh"]
    text = "一，二，三，用Node.js写，四，五，六，七。"
    assert any("\U000f0000" * 7 in piece for piece in split(known.hide(text), "cut5", "zh"))
    assert [known.show(piece) for piece in split(known.hide("Node.js 很好"), "cut5", "zh")] == [
        "Node.js 很好。"
    ]


def test_the_longest_word_wins_and_the_users_over_the_voices() -> None:
    known = words(
        ("zh", "重庆", "chong1 qing1"),
        ("en", "qwen", "K"),
        voice=(("zh", "重庆", "zhong4 qing4"), ("zh", "重庆大学", "da4 da4 da4 da4"), ("en", "Qwen", "G")),
    )
    assert shown("重庆", "zh", known) == [("重庆", "chong1 qing1", "user")]
    assert shown("重庆大学", "zh", known) == [("重庆大学", "da4 da4 da4 da4", "voice")]
    assert next(row[1:] for row in shown("Qwen is here", "en", known)) == ("K", "user")


def test_japanese_and_korean_words_are_spelled_as_they_are_read() -> None:
    known = words(("ja", "東京", "とうきょう"), ("ja", "東京都", "とうきょうと"), ("ko", "API", "에이피아이"))
    assert known.respell("ja", "東京都と東京") == "とうきょうとととうきょう"
    assert known.respell("ko", "API를") == "에이피아이를"
    assert known.respell("ja", "大阪") == "大阪"


def test_a_reading_that_a_file_holds_wrongly_is_named() -> None:
    with pytest.raises(UsageError, match=r"the voice's dictionary, zh 重庆: .*hnag"):
        of_texts("zh\t重庆\thnag2 qing4\n", "")
    assert of_texts("", "") is NONE


_TEXT = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(
            [
                "重庆",
                "重慶大學",
                "Qwen",
                "qwen's",
                "GPT-4",
                "Node.js",
                " ",
                "，",
                "1,234",
                "\U000f0000",
                "不",
                "一",
            ]
        ),
    ),
    max_size=8,
).map("".join)
_KNOWN = words(
    ("zh", "重庆", "chong2 qing4"), ("yue", "重庆", "cung4 hing3"),
    ("en", "Qwen", "K W EH1 N"), ("en", "GPT-4", "F AO1 R"),
    voice=(("zh", "重庆大学", "a1 a2 a3 a4"), ("en", "Node.js", "N OW1 D"), ("zh", "不", "bu4")),
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_TEXT, st.sampled_from(["zh", "yue", "en", "auto"]), st.booleans())
def test_any_text_is_read_with_a_dictionary(text: str, lang: str, upstream: bool) -> None:
    hidden = _KNOWN.hide(text)
    assert (len(hidden), _KNOWN.hide(hidden)) == (len(text), hidden)
    try:
        phones = phonemize(hidden, lang, words=_KNOWN, upstream=upstream)
    except P2PVoiceError:
        return
    assert phones == phonemize(text, lang, words=_KNOWN, upstream=upstream)
    for part in phones.parts:
        if part.word2ph is not None:
            assert len(part.word2ph) == len(part.norm_text)
            assert sum(part.word2ph) == part.length
    for part in spell(phones, _KNOWN):
        # A character without a reading is silent, as ever.
        assert all(row["text"] and (row["reading"] or not row["from"]) for row in part["words"])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_TEXT.map(lambda text: text.replace("\U000f0000", "")), st.sampled_from(["zh", "yue", "en"]))
def test_words_that_do_not_occur_change_nothing(text: str, lang: str) -> None:
    absent = words(("zh", "龘龘", "da2 da2"), ("yue", "龘龘", "daap6 daap6"), ("en", "zzyzx", "Z"))
    try:
        plain = phonemize(text, lang)
    except P2PVoiceError:
        return
    assert phonemize(text, lang, words=absent) == plain


def test_every_pair_of_phonemes_is_written_as_its_syllable() -> None:
    for syllable in ["zhi1", "si4", "yu2", "xue2", "yan3", "ye3", "er2", "lve4", "ju1", "wo3"]:
        phones = check(entry("zh", "字", syllable)).phones[0]
        assert written("zh", phones) == syllable
    for syllable in ["ng5", "m4", "oi3", "uk1", "aai6", "gwong2", "jyut6", "aa1"]:
        phones = check(entry("yue", "字", syllable)).phones[0]
        assert written("yue", phones) == syllable
