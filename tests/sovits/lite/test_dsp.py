"""The synthesiser: power, phase, filters, silence, pieces that join, and gradients."""

import math

import pytest
import torch

from p2pvoice.sovits.lite import dsp

STEPS = 60
INNER = slice(2 * dsp.FRAME, -2 * dsp.FRAME)


def flat(value: float, steps: int = STEPS, batch: int = 1) -> torch.Tensor:
    return torch.full((batch, steps, dsp.BANDS), value)


def pulses(hertz: float, steps: int = STEPS) -> torch.Tensor:
    train, _ = dsp.pulse_train(torch.full((1, steps), math.log(hertz)), torch.ones(1, steps))
    return train


def noise(steps: int = STEPS, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, steps * dsp.STEP, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("hertz", [55.0, 120.0, 333.0, 790.0])
def test_pulses_have_unit_power_and_only_harmonics_below_the_top(hertz: float) -> None:
    train = pulses(hertz, 200)
    assert float(train.square().mean()) == pytest.approx(1.0, abs=0.05)
    power = torch.fft.rfft(train[0] * torch.hann_window(train.shape[1])).abs().square()
    frequency = torch.arange(len(power)) * 24_000 / train.shape[1]
    away = (frequency / hertz - (frequency / hertz).round()).abs() * hertz
    assert float(power[away > 10].sum() / power.sum()) < 1e-3
    assert float(power[frequency > dsp.TOP_HZ + 5].sum() / power.sum()) < 1e-6


def test_the_pulse_train_goes_on_without_a_seam() -> None:
    log_f0 = torch.linspace(4.6, 5.4, STEPS)[None]
    voicing = torch.ones(1, STEPS)
    whole, _ = dsp.pulse_train(log_f0, voicing)
    first, phase = dsp.pulse_train(log_f0[:, : STEPS // 2], voicing[:, : STEPS // 2])
    second, _ = dsp.pulse_train(log_f0[:, STEPS // 2 :], voicing[:, STEPS // 2 :], phase)
    # At the seam the curve's straight line is not known on either side: half a step there differs.
    seam = STEPS // 2 * dsp.STEP
    clear = dsp.STEP // 2
    assert torch.allclose(first[:, : seam - clear], whole[:, : seam - clear], atol=1e-4)
    assert torch.corrcoef(torch.cat([second, whole[:, seam:]]))[0, 1] > 0.99


def test_unvoiced_is_silent_and_pitch_out_of_range_is_brought_in() -> None:
    train, _ = dsp.pulse_train(torch.full((1, STEPS), 5.0), torch.zeros(1, STEPS))
    assert float(train.abs().max()) == 0.0
    wild, _ = dsp.pulse_train(torch.tensor([[-1e4, 1e4, 0.0, 30.0]]), torch.ones(1, 4))
    assert torch.isfinite(wild).all()


def test_flat_envelopes_give_back_the_pulses_and_the_noise() -> None:
    train, white, off = pulses(140.0), noise(), flat(-30.0)
    assert torch.allclose(dsp.synthesise(flat(0.0), off, train, white)[:, INNER], train[:, INNER], atol=1e-3)
    assert torch.allclose(dsp.synthesise(off, flat(0.0), train, white)[:, INNER], white[:, INNER], atol=1e-3)


def test_the_lowest_envelopes_are_inaudible() -> None:
    made = dsp.synthesise(flat(-1e6), flat(-1e6), pulses(140.0), noise())
    assert float(made.abs().max()) < 1e-4


def test_minimum_phase_keeps_magnitude_and_is_causal() -> None:
    bins = torch.linspace(0, 6, dsp.TRANSFORM // 2 + 1)
    log_magnitude = (bins.sin() - 0.3 * bins)[None]
    spectrum = dsp.minimum_phase(log_magnitude)
    assert torch.allclose(spectrum.abs().log(), log_magnitude, atol=1e-3)
    response = torch.fft.irfft(spectrum, dsp.TRANSFORM)[0]
    assert float(response[dsp.TRANSFORM // 2 :].square().sum() / response.square().sum()) < 1e-6


def test_stretches_of_frames_add_up_to_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    envelope = torch.randn(1, STEPS, dsp.BANDS, generator=generator)
    harmonic, coloured = dsp.filtered(envelope, pulses(140.0)), dsp.coloured(envelope, noise())
    whole = dsp.overlap_add(harmonic, coloured)
    joined = torch.zeros_like(whole)
    for start, end in ((0, 25), (25, 26), (26, STEPS)):
        part = dsp.overlap_add(harmonic[:, start:end], coloured[:, start:end])
        joined[:, start * dsp.STEP : start * dsp.STEP + part.shape[1]] += part
    assert torch.allclose(joined, whole, atol=1e-5)


def test_gradients_reach_the_envelopes_and_are_those_of_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    harmonic = (0.1 * torch.randn(1, 4, dsp.BANDS, generator=generator)).requires_grad_()
    hiss = (0.1 * torch.randn(1, 4, dsp.BANDS, generator=generator)).requires_grad_()
    train, white = pulses(140.0, 4), noise(4)

    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return dsp.synthesise(a, b, train, white).square().sum()

    loss(harmonic, hiss).backward()
    for slot, gradient in ((harmonic, harmonic.grad), (hiss, hiss.grad)):
        assert gradient is not None
        assert bool((gradient != 0).any(-1).all())
        step = torch.zeros_like(slot)
        step[0, 2, 30] = 1e-2
        with torch.no_grad():
            pair = [
                loss(*((slot + sign * step) if kept is slot else kept for kept in (harmonic, hiss)))
                for sign in (1, -1)
            ]
        assert float(gradient[0, 2, 30]) == pytest.approx(float(pair[0] - pair[1]) / 2e-2, rel=0.05, abs=0.05)


def test_the_transform_has_the_gradient_of_its_definition() -> None:
    rows = torch.randn(2, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(dsp.transform, (rows.requires_grad_(),))
