"""Exporting: what was imported comes out in upstream's form, bit for bit, and with nothing besides."""

import hashlib
import io
import json
import pickletools
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits import export, voicefile
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.convert import import_voice
from p2pvoice.sovits.mapped import MappedFile
from p2pvoice.sovits.torch_file import open_torch
from p2pvoice.sovits.torch_writer import Settings, torch_file

from ..attacks import forge
from . import bench, numbers

VERSIONS = ["v1", "v2", "v2Pro", "v2ProPlus"]
#: All that a reader of the two files is asked to look up (specs/checkpoints.md).
NAMES = {"collections OrderedDict", "torch HalfStorage", "torch._utils _rebuild_tensor_v2"}


@pytest.fixture(scope="module", params=VERSIONS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    bench.voice(folder, request.param)
    write(folder / "bundle", folder / "out")
    return request.param, folder


def write(bundle: Path, out: Path, notes: dict[str, str] | None = None) -> None:
    (out / "reference").mkdir(parents=True)
    for file in export.export(bundle, "voice", notes or {}):
        (out / file.name).write_bytes(b"".join(file.pieces))
        assert (out / file.name).stat().st_size == file.size


def origin(version: str, kind: str) -> Path:
    name = "tiny_v2" if kind == "ckpt" and version != "v1" else f"tiny_{version}"
    return numbers.beside(f"checkpoints/good/{name}.{kind}")


@pytest.mark.parametrize("kind", ["pth", "ckpt"])
def test_every_number_comes_back(exported: tuple[str, Path], kind: str) -> None:
    version, folder = exported
    brought, given = read_checkpoint(origin(version, kind)), read_checkpoint(folder / "out" / f"voice.{kind}")
    assert (given.part, given.version, given.settings) == (brought.part, brought.version, brought.settings)
    assert given.tensors.keys() == brought.tensors.keys()
    for name, tensor in brought.tensors.items():
        assert given.tensors[name].dtype == torch.float16
        assert torch.equal(given.tensors[name].view(torch.int16), tensor.view(torch.int16)), name


def test_it_can_be_imported_again_to_the_same_bytes(exported: tuple[str, Path]) -> None:
    folder = exported[1]
    lines = (folder / "out" / "voice.list").read_text("utf-8").splitlines()
    (clip, speaker, lang, said), *_ = (line.split("|") for line in lines)
    assert (clip, speaker) == ("reference/0.wav", "voice")
    assert {"ZH": "zh", "YUE": "yue"}[lang] == voicefile.read_voice(folder / "bundle").references[0].lang
    again = folder / "again"
    import_voice(
        folder / "out" / "voice.pth",
        folder / "out" / "voice.ckpt",
        folder / "out" / clip,
        said,
        lang.lower(),
        again,
        Bases([folder / "bases"]),
    )
    for name in (voicefile.SOVITS_NAME, voicefile.GPT_NAME, "reference/0.wav"):
        assert (again / name).read_bytes() == (folder / "bundle" / name).read_bytes()


def test_torch_loads_what_upstream_wants(exported: tuple[str, Path]) -> None:
    """As upstream reads it: PK put back, attributes and items of the settings, every key of its network."""
    version, folder = exported
    data = (folder / "out" / "voice.pth").read_bytes()
    assert data[:2] == {"v2Pro": b"05", "v2ProPlus": b"06"}.get(version, b"PK")
    with forge.upstream_classes() as hparams:
        torch.serialization.add_safe_globals([hparams])
        try:
            content = torch.load(io.BytesIO(b"PK" + data[2:]), weights_only=True)
        finally:
            torch.serialization.clear_safe_globals()
        assert type(content["config"]) is type(content["config"].model) is hparams
    assert list(content) == ["weight", "config", "info"]
    before = forge.plain(content["config"])
    with forge.upstream_classes():
        brought = torch.load(io.BytesIO(b"PK" + origin(version, "pth").read_bytes()[2:]), weights_only=False)
    assert content["weight"].keys() == brought["weight"].keys()
    theirs = forge.plain(brought["config"])
    # All of the settings that build the network, and nothing of the machine that it was trained on.
    same = set(before["model"]) & set(theirs["model"]) - {"n_layers_q"}
    assert same >= {"inter_channels", "n_heads", "gin_channels", "upsample_rates", "version", "p_dropout"}
    assert {key: before["model"][key] for key in same} == {key: theirs["model"][key] for key in same}
    assert before["data"] == {key: value for key, value in theirs["data"].items() if key != "exp_dir"}
    assert before["train"] == {"segment_size": 20480}
    assert b"logs/" not in data
    # Without these upstream would fill the codebook anew from the first clip it hears.
    codebook = "quantizer.vq.layers.0._codebook."
    assert content["weight"][codebook + "inited"].tolist() == [1]


def test_the_gpt_file_needs_no_class_at_all(exported: tuple[str, Path]) -> None:
    version, folder = exported
    content = torch.load(folder / "out" / "voice.ckpt", weights_only=True)
    brought = torch.load(origin(version, "ckpt"), weights_only=True)
    assert content["weight"].keys() == brought["weight"].keys()
    model = brought["config"]["model"]
    assert {key: content["config"]["model"][key] for key in model} == model
    assert content["config"]["data"]["max_sec"] == 54


@pytest.mark.parametrize("kind", ["pth", "ckpt"])
def test_the_index_asks_for_the_known_names_only(exported: tuple[str, Path], kind: str) -> None:
    data = b"PK" + (exported[1] / "out" / f"voice.{kind}").read_bytes()[2:]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        index = archive.read("archive/data.pkl")
    asked = {str(argument) for opcode, argument, _ in pickletools.genops(index) if opcode.name == "GLOBAL"}
    assert asked == NAMES | ({"utils HParams"} if kind == "pth" else set())
    assert max(opcode.proto for opcode, _, _ in pickletools.genops(index)) == 2


def test_the_same_voice_gives_the_same_files(exported: tuple[str, Path], tmp_path: Path) -> None:
    folder = exported[1]
    write(folder / "bundle", tmp_path / "out", {"LICENCE.txt": "as you like 好\n"})
    for path in (folder / "out").rglob("*.*"):
        assert (tmp_path / "out" / path.relative_to(folder / "out")).read_bytes() == path.read_bytes()
    assert (tmp_path / "out" / "LICENCE.txt").read_text("utf-8") == "as you like 好\n"


def test_plain_settings_need_no_class_either(exported: tuple[str, Path], tmp_path: Path) -> None:
    version, folder = exported
    bundle = voicefile.load_bundle(folder / "bundle")
    data = b"".join(export.sovits_file(bundle, "voice", plain=True))
    content = torch.load(io.BytesIO(b"PK" + data[2:]), weights_only=True)
    with forge.upstream_classes():
        objects = (folder / "out" / "voice.pth").read_bytes()
        other = torch.load(io.BytesIO(b"PK" + objects[2:]), weights_only=False)
    assert content["config"] == forge.plain(other["config"])
    (tmp_path / "plain.pth").write_bytes(data)
    read = read_checkpoint(tmp_path / "plain.pth")
    assert (read.version, read.settings) == (version, bundle.voice.sovits)


def test_a_bar_in_a_transcript_does_not_end_it(exported: tuple[str, Path], tmp_path: Path) -> None:
    shutil.copytree(exported[1] / "bundle", tmp_path / "bundle")
    voice = voicefile.read_voice(tmp_path / "bundle")
    said = voice.references[0].text
    data = voicefile.encode_voice(voice).decode().replace(said, "好|en|", 1)
    (tmp_path / "bundle" / "voice.json").write_text(data, "utf-8")
    line = export.clip_list(voicefile.load_bundle(tmp_path / "bundle"), "voice").splitlines()[0]
    assert line.count("|") == 3


def test_a_lite_voice_has_no_such_form(tmp_path: Path) -> None:
    from p2pvoice.sovits.packaged import packaged_voice

    came = packaged_voice()
    import_voice(came.sovits, came.gpt, came.clip, came.text, came.lang, tmp_path / "lite", Bases())
    with pytest.raises(UsageError, match="lite"):
        list(export.export(tmp_path / "lite", "voice", {}))


def test_the_writer_and_both_readers_agree() -> None:
    """Every kind of value, numbers at the edges of their opcodes, more texts than short references reach."""
    tensors = {f"t.{i}": torch.full((i % 3 + 1, 2), i, dtype=torch.float16) for i in range(150)}
    tensors |= {"single": torch.tensor(2.5), "none": torch.zeros(0, 4), "brain": torch.ones(3).bfloat16()}
    table = {
        "whole": [0, 255, 256, 65535, 65536, 2**31 - 1, -1, -(2**31)], "broken": 1e-9, "yes": True,
        "no": False, "nothing": None, "text": "粵語 'x'", "nested": {"again": [[1, 3], []]},
    }  # fmt: skip
    data = b"".join(torch_file({"weight": tensors, "config": table, "info": "x"}))
    content = torch.load(io.BytesIO(data), weights_only=True)
    assert content["config"] == table
    assert all(torch.equal(content["weight"][name], tensor) for name, tensor in tensors.items())
    assert {name: (t.dtype, t.shape) for name, t in content["weight"].items()} == {
        name: (t.dtype, t.shape) for name, t in tensors.items()
    }


def test_our_own_reader_sees_the_same(tmp_path: Path) -> None:
    weight = {"a.b": torch.randn(3, 5).half(), "c": torch.randn(7)}
    config = Settings({"model": {"x": 1, "deeper": {"y": "z"}}})
    (tmp_path / "file").write_bytes(b"".join(torch_file({"weight": weight, "config": config}, b"06")))
    opened = open_torch(MappedFile(tmp_path / "file"))
    assert isinstance(opened.top, dict)
    found = opened.tensors(opened.top["weight"])
    assert all(torch.equal(found[name], tensor) for name, tensor in weight.items())
    assert opened.top["config"].fields["model"].fields["deeper"].fields == {"y": "z"}
    # Numbers lie where they can be used in place.
    assert all(opened.storages[key].start % 64 == 0 for key in opened.storages)


@pytest.mark.parametrize(
    "value",
    [
        object(), {1: 2}, 2**31, b"bytes", {"a": {"b"}}, torch.ones(2, dtype=torch.int64),
        torch.ones(2, 3).t(), torch.empty(1, device="meta"), np.float32(1),
    ],
)  # fmt: skip
def test_what_has_no_place_in_a_file(value: object) -> None:
    with pytest.raises(TypeError):
        torch_file({"weight": {}, "config": value})


def test_conversion_and_export_match_the_vector(exported: tuple[str, Path]) -> None:
    """The same files on every machine, into the bundle and out of it."""
    version, folder = exported
    vector = json.loads((Path(__file__).parents[2] / "specs" / "vectors" / "export.json").read_text())
    names = [("bundle", voicefile.SOVITS_NAME), ("bundle", voicefile.GPT_NAME), ("out", "voice.pth")]
    found = {
        name: hashlib.sha256((folder / place / name).read_bytes()).hexdigest()
        for place, name in [*names, ("out", "voice.ckpt")]
    }
    assert found == vector["sha256"][version]
    text = vector["voice_json"].get(version)
    if text:
        assert voicefile.encode_voice(voicefile.decode_voice(text.encode())).decode() == text
