"""The v2 step at its published size: ten of them, what they cost in memory and time.

Run with ``python -m pytest -m slow -s tests/sovits/training/test_full_size.py``; the figures stand in
specs/training.md.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = 10
MEMORY_LIMIT = 8 << 20
"""Kibibytes that a batch of two may take: what a small machine has."""

PROGRAM = """
import resource, sys, time
import torch
sys.path.insert(0, sys.argv[1])
from p2pvoice.sovits.sizes import SoVitsSettings
from p2pvoice.sovits.training.discriminators import Discriminators, DiscriminatorSizes
from p2pvoice.sovits.training.objective_sovits import SovitsObjective, SovitsTraining
from tests.sovits.filler import filled
from tests.sovits.numbers import keys
from tests.sovits.training import tiny

torch.set_num_threads(1)
part = filled(keys("v2_s2", "training_only_keys"))
part |= {f"disc.{k}": v for k, v in filled(keys("v2_discriminator")).items()}
settings = SoVitsSettings()
examples = [tiny.example(i, 2.0 + 0.4 * i, s=settings) for i in range(4)]
objective = SovitsObjective(filled(keys("v2_s2")), {}, part, examples, [], SovitsTraining(batch=2), "cpu")
del part
for step in range(int(sys.argv[2])):
    begun = time.process_time()
    losses = objective.train_step()
    told = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = time.process_time() - begun
    print(f"step {step + 1} {told} | {spent:.1f} CPU-s, peak {peak / 1024:.0f} MiB", flush=True)
print(peak)
"""


@pytest.mark.slow
def test_ten_steps_at_full_size() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", PROGRAM, str(root), str(STEPS)]
    # A process of its own: the peak is then that of training alone.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    assert process.returncode == 0
    assert len(lines) == STEPS + 1
    assert "nan" not in "".join(lines)
    first, last = (float(line.split(" mel ")[1].split()[0]) for line in (lines[0], lines[STEPS - 1]))
    assert last < first
    assert int(lines[-1]) < MEMORY_LIMIT
