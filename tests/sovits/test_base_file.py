"""A shared base is one of the networks and nothing hidden beside it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from p2pvoice.protocol.errors import BadCheckpointError, NotFoundError, RefusedError
from p2pvoice.sovits import bases
from p2pvoice.sovits.base_file import check_base
from p2pvoice.sovits.bert import VOCABULARY_LIMIT

from . import bench, numbers

Spoil = Callable[[dict[str, torch.Tensor], dict[str, str]], Any]


def shared(folder: Path, kind: str) -> Path:
    """An installed base under the names of a bundle."""
    published = {"hubert": bench.published_hubert, "speaker": bench.published_speaker}
    if kind == "bert":
        source = bench.published_bert(folder / "published", 16)
    else:
        source = published[kind](folder / "published")
    installed = bases.install("", source, folder / "installed")
    bundle = folder / "bundle"
    bundle.mkdir()
    (installed / "model.safetensors").rename(bundle / f"{kind}.safetensors")
    if kind == "bert":
        (installed / "vocab.txt").rename(bundle / "vocab.txt")
    return bundle


@pytest.mark.parametrize("kind", bases.KINDS)
def test_what_is_installed_passes(tmp_path: Path, kind: str) -> None:
    stages = []
    found = check_base(shared(tmp_path, kind), kind, lambda stage, done: stages.append((stage, done)))
    assert found["kind"] == kind
    assert found["parameters"] > 0
    assert (stages[0], stages[-1]) == (("check", 0.0), ("check", 1.0))


@pytest.mark.parametrize("kind", bases.KINDS)
def test_a_base_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    folder = shared(tmp_path, kind)
    other = "bert" if kind != "bert" else "hubert"
    with pytest.raises(NotFoundError):
        check_base(folder, other)
    (folder / f"{kind}.safetensors").rename(folder / f"{other}.safetensors")
    with pytest.raises(BadCheckpointError):
        check_base(folder, other)
    with pytest.raises(BadCheckpointError):
        check_base(folder, "gpt")


def more(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors["voice"] = torch.zeros(4, dtype=next(iter(tensors.values())).dtype)


def less(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    del tensors[max(tensors)]


def longer(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name] = torch.cat([tensors[name], tensors[name][:1]])


def endless(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors[max(tensors)].view(-1)[-1] = float("nan")


def infinite(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors[min(tensors)].view(-1)[0] = float("-inf")


def brain(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors[max(tensors)] = tensors[max(tensors)].bfloat16()


def note(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata["comment"] = "a place to hide something"


def nothing(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    del metadata["config"]


def talk(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata["config"] = bases.canonical_config(json.loads(metadata["config"]) | {"comment": "x"})


def spaces(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata["config"] += " "


def nested(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata["config"] = "[" * 50_000


def wordy(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata["config"] = "{}" + " " * bases.CONFIG_LIMIT


@pytest.mark.parametrize("kind", bases.KINDS)
@pytest.mark.parametrize(
    "spoil", [more, less, longer, endless, infinite, brain, note, nothing, talk, spaces, nested, wordy]
)
def test_what_is_spoiled_is_refused(tmp_path: Path, kind: str, spoil: Spoil) -> None:
    folder = shared(tmp_path, kind)
    path = folder / f"{kind}.safetensors"
    tensors = load_file(path)
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metadata = dict(header["__metadata__"])
    save_file(tensors, path, metadata)
    check_base(folder, kind)
    spoil(tensors, metadata)
    save_file(tensors, path, metadata)
    with pytest.raises(BadCheckpointError):
        check_base(folder, kind)


def test_a_voice_posing_as_a_base_is_refused(tmp_path: Path) -> None:
    bundle, _ = bench.voice(tmp_path)
    for name in ("gpt", "sovits"):
        tensors = load_file(bundle / f"{name}.safetensors")
        for kind in bases.KINDS:
            place = tmp_path / f"{name}-{kind}"
            place.mkdir()
            (place / "vocab.txt").write_text("[CLS]\n[SEP]\n[UNK]\n")
            save_file(tensors, place / f"{kind}.safetensors", {"kind": kind, "config": "{}"})
            with pytest.raises(BadCheckpointError):
                check_base(place, kind)


def test_weights_that_were_pickled_are_refused(tmp_path: Path) -> None:
    folder = shared(tmp_path, "speaker")
    good = numbers.beside("checkpoints/good")
    (folder / "speaker.safetensors").write_bytes((good / "tiny_v2.ckpt").read_bytes())
    with pytest.raises(RefusedError):
        check_base(folder, "speaker")


@pytest.mark.parametrize("kind", bases.KINDS)
def test_cut_off_anywhere_in_front_it_is_refused(tmp_path: Path, kind: str) -> None:
    folder = shared(tmp_path, kind)
    path = folder / f"{kind}.safetensors"
    data = path.read_bytes()
    for length in (0, 7, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(BadCheckpointError):
            check_base(folder, kind)
    path.write_bytes(data + b"\0")
    with pytest.raises(BadCheckpointError):
        check_base(folder, kind)


def test_a_vocabulary_has_a_row_for_every_token(tmp_path: Path) -> None:
    folder = shared(tmp_path, "bert")
    path = folder / "vocab.txt"
    lines = path.read_text().rstrip("\n").split("\n")
    path.write_text("\n".join([*lines, "more"]))
    with pytest.raises(BadCheckpointError, match="tokens"):
        check_base(folder, "bert")
    path.write_text("\n".join(lines[:-1]))
    check_base(folder, "bert")
    for data in (
        b"",
        b"\xff".join(line.encode() for line in lines),
        "\n".join(line for line in lines if line != "[CLS]").encode(),
        b"\n" * VOCABULARY_LIMIT,
        b"[CLS]\n[SEP]\n[UNK]\n" + b"x" * bases.VOCABULARY_BYTES_LIMIT,
    ):
        path.write_bytes(data)
        with pytest.raises(BadCheckpointError):
            check_base(folder, "bert")
    path.unlink()
    with pytest.raises(NotFoundError):
        check_base(folder, "bert")
