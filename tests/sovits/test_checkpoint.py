"""What reading a good checkpoint gives: exact numbers, only allowed config, and the same from safetensors."""

import io
import json
from pathlib import Path

import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.declared import GptSettings, SovitsSettings
from p2pvoice.sovits.identify import CONFIG_KEYS
from p2pvoice.sovits.tensorfile import write_half

from ..attacks import forge

GOOD = forge.HERE / "good"


def write(folder: Path, data: bytes) -> Path:
    path = folder / "voice.pth"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["tiny_v2.pth", "tiny_v2.ckpt"])
def test_every_number_is_what_torch_reads(name: str) -> None:
    with forge.upstream_classes():
        theirs = torch.load(GOOD / name, weights_only=False)["weight"]
    ours = read_checkpoint(GOOD / name).tensors
    unused = {"inited", "cluster_size", "embed_avg"}
    assert set(ours) == {key for key in theirs if key.rsplit(".", 1)[-1] not in unused}
    for key, tensor in ours.items():
        assert tensor.dtype == theirs[key].dtype
        assert torch.equal(tensor, theirs[key])


def test_config_is_reduced_to_the_allowed_keys() -> None:
    checkpoint = read_checkpoint(GOOD / "tiny_v2.pth")
    assert set(checkpoint.config) <= {*CONFIG_KEYS["s2"][""], "data", "model"}
    told = json.dumps(checkpoint.config)
    for leak in ("logs/demo", "pretrained/s2G.pth", "SoVITS_weights", "exp_dir", '"name"'):
        assert leak not in told
    assert checkpoint.config["data"] == {
        "sampling_rate": 32000,
        "filter_length": 2048,
        "hop_length": 640,
        "win_length": 2048,
    }
    assert isinstance(checkpoint.settings, SovitsSettings)
    assert checkpoint.settings.heads == 2
    assert checkpoint.info == "8epoch_1200iteration"
    gpt = read_checkpoint(GOOD / "tiny_v2.ckpt")
    assert gpt.settings == GptSettings(heads=4)
    assert set(gpt.config["model"]) == set(CONFIG_KEYS["s1"]["model"])


def test_the_content_encoder_is_the_published_one_or_a_pinned_one(tmp_path: Path) -> None:
    assert read_checkpoint(GOOD / "tiny_v2.pth").content_encoder == "hubert"
    content = forge.tiny()
    content["config"]["content_module"] = "bafkrei" + "a2" * 26
    pinned = read_checkpoint(write(tmp_path, forge.save(content)))
    assert pinned.content_encoder == "bafkrei" + "a2" * 26


def test_a_file_without_a_config_is_taken_as_published(tmp_path: Path) -> None:
    content = forge.tiny()
    del content["config"]
    assert (
        read_checkpoint(write(tmp_path, forge.save(content))).settings
        == read_checkpoint(GOOD / "tiny_v2.pth").settings
    )


def test_unusual_but_honest_tensors_are_read(tmp_path: Path) -> None:
    """A transposed tensor, one at an offset in a shared storage, a parameter, float32 and bfloat16."""
    content = forge.tiny()
    weight = content["weight"]
    turned = weight["ref_enc.slf_attn.w_qs.weight"].t().contiguous().t()
    shared = torch.cat([torch.zeros(5, dtype=torch.float16), weight["dec.cond.bias"]])[5:]
    weight["ref_enc.slf_attn.w_qs.weight"], weight["dec.cond.bias"] = turned, shared
    weight["enc_p.proj.bias"] = torch.nn.Parameter(weight["enc_p.proj.bias"].float())
    weight["ssl_proj.bias"] = weight["ssl_proj.bias"].bfloat16()
    read = read_checkpoint(write(tmp_path, forge.save(content))).tensors
    for name in ("ref_enc.slf_attn.w_qs.weight", "dec.cond.bias", "enc_p.proj.bias", "ssl_proj.bias"):
        assert torch.equal(read[name], weight[name])


def test_a_training_checkpoint_says_what_to_take_instead(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    buffer = io.BytesIO()
    torch.save({"model": model.state_dict(), "iteration": 3, "optimizer": optimizer.state_dict()}, buffer)
    with pytest.raises(BadCheckpointError, match=r"checkpoint of training") as caught:
        read_checkpoint(write(tmp_path, buffer.getvalue()))
    assert "SoVITS_weights" in caught.value.hint


def test_a_safetensors_file_is_read_like_its_origin(tmp_path: Path) -> None:
    origin = read_checkpoint(GOOD / "tiny_v2.pth")
    path = tmp_path / "voice.safetensors"
    write_half(path, origin.tensors, {"config": json.dumps(origin.config)})
    again = read_checkpoint(path)
    assert (again.part, again.version, again.settings) == ("s2", "v2", origin.settings)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in origin.tensors.items())


@pytest.mark.parametrize(
    "config", ["not json", "[1]", '{"model": 1}', '{"model": {"n_heads": 5}}', "[" * 90_000]
)
def test_a_safetensors_file_with_a_strange_config(config: str, tmp_path: Path) -> None:
    """It counts as no config where it is none, and is refused where it says something wrong."""
    origin = read_checkpoint(GOOD / "tiny_v2.pth")
    path = tmp_path / "voice.safetensors"
    write_half(path, origin.tensors, {"config": config})
    if "model" in config:
        with pytest.raises(BadCheckpointError):
            read_checkpoint(path)
    else:
        assert read_checkpoint(path).settings == origin.settings


def test_a_damaged_safetensors_file_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "voice.safetensors"
    write_half(path, read_checkpoint(GOOD / "tiny_v2.ckpt").tensors, {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadCheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.hint


def test_reading_does_not_change_the_file(tmp_path: Path) -> None:
    """The mapping is private: writing into a tensor stays in memory."""
    path = tmp_path / "voice.ckpt"
    before = (GOOD / "tiny_v2.ckpt").read_bytes()
    path.write_bytes(before)
    for tensor in read_checkpoint(path).tensors.values():
        tensor.zero_()
    assert path.read_bytes() == before
