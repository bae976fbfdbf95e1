"""The starter's corpus: texts, tokens, shards, and recitals by a teacher made of tones."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from p2pvoice.sovits.lite import learning, units
from p2pvoice.sovits.starter import (
    build,
    copies,
    corpus,
    minute,
    pack,
    texts,
    texts_chinese,
    tokens,
    train_content,
    train_gpt,
    train_lite,
)
from p2pvoice.sovits.starter.recital import recite
from p2pvoice.sovits.symbols import SYMBOLS
from p2pvoice.sovits.text import phonemize

from .lite import tiny

Curve = NDArray[np.float32]


class Tone:
    """A speaker whose every token lasts four units and whose audio is a sine over its pitch."""

    name, pace, pitch, range, stretch = "tone", 1.0, 150.0, 1.0, 1.0
    unit, grain = 1 / 40, 1

    def natural(self, tokens: Sequence[str]) -> Curve:
        return np.full(len(tokens) + 2, 4, np.float32)

    def curve(self, units_: Sequence[int]) -> Curve:
        self.frames = 2 * sum(units_)
        return np.full(self.frames, 200.0, np.float32)

    def audio(self, f0: Curve, random: np.random.Generator) -> Curve:
        assert len(f0) == self.frames
        return np.sin(2 * np.pi * np.cumsum(np.repeat(f0, 300)) / 24_000).astype(np.float32)

    def own_median(self, language: str) -> float:
        return 200.0


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
    for language in ("zh", "yue"):
        chinese = texts_chinese.sentences(language, 60, 5)
        assert chinese == texts_chinese.sentences(language, 60, 5)
        assert len(chinese) == 60
        assert not any("{" in sentence for sentence in chinese)


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        ("The cat sat.", "en", "ðə kˈæt sˈæt."),
        ("你好，谢谢。", "zh", "ni↗xau↓, ɕje↘ɕje."),
        ("多謝，你好。", "yue", "tɔ→ʦɛ→, nei↗hou↗."),
    ],
)
def test_tokens_are_what_the_teachers_read(text: str, language: str, wanted: str) -> None:
    phones = build.phones_of(text, language)
    assert phones is not None
    made = "".join(token for part in tokens.parts_of(phones, language) for token in part.tokens)
    assert made == wanted


@pytest.mark.parametrize(("text", "language"), [("今日天氣好好。", "yue"), ("It is a clear day.", "en")])
def test_a_recital_knows_its_codes_and_their_owners(text: str, language: str) -> None:
    phones = build.phones_of(text, language)
    assert phones is not None
    item = recite(Tone(), phones, text, language, np.random.default_rng(0))
    assert item is not None
    assert len(item.audio) == 960 * len(item.codes)
    assert len(item.f0) == units.PITCH_PER_STEP * len(item.codes)
    assert len(item.owner) == len(item.codes)
    assert (np.diff(item.owner) >= 0).all()
    # A sound of 100 ms is two or three steps long, and every sound but the first begins with an onset.
    onsets = np.flatnonzero(units.ONSET_OF[item.codes])
    assert set(np.diff(onsets)[1:-1].tolist()) <= {2, 3, 4, 5, 6, 7, 8}
    assert [SYMBOLS["v2"][row] for row in item.phones] == phonemize(text, language).names
    levels = units.LEVEL_OF[item.codes]
    if language == "en":  # the teacher is monotone, so the speaker stays at the median
        assert set(levels[levels >= 0].tolist()) == {units.MIDDLE}
        assert np.median(item.f0[item.f0 > 0]) == pytest.approx(150, rel=0.01)
    else:  # tones move the pitch
        assert len(set(levels[levels >= 0].tolist())) > 3
    silent = recite(Tone(), phones, text, language, np.random.default_rng(0), mute=True)
    assert silent is not None
    assert not len(silent.audio)
    assert silent.codes.tolist() == item.codes.tolist()


def _item(speaker: str, language: str, seed: int) -> corpus.Item:
    rnd = np.random.default_rng(seed)
    steps = int(rnd.integers(60, 90))
    return corpus.Item(
        f"text {seed}", language, speaker, 120.0 + seed,
        rnd.integers(-900, 900, 960 * steps).astype(np.int16),
        rnd.uniform(0, 200, 4 * steps).astype(np.float32),
        rnd.integers(1, 300, 20).astype(np.int16), rnd.integers(0, units.USED, steps).astype(np.int16),
        np.sort(rnd.integers(0, 20, steps)).astype(np.int16),
    )  # fmt: skip


def test_shards_give_back_what_was_written(tmp_path: Path) -> None:
    items = [_item(f"s{i % 2}", "en" if i else "yue", i) for i in range(4)]
    corpus.write_shard(tmp_path / "a_000.npz", items)
    (tmp_path / "b_000.part.npz").write_bytes(b"still growing")
    read = corpus.read_corpus(tmp_path)
    for made, item in zip(read, items, strict=True):
        assert (made.text, made.language, made.speaker, made.median) == (
            item.text, item.language, item.speaker, item.median,
        )  # fmt: skip
        for name in ("audio", "f0", "phones", "codes", "owner"):
            assert np.array_equal(getattr(made, name), getattr(item, name))
    assert not any(len(item.audio) for item in corpus.read_corpus(tmp_path, audio=False))


def test_a_gpt_sequence_asks_only_for_what_follows_the_prompt() -> None:
    item, prompt = _item("a", "en", 1), _item("a", "en", 2)
    phones, codes, owner, prompted = train_gpt.sequence(item, prompt, random.Random(0))
    assert len(phones) == 40
    assert codes[prompted:].tolist() == item.codes.tolist()
    assert owner[prompted:].tolist() == (item.owner + 20).tolist()
    model = train_gpt.fresh_model().eval()
    with torch.no_grad():
        one = train_gpt.losses(model, [(phones, codes, owner, prompted)])
        two = train_gpt.losses(model, [(phones, codes, owner, prompted)] * 2)
    for name, value in one.items():
        assert torch.isfinite(value)
        assert float(two[name]) == pytest.approx(float(value), rel=0.05)


def test_augmented_spectra_keep_their_shape_and_stay_finite() -> None:
    heard = train_content.heard(_item("a", "en", 3))
    assert heard.mel.shape[1] == 4 * len(heard.sounds)
    rnd = random.Random(0)
    for _ in range(40):
        mel = train_content.augmented(heard.mel.float(), rnd)
        assert mel.shape == heard.mel.shape
        assert torch.isfinite(mel).all()
        clip, label = train_content._clip(heard, rnd)
        assert (clip.shape[1], len(label)) == (4 * train_content.CROP, 2 * train_content.CROP)


def test_the_reference_is_long_enough() -> None:
    with pytest.raises(ValueError, match="no clip of 4"):
        pack.reference([_item("a", "en", 1)], "a", "en")


def test_what_is_rare_is_met_more_often_but_not_as_often() -> None:
    kinds = ["hibari en"] * 90 + ["kokoro zh"] * 10
    met = train_lite.balanced(kinds)
    assert met[:90] == list(range(90))
    assert Counter(kinds[i] for i in met) == {"hibari en": 90, "kokoro zh": 30}


def test_a_minute_of_a_speaker_and_the_rest_of_what_he_said(tmp_path: Path) -> None:
    def said(number: int, speaker: str, seconds: float) -> corpus.Item:
        codes = np.full(round(seconds * 25), units.silence_code(), np.int16)
        audio, f0 = np.full(len(codes) * 960, number, np.int16), np.zeros(len(codes) * 4, np.float32)
        phones, owner = np.zeros(1, np.int16), np.zeros(len(codes), np.int16)
        return corpus.Item(f"Sentence {number}.", "en", speaker, 150.0, audio, f0, phones, codes, owner)

    names = [name for group in minute.SPEAKERS.values() for name in group]
    for series, group in minute.SPEAKERS.items():
        folder = tmp_path / "work" / "unseen"
        folder.mkdir(parents=True, exist_ok=True)
        items = [said(i, name, 2.0 if i == 3 else 8.0) for name in (*group, "other") for i in range(10)]
        corpus.write_shard(folder / f"{series}_000.npz", items)
    minute.cut(tmp_path / "work", tmp_path / "out", lambda _: None)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    taken = tmp_path / "out" / names[0] / "train"
    assert (taken / "list.txt").read_text().splitlines() == [
        f"{row:02d}.wav|{names[0]}|EN|Sentence {number}." for row, number in enumerate((0, 1, 2, 4, 5, 6, 7))
    ]
    samples, rate = soundfile.read(taken / "03.wav", dtype="int16")
    assert (len(samples), rate, samples[0]) == (8 * 24_000, 24_000, 4)
    assert len(list((tmp_path / "out" / names[0] / "rest").glob("*.wav"))) == 3


def test_every_way_to_a_sentence_lasts_as_long_as_the_truth() -> None:
    def said(seed: int) -> learning.Utterance:
        phones = np.array(phonemize(tiny.SAID, "en").ids)
        codes = np.full(50, units.code_of("ɑ", 5, True))
        return learning.Utterance(codes, phones, tiny.speech(2.0, seed=seed), np.full(200, 150.0), 150.0)

    voice = tiny.voice()
    heard = {way: copies.made(voice, said(0), said(1), way) for way in copies.WAYS}
    assert {audio.shape for audio in heard.values()} == {(48_000,)}
    assert np.array_equal(heard["truth"], said(0).audio)
    assert all(np.isfinite(audio).all() for audio in heard.values())
    assert not np.array_equal(heard["copy"], heard["codes"])
