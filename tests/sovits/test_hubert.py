"""HuBERT: equal to the golden numbers, under either set of names, small and trainable too."""

from pathlib import Path

import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.hubert import RENAMED, Hubert, HubertSettings

from . import numbers
from .filler import filled

SMALL = HubertSettings(
    conv_dims=(12,) * 7, width=24, heads=2, layers=2, feed_forward=32, position_kernel=15, position_groups=4
)


def published(key: str) -> str:
    for new, old in RENAMED.items():
        key = key.replace(new, old)
    return key


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return filled({published(k): s for k, s in numbers.keys("hubert").items()}, "hubert.")


@torch.no_grad()
def test_features_equal_the_golden_numbers(weights: dict[str, torch.Tensor], device: torch.device) -> None:
    model, g = Hubert.from_tensors(weights, {}).fold().to(device), numbers.arrays("hubert", device)
    wav = g["in_wav16k"][None]
    assert model.settings == HubertSettings()
    assert numbers.relative_error(model.features(wav), g["out_conv_features"]) < 1e-5
    assert numbers.relative_error(model(wav), g["out_last_hidden_state"]) < 2e-5
    longer = torch.nn.functional.pad(wav, (0, 9600))
    assert numbers.relative_error(model(longer), g["out_last_hidden_state_with_9600_zeros"]) < 2e-5


def test_names_of_current_transformers_are_the_same_encoder(weights: dict[str, torch.Tensor]) -> None:
    current = {}
    for key, tensor in weights.items():
        for new, old in RENAMED.items():
            key = key.replace(f"conv.{old}", f"conv.{new}")
        current[f"hubert.{key}"] = tensor
    assert current.keys() != weights.keys()
    ours, theirs = Hubert.from_tensors(weights, {}), Hubert.from_tensors(current, {})
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert ours.state_dict().keys() | {"masked_spec_embed"} == weights.keys()


def test_a_small_fresh_encoder_trains_and_comes_back() -> None:
    torch.manual_seed(3)
    model = Hubert(SMALL)
    model(torch.randn(2, 4000), [4000, 2500]).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    again = Hubert.from_tensors(model.state_dict(), SMALL.to_config())
    assert again.settings == SMALL
    wav = torch.randn(1, 4000)
    with torch.no_grad():
        torch.testing.assert_close(again(wav), model.eval()(wav))
        torch.testing.assert_close(again.fold()(wav), model(wav))


@torch.no_grad()
@pytest.mark.parametrize("samples", [400, 720, 1000, 16000])
def test_frames_are_foretold(samples: int) -> None:
    assert Hubert(SMALL)(torch.randn(1, samples)).shape[1] == SMALL.frames(samples)


@torch.no_grad()
def test_frames_do_not_look_at_the_padding_of_their_batch() -> None:
    torch.manual_seed(4)
    model = Hubert(SMALL).eval()
    # The first convolution is normalised over all of time, so only what attention sees can be compared.
    quiet, loud = torch.zeros(2, 4000), torch.zeros(2, 4000)
    quiet[:, :2000] = loud[:, :2000] = torch.randn(2000)
    loud[1, 2600:] = torch.randn(1400)
    model.feature_extractor["conv_layers"][0].layer_norm = torch.nn.Identity()
    frames = SMALL.frames(2000)
    ours, theirs = model(quiet, [4000, 2000]), model(loud, [4000, 2000])
    torch.testing.assert_close(ours[1, :frames], theirs[1, :frames])
    assert not torch.allclose(model(quiet)[1, :frames], model(loud)[1, :frames], atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        {"do_stable_layer_norm": True},
        {"feat_extract_norm": "layer"},
        {"num_attention_heads": 5},
        {"num_attention_heads": 65},
        {"conv_stride": [5, 2]},
        {"conv_stride": [65, 2, 2, 2, 2, 2, 2]},
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(BadCheckpointError):
        Hubert.from_tensors(Hubert(SMALL).state_dict(), SMALL.to_config() | config)


def test_missing_tensors_are_refused(tmp_path: Path) -> None:
    tensors = dict(Hubert(SMALL).state_dict())
    del tensors["encoder.layers.1.attention.k_proj.bias"]
    with pytest.raises(BadCheckpointError):
        Hubert.from_tensors(tensors, SMALL.to_config())
