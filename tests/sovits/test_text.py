"""What the text front ends promise beyond equality: limits, errors, any Unicode, threads, start cost."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from p2pvoice.protocol.errors import P2PVoiceError, SynthesisError, UnsupportedLanguageError, UsageError
from p2pvoice.sovits import symbols
from p2pvoice.sovits.text import LANGUAGES, LONGEST_SENTENCE, phonemize, split
from p2pvoice.sovits.text.sentences import LONGEST_PIECE, LONGEST_TEXT, METHODS

# Text that reaches the rules: digits, units, marks, both scripts, and now and then any character at all.
_PIECES = st.one_of(
    st.text(max_size=8),
    st.text("0123456789.,:/-~%+=×÷²³°C年月日点度kgm￥^$£ ", max_size=8),
    st.text("一不儿了的个第嗯呣看试好想老行得们子上下里〇㗎佢哋嘅唔臺灣", max_size=8),
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


@pytest.mark.parametrize("lang", ["ja", "ko", "all_ja", "", "ZH", "x" * 1000])
def test_another_language_is_refused_with_a_hint(lang: str) -> None:
    with pytest.raises(UnsupportedLanguageError) as caught:
        phonemize("你好", lang)
    assert "yue" in caught.value.hint
    assert len(caught.value.message) < 100


@pytest.mark.parametrize("text", ["こんにちは", "你好，カタカナ", "안녕하세요"])
def test_japanese_and_korean_are_not_read_as_something_else(text: str) -> None:
    with pytest.raises(UnsupportedLanguageError, match="not supported yet"):
        phonemize(text, "auto")


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
    ],
)
def test_spans(text: str, lang: str, spans: list[tuple[str, str]]) -> None:
    assert [(span.language, span.text) for span in phonemize(text, lang).parts] == spans


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
        "print([m for m in 'torch jieba pypinyin ToJyutping wordsegment'.split() if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_cache_file_is_read_or_written(tmp_path: Path) -> None:
    """The segmenter must not trust a cache in the shared temporary folder."""
    program = "from p2pvoice.sovits.text import phonemize; phonemize('今天天气很好', 'zh')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
