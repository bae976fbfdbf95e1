"""A whole training, small: from one recording to a voice that speaks, stopped and resumed anywhere."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from p2pvoice.protocol.errors import ConflictError, NotFoundError, TrainingStoppedError, UsageError
from p2pvoice.sovits import voicefile
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.training import bundle, distil, evaluate, families, prepare, tune
from p2pvoice.sovits.training.loop import Progress
from p2pvoice.sovits.training.prepare import Piece
from p2pvoice.sovits.training.run import Trained, TrainRequest, train

from .conftest import RATE, SENTENCES

Told = list[tuple[str, int]]


@pytest.fixture(scope="module", autouse=True)
def _few_sentences() -> Iterator[None]:
    """Voices rehearse few sentences here and are judged by two: what is told is not tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "SENTENCES", 2)
        patch.setattr(families, "REHEARSED", {True: 3, False: 1})
        yield


@pytest.fixture(scope="module")
def request_(
    starter: Path, recording: tuple[np.ndarray, list[float]], tmp_path_factory: pytest.TempPathFactory
) -> TrainRequest:
    """To train the packaged voice for two steps of each network."""
    folder = tmp_path_factory.mktemp("clips")
    soundfile.write(folder / "me.wav", recording[0], RATE)
    (folder / "me.txt").write_text(" ".join(SENTENCES), "utf-8")
    return TrainRequest("me", "en", [folder / "me.wav"], starter, transcripts=folder / "me.txt", steps=2)


def run(request: TrainRequest, work: Path, stop: Callable[[Told], bool] = lambda told: False) -> Trained:
    told: Told = []

    def tell(progress: Progress) -> None:
        told.append((progress.stage, progress.step))

    return train(request, work, Bases(), tell, lambda: stop(told))


@pytest.fixture(scope="module")
def trained(request_: TrainRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return run(request_, tmp_path_factory.mktemp("train") / "work")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    loaded = voicefile.load_bundle(folder)
    return {**loaded.sovits, **loaded.gpt}


def test_the_new_voice_speaks_with_its_own_references(trained: Trained, starter: Path) -> None:
    voice = Voice.load(trained.bundle, Bases(), "cpu")
    assert 1 <= len(voice.voice.references) <= bundle.REFERENCES
    assert all(reference.text in " ".join(SENTENCES) for reference in voice.voice.references)
    audio = np.concatenate(list(voice.speak(SpeakText("It is a clear day.", "en", seed=1))))
    assert np.abs(audio).max() > 0.01
    # The same settings and encoder as its base, so the same programs can speak with it.
    base = voicefile.read_voice(starter)
    assert replace_references(voice.voice) == replace_references(base)


def replace_references(voice: voicefile.VoiceFile) -> dict[str, object]:
    return {name: getattr(voice, name) for name in ("family", "version", "sovits", "gpt", "bases")}


def test_the_report_is_plain_and_complete(trained: Trained) -> None:
    report = trained.report
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["steps"] == trained.steps == 4
    assert report["data"]["clips"] == 1
    assert report["data"]["seconds"] > 20
    assert report["training_part"] is False
    assert report["without_training_part"] == ""
    for stage in ("sovits", "gpt"):
        assert report["stages"][stage]["stopped"] == "steps"
        assert report["stages"][stage]["first"] > 0
        assert [line["step"] for line in report["stages"][stage]["curve"]] == [1, 2]
    assert report["judged"]["errors"]["before"] is None
    assert "--asr" in report["judged"]["errors"]["reason"]


def test_what_is_identical_is_counted_as_stored(trained: Trained, starter: Path) -> None:
    before, after = tensors(starter), tensors(trained.bundle)
    same = sum(t.numel() for name, t in after.items() if torch.equal(t, before[name]))
    share = same / sum(t.numel() for t in after.values())
    assert trained.report["identical"]["share"] == pytest.approx(share, abs=1e-3)
    assert share < 1.0
    changed = {name for name, t in after.items() if not torch.equal(t, before[name])}
    assert all(any(name.startswith(layer) for layer in trained.layers) for name in changed)
    frozen = [name for name in after if name.startswith(("ssl_proj.", "quantizer."))]
    assert frozen
    assert not changed & set(frozen)


def test_a_training_stopped_again_and_again_comes_to_the_same_voice(
    request_: TrainRequest, trained: Trained, tmp_path: Path
) -> None:
    for at in (("features", 1), ("lite", 1), ("gpt", 1), ("write", 0), ("judge", 1)):
        with pytest.raises(TrainingStoppedError) as caught:
            run(request_, tmp_path / "work", lambda told, at=at: told[-1:] == [at])
        assert caught.value.hint
        # The clips may be gone by then: all that is needed lies in the work folder.
        request_ = replace(request_, clips=[tmp_path / "gone" / "me.wav"], transcripts=tmp_path / "gone.txt")
    resumed = run(request_, tmp_path / "work")
    mine, wanted = tensors(resumed.bundle), tensors(trained.bundle)
    assert all(torch.equal(mine[name], wanted[name]) for name in wanted)
    curves = [resumed.report["stages"][name]["curve"] for name in ("sovits", "gpt")]
    assert curves == [trained.report["stages"][name]["curve"] for name in ("sovits", "gpt")]


def test_a_finished_training_is_told_again_without_work(request_: TrainRequest, trained: Trained) -> None:
    def stop(told: Told) -> bool:
        raise AssertionError("nothing was left to do")

    again = run(request_, trained.bundle.parent, stop)
    assert again.report == trained.report


def test_a_folder_serves_one_training(request_: TrainRequest, trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="another seed"):
        run(replace(request_, seed=9), trained.bundle.parent)
    with pytest.raises(NotFoundError):
        run(replace(request_, base=tmp_path), tmp_path / "work")


@pytest.mark.slow
def test_the_last_layers_alone_leave_the_rest_of_the_files(
    request_: TrainRequest, starter: Path, tmp_path: Path
) -> None:
    made = run(replace(request_, only="last-layers"), tmp_path / "work")
    before, after = tensors(starter), tensors(made.bundle)
    changed = [name for name in after if not torch.equal(after[name], before[name])]
    assert changed
    assert all(name.startswith(("dec.", "model.h.layers.4.", "model.ar_predict_layer")) for name in changed)
    assert made.report["identical"]["share"] > 0.6


def test_tuning_leaves_the_sound_and_tells_gain_and_forgetting(
    request_: TrainRequest, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "ORDINARY", {"en": tune.ORDINARY["en"][:3]})
    made = run(replace(request_, kind="tune", steps=3), tmp_path / "work")
    before, after = voicefile.load_bundle(starter), voicefile.load_bundle(made.bundle)
    assert all(torch.equal(after.sovits[name], before.sovits[name]) for name in before.sovits)
    assert after.voice.references == before.voice.references
    assert all(map(torch.equal, after.spectrograms, before.spectrograms))
    told = made.report["tune"]
    assert "surprise" in told["method"]
    assert told["sentences"]["after"] < told["sentences"]["before"]
    assert told["ordinary"]["count"] == 3
    assert made.report["stages"].keys() == {"gpt"}
    assert told["gained"]
    assert any(not torch.equal(after.gpt[name], before.gpt[name]) for name in before.gpt)


def test_a_tuning_that_gains_nothing_keeps_the_weights_of_the_base(
    request_: TrainRequest, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = {"sentences": {"before": 0.3, "after": 0.2}, "ordinary": {"before": 0.1, "after": 0.25}}
    monkeypatch.setattr(tune, "_by_surprise", lambda *_: judged)
    made = run(replace(request_, kind="tune", steps=2), tmp_path / "work")
    before, after = voicefile.load_bundle(starter), voicefile.load_bundle(made.bundle)
    assert made.report["tune"] == {**judged, "gained": False}
    assert all(torch.equal(after.gpt[name], before.gpt[name]) for name in before.gpt)
    assert made.report["identical"]["share"] == 1.0
    assert made.layers == []


@pytest.mark.parametrize(
    ("sentences", "ordinary", "gain"),
    [((0.3, 0.2), (0.1, 0.1), True), ((0.3, 0.2), (0.1, 0.15), True), ((0.3, 0.2), (0.1, 0.21), False),
     ((0.3, 0.3), (0.1, 0.0), False), ((0.3, 0.35), (0.1, 0.0), False)],
)  # fmt: skip
def test_a_gain_is_more_than_what_is_lost(
    sentences: tuple[float, float], ordinary: tuple[float, float], gain: bool
) -> None:
    told = {"sentences": sentences, "ordinary": ordinary}
    assert tune.gained({k: dict(zip(("before", "after"), v, strict=True)) for k, v in told.items()}) is gain


def test_distilling_learns_from_the_voice_itself(
    request_: TrainRequest, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distil, "JUDGED", 2)
    asked = TrainRequest("small", "", [], starter, kind="distil", steps=1, sentences=10)
    with pytest.raises(TrainingStoppedError):
        run(asked, tmp_path / "work", lambda told: told[-1:] == [("teacher", 4)])
    made = run(asked, tmp_path / "work")
    told = made.report["distil"]
    assert told["teacher"]["bytes"] > 0
    assert told["pupil"]["cpu_seconds_per_second"] > 0
    pieces = prepare.read_prepared(tmp_path / "work").pieces
    assert len(pieces) == 10
    assert len({piece.text for piece in pieces}) == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"lang": "fr"}, {"epochs": 0}, {"minutes": 0.0}, {"steps": 0}, {"only": "first"},
        {"names": ["a", "b"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_refused(request_: TrainRequest, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(request_, **wrong)  # type: ignore[arg-type]


def test_short_clips_are_joined_to_a_reference(speech: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / prepare.PIECES_FOLDER
    folder.mkdir()
    pieces = []
    for index in range(3):
        soundfile.write(folder / f"{index}.wav", speech[index * RATE * 2 : (index + 1) * RATE * 2], RATE)
        pieces.append(Piece(f"{index}", index, 0.0, 2.0, f"Sentence {index}.", "en", f"{index}.wav"))
    (chosen,) = bundle.choose(tmp_path, pieces)
    assert chosen.text == "Sentence 0. Sentence 1."
    assert chosen.seconds == pytest.approx(4.3)
    with pytest.raises(UsageError, match="reference"):
        bundle.choose(tmp_path, pieces[:1])
