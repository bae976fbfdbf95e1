"""Tables: CSV that no spreadsheet computes, Parquet where it can be, sentences out of a file."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.cli.commands.evaluate import SENTENCES_BYTES, read_sentences
from p2pvoice.cli.table import FORMULA, check_target, csv_text, write_table
from p2pvoice.protocol.errors import UsageError

COLUMNS = ["name", "loudness_lufs", "seeded", "note"]


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("start", FORMULA)
def test_a_name_becomes_no_formula(start: str) -> None:
    hostile = f'{start}HYPERLINK("http://example.org","a")|cmd'
    (row,) = read(csv_text(COLUMNS, [{"name": hostile, "loudness_lufs": -23.5}]))
    assert row["name"] == "'" + hostile
    assert not row["name"].startswith(FORMULA)
    assert row["loudness_lufs"] == "-23.5"


def test_what_is_odd_in_a_cell_comes_back() -> None:
    rows: list[dict[str, Any]] = [
        {"name": 'a "quoted", name', "loudness_lufs": 0, "seeded": True, "note": "a; b"},
        {"name": "粵語長者聲庫", "loudness_lufs": None, "seeded": False, "note": "a-b=c", "other": 1},
    ]
    text = csv_text(COLUMNS, rows)
    assert text.splitlines()[0] == "name,loudness_lufs,seeded,note"
    first, second = read(text)
    assert first == {"name": 'a "quoted", name', "loudness_lufs": "0", "seeded": "true", "note": "a; b"}
    assert second == {"name": "粵語長者聲庫", "loudness_lufs": "", "seeded": "false", "note": "a-b=c"}


def test_parquet_without_its_packages_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_target(tmp_path / "out.csv")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pandas") as caught:
        check_target(tmp_path / "out.PARQUET")
    assert "pip install 'p2pvoice[tables]'" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_parquet_keeps_types_and_texts(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    rows = [{"name": "=1+1", "loudness_lufs": -23.5, "seeded": True}, {"name": "b", "note": "n"}]
    write_table(tmp_path / "out.parquet", COLUMNS, rows)
    frame = pandas.read_parquet(tmp_path / "out.parquet")
    assert list(frame.columns) == COLUMNS
    assert list(frame["name"]) == ["=1+1", "b"]
    assert frame["loudness_lufs"].tolist()[0] == -23.5
    assert pandas.isna(frame["loudness_lufs"][1])
    assert frame["note"][1] == "n"


def test_sentences_are_read_by_language(tmp_path: Path) -> None:
    path = tmp_path / "said.txt"
    path.write_text("\ufeff# ours\r\nyue|今日天氣好好。\n\n en | A | B \nyue|聽日見。\n", encoding="utf-8")
    assert read_sentences(path) == {"yue": ["今日天氣好好。", "聽日見。"], "en": ["A | B"]}


@pytest.mark.parametrize(
    ("data", "about"),
    [
        (b"no language\n", "line 1"),
        (b"en|\n", "line 1"),
        (b"# nothing\n", "no sentence"),
        (b"\xff\xfe\n", "UTF-8"),
        (b"#" * (SENTENCES_BYTES + 1), "larger"),
    ],
)
def test_a_file_that_is_no_list_of_sentences_is_refused(tmp_path: Path, data: bytes, about: str) -> None:
    path = tmp_path / "said.txt"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=about):
        read_sentences(path)


def test_the_largest_file_of_sentences_is_read(tmp_path: Path) -> None:
    path = tmp_path / "said.txt"
    path.write_bytes(b"en|a\n" + b"#" * (SENTENCES_BYTES - 5))
    assert read_sentences(path) == {"en": ["a"]}
