"""A minute of speech of each unseen speaker, as a newcomer would bring it: clips and a list of what they say.

What is left over of a speaker goes into a folder beside it, to compare a trained voice with. Follows
specs/starter.md, "Figures".
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from . import corpus
from .corpus import SAMPLE_RATE, Item

SECONDS: Final = 60.0
SPEAKERS: Final = {"hibari-en": ("hibari-900", "hibari-901"), "kokoro-zh": ("kokoro-900", "kokoro-901")}
"""Whose minute is cut from the shards of each series: a higher and a lower voice."""
BRIEFEST: Final = 2.5
"""Seconds; shorter utterances are left for comparison."""


def cut(work: Path, out: Path, tell: Callable[[str], None]) -> None:
    """Write ``out``/SPEAKER/train and ``out``/SPEAKER/rest from the shards in ``work``/unseen."""
    for series, names in SPEAKERS.items():
        spoken: dict[str, list[Item]] = defaultdict(list)
        for path in sorted((work / "unseen").glob(f"{series}_*.npz")):
            for item in corpus.read_shard(path):
                spoken[item.speaker].append(item)
        for name in names:
            taken, rest = _minute(spoken[name])
            _write(out / name / "train", taken)
            _write(out / name / "rest", rest)
            lengths = [sum(len(item.audio) for item in part) / SAMPLE_RATE for part in (taken, rest)]
            tell(f"{name}: {lengths[0]:.0f} s in {len(taken)} clips, {lengths[1]:.0f} s beside")


def _minute(items: list[Item]) -> tuple[list[Item], list[Item]]:
    taken: list[Item] = []
    rest: list[Item] = []
    seconds = 0.0
    for item in items:
        lasts = len(item.audio) / SAMPLE_RATE
        if lasts >= BRIEFEST and seconds + lasts <= SECONDS + 1.0:
            taken.append(item)
            seconds += lasts
        else:
            rest.append(item)
    return taken, rest


def _write(folder: Path, items: list[Item]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, item in enumerate(items):
        name = f"{number:02d}.wav"
        soundfile.write(folder / name, item.audio.astype(np.int16), SAMPLE_RATE, subtype="PCM_16")
        rows.append(f"{name}|{item.speaker}|{item.language.upper()}|{item.text}\n")
    (folder / "list.txt").write_text("".join(rows), "utf-8")
