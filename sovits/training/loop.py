"""The training loop: steps, checkpoints, resuming, held-out checks; the same for every network.

For: carrying an `Objective` from its first step to its last, over any number of sessions, so that a training
which was killed and resumed draws the same curve as one which was not. Not for what is learned from which
data: an objective owns its networks, optimisers and batches (objective_sovits, objective_gpt). One folder
holds one training: ``checkpoint.pt`` (to go on), ``best.pt`` (the best weights so far) and ``losses.jsonl``
(a line a step). Follows specs/training.md.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import torch
from torch import Tensor

from p2pvoice.protocol.errors import ConflictError, RefusedError, UsageError

from .savefile import read_saved, write_saved

CHECKPOINT_NAME, BEST_NAME, CURVE_NAME = "checkpoint.pt", "best.pt", "losses.jsonl"
FORMAT = 1
"""What a checkpoint of this layout calls itself; another number is refused."""
DIVERGED_LIMIT = 20
"""Steps in a row whose losses are no numbers; then training gives up. A few are usual in half precision."""

Stopped = Literal["steps", "time", "held-out", "asked"]


class Objective(Protocol):
    """One network family's way to learn. Torch's global generators are the loop's; any other is its own."""

    name: str

    def train_step(self) -> dict[str, float]:
        """Learn from the next batch -> the losses to show."""

    def held_out(self) -> float:
        """How far off held-out data is: lower is better, like weights give like numbers; NaN without data."""

    def epoch_steps(self) -> int:
        """Steps until every example was seen once."""

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` said."""

    def weights(self) -> dict[str, Tensor]:
        """What a release stores, by its published keys."""


@dataclass(frozen=True)
class Progress:
    """After a step: how many are done, of how many (an estimate where time is the limit; 0: unknown)."""

    stage: str
    step: int
    steps: int
    losses: Mapping[str, float]
    held_out: float | None
    """Of the check at this step, if there was one."""
    seconds_left: float | None
    """An estimate; None before there is a pace to tell it from."""


@dataclass(frozen=True)
class Plan:
    """When to end, and when to look: at least one of steps, epochs and minutes; the first to come counts."""

    steps: int | None = None
    minutes: float | None = None
    """Of computing, over all sessions together."""
    epochs: int | None = None
    check_every: int = 100
    """Steps between two looks at held-out data."""
    patience: int = 5
    """Looks in a row without a better one, after which training ends."""
    save_seconds: float = 150.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None and self.epochs is None:
            raise UsageError("a training needs an end", hint="give --epochs N or --minutes N")
        if min(self.check_every, self.patience) < 1:
            raise UsageError("check_every and patience are at least 1")


@dataclass(frozen=True)
class Fit:
    """How a training ended. ``first`` and ``best`` are held-out numbers: before any step, and the least."""

    steps: int
    seconds: float
    first: float
    best: float
    stopped: Stopped


@dataclass
class _Course:
    """Where a training stands: what a checkpoint keeps beside the objective's own state."""

    step: int = 0
    seconds: float = 0.0
    first: float = math.nan
    best: float = math.nan
    checked: int = -1
    """The step of the last look."""
    worse: int = 0
    """Looks since the best one."""
    curve_bytes: int = 0
    """Length of the curve's file; what a killed session wrote behind it is cut off."""


def fit(
    objective: Objective,
    plan: Plan,
    folder: Path,
    tell: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> Fit:
    """Train until ``plan`` ends it or ``stop`` says so, which is asked after each step.

    Goes on by itself where ``folder`` holds a checkpoint: bit for bit on one machine's CPU with one torch.
    An exception, KeyboardInterrupt among them, loses what came after the last checkpoint and nothing else.
    Raises ConflictError when the checkpoint is of another training, CorruptError when it cannot be read,
    DiskFullError, and RefusedError when the losses are no numbers any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices), (folder / CURVE_NAME).open("ab") as curve:
        torch.manual_seed(plan.seed)
        return _Session(objective, plan, folder, curve).run(tell, stop)


def best_weights(folder: Path) -> dict[str, Tensor]:
    """The weights that did best on held-out data, on the CPU; without such data the last ones.

    Raises NotFoundError when no training in ``folder`` has come so far.
    """
    return read_saved(folder / BEST_NAME, FORMAT)["weights"]


class _Session:
    """One process's share of a training."""

    def __init__(self, objective: Objective, plan: Plan, folder: Path, curve: BinaryIO) -> None:
        self.objective, self.plan, self.folder, self.curve = objective, plan, folder, curve
        self.limit = _step_limit(objective, plan)
        self.course = _Course()
        self.diverged = 0
        if (folder / CHECKPOINT_NAME).exists():
            self._resume()
        curve.truncate(self.course.curve_bytes)
        curve.seek(0, os.SEEK_END)
        self.first_step, self.before = self.course.step, self.course.seconds
        self.begun = self.saved = time.monotonic()

    def run(self, tell: Callable[[Progress], None], stop: Callable[[], bool]) -> Fit:
        course = self.course
        if course.checked < 0:
            self._check()
        while (ended := self._ended()) is None:
            losses = self.objective.train_step()
            course.step += 1
            course.seconds = self.before + time.monotonic() - self.begun
            self._watch(losses)
            held_out = self._check() if course.step % self.plan.check_every == 0 else None
            self._note(losses, held_out)
            tell(Progress(self.objective.name, course.step, self._steps(), losses, held_out, self._left()))
            if stop():
                ended = "asked"
                break
            if time.monotonic() - self.saved >= self.plan.save_seconds:
                self._save()
        if ended != "asked" and course.checked != course.step:
            self._check()
        self._save()
        return Fit(course.step, course.seconds, course.first, course.best, ended)

    def _ended(self) -> Stopped | None:
        course, plan = self.course, self.plan
        if self.limit is not None and course.step >= self.limit:
            return "steps"
        if plan.minutes is not None and course.seconds >= plan.minutes * 60:
            return "time"
        return "held-out" if course.worse >= plan.patience else None

    def _check(self) -> float | None:
        """Look at held-out data; keep the weights if they are the best so far or nothing can tell."""
        course = self.course
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            value = float(self.objective.held_out())
        if course.checked < 0:
            course.first = value
        course.checked = course.step
        if math.isnan(course.best) or value < course.best:
            course.best, course.worse = value, 0
            write_saved(self.folder / BEST_NAME, {"format": FORMAT, "weights": self.objective.weights()})
        else:
            course.worse += 1
        return None if math.isnan(value) else value

    def _watch(self, losses: Mapping[str, float]) -> None:
        self.diverged = 0 if all(map(math.isfinite, losses.values())) else self.diverged + 1
        if self.diverged >= DIVERGED_LIMIT:
            raise RefusedError(
                f"the losses of the last {DIVERGED_LIMIT} steps are no numbers",
                hint="check the clips for silence and clipping, then train again from the start",
            )

    def _note(self, losses: Mapping[str, float], held_out: float | None) -> None:
        line: dict[str, Any] = {"step": self.course.step, "losses": losses}
        if held_out is not None:
            line["held_out"] = held_out
        self.curve.write(json.dumps(line).encode() + b"\n")
        self.curve.flush()

    def _steps(self) -> int:
        left, pace = self._left(), self._pace()
        if self.plan.minutes is None or left is None or not pace:
            return self.limit or 0
        return min(self.course.step + math.ceil(left / pace), self.limit or 1 << 62)

    def _pace(self) -> float | None:
        """Seconds a step, as this session goes."""
        done = self.course.step - self.first_step
        return (self.course.seconds - self.before) / done if done else None

    def _left(self) -> float | None:
        pace, course, ends = self._pace(), self.course, []
        if pace is None:
            return None
        if self.limit is not None:
            ends.append((self.limit - course.step) * pace)
        if self.plan.minutes is not None:
            ends.append(self.plan.minutes * 60 - course.seconds)
        return max(0.0, min(ends))

    def _save(self) -> None:
        self.course.seconds = self.before + time.monotonic() - self.begun
        os.fsync(self.curve.fileno())
        self.course.curve_bytes = self.curve.tell()
        cuda = [torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())]
        state = {
            "format": FORMAT,
            "name": self.objective.name,
            "course": asdict(self.course),
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
            "objective": self.objective.state_dict(),
        }
        write_saved(self.folder / CHECKPOINT_NAME, state)
        self.saved = time.monotonic()

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT_NAME
        state = read_saved(path, FORMAT)
        try:
            if state["name"] != self.objective.name:
                raise ValueError(f"it trains {state['name']}")
            self.course = _Course(**{field.name: state["course"][field.name] for field in fields(_Course)})
            self.objective.load_state_dict(state["objective"])
            torch.set_rng_state(state["random"]["cpu"])
            for i, saved in enumerate(state["random"]["cuda"][: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(saved, i)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ConflictError(
                f"{path.name} in {self.folder} belongs to another training",
                hint=f"rm {path}, to train from the start",
            ) from error


def _step_limit(objective: Objective, plan: Plan) -> int | None:
    epochs = None if plan.epochs is None else plan.epochs * objective.epoch_steps()
    return min((limit for limit in (plan.steps, epochs) if limit is not None), default=None)
