"""Clips and transcripts become pieces; whatever is left out is named, and all of it survives a restart."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from p2pvoice.protocol.errors import CorruptError, NotFoundError, UsageError
from p2pvoice.sovits.training import clips, prepare
from p2pvoice.sovits.training.prepare import Prepared

from .conftest import RATE, SENTENCES

LONG = " ".join(SENTENCES)


def write(folder: Path, name: str, samples: np.ndarray) -> Path:
    path = folder / name
    soundfile.write(path, samples, RATE)
    return path


def run(folder: Path, sources: list[Path], listed: str | None, lang: str = "en", **more: object) -> Prepared:
    path = None
    if listed is not None:
        path = folder / "said.list"
        path.write_text(listed, "utf-8")
    work = folder / "work"
    work.mkdir(exist_ok=True)
    names = [source.name for source in sources]
    given = {"recogniser": None, **more}
    return prepare.prepare(sources, names, lang, path, folder=work, tell=lambda *_: None, **given)  # type: ignore[arg-type]


def test_one_recording_and_its_text_become_pieces(
    recording: tuple[np.ndarray, list[float]], tmp_path: Path
) -> None:
    source = write(tmp_path, "a.wav", recording[0])
    found = run(tmp_path, [source], LONG)
    assert " ".join(piece.text for piece in found.pieces) == LONG
    assert found.clips[0].faults == ()
    assert found.seconds == pytest.approx(len(recording[0]) / RATE, abs=0.1)
    samples, rate = prepare.read_piece(tmp_path / "work", found.pieces[1])
    assert len(samples) / rate == pytest.approx(found.pieces[1].seconds, abs=1e-3)
    # The clip is not needed any more, nor are its transcripts.
    source.unlink()
    assert run(tmp_path, [source], None) == found


def test_every_bad_clip_is_named_and_the_good_ones_are_used(
    recording: tuple[np.ndarray, list[float]], tmp_path: Path
) -> None:
    samples, starts = recording
    good = {f"good{i}.wav": SENTENCES[i] for i in range(4)}
    bounds = [round(start * RATE) for start in starts[:5]]
    sources = [
        write(tmp_path, name, samples[a:b]) for name, a, b in zip(good, bounds[:-1], bounds[1:], strict=True)
    ]
    other = samples[round(starts[5] * RATE) : round(starts[6] * RATE)]
    sources += [
        write(tmp_path, "short.wav", samples[: RATE * 2]),
        write(tmp_path, "copy.wav", samples[: bounds[1]] * 0.5),
        write(tmp_path, "mute.wav", np.zeros(RATE * 4)),
        write(tmp_path, "unlisted.wav", other),
        write(tmp_path, "empty.wav", other * np.float32(0.8)),
        write(tmp_path, "foreign.wav", samples[round(starts[6] * RATE) : round(starts[7] * RATE)]),
    ]
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"nothing")
    listed = [f"{name}|k|en|{said}" for name, said in good.items()]
    listed += ["short.wav|k|en|Short.", "copy.wav|k|en|x", "mute.wav|k|en|x", "empty.wav|k|en|"]
    listed += ["foreign.wav|k|zh|你好", "gone.wav|k|en|Gone."]
    found = run(tmp_path, [*sources, broken], "\n".join(listed))
    codes = {clip.name: [fault.code for fault in clip.faults] for clip in found.clips}
    assert codes == {
        **{name: [] for name in good},
        "short.wav": ["too_short"],
        "copy.wav": ["duplicate"],
        "mute.wav": ["silence"],
        "unlisted.wav": ["no_transcript"],
        "empty.wav": ["duplicate"],
        "foreign.wav": ["wrong_language"],
        "broken.wav": ["unreadable"],
    }
    assert [piece.text for piece in found.pieces] == list(good.values())
    assert found.notes == ("1 lines of the list have no clip: 'gone.wav'",)


def test_too_little_speech_says_why_and_keeps_the_report(
    recording: tuple[np.ndarray, list[float]], tmp_path: Path
) -> None:
    samples, starts = recording
    one = write(tmp_path, "one.wav", samples[: round(starts[1] * RATE)])
    two = write(tmp_path, "two.wav", samples[: RATE * 2])
    with pytest.raises(UsageError, match=r"only 2\.\d s .* two.wav: it lasts 2.0 s") as caught:
        run(tmp_path, [one, two], f"one.wav|k|en|{SENTENCES[0]}")
    assert caught.value.hint
    kept = prepare.read_prepared(tmp_path / "work")
    assert [[fault.code for fault in clip.faults] for clip in kept.clips] == [[], ["too_short"]]


def test_a_text_that_cannot_be_divided_is_learned_from_whole(
    recording: tuple[np.ndarray, list[float]], tmp_path: Path
) -> None:
    source = write(tmp_path, "a.wav", recording[0])
    found = run(tmp_path, [source], LONG, align=lambda *_: None)
    assert [piece.text for piece in found.pieces] == [LONG]
    assert [(fault.code, fault.refuses) for fault in found.clips[0].faults] == [("unmatched_text", False)]


def test_a_recording_without_text_needs_a_recogniser(
    recording: tuple[np.ndarray, list[float]], tmp_path: Path
) -> None:
    source = write(tmp_path, "a.wav", recording[0])
    with pytest.raises(UsageError, match="no transcript") as caught:
        run(tmp_path, [source], None)
    assert "--asr" in caught.value.hint
    (tmp_path / "empty").mkdir()
    (tmp_path / "work" / prepare.PREPARED_NAME).unlink()
    with pytest.raises(NotFoundError, match="recogniser"):
        run(tmp_path, [source], None, recogniser=tmp_path / "empty")


def test_a_damaged_record_says_what_to_remove(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / prepare.PREPARED_NAME).write_text("{}")
    with pytest.raises(CorruptError) as caught:
        prepare.read_prepared(work)
    assert "rm -r" in caught.value.hint


def test_the_number_and_the_length_of_clips_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path, "a.wav", np.zeros(RATE * 3))
    monkeypatch.setattr(clips, "CLIPS_LIMIT", 2)
    with pytest.raises(UsageError, match="3 clips"):
        run(tmp_path, [source] * 3, None)
    monkeypatch.setattr(clips, "TOTAL_SECONDS_LIMIT", 6.0)
    with pytest.raises(UsageError, match="can be learned from"):
        run(tmp_path, [source] * 2, None)
    (tmp_path / "work" / prepare.PREPARED_NAME).unlink()
    monkeypatch.setattr(clips, "TOTAL_SECONDS_LIMIT", 5.99)
    with pytest.raises(UsageError, match="minutes together"):
        run(tmp_path, [source] * 2, None)
