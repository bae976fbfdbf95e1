"""A lite voice on its way: imported from files, written, admitted, loaded, spoken; hostile ones refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError, NotFoundError, UsageError
from p2pvoice.sovits import bases, convert, voicefile
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.tensorfile import write_half

from . import tiny

Files = tuple[Path, Path, Path, bases.Bases]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return tiny.files(tmp_path_factory.mktemp("lite"))


@pytest.fixture(scope="module")
def made(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "bundle"
    s2, s1, clip, installed = files
    convert.import_voice(s2, s1, clip, tiny.SAID, "en", out, installed)
    return out


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def test_files_are_identified_as_lite(files: Files) -> None:
    found = read_checkpoint(files[0])
    assert (found.part, found.version) == ("s2", "lite")
    assert found.settings is not None
    assert found.content_encoder.startswith("b")


def test_an_imported_voice_says_what_a_manifest_needs(made: Path) -> None:
    facts = voicefile.check_bundle(made)
    assert (facts["family"], facts["version"], facts["sample_rate"]) == ("gpt-sovits", "lite", 24_000)
    assert set(facts["bases"]) == {"content"}
    voice = voicefile.read_voice(made)
    assert len(voice.references[0].codes) == 100
    assert voice.sovits.upsample_rates == ()
    assert {path.name for path in made.iterdir()} == {
        "voice.json", "sovits.safetensors", "gpt.safetensors", "reference",
    }  # fmt: skip


def test_the_same_files_give_the_same_bundle_and_a_bundle_can_be_imported_again(
    files: Files, made: Path, tmp_path: Path
) -> None:
    _, _, clip, installed = files
    again = tmp_path / "again"
    weights = made / "sovits.safetensors", made / "gpt.safetensors"
    convert.import_voice(*weights, clip, tiny.SAID, "en", again, installed)
    for path in sorted(made.rglob("*")):
        if path.is_file():
            assert (again / path.relative_to(made)).read_bytes() == path.read_bytes()


def test_it_speaks_and_a_seed_gives_the_same_speech_again(files: Files, made: Path) -> None:
    request = SpeakText("Good morning.", "en", seed=4, top_k=1024, temperature=10.0)
    spoken = [np.concatenate(list(Voice.load(made, files[3], "cpu").speak(request))) for _ in range(2)]
    assert np.array_equal(*spoken)
    assert len(spoken[0]) % 960 == 0
    assert 0 < np.abs(spoken[0]).max() <= 1


def test_a_clip_needs_the_right_length_text_and_encoder(files: Files, tmp_path: Path) -> None:
    import soundfile

    s2, s1, clip, installed = files
    with pytest.raises(UsageError, match="transcript"):
        convert.import_voice(s2, s1, clip, " ".join([tiny.SAID] * 6), "en", tmp_path / "a", installed)
    soundfile.write(tmp_path / "short.wav", tiny.speech(2.9), tiny.RATE)
    with pytest.raises(UsageError, match="3 to 10 s"):
        convert.import_voice(s2, s1, tmp_path / "short.wav", tiny.SAID, "en", tmp_path / "b", installed)
    with pytest.raises(NotFoundError, match="content encoder"):
        convert.import_voice(s2, s1, clip, tiny.SAID, "en", tmp_path / "c", bases.Bases())
    assert not list(tmp_path.glob("[abc]"))


@pytest.mark.parametrize(
    "change",
    [
        {"sample_rate": 16_000}, {"hop_length": 240}, {"filter_length": 2048}, {"win_length": 512},
        {"upsample_rates": [8], "upsample_kernels": [16]}, {"resblock_kernels": [3]}, {"heads": 0},
        {"heads": 3},
    ],
)  # fmt: skip
def test_settings_that_are_no_lite_voices_are_refused(change: dict[str, object], bundle: Path) -> None:
    said = json.loads((bundle / "voice.json").read_text())
    said["sovits"].update(change)
    (bundle / "voice.json").write_text(json.dumps(said))
    with pytest.raises(BadCheckpointError):
        voicefile.load_bundle(bundle)


@pytest.mark.parametrize("version", ["v2", "v1", "v2Pro"])
def test_a_lite_voice_cannot_pass_for_another_version(version: str, bundle: Path) -> None:
    said = json.loads((bundle / "voice.json").read_text())
    said["version"] = version
    (bundle / "voice.json").write_text(json.dumps(said))
    with pytest.raises(BadCheckpointError):
        voicefile.load_bundle(bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("dec.post.bias"),
        lambda t: t.update(more=torch.zeros(1)),
        lambda t: t.update({"dec.post.bias": torch.full((324,), float("nan"))}),
        lambda t: t.update({"dec.pre.weight": torch.zeros(12, 80, 7)}),
        lambda t: t.update({"enc_p.text_embedding.weight": torch.zeros(322, 8)}),
        lambda t: t.update({"enc_q.pre.bias": torch.zeros(3)}),
    ],
)
def test_hostile_tensors_are_refused(change, bundle: Path) -> None:
    file = voicefile.MappedFile(bundle / "sovits.safetensors")
    tensors = {k: t.clone() for k, t in voicefile.map_tensors(file, voicefile.file_header(file)).items()}
    change(tensors)
    (bundle / "sovits.safetensors").unlink()
    if any(not bool(torch.isfinite(t).all()) for t in tensors.values()):
        from safetensors.torch import save_file

        save_file(tensors, bundle / "sovits.safetensors")
    else:
        write_half(bundle / "sovits.safetensors", tensors, {})
    with pytest.raises(BadCheckpointError):
        voicefile.load_bundle(bundle)


def test_a_reference_of_another_width_is_refused(bundle: Path) -> None:
    path = bundle / "reference" / "0.safetensors"
    path.unlink()
    write_half(path, {voicefile.SPECTROGRAM: torch.zeros(81, 200)}, {})
    with pytest.raises(BadCheckpointError, match="shape"):
        voicefile.load_bundle(bundle)
