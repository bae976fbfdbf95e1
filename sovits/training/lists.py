"""What the clips say: transcripts as GPT-SoVITS's list files have them, or the plain text of a single clip.

A list has one clip a line, ``path|speaker|language|text``. Its paths are another machine's and are never
opened: a line belongs to the clip of the same file name. Not for recordings without a transcript (see
transcripts). Follows specs/training-data.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from p2pvoice.protocol.errors import NotFoundError, UsageError

LIST_BYTES_LIMIT: Final = 8 << 20
"""Bytes of a list; ten thousand lines of a long sentence each take 3 MB."""
LINES_LIMIT: Final = 20_000
"""Lines of a list: a hundred hours of clips."""
TEXT_LIMIT: Final = 2_000
"""Characters of one clip's transcript; a minute of fast speech has about 1,100 letters."""
PLAIN_LIMIT: Final = 60_000
"""Characters of a plain transcript: half an hour of fast speech and some room."""
FIELDS: Final = 4

LANGUAGE_NAMES: Final = {
    name: lang
    for lang, names in {
        "zh": ("zh", "ZH", "zh_CN", "all_zh"),
        "en": ("en", "En", "EN"),
        "yue": ("yue", "Yue", "YUE", "all_yue"),
        "ja": ("ja", "JA", "jp", "JP", "all_ja"),
        "ko": ("ko", "Ko", "KO", "all_ko"),
    }.items()
    for name in names
}
"""Languages by the names that lists give them."""
TRAINED_LANGUAGES: Final = ("yue", "zh", "en")
"""Those of them that a voice can be trained in."""

_SEPARATORS = re.compile(r"[/\\]")


@dataclass(frozen=True)
class Entry:
    """One line of a list: which clip (the last part of its path), its language and its text, maybe empty."""

    line: int
    name: str
    lang: str
    text: str


@dataclass(frozen=True)
class Matched:
    """Which entry belongs to which clip, and what is left over."""

    entries: tuple[Entry | None, ...]
    """The entry of each clip, in the order of the clips."""
    unused: tuple[Entry, ...]
    """Entries without a clip."""


def read(path: Path) -> str:
    """The text of a list or transcript file. Raises NotFoundError or UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(LIST_BYTES_LIMIT + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(
            f"there is no transcript file {path.name!a}", hint="check the path after --transcripts"
        ) from error
    if len(data) > LIST_BYTES_LIMIT:
        raise UsageError(f"the transcripts have more than {LIST_BYTES_LIMIT >> 20} MB", hint="split the list")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"line {line} of the transcripts is not UTF-8", hint="save the file as UTF-8 text"
        ) from error


def is_list(text: str) -> bool:
    """Whether ``text`` is a list: some line of it has fields."""
    return any("|" in line for line in text.splitlines())


def parse(text: str) -> list[Entry]:
    """The entries of a list, in its order; blank lines are passed over.

    Raises UsageError that names the line for a wrong number of fields, an unknown or untrained language, a
    text that is too long or unprintable, and a clip that is named twice.
    """
    lines = text.splitlines()
    if len(lines) > LINES_LIMIT:
        raise UsageError(f"the list has {len(lines)} lines, more than {LINES_LIMIT}", hint="split the list")
    entries: list[Entry] = []
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        entry = _entry(number, line)
        if entry.name in first:
            raise _bad(number, f"names {entry.name[:80]!a} again, as line {first[entry.name]}", "remove one")
        first[entry.name] = number
        entries.append(entry)
    if not entries:
        raise UsageError("the list is empty", hint="one clip a line: PATH|SPEAKER|LANGUAGE|TEXT")
    return entries


def _entry(number: int, line: str) -> Entry:
    fields = line.split("|")
    if len(fields) != FIELDS:
        raise _bad(number, f"has {len(fields)} fields, not {FIELDS}", "write PATH|SPEAKER|LANGUAGE|TEXT")
    path, _, language, said = (field.strip() for field in fields)
    name = file_name(path)
    if not name:
        raise _bad(number, "names no clip", "write PATH|SPEAKER|LANGUAGE|TEXT")
    lang = LANGUAGE_NAMES.get(language)
    if lang is None:
        raise _bad(number, f"has the unknown language {language[:20]!a}", "languages: YUE ZH EN")
    if lang not in TRAINED_LANGUAGES:
        raise _bad(number, f"is in {lang}, which cannot be trained yet", "languages: YUE ZH EN")
    return Entry(number, name, lang, clean(said, f"line {number} of the transcripts"))


def clean(text: str, where: str, limit: int = TEXT_LIMIT) -> str:
    """A transcript on one line. Raises UsageError when it is too long or has control characters."""
    text = " ".join(text.split())
    if len(text) > limit:
        raise UsageError(
            f"{where} has a text of {len(text)} characters, more than {limit}", hint="cut the clip in two"
        )
    if not text.isprintable():
        raise UsageError(f"{where} has control characters", hint="write it again as plain text")
    return text


def file_name(path: str) -> str:
    """The last part of a path of any system."""
    return _SEPARATORS.split(path)[-1]


def match(entries: Sequence[Entry], clips: Sequence[str]) -> Matched:
    """Give each clip the entry of its name; failing that, the only one that differs in case or ending.

    Raises UsageError when no clip is in the list at all.
    """
    found: list[Entry | None] = []
    exact = {entry.name: entry for entry in entries}
    loose: dict[str, list[Entry]] = {}
    for entry in entries:
        loose.setdefault(_loose(entry.name), []).append(entry)
    taken = {exact[name].line for name in map(file_name, clips) if name in exact}
    for clip in clips:
        name = file_name(clip)
        entry = exact.get(name)
        if entry is None:
            alike = [e for e in loose.get(_loose(name), ()) if e.line not in taken]
            entry = alike[0] if len(alike) == 1 else None
            if entry is not None:
                taken.add(entry.line)
        found.append(entry)
    if entries and not any(found):
        raise UsageError(
            f"the list names none of the clips: it has {entries[0].name[:60]!a}, "
            f"the first clip is {file_name(clips[0])[:60]!a}",
            hint="the file names in the list must be those of the clips",
        )
    used = {entry.line for entry in found if entry is not None}
    return Matched(tuple(found), tuple(entry for entry in entries if entry.line not in used))


def plain(text: str, lang: str) -> Entry:
    """A plain transcript as the entry of the only clip."""
    return Entry(1, "", lang, clean(text, "the transcript", PLAIN_LIMIT))


def transcripts(path: Path, clips: Sequence[str], lang: str) -> Matched:
    """What a transcript file says of the clips of these names.

    A file with fields is a list; any other is the text of the only clip. Raises UsageError or NotFoundError.
    """
    text = read(path)
    if is_list(text):
        return match(parse(text), clips)
    if len(clips) != 1:
        raise UsageError(
            f"a plain text cannot say which of {len(clips)} clips says what",
            hint="write a list, one clip a line: PATH|SPEAKER|LANGUAGE|TEXT",
        )
    return Matched((plain(text, lang),), ())


def _loose(name: str) -> str:
    return name.rpartition(".")[0].casefold() or name.casefold()


def _bad(number: int, reason: str, hint: str) -> UsageError:
    return UsageError(f"line {number} of the transcripts {reason}", hint=hint)
