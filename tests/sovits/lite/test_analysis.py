"""The fixed analysis: shapes, level, pitch through gaps, and what there is nothing to analyse in."""

import numpy as np
import pytest
import torch

from p2pvoice.sovits.lite import analysis

from . import tiny


def test_a_clip_becomes_frames_of_known_channels() -> None:
    samples = tiny.speech(2.005)
    found = analysis.analyse(samples, np.full(200, 180.0, np.float32))
    assert found.shape == (analysis.CHANNELS, 100)
    assert torch.isfinite(found).all()
    height = np.log(180.0 / analysis.CENTRE_HZ) / analysis.PITCH_SPREAD
    assert torch.allclose(found[analysis.PITCH], torch.full((100,), height, dtype=torch.float32), atol=1e-5)
    assert bool((found[analysis.VOICING] == 1).all())


def test_level_moves_all_bands_alike() -> None:
    samples, f0 = tiny.speech(1.0), np.zeros(100, np.float32)
    soft, loud = analysis.analyse(samples, f0), analysis.analyse(samples * 2, f0)
    step = (loud - soft)[: analysis.MEL]
    audible = soft[: analysis.MEL] > -1.0
    assert torch.allclose(
        step[audible], torch.full_like(step[audible], np.log(2) / analysis.MEL_SPREAD), atol=1e-2
    )


def test_pitch_runs_straight_through_what_is_unvoiced() -> None:
    f0 = np.zeros(40, np.float32)
    f0[4], f0[24] = 100.0, 200.0
    pitch, voicing = analysis.pitch_channels(f0, 20, 100.0)
    top = np.log(2) / analysis.PITCH_SPREAD
    assert pitch[0] == pytest.approx(0.0)
    assert pitch[-1] == pytest.approx(top)
    assert np.diff(pitch[3:12]) == pytest.approx(np.full(8, top / 10), rel=1e-4)
    assert voicing.tolist() == [0.5 if i in (2, 12) else 0.0 for i in range(20)]


def test_nothing_voiced_is_at_the_centre_and_a_wild_pitch_is_brought_in() -> None:
    pitch, voicing = analysis.pitch_channels(np.zeros(10, np.float32), 5, 200.0)
    assert not pitch.any()
    assert not voicing.any()
    assert analysis.median_pitch(np.zeros(3, np.float32)) == analysis.CENTRE_HZ
    wild, _ = analysis.pitch_channels(np.full(10, 1e9, np.float32), 5, 100.0)
    assert wild[0] == pytest.approx(np.log(8.0) / analysis.PITCH_SPREAD)


def test_less_than_four_frames_are_refused() -> None:
    quiet = np.zeros(4 * analysis.HOP, np.float32)
    assert analysis.analyse(quiet, np.zeros(8, np.float32)).shape[1] == 4
    with pytest.raises(ValueError, match="four frames"):
        analysis.analyse(quiet[:-1], np.zeros(8, np.float32))
