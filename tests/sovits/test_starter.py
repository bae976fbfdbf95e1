"""The bootstrap voice's code table, sounds and texts: what training and the shipped files rest on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.sovits.starter import content, sounds, texts, texts_chinese, train_sovits, units
from p2pvoice.sovits.symbols import PINYIN_FINALS, PINYIN_INITIALS, SYMBOLS
from p2pvoice.sovits.text import phonemize


def test_codes_fit_the_codebook_and_are_told_apart() -> None:
    rows = units.codebook()
    assert rows.shape == (units.CODES, units.WIDTH)
    used = rows[: units.USED]
    assert len(np.unique(used, axis=0)) == units.USED <= units.CODES - 1
    far = ((used[:, None] - used[None]) ** 2).sum(-1) + 10 * np.eye(units.USED)
    assert far.min() >= 0.25 - 1e-6
    # No feature that is near a row in use may fall to a row that nobody uses.
    assert ((used - units.UNUSED) ** 2).sum(1).min() > 1000 * far.min()


def test_every_code_is_found_again_from_what_it_means() -> None:
    for code in range(units.USED):
        sound, level, onset = units.entry_of(code)
        assert units.code_of(sound, 0 if level is None else level, onset) == code


@given(st.lists(st.one_of(st.none(), st.integers(0, units.LEVELS - 1)), min_size=1, max_size=60))
def test_pitch_curve_stays_within_the_levels(levels: list[int | None]) -> None:
    curve = units.pitch_curve(levels)
    assert len(curve) == len(levels) * units.FRAMES_PER_STEP
    reach = units.LEVEL_SEMITONES * units.MIDDLE
    semitones = 12 * np.log2(curve / units.CENTRE_HZ)
    assert np.all(np.abs(semitones) <= reach + 1e-3)
    held = [level for level in levels if level is not None]
    if held and len(set(held)) == 1:
        assert units.level_of(float(curve[0])) == held[0]


def test_every_phone_of_the_three_languages_has_sounds() -> None:
    names = [f"{final}{tone}" for final in PINYIN_FINALS for tone in "12345"]
    names += [name for name in PINYIN_INITIALS if name not in ("AA", "EE", "OO")]
    names += [name for name in SYMBOLS["v2"] if name.startswith("Y") and len(name) > 1]
    for name in names:
        found = sounds.sounds_of(name)
        assert found, name
        assert all(sounds.SOUNDS[sound.name] is sound for sound in found)
    assert sounds.sounds_of("EE") == ()


@pytest.mark.parametrize(
    ("phone", "tone"),
    [("ao3", "zh3"), ("Yung1", "yue1"), ("AH1", None), ("sh", None), ("Yng", None), (",", None)],
)
def test_tones_belong_to_chinese_finals(phone: str, tone: str | None) -> None:
    assert sounds.tone_of(phone) == tone


def test_held_out_sentences_stay_out_and_can_be_read() -> None:
    assert {k: len(v) for k, v in texts.HELD_OUT.items()} == {"en": 20, "zh": 10, "yue": 10}
    for language, sentences in texts.HELD_OUT.items():
        for sentence in sentences:
            assert texts.is_held_out(sentence.upper().rstrip(".。！？"))
            assert len(phonemize(sentence, language).ids) > 6
    written = [*texts_chinese.own_sentences("zh"), *texts_chinese.own_sentences("yue")]
    assert not any(texts.is_held_out(sentence) for sentence in written)


def test_grammars_make_the_same_sentences_again() -> None:
    made = list(texts.english_grammar(50, 3, ["telescope"]))
    assert made == list(texts.english_grammar(50, 3, ["telescope"]))
    assert made != list(texts.english_grammar(50, 4, ["telescope"]))
    assert all(sentence[-1] in ".!?" for sentence in made)


def test_a_widened_codebook_gives_the_decoder_the_same_input() -> None:
    book, wide = torch.from_numpy(units.codebook()), content.padded_codebook()
    assert wide.shape == (units.CODES, content.WIDTH)
    assert torch.equal(wide[:, : units.WIDTH], book)
    assert not wide[:, units.WIDTH :].any()


def test_the_trainee_s_flow_is_the_identity() -> None:
    voice = train_sovits.Trainee().voice.eval()
    z, mask, style = torch.randn(1, 96, 12), torch.ones(1, 1, 12), torch.randn(1, 128, 1)
    with torch.inference_mode():
        assert torch.equal(voice.flow(z, mask, style, reverse=True), z)


def test_pitch_channels_tell_the_pitch() -> None:
    low, high = (np.full(10, units.code_of("ɑ", level, False)) for level in (2, 8))
    rows = [train_sovits.pitch_channels(codes) for codes in (low, high)]
    assert rows[0].shape == (20, train_sovits.PITCH)
    assert rows[0][:, 0].max() < 0 < rows[1][:, 0].min()
    assert rows[0][5, 1:].argmax() < rows[1][5, 1:].argmax()
