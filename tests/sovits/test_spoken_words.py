"""A voice speaks by dictionaries: its own, which travels in its bundle, and the user's; by none as ever."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from p2pvoice.protocol import pronunciation
from p2pvoice.protocol.errors import BadCheckpointError, UsageError
from p2pvoice.sovits import compare, voicefile
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.merge import Recipe, merge
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.voicefile import load_bundle, read_words

from . import bench

HOT = SpeakText("去重慶", "yue", seed=3, top_k=65, temperature=10.0)
READING = "yue\t重慶\tzung6 hing1\n"
OTHER = "yue\t重慶\tcung5 hong2\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bench.voice(tmp_path_factory.mktemp("voice"))[0]


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of the voice that may be changed."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def put(bundle: Path, text: str) -> Path:
    (bundle / pronunciation.VOICE_NAME).write_text(text, encoding="utf-8")
    return bundle


def heard(voice: Voice, request: SpeakText) -> np.ndarray:
    return np.concatenate(list(voice.speak(request)))


def load(bundle: Path) -> Voice:
    return Voice.load(bundle, Bases([]), device="cpu")


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return len(a) == len(b) and np.array_equal(a, b)


def test_a_word_is_spoken_as_its_entry_says(made: Path, bundle: Path) -> None:
    plain, own = load(made), load(put(bundle, READING))
    before = heard(plain, HOT)
    by_user, by_voice = heard(plain, replace(HOT, words=READING)), heard(own, HOT)
    assert not same(by_user, before)
    # Where an entry comes from does not matter; what the text would be read as anyway changes nothing.
    assert same(by_voice, by_user)
    assert same(heard(plain, replace(HOT, words="yue\t重慶\tcung4 hing3\n")), before)
    # The user's wins; a word that does not occur says nothing; nothing stays behind.
    assert same(heard(own, replace(HOT, words=OTHER)), heard(plain, replace(HOT, words=OTHER)))
    assert not same(heard(own, replace(HOT, words=OTHER)), by_voice)
    assert same(heard(plain, replace(HOT, words="yue\t龘\tdaap6\nen\tQwen\tK\n")), before)
    assert same(heard(plain, HOT), before)


def test_a_transcript_is_read_by_the_voices_dictionary_alone(made: Path, bundle: Path) -> None:
    """The clip's transcript is 今日天氣好好: only the author's word changes what it prompts with."""
    plain = load(made)
    before = plain.prompt(0).spoken.phones.tolist()
    heard(plain, replace(HOT, words="yue\t天氣\ttin1 hei1\n"))
    assert plain.prompt(0).spoken.phones.tolist() == before
    own = load(put(bundle, "yue\t天氣\ttin1 hei1\n")).prompt(0).spoken.phones.tolist()
    assert len(own[0]) == len(before[0])
    assert sum(a != b for a, b in zip(own[0], before[0], strict=True)) == 1


def test_a_word_with_a_dot_is_not_cut_in_two(made: Path) -> None:
    voice = load(made)
    request = replace(HOT, text="Use Node.js here. Then Node.js there.", lang="en", split="cut5")
    assert len(list(voice.speak(request))) == 4
    assert len(list(voice.speak(replace(request, words="en\tnode.JS\tN OW1 D\n")))) == 2


def test_text_as_upstream_reads_it(made: Path) -> None:
    voice = load(made)
    request = replace(HOT, text="I have 1,234 of them.", lang="en")
    right, there = heard(voice, request), heard(voice, replace(request, upstream_text=True))
    assert not same(right, there)
    spelled = replace(request, text="I have twelve thirty-four of them.")
    assert same(there, heard(voice, spelled))
    assert same(heard(voice, replace(spelled, upstream_text=True)), there)


def test_a_reading_that_nobody_can_speak_is_refused(made: Path) -> None:
    with pytest.raises(UsageError, match="hnig"):
        heard(load(made), replace(HOT, words="yue\t重慶\tcung4 hnig3\n"))


# --- the file in a bundle ----------------------------------------------------------------------------------


def test_a_bundle_without_a_dictionary_is_what_it_was(made: Path) -> None:
    assert load_bundle(made).words == read_words(made) == ""
    assert not (made / pronunciation.VOICE_NAME).exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"yue\t\xff\xfe\tcung4\n", "UTF-8"),
        ("yue\t重慶\tcung4 hnig3\n".encode(), "hnig3"),
        ("yue\t重慶\n".encode(), "line 1"),
        ("yue\t重\u202e慶\tcung4 hing3\n".encode(), "cannot be shown"),
        (b"fr\tmot\tM OW1\n", "'fr'"),
        (b"\x00" * 100, "line 1"),
    ],
)
def test_a_strangers_dictionary_is_refused(bundle: Path, content: bytes, told: str) -> None:
    (bundle / pronunciation.VOICE_NAME).write_bytes(content)
    with pytest.raises(BadCheckpointError, match=told):
        voicefile.check_bundle(bundle)


def test_a_strangers_dictionary_at_its_limits(bundle: Path) -> None:
    path = bundle / pronunciation.VOICE_NAME
    path.write_bytes(b"#" * pronunciation.VOICE_BYTES)
    voicefile.check_bundle(bundle)
    path.write_bytes(b"#" * (pronunciation.VOICE_BYTES + 1))
    with pytest.raises(BadCheckpointError, match="bytes"):
        voicefile.check_bundle(bundle)
    lines = [f"en\tw{number}\tA" for number in range(pronunciation.VOICE_ENTRIES + 1)]
    lines = [line.replace("\tA", "\tAA1") for line in lines]
    path.write_text("\n".join(lines[:-1]))
    voicefile.check_bundle(bundle)
    path.write_text("\n".join(lines))
    with pytest.raises(BadCheckpointError, match="entries"):
        voicefile.check_bundle(bundle)


def test_a_merge_keeps_our_words_and_adds_theirs(made: Path, bundle: Path, tmp_path: Path) -> None:
    theirs = Path(shutil.copytree(made, tmp_path / "theirs"))
    put(bundle, "# ours\nyue\t重慶\tzung6 hing1\n")
    put(theirs, "en\tQwen\tK W EH1 N\n" + OTHER)
    for recipe in (Recipe("average"), Recipe("layers", parts=frozenset({"decoder"}))):
        out = tmp_path / recipe.mode
        merge(bundle, theirs, out, recipe)
        assert read_words(out) == "en\tQwen\tK W EH1 N\nyue\t重慶\tzung6 hing1\n"
        shutil.rmtree(out)
    assert compare.words(bundle, theirs) == [
        {"part": "pronunciation", "tensors": 2, "changed": 2, "relative": None}
    ]
    assert compare.words(made, made) == []
    # Full is full: ours stays whole.
    full = "".join(f"en\tw{number}\tAA1\n" for number in range(pronunciation.VOICE_ENTRIES))
    put(bundle, full)
    merge(bundle, theirs, tmp_path / "full", Recipe("average"))
    assert set(read_words(tmp_path / "full").splitlines()) == set(full.splitlines())
    # Neither has one: neither has the result.
    merge(made, made, tmp_path / "none", Recipe("average"))
    assert not (tmp_path / "none" / pronunciation.VOICE_NAME).exists()
