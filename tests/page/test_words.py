"""What the page says and draws: texts in both languages, marks of authors, outlines of sounds."""

import io
import re
import wave as wavefile
from pathlib import Path
from string import Formatter

import pytest

from p2pvoice.node.page import wave
from p2pvoice.node.page.files import static_files
from p2pvoice.node.page.mark import mark_of
from p2pvoice.node.page.words import LANGUAGES, Words, preferred
from p2pvoice.protocol.consent import SCOPES, SUBJECTS
from p2pvoice.protocol.entries import PARENT_KINDS
from p2pvoice.protocol.lineage_svg import WORDS as PICTURE_WORDS
from p2pvoice.protocol.vocabulary import FACETS

HERE = Path(wave.__file__).parent


def places(text: str) -> set[str]:
    """The places to fill in of a text."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_both_languages_say_the_same_things() -> None:
    english, chinese = LANGUAGES["en"], LANGUAGES["zh"]
    assert set(english) == set(chinese)
    assert {key: places(text) for key, text in english.items()} == {
        key: places(text) for key, text in chinese.items()
    }
    assert all(text.strip() for words in LANGUAGES.values() for text in words.values())
    # What is not translated is a name, or spelled alike.
    same = {key for key in english if english[key] == chinese[key]}
    assert same == {"app", "lang.en", "lang.zh"}


def test_every_word_of_a_closed_family_has_a_text() -> None:
    names = [f"facet.{name}" for name in (*FACETS, "tag")]
    names += [f"subject.{name}" for name in SUBJECTS] + [f"scope.{name}" for name in SCOPES]
    names += [f"{side}.{name}" for name in PARENT_KINDS for side in ("parent", "child")]
    names += [f"lineage.{name}" for name in PICTURE_WORDS if name not in PARENT_KINDS]
    names += [f"consent.{state}" for state in ("claimed", "signed", "expired")]
    names += [f"trust.{state}" for state in ("own", "followed", "unknown")]
    assert [name for name in names if name not in LANGUAGES["en"]] == []


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    sources = [path.read_text() for path in HERE.rglob("*") if path.suffix in (".py", ".html", ".js")]
    text = "\n".join(source for source in sources if "WORDS = {" not in source)
    for key in LANGUAGES["en"]:
        said = key.removeprefix("js.")
        # A key is written whole, or put together of its family and a value, or of its name and a number.
        stem = re.sub(r"\.(one|other)$", "", said)
        family = said.rpartition(".")[0] + "."
        forms = (said, stem, family, family[:-1], said.partition(".")[0] + ".")
        assert any(f'"{one}"' in text or f"'{one}'" in text for one in forms), key
    for key in re.findall(r"""\bt\(["']([a-z.-]+)["'][,)]""", text):
        assert key in LANGUAGES["en"], key
    for key in re.findall(r"""\bsay\("([a-z.-]+)"[,)]""", text):
        assert f"js.{key}" in LANGUAGES["en"], key


def test_numbers_days_and_lengths_read_well() -> None:
    en, zh = Words("en"), Words("zh")
    assert (en.count("browse.here", 1), en.count("browse.here", 2)) == (
        "1 voice known here",
        "2 voices known here",
    )
    assert (en.day(0), zh.day(0)) == ("1 January 1970", "1970年1月1日")
    assert en.day(1e300) == "1e+300"
    assert [en.size(count) for count in (0, 999, 1000, 21_645_129, 5e9)] == [
        "0 B", "999 B", "1.0 kB", "21.6 MB", "5.0 GB",
    ]  # fmt: skip
    assert [zh.length(count) for count in (4.72, 75, 3700)] == ["4.7 秒", "1 分 15 秒", "1 小时 1 分"]
    assert zh.tag("language/yue") == "粤语"
    assert en.named("scope", "something-newer") == "something-newer"


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        ("", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("de-DE,en;q=0.5,zh;q=0.4", "en"), ("yue", "zh"),
        ("en;q=0.1, zh;q=0.2", "zh"), ("zh;q=0", "en"), ("zh;q=x", "en"), (";;;,,,q=", "en"),
        ("fr," * 100 + "zh", "en"),
    ],
)  # fmt: skip
def test_the_browsers_language_decides(header: str, lang: str) -> None:
    assert preferred(header) == lang


def test_marks_follow_from_keys_and_differ() -> None:
    one, other = mark_of("did:key:z6MkA"), mark_of("did:key:z6MkB")
    assert one == mark_of("did:key:z6MkA")
    assert one != other
    assert all(re.fullmatch(r"(M[\d. -]+L[\d. -]+)*", path) for path in (one.inner, one.outer))
    assert len({mark_of(f"did:key:{number}") for number in range(500)}) == 500


def sound(samples: list[int], *, width: int = 2) -> bytes:
    """A WAV file."""
    file = io.BytesIO()
    with wavefile.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(width)
        out.setframerate(24_000)
        out.writeframes(b"".join(sample.to_bytes(width, "little", signed=True) for sample in samples))
    return file.getvalue()


def test_an_outline_is_as_loud_as_its_sound() -> None:
    quiet_then_loud = wave.outline(sound([100] * 28_000 + [-20_000] * 28_000))
    assert len(quiet_then_loud) == wave.BARS
    assert quiet_then_loud[0] == pytest.approx(100 / 20_000)
    assert quiet_then_loud[-1] == 1.0
    # A sample is looked at up to the limit, and the ones past it are not.
    limit = wave.SAMPLES_LIMIT
    assert wave.outline(sound([1] * (limit - 1) + [1000]))[0] == pytest.approx(1 / 1000)
    assert wave.outline(sound([1] * limit + [1000]))[0] == 1.0


def test_what_is_no_sound_has_no_outline() -> None:
    whole = sound([1000] * 1000)
    for data in (
        b"", b"RIFF", whole[:20], whole[:44], sound([0] * 1000), sound([1] * 10), sound([1] * 1000, width=4),
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00" + b"\x00" * 16, whole.replace(b"data", b"nope"),
        whole[:22] + b"\x00\x00" + whole[24:],
    ):  # fmt: skip
        assert wave.outline(data) == ()
    assert wave.path(()).count("M") == wave.BARS
    assert wave.outline_of(Path("/nowhere")) == ()


def test_scripts_and_styles_reach_for_nothing_elsewhere() -> None:
    assert {"base.css", "voice.css", "page.js", "icon.svg"} <= set(static_files())
    for name, (content, _) in static_files().items():
        text = content.decode()
        found = set(re.findall(r"https?://[^\s\"'<>)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert found == set(), name
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write", "@import"):
            assert word not in text, (name, word)
    inline = re.compile(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son[a-z]+=")
    for path in HERE.rglob("*.html"):
        assert "|safe" not in path.read_text(), path
        assert inline.search(path.read_text()) is None, path
