"""How often a recording's codes, found by forced alignment, are the true ones: on speakers never trained on.

Three figures for each teacher and language: the share of steps with the right sound, with the right phone,
and of pitched steps whose level is right to within one. Follows specs/starter.md.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from p2pvoice.sovits.lite import align, units
from p2pvoice.sovits.measure import pitch
from p2pvoice.sovits.symbols import SYMBOLS

from . import corpus, train_content

ITEMS: Final = 40
"""Utterances of each shard."""


def agreement(work: Path, *, tracked: bool = True) -> dict[str, tuple[float, float, float]]:
    """Sounds, owners and levels found again, by teacher and language.

    With ``tracked`` the pitch is found in the audio, else it is the teacher's own.
    """
    encoder = train_content.load(work / "content.pt")
    found: dict[str, list[tuple[float, float, float]]] = {}
    for path in corpus.shards(work / "unseen"):
        for item in list(corpus.read_shard(path))[:ITEMS]:
            audio = item.audio.astype(np.float32) / 32768
            f0 = pitch.track(audio, corpus.SAMPLE_RATE) if tracked else item.f0
            codes = align.codes_of(encoder, audio, corpus.SAMPLE_RATE, item.phones.tolist(), f0, strict=False)
            laid = align.align(align.step_scores(encoder, audio), [SYMBOLS["v2"][row] for row in item.phones])
            assert laid is not None, "a corpus item has a step for every sound"
            count = min(len(codes), len(item.codes))
            made, true = codes[:count], item.codes[:count].astype(np.int64)
            both = (units.LEVEL_OF[made] >= 0) & (units.LEVEL_OF[true] >= 0)
            near = np.abs(units.LEVEL_OF[made] - units.LEVEL_OF[true])[both] <= 1
            found.setdefault(f"{item.speaker.split('-')[0]}-{item.language}", []).append(
                (
                    float((units.SOUND_OF[made] == units.SOUND_OF[true]).mean()),
                    float((laid.owner[:count] == item.owner[:count]).mean()),
                    float(near.mean()) if both.any() else 1.0,
                )
            )
    means = {name: np.mean(rows, 0) for name, rows in found.items()}
    return {name: (float(row[0]), float(row[1]), float(row[2])) for name, row in means.items()}


def report(work: Path, tell: Callable[[str], None]) -> None:
    """Print the agreement with tracked pitch."""
    for name, (sounds, owners, levels) in sorted(agreement(work).items()):
        tell(f"{name}: sounds {sounds:.3f} phones {owners:.3f} levels within one {levels:.3f}")
