"""Making a voice at the command line: which clips are meant, what progress and report look like, Ctrl-C."""

import json
from pathlib import Path

import pytest

from p2pvoice.cli import learning, report
from p2pvoice.cli.clips import CLIPS_LIMIT, TEXT_LIMIT, gather
from p2pvoice.cli.commands.bases import wanted
from p2pvoice.cli.commands.card import card_lines
from p2pvoice.cli.commands.training import where
from p2pvoice.cli.output import Output
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import UsageError

from .conftest import Command


def clips_in(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_bytes(b"RIFF")
    return [folder / name for name in names]


def test_a_folder_means_the_audio_in_it(tmp_path: Path) -> None:
    clips_in(tmp_path, "b.wav", "a.FLAC", "notes.md", "c.mp3")
    found = gather([tmp_path], lang="yue")
    assert [path.name for path in found.paths] == ["a.FLAC", "b.wav", "c.mp3"]
    assert found.transcripts is None


def test_texts_beside_the_clips_become_a_list(tmp_path: Path) -> None:
    clips_in(tmp_path, "a.wav", "b.wav", "c.wav")
    (tmp_path / "a.txt").write_text("今日\n天氣 | 好好", "utf-8")
    (tmp_path / "b.lab").write_bytes(b"\xef\xbb\xbfhello")
    found = gather([tmp_path], lang="yue")
    assert found.transcripts == "a.wav|speaker|YUE|今日 天氣 好好\nb.wav|speaker|YUE|hello\n"
    alone = gather([tmp_path / "a.wav"], lang="yue")
    assert alone.transcripts == "今日 天氣 好好"


def test_one_text_is_for_one_clip(tmp_path: Path) -> None:
    a, b = clips_in(tmp_path, "a.wav", "b.wav")
    assert gather([a], lang="en", text=" hello\nthere ").transcripts == "hello there"
    listed = tmp_path / "list.txt"
    listed.write_text("a.wav|me|EN|hello\n")
    assert gather([a, b], lang="en", listed=listed).transcripts == "a.wav|me|EN|hello\n"
    for arguments in (
        {"named": [a, b], "text": "hello"},
        {"named": [a], "text": "hello", "listed": listed},
        {"named": [a, a]},
        {"named": []},
    ):
        with pytest.raises(UsageError):
            gather(**arguments, lang="en")  # type: ignore[arg-type]


def test_limits_of_what_is_sent(tmp_path: Path) -> None:
    (a,) = clips_in(tmp_path, "a.wav")
    (tmp_path / "a.txt").write_text("x" * TEXT_LIMIT)
    assert gather([a], lang="en").transcripts == "x" * TEXT_LIMIT
    (tmp_path / "a.txt").write_text("x" * (TEXT_LIMIT + 1))
    with pytest.raises(UsageError, match="larger"):
        gather([a], lang="en")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        gather([a], lang="en")
    (tmp_path / "many").mkdir()
    clips_in(tmp_path / "many", *(f"{number}.wav" for number in range(CLIPS_LIMIT)))
    assert len(gather([tmp_path / "many"], lang="en").paths) == CLIPS_LIMIT
    clips_in(tmp_path / "many", "one more.wav")
    with pytest.raises(UsageError, match="at most"):
        gather([tmp_path / "many"], lang="en")


def test_progress_tells_stage_losses_held_out_and_time_to_go() -> None:
    event = {
        "stage": "sovits",
        "step": 50,
        "steps": 200,
        "losses": {"mel": 1.5, "kl": 20.0, "feature": 0.25, "adversary": 0.5, "bad": None},
        "seconds_left": 150.0,
    }
    line = learning.describe(event, 1.25)
    assert line.startswith("learning how it sounds  █████░░░░░░░░░░░░░░░ 50/200")
    assert "kl 20 mel 1.5 adversary 0.5  held-out 1.25  2 min 30 s to go" in line
    assert "feature" not in line
    assert learning.describe({"stage": "write"}, None) == "writing the voice"
    assert learning.describe({"stage": "new\x1b[2J", "step": 3}, None) == "new [2J  step 3"


def test_progress_without_a_terminal_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shown = learning.Learning(Output())
    for step in range(1, 101):
        looked = 0.5 if step == 33 else None
        shown.show({"stage": "gpt", "step": step, "steps": 100, "losses": {}, "held_out": looked})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 12
    assert sum("held-out 0.5" in line for line in lines) == 8
    silent = Output(as_json=True)
    learning.Learning(silent).show({"stage": "gpt", "step": 1, "steps": 1})
    assert capsys.readouterr().err == ""


REPORT = {
    "draft": "me",
    "references": 2,
    "report": {
        "clips": [
            {"name": "a.wav", "seconds": 30.0, "used_seconds": 28.0, "faults": []},
            {
                "name": "b.wav",
                "seconds": 2.0,
                "used_seconds": 0,
                "faults": [
                    {
                        "code": "too_short",
                        "refuses": True,
                        "message": "it lasts 2.0 s",
                        "hint": "record one whole sentence",
                        "piece": "",
                    }
                ],
            },
            {
                "name": "c.wav",
                "seconds": 9.0,
                "used_seconds": 9.0,
                "faults": [{"code": "noise", "refuses": False, "message": "noise", "hint": "", "piece": ""}],
            },
        ],
        "data": {"clips": 2, "seconds": 37.0},
        "steps": 120,
        "seconds": 600.0,
        "stages": {"sovits": {"steps": 100, "first": 2.0, "best": 1.5, "stopped": "held-out"}},
        "judged": {
            "sentences": 6,
            "similarity": {"before": 0.61, "after": 0.84, "method": "cosine"},
            "errors": {"before": None, "after": None, "reason": "no recogniser was given"},
        },
        "identical": {"share": 0.25},
        "without_training_part": "",
        "notes": ["one\x1b[2Jnote"],
    },
}


def test_the_report_says_what_became_of_every_clip_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.training_report(Output(), REPORT)
    said = capsys.readouterr()
    verdicts = {line.split()[0]: line.strip().split("  ")[-1].strip() for line in said.out.splitlines()[1:4]}
    assert verdicts == {"a.wav": "good", "b.wav": "left out", "c.wav": "used, 1 note"}
    assert "b.wav: it lasts 2.0 s; record one whole sentence" in said.err
    assert "0.610 -> 0.840  (cosine)" in said.out
    assert "not measured: no recogniser was given" in said.out
    assert "100 steps; held-out 2 -> 1.5; held-out speech got no better" in said.out
    assert "25.0 % of the bytes" in said.out
    assert "2 clips of the recordings" in said.err
    assert "\x1b[2J" not in said.out + said.err


def test_reports_of_tuning_and_distilling() -> None:
    tuned = {
        "method": "CER",
        "sentences": {"before": 0.4, "after": 0.1},
        "ordinary": {"before": 0.1, "after": 0.12},
    }
    assert report.comparison({"tune": tuned}) == [
        ("these sentences", "0.400 -> 0.100  (CER)"),
        ("ordinary ones", "0.100 -> 0.120  (CER)"),
    ]
    (_, _, (kept, why)) = report.comparison({"tune": {**tuned, "gained": False}})
    assert kept == "kept"
    assert "the base's weights" in why
    distilled = {
        "teacher": {"bytes": 90_000_000, "cpu_seconds_per_second": 1.5},
        "pupil": {"bytes": 20_000_000, "cpu_seconds_per_second": 0.2},
        "similarity": {"pupil": 0.8, "method": "cosine"},
    }
    rows = dict(report.comparison({"distil": distilled}))
    assert rows["pupil"] == "20.0 MB, 0.2 CPU-seconds a second of speech"
    assert rows["similarity"] == "pupil 0.8"


def test_a_card_is_markdown_of_what_the_manifest_says() -> None:
    voice = {
        "name": "Me | you",
        "release": "bagaqiera",
        "parents": [{"release": "bagaqierb", "kind": "fine-tuned-from"}],
        "training": {
            "kind": "trained",
            "base": "bagaqierb",
            "seconds": 60,
            "steps": 5,
            "layers": ["dec"],
            "data": {"clips": 1, "seconds": 61, "declaration": "mine"},
        },
        "measured": [{"field": "snr", "value": "30", "unit": "dB", "method": "a|b", "confidence": 80}],
    }
    lines = card_lines(voice)
    assert lines[0] == "# Me \\| you"
    assert "- fine-tuned-from bagaqierb" in lines
    assert "Data: mine" in lines
    assert "| snr | 30 dB | 80 % | a\\|b |" in lines
    assert not any("measured" in line for line in card_lines({"name": "x"}))


def test_where_a_training_is() -> None:
    progress = {"stage": "gpt", "step": 3, "steps": 9, "seconds_left": 70.0}
    assert where({"state": "stopped", "progress": progress}) == "gpt 3/9, 1 min 10 s to go"
    assert where({"state": "done", "progress": progress}) == ""


def test_base_add_takes_a_kind(tmp_path: Path) -> None:
    assert wanted((str(tmp_path),)) == ("", tmp_path)
    assert wanted(("asr", str(tmp_path))) == ("asr", tmp_path)
    for words in (("tts", str(tmp_path)), ("asr", "nowhere"), ("asr", "a", "b")):
        with pytest.raises(UsageError):
            wanted(words)


def test_mistakes_are_told_before_a_daemon_is_asked(p2pvoice: Command, tmp_path: Path) -> None:
    (clip,) = clips_in(tmp_path, "me.wav")
    for words, code, said in (
        (["train"], 2, "nothing to train on"),
        (["train", str(clip)], 2, "missing --name"),
        (["train", str(clip), "--name", "me"], 2, "missing --lang"),
        (["train", str(clip), "--name", "me", "--lang", "ja"], 2, "ja"),
        (["train", "nowhere.wav", "--name", "me", "--lang", "en"], 2, "no file nowhere.wav"),
        (["train", "--resume"], 2, "which training"),
        (["train", str(clip), "--name", "me", "--lang", "en", "--epochs", "1", "--minutes", "1"], 2, "both"),
        (["tune", "voice", "nowhere", "--lang", "en"], 2, "nowhere"),
        (["train", "--resume", "me"], 3, "daemon"),
        (["trainings"], 3, "daemon"),
        (["describe", str(clip)], 3, "daemon"),
    ):
        ran = p2pvoice(*words)
        assert ran.code == code, (words, ran.err)
        assert said in ran.err, (words, ran.err)
        told = json.loads(p2pvoice("--json", *words).err.splitlines()[-1])
        assert told["error"]["message"]


def test_lists_and_refusals_of_a_real_daemon(p2pvoice: Command, running: Client, tmp_path: Path) -> None:
    assert p2pvoice("trainings", "--json").json == {"trainings": []}
    assert "p2pvoice train" in p2pvoice("trainings").err
    for words in (["trainings", "stop", "me"], ["trainings", "rm", "me"], ["train", "--resume", "me"]):
        ran = p2pvoice(*words)
        assert ran.code == 4, ran.err
        assert "there is no training 'me'" in ran.err
    (clip,) = clips_in(tmp_path, "me.wav")
    ran = p2pvoice("train", str(clip), "--name", "me", "--lang", "en")
    assert ran.code == 2
    assert "the clips have no transcripts" in ran.err
    assert "base add asr" in ran.err
    assert running.status()["training"]["starts"] == 0


def test_a_recogniser_is_installed_as_it_is(p2pvoice: Command, running: Client, tmp_path: Path) -> None:
    folder = tmp_path / "whisper-tiny"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    (folder / "model.bin").write_bytes(b"numbers")
    (folder / "README.md").write_text("not sent")
    ran = p2pvoice("base", "add", "asr", str(folder))
    assert ran.code == 2
    assert "lacks vocabulary.txt" in ran.err
    (folder / "vocabulary.txt").write_text("a\n")
    (tmp_path / "licence.txt").write_text("Do what you like.\n")
    licence = ["--license", "mit", "--license-file", str(tmp_path / "licence.txt")]
    ran = p2pvoice("base", "add", "asr", str(folder), *licence)
    assert (ran.code, ran.out) == (0, "whisper-tiny\n"), ran.err
    (row,) = running.bases()
    assert (row["name"], row["kind"]) == ("whisper-tiny", "asr")
    assert (row["license"], row["verified"]) == ("MIT", False)
    assert (running.home.bases / "whisper-tiny" / "LICENSE").read_text() == "Do what you like.\n"
    listed = p2pvoice("base", "list").out.splitlines()
    assert listed[1].split()[:6] == ["whisper-tiny", "asr", "157", "B", "MIT", "no"]
    assert listed[2].split()[:6] == ["starter", "content", "3.3", "MB", "Apache-2.0", "yes"]
    refused = p2pvoice("base", "add", "asr", str(folder), "--license", "free")
    assert (refused.code, "'free' is not a licence id" in refused.err) == (5, True)
    assert row["id"].startswith("bafkrei")
    place = running.home.bases / "whisper-tiny"
    assert (place / "model.bin").read_bytes() == b"numbers"
    assert not (place / "README.md").exists()
    (folder / "config.json").write_text("{")
    ran = p2pvoice("base", "add", "asr", str(folder))
    assert (ran.code, "config.json is not JSON" in ran.err) == (2, True)
    assert (place / "config.json").read_text() == "{}"
    assert list(running.home.uploads.iterdir()) == []
