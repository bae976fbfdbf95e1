"""The packed decoder: as exact as it says, within its bounds, and no second copy of the weights."""

import struct
from collections.abc import Callable

import pytest
import torch

from p2pvoice.protocol.errors import BadCheckpointError, UsageError
from p2pvoice.sovits import packed, precision
from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.packed import MATRICES, PackedGpt, _weight, levels, multiplies_whole_numbers, packable
from p2pvoice.sovits.sampling import Sampling, exponential_noise, generate
from p2pvoice.sovits.sizes import GptSettings, Tensors

pytestmark = pytest.mark.skipif(not levels(), reason="no native step was built, or this processor has none")

# A head of 48 is no power of two, and 112 leaves a remainder after every block of four vectors.
SMALL = GptSettings(phone_vocab=30, vocab=21, width=96, heads=2, layers=3, feed_forward=112, bert_dim=8)
PHONES, PROMPT = torch.arange(6)[None], torch.arange(8)[None]


@pytest.fixture
def halves() -> Tensors:
    torch.manual_seed(3)
    return {k: v.half() for k, v in Text2Semantic(SMALL).published_state().items()}


def plain(tensors: Tensors) -> Text2Semantic:
    return Text2Semantic.from_tensors(tensors, SMALL.to_config())


def narrow(tensors: Tensors, *, fast: bool = False) -> PackedGpt:
    return PackedGpt.from_tensors(tensors, SMALL.to_config(), fast=fast)


def differences(a: Text2Semantic | PackedGpt, b: Text2Semantic | PackedGpt) -> list[float]:
    """How far the logits of two decoders are apart: after the prompt, then after each of some codes."""
    bert = torch.randn(1, SMALL.bert_dim, PHONES.shape[1], generator=torch.Generator().manual_seed(1))
    (x, one), (y, other) = (model.prefill(PHONES, bert, PROMPT, room=30) for model in (a, b))
    pairs = [(x, y), *((a.step(code, one), b.step(code, other)) for code in [*range(20), *range(10)])]
    return [float((x - y).abs().max() / y.std()) for x, y in pairs]


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
def test_exact_is_exact(halves: Tensors, kind: torch.dtype, level: str) -> None:
    tensors = halves
    if kind == torch.float32:  # Numbers that float16 cannot hold.
        tensors = {k: v.float() * 1.0001 for k, v in halves.items()}
    model = narrow(tensors)
    model.level = level
    assert {w.dtype for w in model.weights.values()} == {kind}
    assert max(differences(model, plain(tensors))) < 5e-6


@pytest.mark.parametrize("level", levels())
def test_int8_is_the_rounded_decoder(halves: Tensors, level: str) -> None:
    model = narrow(halves, fast=True)
    model.level, model.whole_numbers, model.cache_type = level, False, torch.float32
    model._plan = model._planned()
    rounded = {k: v.float() for k, v in halves.items()}
    for (i, name), weight in model.weights.items():
        assert weight.dtype == torch.int8
        assert int(weight.abs().max()) == 127
        rounded["model." + _weight(i, name)] = weight * model.scales[i, name][:, None]
    assert max(differences(model, plain(rounded))) < 5e-6


@pytest.mark.parametrize("level", levels())
def test_fast_is_near(halves: Tensors, level: str) -> None:
    model = narrow(halves, fast=True)
    model.level = level
    far = differences(model, plain(halves))
    assert 1e-4 < max(far) < 0.1


def test_whole_numbers_are_multiplied_without_error_or_not_at_all(halves: Tensors) -> None:
    assert multiplies_whole_numbers() in (True, False)
    model = narrow(halves, fast=True)
    model.whole_numbers = True
    x = torch.randn(5, SMALL.width)
    x[2] = 0  # A position without a largest number.
    weight = model.weights[0, "linear1"] * model.scales[0, "linear1"][:, None]
    expected = torch.nn.functional.linear(x, weight, model.vectors["h.layers.0.linear1.bias"])
    found = model._linear(0, "linear1", x, torch.empty(0))
    assert float((found - expected).abs().max() / expected.std()) < 0.05
    torch.testing.assert_close(found[2], expected[2])


def test_a_row_of_zeros_stays_zero(halves: Tensors) -> None:
    halves["model.h.layers.0.linear1.weight"][3] = 0
    model = narrow(halves, fast=True)
    assert int(model.weights[0, "linear1"][3].abs().max()) == 0
    assert max(differences(model, plain(halves))) < 0.1


def test_a_seed_gives_the_same_codes_as_the_plain_decoder(halves: Tensors) -> None:
    def draw(model: Text2Semantic | PackedGpt) -> list[int]:
        noise = exponential_noise(torch.Generator().manual_seed(7))
        return generate(model, PHONES, None, PROMPT, Sampling(temperature=2.0), noise, early_stop=60)

    assert draw(narrow(halves)) == draw(plain(halves))


def test_the_prompt_may_be_missing(halves: Tensors) -> None:
    x, _ = narrow(halves).prefill(PHONES, None, None, room=1)
    y, _ = plain(halves).prefill(PHONES, None, None, room=1)
    torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)


def test_a_full_cache_takes_no_more(halves: Tensors) -> None:
    model = narrow(halves)
    _, cache = model.prefill(PHONES, None, None, room=2)
    model.step(3, cache)
    model.step(4, cache)
    with pytest.raises(ValueError, match="full"):
        model.step(5, cache)
    assert cache.filled == cache.capacity


def test_the_native_step_refuses_a_plan_that_is_not_whole(halves: Tensors) -> None:
    from p2pvoice.sovits import _step

    plan = narrow(halves)._plan
    for wrong in (b"", plan[:16], plan[:-8], plan + bytes(8), struct.pack("@q", 99) + plan[8:]):
        with pytest.raises(ValueError, match="plan"):
            _step.step(levels()[0], wrong, 0, 0, 10, 1, 0, 0)
    with pytest.raises(ValueError, match="level"):
        _step.step("mmx", plan, 0, 0, 10, 1, 0, 0)


def test_memory_is_what_the_weights_take(halves: Tensors) -> None:
    count = sum(halves["model." + _weight(i, n)].numel() for i in range(SMALL.layers) for n in MATRICES)
    rows = sum(halves["model." + _weight(i, n)].shape[0] for i in range(SMALL.layers) for n in MATRICES)
    assert narrow(halves).nbytes() == 2 * count
    assert narrow(halves, fast=True).nbytes() == count + 4 * rows


def test_tensors_that_do_not_fit_are_refused(halves: Tensors) -> None:
    for spoiled in (
        {k: v for k, v in halves.items() if k != "model.h.layers.2.norm2.bias"},
        halves | {"model.h.layers.1.linear1.weight": torch.zeros(112, 95)},
        halves | {"model.extra": torch.zeros(1)},
    ):
        with pytest.raises(BadCheckpointError):
            narrow(spoiled)


@pytest.mark.parametrize(("width", "heads", "feed_forward"), [(96, 4, 112), (64, 2, 100), (40, 1, 64)])
def test_sizes_that_are_no_multiple_take_the_plain_path(width: int, heads: int, feed_forward: int) -> None:
    odd = GptSettings(30, 21, width, heads, layers=2, feed_forward=feed_forward, bert_dim=8)
    assert packable(SMALL)
    assert not packable(odd)
    tensors = Text2Semantic(odd).published_state()
    model, notice = precision.decoder(tensors, odd.to_config(), torch.device("cpu"), fast=True)
    assert isinstance(model, Text2Semantic)
    assert notice == precision.NO_FAST


def test_without_native_code_the_plain_decoder_speaks(
    halves: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose: Callable[[bool], tuple[object, str | None]] = lambda fast: precision.decoder(  # noqa: E731
        halves, SMALL.to_config(), torch.device("cpu"), fast=fast
    )
    assert isinstance(choose(False)[0], PackedGpt)
    assert choose(True)[1] is None
    monkeypatch.setattr(packed, "_step", None)
    assert isinstance(choose(False)[0], Text2Semantic)
    assert choose(False)[1] is None
    assert choose(True)[1] == precision.NO_FAST


def test_what_precision_means() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [precision.is_fast(word, cpu) for word in ("auto", "exact", "fast")] == [False, False, True]
    assert [precision.is_fast(word, cuda) for word in ("auto", "exact", "fast")] == [True, False, True]
    with pytest.raises(UsageError, match="half"):
        precision.is_fast("half", cpu)
