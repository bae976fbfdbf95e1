"""The trainings of one home: a folder each, with a record of what was asked for and how far it has come.

A folder holds the clips as they were sent, their transcripts, the base as hard links, and whatever the worker
writes there (features, checkpoints, the finished bundle). Nothing in it ever leaves the machine by itself,
and it stays until it is removed. Not for running a training: see training.py. Follows specs/trainings.md.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from p2pvoice.protocol.errors import ConflictError, DiskFullError, NotFoundError, UsageError
from p2pvoice.protocol.ids import check_slug, slugify

#: Trainings kept in one home.
TRAININGS_LIMIT = 64

#: Clips of one training.
CLIPS_LIMIT = 500

#: Bytes of one clip: an hour of stereo at 48 kHz.
CLIP_BYTES = 768 << 20

#: Bytes of all clips of one training.
CLIPS_BYTES = 4 << 30

#: Bytes of a list of transcripts.
TRANSCRIPTS_BYTES = 4 << 20

#: Characters of a clip's file name.
CLIP_NAME_LIMIT = 200

#: Endings of audio files that are taken as clips; the reader knows them by their content.
CLIP_ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")

#: Largest record of a training, in bytes.
RECORD_LIMIT = 1 << 20

#: Free bytes wanted per byte of clips (slices, resampled copies) before a training starts.
ROOM_PER_CLIP_BYTE = 3

#: Free bytes wanted per byte of the base. Networks and critics with two moments each are kept in float32
#: where the base has float16, and a checkpoint is written beside the one it replaces.
ROOM_PER_BASE_BYTE = 24

#: Free bytes wanted whatever the sizes.
ROOM = 64 << 20

#: Bytes that the packaged voice counts as, when it is the base.
PACKAGED_BYTES = 32 << 20

RECORD = "training.json"

State = Literal["running", "stopped", "failed", "done"]


class Clip(msgspec.Struct, frozen=True):
    """One clip: the name it came with and its bytes."""

    name: str
    size: int


class Training(msgspec.Struct, frozen=True):
    """What was asked for, and what became of it."""

    slug: str
    name: str
    kind: Literal["train", "tune", "distil"]
    lang: str
    clips: tuple[Clip, ...]
    transcripts: bool
    #: What the caller named as base, or as the voice to distil; empty for the packaged voice.
    base: str
    #: Release id of the base; empty when it is no release.
    base_id: str
    #: Releases that the result comes from, as (release, kind of parent).
    parents: tuple[tuple[str, str], ...]
    #: Name of the installed recogniser that writes transcripts and judges; may be empty.
    asr: str
    epochs: int | None
    minutes: float | None
    only: str
    seed: int
    declaration: str
    created: int
    state: State = "running"
    #: The last progress the worker told of.
    progress: dict[str, Any] = {}
    draft: str = ""
    report: dict[str, Any] = {}
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Work:
    """Where the parts of one training lie."""

    folder: Path

    @property
    def clips(self) -> Path:
        return self.folder / "clips"

    @property
    def transcripts(self) -> Path:
        return self.folder / "transcripts.list"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def work(self) -> Path:
        """What the worker may fill as it likes."""
        return self.folder / "work"

    @property
    def packaged(self) -> Path:
        """The voice that comes with the package, which the worker unpacks as base where none was named."""
        return self.work / "packaged"


class Trainings:
    """The work folders of one home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clean(self) -> None:
        """As at the daemon's start: remove half-made folders, and call what was running stopped."""
        for path in self._folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)
        for training in self.all():
            if training.state == "running":
                self.write(msgspec.structs.replace(training, state="stopped"))

    def work(self, slug: str) -> Work:
        """The folder of a training, there or not."""
        return Work(self._folder / check_slug(slug))

    def begin(
        self,
        training: Training,
        clips: Mapping[str, Path],
        transcripts: Path | None,
        base: Mapping[str, Path],
    ) -> None:
        """Make a training's folder: clips and transcripts are moved there, the base's files are linked.

        ``clips`` and ``base`` are names within a folder and the files behind them. Nothing stays when this
        fails. Raises ConflictError when the name is taken or there are too many, DiskFullError.
        """
        self._forget_failure(training.slug)
        if (self._folder / training.slug).exists():
            raise ConflictError(
                f"there is a training {training.slug} already",
                hint=f"p2pvoice train --resume {training.slug}, or p2pvoice trainings rm {training.slug}",
            )
        if len(self.all()) >= TRAININGS_LIMIT:
            raise ConflictError(f"{TRAININGS_LIMIT} trainings are kept already", hint="p2pvoice trainings")
        self.require_room(
            sum(path.stat().st_size for path in clips.values()),
            sum(path.stat().st_size for path in base.values()) or PACKAGED_BYTES,
        )
        growing = self._folder / f".{training.slug}.new"
        shutil.rmtree(growing, ignore_errors=True)
        made = Work(growing)
        try:
            for folder in (growing, made.clips, made.work):
                folder.mkdir(mode=0o700)
            for name, path in base.items():
                (made.base / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _link(path, made.base / name)
            if transcripts is not None:
                transcripts.rename(made.transcripts)
            for name, path in clips.items():
                path.rename(made.clips / name)
            _write_record(growing, training)
            growing.rename(self._folder / training.slug)
        except BaseException:
            shutil.rmtree(growing, ignore_errors=True)
            raise

    def _forget_failure(self, slug: str) -> None:
        """Make room for a second try: a training that failed before its first step holds nothing to keep."""
        for training in self.all():
            if training.slug == slug and training.state == "failed" and not training.progress.get("step"):
                self.remove(slug)

    def require_room(self, clips: int, base: int) -> None:
        """DiskFullError unless a training on so many bytes of clips and base will find room."""
        wanted = ROOM + clips * ROOM_PER_CLIP_BYTE + base * ROOM_PER_BASE_BYTE
        free = shutil.disk_usage(self._folder).free
        if free < wanted:
            raise DiskFullError(
                f"a training on these clips needs about {_megabytes(wanted)} MB, "
                f"{_megabytes(free)} MB are free",
                hint="free some space: p2pvoice trainings lists what older trainings take",
            )

    def write(self, training: Training) -> None:
        """Keep a training's record; the old one stays until the new one is whole."""
        _write_record(self._folder / training.slug, training)

    def get(self, name: str) -> Training:
        """A training by its slug or its display name; NotFoundError when there is none."""
        for training in self.all():
            if name in (training.slug, training.name):
                return training
        raise NotFoundError(f"there is no training {name[:80]!r}", hint="p2pvoice trainings")

    def all(self) -> list[Training]:
        """Every training, in the order of their slugs; a folder without a readable record is none."""
        found = []
        for folder in sorted(self._folder.iterdir()):
            path = folder / RECORD
            if folder.name.startswith(".") or not path.is_file() or path.stat().st_size > RECORD_LIMIT:
                continue
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Training))
            except msgspec.MsgspecError:
                continue
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Every training as the RPC shows it."""
        return [row(training) | {"bytes": self.size(training.slug)} for training in self.all()]

    def size(self, slug: str) -> int:
        """Bytes of a training's folder; the base's hard links take none."""
        work = self.work(slug)
        return sum(
            path.lstat().st_size
            for path in work.folder.rglob("*")
            if path.is_file() and work.base not in path.parents
        )

    def remove(self, slug: str) -> int:
        """Delete a training with its clips and checkpoints; returns the bytes that are free again."""
        freed = self.size(slug)
        gone = self._folder / f".{slug}.old"
        shutil.rmtree(gone, ignore_errors=True)
        self.work(slug).folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return freed


def row(training: Training) -> dict[str, Any]:
    """A training as the RPC shows it, without its report."""
    shown = msgspec.to_builtins(training)
    return {
        **{key: value for key, value in shown.items() if key not in ("clips", "report", "parents")},
        "training": training.slug,
        "clips": len(training.clips),
    }


def check_clip_name(name: str) -> str:
    """A clip's plain file name, as it may stand in a folder of ours; UsageError for anything else."""
    plain = name.replace("\\", "/").rsplit("/", 1)[-1]
    if (
        plain != name
        or not 1 <= len(name) <= CLIP_NAME_LIMIT
        or len(os.fsencode(name)) > 255
        or name.startswith(".")
        or not name.isprintable()
    ):
        raise UsageError(f"{name[:60]!r} is no plain file name of a clip")
    if not name.lower().endswith(CLIP_ENDINGS):
        raise UsageError(f"{name[:60]!r} is no audio file", hint="audio files: " + " ".join(CLIP_ENDINGS))
    return name


def check_clips(sizes: Sequence[tuple[str, int]]) -> None:
    """UsageError unless a training may have these clips: their number, names, and bytes, one and all."""
    if len(sizes) > CLIPS_LIMIT:
        raise UsageError(
            f"{len(sizes)} clips; a training takes at most {CLIPS_LIMIT}", hint="join short ones"
        )
    seen: set[str] = set()
    for name, size in sizes:
        check_clip_name(name)
        if name in seen:
            raise UsageError(f"two clips are called {name!r}", hint="rename one of them")
        seen.add(name)
        if size > CLIP_BYTES:
            raise UsageError(f"{name} has {size} bytes; a clip has at most {CLIP_BYTES}")
    if sum(size for _, size in sizes) > CLIPS_BYTES:
        raise UsageError(f"the clips have more than {CLIPS_BYTES} bytes together")


def new_training(name: str, **asked: Any) -> Training:
    """A training that was just asked for; UsageError for a name that is none."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 80:
        raise UsageError("a voice's name has 1 to 80 characters")
    return Training(slug=slugify(name), name=name, created=int(time.time()), **asked)


def _write_record(folder: Path, training: Training) -> None:
    growing = folder / (RECORD + ".part")
    with growing.open("wb") as file:
        file.write(msgspec.json.encode(training))
        file.flush()
        os.fsync(file.fileno())
    growing.replace(folder / RECORD)


def _link(source: Path, place: Path) -> None:
    """A second name for a file of the store, so that removing the voice does not take the base away."""
    try:
        os.link(source.resolve(), place)
    except OSError:
        shutil.copyfile(source, place)


def _megabytes(count: int) -> int:
    return max(1, round(count / 1e6))
