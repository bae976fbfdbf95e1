"""The lines of a dictionary: form, bounds at n and n + 1, and edits that leave the rest as it is."""

import unicodedata

import pytest

from p2pvoice.protocol import pronunciation as p
from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.pronunciation import Entry, entry

TEXT = "# mine\n\nzh\t重庆\tchong2 qing4\nen\tQwen\tK W EH1 N\nzh 行 hang2\r\n"


def test_a_file_is_read_line_by_line() -> None:
    assert p.parse(TEXT) == (
        Entry("zh", "重庆", "chong2 qing4"),
        Entry("en", "Qwen", "K W EH1 N"),
        Entry("zh", "行", "hang2"),
    )
    assert p.parse("") == ()
    assert p.decode(b"\xef\xbb\xbf" + TEXT.encode()) == p.parse(TEXT)


def test_what_is_typed_is_composed_and_trimmed() -> None:
    assert entry(" en ", unicodedata.normalize("NFD", "Café "), "K  AH0 F\tEY1") == Entry(
        "en", "Café", "K AH0 F EY1"
    )


def test_the_later_line_of_a_word_counts() -> None:
    assert p.parse("en\tqwen\tA\nzh\t行\tx\nen\tQWEN\tB\n") == (
        Entry("zh", "行", "x"),
        Entry("en", "QWEN", "B"),
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("zh\t重庆", "line 2 .* has 2 of 3 parts"),
        ("zh\ta\tb\tc", "4 of 3"),
        ("xx\t重庆\ta", "line 2 .*'xx' is no language"),
        ("zh\t\ta", "1 to 64 characters"),
        ("zh\t重\u202e庆\ta", "cannot be shown"),
        ("zh\t重\x07庆\ta", "cannot be shown"),
    ],
)
def test_a_line_that_does_not_fit_is_named(line: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        p.parse("# first\n" + line + "\n")


def test_limits() -> None:
    assert len(entry("zh", "行" * p.WORD_LENGTH, "a").word) == p.WORD_LENGTH
    assert len(entry("zh", "行", "a" * p.READING_LENGTH).reading) == p.READING_LENGTH
    for word, reading in (("行" * (p.WORD_LENGTH + 1), "a"), ("行", "a" * (p.READING_LENGTH + 1)), ("", "a")):
        with pytest.raises(UsageError):
            entry("zh", word, reading)
    lines = [f"en\tw{number}\tA" for number in range(p.VOICE_ENTRIES + 1)]
    assert len(p.parse("\n".join(lines[:-1]), entries=p.VOICE_ENTRIES)) == p.VOICE_ENTRIES
    with pytest.raises(UsageError, match=f"at most {p.VOICE_ENTRIES} entries"):
        p.parse("\n".join(lines), entries=p.VOICE_ENTRIES)
    # The same word again and again is counted, too: lines cost, not words.
    with pytest.raises(UsageError):
        p.parse("en\tw\tA\n" * (p.VOICE_ENTRIES + 1), entries=p.VOICE_ENTRIES)
    at_limit = b"#" * p.VOICE_BYTES
    assert p.decode(at_limit, size=p.VOICE_BYTES) == ()
    with pytest.raises(UsageError, match=f"at most {p.VOICE_BYTES} bytes"):
        p.decode(at_limit + b"#", size=p.VOICE_BYTES)
    with pytest.raises(UsageError, match="UTF-8"):
        p.decode(b"zh\t\xff\ta")


def test_edits_keep_what_they_do_not_mean() -> None:
    changed = p.put(TEXT, [entry("en", "qwen", "K"), entry("yue", "行", "hong4")])
    assert changed == "# mine\n\nzh\t重庆\tchong2 qing4\nen\tqwen\tK\nzh 行 hang2\r\nyue\t行\thong4\n"
    assert p.put("en\ta\tA\nbroken\nen\tA\tB\n", [entry("en", "a", "C")]) == "en\ta\tC\nbroken\n"
    assert p.put("", [entry("en", "a", "C")]) == "en\ta\tC\n"
    assert p.remove(changed, "yue", "行") == changed.removesuffix("yue\t行\thong4\n")
    assert p.remove("en\ta\tA\nen\tA\tB\n#\n", "en", "A") == "#\n"
    with pytest.raises(NotFoundError):
        p.remove(TEXT, "yue", "重庆")


def test_the_same_entries_are_the_same_file() -> None:
    entries = p.parse(TEXT)
    assert (
        p.encode(entries)
        == p.encode(reversed(entries))
        == "en\tQwen\tK W EH1 N\nzh\t行\thang2\nzh\t重庆\tchong2 qing4\n"
    )
    assert p.encode(()) == ""
