"""The worker's training operation: one request in, one finished bundle out, however often it is resumed.

Runs in the second worker process, which stands back behind everything else. Progress is thinned out here, so
that a fast training does not flood the daemon. A cancelled request is no reason to drop everything: the
training is told to stop, writes its checkpoint and only then lets go. Follows specs/trainings.md.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pvoice.protocol.errors import P2PVoiceError

if TYPE_CHECKING:
    from p2pvoice.node.worker import Worker

#: Bytes of what was found of the clips, which our own code wrote.
PREPARED_LIMIT = 16 << 20

#: Progress events a second; a new stage and a look at held-out data are always told.
EVENTS_PER_SECOND = 4.0


class Teller:
    """Hands progress on to the daemon, thinned out and as plain JSON."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._stage = ""
        self._told = 0.0

    def __call__(self, progress: Any) -> None:
        """Tell of a step: anything with the fields of sovits.training.loop.Progress."""
        now = time.monotonic()
        stage, held_out = str(progress.stage), progress.held_out
        if stage == self._stage and held_out is None and now - self._told < 1 / EVENTS_PER_SECOND:
            return
        self._stage, self._told = stage, now
        self._worker.tell(
            {
                "stage": stage,
                "step": int(progress.step),
                "steps": int(progress.steps),
                "losses": {str(name): number(value) for name, value in progress.losses.items()},
                "held_out": number(held_out),
                "seconds_left": number(progress.seconds_left),
            }
        )


def train(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Train, tune or distil; goes on by itself where its work folder holds a checkpoint."""
    from p2pvoice.node.worker import bases_in, import_bundled, inspect
    from p2pvoice.sovits.training.run import TrainRequest
    from p2pvoice.sovits.training.run import train as run

    base = Path(arguments["base"])
    if arguments["packaged"] and not (base / "voice.json").is_file():
        import_bundled(worker, {"out": str(base), "bases": arguments["bases"]})
    request = TrainRequest(
        name=str(arguments["name"]),
        lang=str(arguments["lang"]),
        clips=[Path(clip) for clip in arguments["clips"]],
        transcripts=_path(arguments["transcripts"]),
        asr=_path(arguments["asr"]),
        base=base,
        epochs=arguments["epochs"],
        minutes=arguments["minutes"],
        only=arguments["only"],
        seed=int(arguments["seed"]),
        kind=arguments["kind"],
    )
    work = Path(arguments["work"])
    try:
        made = run(request, work, bases_in(arguments["bases"]), Teller(worker), worker.cancelled)
    except P2PVoiceError:
        _tell_of_clips(worker, work)
        raise
    described = _describe(worker, Path(made.bundle), made.report)
    return {
        "bundle": str(made.bundle),
        "facts": inspect(worker, {"folder": str(made.bundle), "bases": arguments["bases"]}),
        "report": plain(made.report),
        "seconds": float(made.seconds),
        "steps": int(made.steps),
        "layers": [str(layer) for layer in made.layers],
        "measured": described["measured"],
        "tags": described["tags"],
    }


def _describe(worker: "Worker", bundle: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """What the reference clips tell of the speaker. A training does not fail over what cannot be measured."""
    from p2pvoice.node.worker_measuring import reference_clips
    from p2pvoice.sovits.measure.describe import describe

    worker.tell({"stage": "describe", "step": 0, "steps": 0, "losses": {}})
    seconds = (report.get("data") or {}).get("seconds")
    try:
        found = describe(reference_clips(bundle), training_seconds=seconds)
    except P2PVoiceError:
        return {"measured": [], "tags": []}
    return dict(plain(found.to_json()))


def _tell_of_clips(worker: "Worker", work: Path) -> None:
    """Tell what was found of each clip, so that who gave unfit ones learns which and why."""
    path = work / "prepared.json"
    if path.is_file() and path.stat().st_size <= PREPARED_LIMIT:
        worker.tell({"stage": "clips", "clips": json.loads(path.read_bytes())["clips"]})


def _path(value: Any) -> Path | None:
    return Path(value) if value else None


def number(value: Any) -> float | None:
    """A number as JSON knows it: None stands for what is not there, not a number or not finite."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """A report as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return number(value)
    if hasattr(value, "item"):
        return plain(value.item())
    return str(value)
