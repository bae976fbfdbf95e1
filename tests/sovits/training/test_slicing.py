"""Recordings cut at pauses, and texts given to the parts."""

import itertools

import numpy as np
import pytest

from p2pvoice.sovits.training import assigning, slicing

from .conftest import RATE, SENTENCES


def tone(seconds: float, level: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 200 * time)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def times(pieces: list[slicing.Stretch]) -> list[tuple[float, float]]:
    return [(piece.start / RATE, piece.end / RATE) for piece in pieces]


def test_cuts_lie_in_pauses_and_keep_half_a_second_of_them() -> None:
    sound = np.concatenate(
        [
            silence(2),
            tone(5),
            silence(2),
            tone(4.5),
            silence(0.29),
            tone(1),
            silence(0.4),
            tone(6),
            silence(3),
        ]
    )
    found = times(slicing.cut(sound, RATE))
    # A pause of 0.29 s is no place to cut, one of 0.4 s is, and both sides keep all of it.
    wanted = [(1.5, 7.5), (8.5, 15.19), (14.79, 21.69)]
    assert np.allclose(found, wanted, atol=0.03)


def test_a_short_piece_is_not_cut_off_and_a_short_rest_joins_the_last() -> None:
    sound = np.concatenate([tone(3.9), silence(0.5), tone(1), silence(0.5), tone(2)])
    assert np.allclose(times(slicing.cut(sound, RATE)), [(0, 7.9)], atol=0.03)


def test_a_soft_recording_is_cut_like_a_loud_one() -> None:
    sound = np.concatenate([tone(5), silence(0.6), tone(5)]) + 1e-4
    loud, soft = slicing.cut(sound, RATE), slicing.cut(sound * np.float32(0.02), RATE)
    assert len(loud) == 2
    assert loud == soft


def test_silence_has_no_piece() -> None:
    assert slicing.cut(silence(10), RATE) == []


def test_loudness_is_mixed_as_published() -> None:
    soft = tone(1, 0.2)
    peak = float(np.abs(soft).max())
    mixed = slicing.mix_loudness(soft)
    assert np.abs(mixed).max() == pytest.approx(0.25 * 0.9 + 0.75 * peak, abs=1e-4)
    loud = slicing.mix_loudness(soft * 10)
    assert np.abs(loud).max() == pytest.approx(0.25 * 0.9 + 0.75, abs=1e-4)
    assert not slicing.mix_loudness(silence(1)).any()


def test_a_text_is_given_to_the_parts_that_say_it(recording: tuple[np.ndarray, list[float]]) -> None:
    samples, starts = recording
    parts = assigning.assign(samples, RATE, " ".join(SENTENCES), "en")
    assert parts is not None
    assert len(parts) >= 3
    assert " ".join(part.text for part in parts) == " ".join(SENTENCES)
    assert (parts[0].stretch.start, parts[-1].stretch.end) == (0, len(samples))
    beginnings = dict(zip(SENTENCES, starts, strict=True))
    for before, part in itertools.pairwise(parts):
        assert before.stretch.end == part.stretch.start
        (first,) = [s for s in SENTENCES if part.text.startswith(s)]
        # The cut lies in the 0.4 s of pause before that very sentence.
        assert -0.45 < part.stretch.start / RATE - beginnings[first] < 0.1
    for part in parts:
        assert assigning.LEAST_SECONDS <= len(part.stretch) / RATE <= assigning.MOST_SECONDS + 0.5


@pytest.mark.parametrize("kept", [SENTENCES[:1] + SENTENCES[2:], SENTENCES[:4], SENTENCES[3:]])
def test_a_text_that_does_not_fit_the_pauses_is_not_believed(
    recording: tuple[np.ndarray, list[float]], kept: tuple[str, ...]
) -> None:
    assert assigning.assign(recording[0], RATE, " ".join(kept), "en") is None


def test_what_has_no_pause_or_no_mark_cannot_be_divided(speak) -> None:  # type: ignore[no-untyped-def]
    said = speak(SENTENCES[0])
    assert (
        assigning.assign(np.concatenate([said, silence(1), said]), RATE, "no marks at all here", "en") is None
    )
    assert assigning.assign(tone(20), RATE, "One thing. Another thing.", "en") is None


def test_clauses_keep_every_character() -> None:
    assert assigning.clauses("He paid 3.50, then left... Why?") == ["He paid 3.50,", "then left...", "Why?"]
    assert "".join(assigning.clauses("今日，天氣好好。係咪？")) == "今日，天氣好好。係咪？"
