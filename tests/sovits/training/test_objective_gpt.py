"""The decoder's loss and gradients equal a float64 computation by hand; ScaledAdam follows its paper."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.training.batches import PHONES_LIMIT, SMALL_SET, Order, Vocabulary, unfit_for_gpt
from p2pvoice.sovits.training.objective_gpt import GptObjective, GptTraining
from p2pvoice.sovits.training.scaled_adam import LEAST_SIZE, SIZE_RATE, ScaledAdam

from . import by_hand, tiny

HOW = GptTraining(batch=3, accumulated=2, seed=3)
GRADIENT_ERROR = 5e-5
"""Of float32 against float64, relative to the gradient's length."""
DUST = 1e-3
"""Length of the shortest gradient that is compared relative to itself."""
KNOWN = Vocabulary(tiny.GPT.phone_vocab, tiny.GPT.eos)


def objective(bert: bool = False, only: str = "all", held_out: int = 0) -> GptObjective:
    aside = tiny.examples(held_out)
    return GptObjective(
        tiny.gpt_tensors(), tiny.GPT.to_config(), None, tiny.examples(5, bert), aside, HOW, "cpu", only
    )


def entropy_by_hand(weights: dict[str, torch.Tensor], chosen: list[tiny.Example]) -> torch.Tensor:
    terms = []
    for e in chosen:
        features = None if e.bert is None else torch.from_numpy(e.bert).double()
        phones, codes = torch.from_numpy(e.phones), torch.from_numpy(e.codes)
        terms.append(by_hand.gpt_entropy(weights, tiny.GPT, phones, features, codes))
    return torch.stack(terms).sum()


@pytest.mark.parametrize("bert", [False, True], ids=["plain", "some-with-bert"])
def test_loss_and_gradients_equal_those_computed_by_hand(bert: bool) -> None:
    learner = objective(bert)
    batches = learner.order.batches[: HOW.accumulated]
    chosen = [learner.examples[i] for batch in batches for i in batch]
    assert len({len(e.phones) for e in chosen}) > 1
    w = {
        k.removeprefix("model."): v.double().requires_grad_() for k, v in tiny.gpt_tensors().items()
    }  # fmt: skip
    wanted = entropy_by_hand(w, chosen)
    wanted.backward()
    losses = learner.train_step()
    places = sum(len(e.codes) + 1 for e in chosen)
    assert losses["entropy"] == pytest.approx(wanted.item() / places, rel=1e-6)
    errors = {}
    for name, parameter in learner.model.named_parameters():
        gradient = w[name].grad
        if parameter.grad is None or gradient is None:
            assert not bert
            assert parameter.grad is gradient is None or name == "bert_proj.weight"
            continue
        length = gradient.norm().clamp(min=DUST)
        errors[name] = float((parameter.grad.double() - gradient).norm() / length)
    print(f"worst of {len(errors)} gradients: {max(errors.values()):.1e}")
    assert len(errors) >= 40
    assert not {k: e for k, e in errors.items() if e > GRADIENT_ERROR}


def test_after_a_prompt_only_the_sentence_is_foretold() -> None:
    how = replace(HOW, prompted=True, temper=0.5)
    examples = tiny.examples(5)
    learner = GptObjective(tiny.gpt_tensors(), tiny.GPT.to_config(), None, examples, [], how, "cpu")
    chosen = examples[:3]
    batch, given = learner._batch(chosen)
    again, _ = learner._batch(chosen)
    assert torch.equal(batch.codes, again.codes)
    for row, one in enumerate(chosen):
        size, start = int(batch.code_lengths[row]), int(given[row])
        assert batch.codes[row, start:size].tolist() == one.codes.tolist()
        prompt = batch.codes[row, :start].tolist()
        assert prompt in [other.codes.tolist() for other in examples if other is not one]
        assert int(batch.phone_lengths[row]) > len(one.phones)
    loss, _, places = learner._loss(batch, given)
    assert places == sum(len(one.codes) + 1 for one in chosen)
    logits, _ = learner.model(batch.phones, None, batch.codes, batch.phone_lengths)
    wanted = 0.0
    for row, one in enumerate(chosen):
        start = int(given[row])
        told = logits[row, start : start + len(one.codes) + 1] * 0.5
        target = torch.tensor([*one.codes.tolist(), tiny.GPT.eos])
        wanted += float(torch.nn.functional.cross_entropy(told, target, reduction="sum").detach())
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
    learner.train_step()
    other, _ = learner._batch(chosen)
    assert not torch.equal(other.codes[:, : batch.codes.shape[1]], batch.codes[:, : other.codes.shape[1]])


def test_held_out_is_the_entropy_of_a_code() -> None:
    learner = objective(held_out=2)
    w = {k.removeprefix("model."): v.double() for k, v in tiny.gpt_tensors().items()}
    places = sum(len(e.codes) + 1 for e in learner.aside)
    wanted = entropy_by_hand(w, learner.aside).item() / places
    assert learner.held_out() == pytest.approx(wanted, rel=1e-6)
    assert np.isnan(objective().held_out())


def test_it_learns_what_it_is_told() -> None:
    learner = objective()
    entropies = [learner.train_step()["entropy"] for _ in range(12)]
    assert entropies[-1] < entropies[0] - 0.1


def test_last_layers_leave_the_rest_bit_for_bit() -> None:
    learner = objective(only="last-layers")
    for _ in range(2):
        learner.train_step()
    before, after = tiny.gpt_tensors(), learner.weights()
    assert before.keys() == after.keys()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert learner.layers == ("model.h.layers.2", "model.ar_predict_layer")
    assert changed == {k for k in before if k.startswith(tuple(f"{part}." for part in learner.layers))}


def test_which_examples_can_be_used() -> None:
    def unfit(seconds: float, phones: int) -> str | None:
        e = tiny.example(0, seconds)
        return unfit_for_gpt(replace(e, phones=np.zeros(phones, np.int64)), KNOWN)

    assert unfit(54.0, PHONES_LIMIT) is None
    assert "54.04 s" in str(unfit(54.04, PHONES_LIMIT))
    assert "541 phones" in str(unfit(54.0, PHONES_LIMIT + 1))
    assert unfit(2.0, 6) is None
    assert "2.5 phones a second" in str(unfit(2.0, 5))
    assert unfit(2.0, 50) is None
    assert "25.5 phones a second" in str(unfit(2.0, 51))
    strange = replace(tiny.example(0, 1.0), phones=np.full(8, tiny.GPT.phone_vocab))
    assert "a phone that the base does not know" in str(unfit_for_gpt(strange, KNOWN))
    with pytest.raises(UsageError, match="there are none"):
        GptObjective(tiny.gpt_tensors(), tiny.GPT.to_config(), None, [], [], HOW, "cpu")


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    seconds = [1.0, 2.0, 3.0, 9.0, 4.0]
    order = Order(seconds, 4, 12.0, seed=1)
    first = [next(order) for _ in range(len(order.batches) + 3)]
    assert order.state_dict() == {"epoch": 1, "at": 3}
    seen = [i for batch in first[:-3] for i in batch]
    assert sorted(seen) == sorted([*range(5)] * (SMALL_SET // 5))
    assert all(max(seconds[i] for i in batch) * len(batch) <= 12.0 for batch in first)
    assert max(map(len, first)) == 4
    again = Order(seconds, 4, 12.0, seed=1)
    again.load_state_dict({"epoch": 0, "at": 2})
    assert [next(again) for _ in range(len(first) - 2)] == first[2:]
    assert Order([1.0] * SMALL_SET, 4, 12.0, 1).repeats == 1
    assert Order([1.0] * (SMALL_SET - 1), 4, 12.0, 1).repeats == 2


def scaled_adam_by_hand(x: np.ndarray, gradients: list[np.ndarray], rate: float) -> np.ndarray:
    """Size and direction as two parameters, each with an Adam of its own (arXiv 2310.11230)."""
    first, second, eps = 0.9, 0.95, 1e-8
    moments = {"direction": [0.0, 0.0], "size": [0.0, 0.0]}
    for t, gradient in enumerate(gradients, 1):
        size = max(float(np.sqrt((x**2).mean())), LEAST_SIZE)
        slopes = {"direction": gradient, "size": (gradient * x / size).sum()}
        step = {}
        for part, slope in slopes.items():
            mean, square = moments[part]
            mean, square = first * mean + (1 - first) * slope, second * square + (1 - second) * slope**2
            moments[part] = [mean, square]
            step[part] = np.sqrt(1 - second**t) / (1 - first**t) * mean / (np.sqrt(square) + eps)
        x = x - rate * size * step["direction"] - SIZE_RATE * rate * step["size"] * x
    return x


@pytest.mark.parametrize("scale", [1e-3, 1.0, 2.0])
def test_scaled_adam_follows_the_paper(scale: float) -> None:
    chance = np.random.default_rng(4)
    start = scale * chance.standard_normal((5, 7))
    gradients = [chance.standard_normal((5, 7)) for _ in range(4)]
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = ScaledAdam([parameter])
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient)
        optimiser.step()
    np.testing.assert_allclose(parameter.detach(), scaled_adam_by_hand(start, gradients, 0.002), rtol=1e-9)


def test_scaled_adam_lets_nothing_outgrow_its_limit() -> None:
    large, lone = torch.nn.Parameter(torch.full((3,), 3.5)), torch.nn.Parameter(torch.zeros(1))
    optimiser = ScaledAdam([large, lone], rate=0.1)
    large.grad, lone.grad = torch.tensor([-1.0, 1.0, -1.0]), torch.ones(1)
    optimiser.step()
    turned = 3.5 * 0.1 * torch.tensor([1.0, -1.0, 1.0])
    torch.testing.assert_close(large.detach(), 3.5 + turned)
    torch.testing.assert_close(lone.detach(), torch.tensor([-0.1 * SIZE_RATE]))
