"""Dictionaries with real daemons: the user's file as it is edited, and a voice's as it travels."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2pvoice.protocol import pronunciation
from p2pvoice.protocol.errors import (
    BadCheckpointError,
    NotFoundError,
    RefusedError,
    UnsupportedLanguageError,
    UsageError,
)
from p2pvoice.protocol.pronunciation import USER_BYTES, VOICE_BYTES, VOICE_ENTRIES

from .nodes import Daemon, publish, refusal

Make = Callable[[], Daemon]

CITY = {"lang": "yue", "word": "重慶", "reading": "zung6 hing1"}
OTHER = {"lang": "yue", "word": "重慶", "reading": "cung5 hong2"}
ASKED = {"text": "我去重慶。", "lang": "yue", "seed": 1}


@pytest.fixture(scope="module")
def author() -> Iterator[Daemon]:
    """A daemon with the bundled voice as the draft ``storyteller``; each test leaves it as it was."""
    one = Daemon(Path(tempfile.mkdtemp(prefix="p2pv-")))
    try:
        one.start()
        list(one.client.import_bundled("Storyteller"))
        yield one
    finally:
        if one.process is not None:
            one.end()
        shutil.rmtree(one.home, ignore_errors=True)


def speak(daemon: Daemon, **what: Any) -> bytes:
    """Samples of a sentence, without the label in front, which names the moment."""
    return daemon.client.speak({**ASKED, **what}).data[-20_000:]


def read(daemon: Daemon, text: str = "重慶", lang: str = "yue", **more: Any) -> list[tuple[str, str]]:
    parts = daemon.client.read_text(text, lang, **more)["parts"]
    return [(row["reading"], row["from"]) for part in parts for row in part["words"]]


def test_the_users_dictionary_counts_from_the_next_sentence_on(author: Daemon) -> None:
    one, client, draft = author, author.client, "storyteller"
    plain = speak(one, draft=draft)
    assert client.words() == {"voice": "", "editable": True, "entries": []}

    assert client.add_words([CITY]) == {"voice": "", "added": [CITY], "replaced": [], "entries": 1}
    changed = speak(one, draft=draft)
    assert changed != plain
    assert read(one) == [("zung6 hing1", "user")]
    assert read(one, plain=True) == [("cung4", ""), ("hing3", "")]

    # By hand, behind the daemon's back: the next request knows.
    path = one.home / pronunciation.USER_NAME
    assert os.stat(path).st_mode & 0o777 == 0o600
    path.write_text("# by hand\nyue\t重慶\tcung5 hong2\n")
    assert read(one) == [("cung5 hong2", "user")]
    assert speak(one, draft=draft) not in (plain, changed)
    path.write_text("# by hand\nyue\t重慶\n")
    for call in (client.words, lambda: read(one), lambda: speak(one, draft=draft)):
        error = refusal(call)
        assert isinstance(error, UsageError)
        assert "pronunciations.txt in the home: line 2" in error.message
    path.write_text("# by hand\nyue\t重慶\tcung5 hnog2\n")
    assert "重慶" in refusal(lambda: speak(one, draft=draft)).message

    # An edit keeps what it does not mean, and removing all of it gives the speech of before.
    path.write_text("# by hand\nyue\t重慶\tcung5 hong2\nen\tQwen\tK\n")
    assert client.add_words([CITY])["replaced"] == [CITY]
    assert path.read_text() == "# by hand\nyue\t重慶\tzung6 hing1\nen\tQwen\tK\n"
    assert client.remove_word("yue", "重慶") == {"voice": "", "removed": [CITY], "entries": 1}
    assert isinstance(refusal(lambda: client.remove_word("yue", "重慶")), NotFoundError)
    assert speak(one, draft=draft) == plain
    path.unlink()
    assert client.words()["entries"] == []


def test_what_does_not_fit_is_refused_and_nothing_is_kept(author: Daemon) -> None:
    one, client = author, author.client
    wrong = {"lang": "yue", "word": "杭州", "reading": "hong4 zhou1"}
    error = refusal(lambda: client.add_words([CITY, wrong]))
    assert isinstance(error, UsageError)
    assert "did you mean" in error.hint
    for entries in (
        [],
        "重慶",
        None,
        [{"lang": "yue", "word": "重慶"}],
        [{"lang": "fr", "word": "mot", "reading": "M"}],
        ["重慶"],
        [{"lang": "yue", "word": 7, "reading": "a"}],
    ):
        error = refusal(partial(client.json, "POST", "/v1/pronunciations", {"entries": entries}))
        assert isinstance(error, UsageError)
    assert isinstance(refusal(lambda: client.add_words(file="# nothing\n")), UsageError)
    assert isinstance(refusal(lambda: client.read_text("你好", "xx")), UnsupportedLanguageError)
    assert isinstance(refusal(lambda: client.read_text("好" * 2_001, "zh")), UsageError)
    assert isinstance(refusal(lambda: client.words(voice="nobody")), NotFoundError)
    assert isinstance(refusal(lambda: client.add_words([CITY], voice="../drafts")), NotFoundError)
    assert not (one.home / pronunciation.USER_NAME).exists()
    # The file at its limit, and one byte past it.
    path = one.home / pronunciation.USER_NAME
    path.write_bytes(b"#" * USER_BYTES)
    assert client.words()["entries"] == []
    assert "bytes" in refusal(lambda: client.add_words([CITY])).message
    path.write_bytes(b"#" * (USER_BYTES + 1))
    assert "bytes" in refusal(client.words).message
    path.unlink()


def test_a_voices_dictionary_travels_with_it(daemons: Make) -> None:
    a = daemons().start()
    *_, made = a.client.import_bundled("Storyteller")
    draft = made["draft"]
    old = publish(a)["release"]
    assert old
    plain = speak(a, voice=old)
    first = a.client.show(old)
    assert "pronunciation.txt" not in {file["path"] for file in first["files"]}

    # The draft is loaded by now: it learns of its new dictionary all the same.
    assert speak(a, draft=draft) == plain
    assert a.client.add_words([CITY], voice=draft)["entries"] == 1
    changed = speak(a, draft=draft)
    assert changed != plain
    assert a.client.words(voice="Storyteller") == {
        "voice": "Storyteller",
        "editable": True,
        "entries": [CITY],
    }
    assert a.client.words()["entries"] == []
    new = publish(a)["release"]
    assert speak(a, voice=new) == changed
    error = refusal(lambda: a.client.add_words([CITY], voice=new))
    assert isinstance(error, RefusedError)
    assert "fork" in error.hint

    # Somebody else fetches it: the voice says the word as its author does, unless they say otherwise.
    b = daemons().start(a)
    list(b.client.fetch(new))
    assert speak(b, voice=new) == changed
    assert b.client.words(voice=new) == {"voice": new, "editable": False, "entries": [CITY]}
    assert read(b, voice=new) == [("zung6 hing1", "voice")]
    b.client.add_words([OTHER])
    assert speak(b, voice=new) not in (plain, changed)
    assert read(b, voice=new) == [("cung5 hong2", "user")]

    # A fork takes it along, may change it, and never writes through to the store.
    *_, fork = b.client.fork(new, "Another")
    assert b.client.words(voice=fork["draft"])["entries"] == [CITY]
    b.client.add_words([OTHER], voice=fork["draft"])
    assert b.client.words(voice=new)["entries"] == [CITY]
    forked = publish(b, fork["draft"], license="", consent="", tags=[], description="")["release"]
    assert b.client.words(voice=forked)["entries"] == [OTHER]
    b.client.remove_word("yue", "重慶", voice=fork["draft"])
    assert not (b.home / "drafts" / fork["draft"] / "bundle" / pronunciation.VOICE_NAME).exists()
    bare = publish(b, fork["draft"], license="", consent="", tags=[], description="")["release"]
    assert b.client.words(voice=bare)["entries"] == []


def test_the_users_words_do_not_leak_into_what_is_published(author: Daemon) -> None:
    """The preview sounds as it will for others: the same with a dictionary in the home and without."""
    previews = []
    for entries in ([], [{"lang": "en", "word": "voice", "reading": "Z UW1"}]):
        if entries:
            author.client.add_words(entries)
        release = publish(author)["release"]
        previews.append(author.client.preview(release).data[-20_000:])
        assert author.client.words(voice=release)["entries"] == []
    assert previews[0] == previews[1]
    author.client.remove_word("en", "Voice")


def test_a_drafts_dictionary_is_bounded(author: Daemon) -> None:
    client = author.client
    place = author.home / "drafts" / "storyteller" / "bundle" / pronunciation.VOICE_NAME
    lines = [f"en\tw{number}\tAA1\n" for number in range(VOICE_ENTRIES + 1)]
    assert len("".join(lines).encode()) < VOICE_BYTES
    error = refusal(lambda: client.add_words(file="".join(lines), voice="storyteller"))
    assert "entries" in error.message
    assert not place.exists()
    assert client.add_words(file="".join(lines[:-1]), voice="storyteller")["entries"] == VOICE_ENTRIES
    assert "entries" in refusal(lambda: client.add_words([CITY], voice="storyteller")).message
    assert len(client.words(voice="storyteller")["entries"]) == VOICE_ENTRIES
    place.unlink()


def test_a_voice_whose_dictionary_breaks_a_rule_is_not_admitted(author: Daemon) -> None:
    """What the author's own daemon would never write is refused before it can be published."""
    place: Path = author.home / "drafts" / "storyteller" / "bundle" / pronunciation.VOICE_NAME
    before = author.client.show("storyteller")["release"] if author.client.voices() else None
    for content, told in (
        ("yue\t重慶\tcung4 hnig3\n".encode(), "hnig3"),
        (b"#" * (VOICE_BYTES + 1), "bytes"),
    ):
        place.write_bytes(content)
        error = refusal(lambda: publish(author))
        assert isinstance(error, BadCheckpointError)
        assert told in error.message
    if before is not None:
        assert author.client.show("storyteller")["release"] == before
    place.unlink()


def test_upstream_text_is_an_option_of_speaking(author: Daemon) -> None:
    client = author.client
    asked = {"draft": "storyteller", "text": "There are 1,234 of them.", "lang": "en", "seed": 1}
    right = client.speak(asked).data[-20_000:]
    there = client.speak({**asked, "upstream_text": True}).data[-20_000:]
    spelled = {**asked, "text": "There are twelve thirty-four of them."}
    assert right != there == client.speak(spelled).data[-20_000:]
    assert client.speak({**asked, "upstream_text": False}).data[-20_000:] == right
    assert "upstream_text" in refusal(lambda: client.speak({**asked, "upstream_text": "yes"})).message
    words = client.read_text("There are 1,234 of them.", "en", upstream=True)["parts"][0]["norm_text"]
    assert words == "There are twelve thirty-four of them."
