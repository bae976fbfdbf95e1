"""The decoder and its draws: equal to the golden numbers, alike in training and inference, bounded."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError, UsageError
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.packed import PackedGpt, levels
from p2pvoice.sovits.sampling import (
    MAX_CODES,
    MIN_CODES,
    Sampling,
    exponential_noise,
    generate,
    penalise,
    probabilities,
)
from p2pvoice.sovits.sizes import GptSettings

from . import numbers
from .filler import filled

GREEDY = Sampling(top_k=1)
SMALL = GptSettings(phone_vocab=30, vocab=21, width=16, heads=2, layers=3, feed_forward=32, bert_dim=8)


def even(_step: int, width: int) -> torch.Tensor:
    """Noise that leaves the likeliest code the winner."""
    return torch.ones(width)


#: Of the ways to speak only the packed one needs code that an installation may lack.
NATIVE = pytest.mark.skipif(not levels(), reason="no native step was built, or this processor has none")

#: What draws many codes in turn is tried with v1 in long runs only: there the two differ in one table's rows.
LONG = pytest.mark.parametrize("version", [pytest.param("v1", marks=pytest.mark.slow), "v2"], indirect=True)


@pytest.fixture(scope="module", params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def full(version: str, device: torch.device) -> Text2Semantic:
    return Text2Semantic.from_tensors(filled(numbers.keys(f"{version}_s1")), {}).to(device)


@pytest.fixture(scope="module", params=["plain", pytest.param("packed", marks=NATIVE)])
def speaking(request: pytest.FixtureRequest, full: Text2Semantic) -> Text2Semantic | PackedGpt:
    """What speaks: the decoder itself, and on the CPU the packed one."""
    if request.param == "plain":
        return full
    if full.bert_proj.weight.device.type != "cpu":
        pytest.skip("native code is for the CPU")
    return PackedGpt.from_tensors(full.published_state(), {})


@pytest.fixture(scope="module")
def g(version: str, device: torch.device) -> dict[str, torch.Tensor | np.ndarray]:
    arrays = numbers.arrays(f"t2s_{version}")  # Noise is drawn on the CPU wherever the decoder is.
    parts = ("in_phones", "in_bert", "in_prompt", "in_phones_b", "in_bert_b")
    return arrays | {name: arrays[name].to(device) for name in parts}


@pytest.fixture
def small() -> Text2Semantic:
    torch.manual_seed(2)
    return Text2Semantic(SMALL).eval()


def near(ours: torch.Tensor, theirs: np.ndarray, stage: str = "") -> None:
    # Float32's own error was measured to be as good as the same for both versions.
    assert numbers.relative_error(ours, theirs) <= numbers.allowed("t2s_v2", stage)


@contextmanager
def end_row(model: Text2Semantic | PackedGpt, row: torch.Tensor) -> Iterator[None]:
    """The model with another last row of its output layer, so that it ends sooner."""
    # A packed one of weights that float16 cannot hold shares this layer with its front.
    weight = (model.front if isinstance(model, PackedGpt) else model).ar_predict_layer.weight.data
    before = weight[-1].clone()
    weight[-1] = row
    try:
        yield
    finally:
        weight[-1] = before


def test_keys_are_the_published_ones(full: Text2Semantic, version: str) -> None:
    published = numbers.keys(f"{version}_s1")
    assert {key: list(tensor.shape) for key, tensor in full.published_state().items()} == published
    assert full.settings == GptSettings(phone_vocab=512 if version == "v1" else 732)


@torch.no_grad()
def test_prefill_equals_the_golden_numbers(full: Text2Semantic, speaking, g) -> None:  # type: ignore[no-untyped-def]
    text, audio = full.embed_text(g["in_phones"], g["in_bert"]), full.embed_codes(g["in_prompt"])
    x = torch.cat([text, audio], dim=1)
    near(x, g["out_prefill_input"])
    logits, cache = speaking.prefill(g["in_phones"], g["in_bert"], g["in_prompt"], room=1)
    near(logits[None], g["out_prefill_logits"], "prefill_logits")
    filled_to = x.shape[1]
    near(cache.keys[0][:, :, :filled_to].transpose(1, 2).flatten(2), g["out_layer0_k"])
    near(cache.values[0][:, :, :filled_to].transpose(1, 2).flatten(2), g["out_layer0_v"])
    mask = full._mask(text.shape[1], audio.shape[1], torch.tensor([text.shape[1]], device=x.device))
    last = []
    for layer in full.layers:
        x = layer.finish(x, layer.self_attn(*layer.self_attn.project(x), mask))
        last.append(x[0, -1])
    near(torch.stack(last), g["out_layer_last_position"], "layer_last_position")


@torch.no_grad()
def test_cache_and_training_pass_equal_the_golden_numbers(full, speaking, g) -> None:  # type: ignore[no-untyped-def]
    forced = g["in_forced_tokens"]
    _, cache = speaking.prefill(g["in_phones"], g["in_bert"], g["in_prompt"], room=len(forced))
    logits = torch.stack([speaking.step(int(code), cache) for code in forced])
    expected = g["out_forced_logits"]
    near(logits[:-1], expected[1:])
    codes = torch.cat([g["in_prompt"], forced[None].to(g["in_prompt"])], dim=1)
    lengths = torch.tensor([g["in_phones"].shape[1]], device=codes.device)
    at_once, _ = full(g["in_phones"], g["in_bert"], codes, lengths)
    near(at_once[0, g["in_prompt"].shape[1] : -1], expected)


@LONG
@pytest.mark.parametrize("penalty", [1.0, 1.35])
def test_greedy_codes(speaking: Text2Semantic, g, penalty: float) -> None:  # type: ignore[no-untyped-def]
    sampling = Sampling(top_k=1, repetition_penalty=penalty)
    codes = generate(speaking, g["in_phones"], g["in_bert"], g["in_prompt"], sampling, even, early_stop=60)
    assert codes == g[f"out_greedy_rp{penalty}"].tolist()


@LONG
def test_the_whole_loop_with_recorded_noise(speaking: Text2Semantic, g, version: str) -> None:  # type: ignore[no-untyped-def]
    noise = g["in_loop_exp_noise"]
    sampling = Sampling(top_k=15, top_p=0.95, temperature=0.9, repetition_penalty=1.35)
    arguments = (
        speaking,
        g["in_phones"],
        g["in_bert"],
        g["in_prompt"],
        sampling,
        lambda i, width: noise[i, :width],
    )
    assert generate(*arguments, early_stop=60) == g["out_loop_tokens"].tolist()
    if version == "v1":  # Where a sentence ends within the loop was recorded for v2 alone.
        return
    midway = numbers.arrays("t2s_eos_midway_v2")
    with end_row(speaking, midway["in_eos_row"]):
        assert generate(*arguments) == midway["out_tokens"].tolist()


@LONG
def test_without_a_prompt(speaking: Text2Semantic, g) -> None:  # type: ignore[no-untyped-def]
    codes = generate(speaking, g["in_phones"], g["in_bert"], None, GREEDY, even, early_stop=40)
    assert codes == g["out_greedy_noprompt_rp1.35"].tolist()


@LONG
@pytest.mark.parametrize(("factor", "name"), [(1.0, "eos"), (50.0, "eos_always")])
def test_the_end_token_ends(speaking: Text2Semantic, g, factor: float, name: str) -> None:  # type: ignore[no-untyped-def]
    with end_row(speaking, g["in_eos_row"] * factor):
        codes = generate(speaking, g["in_phones"], g["in_bert"], g["in_prompt"], GREEDY, even)
    assert codes == g[f"out_{name}_tokens"].tolist()
    assert len(codes) == int(g[f"out_{name}_idx"])


@LONG
def test_each_of_a_batch_equals_the_single_path(speaking: Text2Semantic, g) -> None:  # type: ignore[no-untyped-def]
    inputs = ((g["in_phones"], g["in_bert"]), (g["in_phones_b"][None], g["in_bert_b"][None]))
    for i, (phones, bert) in enumerate(inputs):
        expected = g[f"out_batch_{i}"].tolist()
        codes = generate(speaking, phones, bert, g["in_prompt"], GREEDY, even, early_stop=len(expected))
        assert codes == expected


@pytest.mark.parametrize("case", range(5))
def test_sampling_processors(g, case: int) -> None:  # type: ignore[no-untyped-def]
    temperature, top_k, top_p, penalty = g[f"samp{case}_params"]
    logits = torch.from_numpy(g[f"samp{case}_logits"][0])
    seen = torch.zeros(len(logits), dtype=torch.bool)
    seen[torch.from_numpy(g[f"samp{case}_prev"][0])] = True
    penalised = penalise(logits, seen, float(penalty))
    np.testing.assert_array_equal(penalised.numpy(), g[f"samp{case}_mutated_logits"][0])
    share = probabilities(penalised, Sampling(int(top_k), float(top_p), float(temperature), float(penalty)))
    np.testing.assert_allclose(share.numpy(), g[f"samp{case}_probs"][0], rtol=1e-6, atol=1e-9)
    noise = torch.from_numpy(g[f"samp{case}_exp_noise"][0])
    assert int((share / noise).argmax()) == int(g[f"samp{case}_token"][0])


def test_a_tiny_checkpoint_speaks_as_expected(version: str, device: torch.device) -> None:
    checkpoint = read_checkpoint(numbers.beside(f"checkpoints/good/tiny_{version}.ckpt"))
    assert checkpoint.version == version
    model = Text2Semantic.from_tensors(checkpoint.tensors, checkpoint.config).to(device)
    assert model.settings.eos == 64
    with np.load(numbers.beside("checkpoints/tiny_expected.npz")) as expected:
        parts = ("phones", "bert", "prompt")
        inputs = [torch.from_numpy(expected[f"s1_{version}_{name}"]).to(device) for name in parts]
        tokens = expected[f"s1_{version}_tokens"].tolist()
    assert generate(model, *inputs, GREEDY, even, early_stop=40) == tokens


@torch.no_grad()
def test_padding_of_a_batch_changes_nothing(small: Text2Semantic) -> None:
    phones, codes, bert = torch.randint(0, 30, (2, 9)), torch.randint(0, 20, (2, 7)), torch.randn(2, 8, 9)
    logits, _ = small(phones, bert, codes, torch.tensor([9, 4]))
    alone, _ = small(phones[1:, :4], bert[1:, :, :4], codes[1:, :5], torch.tensor([4]))
    torch.testing.assert_close(logits[1:, :6], alone, rtol=1e-4, atol=1e-5)


def test_no_position_sees_its_own_answer(small: Text2Semantic) -> None:
    phones, codes = torch.randint(0, 30, (1, 6)), torch.randint(0, 20, (1, 8))
    changed = codes.clone()
    changed[0, 4] = (codes[0, 4] + 1) % 20
    with torch.no_grad():
        before, _ = small(phones, None, codes, torch.tensor([6]))
        after, _ = small(phones, None, changed, torch.tensor([6]))
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:], atol=1e-3)


def test_attention_of_one_layer_can_be_guided(small: Text2Semantic) -> None:
    phones, codes, lengths = torch.randint(0, 30, (2, 6)), torch.randint(0, 20, (2, 8)), torch.tensor([6, 3])
    plain, none = small(phones, None, codes, lengths)
    logits, attention = small(phones, None, codes, lengths, attention_layer=1)
    assert none is None
    assert attention is not None
    assert attention.shape == (2, 2, 9, 6)
    torch.testing.assert_close(plain, logits)
    assert float(attention[1, :, :, 3:].detach().abs().max()) == 0.0
    # The last phone sees text only, so its weights over the phones are all there is.
    torch.testing.assert_close(attention[:, :, 0].sum(-1), torch.ones(2, 2))
    attention.square().mean().backward()
    assert small.layers[1].self_attn.in_proj_weight.grad is not None


def test_training_reaches_every_weight(small: Text2Semantic) -> None:
    logits, _ = small(
        torch.randint(0, 30, (2, 6)), torch.randn(2, 8, 6), torch.randint(0, 20, (2, 5)), torch.tensor([6, 4])
    )
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(0, 21, (12,))).backward()
    assert [name for name, p in small.named_parameters() if p.grad is None] == []


def test_a_fresh_small_decoder_comes_back_from_its_tensors(small: Text2Semantic) -> None:
    again = Text2Semantic.from_tensors(small.published_state(), SMALL.to_config())
    assert again.settings == SMALL
    phones, prompt = torch.randint(0, 30, (1, 6)), torch.randint(0, 20, (1, 8))
    logits, _ = small.prefill(phones, None, prompt, room=1)
    torch.testing.assert_close(again.prefill(phones, None, prompt, room=1)[0], logits)


@pytest.mark.parametrize(
    ("key", "value"), [("head", 3), ("head", 0), ("head", "2"), ("EOS", 19), ("EOS", "20")]
)
def test_a_configuration_that_lies_is_refused(small: Text2Semantic, key: str, value: object) -> None:
    config = SMALL.to_config()
    config["model"][key] = value
    with pytest.raises(BadCheckpointError):
        Text2Semantic.from_tensors(small.published_state(), config)


def test_tensors_that_do_not_fit_are_refused(small: Text2Semantic) -> None:
    state = small.published_state()
    for spoiled in (
        {k: v for k, v in state.items() if k != "model.h.layers.2.norm2.bias"},
        state | {"model.bert_proj.bias": torch.zeros(17)},
        state | {"model.extra": torch.zeros(1)},
    ):
        with pytest.raises(BadCheckpointError):
            Text2Semantic.from_tensors(spoiled, SMALL.to_config())


def test_a_full_cache_takes_no_more(small: Text2Semantic) -> None:
    _, cache = small.prefill(torch.randint(0, 30, (1, 6)), None, None, room=2)
    small.step(3, cache)
    small.step(4, cache)
    with pytest.raises(ValueError, match="full"):
        small.step(5, cache)


@pytest.fixture
def stubborn(small: Text2Semantic) -> Text2Semantic:
    """A decoder whose output has a large sum, so that the sign of a row decides whether its code is drawn."""
    with torch.no_grad():
        small.layers[-1].norm2.bias.fill_(10.0)
    return small


@pytest.mark.parametrize(
    ("wanted", "expected"), [(1, 1), (30, 30), (MAX_CODES, MAX_CODES), (10**9, MAX_CODES)]
)
def test_no_sentence_is_longer_than_the_limit(stubborn: Text2Semantic, wanted: int, expected: int) -> None:
    heard: list[int] = []
    phones = torch.randint(0, 30, (1, 6))
    with end_row(stubborn, torch.full((16,), -1.0)):
        codes = generate(stubborn, phones, None, None, GREEDY, even, early_stop=wanted, on_code=heard.append)
    assert heard == codes
    assert len(codes) == expected


def test_no_sentence_is_shorter_than_the_least(stubborn: Text2Semantic) -> None:
    with end_row(stubborn, torch.full((16,), 5.0)):
        codes = generate(stubborn, torch.randint(0, 30, (1, 6)), None, None, GREEDY, even)
    assert len(codes) == MIN_CODES


def test_a_seed_gives_the_same_codes_whatever_else_draws(small: Text2Semantic) -> None:
    phones, sampling = torch.randint(0, 30, (1, 6)), Sampling(temperature=2.0)

    def draw(seed: int) -> list[int]:
        torch.rand(1)  # The global generator is nobody's business.
        noise = exponential_noise(torch.Generator().manual_seed(seed))
        return generate(small, phones, None, None, sampling, noise, early_stop=40)

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


@pytest.mark.parametrize(
    "bad",
    [
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"temperature": -0.1},
        {"temperature": 10.1},
        {"repetition_penalty": 0.09},
        {"repetition_penalty": 10.1},
        {"temperature": float("nan")},
    ],
)
def test_sampling_is_bounded(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Sampling(**bad)  # type: ignore[arg-type]


def test_sampling_reaches_its_bounds() -> None:
    Sampling(top_k=1, top_p=1.0, temperature=0.0, repetition_penalty=0.1)
    Sampling(top_k=5000, top_p=0.01, temperature=10.0, repetition_penalty=10.0)
