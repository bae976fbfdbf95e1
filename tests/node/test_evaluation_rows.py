"""Rows of an evaluation: every column in its place, no guess about a person, ties told the same each time."""

import pytest

from p2pvoice.node import evaluation_rows as rows
from p2pvoice.node.evaluating import SENTENCE_LENGTH, SENTENCES_LIMIT, Wish
from p2pvoice.protocol.errors import UsageError


def figure(field: str, value: str, method: str = "m") -> dict[str, object]:
    return {"field": field, "value": value, "unit": "", "method": method, "confidence": 60}


def empty() -> rows.Row:
    return dict.fromkeys(rows.COLUMNS)


def test_columns_are_each_there_once() -> None:
    assert len(set(rows.COLUMNS)) == len(rows.COLUMNS)
    assert set(rows.DESCRIBED.values()) <= set(rows.COLUMNS)


def test_a_description_brings_figures_and_no_guesses() -> None:
    row = empty()
    rows.put_described(
        row,
        [
            figure("pitch_median", "140.2", "tracker"),
            figure("loudness", "-21.66", "BS.1770"),
            figure("pitch_low", "120", "tracker"),
            figure("gender", "female", "perceived, to be confirmed"),
            figure("language", "yue"),
        ],
    )
    assert (row["pitch_median_hz"], row["loudness_lufs"]) == (140.2, -21.66)
    assert row["methods"] == "pitch_median_hz 60 %, pitch_low_hz 60 %: tracker; loudness_lufs 60 %: BS.1770"
    assert "female" not in str(row)
    assert list(row) == list(rows.COLUMNS)


def test_errors_stand_in_the_column_of_their_unit() -> None:
    row = empty()
    rows.put_heard(row, {"kind": "cer", "errors": 3, "units": 40, "knows": False}, "small", "bafkrei")
    assert (row["cer_percent"], row["wer_percent"], row["asr"]) == (7.5, None, "small")
    assert "a hint, no more" in row["methods"]


def test_of_equally_near_voices_the_same_one_is_named() -> None:
    forth, back = empty(), empty()
    rows.put_compared(forth, {"a": 0.5, "b": 0.9, "c": 0.9})
    rows.put_compared(back, {"c": 0.9, "b": 0.9, "a": 0.5})
    assert forth == back
    assert (forth["similarity_nearest_release"], forth["similarity_voices"]) == ("c", 3)
    assert forth["similarity_mean_cosine"] == pytest.approx(0.7667)


def test_sentences_end_at_their_limits() -> None:
    most = {"yue": ["好" * SENTENCE_LENGTH] * SENTENCES_LIMIT}
    assert Wish(sentences=most).spoken == Wish(sentences=dict(most)).spoken != Wish().spoken
    for bad in (
        {},
        {"yue": []},
        {"yue": ["好" * (SENTENCE_LENGTH + 1)]},
        {"yue": ["好"] * (SENTENCES_LIMIT + 1)},
        {"yue": [" "]},
        {"../yue": ["好"]},
        {f"a{chr(97 + number)}": ["a"] for number in range(17)},
    ):
        with pytest.raises(UsageError):
            Wish(sentences=bad)
