"""Transcripts: the published list format, plain text, and which line belongs to which clip."""

from pathlib import Path

import pytest

from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.sovits.training import lists


def test_a_list_is_read_with_every_name_of_a_language() -> None:
    text = (
        "/data/out/a.wav|kim|ZH|你好。\n"
        "\n"
        "C:\\voices\\b.wav|kim|Yue|今日天氣好好\n"
        "c.wav|kim|En|  Two   words. \r\n"
        "d.wav|kim|all_yue|\n"
    )
    found = lists.parse(text)
    assert [(e.line, e.name, e.lang, e.text) for e in found] == [
        (1, "a.wav", "zh", "你好。"),
        (3, "b.wav", "yue", "今日天氣好好"),
        (4, "c.wav", "en", "Two words."),
        (5, "d.wav", "yue", ""),
    ]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("a.wav|kim|en", "line 2 of the transcripts has 3 fields"),
        ("a.wav|kim|en|one|two", "line 2 of the transcripts has 5 fields"),
        ("|kim|en|text", "line 2 of the transcripts names no clip"),
        ("dir/|kim|en|text", "line 2 of the transcripts names no clip"),
        ("a.wav|kim|fr|text", "line 2 of the transcripts has the unknown language 'fr'"),
        ("a.wav|kim|JP|text", "line 2 of the transcripts is in ja"),
        ("a.wav|kim|en|bell\x07", "line 2 of the transcripts has control characters"),
        ("x/first.wav|kim|en|again", "line 2 of the transcripts names 'first.wav' again, as line 1"),
    ],
)
def test_an_error_names_its_line(line: str, named: str) -> None:
    with pytest.raises(UsageError, match="line 2") as caught:
        lists.parse(f"first.wav|kim|en|Fine.\n{line}\n")
    assert caught.value.message.startswith(named)
    assert caught.value.hint


def test_limits_hold_at_n_and_not_beyond(tmp_path: Path) -> None:
    row = "a{}.wav|k|en|x"
    full = "\n".join(row.format(i) for i in range(lists.LINES_LIMIT))
    assert len(lists.parse(full)) == lists.LINES_LIMIT
    with pytest.raises(UsageError, match="lines"):
        lists.parse(full + "\n" + row.format("z"))
    assert lists.parse("a.wav|k|en|" + "x" * lists.TEXT_LIMIT)[0].text
    with pytest.raises(UsageError, match="2001 characters"):
        lists.parse("a.wav|k|en|" + "x" * (lists.TEXT_LIMIT + 1))
    path = tmp_path / "t.list"
    path.write_bytes(b"x" * lists.LIST_BYTES_LIMIT)
    assert lists.read(path)
    path.write_bytes(b"x" * (lists.LIST_BYTES_LIMIT + 1))
    with pytest.raises(UsageError, match="8 MB"):
        lists.read(path)


def test_a_file_that_is_no_utf8_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "gbk.list"
    path.write_bytes(b"a.wav|k|en|Hello.\nb.wav|k|zh|" + "你好".encode("gbk"))
    with pytest.raises(UsageError, match=r"line 2 of the transcripts is not UTF-8"):
        lists.read(path)
    path.write_bytes(b"\xef\xbb\xbf" + "a.wav|k|zh|你好".encode())
    assert lists.parse(lists.read(path))[0].name == "a.wav"
    with pytest.raises(NotFoundError):
        lists.read(tmp_path / "none.list")


def test_entries_find_their_clips_by_name_and_never_by_path() -> None:
    entries = lists.parse("/etc/passwd|k|en|one\n../up/B.WAV|k|en|two\nc.mp3|k|en|three\nd.wav|k|en|four")
    found = lists.match(entries, ["passwd", "b.flac", "/elsewhere/c.mp3", "e.wav"])
    assert [e and e.text for e in found.entries] == ["one", "two", "three", None]
    assert [e.text for e in found.unused] == ["four"]


def test_an_ending_is_overlooked_only_where_one_entry_is_meant() -> None:
    entries = lists.parse("a.wav|k|en|one\na.flac|k|en|two")
    assert [e and e.text for e in lists.match(entries, ["a.flac", "a.ogg"]).entries] == ["two", "one"]
    assert [e and e.text for e in lists.match(entries, ["a.ogg", "a.flac", "a.wav"]).entries] == [
        None,
        "two",
        "one",
    ]


def test_a_list_of_other_clips_is_an_error() -> None:
    with pytest.raises(UsageError, match="names none of the clips"):
        lists.match(lists.parse("a.wav|k|en|one"), ["b.wav"])


def test_plain_text_belongs_to_the_only_clip(tmp_path: Path) -> None:
    path = tmp_path / "said.txt"
    path.write_text("Two lines\nof one text.\n", "utf-8")
    found = lists.transcripts(path, ["x.wav"], "en")
    assert [(e.lang, e.text) for e in found.entries if e] == [("en", "Two lines of one text.")]
    with pytest.raises(UsageError, match="which of 2 clips"):
        lists.transcripts(path, ["x.wav", "y.wav"], "en")
    path.write_text("x.wav|k|en|One.\ny.wav|k|en\n", "utf-8")
    with pytest.raises(UsageError, match="line 2"):
        lists.transcripts(path, ["x.wav", "y.wav"], "en")
