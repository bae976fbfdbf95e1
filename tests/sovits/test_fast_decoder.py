"""The fast generator: the same numbers as the plain one, for any length, in pieces, from several threads."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from p2pvoice.sovits import fast_conv
from p2pvoice.sovits.fast_conv import FastConv, FastUpsample, FrequencyConv, WindowConv, Workspace
from p2pvoice.sovits.fast_decoder import SHARE_ROWS
from p2pvoice.sovits.heeding import heeding
from p2pvoice.sovits.vits import SoVits

from . import numbers
from .filler import filled
from .test_vits import SMALL

WIDE = replace(SMALL, upsample_initial=256, resblock_kernels=(3, 7, 11), resblock_dilations=((1, 3, 5),) * 3)
"""Wide enough for every way of convolving."""


@pytest.fixture(scope="module")
def wide() -> SoVits:
    torch.manual_seed(2)
    model = SoVits(WIDE)
    for parameter in model.dec.parameters():
        parameter.data.mul_(1.5)
    return model.eval().fold()


def latent(frames: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(frames)
    return (
        torch.randn(batch, WIDE.inter_channels, frames, generator=generator),
        torch.randn(batch, WIDE.gin_channels, 1, generator=generator),
    )


def convolve(conv: FastConv, x: torch.Tensor, space: Workspace) -> torch.Tensor:
    """[T, C] -> [T, C'], rectified before."""
    layout = conv.layout(len(x))
    buffer = conv.buffer(layout, space)
    layout.write(x, buffer, 0.1)
    y = conv.run(layout, buffer, space)
    plain = FastConv(torch.eye(conv.outputs)[..., None].to(x), x.new_zeros(conv.outputs)).layout(len(x))
    out = x.new_empty(len(x), conv.outputs)
    layout.read(y, plain, out, 1.0)
    return out


@pytest.mark.parametrize("length", [1, 2, 7, 100, 1501])
@pytest.mark.parametrize(
    ("inputs", "outputs", "taps", "dilation", "kind"),
    [
        (128, 128, 3, 1, FrequencyConv),
        (64, 64, 11, 5, FrequencyConv),
        (96, 192, 7, 1, FrequencyConv),
        (32, 32, 7, 3, FrequencyConv),
        (16, 16, 3, 3, WindowConv),
        (8, 8, 11, 5, WindowConv),
        (16, 1, 7, 1, WindowConv),
        (4, 4, 1, 1, WindowConv),
    ],
)
def test_a_convolution_gives_the_same_sums(
    inputs: int, outputs: int, taps: int, dilation: int, kind: type, length: int
) -> None:
    torch.manual_seed(3)
    weight, bias = torch.randn(outputs, inputs, taps), torch.randn(outputs)
    conv, x = FastConv(weight, bias, dilation), torch.randn(length, inputs)
    assert isinstance(conv.how, kind)
    space = Workspace(x)
    # What an earlier use left behind must not be heard.
    convolve(FastConv(weight, bias, dilation + 1), 100 * torch.randn(length + 9, inputs), space)
    wanted = F.conv1d(
        F.leaky_relu(x.double(), 0.1).mT[None],
        weight.double(),
        bias.double(),
        padding=dilation * (taps // 2),
        dilation=dilation,
    )[0].mT
    for _ in range(2):
        found = convolve(conv, x, space)
        # In units of a typical output, which sums inputs * taps products.
        assert (found - wanted).abs().max() < 5e-6 * (inputs * taps) ** 0.5


@pytest.mark.parametrize("length", [1, 2, 50, 333])
@pytest.mark.parametrize(("rate", "taps"), [(10, 16), (8, 16), (2, 8), (2, 2), (3, 3), (4, 10)])
def test_a_transposed_convolution_too(
    rate: int, taps: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(4)
    weight, bias, x = torch.randn(24, 12, taps), torch.randn(12), torch.randn(length, 24)
    wanted = F.conv_transpose1d(F.leaky_relu(x, 0.1).mT[None], weight, bias, rate, (taps - rate) // 2)[0].mT
    up = FastUpsample(weight, bias, rate, (taps - rate) // 2)
    for piece in (fast_conv.PIECE, 24 * 7):
        monkeypatch.setattr(fast_conv, "PIECE", piece)
        torch.testing.assert_close(up.run(x, 0.1, Workspace(x)), wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3, 64, 301])
def test_the_flow_gives_the_same_latent(frames: int) -> None:
    torch.manual_seed(7)
    model, (z, style) = SoVits(SMALL).eval(), latent(frames)
    for parameter in model.flow.parameters():
        parameter.normal_(0.0, 0.2)
    mask = torch.ones(1, 1, frames)
    plain, given = model.reverse_flow(z, mask, style), z.clone()
    fast = model.fold().reverse_flow(z, mask, style)
    assert (plain - z).std() > 0.1
    assert torch.equal(z, given)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3, 64, 301])
def test_the_generator_gives_the_same_samples(wide: SoVits, frames: int) -> None:
    z, style = latent(frames, 2)
    plain, fast = wide.dec(z, style), wide.generate(z, style)
    assert plain.std() > 1e-3
    assert (plain - fast).abs().max() < 2e-5 * plain.std()


@torch.no_grad()
def test_pieces_inside_do_not_show(wide: SoVits) -> None:
    """Long stages are computed piece by piece; a sentence of many pieces equals the plain one."""
    z, style = latent(1700)
    narrowest = WIDE.upsample_initial >> len(WIDE.upsample_rates)
    assert 1700 * WIDE.hop_length > 3 * fast_conv.PIECE / narrowest
    plain, fast = wide.dec(z, style), wide.generate(z, style)
    assert (plain - fast).abs().max() < 2e-5 * plain.std()


@torch.no_grad()
def test_a_window_of_the_latent_gives_its_part_of_the_samples(wide: SoVits) -> None:
    z, style = latent(200)
    whole, margin = wide.generate(z, style), 40
    part = wide.generate(z[..., 60:160], style)
    hop = WIDE.hop_length
    inside = part[..., margin * hop : -margin * hop]
    wanted = whole[..., (60 + margin) * hop : (160 - margin) * hop]
    assert (inside - wanted).abs().max() < 2e-5 * whole.std()


@torch.no_grad()
def test_threads_do_not_disturb_each_other(wide: SoVits) -> None:
    given = [latent(frames) for frames in (40, 90, 41, 88, 39, 70)]
    alone = [wide.generate(*one) for one in given]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda one: wide.generate(*one), given * 2))
    assert all(torch.equal(a, b) for a, b in zip(alone * 2, together, strict=True))


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@torch.no_grad()
@pytest.mark.parametrize("frames", [2 * SHARE_ROWS - 1, 2 * SHARE_ROWS, 3 * SHARE_ROWS, 3 * SHARE_ROWS + 1])
def test_shares_of_a_sentence_are_the_whole(wide: SoVits, three_threads: None, frames: int) -> None:
    z, style = latent(frames)
    shared = wide.generate(z, style)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)
    assert numbers.relative_error(shared, wide.generate(z, style).numpy()) < 1e-5


@torch.no_grad()
def test_a_share_stops_where_the_whole_would(wide: SoVits, three_threads: None) -> None:
    asked: list[str] = []

    class Stop(Exception):
        pass

    def check() -> None:
        asked.append(threading.current_thread().name)
        if len(asked) > 6:
            raise Stop

    z, style = latent(400)
    with pytest.raises(Stop), heeding(check):
        wide.generate(z, style)
    assert all(name.startswith("generator") for name in asked)
    assert len(asked) < 20  # Nine pairs a stage and share were to come.
    assert wide.generate(z, style).isfinite().all()


@torch.no_grad()
def test_it_follows_the_network(wide: SoVits) -> None:
    """Unfolded networks and half precision take the plain way; a change of type is followed."""
    torch.manual_seed(5)
    model, (z, style) = SoVits(SMALL).eval(), latent(20)
    assert torch.equal(model.generate(z, style), model.dec(z, style))
    first = model.fold().generate(z, style)
    exact = model.double().generate(z.double(), style.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(first.double(), exact, rtol=1e-4, atol=1e-6)
    assert torch.equal(
        model.bfloat16().generate(z.bfloat16(), style.bfloat16()), model.dec(z.bfloat16(), style.bfloat16())
    )


@torch.no_grad()
def test_half_precision_stays_near() -> None:
    model = SoVits.from_tensors(filled(numbers.keys("v2_s2")), {}).fold("fast")
    torch.manual_seed(6)
    z, style = torch.randn(1, 192, 24), torch.randn(1, 512, 1)
    exact, half = model.dec(z, style), model.generate_half(z, style, torch.bfloat16)
    assert half.dtype == torch.float32
    assert (half - exact).std() < 0.05 * exact.std()
