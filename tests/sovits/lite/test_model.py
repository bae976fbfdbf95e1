"""The lite network: its interface, what a style holds, one seed one sentence, its tensors there and back."""

import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.lite import analysis, units
from p2pvoice.sovits.lite.codebook import UNUSED, codebook
from p2pvoice.sovits.lite.model import LiteVoice, median_of
from p2pvoice.sovits.sizes import LiteSettings

from . import tiny


@pytest.fixture(scope="module")
def voice() -> LiteVoice:
    return tiny.voice().requires_grad_(False)


def reference(frames: int = 150, height: float = 0.7) -> torch.Tensor:
    made = torch.randn(1, analysis.CHANNELS, frames, generator=torch.Generator().manual_seed(0))
    made[:, analysis.VOICING] = 1.0
    made[:, analysis.PITCH] = height
    return made


def test_codes_become_as_many_samples_as_they_last(voice: LiteVoice) -> None:
    codes, phones = torch.arange(40)[None], torch.arange(12)[None]
    made = voice.decode(codes, phones, voice.style(reference()))
    assert made.shape == (1, 1, 40 * 960)
    assert torch.isfinite(made).all()
    slow = voice.decode(codes, phones, voice.style(reference()), speed=0.5)
    assert slow.shape[-1] == (int(80 / 0.5) + 1) * 480


def test_one_seed_gives_one_sentence_and_another_another(voice: LiteVoice) -> None:
    style = voice.style(reference())

    def say(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        torch.rand(seed)
        return voice.decode(torch.arange(30)[None], torch.arange(9)[None], style, generator=generator)

    assert torch.equal(say(3), say(3))
    assert not torch.equal(say(3), say(4))


def test_the_last_channel_of_a_fresh_style_is_the_median_pitch(voice: LiteVoice) -> None:
    made = reference()
    made[0, analysis.PITCH, :50] = 5.0
    made[0, analysis.VOICING, :50] = 0.0
    assert float(voice.style(made)[0, -1, 0]) == pytest.approx(0.7, abs=1e-5)
    made[0, analysis.VOICING] = 0.0
    assert float(median_of(made)) == 0.0


def test_what_padding_holds_changes_nothing(voice: LiteVoice) -> None:
    codes, phones, style = torch.arange(20)[None], torch.arange(8)[None], voice.style(reference())
    alone, _ = voice.prior(codes, phones, style)
    wide = torch.cat([codes, torch.full((1, 7), 900)], 1)
    long = torch.cat([phones, torch.full((1, 5), 700)], 1)
    padded, mask = voice.prior(wide, long, style, torch.tensor([20]), torch.tensor([8]))
    assert torch.allclose(padded[..., :40], alone, atol=1e-5)
    assert mask.sum() == 40
    ref = reference()
    mask = torch.ones(1, 1, 170)
    mask[..., 150:] = 0
    spread = torch.cat([ref, torch.full((1, analysis.CHANNELS, 20), 9.0)], 2)
    assert torch.allclose(voice.style(spread, mask), voice.style(ref), atol=1e-4)


def test_pitch_of_latent_and_style_drive_the_synthesiser(voice: LiteVoice) -> None:
    latent, style = torch.zeros(1, analysis.CHANNELS, 30), voice.style(reference())
    low, high = voice.dec.controls(latent, style), latent.clone()
    high[:, analysis.PITCH] = 1.0
    moved = voice.dec.controls(high, style).log_f0 - low.log_f0
    assert float(moved.mean()) == pytest.approx(analysis.PITCH_SPREAD, abs=0.05)
    assert low.harmonic.shape == low.noise.shape == (1, 60, 80)


def test_tensors_tell_every_size(voice: LiteVoice) -> None:
    again = LiteVoice.from_tensors(voice.published_state(), voice.settings.to_config())
    assert again.settings == voice.settings
    for name, value in voice.published_state().items():
        assert torch.equal(again.state_dict()[name], value)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("dec.post.bias"),
        lambda t: t.update(more=torch.zeros(1)),
        lambda t: t.update({"dec.post.weight": torch.zeros(322, 12)}),
        lambda t: t.update({"dec.blocks.0.widen.weight": torch.zeros(17, 12)}),
        lambda t: t.update({"dec.blocks.0.along.weight": torch.zeros(12, 1, 6)}),
        lambda t: t.update({"enc_p.frame_blocks.0.along.weight": torch.zeros(8, 1, 9)}),
        lambda t: t.update({"enc_p.text_block.narrow.weight": torch.zeros(8, 9)}),
        lambda t: t.update({"ref_enc.fc.fc.weight": torch.zeros(65537, 8)}),
        lambda t: [t.update({f"dec.blocks.{i}.gain": torch.zeros(12)}) for i in range(65)],
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, voice: LiteVoice) -> None:
    tensors = dict(voice.published_state())
    change(tensors)
    with pytest.raises(BadCheckpointError):
        LiteVoice.from_tensors(tensors, voice.settings.to_config())


def test_impossible_sizes_are_refused() -> None:
    for wrong in ({"heads": 3}, {"style_heads": 3}, {"encoder_kernel": 2}, {"code_blocks": 0}):
        with pytest.raises(BadCheckpointError, match="impossible"):
            LiteSettings(**wrong)


def test_the_codebook_tells_every_used_code_apart() -> None:
    rows = torch.from_numpy(codebook())
    used = rows[: units.USED]
    assert len(rows) == units.CODES
    assert len(used.unique(dim=0)) == units.USED
    assert bool((rows[units.USED :] == UNUSED).all())
    near = torch.cdist(used, used)
    same_sound = torch.from_numpy(units.SOUND_OF[:, None] == units.SOUND_OF[None])
    assert float(near[same_sound].max()) > 0
    one_level = units.code_of("ɑ", 5, True), units.code_of("ɑ", 6, True)
    other_sound = units.code_of("ɑ", 5, True), units.code_of("i", 5, True)
    assert near[one_level] < near[other_sound]
