"""Which recordings a command means, and what is said in them: files and folders on the command line.

A folder stands for the audio files in it. Transcripts come from a list in GPT-SoVITS's form, from one text
for one clip, or from text files of the clips' own names beside them. Nothing is decoded here: what a file
sounds like is the daemon's to find out. Follows specs/cli.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pvoice.protocol.errors import UsageError

ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
"""What is taken for an audio file in a folder."""

TEXT_ENDINGS = (".txt", ".lab")
"""A transcript beside a clip has the clip's name with one of these."""

TEXT_LIMIT = 64 * 1024
"""Bytes of one transcript beside a clip."""

CLIPS_LIMIT = 500
"""Clips of one training; the daemon says the same."""


@dataclass(frozen=True)
class Clips:
    """Recordings, and the text to send as their transcripts: a list, a plain text, or nothing."""

    paths: tuple[Path, ...]
    transcripts: str | None


def gather(named: Sequence[Path], *, lang: str, listed: Path | None = None, text: str | None = None) -> Clips:
    """The recordings among files and folders, with their transcripts.

    Raises UsageError when there are none, when two have one name, or when a text cannot belong to them.
    """
    paths = list(_expand(named))
    if not paths:
        raise UsageError("there is no recording in what was named", hint="audio files: " + " ".join(ENDINGS))
    if len(paths) > CLIPS_LIMIT:
        raise UsageError(f"{len(paths)} recordings; at most {CLIPS_LIMIT} are taken", hint="join short ones")
    names = [path.name for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two recordings are called {name}", hint="rename one of them")
    if text is not None and listed is not None:
        raise UsageError("--text and --transcripts say the same thing twice", hint="leave one of them out")
    if text is not None:
        if len(paths) != 1:
            raise UsageError(
                f"--text is for a single recording, here are {len(paths)}",
                hint="--transcripts LIST, or a .txt of the same name beside each recording",
            )
        return Clips(tuple(paths), _plain(text))
    if listed is not None:
        return Clips(tuple(paths), read_text(listed, limit=4 << 20))
    return Clips(tuple(paths), _beside(paths, lang))


def _expand(named: Iterable[Path]) -> Iterable[Path]:
    for path in named:
        if path.is_dir():
            yield from sorted(one for one in path.iterdir() if one.suffix.lower() in ENDINGS)
        else:
            yield path


def _beside(paths: Sequence[Path], lang: str) -> str | None:
    """The list made of text files beside the recordings; None when there are none at all."""
    said = {path.name: _said(path) for path in paths}
    if len(paths) == 1:
        return said[paths[0].name]
    rows = [f"{name}|speaker|{lang.upper()}|{text}" for name, text in said.items() if text]
    return "\n".join(rows) + "\n" if rows else None


def _said(path: Path) -> str | None:
    for ending in TEXT_ENDINGS:
        beside = path.with_suffix(ending)
        if beside.is_file():
            return _plain(read_text(beside, limit=TEXT_LIMIT))
    return None


def _plain(text: str) -> str:
    """A transcript on one line; a bar would end it in a list."""
    return " ".join(text.replace("|", " ").split())


def read_text(path: Path, *, limit: int) -> str:
    """A text file within a limit; UsageError when it is none."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", hint="save it as UTF-8 text") from error
