"""The SoVITS decoder stage by stage, plain and fast, in one run: ``python decoder.py [VERSION] [THREADS]``.

Full-size filler weights, 150 codes (6 s) and 60 phones, float32. *Plain* is the folded module graph that
training also uses. The two take turns and the least time of each counts: on a shared machine believe the
ratios, and CPU seconds before wall seconds. What was printed stands in specs/speed.md.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
from torch.nn import functional as F

from p2pvoice.sovits.bench.filler import filled
from p2pvoice.sovits.fast_conv import Workspace
from p2pvoice.sovits.fast_decoder import FastGenerator
from p2pvoice.sovits.sizes import generator_reach
from p2pvoice.sovits.vits import LEAK, SoVits

CODES, PHONES = 150, 60
ROUNDS = 3

Work = Callable[[], object]


def turns(plain: Work, fast: Work) -> list[float]:
    """Least wall and CPU seconds of both: [plain wall, plain CPU, fast wall, fast CPU]."""
    least = [float("inf")] * 4
    for _ in range(ROUNDS):
        for i, work in enumerate((plain, fast)):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            taken = time.perf_counter() - wall, time.process_time() - cpu
            least[2 * i : 2 * i + 2] = map(min, least[2 * i : 2 * i + 2], taken)
    return least


def generator_stages(model: SoVits, fast: FastGenerator) -> list[tuple[str, Work, Work]]:
    """Each up-sampling and each group of blocks by itself, on samples of the right shape."""
    s, g, space = model.settings, model.dec, Workspace(torch.empty(0))
    length, channels = 2 * CODES, s.upsample_initial
    stages: list[tuple[str, Work, Work]] = []
    count = len(s.resblock_kernels)
    for i, (up, blocks) in enumerate(fast.stages):
        x, plain_up = torch.randn(1, channels, length), g.ups[i]
        x_rows = x[0].T.contiguous()
        length, channels = length * s.upsample_rates[i], channels // 2
        y, plain_blocks = torch.randn(1, channels, length), g.resblocks[count * i : count * (i + 1)]
        y_rows = y[0].T.contiguous()
        stages.append(
            (
                f"up to {channels} x {length}",
                lambda x=x, up=plain_up: up(F.leaky_relu(x, LEAK)),
                lambda x=x_rows, up=up: up.run(x, LEAK, space),
            )
        )
        stages.append(
            (
                f"blocks {channels} x {length}",
                lambda y=y, blocks=plain_blocks: sum(block(y) for block in blocks) / count,
                lambda y=y_rows, blocks=blocks: fast._stage(y, blocks, space),
            )
        )
    return stages


@torch.inference_mode()
def main(version: str = "v2", threads: str = "1") -> None:
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    keys = Path(__file__).parent.parent / "golden" / "keys" / f"keys_{version}_s2.json"
    tensors = filled(json.loads(keys.read_text())["keys"])
    plain, model = (SoVits.from_tensors(tensors, {}).fold() for _ in range(2))
    plain.precision = None  # The folded graph as it is.
    begun = time.process_time()
    fast = FastGenerator(model.dec, LEAK, generator_reach(model.settings))
    built = time.process_time() - begun
    print(f"{version}, {threads} threads, torch {torch.__version__}: built in {built:.2f} CPU-s")
    s = model.settings
    codes, phones = torch.randint(0, s.codes, (1, CODES)), torch.randint(0, 300, (1, PHONES))
    style = torch.randn(1, s.gin_channels, 1)
    mean, _, mask = model.prior(codes, phones, style)
    noise = torch.randn_like(mean)
    rows = generator_stages(model, fast)
    rows += [
        ("generator", lambda: plain.dec(mean, style), lambda: fast(mean, style)),
        (
            "text encoder",
            lambda: plain.prior(codes, phones, style),
            lambda: model.prior(codes, phones, style),
        ),
        (
            "flow",
            lambda: plain.flow(mean, mask, style, reverse=True),
            lambda: model.reverse_flow(mean, mask, style),
        ),
        (
            "whole decode",
            lambda: plain.decode(codes, phones, style, noise=noise),
            lambda: model.decode(codes, phones, style, noise=noise),
        ),
    ]
    print(f"{'stage':<22}{'plain wall':>11}{'CPU':>7}{'fast wall':>11}{'CPU':>7}{'ratio wall':>12}{'CPU':>7}")
    for name, first, second in rows:
        second()
        a, b, c, d = turns(first, second)
        print(f"{name:<22}{a:>11.3f}{b:>7.3f}{c:>11.3f}{d:>7.3f}{c / a:>12.2f}{d / b:>7.2f}")
    one, other = (m.decode(codes, phones, style, noise=noise) for m in (plain, model))
    print(f"largest difference: {((one - other).abs().max() / one.std()).item():.1e} of the deviation")


if __name__ == "__main__":
    main(*sys.argv[1:3])
