"""One side of the benchmark, in a process of its own: ``python -m p2pvoice.sovits.bench.side``.

It loads its networks, says so in one line of JSON, and then answers every line on stdin, which holds the
number of codes to speak, with one run: seconds by the clock and of processor time for each stage. Asked in
turn with the other sides, so that what else the machine does hits all of them. Follows specs/speed.md.
"""

import argparse
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import torch

from p2pvoice.sovits import text
from p2pvoice.sovits.bench.work import GPT, PHONES, SOVITS, Spent, Work, read, timed
from p2pvoice.sovits.precision import around_sovits, decoder
from p2pvoice.sovits.sampling import Sampling, exponential_noise, generate
from p2pvoice.sovits.vits import SoVits

SENTENCE = "今天天气很好，我们一起去公园散步，顺便喝一杯咖啡，再看看花。"
"""What the text stage reads: 30 characters, about six seconds."""

Run = Callable[[int], dict[str, Spent]]
"""Number of codes, at most those that were asked for at the start -> what each stage spent."""
CPU = torch.device("cpu")


def ours(folder: Path, version: str, tokens: int, *, fast: bool) -> Run:
    """A run of this package's own networks."""
    work = Work.of(version, tokens)
    gpt, notice = decoder(read(folder, "gpt"), GPT.to_config(), CPU, fast=fast)
    if notice is not None:
        print(notice, file=sys.stderr)
    sovits = SoVits.from_tensors(read(folder, version), SOVITS[version].to_config()).fold()
    phones = work.phones[:, -PHONES:]

    def speak(count: int) -> Spent:
        with around_sovits(CPU, fast=fast):
            return timed(lambda: sovits.decode(work.codes[:, :count], phones, work.style))

    def draw(count: int) -> tuple[Spent, Spent]:
        first: list[float] = []

        def heard(_code: int) -> None:
            if not first:
                first.extend((perf_counter(), process_time()))

        clock, processor = perf_counter(), process_time()
        noise = exponential_noise(torch.Generator().manual_seed(1))
        arguments = (gpt, work.phones, work.bert, work.prompt, Sampling(), noise)
        codes = generate(*arguments, early_stop=count, on_code=heard)
        assert len(codes) == count
        end = perf_counter(), process_time()
        return (first[0] - clock, first[1] - processor), (end[0] - first[0], end[1] - first[1])

    def run(count: int) -> dict[str, Spent]:
        reading = timed(lambda: text.phonemize(SENTENCE, "zh", version))
        with torch.inference_mode():
            prefill, steps = draw(count)
            return {"text": reading, "prefill": prefill, "steps": steps, "decoder": speak(count)}

    return run


def main() -> None:
    """Load, then run as often as asked."""
    parser = argparse.ArgumentParser(prog="p2pvoice-bench-side")
    parser.add_argument("side", choices=("exact", "fast", "cpufast"))
    parser.add_argument("--folder", type=Path, required=True, help="where the weights lie")
    parser.add_argument("--version", choices=tuple(SOVITS), required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--package", type=Path, help="where cpufast lies")
    options = parser.parse_args()
    # The other package prints while it works; our answers have a way of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(options.threads)
    clock = perf_counter()
    if options.side == "cpufast":
        from p2pvoice.sovits.bench.cpufast import theirs

        run = theirs(options.package, options.folder, options.version, options.tokens)
    else:
        run = ours(options.folder, options.version, options.tokens, fast=options.side == "fast")
    answers.write(json.dumps({"load": perf_counter() - clock, "peak": peak_bytes()}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps({"stages": run(int(line)), "peak": peak_bytes()}) + "\n")


def peak_bytes() -> int:
    """The most memory this process ever had, files it mapped included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
