"""The loop: a killed training goes on as if nothing had been, ends in time, and reads only its own files."""

import json
import math
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from p2pvoice.protocol.errors import ConflictError, CorruptError, NotFoundError, RefusedError, UsageError
from p2pvoice.sovits.training import savefile
from p2pvoice.sovits.training.loop import (
    BEST_NAME,
    CHECKPOINT_NAME,
    CURVE_NAME,
    DIVERGED_LIMIT,
    Fit,
    Plan,
    Progress,
    best_weights,
    fit,
)

from . import trainee


class Line:
    """A straight line learned from points: the smallest true objective. Held out are points of a parabola."""

    name = "line"

    def __init__(self, rate: float = 0.05) -> None:
        self.line = torch.nn.Linear(1, 1)
        with torch.no_grad():
            self.line.weight.fill_(-1.0)
            self.line.bias.fill_(0.0)
        self.optimiser = torch.optim.Adam(self.line.parameters(), rate)

    def train_step(self) -> dict[str, float]:
        x = torch.randn(8, 1)
        loss = (self.line(x) - 3 * x).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"square": float(loss.detach())}

    @torch.no_grad()
    def held_out(self) -> float:
        torch.randn(3)  # What looking draws must not reach the training.
        x = torch.linspace(0, 1, 9)[:, None]
        return float((self.line(x) - x.square()).square().mean())

    def epoch_steps(self) -> int:
        return 7

    def state_dict(self) -> dict[str, Any]:
        return {"line": self.line.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.line.load_state_dict(state["line"])
        self.optimiser.load_state_dict(state["optimiser"])

    def weights(self) -> dict[str, torch.Tensor]:
        return {k: v.clone() for k, v in self.line.state_dict().items()}


class Diverging(Line):
    def train_step(self) -> dict[str, float]:
        return {"square": math.nan}


class Unmeasured(Line):
    def held_out(self) -> float:
        return math.nan


def quietly(
    objective: Line, plan: Plan, folder: Path, stop_at: int | None = None
) -> tuple[Fit, list[Progress]]:
    told: list[Progress] = []
    ended = fit(objective, plan, folder, told.append, lambda: bool(told) and told[-1].step == stop_at)
    return ended, told


def curve(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / CURVE_NAME).read_text().splitlines()]


def killed_at(kind: str, folder: Path, save_seconds: float, step: int) -> int:
    """Start a training, kill it as soon as it says that ``step`` is done; 0 if it came to its end before."""
    command = [sys.executable, trainee.__file__, kind, str(folder), str(save_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) == step:
                process.kill()
        return process.wait()


@pytest.mark.parametrize(
    ("kind", "save_seconds", "kills"),
    [("sovits", 0.0, 2), ("sovits-without-part", 0.5, 1), ("gpt", 0.0, 1), ("gpt-rehearsed", 0.0, 1)],
)
def test_killed_and_resumed_the_curve_is_that_of_an_uninterrupted_run(
    kind: str, save_seconds: float, kills: int, tmp_path: Path
) -> None:
    trainee.course(kind, tmp_path / "whole", 1e9)
    # Where the blows fall is chance, but the same chance every time.
    for step in sorted(random.Random(kind).sample(range(2, trainee.STEPS - 1), kills)):
        assert killed_at(kind, tmp_path / "killed", save_seconds, step) == -signal.SIGKILL
    trainee.course(kind, tmp_path / "killed", save_seconds)
    whole, killed = (tmp_path / name / CURVE_NAME for name in ("whole", "killed"))
    assert len(curve(tmp_path / "whole")) == trainee.STEPS
    assert killed.read_bytes() == whole.read_bytes()
    best = [best_weights(tmp_path / name) for name in ("whole", "killed")]
    assert best[0].keys() == best[1].keys()
    assert all(torch.equal(best[0][k], best[1][k]) for k in best[0])


def test_a_stop_is_honoured_after_its_step_and_resumed_from_there(tmp_path: Path) -> None:
    plan = Plan(steps=20, check_every=6)
    whole, _ = quietly(Line(), plan, tmp_path / "whole")
    ended, told = quietly(Line(), plan, tmp_path / "stopped", stop_at=8)
    assert (ended.stopped, ended.steps, len(told)) == ("asked", 8, 8)
    ended, told = quietly(Line(), plan, tmp_path / "stopped")
    assert (ended.stopped, ended.steps, told[0].step) == ("steps", 20, 9)
    assert curve(tmp_path / "stopped") == curve(tmp_path / "whole")
    assert (ended.first, ended.best) == (whole.first, whole.best)
    again, told = quietly(Line(), plan, tmp_path / "stopped")
    assert (again, told) == (Fit(20, again.seconds, ended.first, ended.best, "steps"), [])


def test_it_ends_when_held_out_data_gets_worse_and_keeps_the_best(tmp_path: Path) -> None:
    objective = Line()
    ended, told = quietly(objective, Plan(steps=5000, check_every=10, patience=3), tmp_path)
    looks = [(p.step, p.held_out) for p in told if p.held_out is not None]
    assert ended.stopped == "held-out"
    assert ended.best == min(value for _, value in looks) < ended.first
    assert [value > ended.best for _, value in looks[-3:]] == [True] * 3
    assert looks[-4][1] == ended.best
    best = Line()
    best.line.load_state_dict(best_weights(tmp_path))
    assert best.held_out() == ended.best < objective.held_out()


def test_the_first_limit_ends_it(tmp_path: Path) -> None:
    assert quietly(Line(), Plan(minutes=0.0), tmp_path / "time")[0].stopped == "time"
    assert quietly(Line(), Plan(epochs=2, steps=100), tmp_path / "epochs")[0].steps == 14
    assert quietly(Line(), Plan(epochs=2, steps=13), tmp_path / "steps")[0].steps == 13
    with pytest.raises(UsageError):
        Plan()
    with pytest.raises(UsageError):
        Plan(steps=1, patience=0)


def test_progress_says_how_far_and_how_long(tmp_path: Path) -> None:
    _, told = quietly(Line(), Plan(steps=4, check_every=2), tmp_path / "steps")
    assert [(p.stage, p.step, p.steps) for p in told] == [("line", i, 4) for i in range(1, 5)]
    assert [p.held_out is None for p in told] == [True, False, True, False]
    assert told[-1].seconds_left == 0.0
    assert all(p.seconds_left > 0 for p in told[:-1])
    _, told = quietly(Line(), Plan(minutes=60.0), tmp_path / "time", stop_at=3)
    assert told[-1].steps > 3
    assert 3500 < told[-1].seconds_left <= 3600


def test_without_held_out_data_the_last_weights_are_kept(tmp_path: Path) -> None:
    objective = Unmeasured()
    ended, told = quietly(objective, Plan(steps=5, check_every=2, patience=1), tmp_path)
    assert ended.stopped == "steps"
    assert math.isnan(ended.best)
    assert all(p.held_out is None for p in told)
    assert torch.equal(best_weights(tmp_path)["weight"], objective.line.weight)


def test_losses_that_are_no_numbers_end_it(tmp_path: Path) -> None:
    told: list[Progress] = []
    with pytest.raises(RefusedError, match="no numbers"):
        fit(Diverging(), Plan(steps=1000), tmp_path, told.append, lambda: False)
    assert len(told) == DIVERGED_LIMIT - 1


def test_only_its_own_checkpoint_is_read(tmp_path: Path) -> None:
    plan = Plan(steps=3)
    quietly(Line(), plan, tmp_path)
    checkpoint = tmp_path / CHECKPOINT_NAME

    class Other(Line):
        name = "other"

    with pytest.raises(ConflictError, match="another training") as caught:
        quietly(Other(), plan, tmp_path)
    assert str(checkpoint) in caught.value.hint
    whole = checkpoint.read_bytes()
    # What a kill leaves of a checkpoint that was being written stands beside, and is never looked at.
    (tmp_path / (CHECKPOINT_NAME + ".part")).write_bytes(whole[: len(whole) // 2])
    assert quietly(Line(), plan, tmp_path)[0].steps == 3
    for broken in (b"", whole[:-100], b"PK\x03\x04 and then nothing"):
        checkpoint.write_bytes(broken)
        with pytest.raises(CorruptError, match="cannot be read"):
            quietly(Line(), plan, tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    torch.save({"format": 1, "course": Touch()}, tmp_path / CHECKPOINT_NAME)
    with pytest.raises(CorruptError):
        quietly(Line(), Plan(steps=3), tmp_path)
    assert not (tmp_path / "touched").exists()


def test_a_saved_file_is_read_up_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / BEST_NAME
    with pytest.raises(NotFoundError):
        best_weights(tmp_path)
    savefile.write_saved(path, {"format": 1, "weights": {"x": torch.ones(3)}})
    size = path.stat().st_size
    monkeypatch.setattr(savefile, "BYTES_LIMIT", size)
    assert best_weights(tmp_path)["x"].tolist() == [1, 1, 1]
    monkeypatch.setattr(savefile, "BYTES_LIMIT", size - 1)
    with pytest.raises(CorruptError, match="larger than"):
        best_weights(tmp_path)
    monkeypatch.undo()
    savefile.write_saved(path, {"format": 2, "weights": {}})
    with pytest.raises(CorruptError, match="another version"):
        best_weights(tmp_path)
