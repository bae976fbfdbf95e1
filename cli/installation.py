"""What lies in a folder of GPT-SoVITS: weight files in pairs, what was recorded, and the bases.

For ``import --from-gpt-sovits``. Names, lists and the first bytes of files are looked at, nothing more: what
a weight file really is, the daemon finds out when it gets it. What does not follow from the folder is left
open and said, never guessed. A list's paths are believed only where they lead to a file in the folder. Not
for sending anything. Follows specs/importing.md.
"""

import os
import re
import wave
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WEIGHTS_LIMIT = 2_000
"""Weight files that are looked at."""
LIST_BYTES, LISTS_LIMIT, LINES_LIMIT = 16 << 20, 200, 20_000
"""Bytes of a list, lists, and lines of one."""
CLIPS_LIMIT = 50_000
"""Sound files that are looked at."""
CLIP_SECONDS = (3.0, 10.0)
"""Length of a reference clip, both ends included."""
BEST_SECONDS = 6.0
"""Clips nearest to this length are proposed: long enough to tell the voice, short enough to stay quick."""
REFERENCES = 3
"""Clips that are proposed for a voice."""
TEXT_LIMIT = 500
"""Characters of a transcript."""

LANGUAGES = {"zh": "zh", "en": "en", "yue": "yue", "ja": "ja", "jp": "ja", "ko": "ko"}
"""Languages of upstream's lists, in small letters -> ours; others cannot be read yet."""
EXTRA = ("ja", "ko")
"""Those of them that are read with an extra."""
LATER = ("v3", "v4")
"""Versions that are recognised and cannot be imported yet."""
HEADS = {
    b"00": "v1", b"01": "v2", b"02": "v3", b"03": "v3", b"04": "v4", b"05": "v2Pro", b"06": "v2ProPlus",
}  # fmt: skip
"""The mark over a SoVITS file's first two bytes -> its version."""
BASES = {
    "hubert": "chinese-hubert-base",
    "bert": "chinese-roberta-wwm-ext-large",
    "speaker": "sv",
}
"""Kind of a base -> its folder among the pretrained models."""
MODELS = ("GPT_SoVITS/pretrained_models", "pretrained_models", ".")
"""Where those may lie."""

_SOVITS_FOLDER = re.compile(r"SoVITS_weights(?:_(.+))?\Z")
_SOVITS = re.compile(r"(?P<name>.+?)_e(?P<epoch>\d{1,6})_s(?P<step>\d{1,9})(?P<lora>_l\d{1,4})?\Z")
_GPT = re.compile(r"(?P<name>.+?)-e(?P<epoch>\d{1,6})\Z")


@dataclass(frozen=True)
class Weights:
    """A weight file by its name: whose it is, and how far it was trained (0, 0 where that is not said)."""

    path: Path
    name: str
    trained: tuple[int, int]
    version: str
    """By mark or folder; empty when neither says it."""


@dataclass(frozen=True)
class Clip:
    """A recorded sentence."""

    path: Path
    text: str
    lang: str
    seconds: float


@dataclass
class Found:
    """A voice that lies in the folder. ``missing`` says in words what keeps it from being imported."""

    name: str
    """As the weight files have it; with the version where several versions have that name."""
    version: str
    """By mark or folder; empty when neither says it."""
    sovits: Weights
    gpt: Weights | None = None
    others: int = 0
    """Weight files of the same voice that were trained less."""
    clips: Sequence[Clip] = ()
    source: str = ""
    """The list that the clips' texts come from."""
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Installation:
    """All that was found."""

    voices: Sequence[Found]
    bases: dict[str, Path]


@dataclass(frozen=True)
class _Line:
    file: str
    folder: str
    text: str
    lang: str


def scan(root: Path) -> Installation:
    """Look through a folder of GPT-SoVITS, or one with nothing but weight files and what belongs to them."""
    voices = _voices(root)
    sounds, lists = _sounds(root), _lists(root)
    known = Counter(voice.name for voice in voices)
    for voice in voices:
        _give_clips(root, voice, sounds, lists)
        if known[voice.name] > 1 and voice.version:
            voice.name = f"{voice.name}-{voice.version}"
        if voice.version in LATER:
            voice.missing = [f"{voice.version} voices come later"]
    return Installation(voices, _bases(root))


# Weights ---------------------------------------------------------------------------------------------


def _voices(root: Path) -> list[Found]:
    found: list[Found] = []
    for folder, gpts, version in _folders(root):
        sovits = _best(_weights(folder, "*.pth", version))
        gpt = _best(_weights(gpts, "*.ckpt", version))
        alone = len(sovits) == len(gpt) == 1 and folder == gpts
        for name, (best, others) in sorted(sovits.items()):
            voice = Found(name, best.version, best, others=others)
            partner = next(iter(gpt.values())) if alone else gpt.get(name)
            if partner is None:
                voice.missing.append(f"no GPT file of the name {name} in {gpts.name}: give --gpt")
            else:
                voice.gpt, more = partner
                voice.others += more
            found.append(voice)
    return found


def _folders(root: Path) -> Iterator[tuple[Path, Path, str]]:
    """Folders of SoVITS and of GPT weights that belong together, with the version that their names say."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        named = _SOVITS_FOLDER.match(folder.name)
        if named:
            # The first folder without a version held v1 alone, later also what users put there.
            yield folder, root / folder.name.replace("SoVITS", "GPT", 1), named[1] or ""
    yield root, root, ""


def _weights(folder: Path, pattern: str, version: str) -> list[Weights]:
    if not folder.is_dir():
        return []
    form = _SOVITS if pattern == "*.pth" else _GPT
    found = []
    for path in sorted(folder.glob(pattern))[:WEIGHTS_LIMIT]:
        if not path.is_file():
            continue
        named = form.match(path.stem)
        step = named.groupdict().get("step") if named else None
        trained = (int(named["epoch"]), int(step or 0)) if named else (0, 0)
        marked = HEADS.get(_head(path)) if pattern == "*.pth" else None
        found.append(Weights(path, named["name"] if named else path.stem, trained, marked or version))
    return found


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)


def _best(weights: Sequence[Weights]) -> dict[str, tuple[Weights, int]]:
    """Of each name the file that was trained longest, and how many others there are."""
    found: dict[str, tuple[Weights, int]] = {}
    for one in sorted(weights, key=lambda w: w.trained):
        found[one.name] = (one, found[one.name][1] + 1 if one.name in found else 0)
    return found


# Clips -----------------------------------------------------------------------------------------------


def _sounds(root: Path) -> dict[str, list[Path]]:
    """The WAV files in the places where upstream keeps recordings, by their names."""
    found: dict[str, list[Path]] = {}
    count = 0
    for place in ("output", "logs", "."):
        for parent, folders, files in os.walk(root / place):
            if place == ".":
                folders.clear()
            for name in files:
                count += name.lower().endswith(".wav")
                if count > CLIPS_LIMIT:
                    return found
                if name.lower().endswith(".wav"):
                    found.setdefault(name, []).append(Path(parent, name))
    return found


def _lists(root: Path) -> dict[Path, list[_Line]]:
    places = [root, root / "output", *sorted(p for p in (root / "output").glob("*") if p.is_dir())]
    paths = [path for place in places for path in sorted(place.glob("*.list")) if path.is_file()]
    return {path: _lines(path) for path in paths[:LISTS_LIMIT]}


def _lines(path: Path) -> list[_Line]:
    if path.stat().st_size > LIST_BYTES:
        return []
    found = []
    for line in path.read_text("utf-8", errors="replace").splitlines()[:LINES_LIMIT]:
        parts = line.split("|", 3)
        if len(parts) == 4:
            *folder, file = re.split(r"[/\\]", parts[0])
            lang, said = parts[2].strip().lower(), parts[3].strip()
            found.append(_Line(file, folder[-1] if folder else "", said, lang))
    return found


def _give_clips(
    root: Path, voice: Found, sounds: dict[str, list[Path]], lists: dict[Path, list[_Line]]
) -> None:
    chosen = _list_of(root, voice.name, lists)
    if chosen is None:
        voice.missing.append("no list says what its clips say: give --ref, --ref-text and --ref-lang")
        return
    voice.source = str(chosen.relative_to(root))
    lines = lists[chosen]
    usable: list[Clip] = []
    for line in lines:
        path = _sound(root, voice.name, line, sounds)
        good = 0 < len(line.text) <= TEXT_LIMIT and line.text.isprintable()
        if path is None or not good or line.lang not in LANGUAGES:
            continue
        seconds = _seconds(path)
        if CLIP_SECONDS[0] <= seconds <= CLIP_SECONDS[1]:
            usable.append(Clip(path, line.text, LANGUAGES[line.lang], seconds))
    # A few lines in a language that needs an extra must not make the whole voice need it.
    plain = [clip for clip in usable if clip.lang not in EXTRA]
    if 2 * len(plain) >= len(usable):
        usable = plain
    voice.clips = sorted(usable, key=lambda clip: abs(clip.seconds - BEST_SECONDS))[:REFERENCES]
    if not usable:
        later = {line.lang for line in lines} - set(LANGUAGES)
        why = f" ({', '.join(sorted(later))[:40]} cannot be read yet)" if later else ""
        what = f"no clip of 3 to 10 s in {voice.source}{why}"
        voice.missing.append(f"{what}: give --ref, --ref-text and --ref-lang")


def _list_of(root: Path, name: str, lists: dict[Path, list[_Line]]) -> Path | None:
    """The list that a voice was trained from: whose clips its training has prepared, or of its name."""
    prepared = {path.name for path in (root / "logs" / name / "5-wav32k").glob("*")}
    shared = {path: len(prepared & {line.file for line in lines}) for path, lines in lists.items()}
    best = sorted(shared, key=lambda path: -shared[path])
    if best and shared[best[0]] and (len(best) == 1 or shared[best[0]] > shared[best[1]]):
        return best[0]
    named = [path for path in lists if path.stem == name]
    return named[0] if len(named) == 1 else None


def _sound(root: Path, name: str, line: _Line, sounds: dict[str, list[Path]]) -> Path | None:
    """The sound of a line: the original where it is here, else the one that training prepared."""
    inside = [path for path in sounds.get(line.file, ()) if path.resolve().is_relative_to(root.resolve())]
    prepared = root / "logs" / name / "5-wav32k" / line.file
    originals = [path for path in inside if "5-wav32k" not in path.parts]
    same = [path for path in originals if path.parent.name == line.folder] or originals
    if len(same) == 1:
        return same[0]
    return prepared if prepared in inside else None


def _seconds(path: Path) -> float:
    """Length of a WAV file; 0 for one that cannot be told."""
    try:
        with wave.open(str(path), "rb") as file:
            return file.getnframes() / (file.getframerate() or 1)
    except (OSError, EOFError, wave.Error):
        return 0.0


def _bases(root: Path) -> dict[str, Path]:
    found = {}
    for kind, name in BASES.items():
        for place in MODELS:
            folder = root / place / name
            if folder.is_dir() and any(folder.iterdir()):
                found[kind] = folder
                break
    return found
