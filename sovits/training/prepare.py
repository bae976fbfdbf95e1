"""From recordings and transcripts to pieces that can be learned from, with a word on everything left out.

Reads, judges, cuts and gives each piece its text; writes the pieces and what was found into the work folder,
after which the recordings are not needed any more. Not for features (see dataset). Follows
specs/training-data.md.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile

from p2pvoice.protocol.errors import CorruptError, UsageError
from p2pvoice.sovits.audio import Samples

from . import assigning, clips, lists, slicing, transcripts
from .clips import Fault, Recording
from .slicing import Stretch

PREPARED_NAME, PIECES_FOLDER = "prepared.json", "pieces"
PREPARED_LIMIT: Final = 64 << 20
"""Bytes of ``prepared.json``."""
WHOLE_SECONDS: Final = 12.0
"""A clip up to this length is one piece; a longer one is cut where its text can be divided."""
UNCUT_SECONDS: Final = 54.0
"""A clip up to this length is learned from whole when its text cannot be divided."""
LEAST_SECONDS: Final = 10.0
"""Seconds of usable speech without which no voice is trained."""
PIECE_SECONDS_MIN: Final = 1.0
"""A shorter piece is passed over."""

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Piece:
    """A stretch of one clip with its text; the sound lies in ``file`` of the pieces' folder."""

    name: str
    clip: int
    start: float
    end: float
    text: str
    lang: str
    file: str
    heard: bool = False
    """Whether the text was heard by a recogniser, not given."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class ClipReport:
    """What became of one clip."""

    name: str
    seconds: float
    used_seconds: float
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Prepared:
    """All pieces, in the order of clips and time, and what was found."""

    pieces: tuple[Piece, ...]
    clips: tuple[ClipReport, ...]
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return sum(piece.seconds for piece in self.pieces)


@dataclass
class _Work:
    """One preparation under way."""

    folder: Path
    lang: str
    ear: transcripts.Hearing | None
    align: Callable[[Samples, int, str, str], list[assigning.Said] | None]
    pieces: list[Piece] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(
    sources: Sequence[Path],
    names: Sequence[str],
    lang: str,
    listed: Path | None,
    recogniser: Path | None,
    folder: Path,
    tell: Tell,
    align: Callable[[Samples, int, str, str], list[assigning.Said] | None] = assigning.assign,
) -> Prepared:
    """Prepare clips, once: a folder that is prepared already is read back.

    ``names`` are the clips' own file names, which the list of transcripts knows; ``align`` divides a long
    text over a long recording. Raises UsageError when nothing, or too little, can be learned from, or the
    list is wrong; the faults of every clip are in ``prepared.json`` even then.
    """
    if (folder / PREPARED_NAME).is_file():
        prepared = read_prepared(folder)
    else:
        prepared = _prepare(sources, names, lang, listed, recogniser, folder, tell, align)
        write_prepared(folder, prepared)
    if prepared.seconds < LEAST_SECONDS:
        raise _too_little(prepared)
    return prepared


def _prepare(sources, names, lang, listed, recogniser, folder, tell, align) -> Prepared:  # type: ignore[no-untyped-def]
    if not 0 < len(sources) <= clips.CLIPS_LIMIT:
        raise UsageError(f"{len(sources)} clips: give 1 to {clips.CLIPS_LIMIT}", hint="p2pvoice train CLIP…")
    matched = lists.transcripts(listed, names, lang) if listed is not None else None
    ear = transcripts.recogniser(recogniser) if recogniser is not None else None
    work = _Work(folder, lang, ear, align)
    if matched is not None and matched.unused:
        few = ", ".join(ascii(entry.name[:40]) for entry in matched.unused[:3])
        work.notes.append(f"{len(matched.unused)} lines of the list have no clip: {few}")
    (folder / PIECES_FOLDER).mkdir(parents=True, exist_ok=True)
    recordings, reports, total = [], [], 0.0
    for index, (source, name) in enumerate(zip(sources, names, strict=True)):
        tell("read", index, len(sources))
        recording = clips.read(source, lists.file_name(name))
        if isinstance(recording, Recording):
            total += recording.seconds
            if total > clips.TOTAL_SECONDS_LIMIT:
                raise UsageError(
                    f"the clips last more than {clips.TOTAL_SECONDS_LIMIT / 60:.0f} minutes together",
                    hint="train on fewer of them: ten good minutes are plenty",
                )
        recordings.append(recording)
    copies = clips.duplicates(
        [
            r if isinstance(r, Recording) else Recording("", np.zeros(0, np.float32), 16_000, 16_000)
            for r in recordings
        ]
    )
    for index, recording in enumerate(recordings):
        tell("check", index, len(recordings))
        entry = matched.entries[index] if matched is not None else None
        if isinstance(recording, Fault):
            reports.append(ClipReport(lists.file_name(names[index]), 0.0, 0.0, (recording,)))
            continue
        found = [copies[index]] if index in copies else clips.faults(recording)
        if ear is not None and not any(fault.refuses for fault in found):
            other = transcripts.other_language(ear, recording.samples, recording.rate, lang)
            found += [] if other is None else [other]
        before = len(work.pieces)
        if not any(fault.refuses for fault in found):
            found += _cut(work, index, recording, entry)
        used = sum(piece.seconds for piece in work.pieces[before:])
        reports.append(ClipReport(recording.name, recording.seconds, used, tuple(found)))
    return Prepared(tuple(work.pieces), tuple(reports), tuple(work.notes))


def _cut(work: _Work, index: int, clip: Recording, entry: lists.Entry | None) -> list[Fault]:
    """Add the pieces of one clip that can be learned from; return what is wrong with the others."""
    lang = entry.lang if entry is not None else work.lang
    if entry is not None and lang != work.lang:
        message = f"line {entry.line} of the list says {lang}, the training is for {work.lang}"
        return [Fault("wrong_language", True, message, f"train with --lang {lang}, or leave it out")]
    said, heard = entry.text if entry is not None else "", False
    if said:
        divided, faults = _divide(work, clip, said, lang)
    elif work.ear is not None:
        stretches = slicing.cut(clip.samples, clip.rate)
        sounds = [(clip.samples[s.start : s.end], clip.rate) for s in stretches]
        texts = transcripts.hear(work.ear, sounds, lang)
        divided = [assigning.Said(s, t) for s, t in zip(stretches, texts, strict=True)]
        faults, heard = [], True
    else:
        return clips.text_faults("", lang, clip.samples, clip.rate)
    for number, part in enumerate(divided):
        faults += _add(work, index, clip, part, lang, number if len(divided) > 1 else None, heard)
    return faults


def _divide(work: _Work, clip: Recording, said: str, lang: str) -> tuple[list[assigning.Said], list[Fault]]:
    """The parts of a clip whose text is known."""
    whole = assigning.Said(_trimmed(clip), said)
    if clip.seconds <= WHOLE_SECONDS:
        return [whole], []
    # A text that cannot be this clip's at all is better told as such.
    wrong = clips.text_faults(said, lang, clip.samples, clip.rate)
    if wrong:
        return [], wrong
    parts = work.align(clip.samples, clip.rate, said, lang)
    if parts is not None:
        return parts, []
    hint = "cut it at pauses into clips of 3 to 10 s, and list them one a line: PATH|SPEAKER|LANGUAGE|TEXT"
    message = f"its {clip.seconds:.0f} s could not be cut so that each part has its own text"
    if clip.seconds <= UNCUT_SECONDS and len(said) <= lists.TEXT_LIMIT:
        return [whole], [Fault("unmatched_text", False, message + "; it is learned from whole", hint)]
    return [], [Fault("unmatched_text", True, message, hint)]


def _trimmed(clip: Recording) -> Stretch:
    """All of a clip but for silence at its ends beyond what a piece keeps."""
    pieces = slicing.cut(clip.samples, clip.rate, round(clip.seconds * 1000) + 1)
    return pieces[0] if pieces else Stretch(0, len(clip.samples))


def _add(
    work: _Work, index: int, clip: Recording, part: assigning.Said, lang: str, number: int | None, heard: bool
) -> list[Fault]:
    samples = clip.samples[part.stretch.start : part.stretch.end]
    start, end = part.stretch.start / clip.rate, part.stretch.end / clip.rate
    where = "" if number is None else f"{start:.1f}-{end:.1f} s"
    if end - start < PIECE_SECONDS_MIN:
        return []
    faults = clips.text_faults(part.text, lang, samples, clip.rate)
    if end - start > UNCUT_SECONDS:
        message = f"{end - start:.0f} s without a pause are too long"
        faults.append(Fault("too_long", True, message, "cut it into sentences"))
    if not faults and work.ear is not None and not heard:
        said = transcripts.hear(work.ear, [(samples, clip.rate)], lang)[0]
        other = transcripts.other_text(part.text, said, lang)
        faults += [] if other is None else [other]
    if any(fault.refuses for fault in faults):
        return clips.of_piece(faults, where)
    name = f"{index:04d}" if number is None else f"{index:04d}-{number:03d}"
    file = f"{name}.wav"
    soundfile.write(work.folder / PIECES_FOLDER / file, np.clip(samples, -1, 1), clip.rate, subtype="PCM_16")
    work.pieces.append(Piece(name, index, start, end, part.text, lang, file, heard))
    return clips.of_piece(faults, where)


def read_piece(folder: Path, piece: Piece) -> tuple[Samples, int]:
    """The sound of a piece."""
    samples, rate = soundfile.read(folder / PIECES_FOLDER / piece.file, dtype="float32")
    return samples, rate


def read_prepared(folder: Path) -> Prepared:
    """What an earlier call wrote. Raises CorruptError when it is no longer readable."""
    path = folder / PREPARED_NAME
    try:
        if path.stat().st_size > PREPARED_LIMIT:
            raise ValueError("it is too large")
        kept = json.loads(path.read_text("utf-8"))
        return Prepared(
            tuple(Piece(**piece) for piece in kept["pieces"]),
            tuple(
                ClipReport(c["name"], c["seconds"], c["used_seconds"], tuple(Fault(**f) for f in c["faults"]))
                for c in kept["clips"]
            ),
            tuple(kept["notes"]),
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CorruptError(
            f"{path} cannot be read: {error}", hint=f"rm -r {folder}, and train again"
        ) from error


def write_prepared(folder: Path, prepared: Prepared) -> None:
    """Say that the pieces are all there."""
    write_json(folder / PREPARED_NAME, _as_json(prepared))


def clip_rows(prepared: Prepared) -> list[dict[str, Any]]:
    """What became of every clip, for a report."""
    return _as_json(prepared)["clips"]


def _as_json(prepared: Prepared) -> dict[str, Any]:
    return {
        "pieces": [asdict(piece) for piece in prepared.pieces],
        "clips": [
            {
                "name": clip.name,
                "seconds": round(clip.seconds, 2),
                "used_seconds": round(clip.used_seconds, 2),
                "faults": [asdict(fault) for fault in clip.faults],
            }
            for clip in prepared.clips
        ],
        "notes": list(prepared.notes),
    }


def write_json(path: Path, value: Any) -> None:
    """Write a small file whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _too_little(prepared: Prepared) -> UsageError:
    refused = [(clip, next((f for f in clip.faults if f.refuses), None)) for clip in prepared.clips]
    told = [f"{clip.name[:40]}: {fault.message}" for clip, fault in refused if fault is not None]
    hints = [fault.hint for _, fault in refused if fault is not None]
    message = f"only {prepared.seconds:.1f} s can be learned from, {LEAST_SECONDS:.0f} are the least"
    if told:
        message += "; " + "; ".join(told[:3]) + (f"; and {len(told) - 3} more" if len(told) > 3 else "")
    return UsageError(message, hint=hints[0] if hints else "record about a minute of clean speech")
