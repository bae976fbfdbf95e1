"""A decoder that rehearses is held to what its base foretells."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.lite import units
from p2pvoice.sovits.sizes import GptSettings
from p2pvoice.sovits.symbols import SYMBOLS
from p2pvoice.sovits.training import gpt_rehearsal
from p2pvoice.sovits.training.gpt_rehearsal import Rehearsal, drift, said_by
from p2pvoice.sovits.training.objective_gpt import GptObjective, GptTraining

from . import tiny

SIZES = GptSettings(
    phone_vocab=len(SYMBOLS["v2"]), vocab=41, width=16, heads=2, layers=2, feed_forward=32, bert_dim=8
)
SAID = tuple((f"The {thing} is here.", "en") for thing in ("cat", "dog", "sun", "boat", "tree", "road"))
HOW = GptTraining(
    batch=3, accumulated=1, rate=3e-3, optimiser="adamw", prompted=True, seed=4, rehearsal=Rehearsal(SAID)
)


@pytest.fixture(autouse=True)
def _endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that were never taught find no end, so what they draw is made up, and short."""
    monkeypatch.setattr(gpt_rehearsal, "generate", _some_codes)


def _some_codes(model, phones, bert, prompt, sampling, noise, early_stop):  # type: ignore[no-untyped-def]
    """Codes that depend on all that a draw depends on, and end."""
    size = 12 + int(phones.sum() + prompt.sum()) % 8
    return (noise(0, size) * 1000).long().remainder(SIZES.eos).tolist()


def objective(how: GptTraining = HOW) -> GptObjective:
    learned, aside = tiny.examples(5), [tiny.example(9, 0.9)]
    return GptObjective(tiny.gpt_tensors(SIZES), SIZES.to_config(), None, learned, aside, how, "cpu")


def test_drift_is_nothing_at_first_and_then_the_divergence() -> None:
    base = torch.randn(7, 9, generator=torch.Generator().manual_seed(1))
    held = Rehearsal((), weight=2.0)
    assert float(drift(base, base, held)) == pytest.approx(0.0, abs=1e-6)
    now = base.clone()
    now[:, 0] += 1.0
    chances, wanted = now.double().softmax(-1), base.double().softmax(-1)
    away = (wanted * (wanted / chances).log()).sum(-1).mean()
    assert float(drift(now, base, held)) == pytest.approx(float(2 * away), rel=1e-5)


def test_the_base_says_the_same_again_and_another_seed_something_else() -> None:
    base = Text2Semantic.from_tensors(tiny.gpt_tensors(SIZES), SIZES.to_config())
    prompts = tiny.examples(2)
    first, again, other = (said_by(base, Rehearsal(SAID), prompts, "v2", seed) for seed in (4, 4, 5))
    assert [e.text for e in first] == [said for said, _ in SAID]
    assert all(np.array_equal(a.codes, b.codes) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.codes, b.codes) for a, b in zip(first, other, strict=True))


def test_what_found_no_end_is_not_rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Text2Semantic.from_tensors(tiny.gpt_tensors(SIZES), SIZES.to_config())
    monkeypatch.setattr(gpt_rehearsal, "generate", lambda *_, early_stop: [1] * early_stop)
    assert said_by(base, Rehearsal(SAID), tiny.examples(2), "v2", 4) == []


def test_rehearsing_keeps_the_decoder_nearer_to_its_base() -> None:
    held, free = objective(), objective(replace(HOW, rehearsal=Rehearsal(SAID, weight=0.0)))
    for _ in range(15):
        held.train_step()
        free.train_step()
    free.how = HOW  # Both are measured alike.
    away = [one.held_out() - one.entropy() for one in (held, free)]
    assert 0 < away[0] < 0.7 * away[1]
    assert held.entropy() < objective().entropy()


def test_at_first_only_what_is_learned_counts() -> None:
    fresh = objective()
    assert fresh.held_out() == pytest.approx(fresh.entropy(), abs=1e-6)
    assert fresh.train_step()["drift"] == pytest.approx(0.0, abs=1e-6)
    names = [{e.name for e in part} for part in fresh.rehearsed]
    assert all(names)
    assert not names[0] & names[1]


def test_codes_of_one_kind_count_as_one() -> None:
    kinds = tuple(code // 2 for code in range(SIZES.eos))
    learner = objective(GptTraining(batch=3, accumulated=1, kinds=kinds, seed=4))
    chosen = learner.examples[:3]
    batch, given = learner._batch(chosen)
    loss, _, places = learner._loss(batch, given)
    with torch.no_grad():
        logits, _ = learner.model(batch.phones, None, batch.codes, batch.phone_lengths)
    wanted = 0.0
    for row, one in enumerate(chosen):
        chances = logits[row, : len(one.codes)].double().softmax(-1)
        for place, code in enumerate(one.codes):
            wanted -= float(chances[place, [code // 2 * 2, code // 2 * 2 + 1]].sum().log())
        wanted -= float(logits[row, len(one.codes)].double().log_softmax(-1)[SIZES.eos])
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)
    assert places == sum(len(one.codes) + 1 for one in chosen)


def test_a_kind_is_a_sound_and_whether_it_begins() -> None:
    kinds = units.KIND_OF
    assert len(kinds) == units.CODES
    levels = {kinds[units.code_of("m", level, True)] for level in range(units.LEVELS)}
    others = {kinds[units.code_of("m", 0, False)], kinds[units.code_of("n", 0, True)], kinds[units.USED]}
    assert len(levels) == 1
    assert len(levels | others) == 4
