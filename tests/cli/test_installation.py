"""What is seen in a folder of GPT-SoVITS, what is left open, and what is not believed."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from p2pvoice.cli import installation
from p2pvoice.cli.commands.bring import Given, choose
from p2pvoice.cli.commands.publish import references
from p2pvoice.cli.installation import Clip, scan
from p2pvoice.cli.main import cli
from p2pvoice.cli.output import Output
from p2pvoice.protocol.errors import NotFoundError, UsageError

from . import gpt_sovits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return gpt_sovits.installation(tmp_path / "GPT-SoVITS")


def named(root: Path, name: str) -> installation.Found:
    (voice,) = (one for one in scan(root).voices if one.name == name)
    return voice


def test_weights_are_paired_and_the_longest_trained_ones_taken(root: Path) -> None:
    seen = [
        (v.name, v.version, v.sovits.path.name, v.gpt.path.name if v.gpt else None, v.others)
        for v in scan(root).voices
    ]
    assert seen == [
        ("alone", "", "alone_e8_s64.pth", None, 0),
        ("narrator-v2", "v2", "narrator_e12_s900.pth", "narrator-e15.ckpt", 0),
        ("narrator-v2Pro", "v2Pro", "narrator_e8_s200.pth", "narrator-e15.ckpt", 2),
        ("later", "v4", "later_e2_s30_l32.pth", "later-e15.ckpt", 0),
    ]


def test_clips_come_from_the_list_that_was_trained_from(root: Path) -> None:
    voice = named(root, "narrator-v2Pro")
    assert voice.source == "output/asr_opt/slicer_opt.list"
    folder = root / "output" / "slicer_opt"
    # Those nearest to six seconds; the recordings, not what training made of them.
    assert list(voice.clips) == [
        Clip(folder / "b.wav_0.wav", "今天天气很好。", "zh", 6.5),
        Clip(folder / "a.wav_0.wav", "今日天氣好好。", "yue", 4.0),
        Clip(folder / "f.wav_0.wav", "Good morning.", "en", 9.0),
    ]
    assert voice.missing == []


def test_where_the_recordings_are_gone_the_prepared_ones_serve(root: Path) -> None:
    shutil.rmtree(root / "output" / "slicer_opt")
    for path in (root / "logs" / "narrator" / "5-wav32k").iterdir():
        gpt_sovits.sound(path, 5.0)
    clips = named(root, "narrator-v2").clips
    assert {clip.path.parent.name for clip in clips} == {"5-wav32k"}
    assert len(clips) == installation.REFERENCES


def test_what_does_not_follow_is_asked_for(root: Path) -> None:
    assert [what.partition(":")[0] for what in named(root, "alone").missing] == [
        "no GPT file of the name alone in GPT_weights",
        "no list says what its clips say",
    ]
    assert named(root, "later").missing == ["v4 voices come later"]
    # Two lists that fit equally well: neither is taken.
    shutil.copy(root / "output" / "asr_opt" / "slicer_opt.list", root / "output" / "asr_opt" / "again.list")
    assert "no list" in named(root, "narrator-v2").missing[0]
    # One that is called like the voice decides where nothing was prepared.
    shutil.rmtree(root / "logs")
    shutil.copy(root / "output" / "asr_opt" / "slicer_opt.list", root / "narrator.list")
    assert named(root, "narrator-v2").source == "narrator.list"
    (root / "narrator.list").rename(root / "alone.list")
    assert named(root, "alone").source == "alone.list"


def test_languages_that_come_later_are_named(root: Path) -> None:
    path = root / "output" / "asr_opt" / "slicer_opt.list"
    both = zip(gpt_sovits.SENTENCES, ["FR", "DE"] * 4, strict=False)
    path.write_text("".join(f"slicer_opt/{one[0]}|x|{lang}|{one[3]}\n" for one, lang in both), "utf-8")
    assert "(de, fr cannot be read yet)" in named(root, "narrator-v2").missing[0]


def test_languages_that_need_an_extra_are_taken_when_they_are_most_of_a_list(root: Path) -> None:
    path = root / "output" / "asr_opt" / "slicer_opt.list"

    def clips(*languages: str) -> list[str]:
        rows = zip(gpt_sovits.SENTENCES, languages, strict=True)
        path.write_text("".join(f"slicer_opt/{one[0]}|x|{lang}|{one[3]}\n" for one, lang in rows), "utf-8")
        return [clip.lang for clip in named(root, "narrator-v2").clips]

    # Of the seven, the third and fourth have no length to be taken at all.
    assert clips("JP", "JA", "", "", "ja", "KO", "zh") == ["ja", "ja", "ja"]
    assert clips("ja", "ja", "", "", "zh", "yue", "en") == ["zh", "yue", "en"]
    assert clips("ko", "ko", "", "", "ko", "ko", "ko") == ["ko", "ko", "ko"]


def test_a_list_leads_to_no_file_outside(root: Path, tmp_path: Path) -> None:
    """By its path, by climbing, or through a link in the folder."""
    secret = gpt_sovits.sound(tmp_path / "outside" / "secret.wav", 5.0)
    gpt_sovits.sound(tmp_path / "outside" / "more.wav", 5.0)
    (root / "output" / "slicer_opt" / "link.wav").symlink_to(secret)
    (root / "output" / "folder").symlink_to(tmp_path / "outside", target_is_directory=True)
    path = root / "output" / "asr_opt" / "slicer_opt.list"
    ours = path.read_text("utf-8").splitlines()[0]
    places = (secret, "../../outside/secret.wav", "x/link.wav", "folder/more.wav")
    lines = [f"{place}|x|ZH|你好" for place in places]
    path.write_text("\n".join([ours, *lines]), "utf-8")
    assert [clip.path.name for clip in named(root, "narrator-v2").clips] == ["a.wav_0.wav"]


def test_broken_lines_and_sounds_are_passed_over(root: Path) -> None:
    path = root / "output" / "asr_opt" / "slicer_opt.list"
    ours = path.read_text("utf-8").splitlines()
    (root / "output" / "slicer_opt" / "b.wav_0.wav").write_bytes(b"RIFF no sound")
    (root / "output" / "slicer_opt" / "f.wav_0.wav").write_bytes(b"")
    said = ("长" * 501, "a\u202eb", "")
    bad = ["", "|||", "a.wav_0.wav|x|ZH", "\udcff|x|ZH|好", *(f"a.wav_0.wav|x|ZH|{text}" for text in said)]
    path.write_text("\n".join([*bad, *ours]), "utf-8", errors="replace")
    assert [clip.path.name for clip in named(root, "narrator-v2").clips] == ["a.wav_0.wav", "g.wav_0.wav"]


def test_one_pair_in_a_plain_folder_belongs_together(tmp_path: Path) -> None:
    gpt_sovits.put(tmp_path, "someone.pth")
    gpt_sovits.put(tmp_path, "someone else entirely.ckpt")
    (voice,) = scan(tmp_path).voices
    assert (voice.name, voice.gpt and voice.gpt.name) == ("someone", "someone else entirely")
    gpt_sovits.put(tmp_path, "third.ckpt")
    (voice,) = scan(tmp_path).voices
    assert voice.gpt is None
    (tmp_path / "nothing").mkdir()
    assert scan(tmp_path / "nothing").voices == []


def test_a_mark_says_the_version_before_the_folder_does(tmp_path: Path) -> None:
    for head, version in installation.HEADS.items():
        path = tmp_path / "SoVITS_weights_v2" / "x_e1_s1.pth"
        gpt_sovits.put(tmp_path, "SoVITS_weights_v2/x_e1_s1.pth")
        path.write_bytes(head + path.read_bytes()[2:])
        assert scan(tmp_path).voices[0].version == version


def test_bases_are_found_where_upstream_keeps_them(root: Path, tmp_path: Path) -> None:
    models = root / "GPT_SoVITS" / "pretrained_models"
    (models / "chinese-hubert-base").mkdir(parents=True)
    (models / "sv").mkdir()
    (models / "sv" / "x.ckpt").write_bytes(b"x")
    assert scan(root).bases == {"speaker": models / "sv"}


def test_limits(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "output" / "asr_opt" / "slicer_opt.list"
    size, lines = path.stat().st_size, len(gpt_sovits.SENTENCES)
    for name, enough in (
        ("LIST_BYTES", size), ("LINES_LIMIT", lines), ("LISTS_LIMIT", 2), ("CLIPS_LIMIT", 2 * lines),
        ("WEIGHTS_LIMIT", 2),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(installation, name, enough)
            assert len(named(root, "narrator-v2Pro").clips) == 3, name
            assert named(root, "narrator-v2Pro").sovits.trained == (8, 200), name
        with monkeypatch.context() as patch:
            patch.setattr(installation, name, enough - 1 if name != "CLIPS_LIMIT" else 0)
            voice = named(root, "narrator-v2Pro")
            if name == "WEIGHTS_LIMIT":
                assert voice.sovits.trained == (4, 100)
            elif name == "LINES_LIMIT":
                assert len(voice.clips) == 3
            else:
                assert voice.clips == () or not voice.clips, name


def test_choosing(root: Path, tmp_path: Path) -> None:
    found = scan(root)
    assert choose(found, Given()) == []
    assert [voice.name for voice in choose(found, Given(every=True))] == ["narrator-v2", "narrator-v2Pro"]
    (voice,) = choose(found, Given(voice="narrator-v2"))
    assert voice.gpt is not None
    for name, kind, word in (
        ("nobody", NotFoundError, "no voice"), ("later", UsageError, "comes later"),
        ("alone", UsageError, "no GPT file"),
    ):  # fmt: skip
        with pytest.raises(kind, match=word) as caught:
            choose(found, Given(voice=name))
        assert caught.value.hint
    with pytest.raises(UsageError, match="no list") as caught:
        choose(found, Given(voice="alone", gpt=tmp_path / "x.ckpt"))
    assert caught.value.hint == "add --ref, --ref-text and --ref-lang"
    clips = [(tmp_path / "c.wav", "你好", "zh")]
    (voice,) = choose(found, Given(voice="alone", gpt=tmp_path / "x.ckpt", clips=clips))
    assert voice.gpt is not None
    assert voice.gpt.path == tmp_path / "x.ckpt"
    with pytest.raises(UsageError, match="every voice"):
        choose(installation.Installation(found.voices[:1], {}), Given(every=True))


def test_clips_texts_and_languages_go_together(tmp_path: Path) -> None:
    one, two = tmp_path / "1.wav", tmp_path / "2.wav"
    assert references([one, two], ["a", "b"], ["zh", "en"]) == [(one, "a", "zh"), (two, "b", "en")]
    assert references([one, two], ["a", "b"], ["zh"]) == [(one, "a", "zh"), (two, "b", "zh")]
    for texts, langs in ((["a"], ["zh"]), (["a", "b"], ["zh"] * 3), ([], []), (["a", "b"], [])):
        with pytest.raises(UsageError, match="2 clips"):
            references([one, two], texts, langs)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--voice", "x"], "--voice and --all go with --from-gpt-sovits"),
        (["--from-gpt-sovits", ".", "--bundled"], "do not go together"),
        (["--from-gpt-sovits", ".", "--all", "--voice", "x"], "do not go together"),
        (["--from-gpt-sovits", ".", "--name", "x"], "which voice"),
        (["--from-gpt-sovits", "."], "holds no weight files"),
        (["--bundled"], "missing --name"),
    ],
)
def test_options_that_do_not_fit(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(cli, ["import", *words], obj=Output())
    assert ran.exit_code != 0
    assert told in str(ran.exception)
