"""The architecture rules know exactly the published models: no tensor more, no tensor less."""

import pytest

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits import architecture
from p2pvoice.sovits.declared import GptSettings, SovitsSettings

from . import numbers

Shapes = dict[str, tuple[int, ...]]


def published(version: str, part: str) -> Shapes:
    """The published tensors of a version without those that speech never needs."""
    keys = numbers.keys(f"{version}_{part}")
    return {name: tuple(shape) for name, shape in keys.items() if not architecture.is_unused(name)}


def settings(version: str) -> SovitsSettings:
    return SovitsSettings(
        heads=2,
        upsample_rates=(10, 8, 2, 2, 2),
        upsample_kernels=(20 if version == "v2ProPlus" else 16, 16, 8, 2, 2),
        resblock_kernels=(3, 7, 11),
        resblock_dilations=((1, 3, 5),) * 3,
        sample_rate=32_000,
        filter_length=2048,
        hop_length=640,
        win_length=2048,
    )


VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus")


@pytest.mark.parametrize("version", VERSIONS)
def test_published_sovits_models_are_complete(version: str) -> None:
    architecture.check_sovits(published(version, "s2"), settings(version), version)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_published_gpt_models_are_complete(version: str) -> None:
    architecture.check_gpt(published(version, "s1"), GptSettings(heads=16))


@pytest.mark.parametrize(("version", "other"), [("v1", "v2"), ("v2", "v1"), ("v2", "v2Pro"), ("v2Pro", "v2")])
def test_one_version_is_not_another(version: str, other: str) -> None:
    with pytest.raises(BadCheckpointError):
        architecture.check_sovits(published(version, "s2"), settings(version), other)


@pytest.mark.parametrize("part", ["s1", "s2"])
def test_every_tensor_counts(part: str) -> None:
    """Leaving out, widening or renaming any single tensor of a published model is noticed."""

    def check(shapes: Shapes) -> None:
        if part == "s1":
            architecture.check_gpt(shapes, GptSettings(heads=16))
        else:
            architecture.check_sovits(shapes, settings("v2"), "v2")

    whole = published("v2", part)
    check(whole)
    for name, shape in whole.items():
        without = {key: value for key, value in whole.items() if key != name}
        for wrong in (
            without,
            {**without, name + "_": shape},
            {**without, name: (*shape[:-1], shape[-1] + 1)},
            {**without, name: (*shape, 1)},
            {**without, name: (0, *shape[1:])},
        ):
            with pytest.raises(BadCheckpointError):
                check(wrong)
