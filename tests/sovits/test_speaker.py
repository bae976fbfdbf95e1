"""The speaker-verification network and its filter bank: the golden numbers, the keys, what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.filterbank import BANDS, WINDOW, filter_bank
from p2pvoice.sovits.speaker import CHANNELS_LIMIT, SpeakerNetwork, SpeakerSettings, needed

from . import numbers
from .filler import filled

# What the golden numbers themselves are off from the same computed in float64 with our code (2.6e-5, 2.3e-5).
OWN_ERROR = {"fbank": 2.6e-5, "embedding": 2.3e-5}

SMALL = SpeakerSettings(channels=4, groups=2, width=4, outputs=8, blocks=(1, 2, 1, 1), squeeze=2)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return numbers.arrays("speaker_verification")


def published() -> dict[str, list[int]]:
    return numbers.keys("eres2netv2")


def small() -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    return SpeakerNetwork(SMALL).state_dict()


def test_the_filter_bank_equals_the_golden_numbers(golden: dict[str, np.ndarray]) -> None:
    found = filter_bank(golden["in_wav16k"])
    error = numbers.relative_error(found[None], golden["out_fbank"])
    assert error <= numbers.FACTOR * OWN_ERROR["fbank"]


def test_the_network_equals_the_golden_numbers(golden: dict[str, np.ndarray], device: torch.device) -> None:
    shapes = {key: torch.empty(shape, device="meta") for key, shape in published().items()}
    network = SpeakerNetwork.from_tensors(
        filled({key: published()[key] for key in needed(shapes)}, "sv."), {}
    ).to(device)
    assert network.settings == SpeakerSettings()
    allowed = numbers.FACTOR * OWN_ERROR["embedding"]
    with torch.inference_mode():
        given = network(torch.from_numpy(golden["out_fbank"]).to(device))
    assert numbers.relative_error(given, golden["out_embedding"]) <= allowed
    # From the samples on, both errors count.
    whole = network.vector(golden["in_wav16k"].to(device))
    error = numbers.relative_error(whole[None], golden["out_embedding"])
    assert error <= allowed + numbers.FACTOR * OWN_ERROR["fbank"]


def test_keys_are_the_published_ones() -> None:
    with torch.device("meta"):
        state = SpeakerNetwork(SpeakerSettings()).state_dict()
    ours = {key: list(tensor.shape) for key, tensor in state.items()}
    assert ours | {"seg_1.weight": [192, 40960], "seg_1.bias": [192]} == published()
    assert SpeakerSettings().vector == 20480


def test_what_a_frame_is() -> None:
    speech = torch.randn(1000)
    assert filter_bank(speech[:WINDOW]).shape == (1, BANDS)
    assert filter_bank(speech).shape == (4, BANDS)
    # A constant is removed, and silence is not minus infinity.
    torch.testing.assert_close(filter_bank(speech + 3.0), filter_bank(speech), rtol=1e-3, atol=2e-3)
    assert torch.isfinite(filter_bank(torch.zeros(WINDOW))).all()
    for bad in (speech[: WINDOW - 1], speech[None]):
        with pytest.raises(ValueError, match="at least"):
            filter_bank(bad)


def test_a_small_network_comes_back_from_its_tensors() -> None:
    network = SpeakerNetwork.from_tensors(small(), {})
    assert network.settings == SMALL
    vector = network.vector(torch.randn(16000))
    assert vector.shape == (SMALL.vector,)
    assert torch.isfinite(vector).all()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t.pop("fuse34.local_att.0.weight"),
        lambda t: t.pop("layer3.0.fuse_models.0.local_att.3.bias"),
        lambda t: t.pop("conv1.weight"),
        lambda t: t.update({"more.weight": torch.zeros(2)}),
        lambda t: t.update({"bn1.weight": torch.zeros(5)}),
        lambda t: t.update({"layer1.0.conv3.weight": torch.zeros(9, 8, 1, 1)}),
        lambda t: [t.pop(key) for key in list(t) if key.startswith("layer4.")],
        lambda t: t.update({"layer1.0.conv3.weight": torch.zeros(CHANNELS_LIMIT // 8 + 1, 8, 1, 1)}),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    spoil: Callable[[dict[str, torch.Tensor]], object],
) -> None:
    tensors = dict(small())
    spoil(tensors)
    with pytest.raises(BadCheckpointError):
        SpeakerNetwork.from_tensors(tensors, {})


def test_the_widest_network_is_the_limit() -> None:
    sizes = {"outputs": CHANNELS_LIMIT // 8, "width": 1, "groups": 2}
    wide = {
        "conv1.weight": (4, 1, 3, 3), "layer1.0.convs.0.weight": (1, 1, 3, 3),
        "layer1.0.convs.1.weight": (1, 1, 3, 3), "layer1.0.conv3.weight": (sizes["outputs"], 2, 1, 1),
        "layer2.0.x": (1,), "layer3.0.convs.0.weight": (4, 4, 3, 3), "layer4.0.x": (1,),
        "layer3.0.fuse_models.0.local_att.0.weight": (1, 8, 1, 1),
    }  # fmt: skip
    tensors = {key: torch.empty(shape, device="meta") for key, shape in wide.items()}
    assert SpeakerSettings.from_tensors(tensors, {}).outputs == sizes["outputs"]
