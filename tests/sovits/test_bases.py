"""Bases: installed from a local folder without running anything, found by kind and by content id."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from p2pvoice.protocol.errors import BadCheckpointError, NotFoundError, RefusedError, UsageError
from p2pvoice.sovits import bases
from p2pvoice.sovits.bases import Bases, content_id, install

from . import bench


def test_a_hubert_is_installed_and_found_by_kind_and_by_id(tmp_path: Path) -> None:
    source = bench.published_hubert(tmp_path / "published")
    folder = install("", source, tmp_path / "bases" / "chinese-hubert-base")
    found = Bases([tmp_path / "bases"])
    assert found.hubert().settings == found.hubert(content_id(folder)).settings
    assert found.hubert().settings.width == 48
    assert content_id(folder).startswith("bafkrei")
    assert not list(folder.glob("*.part"))


def test_installing_twice_gives_the_same_id(tmp_path: Path) -> None:
    source = bench.published_hubert(tmp_path / "published")
    first = content_id(install("hubert", source, tmp_path / "bases" / "a"))
    assert content_id(install("hubert", source, tmp_path / "bases" / "b")) == first


@pytest.mark.parametrize("pickled", [False, True])
def test_a_bert_is_installed_without_what_is_not_needed(tmp_path: Path, pickled: bool) -> None:
    source = bench.published_bert(tmp_path / "published", 16, pickled=pickled)
    folder = install("bert", source, tmp_path / "bases" / "bert")
    kept = load_file(folder / "model.safetensors").keys()
    assert not any(".layer.1." in key or "position_ids" in key or key.startswith("cls") for key in kept)
    installed = Bases([tmp_path / "bases"]).bert()
    assert installed is not None
    model, characters = installed
    assert model.settings.layers == 1
    assert model(torch.tensor([characters.ids("你好")])).shape == (1, 4, 16)


def test_pickle_and_safetensors_give_the_same_base(tmp_path: Path) -> None:
    plain = install("bert", bench.published_bert(tmp_path / "a", 16), tmp_path / "plain")
    pickled = install("bert", bench.published_bert(tmp_path / "b", 16, pickled=True), tmp_path / "pickled")
    assert content_id(plain) == content_id(pickled)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "canary"), "w"))

    source = bench.published_bert(tmp_path / "published", 16, pickled=True)
    for spoil in (
        lambda path: torch.save({"bert.x": Canary()}, path),
        lambda path: path.write_bytes(pickle.dumps(Canary())),
    ):
        spoil(source / "pytorch_model.bin")
        with pytest.raises(RefusedError):
            install("bert", source, tmp_path / "bases" / "bert")
    assert not (tmp_path / "canary").exists()
    assert not (tmp_path / "bases").exists()


def test_what_is_not_installed_says_what_to_type(tmp_path: Path) -> None:
    found = Bases([tmp_path / "bases"])
    assert found.bert() is None
    with pytest.raises(NotFoundError) as caught:
        found.hubert()
    assert "base add" in caught.value.hint


def test_a_base_is_not_found_under_another_kind_or_id(tmp_path: Path) -> None:
    folder = install("", bench.published_hubert(tmp_path / "published"), tmp_path / "bases" / "one")
    found = Bases([tmp_path / "bases"])
    assert found.bert() is None
    other = content_id(folder)[:-1] + ("a" if content_id(folder)[-1] != "a" else "b")
    with pytest.raises(NotFoundError):
        found.hubert(other)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    source = bench.published_hubert(tmp_path / "published")
    tensors = load_file(source / "model.safetensors")
    tensors["feature_projection.projection.bias"][3] = float("nan")
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(BadCheckpointError, match="NaN"):
        install("hubert", source, tmp_path / "bases" / "hubert")
    assert not (tmp_path / "bases").exists()


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source = bench.published_hubert(tmp_path / "published")
    tensors = load_file(source / "model.safetensors")
    del tensors["encoder.layers.0.attention.q_proj.weight"]
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(BadCheckpointError):
        install("hubert", source, tmp_path / "bases" / "hubert")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_folder_without_its_files_is_refused(tmp_path: Path, missing: str) -> None:
    source = bench.published_bert(tmp_path / "published", 16)
    (source / missing).unlink()
    with pytest.raises(NotFoundError):
        install("bert", source, tmp_path / "bases" / "bert")


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    source = bench.published_hubert(tmp_path / "published")
    with pytest.raises(UsageError):
        install("gpt", source, tmp_path / "bases" / "x")
    config = json.loads((source / "config.json").read_text()) | {"model_type": "wav2vec2"}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError):
        install("", source, tmp_path / "bases" / "x")


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "{}" + " " * bases.CONFIG_LIMIT])
def test_a_configuration_out_of_bounds_is_refused(tmp_path: Path, text: str) -> None:
    source = bench.published_hubert(tmp_path / "published")
    (source / "config.json").write_text(text)
    with pytest.raises((BadCheckpointError, UsageError)):
        install("", source, tmp_path / "bases" / "x")


def test_a_folder_that_is_being_filled_is_not_looked_at(tmp_path: Path) -> None:
    install("hubert", bench.published_hubert(tmp_path / "published"), tmp_path / "bases" / ".incoming")
    with pytest.raises(NotFoundError):
        Bases([tmp_path / "bases"]).hubert()


def test_the_speaker_network_is_installed_from_its_one_checkpoint(tmp_path: Path) -> None:
    folder = bench.install_speaker(tmp_path / "bases")
    kept = load_file(folder / "model.safetensors")
    assert not any(key.startswith("seg_1") or key.endswith("num_batches_tracked") for key in kept)
    # Half precision would change what it says too much.
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}
    found = Bases([tmp_path / "bases"])
    assert bases.kind_of(folder) == "speaker"
    assert found.speaker().settings == found.speaker(content_id(folder)).settings == bench.SMALL_SPEAKER
    with pytest.raises(NotFoundError, match="speaker is not installed"):
        Bases().speaker()


def test_what_is_no_speaker_network_is_refused(tmp_path: Path) -> None:
    source = bench.published_speaker(tmp_path / "sv")
    tensors = torch.load(source / "pretrained_small.ckpt")
    for spoiled in (
        {k: v for k, v in tensors.items() if k != "fuse34.local_att.0.weight"},
        tensors | {"conv1.weight": torch.full((4, 1, 3, 3), float("nan"))},
        tensors | {"more": torch.zeros(1)},
        [1],
    ):
        torch.save(spoiled, source / "pretrained_small.ckpt")
        with pytest.raises(BadCheckpointError):
            install("", source, tmp_path / "bases" / "sv")

    class Canary:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "canary"), "w"))

    (source / "pretrained_small.ckpt").write_bytes(pickle.dumps(Canary()))
    with pytest.raises(RefusedError):
        install("", source, tmp_path / "bases" / "sv")
    assert not (tmp_path / "canary").exists()
    assert not (tmp_path / "bases").exists()
    (source / "second.ckpt").write_bytes(b"")
    with pytest.raises(NotFoundError, match=r"config\.json"):
        install("", source, tmp_path / "bases" / "sv")
