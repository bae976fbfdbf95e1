"""Networks that are built to be filled: nothing is computed, and the compiler is not loaded for it."""

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from p2pvoice.sovits.weightless import weightless

GOOD = Path(__file__).parent.parent / "golden" / "checkpoints" / "good"

READ = """
import sys
from pathlib import Path
from p2pvoice.sovits.convert import read_pair
from p2pvoice.sovits.packaged import packaged_voice

voice = packaged_voice()
for pair in ((Path(sys.argv[1]), Path(sys.argv[2])), (voice.sovits, voice.gpt)):
    read_pair(*pair)
print("torch._dynamo" in sys.modules)
"""


def test_shapes_without_values() -> None:
    with weightless():
        layer = nn.Linear(3, 4)
        nn.init.zeros_(tensor=layer.bias)
    assert layer.weight.is_meta
    assert layer.weight.shape == (4, 3)
    assert isinstance(layer.weight, nn.Parameter)
    # What is built afterwards has values again.
    outside = nn.init.zeros_(torch.ones(2))
    assert outside.tolist() == [0.0, 0.0]
    assert not nn.Linear(3, 4).weight.is_meta


def test_reading_voices_does_not_load_the_compiler() -> None:
    command = [sys.executable, "-c", READ, str(GOOD / "tiny_v2.pth"), str(GOOD / "tiny_v2.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False"]
