"""A lite voice learns: losses fall, what is frozen stays, and a resumed training draws the same curve."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.lite import analysis, dsp, learning, units
from p2pvoice.sovits.lite.rehearsal import rehearse
from p2pvoice.sovits.lite.sounds import sounds_of
from p2pvoice.sovits.symbols import SYMBOLS
from p2pvoice.sovits.training.dataset import Example
from p2pvoice.sovits.training.loop import Plan, best_weights, fit
from p2pvoice.sovits.training.objective_lite import STYLE, LiteObjective, LiteTraining
from p2pvoice.sovits.training.parts import Only

from . import tiny

SMALL = LiteTraining(batch=2, frames=16, rehearsed=1, warm_up=2, average=0.5, half=False)


def example(number: int, codes: int = 40) -> Example:
    rnd = np.random.default_rng(number)
    seconds = codes / 25
    f0 = np.full(codes * 4, 150.0, np.float32)
    f0[rnd.integers(0, len(f0), 10)] = 0
    said, phones = rehearse(random.Random(number))
    return Example(
        f"e{number}", "", "en", tiny.speech(seconds, seed=number), phones, np.resize(said, codes), None, f0
    )  # fmt: skip


def objective(only: Only = "all", settings: LiteTraining = SMALL, count: int = 4) -> LiteObjective:
    voice = tiny.voice()
    return LiteObjective(
        voice.published_state(), voice.settings.to_config(), None,
        [example(i) for i in range(count)], [example(9)], settings, "cpu", only,
    )  # fmt: skip


def test_it_learns_what_it_is_shown() -> None:
    learner = objective(settings=LiteTraining(batch=2, frames=16, rehearsed=1, rate=3e-3, half=True))
    before = learner.held_out()
    assert learner.held_out() == before
    for _ in range(25):
        losses = learner.train_step()
    assert set(losses) == {"frame", "pitch", "voicing", "sound", "f0", "voiced", "median", "rehearsed"}
    assert learner.held_out() < 0.9 * before


def test_what_reads_the_text_stays() -> None:
    learner = objective()
    given = {name: value.clone() for name, value in learner.published.items()}
    for _ in range(3):
        learner.train_step()
    now = learner.weights()
    assert now.keys() == given.keys()
    changed = {name for name in now if not torch.equal(now[name], given[name])}
    assert STYLE in changed
    assert "dec.pre.weight" in changed
    assert "enc_p.frame_blocks.0.film.weight" in changed
    assert not any(name.startswith(("enc_p.text_", "enc_p.attention", "quantizer")) for name in changed)
    assert {name for name in changed if name.startswith("ref_enc")} == {STYLE}
    assert all(torch.equal(learner.published[name], given[name]) for name in given)


def test_last_layers_are_the_decoders_end_and_nothing_else() -> None:
    learner = objective("last-layers")
    losses = learner.train_step()
    assert "rehearsed" not in losses
    now = learner.weights()
    changed = {name for name in now if not torch.equal(now[name], learner.published[name])}
    assert changed
    assert all(
        name.startswith(("dec.blocks.1.", "dec.blocks.2.", "dec.norm.", "dec.post.")) for name in changed
    )
    assert learner.layers == ("dec.blocks.1", "dec.blocks.2", "dec.norm", "dec.post")


def test_a_resumed_training_draws_the_same_curve_bit_for_bit(tmp_path: Path) -> None:
    def run(folder: Path, steps: list[int]) -> list[str]:
        for count in steps:
            fit(
                objective(),
                Plan(steps=count, check_every=3, patience=50),
                folder,
                lambda _: None,
                lambda: False,
            )
        return (folder / "losses.jsonl").read_text().splitlines()

    whole, parts = run(tmp_path / "whole", [7]), run(tmp_path / "parts", [2, 5, 7])
    assert len(whole) == 7
    strip = [line.split(', "held_out"')[0] for line in parts]
    assert strip == [line.split(', "held_out"')[0] for line in whole]
    a, b = best_weights(tmp_path / "whole"), best_weights(tmp_path / "parts")
    assert a.keys() == b.keys()


def test_a_checkpoint_of_other_parts_is_refused() -> None:
    state = objective().state_dict()
    with pytest.raises(ValueError, match="other parts"):
        objective("last-layers").load_state_dict(state)


def test_examples_that_cannot_be_used_are_named() -> None:
    voice, good = tiny.voice(), example(0)
    silent = Example("silent", "", "en", good.audio, good.phones, good.codes, None, good.f0 * 0)
    blind = Example("blind", "", "en", good.audio, good.phones, good.codes, None, None)
    beyond = Example("beyond", "", "en", good.audio, good.phones, good.codes + 1024, None, good.f0)

    def learner(*examples: Example) -> LiteObjective:
        config = voice.settings.to_config()
        return LiteObjective(voice.published_state(), config, None, examples, (), SMALL, "cpu")

    assert set(learner(good, silent, blind, beyond).left_out) == {"silent", "blind", "beyond"}
    assert np.isnan(learner(good).held_out())
    with pytest.raises(UsageError, match="learned from"):
        learner(silent)


def test_a_process_that_has_spoken_can_still_learn() -> None:
    for make in (
        dsp._bands,
        dsp._fold,
        dsp._window,
        analysis._filters,
        learning._mel_filters,
        learning._window,
    ):
        make.cache_clear()  # type: ignore[attr-defined]
    voice = tiny.voice()
    with torch.inference_mode():
        voice.decode(torch.arange(20)[None], torch.arange(9)[None], torch.zeros(1, 8, 1))
        learning.spectra(torch.zeros(1, 24_000))
        analysis.log_mel(torch.zeros(1, 24_000))
    assert np.isfinite(list(objective().train_step().values())).all()


def test_one_example_is_enough_to_step() -> None:
    assert np.isfinite(list(objective(count=1).train_step().values())).all()


def test_what_is_rehearsed_covers_every_sound_and_fits_its_phones() -> None:
    rnd = random.Random(0)
    heard: set[int] = set()
    for _ in range(120):
        codes, phones = rehearse(rnd)
        heard |= set(codes.tolist())
        wanted = [s.name for made in sounds_of([SYMBOLS["v2"][row] for row in phones]) for s in made]
        onsets = [units.entry_of(int(code))[0] for code in codes if units.entry_of(int(code))[2]]
        assert onsets == wanted
    assert {int(units.SOUND_OF[code]) for code in heard} == set(range(len(units.NAMES)))
