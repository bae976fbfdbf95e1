"""voice.json and bundles from strangers: every bound at n and n + 1, and files that do not fit each other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pvoice.protocol.errors import BadCheckpointError, NotFoundError, P2PVoiceError, VoiceNotLoadableError
from p2pvoice.sovits import voicefile
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.convert import Clip, write_bundle
from p2pvoice.sovits.reference import EncodedClip
from p2pvoice.sovits.tensorfile import write_half
from p2pvoice.sovits.voicefile import VoiceFile, decode_voice, encode_voice, load_bundle

from ..attacks import forge

GOOD = forge.HERE / "good"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny v2 voice with two references."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    clips = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        codes = torch.randint(64, (114,), generator=generator)
        spectrogram = torch.rand(704, 200, generator=generator)
        samples = (torch.rand(128_000, generator=generator) - 0.5).numpy()
        clips.append(Clip(samples, 32_000, f"句子 {seed}", "yue", EncodedClip(codes, spectrogram, 4.0)))
    write_bundle(folder, read_checkpoint(GOOD / "tiny_v2.pth"), read_checkpoint(GOOD / "tiny_v2.ckpt"), clips)
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of the bundle to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def fields(made: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((made / "voice.json").read_text())
    return content


def encoded(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def test_voice_json_survives_the_way_there_and_back(made: Path) -> None:
    data = (made / "voice.json").read_bytes()
    voice = decode_voice(data)
    assert encode_voice(voice) == data
    assert data.isascii() is False
    assert load_bundle(made).voice == voice


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (lambda v: None, lambda v: v.update(more=1)),
        (lambda v: v.update(format=1), lambda v: v.update(format=2)),
        (lambda v: None, lambda v: v.update(family="other")),
        (lambda v: v.update(version="v4"), lambda v: v.update(version="v5")),
        (lambda v: None, lambda v: v.pop("sovits")),
        (lambda v: v["gpt"].update(heads=64), lambda v: v["gpt"].update(heads=65)),
        (lambda v: v["gpt"].update(heads=1), lambda v: v["gpt"].update(heads=0)),
        (lambda v: None, lambda v: v["gpt"].update(heads=1.0)),
        (lambda v: None, lambda v: v["gpt"].update(heads="4")),
        (lambda v: v["sovits"].update(heads=64), lambda v: v["sovits"].update(heads=65)),
        (lambda v: v["sovits"].update(upsample_rates=[32, 20, 1, 1, 1], upsample_kernels=[32, 20, 1, 1, 1]),
         lambda v: v["sovits"].update(upsample_rates=[40, 16, 1, 1, 1], upsample_kernels=[40, 16, 1, 1, 1])),
        (lambda v: v["sovits"].update(upsample_kernels=[64, 16, 8, 2, 2]),
         lambda v: v["sovits"].update(upsample_kernels=[66, 16, 8, 2, 2])),
        (lambda v: v["sovits"].update(upsample_kernels=[12, 16, 8, 2, 2]),
         lambda v: v["sovits"].update(upsample_kernels=[8, 16, 8, 2, 2])),
        (lambda v: None, lambda v: v["sovits"].update(upsample_kernels=[15, 16, 8, 2, 2])),
        (lambda v: v["sovits"].update(resblock_kernels=[1, 3, 63]),
         lambda v: v["sovits"].update(resblock_kernels=[1, 3, 65])),
        (lambda v: None, lambda v: v["sovits"].update(resblock_kernels=[2, 3, 5])),
        (lambda v: v["sovits"].update(resblock_dilations=[[1], [64], [1] * 8]),
         lambda v: v["sovits"].update(resblock_dilations=[[1], [65], [1]])),
        (lambda v: None, lambda v: v["sovits"].update(resblock_dilations=[[1], [], [1]])),
        (lambda v: None, lambda v: v["sovits"].update(resblock_dilations=[[1], [1], [1] * 9])),
        (lambda v: v["sovits"].update(filter_length=4096), lambda v: v["sovits"].update(filter_length=4097)),
        (lambda v: v["sovits"].update(win_length=640), lambda v: v["sovits"].update(win_length=639)),
        (lambda v: None, lambda v: v["sovits"].update(sample_rate=31_999)),
        (lambda v: None, lambda v: v["sovits"].update(hop_length=320)),
        (lambda v: v["bases"].update(content="b" + "a" * 58), lambda v: v["bases"].update(content="../x")),
        (lambda v: v["bases"].update(bert=None), lambda v: v["bases"].update(bert="hubert")),
        (lambda v: v.update(references=v["references"][:1]), lambda v: v.update(references=[])),
        (lambda v: v["references"][0].update(text="x" * voicefile.TEXT_LIMIT),
         lambda v: v["references"][0].update(text="x" * (voicefile.TEXT_LIMIT + 1))),
        (lambda v: v["references"][0].update(text="x"), lambda v: v["references"][0].update(text="")),
        (lambda v: None, lambda v: v["references"][0].update(text="a\nb")),
        (lambda v: None, lambda v: v["references"][0].update(text="a\u202eb")),
        (lambda v: v["references"][0].update(lang="en"), lambda v: v["references"][0].update(lang="xx")),
        (lambda v: v["references"][0].update(milliseconds=3000),
         lambda v: v["references"][0].update(milliseconds=2999)),
        (lambda v: v["references"][0].update(milliseconds=10_000),
         lambda v: v["references"][0].update(milliseconds=10_001)),
        (lambda v: v["references"][0].update(codes=[0] * voicefile.CODES_MAX),
         lambda v: v["references"][0].update(codes=[0] * (voicefile.CODES_MAX + 1))),
        (lambda v: v["references"][0].update(codes=[0] * voicefile.CODES_MIN),
         lambda v: v["references"][0].update(codes=[0] * (voicefile.CODES_MIN - 1))),
        (lambda v: v["references"][0].update(codes=[8191] * 100),
         lambda v: v["references"][0].update(codes=[8192] * 100)),
        (lambda v: None, lambda v: v["references"][0].update(codes=[-1] * 100)),
        (lambda v: None, lambda v: v["references"][0].update(clip="../0.wav")),
        (lambda v: None, lambda v: v["references"][0].update(spec="reference/1.safetensors")),
    ],
)  # fmt: skip
def test_each_field_within_its_bounds_and_beyond(good: Change, bad: Change, made: Path) -> None:
    content = fields(made)
    good(content)
    decode_voice(encoded(content))
    content = fields(made)
    bad(content)
    with pytest.raises(BadCheckpointError) as caught:
        decode_voice(encoded(content))
    assert caught.value.hint
    assert caught.value.message.isprintable()


def test_the_number_of_references_is_bounded(made: Path) -> None:
    content = fields(made)
    one = content["references"][0]

    def several(count: int) -> bytes:
        names = [{"clip": f"reference/{i}.wav", "spec": f"reference/{i}.safetensors"} for i in range(count)]
        return encoded(content | {"references": [one | name for name in names]})

    assert len(decode_voice(several(voicefile.REFERENCES_LIMIT)).references) == voicefile.REFERENCES_LIMIT
    with pytest.raises(BadCheckpointError, match="references"):
        decode_voice(several(voicefile.REFERENCES_LIMIT + 1))


def test_the_size_of_voice_json_is_bounded(made: Path) -> None:
    data = (made / "voice.json").read_bytes()
    decode_voice(data + b" " * (voicefile.VOICE_LIMIT - len(data)))
    with pytest.raises(BadCheckpointError, match="more than"):
        decode_voice(data + b" " * (voicefile.VOICE_LIMIT - len(data) + 1))


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 200_000, b'{"format":1}'])
def test_what_is_no_voice_json(data: bytes) -> None:
    with pytest.raises(BadCheckpointError):
        decode_voice(data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), put=st.binary(max_size=8), drop=st.integers(0, 8))
def test_mutated_voice_json(at: int, put: bytes, drop: int, made: Path) -> None:
    data = (made / "voice.json").read_bytes()
    at %= len(data)
    try:
        voice = decode_voice(data[:at] + put + data[at + drop :])
    except BadCheckpointError:
        return
    assert decode_voice(encode_voice(voice)) == voice


def rewrite(bundle: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of one file of a bundle."""
    file = voicefile.MappedFile(bundle / name)
    tensors = {key: t.clone() for key, t in voicefile.map_tensors(file, voicefile.file_header(file)).items()}
    change(tensors)
    if tensors:
        (bundle / name).unlink()
        write_half(bundle / name, tensors, {})


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("sovits.safetensors", lambda t: t.pop("dec.cond.bias"), "missing"),
        ("sovits.safetensors", lambda t: t.update(more=torch.zeros(1)), "do not belong"),
        ("sovits.safetensors", lambda t: t.update({"dec.cond.bias": torch.zeros(33)}), "shape"),
        ("sovits.safetensors", lambda t: t.update({"enc_q.pre.bias": torch.zeros(3)}), "do not belong"),
        ("gpt.safetensors", lambda t: t.pop("model.ar_predict_layer.weight"), "missing"),
        ("gpt.safetensors", lambda t: t.update({"model.ar_text_position.alpha": torch.zeros(2)}), "shape"),
        ("reference/0.safetensors", lambda t: t.update(more=torch.zeros(1)), "exactly the tensors"),
        ("reference/0.safetensors", lambda t: t.update(spectrogram=torch.zeros(703, 200)), "shape"),
        ("reference/0.safetensors", lambda t: t.update(spectrogram=torch.zeros(704, 203)), "frames"),
        ("reference/0.safetensors", lambda t: t.update(spectrogram=torch.zeros(704, 2, 100)), "shape"),
    ],
)
def test_tensors_that_do_not_fit(
    name: str, change: Callable[[dict[str, torch.Tensor]], object], word: str, bundle: Path
) -> None:
    rewrite(bundle, name, change)
    with pytest.raises(BadCheckpointError, match=word):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["sovits.safetensors", "gpt.safetensors", "reference/1.safetensors"])
@pytest.mark.parametrize("pattern", [b"\x00\x7c", b"\x01\x7e"], ids=["infinity", "NaN"])
def test_numbers_that_are_none(name: str, pattern: bytes, bundle: Path) -> None:
    path = bundle / name
    path.write_bytes(path.read_bytes()[:-2] + pattern)
    with pytest.raises(BadCheckpointError, match="NaN or infinity"):
        load_bundle(bundle)


def test_settings_that_contradict_the_tensors(bundle: Path) -> None:
    for section, change in (
        ("sovits", {"heads": 4}),
        ("gpt", {"heads": 5}),
        ("sovits", {"filter_length": 1024}),
    ):
        content = fields(bundle)
        before = (bundle / "voice.json").read_bytes()
        content[section].update(change | ({"win_length": 1024} if "filter_length" in change else {}))
        (bundle / "voice.json").write_bytes(encoded(content))
        with pytest.raises(BadCheckpointError):
            load_bundle(bundle)
        (bundle / "voice.json").write_bytes(before)
    load_bundle(bundle)


def test_a_code_beyond_the_codebook(bundle: Path) -> None:
    for code, good in ((63, True), (64, False)):
        content = fields(bundle)
        content["references"][1]["codes"][0] = code
        (bundle / "voice.json").write_bytes(encoded(content))
        if good:
            load_bundle(bundle)
        else:
            with pytest.raises(BadCheckpointError, match="codebook's 64"):
                load_bundle(bundle)


def test_a_version_that_comes_later(bundle: Path) -> None:
    (bundle / "voice.json").write_bytes(encoded(fields(bundle) | {"version": "v3"}))
    with pytest.raises(VoiceNotLoadableError, match="comes later"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    "name", ["voice.json", "sovits.safetensors", "gpt.safetensors", "reference/0.safetensors"]
)
def test_missing_and_truncated_files(name: str, bundle: Path) -> None:
    data = (bundle / name).read_bytes()
    for cut in (0, 1, 8, len(data) // 2, len(data) - 2):
        (bundle / name).unlink()
        (bundle / name).write_bytes(data[:cut])
        with pytest.raises(P2PVoiceError) as caught:
            load_bundle(bundle)
        assert isinstance(caught.value, BadCheckpointError)
        assert caught.value.hint
    (bundle / name).unlink()
    with pytest.raises(NotFoundError):
        load_bundle(bundle)


def test_settings_are_frozen(made: Path) -> None:
    voice: VoiceFile = load_bundle(made).voice
    with pytest.raises(AttributeError):
        voice.version = "v3"  # type: ignore[misc]
    assert msgspec.structs.replace(voice, version="v3") != voice
