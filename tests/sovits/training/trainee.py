"""A training in a process of its own, to be killed: ``trainee.py KIND FOLDER SAVE_SECONDS`` prints steps."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import torch

STEPS = 14


def course(kind: str, folder: Path, save_seconds: float) -> None:
    """Train a small network of that kind, with dropout, which draws from the global generator."""
    from p2pvoice.sovits.training.loop import Plan, fit

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    plan = Plan(steps=STEPS, check_every=4, save_seconds=save_seconds, seed=5)
    fit(objective(kind), plan, folder, lambda progress: print(progress.step, flush=True), lambda: False)
    torch.set_num_threads(threads)


def objective(kind: str):  # type: ignore[no-untyped-def]
    """The same one in every process."""
    from p2pvoice.sovits.symbols import SYMBOLS
    from p2pvoice.sovits.training.objective_gpt import GptObjective, GptTraining
    from p2pvoice.sovits.training.objective_sovits import SovitsObjective, SovitsTraining

    tiny = importlib.import_module("tests.sovits.training.tiny")
    learned, aside = tiny.examples(5), [tiny.example(9, 0.9)]
    if kind == "gpt":
        how = GptTraining(batch=2, accumulated=2, dropout=0.1)
        return GptObjective(tiny.gpt_tensors(), tiny.GPT.to_config(), None, learned, aside, how, "cpu")
    if kind == "gpt-rehearsed":
        from p2pvoice.sovits.training.gpt_rehearsal import Rehearsal

        said = Rehearsal((("The cat is here.", "en"), ("The dog is there.", "en"), ("It is late.", "en")))
        how = GptTraining(batch=2, accumulated=1, optimiser="adamw", prompted=True, rehearsal=said)
        sizes = replace(tiny.GPT, phone_vocab=len(SYMBOLS["v2"]))
        return GptObjective(tiny.gpt_tensors(sizes), sizes.to_config(), None, learned, aside, how, "cpu")
    how = SovitsTraining(batch=2, new_posterior_steps=6)
    tensors, part = tiny.sovits_tensors()
    given = None if kind == "sovits-without-part" else part
    return SovitsObjective(tensors, tiny.SOVITS.to_config(), given, learned, aside, how, "cpu")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    course(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
