"""One step of SoVITS equals the float64 computation by hand; what must not move does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from p2pvoice.protocol.errors import BadCheckpointError, UsageError
from p2pvoice.sovits.sizes import SoVitsSettings
from p2pvoice.sovits.training.batches import Vocabulary, unfit_for_sovits
from p2pvoice.sovits.training.discriminators import PERIODS, Discriminators, DiscriminatorSizes
from p2pvoice.sovits.training.objective_sovits import BINS_PER_BAND, SovitsObjective, SovitsTraining
from p2pvoice.sovits.vits import SoVits

from .. import numbers
from . import by_hand, tiny

HOW = SovitsTraining(batch=3, dropout=0.0, seed=7)
NOISE_SEED = 3
"""A chance in which no rectifier's input lies so near its kink that float32 puts it on the other side."""
GRADIENT_ERROR = 2e-5
"""Of float32 against float64, relative to the gradient's length."""
DUST = 1e-8
"""What float32 leaves, relative to the longest gradient, of one that is zero: a bias of attention's keys."""
NAMED = (
    "enc_p.text_embedding.weight",
    "enc_p.encoder_text.attn_layers.0.emb_rel_k",
    "enc_p.encoder_text.attn_layers.1.conv_q.weight",
    "enc_p.encoder_text.norm_layers_1.0.gamma",
    "enc_p.mrte.c_pre.weight",
    "enc_p.mrte.c_post.weight",
    "enc_p.encoder_ssl.attn_layers.0.emb_rel_v",
    "enc_p.encoder2.ffn_layers.0.conv_1.weight",
    "enc_p.ssl_proj.weight",
    "enc_p.proj.weight",
    "enc_q.pre.weight",
    "enc_q.enc.in_layers.1.weight_v",
    "enc_q.enc.cond_layer.weight_g",
    "enc_q.proj.bias",
    "flow.flows.0.pre.weight",
    "flow.flows.2.post.weight",
    "flow.flows.2.enc.res_skip_layers.0.weight_g",
    "dec.conv_pre.weight",
    "dec.cond.weight",
    "dec.ups.1.weight_v",
    "dec.ups.2.weight_g",
    "dec.resblocks.3.convs1.1.weight_v",
    "dec.conv_post.weight",
    "ref_enc.spectral.0.fc.weight",
    "ref_enc.slf_attn.w_qs.weight",
    "ref_enc.temporal.1.conv1.conv.weight",
)


def speakers(s: SoVitsSettings) -> dict[str, np.ndarray] | None:
    if not s.speaker_dim:
        return None
    return {
        e.name: np.random.default_rng(i).standard_normal(s.speaker_dim)
        for i, e in enumerate(tiny.examples(3))
    }


def one_step(s: SoVitsSettings) -> tuple[SovitsObjective, dict[str, float]]:
    tensors, part = tiny.sovits_tensors(s)
    objective = SovitsObjective(
        tensors, s.to_config(), part, tiny.examples(3), [], HOW, "cpu", speakers=speakers(s)
    )
    torch.manual_seed(NOISE_SEED)
    return objective, objective.train_step()


def clips_of_the_step(objective: SovitsObjective, s: SoVitsSettings) -> list[by_hand.Clip]:
    """The step's items with the numbers that chance gave them."""
    chosen = [objective.examples[i] for i in objective.order.batches[0]]
    longest = max(len(e.codes) for e in chosen)
    torch.manual_seed(NOISE_SEED)
    noise = torch.randn(len(chosen), s.inter_channels, 2 * longest).double()
    at = torch.rand(len(chosen), generator=torch.Generator().manual_seed(HOW.seed))
    known = speakers(s)
    return [
        by_hand.Clip(
            torch.from_numpy(e.audio).double(),
            torch.from_numpy(e.codes),
            torch.from_numpy(e.phones),
            row[None, :, : 2 * len(e.codes)],
            int(share * (2 * len(e.codes) - HOW.slice_frames + 1)),
            None if known is None else torch.from_numpy(known[e.name].astype(np.float32)).double(),
        )
        for e, row, share in zip(chosen, noise, at, strict=True)
    ]


def leaves(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.double().clone().requires_grad_() for k, v in tensors.items()}


def error(ours: Tensor, wanted: Tensor) -> float:
    return float((ours.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("s", [tiny.SOVITS, tiny.PRO], ids=["v2", "v2Pro"])
def test_losses_and_gradients_equal_those_computed_by_hand(s: SoVitsSettings) -> None:
    objective, losses = one_step(s)
    clips = clips_of_the_step(objective, s)
    tensors, part = tiny.sovits_tensors(s)
    w = leaves(tensors | {k: v for k, v in part.items() if k.startswith("enc_q.")})
    d = leaves({k.removeprefix("disc."): v for k, v in part.items() if k.startswith("disc.")})
    made = by_hand.make(w, s, clips, HOW.slice_frames, s.spec_bins // BINS_PER_BAND)
    told = by_hand.discriminator_loss(d, tiny.ADVERSARY.periods, made)
    told.backward()
    # The voice is judged by discriminators that have learned from this very step.
    taught = {k: by_hand.adamw(v.detach(), v.grad, HOW.rate, HOW.eps) for k, v in d.items()}
    adversarial, feature = by_hand.generator_losses(taught, tiny.ADVERSARY.periods, made)
    frames = sum(2 * len(clip.codes) for clip in clips)
    mel, kl = sum(m.mel for m in made) / len(made), sum(m.kl for m in made) / frames
    (45 * mel + kl + adversarial + 2 * feature).backward()

    wanted = {
        "mel": mel, "kl": kl, "adversarial": adversarial, "feature": feature, "discriminator": told,
    }  # fmt: skip
    assert losses.keys() == wanted.keys()
    for name, value in wanted.items():
        assert losses[name] == pytest.approx(value.item(), rel=2e-5), name
    found = {k: p.grad for k, p in objective.voice.named_parameters()}
    assert {k for k, g in found.items() if g is None} == {"ssl_proj.weight", "ssl_proj.bias"}
    found |= {f"disc.{k}": p.grad for k, p in objective.judges.named_parameters()}
    given = w | {f"disc.{k}": v for k, v in d.items()}
    true = {k: given[k].grad for k, g in found.items() if g is not None}
    longest = max(float(g.norm()) for g in true.values())
    nothing = {k for k, g in true.items() if g.norm() < 1e-9}
    assert all(k.endswith(("conv_k.bias", "w_ks.bias")) for k in nothing)
    assert all(found[k].norm() < DUST * longest for k in nothing)
    errors = {k: error(found[k], g) for k, g in true.items() if k not in nothing}
    print(f"worst of {len(errors)} gradients: {max(errors.values()):.1e}")
    assert set(NAMED) <= errors.keys()
    assert not {k: e for k, e in errors.items() if e > GRADIENT_ERROR}


def test_each_part_moves_at_its_own_rate() -> None:
    objective, _ = one_step(tiny.SOVITS)
    before, part = tiny.sovits_tensors()
    # AdamW's first step is the rate in every weight whose gradient is not next to nothing.
    moved = {k: float((v - before[k]).abs().median()) for k, v in objective.weights().items()}
    assert moved["enc_p.mrte.c_pre.weight"] == pytest.approx(0.4e-4, rel=0.05)
    assert moved["enc_p.encoder_text.attn_layers.0.conv_q.weight"] == pytest.approx(0.4e-4, rel=0.05)
    assert moved["dec.conv_pre.weight"] == pytest.approx(1e-4, rel=0.05)
    assert moved["enc_p.encoder2.attn_layers.0.conv_q.weight"] == pytest.approx(1e-4, rel=0.05)
    judged = objective.networks.training_part()
    assert judged.keys() == part.keys()
    for name in ("enc_q.pre.weight", "disc.discriminators.1.convs.0.weight_v"):
        assert float((judged[name] - part[name]).abs().median()) == pytest.approx(1e-4, rel=0.05)


def test_the_codebook_and_what_leads_to_it_stay() -> None:
    objective, _ = one_step(tiny.SOVITS)
    before, _ = tiny.sovits_tensors()
    after = objective.weights()
    assert after.keys() == before.keys()
    same = {k for k in before if torch.equal(before[k], after[k])}
    assert same == {k for k in before if k.startswith(("ssl_proj.", "quantizer."))}
    assert all(torch.equal(objective.published[k], v) for k, v in before.items())


@pytest.mark.parametrize("whole", [True, False], ids=["with-training-part", "without"])
def test_last_layers_leave_the_rest_bit_for_bit(whole: bool) -> None:
    tensors, part = tiny.sovits_tensors()
    tensors = {k: v.half() for k, v in tensors.items()}
    given, how = part if whole else None, replace(HOW, new_posterior_steps=1)
    config = tiny.SOVITS.to_config()
    objective = SovitsObjective(tensors, config, given, tiny.examples(3), [], how, "cpu", "last-layers")
    for _ in range(3):
        objective.train_step()
    after = objective.weights()
    changed = {k for k in tensors if not torch.equal(tensors[k], after[k].half())}
    assert objective.layers[0] == "dec.ups.1"
    assert {k for k in changed if not k.startswith(tuple(f"{layer}." for layer in objective.layers))} == set()
    assert {k.split(".")[0] + "." + k.split(".")[1] for k in changed} == {
        "dec.ups", "dec.resblocks", "dec.conv_post",
    }  # fmt: skip
    assert all(after[k] is tensors[k] for k in tensors if k.startswith(("enc_p.", "ref_enc.", "dec.ups.0")))


def test_without_a_training_part_a_new_posterior_learns_first_and_alone() -> None:
    tensors, _ = tiny.sovits_tensors()
    how = replace(HOW, new_posterior_steps=2)
    objective = SovitsObjective(tensors, tiny.SOVITS.to_config(), None, tiny.examples(3), [], how, "cpu")
    fresh = objective.networks.training_part()
    assert objective.train_step().keys() == {"mel", "kl"}
    objective.train_step()
    assert all(torch.equal(tensors[k], v) for k, v in objective.weights().items())
    learned = objective.networks.training_part()
    assert not torch.equal(fresh["enc_q.proj.weight"], learned["enc_q.proj.weight"])
    objective.train_step()
    assert not torch.equal(tensors["dec.conv_pre.weight"], objective.weights()["dec.conv_pre.weight"])
    assert all(k.startswith("enc_q.") for k in fresh)


def test_held_out_is_the_distance_of_what_is_spoken() -> None:
    tensors, part = tiny.sovits_tensors()
    s, aside = tiny.SOVITS, tiny.example(9, 1.2)
    objective = SovitsObjective(tensors, s.to_config(), part, tiny.examples(3), [aside], HOW, "cpu")
    assert objective.held_out() == objective.held_out()
    voice = SoVits.from_tensors(tensors, s.to_config())
    spec = by_hand.spectrogram(s, torch.from_numpy(aside.audio).double())
    codes, phones = torch.from_numpy(aside.codes)[None], torch.from_numpy(aside.phones)[None]
    audio = voice.decode(codes, phones, voice.style(spec.float()), noise_scale=0.0)
    filters = by_hand.mel_bands(s, s.spec_bins // BINS_PER_BAND)
    found = (filters @ by_hand.spectrogram(s, audio[0, 0].double())).clamp(min=1e-5).log()
    wanted = (filters @ spec).clamp(min=1e-5).log()
    assert objective.held_out() == pytest.approx(float((found - wanted).abs().mean()), rel=1e-4)


def test_examples_that_cannot_be_used_are_named() -> None:
    tensors, part = tiny.sovits_tensors()
    config = tiny.SOVITS.to_config()
    at, below = tiny.example(20, 0.6), tiny.example(21, 0.56)
    strange = replace(tiny.example(22, 1.0), codes=np.full(25, tiny.SOVITS.codes))
    objective = SovitsObjective(tensors, config, part, [at, below, strange], [], HOW, "cpu")
    assert [e.name for e in objective.examples] == [at.name]
    assert objective.left_out.keys() == {below.name, strange.name}
    assert "a code that the base does not know" in objective.left_out[strange.name]
    known = Vocabulary(tiny.SOVITS.text_vocab, tiny.SOVITS.codes)
    assert unfit_for_sovits(tiny.example(0, 54.0), 8000, known) is None
    assert "54.04 s" in str(unfit_for_sovits(tiny.example(0, 54.04), 8000, known))
    with pytest.raises(UsageError, match=r"clip 21: it lasts 0\.56 s"):
        SovitsObjective(tensors, config, part, [below], [], HOW, "cpu")


def test_a_training_part_of_another_shape_is_refused() -> None:
    tensors, part = tiny.sovits_tensors()
    wrong = part | {"disc.discriminators.1.convs.2.weight_v": torch.zeros(8, 8, 7, 1)}
    short = {k: v for k, v in part.items() if k != "enc_q.proj.bias"}
    for broken in (wrong, short):
        with pytest.raises(BadCheckpointError):
            SovitsObjective(tensors, tiny.SOVITS.to_config(), broken, tiny.examples(3), [], HOW, "cpu")


@pytest.mark.parametrize(("version", "periods"), [("v2", 5), ("v2Pro", 7)])
def test_the_adversary_has_the_published_keys(version: str, periods: int) -> None:
    published = numbers.keys(f"{version}_discriminator")
    with torch.device("meta"):
        sizes = DiscriminatorSizes.from_tensors({k: torch.empty(v) for k, v in published.items()})
        judges = Discriminators(sizes)
    assert sizes == DiscriminatorSizes(PERIODS[:periods])
    assert {k: list(v.shape) for k, v in judges.state_dict().items()} == published
