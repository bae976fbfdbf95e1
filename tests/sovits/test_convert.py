"""Importing a voice: upstream files and a clip in, the same bundle every time, and nothing when refused."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open

from p2pvoice.protocol.errors import (
    BadCheckpointError,
    ConflictError,
    NotFoundError,
    P2PVoiceError,
    RefusedError,
    UnsafeFileError,
    UnsupportedLanguageError,
    UsageError,
)
from p2pvoice.sovits import bases, reference, voicefile
from p2pvoice.sovits.audio import read_clip
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.convert import Recording, import_voice
from p2pvoice.sovits.hubert import Hubert, HubertSettings
from p2pvoice.sovits.tensorfile import write_half
from p2pvoice.sovits.vits import SoVits

from ..attacks import forge
from . import bench

GOOD = forge.HERE / "good"
ENCODER = HubertSettings(
    conv_dims=(16,) * 7, width=48, heads=4, layers=1, feed_forward=64, position_kernel=16, position_groups=4
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> bases.Bases:
    """A small content encoder, installed as the published one is."""
    folder = tmp_path_factory.mktemp("bases")
    torch.manual_seed(0)
    bases.write("hubert", Hubert(ENCODER).state_dict(), ENCODER.to_config(), folder / "hubert")
    return bases.Bases([folder])


def clip(folder: Path, seconds: float = 4.0, name: str = "clip.wav", rate: int = 32_000) -> Path:
    """A clip of a vowel-like sound."""
    time = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 12))
    soundfile.write(folder / name, (0.2 * tone).astype(np.float32), rate)
    return folder / name


def bring(folder: Path, installed: bases.Bases, out: str = "out", **changed: object) -> voicefile.VoiceFile:
    given = {
        "sovits": GOOD / "tiny_v2.pth",
        "gpt": GOOD / "tiny_v2.ckpt",
        "clip": folder / "clip.wav",
        "text": "今日天氣好好",
        "lang": "yue",
    }
    return import_voice(**(given | changed), out=folder / out, bases=installed)  # type: ignore[arg-type]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_imported_voice_loads_with_every_number(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    voice = bring(tmp_path, installed)
    assert sorted(digests(tmp_path / "out")) == [
        "gpt.safetensors",
        "reference/0.safetensors",
        "reference/0.wav",
        "sovits.safetensors",
        "voice.json",
    ]
    bundle = voicefile.load_bundle(tmp_path / "out")
    assert bundle.voice == voice
    for path, tensors in ((GOOD / "tiny_v2.pth", bundle.sovits), (GOOD / "tiny_v2.ckpt", bundle.gpt)):
        origin = read_checkpoint(path).tensors
        assert origin.keys() == tensors.keys()
        assert all(torch.equal(origin[name], tensors[name]) for name in origin)
    (reference,) = voice.references
    assert (reference.text, reference.lang, reference.milliseconds) == ("今日天氣好好", "yue", 4000)
    # 4 s and 0.6 s of silence at 25 codes a second, less the one that the encoder's edges cost.
    assert len(reference.codes) == 114
    assert bundle.spectrograms[0].shape == (704, 200)
    assert (voice.bases.content, voice.bases.bert) == ("hubert", "bert")


def test_two_imports_are_equal_byte_for_byte(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    bring(tmp_path, installed)
    # The same weights in another container, with the config as plain dictionaries and the posterior encoder.
    other = tmp_path / "other.pth"
    content = forge.tiny()
    content["weight"] = dict(reversed(content["weight"].items())) | {"enc_q.pre.bias": torch.ones(3)}
    other.write_bytes(forge.save(content, objects=False))
    bring(tmp_path, installed, "again", sovits=other)
    assert digests(tmp_path / "out") == digests(tmp_path / "again")


def test_other_readers_understand_the_weights(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    bring(tmp_path, installed)
    with safe_open(tmp_path / "out" / "sovits.safetensors", "pt") as file:
        names = list(file.keys())
        assert torch.equal(
            file.get_tensor("dec.cond.bias"), read_checkpoint(GOOD / "tiny_v2.pth").tensors["dec.cond.bias"]
        )
        told = json.loads(file.metadata()["config"])
    assert len(names) == 526
    assert told["version"] == "v2"
    assert "demo" not in json.dumps(told)


def test_a_bundle_can_be_imported_again(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    bring(tmp_path, installed)
    out = tmp_path / "out"
    bring(tmp_path, installed, "again", sovits=out / "sovits.safetensors", gpt=out / "gpt.safetensors")
    assert digests(out) == digests(tmp_path / "again")


def test_swapped_files_are_understood(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    bring(tmp_path, installed, sovits=GOOD / "tiny_v2.ckpt", gpt=GOOD / "tiny_v2.pth")
    assert voicefile.check_bundle(tmp_path / "out") == {
        "family": "gpt-sovits",
        "version": "v2",
        "sample_rate": 32000,
        "bases": {"content": "hubert", "bert": "bert"},
        "languages": ["yue"],
        "references": [{"lang": "yue", "milliseconds": 4000}],
        "parameters": 491020,
    }


def test_progress_ends_at_one_and_an_exception_in_it_stops_the_import(
    tmp_path: Path, installed: bases.Bases
) -> None:
    clip(tmp_path)
    steps: list[tuple[str, float]] = []
    bring(tmp_path, installed, progress=lambda stage, done: steps.append((stage, done)))
    assert [stage for stage, done in steps if done == 1.0] == ["read", "listen", "convert"]

    class Enough(Exception):
        pass

    def stop(stage: str, done: float) -> None:
        if stage == "convert" and done > 0:
            raise Enough

    with pytest.raises(Enough):
        bring(tmp_path, installed, "stopped", progress=stop)
    assert not [path for path in tmp_path.iterdir() if "stopped" in path.name]


def test_a_pinned_encoder_is_used_and_named(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    pinned = bases.content_id(installed.folders[0] / "hubert")
    content = forge.tiny()
    content["config"]["content_module"] = pinned
    (tmp_path / "pinned.pth").write_bytes(forge.save(content))
    assert bring(tmp_path, installed, sovits=tmp_path / "pinned.pth").bases.content == pinned
    content["config"]["content_module"] = "bafkrei" + "a" * 52
    (tmp_path / "pinned.pth").write_bytes(forge.save(content))
    with pytest.raises(NotFoundError, match="not installed"):
        bring(tmp_path, installed, "other", sovits=tmp_path / "pinned.pth")


def test_a_gpt_that_does_not_listen_to_bert_asks_for_none(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    gpt = read_checkpoint(GOOD / "tiny_v2.ckpt")
    tensors = {**gpt.tensors, "model.bert_proj.weight": torch.zeros(32, 1024)}
    write_half(tmp_path / "gpt.safetensors", tensors, {"config": json.dumps(gpt.config)})
    assert bring(tmp_path, installed, gpt=tmp_path / "gpt.safetensors").bases.bert is None


@pytest.mark.parametrize(("seconds", "good"), [(2.99, False), (3.0, True), (10.0, True), (10.01, False)])
def test_a_clip_lasts_three_to_ten_seconds(
    seconds: float, good: bool, tmp_path: Path, installed: bases.Bases
) -> None:
    clip(tmp_path, seconds)
    if good:
        assert bring(tmp_path, installed).references[0].milliseconds == round(seconds * 1000)
        voicefile.load_bundle(tmp_path / "out")
    else:
        with pytest.raises(UsageError, match="3 to 10 s"):
            bring(tmp_path, installed)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "rate"), [("clip.flac", 44_100), ("clip.ogg", 48_000), ("clip.mp3", 24_000)]
)
def test_clips_of_other_formats_and_rates(
    name: str, rate: int, tmp_path: Path, installed: bases.Bases
) -> None:
    bring(tmp_path, installed, clip=clip(tmp_path, 5.0, name, rate))
    with soundfile.SoundFile(tmp_path / "out" / "reference" / "0.wav") as file:
        assert (file.samplerate, file.channels, file.subtype) == (rate, 1, "PCM_16")
    voicefile.load_bundle(tmp_path / "out")


@pytest.mark.parametrize(
    ("changed", "kind", "word"),
    [
        ({"lang": "klingon"}, UsageError, "language"),
        ({"text": "  "}, UsageError, "transcript"),
        ({"text": "x" * (voicefile.TEXT_LIMIT + 1)}, UsageError, "transcript"),
        ({"text": "a\u202eb"}, UsageError, "transcript"),
        ({"text": "……"}, P2PVoiceError, "spoken"),
        ({"sovits": GOOD / "tiny_v2.ckpt"}, UsageError, "both weight files"),
        (
            {"sovits": GOOD / "tiny_v3_lora.pth"},
            BadCheckpointError,
            "LoRA of a v3 voice; importing it comes later",
        ),
        (
            {"sovits": GOOD / "tiny_v4_lora.pth"},
            BadCheckpointError,
            "LoRA of a v4 voice; importing it comes later",
        ),
        ({"sovits": forge.HERE / "bad" / "reduce_os_system.pth"}, UnsafeFileError, "posix.system"),
        ({"gpt": forge.HERE / "bad" / "html_error_page.ckpt"}, BadCheckpointError, "web page"),
        ({"clip": GOOD / "tiny_v2.ckpt"}, UsageError, "no audio"),
        ({"clip": Path("/nonexistent.wav")}, NotFoundError, "no file"),
        ({"sovits": Path("/nonexistent.pth")}, NotFoundError, "no file"),
    ],
)
def test_what_is_refused_writes_nothing(
    changed: dict[str, object],
    kind: type[P2PVoiceError],
    word: str,
    tmp_path: Path,
    installed: bases.Bases,
) -> None:
    clip(tmp_path)
    with pytest.raises(kind, match=word) as caught:
        bring(tmp_path, installed, **changed)
    assert caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.wav"]


def test_versions_that_come_later_say_so(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    with pytest.raises(RefusedError, match="comes later"):
        bring(tmp_path, installed, sovits=forge.place("good", "tiny_v3.pth", tmp_path))
    assert not (tmp_path / "out").exists()


def test_a_v1_voice(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    files = {"sovits": GOOD / "tiny_v1.pth", "gpt": GOOD / "tiny_v1.ckpt"}
    with pytest.raises(UnsupportedLanguageError, match="no Cantonese"):
        bring(tmp_path, installed, **files)
    assert not (tmp_path / "out").exists()
    voice = bring(tmp_path, installed, text="今天天气很好", lang="zh", **files)
    assert (voice.version, voice.bases.speaker) == ("v1", None)
    # A v1 voice sees the whole spectrum.
    assert voicefile.load_bundle(tmp_path / "out").spectrograms[0].shape == (1025, 200)


@pytest.mark.parametrize("version", voicefile.PRO_VERSIONS)
def test_a_pro_voice_brings_its_speaker_vectors(version: str, tmp_path: Path, installed: bases.Bases) -> None:
    sovits = GOOD / f"tiny_{version}.pth"
    clip(tmp_path)
    with pytest.raises(NotFoundError, match="speaker is not installed") as caught:
        bring(tmp_path, installed, sovits=sovits)
    assert caught.value.hint == "p2pvoice base add PATH/TO/sv, or from peers: p2pvoice base fetch speaker"
    assert not (tmp_path / "out").exists()
    bench.install_speaker(tmp_path / "bases")
    both = bases.Bases([*installed.folders[:1], tmp_path / "bases"])
    voice = bring(tmp_path, both, sovits=sovits)
    assert voice.bases == voicefile.BaseIds("hubert", "bert", "speaker")
    bundle = voicefile.load_bundle(tmp_path / "out")
    (vector,) = bundle.speakers
    samples, rate = read_clip(tmp_path / "clip.wav")
    network = SoVits.from_tensors(bundle.sovits, voice.sovits_config())
    expected = reference.speaker_vector(samples, rate, both.speaker(), network)
    assert torch.equal(vector, expected.half())
    assert voicefile.check_bundle(tmp_path / "out")["bases"]["speaker"] == "speaker"


def test_several_references_in_their_order(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    more = [Recording(clip(tmp_path, 3.0 + i, f"{i}.wav"), "你好" + "，你好" * i, "zh") for i in range(1, 16)]
    seven = more[:6]
    voice = bring(tmp_path, installed, more=seven)
    assert [one.milliseconds for one in voice.references] == [4000, *range(4000, 10_000, 1000)]
    assert [one.text for one in voice.references] == ["今日天氣好好", *(one.text for one in seven)]
    assert len(voicefile.load_bundle(tmp_path / "out").spectrograms) == 7
    with pytest.raises(UsageError, match="17 references"):
        bring(tmp_path, installed, "many", more=[*more, more[0]])
    with pytest.raises(UsageError, match="transcript"):
        bring(tmp_path, installed, "many", more=[Recording(more[0].path, "", "zh")])
    assert not (tmp_path / "many").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_of_other_types_are_stored_as_fp16(
    dtype: torch.dtype, tmp_path: Path, installed: bases.Bases
) -> None:
    clip(tmp_path)
    content = forge.tiny()
    content["weight"] = {name: tensor.to(dtype) for name, tensor in content["weight"].items()}
    (tmp_path / "wide.pth").write_bytes(forge.save(content))
    bring(tmp_path, installed, sovits=tmp_path / "wide.pth")
    stored = voicefile.load_bundle(tmp_path / "out").sovits
    assert all(torch.equal(tensor, content["weight"][name].half()) for name, tensor in stored.items())
    if dtype == torch.float32:  # Nothing is lost on the way there and back.
        bring(tmp_path, installed, "again")
        assert digests(tmp_path / "out") == digests(tmp_path / "again")


def test_two_files_of_different_voices_are_refused(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    with pytest.raises(BadCheckpointError, match="of v1, the SoVITS model of v2"):
        bring(tmp_path, installed, gpt=GOOD / "tiny_v1.ckpt")
    with pytest.raises(BadCheckpointError, match="of v2, the SoVITS model of v1"):
        bring(tmp_path, installed, sovits=GOOD / "tiny_v1.pth", text="你好", lang="zh")
    gpt = read_checkpoint(GOOD / "tiny_v2.ckpt")
    config = {"model": {"head": 4}}
    shorter = {
        name: tensor[:40] if name in ("model.ar_predict_layer.weight",) or "ar_audio_emb" in name else tensor
        for name, tensor in gpt.tensors.items()
    }
    write_half(tmp_path / "other.safetensors", shorter, {"config": json.dumps(config)})
    with pytest.raises(BadCheckpointError, match="knows 39 codes"):
        bring(tmp_path, installed, gpt=tmp_path / "other.safetensors")


def test_without_the_content_encoder_the_error_says_what_to_type(tmp_path: Path) -> None:
    clip(tmp_path)
    with pytest.raises(NotFoundError) as caught:
        bring(tmp_path, bases.Bases([]))
    assert caught.value.hint.startswith("p2pvoice base add ")


def test_an_existing_voice_is_not_overwritten(tmp_path: Path, installed: bases.Bases) -> None:
    clip(tmp_path)
    bring(tmp_path, installed)
    before = digests(tmp_path / "out")
    with pytest.raises(ConflictError):
        bring(tmp_path, installed)
    assert digests(tmp_path / "out") == before


def test_numbers_beyond_fp16_are_refused(tmp_path: Path) -> None:
    write_half(tmp_path / "good.safetensors", {"a": torch.tensor([65_504.0])}, {})
    with pytest.raises(BadCheckpointError, match="too large"):
        write_half(tmp_path / "bad.safetensors", {"a": torch.tensor([65_520.0])}, {})


def test_an_unknown_language_is_an_unsupported_one_for_the_text_part() -> None:
    """The two parts name the same languages."""
    from p2pvoice.sovits import text

    assert set(voicefile.LANGUAGES) == set(text.LANGUAGES)
    with pytest.raises(UnsupportedLanguageError):
        text.phonemize("x", "klingon")


def test_conversion_matches_the_vector(tmp_path: Path, installed: bases.Bases) -> None:
    """The same weights give the same files on every machine."""
    vector = json.loads((Path(__file__).parents[2] / "specs" / "vectors" / "bundle.json").read_text())
    clip(tmp_path)
    bring(tmp_path, installed)
    found = digests(tmp_path / "out")
    assert {name: found[name] for name in vector["sha256"]} == vector["sha256"]
    with safe_open(tmp_path / "out" / "sovits.safetensors", "pt") as file:
        assert file.metadata() == vector["sovits_metadata"]
