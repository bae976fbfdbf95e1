"""`pronounce` at the command line, with a real daemon: what it prints, asks for and refuses."""

from pathlib import Path

import pytest

from p2pvoice.cli.commands.pronounce import language_of
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import UsageError

from .conftest import Command


@pytest.mark.parametrize("word", ["Qwen", "GPT-4", "Café", "don't"])
def test_latin_letters_are_english(word: str) -> None:
    assert language_of(word) == "en"


@pytest.mark.parametrize("word", ["重庆", "T恤", "42", "とう"])
def test_other_words_need_their_language(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        language_of(word)
    assert "--lang" in caught.value.hint


def test_a_dictionary_from_the_command_line(p2pvoice: Command, running: Client, home: Path) -> None:
    added = p2pvoice("pronounce", "add", "重慶", "cung4 hing3", "--lang", "yue")
    assert (added.code, added.out) == (0, "yue  重慶  cung4 hing3\n")
    assert 'pronounce test "重慶" --lang yue' in added.err
    assert p2pvoice("pronounce", "add", "Qwen", "k w eh1 n").out == "en  Qwen  K W EH1 N\n"
    assert p2pvoice("pronounce", "add", "重庆", "chóng qìng", "--lang", "zh", "--json").json["entries"] == 3

    wrong = p2pvoice("pronounce", "add", "杭州", "hnag2 zhou1", "--lang", "zh")
    assert wrong.code == 2
    assert "hint: did you mean hang2" in wrong.err
    assert p2pvoice("pronounce", "add", "杭州", "hang2 zhou1").code == 2
    assert p2pvoice("pronounce", "add", "杭州", "hang2 zhou1", "--lang", "fr").code == 2

    assert [row.split()[:2] for row in p2pvoice("pronounce", "list").out.splitlines()[1:]] == [
        ["yue", "重慶"],
        ["en", "Qwen"],
        ["zh", "重庆"],
    ]
    shown = p2pvoice("pronounce", "test", "重庆的Qwen有1,234个", "--lang", "zh", "--json").json
    words = [(row["text"], row["from"]) for part in shown["parts"] for row in part["words"]]
    assert ("重庆", "user") in words
    assert ("Qwen", "user") in words
    there = p2pvoice("pronounce", "test", "有1,234个", "--lang", "zh", "--upstream-text").out
    assert "有一,二百三十四个" in there
    plain = p2pvoice("pronounce", "test", "重庆", "--lang", "zh", "--plain").out
    assert "重 chong2" in plain
    assert "dictionary" not in plain

    # What was exported is what is imported.
    file = home / "words.txt"
    assert p2pvoice("pronounce", "export", "-o", str(file)).out == f"{file}\n"
    assert file.read_text() == p2pvoice("pronounce", "export").out
    assert p2pvoice("pronounce", "rm", "qwen").out == "en  Qwen  K W EH1 N\n"
    assert p2pvoice("pronounce", "rm", "Qwen").code == 4
    assert p2pvoice("pronounce", "add", "重慶", "zhong4 qing4", "--lang", "zh").code == 0
    both = p2pvoice("pronounce", "rm", "重慶")
    assert both.code == 2
    assert "readings in yue and zh" in both.err
    assert p2pvoice("pronounce", "rm", "重慶", "--lang", "zh").code == 0
    again = p2pvoice("pronounce", "import", "-", stdin=file.read_bytes())
    assert again.code == 0
    assert p2pvoice("pronounce", "export").out.splitlines()[:1] == file.read_text().splitlines()[:1]
    assert p2pvoice("pronounce", "import", "-", stdin=b"zh\t\xff\n").code == 2
    assert p2pvoice("pronounce", "import", "-", stdin="zh\t重庆\n".encode()).code == 2
    # An import that fails half-way keeps nothing of it.
    before = p2pvoice("pronounce", "export").out
    failed = p2pvoice("pronounce", "import", "-", stdin="en\tnew\tN UW1\nzh\t杭州\tx\n".encode())
    assert (failed.code, p2pvoice("pronounce", "export").out) == (2, before)


def test_without_a_daemon_it_says_so(p2pvoice: Command) -> None:
    assert p2pvoice("pronounce", "list").code == 3
