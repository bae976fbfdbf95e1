"""A training from beginning to end: clips in, the bundle of a new voice and a report out.

Every stage leaves what it made in the work folder and is passed over when it is there already, so that a
killed training goes on where it was: prepared pieces, features, two networks' checkpoints, the bundle, the
report. For ``train``, ``tune`` (see tune) and ``distil`` (see distil). Not for manifests, drafts and the
network, which are the node's. Follows specs/training.md.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from p2pvoice.protocol import pronunciation
from p2pvoice.protocol.errors import ConflictError, NotFoundError, TrainingStoppedError, UsageError
from p2pvoice.sovits import voicefile
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.checkpoint import file_header, map_tensors
from p2pvoice.sovits.mapped import MappedFile

from . import bundle, dataset, distil, evaluate, prepare, tune
from .families import PATIENCE, Family, family_of
from .lists import TRAINED_LANGUAGES
from .loop import Fit, Objective, Plan, Progress, best_weights, fit
from .parts import Only
from .prepare import Prepared, write_json

Kind = Literal["train", "tune", "distil"]
Tell = Callable[[Progress], None]
Stop = Callable[[], bool]

REQUEST_NAME, REPORT_NAME, BUNDLE_NAME = "request.json", "report.json", "bundle"
TRAINING_NAME: Final = "training.safetensors"
"""The optional part of a base: what training needs and speaking does not."""
DEFAULT_MINUTES: Final = {"train": 18.0, "tune": 6.0, "distil": 45.0}
"""Minutes of computing when nothing is said: with preparing and judging, below half an hour on two cores."""
MINUTES_LIMIT, EPOCHS_LIMIT = 7 * 24 * 60.0, 10_000
VOICE_SHARE: Final = 0.75
"""Share of the minutes that the voice itself (SoVITS or lite) gets; the GPT gets the rest."""
GPT_EPOCHS: Final = 15 / 8
"""Epochs of the GPT for one of SoVITS, as in the published recipe."""
CURVE_POINTS: Final = 200
"""Points of a curve in the report; the whole one lies in the work folder."""


@dataclass(frozen=True)
class TrainRequest:
    """What is asked for. Paths are those of this machine; ``names`` are the clips' names as their owner knows
    them, for the list of transcripts."""

    name: str
    lang: str
    """One of TRAINED_LANGUAGES; for ``distil`` it may be empty: that of the voice's first reference."""
    clips: Sequence[Path]
    base: Path
    """The bundle of the voice to start from; for ``distil``, of the voice to learn from."""
    transcripts: Path | None = None
    asr: Path | None = None
    epochs: int | None = None
    minutes: float | None = None
    only: Only = "all"
    seed: int = 0
    kind: Kind = "train"
    names: Sequence[str] = ()
    sentences: int | None = None
    """How many sentences a voice that is distilled speaks; None for the usual number."""
    steps: int | None = None
    """Most steps of each network, whatever the epochs or minutes allow."""

    def __post_init__(self) -> None:
        if self.lang not in TRAINED_LANGUAGES and (self.lang or self.kind != "distil"):
            raise UsageError(f"{self.lang[:20]!a} cannot be trained", hint="languages: yue zh en")
        if self.epochs is not None and not 0 < self.epochs <= EPOCHS_LIMIT:
            raise UsageError(f"epochs must be 1 to {EPOCHS_LIMIT}")
        if self.minutes is not None and not 0 < self.minutes <= MINUTES_LIMIT:
            raise UsageError(f"minutes must be more than 0 and at most {MINUTES_LIMIT:.0f}")
        if self.steps is not None and self.steps < 1:
            raise UsageError("steps must be at least 1")
        if self.only not in ("all", "last-layers"):
            raise UsageError(f"{str(self.only)[:20]!a} are no layers", hint="--only last-layers")
        if self.names and len(self.names) != len(self.clips):
            raise UsageError(f"{len(self.names)} names for {len(self.clips)} clips")


@dataclass(frozen=True)
class Trained:
    """What came out."""

    bundle: Path
    report: dict[str, Any]
    seconds: float
    """Of computing, in all sessions."""
    steps: int
    layers: list[str]


@dataclass
class Run:
    """One training under way, as its parts (train, tune, distil) see it."""

    request: TrainRequest
    work: Path
    bases: Bases
    tell: Tell
    stop: Stop
    family: Family
    report: dict[str, Any] = field(default_factory=dict)

    def stage(self, name: str, done: int = 0, of: int = 0) -> None:
        """Tell of a stage without losses, and end here if that was asked for."""
        self.tell(Progress(name, done, of, {}, None, None))
        if self.stop():
            raise TrainingStoppedError


def train(request: TrainRequest, work: Path, bases: Bases, tell: Tell, stop: Stop) -> Trained:
    """Train a voice in the folder ``work``, going on where an earlier call was stopped or killed.

    Raises TrainingStoppedError when ``stop`` said so, UsageError for clips that nothing can be learned from
    (the report lists each), ConflictError when the folder belongs to another request, and what the parts
    raise.
    """
    work.mkdir(parents=True, exist_ok=True)
    _remember(request, work)
    if (work / REPORT_NAME).is_file() and (work / BUNDLE_NAME).is_dir():
        return _finished(work)
    begun = time.monotonic()
    start = distil.starter(work, bases) if request.kind == "distil" else request.base
    base = voicefile.load_bundle(start)
    run = Run(request, work, bases, tell, stop, family_of(base.voice))
    extractor = dataset.Extractor(start, bases, work / "features")
    prepared = distil.corpus(run) if request.kind == "distil" else _prepare(run, extractor)
    examples = _extract(run, extractor, prepared)
    part = _training_part(start)
    weights = {"sovits": base.sovits, "gpt": base.gpt}
    fits: dict[str, Fit] = {}
    if request.kind != "tune":
        fits["sovits"] = _fit_voice(run, base, part, examples)
        weights["sovits"] = _stored(best_weights(work / "sovits"))
    fits["gpt"] = _fit_gpt(run, base, examples)
    weights["gpt"] = _stored(best_weights(work / "gpt"))
    run.stage("write")
    if request.kind == "tune":
        references = bundle.kept_references(request.base, base)
    else:
        # Codes come from tensors that are never trained, so the base hears them as the new voice does.
        references = bundle.encode(bundle.choose(work, prepared.pieces), extractor.listener())
    # A tuned voice is the same voice: what it was told of words stays with it.
    words = base.words if request.kind == "tune" else ""
    _write(work / BUNDLE_NAME, base, weights, references, words)
    run.stage("judge")
    told = tune.judge(run, base, weights, examples, extractor) if request.kind == "tune" else {}
    if told and not told["gained"]:
        weights["gpt"] = base.gpt
        _write(work / BUNDLE_NAME, base, weights, references, words)
    report = _report(run, base, weights, prepared, examples, fits, part is not None)
    if request.kind == "tune":
        report["tune"] = told
    elif request.kind == "distil":
        report["distil"] = distil.judge(run)
    else:
        report["judged"] = evaluate.before_and_after(run, base, references, prepared)
    report["session_seconds"] = round(time.monotonic() - begun, 1)
    write_json(work / REPORT_NAME, report)
    return _finished(work)


def _prepare(run: Run, extractor: Any) -> Prepared:
    request = run.request
    names = request.names or [path.name for path in request.clips]
    return prepare.prepare(
        request.clips,
        names,
        request.lang,
        request.transcripts,
        request.asr,
        run.work,
        run.stage,
        extractor.align,
    )


def _extract(run: Run, extractor: dataset.Extractor, prepared: Prepared) -> list[dataset.Example]:
    """The examples of all pieces; those that the base cannot hear are left out, and said in the report."""
    readers = [
        (piece.name, piece.text, piece.lang, lambda piece=piece: prepare.read_piece(run.work, piece))
        for piece in prepared.pieces
    ]
    found, left_out = dataset.extract(extractor, readers, lambda done, of: run.stage("features", done, of))
    run.report["left_out"] = left_out
    if sum(example.seconds for example in found) < prepare.LEAST_SECONDS:
        name, reason = next(iter(left_out.items()), ("", "the clips are too short"))
        raise UsageError(
            f"too little can be learned from: {reason} (piece {name})",
            hint="check that each text is what its clip says",
        )
    return found


def _fit_voice(run: Run, base: voicefile.Bundle, part: Mapping[str, Tensor] | None, examples) -> Fit:  # type: ignore[no-untyped-def]
    split = dataset.split(examples, cut_tails=True)
    run.report["held_out"] = {"method": split.method, "examples": len(split.held_out)}
    objective = run.family.voice_objective(
        base, part, split.train, split.held_out, run.request.only, run.request.seed
    )
    return _fit(run, objective, "sovits", run.family.lead_in(part), VOICE_SHARE, 1.0)


def _fit_gpt(run: Run, base: voicefile.Bundle, examples: Sequence[dataset.Example]) -> Fit:
    split = dataset.split(examples, cut_tails=False)
    objective = run.family.gpt_objective(
        base, split.train, split.held_out, run.request.only, run.request.seed
    )
    share = 1.0 if run.request.kind == "tune" else 1.0 - VOICE_SHARE
    return _fit(run, objective, "gpt", 0, share, GPT_EPOCHS)


def _fit(run: Run, objective: Objective, folder: str, lead_in: int, share: float, epochs: float) -> Fit:
    request = run.request
    minutes = request.minutes or (None if request.epochs else DEFAULT_MINUTES[request.kind])
    # A look at held-out data about once an epoch, and never so often that looking is the main work.
    every = min(max(objective.epoch_steps(), 10), 100)
    plan = Plan(
        steps=request.steps,
        minutes=None if minutes is None else minutes * share,
        epochs=None if request.epochs is None else ceil(request.epochs * epochs),
        check_every=every,
        # While only what training itself needs is learned, the voice cannot get better.
        patience=PATIENCE[folder] + ceil(lead_in / every),
        seed=request.seed,
    )
    done = fit(objective, plan, run.work / folder, run.tell, run.stop)
    if done.stopped == "asked":
        raise TrainingStoppedError
    return done


def _stored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as a release stores them, so that what is judged is what is shipped."""
    return {name: tensor.detach().to("cpu", torch.float16) for name, tensor in weights.items()}


def _write(
    out: Path,
    base: voicefile.Bundle,
    weights: Mapping[str, Mapping[str, Tensor]],
    references: Any,
    words: str,
) -> None:
    # One that a session left that was killed before its report is written again, from the same weights.
    shutil.rmtree(out, ignore_errors=True)
    bundle.write(out, base, weights["sovits"], weights["gpt"], references)
    if words:
        (out / pronunciation.VOICE_NAME).write_text(words, encoding="utf-8")


def _report(  # type: ignore[no-untyped-def]
    run: Run,
    base: voicefile.Bundle,
    weights,
    prepared: Prepared,
    examples,
    fits: Mapping[str, Fit],
    whole: bool,
) -> dict[str, Any]:
    request = run.request
    stored = {"sovits": base.sovits, "gpt": base.gpt}
    changes = {name: bundle.changes(stored[name], weights[name]) for name in stored}
    changed = [name for change in changes.values() for name in change.pop("changed")]
    total = sum(change["bytes"] for change in changes.values())
    same = sum(change["same_bytes"] for change in changes.values())
    return {
        "kind": request.kind,
        "lang": request.lang,
        "only": request.only,
        "seed": request.seed,
        "family": base.voice.version,
        "training_part": whole,
        "without_training_part": "" if whole or request.kind == "tune" else run.family.without_part,
        "clips": prepare.clip_rows(prepared),
        "notes": list(prepared.notes),
        "data": {
            "clips": sum(clip.used_seconds > 0 for clip in prepared.clips),
            "seconds": round(prepared.seconds, 1),
            "examples": len(examples),
            "heard": sum(piece.heard for piece in prepared.pieces),
        },
        **run.report,
        "stages": {name: _stage(run.work / name, done) for name, done in fits.items()},
        "identical": {"share": round(same / total, 4), "files": changes},
        "layers": bundle.layers(changed),
        "steps": sum(done.steps for done in fits.values()),
        "seconds": round(sum(done.seconds for done in fits.values()), 1),
    }


def _stage(folder: Path, done: Fit) -> dict[str, Any]:
    lines = (folder / "losses.jsonl").read_text("utf-8").splitlines()
    every = max(1, ceil(len(lines) / CURVE_POINTS))
    shown = [json.loads(line) for i, line in enumerate(lines) if i % every == 0 or '"held_out"' in line]
    numbers = {name: round(value, 4) for name, value in asdict(done).items() if isinstance(value, float)}
    return {"steps": done.steps, "stopped": done.stopped, **numbers, "curve": shown}


def _training_part(base: Path) -> dict[str, Tensor] | None:
    """The training part of a base, if it brings one. Raises BadCheckpointError for a broken one."""
    path = base / TRAINING_NAME
    if not path.is_file():
        return None
    file = MappedFile(path)
    return map_tensors(file, file_header(file))


def _remember(request: TrainRequest, work: Path) -> None:
    """Write down what this folder is for; raise ConflictError when it is for something else."""
    asked = {
        "name": request.name, "lang": request.lang, "kind": request.kind, "only": request.only,
        "seed": request.seed, "clips": len(request.clips), "base": _digest(request.base),
    }  # fmt: skip
    path = work / REQUEST_NAME
    if path.is_file():
        before = json.loads(path.read_text("utf-8"))
        other = [key for key, value in asked.items() if before.get(key) != value]
        if other:
            raise ConflictError(
                f"this folder holds a training with another {other[0]}",
                hint="give the training another name, or remove the old one",
            )
        return
    write_json(path, asked)


def _digest(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / voicefile.VOICE_NAME).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise NotFoundError("there is no such base", hint="p2pvoice list") from error


def _finished(work: Path) -> Trained:
    report = json.loads((work / REPORT_NAME).read_text("utf-8"))
    return Trained(work / BUNDLE_NAME, report, report["seconds"], report["steps"], report["layers"])
