"""The text front ends against the golden data: every case of all five languages, id by id.

The cases are read as the published front end reads them, its slips included; which of them the default reads
otherwise is listed, and nothing else may. The data is that of $P2PVOICE_GOLDEN, else of tests/golden. Cases
in Japanese and Korean need the extras.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits import symbols
from p2pvoice.sovits.text import cantonese, english, japanese, korean, mandarin, phonemize, split
from p2pvoice.sovits.text.english_tokens import tag_as_nouns
from p2pvoice.sovits.text.spans import Reading

from . import extras, numbers

# Parameters are needed before fixtures exist, so the folder is found here by the rule of tests/conftest.py.
FOLDER = Path(os.environ.get("P2PVOICE_GOLDEN") or Path(__file__).parent.parent / "golden")
CASES = json.loads((FOLDER / "text_frontend.json").read_text(encoding="utf-8"))
DATE_ALONE = "2024年"
"""The mixed case that differs on purpose: a date in Han characters alone is Chinese here (specs/text.md)."""


def _cases(group: str, wanted: Callable[[dict[str, Any]], bool] = lambda case: True) -> list[Any]:
    chosen = [(number, case) for number, case in enumerate(CASES[group]) if wanted(case)]
    assert chosen, f"no {group} cases in {FOLDER}"
    return [
        pytest.param(
            case,
            id=f"{number}-{case['lang']}-{case.get('version', '')}{case.get('mode', case.get('method', ''))}",
        )
        for number, case in chosen
    ]


def _readings(case: dict[str, Any]) -> Callable[[str], Sequence[str]] | None:
    given = case.get("char_pinyin_given")
    # A clause that is normalised otherwise has no readings there.
    return given.get if given else None


def _read(case: dict[str, Any], *, upstream: bool) -> Reading:
    extras.needs(case["lang"])
    if case["lang"] == "ja":
        return japanese.read(case["input"], case["version"])
    if case["lang"] == "ko":
        return korean.read(case["input"])
    if case["lang"] == "zh":
        return mandarin.read(case["input"], case["version"], _readings(case), upstream=upstream)
    if case["lang"] == "yue":
        return cantonese.read(case["input"], upstream=upstream)
    return english.read(case["input"], tag_as_nouns, upstream=upstream)


@pytest.mark.parametrize("case", _cases("clean"))
def test_one_language(case: dict[str, Any]) -> None:
    reading = _read(case, upstream=True)
    assert reading.norm_text == case["norm_text"]
    assert reading.phones == case["phones"]
    assert reading.word2ph == case["word2ph"]
    assert symbols.to_ids(reading.phones, case["version"]) == case["ids"]


@pytest.mark.parametrize("case", _cases("mixed", lambda case: case["input"] != DATE_ALONE))
def test_mixed_text(case: dict[str, Any]) -> None:
    extras.needs(*(segment[0] for segment in case["segments"]))
    phones = phonemize(case["input"], case["lang"], upstream=True)
    assert phones.ids == case["ids"]
    assert phones.norm_text == case["norm_text"]
    spans = [[span.language, span.text, span.norm_text, span.length] for span in phones.parts]
    # A sentence that was too short stands twice in the golden list: first as given, then with its full stop.
    assert spans == case["segments"][-len(spans) :]


def test_a_date_alone_is_chinese_unless_it_is_said_to_be_japanese() -> None:
    (case,) = (case for case in CASES["mixed"] if case["input"] == DATE_ALONE)
    assert [part.language for part in phonemize(DATE_ALONE, case["lang"]).parts] == ["zh"]
    extras.needs("ja")
    assert phonemize(DATE_ALONE, "ja").ids == case["ids"]


@pytest.mark.parametrize("case", _cases("split"))
def test_split(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(UsageError):
            split(case["input"], case["method"], case["lang"], upstream=True)
    else:
        assert split(case["input"], case["method"], case["lang"], upstream=True) == case["output"]


READ_RIGHT = {
    "温度是-3°C，湿度60%。": "温度是零下三摄氏度,湿度百分之六十.",
    "长江长达6300公里，是中国最长的河。": "长江长达六千三百公里,是中国最长的河.",
    "I bought 1,234 apples in 2024.": (
        "I bought one thousand, two hundred thirty-four apples in twenty twenty-four."
    ),
    "我昨天在Starbucks买了一杯latte，很好喝。": "我昨天在Starbucks买了一杯latte,很好喝.",
}
"""Cases that the default reads otherwise, as specs/text.md lists them, and their right reading."""


def test_the_default_differs_in_these_cases_alone() -> None:
    told: dict[str, str] = {}
    for case in CASES["clean"]:
        if case["lang"] in ("zh", "yue", "en"):
            reading = _read(case, upstream=False)
            if (reading.norm_text, reading.phones) != (case["norm_text"], case["phones"]):
                told[case["input"]] = reading.norm_text
    for case in CASES["mixed"]:
        if not {"ja", "ko"} & {segment[0] for segment in case["segments"]}:
            phones = phonemize(case["input"], case["lang"])
            if (phones.norm_text, phones.ids) != (case["norm_text"], case["ids"]):
                told[case["input"]] = phones.norm_text
    for case in CASES["split"]:
        if "error" not in case and split(case["input"], case["method"], case["lang"]) != case["output"]:
            told[case["input"]] = case["method"]
    # Golden data that is no part of the repository may have more cases.
    known = {case["input"] for group in CASES.values() for case in group}
    assert told == {text: right for text, right in READ_RIGHT.items() if text in known}


def test_symbol_tables() -> None:
    expected = json.loads(numbers.beside("symbols.json").read_text(encoding="utf-8"))
    for version, table in expected.items():
        assert list(symbols.SYMBOLS[version]) == table
