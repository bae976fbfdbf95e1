# ruff: noqa: SIM905 (word lists are easier to read and check as text)
"""Forced alignment on scores whose answer is known, and its refusals on real audio paths."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.lite import align, units
from p2pvoice.sovits.lite.content import SAMPLE_RATE, SAMPLES_LIMIT, ContentEncoder
from p2pvoice.sovits.symbols import symbol_ids

PHONES = ["HH", "AH0", "L", "OW1", ",", "W", "ER1", "L", "D", "."]


def scores_of(names: list[str], sure: float = 0.1, seed: int = 0) -> NDArray[np.float64]:
    """Scores that favour ``names``, over noise."""
    random = np.random.default_rng(seed)
    made = np.log(random.dirichlet([0.3] * len(units.NAMES), len(names)) + 1e-4)
    for step, name in enumerate(names):
        made[step, units.NAMES.index(name)] = -sure
    return made


def test_the_best_path_is_found_with_pauses_that_no_mark_tells_of() -> None:
    names = "sil sil h ə ə l O O O w ɝ ɝ sil sil l d sil".split()
    found = align.align(scores_of(names), PHONES)
    assert found is not None
    assert [found.sounds[i].name for i in found.of_step] == names
    # The comma's pause was not made; the one within the second word belongs to the phone before it.
    assert found.owner.tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3, 5, 6, 6, 6, 6, 7, 8, 9]
    assert found.cost == pytest.approx(0.1)


def test_every_sound_gets_a_step_where_time_is_short() -> None:
    needed = 8  # all sounds but the two pauses
    scores = scores_of(["ɑ"] * needed)
    found = align.align(scores, PHONES)
    assert found is not None
    assert [sound.name for sound in found.sounds] == "h ə l O w ɝ l d".split()
    assert align.align(scores[:-1], PHONES) is None
    assert align.align(scores, [","]) is None


def test_without_a_transcript_a_single_odd_step_is_smoothed_away() -> None:
    scores = scores_of("h h O O O O s s".split(), sure=0.05)
    scores[3, units.NAMES.index("l")] = -0.04
    found = align.heard(scores)
    assert [found.sounds[i].name for i in found.of_step] == "h h O O O O s s".split()


def test_codes_tell_pitch_relative_to_the_clip_and_a_wrong_text_is_refused() -> None:
    torch.manual_seed(0)
    encoder = ContentEncoder().eval()  # untrained: it finds every sound about as likely
    random = np.random.default_rng(0)
    samples = (0.05 * random.standard_normal(SAMPLE_RATE)).astype(np.float32)
    rows = [symbol_ids("v2")[name] for name in PHONES]
    f0 = np.repeat(np.array([110.0, 220.0], np.float32), 50)
    codes = align.codes_of(encoder, samples, SAMPLE_RATE, rows, f0, strict=False)
    again = align.codes_of(encoder, samples, SAMPLE_RATE, rows, 2 * f0, strict=False)
    assert len(codes) == 25
    assert codes.tolist() == again.tolist()
    levels = units.LEVEL_OF[codes]
    assert levels[:10].max() < units.MIDDLE < levels[14:].max()
    assert len(align.codes_of(encoder, samples, SAMPLE_RATE, [], f0)) == 25
    with pytest.raises(UsageError, match="does not seem to say"):
        align.codes_of(encoder, samples, SAMPLE_RATE, rows, f0)
    with pytest.raises(UsageError, match="too short"):
        align.codes_of(encoder, samples[: SAMPLE_RATE // 5], SAMPLE_RATE, rows, f0[:20])


def test_the_encoder_hears_what_it_can_and_no_more() -> None:
    encoder = ContentEncoder().eval()
    told = encoder.log_probabilities(np.zeros(SAMPLE_RATE // 2, np.float32))
    assert told.shape == (25, len(units.NAMES))
    np.testing.assert_allclose(np.exp(told).sum(1), 1, atol=1e-5)
    for size in (SAMPLE_RATE // 10 - 1, SAMPLES_LIMIT + 1):
        with pytest.raises(ValueError, match="heard at once"):
            encoder.log_probabilities(np.zeros(size, np.float32))
