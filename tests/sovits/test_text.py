"""What the text front ends promise beyond equality: limits, errors, any Unicode, threads, start cost."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from p2pvoice.protocol.errors import P2PVoiceError, SynthesisError, UnsupportedLanguageError, UsageError
from p2pvoice.sovits import symbols
from p2pvoice.sovits.text import LANGUAGES, LONGEST_SENTENCE, phonemize, split
from p2pvoice.sovits.text.sentences import LONGEST_PIECE, LONGEST_TEXT, METHODS
from p2pvoice.sovits.text.spans import spans as cut_spans

from .extras import IMPORTED, needs

# Text that reaches the rules: digits, units, marks, both scripts, and now and then any character at all.
_PIECES = st.one_of(
    st.text(max_size=8),
    st.text("0123456789.,:/-~%+=×÷²³°C年月日点度kgm￥^$£ ", max_size=8),
    st.text("一不儿了的个第嗯呣看试好想老行得们子上下里〇㗎佢哋嘅唔臺灣", max_size=8),
    st.text("東京は々ゝヽーっンヴｱﾞ・「」％１２３何本億円に行くﾊﾟ", max_size=8),
    st.text("안녕값이닭을읽고ㅋㅠㄳ뷁12월번째개시,.%-", max_size=8),
    st.sampled_from(["Dr. ", "NASA", "i.e.", "it's", "1st ", "’", "\ud800", "\0", "x-y", "ﬁ", "Å", "……"]),
)
_TEXTS = st.lists(_PIECES, max_size=8).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_TEXTS, st.sampled_from(LANGUAGES), st.sampled_from(["v1", "v2", "v2Pro"]))
@example("儿儿儿", "zh", "v2")
@example("𠮷㗎〇", "yue", "v2")
def test_any_text_gives_known_ids_or_one_of_our_errors(text: str, lang: str, version: str) -> None:
    try:
        phones = phonemize(text, lang, version)
    except P2PVoiceError:
        return
    table = symbols.SYMBOLS[symbols.table_for(version)]
    assert [table[row] for row in phones.ids] == [
        name if name in table else symbols.UNKNOWN for name in phones.names
    ]
    assert sum(span.length for span in phones.parts) == len(phones.ids)
    for span in phones.parts:
        if span.word2ph is not None:
            assert len(span.word2ph) == len(span.norm_text)
            assert sum(span.word2ph) == span.length


@settings(max_examples=150, deadline=None)
@given(_TEXTS, st.sampled_from(sorted(METHODS)), st.sampled_from(["zh", "en"]))
def test_split_keeps_every_word_in_order(text: str, method: str, lang: str) -> None:
    try:
        pieces = split(text, method, lang)
    except UsageError:
        return
    assert all(0 < len(piece) <= LONGEST_PIECE for piece in pieces)
    words = [c for c in text if c.isalnum()]
    assert [c for piece in pieces for c in piece if c.isalnum()] == words


def test_sentence_limit() -> None:
    assert len(phonemize("好" * LONGEST_SENTENCE, "zh").ids) == 2 * LONGEST_SENTENCE
    with pytest.raises(UsageError, match=str(LONGEST_SENTENCE)):
        phonemize("好" * (LONGEST_SENTENCE + 1), "zh")


def test_text_limit() -> None:
    assert len(split("好" * LONGEST_TEXT, "cut1", "zh")) == -(-(LONGEST_TEXT + 1) // LONGEST_PIECE)
    with pytest.raises(UsageError, match=str(LONGEST_TEXT)):
        split("好" * (LONGEST_TEXT + 1), "cut1", "zh")


def test_a_long_piece_is_cut_at_the_limit() -> None:
    at_limit = "好" * (LONGEST_PIECE - 1) + "。"
    assert split(at_limit, "cut0", "zh") == [at_limit]
    over = "好" * LONGEST_PIECE + "。"
    assert [len(piece) for piece in split(over, "cut0", "zh")] == [LONGEST_PIECE, 1]


@pytest.mark.parametrize("lang", ["fr", "all_en", "auto_ja", "", "ZH", "JA", "x" * 1000])
def test_another_language_is_refused_with_a_hint(lang: str) -> None:
    with pytest.raises(UnsupportedLanguageError) as caught:
        phonemize("你好", lang)
    assert "yue" in caught.value.hint
    assert len(caught.value.message) < 100


@pytest.mark.parametrize(
    ("text", "lang", "language", "extra"),
    [
        ("こんにちは", "auto", "Japanese", "ja"),
        ("你好，カタカナ", "auto_yue", "Japanese", "ja"),
        ("東京", "all_ja", "Japanese", "ja"),
        ("안녕하세요", "auto", "Korean", "ko"),
    ],
)
def test_without_its_extra_a_language_names_the_command(
    text: str, lang: str, language: str, extra: str, tmp_path: Path
) -> None:
    """In a fresh interpreter that finds nothing of use under the packages' names."""
    for name in IMPORTED.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    program = (
        "import sys\n"
        "from p2pvoice.protocol.errors import UnsupportedLanguageError\n"
        "from p2pvoice.sovits.text import phonemize\n"
        "try:\n"
        "    phonemize(sys.argv[1], sys.argv[2])\n"
        "except UnsupportedLanguageError as error:\n"
        "    print(error.message, error.hint, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, text, lang],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    message, hint = done.stdout.splitlines()
    assert message.startswith(language)
    assert hint == f"pip install 'p2pvoice[{extra}]'"


@pytest.mark.parametrize(
    ("text", "lang", "version", "missing"),
    [
        ("안녕", "ko", "v1", "version 1 voice has no Korean"),
        ("hello 안녕", "auto", "v1", "version 1 voice has no Korean"),
        ("hello", "all_ko", "v1", "version 1 voice has no Korean"),
        ("hello", "auto_yue", "v1", "version 1 voice has no Cantonese"),
        ("こんにちは", "auto", "lite", "lite voice has no Japanese"),
        ("東京", "ja", "lite", "lite voice has no Japanese"),
        ("안녕", "auto", "lite", "lite voice has no Korean"),
    ],
)
def test_versions_that_lack_a_language(text: str, lang: str, version: str, missing: str) -> None:
    """Told before a dictionary is looked for, so with and without the extras."""
    with pytest.raises(UnsupportedLanguageError, match=missing) as caught:
        phonemize(text, lang, version)
    assert caught.value.hint.startswith("languages: ")
    assert missing.split()[-1] != "Cantonese" or "yue" not in caught.value.hint


@pytest.mark.parametrize(("text", "lang"), [("", "zh"), ("…！", "yue"), ("Привет", "en"), ("\ud800", "zh")])
def test_nothing_to_say(text: str, lang: str) -> None:
    with pytest.raises(SynthesisError):
        phonemize(text, lang)


def test_version_1_has_no_cantonese() -> None:
    with pytest.raises(UnsupportedLanguageError):
        phonemize("佢哋", "yue", "v1")
    assert [span.language for span in phonemize("佢哋好忙呀", "auto", "v1").parts] == ["zh"]


def test_unknown_method() -> None:
    with pytest.raises(UsageError, match="cut9"):
        split("你好", "cut9", "zh")


@pytest.mark.parametrize(
    ("text", "lang", "spans"),
    [
        (
            "佢哋today去shopping。",
            "auto",
            [("yue", "佢哋"), ("en", "today"), ("yue", "去"), ("en", "shopping。")],
        ),
        (
            "他们today去shopping。",
            "auto",
            [("zh", "他们"), ("en", "today"), ("zh", "去"), ("en", "shopping。")],
        ),
        ("iPhone 15 Pro 100元", "zh", [("en", "iPhone 15 Pro "), ("zh", "100元")]),
        ("第3集 OK", "all_yue", [("yue", "第3集 "), ("en", "OK")]),
        ("你好 hello world", "en", [("en", "你好 hello world")]),
        ("12345678", "auto_yue", [("yue", "12345678")]),
        # Han characters beside kana are Japanese, those between marks are not.
        ("3月3日に会う。三月三日。", "auto", [("ja", "3月3日に会う。"), ("zh", "三月三日。")]),
        ("ラーメン屋、你好", "auto", [("ja", "ラーメン屋、"), ("zh", "你好")]),
        ("お茶、飲茶", "auto_yue", [("ja", "お茶、"), ("yue", "飲茶")]),
        # Unless they are written so in Chinese alone; a single one at the end tells too little.
        ("他们说こんにちは", "auto", [("zh", "他们说"), ("ja", "こんにちは")]),
        ("まいご这个词", "auto", [("ja", "まいご"), ("zh", "这个词")]),
        ("まいご吗", "auto", [("ja", "まいご吗")]),
        ("佢哋食すし", "auto", [("yue", "佢哋食"), ("ja", "すし")]),
        # Digits go to what they touch.
        ("안녕 2024年", "auto", [("ko", "안녕 "), ("zh", "2024年")]),
        ("시즌2第三集", "auto", [("ko", "시즌2"), ("zh", "第三集")]),
        ("iPhone 15を買う", "auto", [("en", "iPhone "), ("ja", "15を買う")]),
        ("iPhone 15을 샀다", "all_ko", [("en", "iPhone "), ("ko", "15을 샀다")]),
        # A named language has the other scripts, too.
        ("大韓民國 만세", "ko", [("ko", "大韓民國 만세")]),
        ("你好こんにちは", "all_ja", [("ja", "你好こんにちは")]),
        ("こんにちは你好", "zh", [("zh", "こんにちは你好")]),
        ("12", "ko", [("ko", "12")]),
    ],
)
def test_spans(text: str, lang: str, spans: list[tuple[str, str]]) -> None:
    found = cut_spans(text, lang)
    assert [(span.language, span.text) for span in found] == spans
    assert "".join(span.text for span in found) == text


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("I read a book", "AY1 R IY1 D AH0 B UH1 K"),
        ("I have read it", "AY1 HH AE1 V R EH1 D IH1 T"),
        ("he is close to what is used", "HH IY1 IH1 Z K L OW1 S T UW1 W AH1 T IH1 Z Y UW1 Z D"),
        ("to record the record", "T UW1 R IH0 K AO1 R D DH AH0 R EH1 K ER0 D"),
        ("it isn’t", "IH1 T IH1 Z AH0 N T"),
        ("about -5 or 60km/h", "AH0 B AW1 T N EH1 G AH0 T IH0 V F AY1 V AO1 R S IH1 K S T IY0 "
         "K AH0 L AA1 M AH2 T ER0 Z P ER1 AW1 ER0"),
    ],
)  # fmt: skip
def test_english_beyond_the_golden_data(text: str, phones: str) -> None:
    assert " ".join(phonemize(text, "en").names) == phones


def test_cantonese_characters_outside_the_main_block_are_spoken() -> None:
    assert phonemize("係㗎係㗎", "yue").names == ["Yh", "Yai6", "Yg", "Yaa3", "Yh", "Yai6", "Yg", "Yaa3"]


def test_round_zero_is_spoken_in_years() -> None:
    assert phonemize("二〇二四年", "zh").ids == phonemize("二零二四年", "zh").ids


def test_threads_share_the_dictionaries() -> None:
    """A fresh interpreter, since the dictionaries of this one are loaded already."""
    program = (
        "import threading\n"
        "from p2pvoice.sovits.text import phonemize\n"
        "made = []\n"
        "def speak(lang):\n"
        "    made.append((lang, phonemize('今天天气很好。Hello.', lang).ids))\n"
        "threads = [threading.Thread(target=speak, args=(lang,)) for lang in ('zh', 'yue') * 4]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(len(made), len({str(m) for m in made}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["8", "2"]


def test_import_loads_no_dictionary() -> None:
    program = (
        "import sys, p2pvoice.sovits.text, p2pvoice.sovits.text.mandarin, p2pvoice.sovits.text.cantonese\n"
        "import p2pvoice.sovits.text.japanese, p2pvoice.sovits.text.korean\n"
        "heavy = 'torch jieba pypinyin ToJyutping wordsegment pyopenjtalk mecab'\n"
        "print([m for m in heavy.split() if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "lang"),
    [("今天天气很好", "zh"), ("あ・い、ー。今日は３％。々", "ja"), ("값이 3개, ㅋㅋ 漢", "ko")],
)
def test_reading_writes_and_prints_nothing(text: str, lang: str, tmp_path: Path) -> None:
    """No cache, which another user of the temporary folder could have written; no warning of a C library."""
    needs(lang)
    program = "import sys; from p2pvoice.sovits.text import phonemize; phonemize(sys.argv[1], sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", program, text, lang],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lang", ["ja", "ko"])
@pytest.mark.parametrize(
    "unit",
    [
        *("9", "1,", "0.", "９", "010-1234-5678 ", "ア", "ｱ", "ﾊﾟ", "ー", "ヴ", "ゃ", "々", "・", "東", "億"),
        *("가", "값", "뷁", "ㅋ", "ㄳ", "1개", "십육", "😀", "\ud800", "\0", "\u0301", "!", "漢カ한"),
    ],
)
def test_the_longest_odd_sentence_ends_soon(unit: str, lang: str) -> None:
    needs(lang)
    began = time.monotonic()
    try:
        phones = phonemize((unit * LONGEST_SENTENCE)[:LONGEST_SENTENCE], lang)
    except SynthesisError:
        phones = None
    assert time.monotonic() - began < 20.0  # seconds; it takes under one on an idle core
    assert phones is None or len(phones.ids) <= 20 * LONGEST_SENTENCE
