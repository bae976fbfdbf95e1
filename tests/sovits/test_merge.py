"""Merging and comparing bundles: against plain float64, the same bytes every time, and every refusal."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors import safe_open

from p2pvoice.protocol.errors import BadCheckpointError, ConflictError, UsageError
from p2pvoice.sovits import anatomy, slices, voicefile
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.compare import by_part, compare, references
from p2pvoice.sovits.merge import Recipe, merge, require_fitting
from p2pvoice.sovits.packaged import packaged_voice
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.tensorfile import write_half
from p2pvoice.sovits.voicefile import GPT_NAME, SOVITS_NAME, VOICE_NAME, check_bundle, read_voice

from .test_convert import bring, clip
from .test_convert import installed as installed

VECTORS = Path(__file__).parents[2] / "specs" / "vectors" / "merging.json"
WEIGHTS = (GPT_NAME, SOVITS_NAME)

Tensors = dict[str, torch.Tensor]


def tensors(path: Path) -> Tensors:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def rewrite(path: Path, change: Callable[[str, torch.Tensor], torch.Tensor | None]) -> None:
    """Write a weight file again, each tensor as ``change`` makes it; None leaves one out."""
    with safe_open(path, framework="pt") as file:
        note = file.metadata()
    made = {name: change(name, tensor) for name, tensor in tensors(path).items()}
    replace(path, {name: tensor for name, tensor in made.items() if tensor is not None}, note or {})


def replace(path: Path, made: Tensors, note: dict[str, str]) -> None:
    """Write beside it and rename: the tensors that were read lie in the old file."""
    write_half(path.with_suffix(".new"), made, note)
    path.with_suffix(".new").rename(path)


def relative_of(folder: Path, seed: int = 1, scale: float = 0.1) -> Path:
    """Another voice of the same lineage beside this one: all weights moved but the codes."""
    other = folder.with_name(f"{folder.name}-{seed}")
    if other.exists():
        return other
    (other / "reference").mkdir(parents=True)
    for path in folder.rglob("*"):
        if path.is_file():
            (other / path.relative_to(folder)).write_bytes(path.read_bytes())
    generator = torch.Generator().manual_seed(seed)

    def moved(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if anatomy.part_of(name) == anatomy.CODES:
            return tensor
        noise = torch.randn(tensor.shape, generator=generator)
        return tensor.float() + scale * noise * tensor.float().abs().mean()

    for name in WEIGHTS:
        rewrite(other / name, moved)
    return other


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, installed: Bases) -> Path:
    """The bundle of the tiny golden v2 voice."""
    folder = tmp_path_factory.mktemp("tiny")
    clip(folder)
    bring(folder, installed, "ours")
    return folder / "ours"


@pytest.fixture(scope="module")
def theirs(tiny: Path) -> Path:
    return relative_of(tiny)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the voice in the package, which is lite."""
    from p2pvoice.sovits.convert import import_voice

    out = tmp_path_factory.mktemp("starter") / "ours"
    import_voice(**vars(packaged_voice()), out=out, bases=Bases([]))
    return out


# Average ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("which", "share"), [("tiny", 1), ("tiny", 300), ("tiny", 999), ("starter", 500)])
def test_the_mean_is_that_of_plain_float64(
    which: str, share: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    ours: Path = request.getfixturevalue(which)
    theirs = relative_of(ours)
    merge(ours, theirs, tmp_path / "out", Recipe("average", share))
    for name in WEIGHTS:
        a, b, c = (tensors(folder / name) for folder in (ours, theirs, tmp_path / "out"))
        assert a.keys() == b.keys() == c.keys()
        for key, found in c.items():
            wanted = (1 - share / 1000) * a[key].double() + share / 1000 * b[key].double()
            # Half of the last place of fp16, and what float32 adds before.
            spacing = torch.from_numpy(np.spacing(wanted.abs().half().numpy())).double()
            assert bool(((found.double() - wanted).abs() <= 0.502 * spacing + 1e-9).all()), key
            assert found.dtype == torch.float16


def test_the_mean_of_a_voice_and_itself_is_that_voice(tiny: Path, tmp_path: Path) -> None:
    merge(tiny, tiny, tmp_path / "out", Recipe("average", 333))
    assert digests(tmp_path / "out") == digests(tiny)


def test_what_is_equal_stays_and_shares_its_bytes(tiny: Path, tmp_path: Path) -> None:
    other = relative_of(tiny, seed=5)
    (other / SOVITS_NAME).write_bytes((tiny / SOVITS_NAME).read_bytes())
    merge(tiny, other, tmp_path / "out", Recipe("average"))
    assert digests(tmp_path / "out")[SOVITS_NAME] == digests(tiny)[SOVITS_NAME]
    assert digests(tmp_path / "out")[GPT_NAME] != digests(tiny)[GPT_NAME]


def test_each_element_is_rounded_as_the_vectors_say() -> None:
    from p2pvoice.sovits.merge import _mean

    rows = json.loads(VECTORS.read_text())["mean"]
    assert {row["dtype"] for row in rows} == set(slices.DTYPES)
    for row in rows:
        a, b, wanted = (bytes.fromhex(row[key]) for key in ("a", "b", "mean"))
        assert _mean(a, b, row["dtype"], row["share"]) == wanted, row


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_the_mean_of_the_largest_numbers_is_finite_with_every_share(dtype: str) -> None:
    from p2pvoice.sovits.merge import _mean

    largest = slices.raw(torch.tensor([torch.finfo(slices.DTYPES[dtype]).max], dtype=slices.DTYPES[dtype]))
    for share in range(1, 1000):
        assert bool(slices.numbers(_mean(largest, largest, dtype, share), dtype).isfinite().all())


# Layers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["reading", "phrasing", "choice", "text", "style", "flow", "decoder"])
def test_a_part_is_theirs_and_the_rest_is_ours(word: str, tiny: Path, theirs: Path, tmp_path: Path) -> None:
    merge(tiny, theirs, tmp_path / "out", Recipe("layers", parts=anatomy.parts_named([word])))
    taken = 0
    for name in WEIGHTS:
        a, b, c = (tensors(folder / name) for folder in (tiny, theirs, tmp_path / "out"))
        for key, found in c.items():
            source = b if anatomy.part_of(key) == word else a
            assert torch.equal(found, source[key]), key
            taken += source is b
    assert taken > 0
    check_bundle(tmp_path / "out")


def test_a_whole_network_is_the_other_voices_file(tiny: Path, theirs: Path, tmp_path: Path) -> None:
    merge(tiny, theirs, tmp_path / "gpt", Recipe("layers", parts=anatomy.parts_named(["gpt"])))
    assert digests(tmp_path / "gpt")[GPT_NAME] == digests(theirs)[GPT_NAME]
    assert digests(tmp_path / "gpt")[SOVITS_NAME] == digests(tiny)[SOVITS_NAME]
    merge(tiny, theirs, tmp_path / "s2", Recipe("layers", parts=anatomy.parts_named(["sovits"])))
    assert digests(tmp_path / "s2")[SOVITS_NAME] == digests(theirs)[SOVITS_NAME]
    assert digests(tmp_path / "s2")[GPT_NAME] == digests(tiny)[GPT_NAME]


def test_references_are_taken_when_asked_for_and_only_then(
    tiny: Path, tmp_path: Path, installed: Bases
) -> None:
    clip(tmp_path, seconds=5.0)
    bring(tmp_path, installed, "other", text="你好")
    merge(tiny, tmp_path / "other", tmp_path / "clips", Recipe("layers", parts=frozenset({"references"})))
    assert read_voice(tmp_path / "clips").references == read_voice(tmp_path / "other").references
    assert digests(tmp_path / "clips")["reference/0.wav"] == digests(tmp_path / "other")["reference/0.wav"]
    check_bundle(tmp_path / "clips")
    merge(tiny, tmp_path / "other", tmp_path / "mean", Recipe("average"))
    assert read_voice(tmp_path / "mean") == read_voice(tiny)


def test_words_for_parts() -> None:
    assert anatomy.parts_named(["gpt", "decoder"]) == {"reading", "phrasing", "choice", "decoder"}
    for word in ("codes", "other", "engine", ""):
        with pytest.raises(UsageError):
            anatomy.parts_named([word])
    with pytest.raises(UsageError):
        Recipe("layers")
    for share in (0, 1000):
        with pytest.raises(UsageError):
            Recipe("average", share)


@pytest.mark.parametrize("which", ["tiny", "starter"])
def test_every_tensor_has_a_part(which: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(which)
    found = {anatomy.part_of(key) for name in WEIGHTS for key in tensors(folder / name)}
    assert anatomy.OTHER not in found
    assert found >= {"reading", "phrasing", "choice", "codes", "text", "style", "decoder"}


# The same bytes -----------------------------------------------------------------------------------


def test_two_people_get_the_same_bytes(tiny: Path, theirs: Path, tmp_path: Path) -> None:
    recipes = {
        "mean": "Recipe('average', 300)",
        "parts": "Recipe('layers', parts=frozenset({'decoder', 'choice'}))",
    }
    for name, recipe in recipes.items():
        merge(tiny, theirs, tmp_path / name, eval(recipe))
    # Another process, another number of threads.
    program = "\n".join(
        [
            "import sys, torch",
            "from pathlib import Path",
            "from p2pvoice.sovits.merge import Recipe, merge",
            "torch.set_num_threads(3)",
            "ours, theirs, out = map(Path, sys.argv[1:])",
            *(f"merge(ours, theirs, out / '{name}', {recipe})" for name, recipe in recipes.items()),
        ]
    )
    there = tmp_path / "there"
    there.mkdir()
    subprocess.run([sys.executable, "-c", program, tiny, theirs, there], check=True, timeout=120)
    for name in recipes:
        assert digests(tmp_path / name) == digests(there / name)


def test_the_order_of_two_equal_halves_does_not_matter(tiny: Path, theirs: Path, tmp_path: Path) -> None:
    merge(tiny, theirs, tmp_path / "ab", Recipe("average", 500))
    merge(theirs, tiny, tmp_path / "ba", Recipe("average", 500))
    assert digests(tmp_path / "ab") == digests(tmp_path / "ba")


def test_slices_make_no_difference(
    tiny: Path, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(tiny, theirs, tmp_path / "whole", Recipe("average", 250))
    changes = compare(tiny, theirs)
    monkeypatch.setattr(slices, "SLICE", 1009)
    merge(tiny, theirs, tmp_path / "slices", Recipe("average", 250))
    assert digests(tmp_path / "whole") == digests(tmp_path / "slices")
    for one, two in zip(changes, compare(tiny, theirs), strict=True):
        assert one.relative == pytest.approx(two.relative)
        assert one.largest == two.largest


@pytest.mark.slow
def test_it_takes_the_memory_of_slices_not_of_voices(tmp_path: Path) -> None:
    """100 MB of weights; what is taken beside the program itself stays below half of them."""
    generator = np.random.default_rng(1)
    block = torch.from_numpy(generator.standard_normal(6_250_000, np.float32)).half()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        weights = {
            f"model.h.{n}.w": block[n : -4 + n].clone() * (1.1 if name == "b" else 1) for n in range(4)
        }
        write_half(tmp_path / name / GPT_NAME, weights, {})
        write_half(tmp_path / name / SOVITS_NAME, {"dec.w": torch.zeros(1)}, {})
    program = "\n".join(
        [
            "import sys, torch",
            "from pathlib import Path",
            "from p2pvoice.sovits.compare import compare",
            "from p2pvoice.sovits.merge import Recipe, _merge_file",
            "def memory(kind):",
            "    lines = Path('/proc/self/status').read_text().splitlines()",
            "    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))",
            "a, b = map(Path, sys.argv[1:])",
            "torch.ones(10).half().float().double().sum()",
            "before = memory('VmRSS')",
            # The kernel counts the peak anew: importing torch took more than it kept.
            "Path('/proc/self/clear_refs').write_text('5')",
            "compare(a, b)",
            "_merge_file(a / 'gpt.safetensors', b / 'gpt.safetensors', a / 'out', Recipe('average'), print)",
            "print(memory('VmHWM') - before)",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a", tmp_path / "b"],
        check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    assert 0 < int(done.stdout.split()[-1]) < 40e6


# Compare ------------------------------------------------------------------------------------------


def test_known_edits_are_told(tiny: Path, tmp_path: Path) -> None:
    other = relative_of(tiny, seed=7, scale=0.0)
    keys = sorted(tensors(tiny / SOVITS_NAME))
    doubled = next(key for key in keys if key.startswith("dec.") and key.endswith("weight"))
    zeroed = next(key for key in keys if key.startswith("enc_p.") and key.endswith("weight"))

    def edit(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor * 2 if name == doubled else torch.zeros_like(tensor) if name == zeroed else tensor

    rewrite(other / SOVITS_NAME, edit)
    found = {change.name: change for change in compare(tiny, other)}
    assert {name for name, change in found.items() if not change.equal} == {doubled, zeroed}
    before = tensors(tiny / SOVITS_NAME)
    for name in (doubled, zeroed):
        assert found[name].relative == pytest.approx(1.0)
        assert found[name].largest == pytest.approx(float(before[name].abs().max()))
    parts = {row["part"]: row for row in by_part(found.values())}
    assert (parts["decoder"]["changed"], parts["text"]["changed"], parts["phrasing"]["changed"]) == (1, 1, 0)
    total = sum(float(t.double().square().sum()) for n, t in before.items() if n.startswith("dec."))
    wanted = (float(before[doubled].double().square().sum()) / total) ** 0.5
    assert parts["decoder"]["relative"] == pytest.approx(wanted)
    assert parts["phrasing"]["relative"] == 0.0
    # What was zero and is not has no ratio.
    back = {change.name: change for change in compare(other, tiny)}
    assert back[zeroed].relative is None
    assert not back[zeroed].equal


def test_against_plain_float64(tiny: Path, theirs: Path) -> None:
    found = {change.name: change for change in compare(tiny, theirs)}
    for name in WEIGHTS:
        a, b = tensors(tiny / name), tensors(theirs / name)
        for key, tensor in a.items():
            difference = b[key].double() - tensor.double()
            wanted = float(difference.norm() / tensor.double().norm()) if tensor.any() else 0.0
            assert found[key].relative == pytest.approx(wanted), key
            assert found[key].largest == float(difference.abs().max()), key


def test_missing_added_and_misshapen_tensors_are_told(tiny: Path, tmp_path: Path) -> None:
    other = relative_of(tiny, seed=8, scale=0.0)
    keys = sorted(tensors(tiny / GPT_NAME))
    gone, bent = keys[0], next(key for key in keys[1:] if tensors(tiny / GPT_NAME)[key].ndim == 2)
    rewrite(other / GPT_NAME, lambda n, t: None if n == gone else t[:-1] if n == bent else t)
    found = {change.name: change for change in compare(tiny, other)}
    assert (found[gone].shape_b, found[gone].relative, found[gone].equal) == (None, None, False)
    assert found[bent].shape_a != found[bent].shape_b
    assert found[bent].to_json()["shape"] == {"a": found[bent].shape_a, "b": found[bent].shape_b}
    assert {change.name: change for change in compare(other, tiny)}[gone].shape_a is None


def test_voices_of_two_families_can_be_compared(tiny: Path, starter: Path) -> None:
    found = compare(tiny, starter)
    assert any(change.shape_b is None for change in found)
    assert any(change.shape_a is None for change in found)
    assert {row["part"] for row in by_part(found)} >= {"flow", "decoder", "phrasing"}


def test_references_are_compared_by_what_they_are(tiny: Path, theirs: Path, tmp_path: Path) -> None:
    assert references(tiny, theirs)["changed"] == 0
    other = relative_of(tiny, seed=9, scale=0.0)
    sound = (other / "reference/0.wav").read_bytes()
    (other / "reference/0.wav").write_bytes(sound[:-2] + bytes(2))
    assert (references(tiny, other)["tensors"], references(tiny, other)["changed"]) == (1, 1)


# Refusals -----------------------------------------------------------------------------------------


def refused(ours: Path, theirs: Path, tmp_path: Path, match: str) -> None:
    with pytest.raises(ConflictError, match=match):
        require_fitting(ours, theirs)
    with pytest.raises(ConflictError, match=match):
        merge(ours, theirs, tmp_path / "out", Recipe("average"))
    assert list(tmp_path.glob("*out*")) == []


def test_another_version_is_refused(tiny: Path, starter: Path, tmp_path: Path) -> None:
    refused(tiny, starter, tmp_path, r"of another version \(gpt-sovits lite, not gpt-sovits v2\)")


def test_other_settings_are_refused(tiny: Path, tmp_path: Path) -> None:
    voice = read_voice(tiny)
    others = {
        "rate": (msgspec.structs.replace(
            voice, sovits=msgspec.structs.replace(
                voice.sovits, sample_rate=16_000, hop_length=320, win_length=640,
                upsample_rates=(10, 8, 2, 2), upsample_kernels=(16, 16, 4, 4),
            )), "another sample rate"),
        "heads": (msgspec.structs.replace(
            voice, gpt=msgspec.structs.replace(voice.gpt, heads=voice.gpt.heads * 2)), "built otherwise"),
        "encoder": (msgspec.structs.replace(
            voice, bases=msgspec.structs.replace(voice.bases, content="b" + "a" * 58)), "content encoder"),
        "bert": (msgspec.structs.replace(
            voice, bases=msgspec.structs.replace(voice.bases, bert="b" + "a" * 58)), "another BERT"),
    }  # fmt: skip
    for seed, (other_voice, match) in enumerate(others.values(), 20):
        other = relative_of(tiny, seed=seed, scale=0.0)
        (other / VOICE_NAME).write_bytes(voicefile.encode_voice(other_voice))
        refused(tiny, other, tmp_path, match)


def test_other_tensors_are_refused(tiny: Path, tmp_path: Path) -> None:
    key = next(key for key, tensor in tensors(tiny / GPT_NAME).items() if tensor.ndim == 2)
    edits: list[tuple[str, Callable[[str, torch.Tensor], torch.Tensor | None], str]] = [
        (GPT_NAME, lambda n, t: None if n == key else t, "lacks 1 tensors"),
        (GPT_NAME, lambda n, t: t[:-1] if n == key else t, "has the shape"),
        (SOVITS_NAME, lambda n, t: t * 1.5 if n.startswith("quantizer.") else t, "codes mean something else"),
    ]
    for seed, (name, edit, match) in enumerate(edits, 30):
        other = relative_of(tiny, seed=seed, scale=0.0)
        rewrite(other / name, edit)
        refused(tiny, other, tmp_path, match)
    refused(tiny.with_name(f"{tiny.name}-30"), tiny, tmp_path, "1 tensors that are not in ours")


def test_another_type_is_refused(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    other = relative_of(tiny, seed=40, scale=0.0)
    save_file({n: t.float() for n, t in tensors(other / GPT_NAME).items()}, other / "new")
    (other / "new").rename(other / GPT_NAME)
    refused(tiny, other, tmp_path, "of the type F32, not F16")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value: float, tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    other = relative_of(tiny, seed=50 + int(value == value), scale=0.0)
    poisoned = {name: tensor.clone() for name, tensor in tensors(other / GPT_NAME).items()}
    key = next(key for key in poisoned if key.startswith("model.h."))
    poisoned[key].view(-1)[3] = value
    save_file(poisoned, other / "new", metadata={"format": "pt"})
    (other / "new").rename(other / GPT_NAME)
    with pytest.raises(BadCheckpointError, match="NaN or infinity"):
        compare(tiny, other)
    for recipe in (Recipe("average"), Recipe("layers", parts=frozenset({"phrasing"}))):
        if recipe.mode == "layers":
            recipe = Recipe("layers", parts=frozenset({"phrasing", "decoder"}))
        with pytest.raises(BadCheckpointError, match="NaN or infinity"):
            merge(tiny, other, tmp_path / "out", recipe)
        assert list(tmp_path.glob("*out*")) == []


def test_a_header_that_promises_more_than_the_file_has_is_refused(tiny: Path, tmp_path: Path) -> None:
    other = relative_of(tiny, seed=60, scale=0.0)
    header = {"model.h.x": {"dtype": "F16", "shape": [1 << 39], "data_offsets": [0, 1 << 40]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (other / GPT_NAME).write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    with pytest.raises(BadCheckpointError):
        compare(tiny, other)
    with pytest.raises(BadCheckpointError):
        merge(tiny, other, tmp_path / "out", Recipe("average"))


def test_a_merge_that_is_stopped_leaves_nothing(tiny: Path, theirs: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def check(done: float) -> None:
        if done > 0.5:
            raise Stopped

    with pytest.raises(Stopped):
        merge(tiny, theirs, tmp_path / "out", Recipe("average"), check)
    assert list(tmp_path.iterdir()) == []


# What comes out speaks ----------------------------------------------------------------------------


def test_a_merged_voice_speaks(starter: Path, tmp_path: Path) -> None:
    other = relative_of(starter, seed=70, scale=0.02)
    merge(starter, other, tmp_path / "out", Recipe("average", 400))
    check_bundle(tmp_path / "out")
    voice = Voice.load(tmp_path / "out", Bases([]), "cpu")
    spoken = np.concatenate(list(voice.speak(SpeakText("A short one.", "en", seed=1))))
    assert len(spoken) > 0.3 * voice.sample_rate
    assert np.isfinite(spoken).all()
    assert np.abs(spoken).max() > 0.01
