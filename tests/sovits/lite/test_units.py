"""Sounds and codes: every phone has sounds, every code is told apart, times become steps."""

import itertools

import numpy as np
import pytest

from p2pvoice.sovits.lite import sounds, units
from p2pvoice.sovits.symbols import JYUTPING_ONSETS, PINYIN_FINALS, PINYIN_INITIALS, SYMBOLS
from p2pvoice.sovits.text import phonemize


def test_every_code_is_found_again_from_what_it_means() -> None:
    assert units.USED <= units.CODES
    for code in range(units.USED):
        sound, level, onset = units.entry_of(code)
        assert units.code_of(sound, 0 if level is None else level, onset) == code
        assert units.NAMES[units.SOUND_OF[code]] == sound
        assert units.LEVEL_OF[code] == (-1 if level is None else level)
        assert units.ONSET_OF[code] == onset


def test_every_symbol_has_known_sounds_and_every_rhyme_one_that_bears_its_tone() -> None:
    for name in SYMBOLS["v2"]:
        for sound in sounds.sounds_of([name])[0]:
            assert sounds.SOUNDS[sound.name] is sound
    rhymes = [f"{rhyme}{tone}" for rhyme in PINYIN_FINALS for tone in "12345"]
    rhymes += [name for name in SYMBOLS["v2"] if name[0] == "Y" and name[-1].isdigit() and len(name) > 2]
    codas = {f"Y{coda}" for coda in "kpt"}
    for rhyme in rhymes:
        if rhyme[:-1] in codas:  # only what is left of a syllable such as "ok", and never after a consonant
            continue
        assert any(sound.pitched for sound in sounds.sounds_of([rhyme])[0]), rhyme
        assert sounds.tone_of(rhyme) == ("yue" if rhyme[0] == "Y" else "zh") + rhyme[-1]
    for opening in PINYIN_INITIALS:
        empty = opening in ("AA", "EE", "OO")
        assert (sounds.sounds_of([opening])[0] == ()) == empty
    assert all(sounds.sounds_of([f"Y{onset}", "Yaa1"])[0] for onset in JYUTPING_ONSETS)


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        ("一月五日。", "zh", "i ɥ ɛ u ʐ ʅ sil"),
        ("二，爱。", "zh", "ɚ sil I sil"),
        ("唔該，五蚊。", "yue", "m ɡ Y sil ŋ m ɐ n sil"),
        ("Hello, world.", "en", "h ə l O sil w ɝ l d sil"),
    ],
)
def test_whole_sentences_are_made_of_the_sounds_one_hears(text: str, language: str, wanted: str) -> None:
    made = itertools.chain(*sounds.sounds_of(phonemize(text, language).names))
    assert " ".join(sound.name for sound in made) == wanted


@pytest.mark.parametrize(
    ("phones", "wanted"),
    [
        (["y", "i4"], [(), ("i",)]),
        (["y", "ou3"], [("j",), ("O",)]),
        (["w", "u3"], [(), ("u",)]),
        (["w", "o3"], [("w",), ("ɔ",)]),
        (["b", "o1"], [("b",), ("w", "ɔ")]),
        (["EE", "er4"], [(), ("ɚ",)]),
        (["Ym", "Ym4"], [(), ("m",)]),
        (["Yng", "Yg5"], [(), ("ŋ",)]),
        (["Yng", "Yo5"], [("ŋ",), ("ɔ",)]),
        (["Yaa", "Yi3"], [(), ("I",)]),
        (["Yuk", "Yk1"], [(), ("ʊ", "k̚")]),
        (["AH0", "AH1"], [("ə",), ("ʌ",)]),
    ],
)
def test_neighbours_decide_where_a_syllable_has_no_consonant(
    phones: list[str], wanted: list[tuple[str, ...]]
) -> None:
    assert [tuple(sound.name for sound in made) for made in sounds.sounds_of(phones)] == wanted


def test_levels_count_semitones_from_the_median_and_bridge_gaps() -> None:
    f0 = np.array([100.0] * 4 + [0.0] * 4 + [200.0] * 4, np.float32)
    made = units.step_semitones(f0, 3, 100.0)
    np.testing.assert_allclose(made, [0, 6, 12], atol=1e-4)
    assert [units.level_of(x) for x in (-100, -0.7, 0.7, 0.8, 100)] == [0, 5, 5, 6, 10]
    assert not units.step_semitones(np.zeros(8, np.float32), 2, 100.0).any()
    codes = units.encode([sounds.SOUNDS["a"], sounds.SOUNDS["s"]], [0, 0, 1], made)
    assert [units.entry_of(int(code)) for code in codes] == [
        ("a", 5, True), ("a", 9, False), ("s", None, True),
    ]  # fmt: skip


def test_silences_too_short_for_a_pause_are_taken_out_of_speech() -> None:
    silence, start = units.silence_code(), units.silence_code(True)
    a, b = units.code_of("m", 4, True), units.code_of("n", 6, True)
    codes = np.array([start, silence, a, start, silence, b, start, silence, silence, a, start, silence])
    wanted = [start, silence, a, b, start, silence, silence, a, start, silence]
    assert units.without_blips(codes).tolist() == wanted
    assert units.without_blips(np.array([start, silence])).tolist() == [start, silence]
