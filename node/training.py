"""Running a training: from clips that were sent to a draft, in a worker process of its own.

One training runs at a time, in a task of the daemon's own nursery, so that it outlives the answer to whoever
started it by exactly as long as it needs to write a checkpoint. Whoever asked follows its events; when they
hang up, or somebody says stop, the training is asked to stop and can be resumed. A worker that was killed
costs what it learnt since its last checkpoint. Not for what is learnt: see worker_training.py. Follows
specs/trainings.md.
"""

import hashlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

from p2pvoice.node.drafts import Drafts
from p2pvoice.node.engine import Engine
from p2pvoice.node.trainings import State, Training, Trainings, Work, row
from p2pvoice.node.written import require_plain
from p2pvoice.protocol.errors import (
    BugError,
    ConflictError,
    P2PVoiceError,
    TrainingError,
    WorkerDiedError,
)
from p2pvoice.protocol.ids import bundle_id
from p2pvoice.protocol.provenance import MEASURED_LIMIT, METHOD_LENGTH

log = logging.getLogger("p2pvoice.training")

#: Seconds that the worker gets for a checkpoint when a training is stopped; then it is killed, which costs
#: what it learnt since the last one.
STOP_GRACE = 20.0

#: Events that may wait for a follower who reads slowly; the oldest stay, newer ones are dropped.
WAITING_EVENTS = 256

#: Seconds between two writings of a training's progress to its record.
RECORD_SECONDS = 10.0

#: What a kind of training is called in a manifest, and how its result relates to the base.
MANIFEST_KINDS = {
    "train": ("trained", "fine-tuned-from"),
    "tune": ("tuned", "fine-tuned-from"),
    "distil": ("distilled", "distilled-from"),
}

#: Percentage of trust in a figure from half a minute of speech.
JUDGED_CONFIDENCE = 70

#: Layers a manifest names; beyond that they are counted.
LAYERS_NAMED = 63

Tell = Callable[[Mapping[str, Any]], Awaitable[None]]


class _Job:
    """A training that runs, its followers' channel, and how it ended."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.scope = trio.CancelScope()
        self.send, self.receive = trio.open_memory_channel[Mapping[str, Any]](WAITING_EVENTS)
        self.ended = trio.Event()
        self.result: dict[str, Any] | None = None
        self.error: P2PVoiceError | None = None


class Trainer:
    """Runs the trainings of one home, one at a time."""

    def __init__(
        self,
        trainings: Trainings,
        drafts: Drafts,
        engine: Engine,
        bases: Path,
        disk: trio.CapacityLimiter,
        drafting: trio.Lock,
    ) -> None:
        self._trainings = trainings
        self._drafts = drafts
        self._engine = engine
        self._bases = bases
        self._disk = disk
        self._drafting = drafting
        self._job: _Job | None = None
        self._wanted = trio.Event()

    @property
    def current(self) -> str:
        """The training that runs now; empty when none does."""
        return self._job.training.slug if self._job is not None else ""

    def require_idle(self) -> None:
        """ConflictError while a training runs."""
        if self._job is not None:
            raise ConflictError(
                f"the training {self.current} is running; one runs at a time",
                hint=f"p2pvoice trainings stop {self.current}   (it can be resumed)",
            )

    async def run(self) -> None:
        """Work until cancelled; a training that runs then gets the time for a checkpoint."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            if self._job is None:
                continue
            job = self._job
            try:
                await self._train(job)
            finally:
                self._job = None
                job.send.close()
                job.ended.set()

    async def follow(self, training: Training, tell: Tell) -> dict[str, Any]:
        """Start or resume a training and tell of it until it ends; its result.

        Cancelling this asks the training to stop and returns at once; it ends after its checkpoint. Raises
        ConflictError while another one runs, TrainingError when it was stopped or its worker died, and
        whatever the training itself raises.
        """
        self.require_idle()
        job = self._job = _Job(training)
        self._wanted.set()
        try:
            async for event in job.receive:
                await tell(event)
        finally:
            # Nothing happens to a training that has ended.
            job.scope.cancel()
        if job.error is not None:
            raise job.error
        if job.result is None:
            raise BugError("the training ended without a result")
        return job.result

    async def stop(self, slug: str) -> bool:
        """Ask a training to stop and wait until it has; False when it does not run."""
        job = self._job
        if job is None or job.training.slug != slug:
            return False
        job.scope.cancel()
        await job.ended.wait()
        return True

    async def _train(self, job: _Job) -> None:
        slug = job.training.slug
        job.training = msgspec.structs.replace(job.training, state="running", error=None)
        died = False
        with job.scope:
            try:
                await self._keep(job)
                job.result = await self._work(job)
            except WorkerDiedError as error:
                died = True
                job.error = TrainingError(
                    f"{error.message}; what was learnt up to the last checkpoint is kept",
                    hint=f"p2pvoice train --resume {slug}",
                )
            except P2PVoiceError as error:
                job.error = error
            except Exception as error:
                log.error("a training failed", exc_info=error)
                job.error = BugError()
        if job.scope.cancelled_caught:
            job.error = TrainingError(
                f"the training {slug} was stopped; what was learnt is kept",
                hint=f"p2pvoice train --resume {slug}",
            )
        # A killed worker leaves a training that can be resumed, as a stopped one does.
        stopped = died or job.scope.cancelled_caught
        state: State = "stopped" if stopped else "failed" if job.error is not None else "done"
        told = job.error.to_dict() if job.error is not None else None
        job.training = msgspec.structs.replace(job.training, state=state, error=told)
        await self._keep(job)
        log.info("a training ended", extra={"training": slug, "state": state})

    async def _work(self, job: _Job) -> dict[str, Any]:
        training, work = job.training, self._trainings.work(job.training.slug)
        last = -RECORD_SECONDS

        async def on_progress(data: Mapping[str, Any]) -> None:
            nonlocal last
            event = {"event": "progress", "training": training.slug, **data}
            with suppress(trio.WouldBlock, trio.BrokenResourceError):
                job.send.send_nowait(event)
            if "step" in data:
                job.training = msgspec.structs.replace(job.training, progress=dict(data))
            if trio.current_time() - last >= RECORD_SECONDS:
                last = trio.current_time()
                await self._keep(job)

        arguments = {
            "kind": training.kind,
            "name": training.name,
            "lang": training.lang,
            "clips": [str(work.clips / clip.name) for clip in training.clips],
            "transcripts": str(work.transcripts) if training.transcripts else None,
            "asr": str(self._bases / training.asr) if training.asr else None,
            "base": str(work.base if training.base else work.packaged),
            "packaged": not training.base,
            "epochs": training.epochs,
            "minutes": training.minutes,
            "only": training.only,
            "seed": training.seed,
            "work": str(work.work),
            "bases": [str(self._bases)],
        }
        made = await self._engine.call("train", arguments, on_progress=on_progress, writes=[work.work])
        if Path(made["bundle"]).parent != work.work:
            raise BugError("the worker named a bundle outside its work folder")
        notes = await trio.to_thread.run_sync(notes_of, training, work, made, limiter=self._disk)
        draft = await self._make_draft(training, Path(made["bundle"]), made["facts"], notes)
        report = dict(made["report"])
        job.training = msgspec.structs.replace(job.training, draft=draft, report=report)
        return {
            **row(job.training),
            "state": "done",
            "draft": draft,
            "report": report,
            "manifest": {"training": notes["training"], "measured": notes["measured"]},
            "references": len(made["facts"]["references"]),
            "proposed_tags": notes["tags"],
        }

    async def _make_draft(
        self, training: Training, bundle: Path, facts: Mapping[str, Any], notes: Mapping[str, Any]
    ) -> str:
        """Make a draft of a finished bundle. The bundle is copied: a resumed training may need it again."""
        async with self._drafting:

            def work() -> str:
                require_plain(bundle)
                slug, growing = self._drafts.begin(training.name, training.slug)
                try:
                    shutil.copytree(bundle, growing)
                    return self._drafts.finish(training.name, slug, facts, notes).slug
                finally:
                    self._drafts.abandon(slug)

            return await trio.to_thread.run_sync(work, limiter=self._disk)

    async def _keep(self, job: _Job) -> None:
        await trio.to_thread.run_sync(self._trainings.write, job.training, limiter=self._disk)


def notes_of(training: Training, work: Work, made: Mapping[str, Any]) -> dict[str, Any]:
    """What a draft says of the training it came from, in a manifest's words; blocking."""
    kind, _ = MANIFEST_KINDS[training.kind]
    report = made["report"]
    data = report.get("data", {})
    layers = [str(layer) for layer in made["layers"]]
    if len(layers) > LAYERS_NAMED:
        layers = [*layers[:LAYERS_NAMED], f"and_{len(layers) - LAYERS_NAMED}_more"]
    return {
        "training": {
            "kind": kind,
            "base": training.base_id or folder_id(work.base if training.base else work.packaged),
            "seconds": round(made["seconds"]),
            "steps": int(made["steps"]),
            "layers": layers,
            "data": {
                "clips": int(data.get("clips", len(training.clips))),
                "seconds": round(data.get("seconds", 0)),
                "declaration": training.declaration,
            },
        },
        "parents": [list(parent) for parent in training.parents],
        "measured": [*figures(report), *made["measured"]][:MEASURED_LIMIT],
        "tags": list(made["tags"]),
    }


def figures(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a training's report says of the result, as measured fields of a manifest."""
    judged = report.get("judged") or {}
    count, found = judged.get("sentences", 0), []
    for name, rows in (("similarity", judged.get("similarity")), ("errors", judged.get("errors"))):
        if not rows or rows.get("after") is None:
            continue
        method = str(rows.get("method", ""))
        found.append(
            {
                "field": "similarity" if name == "similarity" else method.lower()[:8] or "errors",
                "value": f"{rows['after']:.3f}",
                "unit": "",
                "method": f"{method}; {count} unseen sentences, before {rows['before']:.3f}"[:METHOD_LENGTH],
                "confidence": JUDGED_CONFIDENCE,
            }
        )
    return found


def folder_id(folder: Path) -> str:
    """The bundle id of the files in a folder: what names a base that was never published."""
    rows = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        rows.append((str(path.relative_to(folder)), path.stat().st_size, digest))
    return bundle_id(rows)
