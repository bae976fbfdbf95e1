"""The folders of trainings: what may be sent, what is kept, what a removed voice takes with it."""

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2pvoice.node import trainings as t
from p2pvoice.node.bases import ASR_FILES, check_recogniser, recogniser
from p2pvoice.node.publish import confirmed
from p2pvoice.protocol.errors import ConflictError, DiskFullError, NotFoundError, UsageError


def training(name: str = "Me", **changed: Any) -> t.Training:
    asked: dict[str, Any] = {
        "kind": "train",
        "lang": "yue",
        "clips": (t.Clip("a.wav", 4),),
        "transcripts": True,
        "base": "",
        "base_id": "",
        "parents": (),
        "asr": "",
        "epochs": None,
        "minutes": None,
        "only": "all",
        "seed": 0,
        "declaration": "mine",
    }
    return t.new_training(name, **(asked | changed))


@pytest.fixture
def kept(tmp_path: Path) -> t.Trainings:
    (tmp_path / "trainings").mkdir()
    return t.Trainings(tmp_path / "trainings")


def begin(kept: t.Trainings, folder: Path, one: t.Training, base: dict[str, Path] | None = None) -> None:
    clip, said = folder / "upload-a", folder / "upload-b"
    clip.write_bytes(b"RIFF")
    said.write_text("a.wav|me|YUE|hello\n")
    kept.begin(one, {"a.wav": clip}, said, base or {})


def test_a_training_is_kept_as_it_was_asked_for(kept: t.Trainings, tmp_path: Path) -> None:
    one = training()
    begin(kept, tmp_path, one)
    assert kept.get("me") == kept.get("Me") == one
    work = kept.work("me")
    assert (work.clips / "a.wav").read_bytes() == b"RIFF"
    assert work.transcripts.read_text().startswith("a.wav|")
    assert not (tmp_path / "upload-a").exists()
    assert work.folder.stat().st_mode & 0o777 == 0o700
    (row,) = kept.rows()
    assert (row["training"], row["clips"], row["state"]) == ("me", 1, "running")
    assert row["bytes"] == kept.size("me") > 4
    kept.write(msgspec.structs.replace(one, state="done", draft="me"))
    assert kept.get("me").draft == "me"
    assert kept.remove("me") > 4
    assert kept.all() == []
    assert list((tmp_path / "trainings").iterdir()) == []
    with pytest.raises(NotFoundError):
        kept.get("me")


def test_a_name_is_taken_until_its_training_is_removed_or_came_to_nothing(
    kept: t.Trainings, tmp_path: Path
) -> None:
    one = training()
    begin(kept, tmp_path, one)
    with pytest.raises(ConflictError, match="already"):
        begin(kept, tmp_path, one)
    assert not (tmp_path / "trainings" / ".me.new").exists()
    kept.write(msgspec.structs.replace(one, state="failed", progress={"stage": "gpt", "step": 3}))
    with pytest.raises(ConflictError):
        begin(kept, tmp_path, one)
    # Refused clips have taught it nothing: the next try takes their place.
    kept.write(msgspec.structs.replace(one, state="failed", progress={"stage": "check", "step": 0}))
    begin(kept, tmp_path, msgspec.structs.replace(one, lang="en"))
    assert kept.get("me").lang == "en"


def test_a_base_outlives_its_voice(kept: t.Trainings, tmp_path: Path) -> None:
    stored = tmp_path / "stored"
    stored.write_bytes(b"weights")
    (tmp_path / "voice").mkdir()
    link = tmp_path / "voice" / "gpt.safetensors"
    link.symlink_to(stored)
    begin(kept, tmp_path, training(), {"gpt.safetensors": link, "reference/0.wav": stored})
    shutil.rmtree(tmp_path / "voice")
    stored.unlink()
    base = kept.work("me").base
    assert (base / "gpt.safetensors").read_bytes() == b"weights"
    assert (base / "reference" / "0.wav").stat().st_nlink == 2
    assert not (base / "gpt.safetensors").is_symlink()


def test_what_a_killed_daemon_was_at_is_stopped_and_its_halves_are_gone(
    kept: t.Trainings, tmp_path: Path
) -> None:
    begin(kept, tmp_path, training())
    (tmp_path / "trainings" / ".half.new").mkdir()
    (tmp_path / "trainings" / "stray").mkdir()
    (tmp_path / "trainings" / "torn").mkdir()
    (tmp_path / "trainings" / "torn" / t.RECORD).write_text('{"slug": "torn"')
    kept.clean()
    assert [one.state for one in kept.all()] == ["stopped"]
    assert not (tmp_path / "trainings" / ".half.new").exists()


def test_the_number_of_trainings(kept: t.Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t, "TRAININGS_LIMIT", 2)
    for name in ("a", "b"):
        begin(kept, tmp_path, training(name))
    with pytest.raises(ConflictError, match="2 trainings"):
        begin(kept, tmp_path, training("c"))


def test_no_room_is_said_before_anything_is_moved(
    kept: t.Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free
    kept.require_room(0, 1)
    with pytest.raises(DiskFullError, match="are free"):
        kept.require_room(free, 0)
    with pytest.raises(DiskFullError):
        kept.require_room(0, free)
    monkeypatch.setattr(t, "ROOM", free * 2)
    with pytest.raises(DiskFullError):
        begin(kept, tmp_path, training())
    assert (tmp_path / "upload-a").exists()


def sizes(count: int, each: int = 1) -> list[tuple[str, int]]:
    return [(f"{number}.wav", each) for number in range(count)]


def test_limits_of_clips() -> None:
    t.check_clips(sizes(t.CLIPS_LIMIT))
    t.check_clips([("a.wav", t.CLIP_BYTES)])
    whole = t.CLIPS_BYTES // t.CLIP_BYTES
    rest = t.CLIPS_BYTES - whole * t.CLIP_BYTES
    t.check_clips([*sizes(whole, t.CLIP_BYTES), ("rest.wav", rest)])
    for bad in (
        sizes(t.CLIPS_LIMIT + 1),
        [("a.wav", t.CLIP_BYTES + 1)],
        [*sizes(whole, t.CLIP_BYTES), ("rest.wav", rest + 1)],
        [("a.wav", 1), ("a.wav", 1)],
    ):
        with pytest.raises(UsageError):
            t.check_clips(bad)


@pytest.mark.parametrize(
    "name",
    ["", ".wav", "../a.wav", "a/b.wav", "a\\b.wav", "a\0.wav", "a\n.wav", "a.exe", "a", ".hidden.wav"],
)
def test_names_of_clips_are_plain(name: str) -> None:
    with pytest.raises(UsageError):
        t.check_clip_name(name)


def test_names_of_clips_may_be_anybodys() -> None:
    for name in ("a.wav", "錄音 1.WAV", "é.flac", "n" * (t.CLIP_NAME_LIMIT - 4) + ".mp3"):
        assert t.check_clip_name(name) == name
    with pytest.raises(UsageError):
        t.check_clip_name("n" * (t.CLIP_NAME_LIMIT - 3) + ".mp3")
    # Two hundred Chinese characters do not fit into a file name.
    with pytest.raises(UsageError):
        t.check_clip_name("錄" * 100 + ".wav")


def test_names_of_trainings() -> None:
    assert training("n" * 80).slug == "n" * 63
    assert training("  My   voice ").name == "My voice"
    for bad in ("", "   ", "n" * 81):
        with pytest.raises(UsageError):
            training(bad)


def test_a_recogniser_is_a_closed_list_of_files(tmp_path: Path) -> None:
    whole = {name: "id" for name in ("config.json", "model.bin", "tokenizer.json", "vocabulary.json")}
    assert check_recogniser(whole) == whole
    assert check_recogniser({name: "id" for name in ASR_FILES})
    for missing in whole:
        with pytest.raises(UsageError, match="lacks"):
            check_recogniser({name: "id" for name in whole if name != missing})
    for extra in ("run.py", "../config.json", "pytorch_model.bin"):
        with pytest.raises(UsageError, match="no file of a recogniser"):
            check_recogniser(whole | {extra: "id"})
    assert recogniser(tmp_path) is None
    for name in ("base", "small"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "base.json").write_text(f'{{"name": "{name}", "kind": "asr"}}')
        if name == "base":
            assert recogniser(tmp_path) == tmp_path / "base"
    with pytest.raises(UsageError, match="several"):
        recogniser(tmp_path)
    assert recogniser(tmp_path, "small") == tmp_path / "small"
    with pytest.raises(NotFoundError):
        recogniser(tmp_path, os.pardir)


def test_guesses_about_a_person_are_published_only_when_the_author_says_so() -> None:
    figure = {"field": "snr", "value": "30", "unit": "dB", "method": "counted", "confidence": 80}
    gender = {**figure, "field": "gender", "value": "female", "method": "perceived, to be confirmed"}
    language = {**gender, "field": "language", "value": "yue"}
    rows = [figure, gender, language]
    assert [row["field"] for row in confirmed(rows, [], [])] == ["snr"]
    assert [row["field"] for row in confirmed(rows, ["gender/male"], ["yue"])] == ["snr", "language"]
    kept = confirmed(rows, ["gender/female"], [])
    assert kept[1]["method"] == "perceived, confirmed by the author"
    assert gender["method"] == "perceived, to be confirmed"
