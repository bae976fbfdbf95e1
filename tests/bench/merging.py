"""Time and memory of comparing and merging two voices of the published v2's size, with random weights.

`python tests/bench/merging.py` prints the bytes of the pair, and of each work seconds and the memory it took
at its peak, beyond the program's own.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from p2pvoice.sovits.architecture import is_unused
from p2pvoice.sovits.compare import compare
from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.merge import Recipe, _merge_file
from p2pvoice.sovits.sizes import GptSettings, SoVitsSettings
from p2pvoice.sovits.tensorfile import write_half
from p2pvoice.sovits.vits import SoVits
from p2pvoice.sovits.voicefile import GPT_NAME, SOVITS_NAME

WORK = ("compare", "average", "layers")


def make(folder: Path, seed: int) -> None:
    """Weights of both networks; the codes are the same whatever the seed."""
    folder.mkdir()
    with torch.device("meta"):
        state = {SOVITS_NAME: SoVits(SoVitsSettings()).state_dict()}
        state[GPT_NAME] = Text2Semantic(GptSettings()).published_state()
    for name, slots in state.items():
        tensors = {}
        for key, slot in slots.items():
            if not is_unused(key):
                same = key.startswith(("quantizer.", "ssl_proj."))
                generator = torch.Generator().manual_seed(0 if same else seed)
                tensors[key] = (torch.randn(slot.shape, generator=generator) * 0.02).half()
        write_half(folder / name, tensors, {})


def work(what: str, a: Path, b: Path) -> None:
    """Do one thing and print its seconds and peak."""
    torch.set_num_threads(1)
    torch.ones(8).half().float().double().sum()
    before, started = memory("VmRSS"), time.perf_counter()
    # From here on the kernel counts the peak anew: importing torch took more than it kept.
    Path("/proc/self/clear_refs").write_text("5")
    if what == "compare":
        compare(a, b)
    else:
        recipe = Recipe("average") if what == "average" else Recipe("layers", parts=frozenset({"decoder"}))
        for name in (GPT_NAME, SOVITS_NAME):
            _merge_file(a / name, b / name, a / f"{what}-{name}", recipe, lambda at: None)
    taken = memory("VmHWM") - before
    print(f"{what:8} {time.perf_counter() - started:6.1f} s  {taken / 1e6:6.1f} MB at most", flush=True)


def memory(kind: str) -> int:
    """Bytes that this process has of a kind that the kernel tells of: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def main() -> None:
    if len(sys.argv) > 1:
        work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
        return
    with tempfile.TemporaryDirectory() as folder:
        a, b = Path(folder) / "a", Path(folder) / "b"
        make(a, 1)
        make(b, 2)
        size = sum(path.stat().st_size for one in (a, b) for path in one.iterdir())
        print(f"the pair has {size / 1e6:.0f} MB", flush=True)
        for what in WORK:
            subprocess.run([sys.executable, __file__, what, a, b], check=True)


if __name__ == "__main__":
    main()
