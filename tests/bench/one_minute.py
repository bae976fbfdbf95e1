"""What a minute of speech is good for: trains a voice of each speaker by the command line, and compares.

    python tests/bench/one_minute.py SPEAKERS --asr DIR [--minutes N] [--keep DIR]

SPEAKERS holds a folder for each speaker: ``train`` with clips and ``list.txt`` (PATH|SPEAKER|LANGUAGE|TEXT),
and ``rest`` with other clips of his that no training sees. ``python -m p2pvoice.sovits.starter minute WORK
SPEAKERS`` makes such folders of synthetic speakers that the starter never heard. For each speaker a daemon of
its own runs ``p2pvoice train``; then three voices speak the same sentences: the starter as it comes, the
untrained starter given the new voice's reference clips, and the new voice. Printed are the cosine of speaker
embeddings to the speaker's other clips (all three) and to the other speakers', word or character errors (the
latter two), and the minutes it took. Follows specs/starter.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.measure import embed
from p2pvoice.sovits.training import evaluate, transcripts
from p2pvoice.sovits.training.texts import ORDINARY

SENTENCES = slice(0, 10)


def command(home: Path, *words: str) -> list[dict[str, Any]]:
    """Run one p2pvoice command with a home of its own; its JSON lines."""
    line = [sys.executable, "-m", "p2pvoice.cli.main", "--json", *words]
    ran = subprocess.run(line, env={**os.environ, "P2PVOICE_HOME": str(home)}, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{' '.join(words)}: {ran.stderr.strip()[-2000:]}")
    return [json.loads(row) for row in ran.stdout.splitlines() if row.strip()]


def centre(folder: Path) -> np.ndarray:
    """The speaker embedding of all clips of a folder."""
    clips = [soundfile.read(path, dtype="float32") for path in sorted(folder.glob("*.wav"))]
    return embed.speakers_embedding(clips)


def judged(
    bundle: Path, lang: str, own: np.ndarray, others: Sequence[np.ndarray], asr: Path
) -> dict[str, float]:
    """How a voice speaks the sentences: likeness to its speaker and to others, and errors."""
    spoken = evaluate.speak(bundle, Bases(), ORDINARY[lang][SENTENCES], lang)
    heard = [embed.speaker_embedding(one.samples, one.rate) for one in spoken]
    rate, _ = evaluate.word_errors(spoken, transcripts.recogniser(asr), lang)
    return {
        "same": float(np.mean([embed.similarity(own, vector) for vector in heard])),
        "others": float(np.mean([embed.similarity(other, vector) for other in others for vector in heard])),
        "errors": rate,
    }


def train(folder: Path, home: Path, minutes: float | None) -> tuple[Path, float]:
    """Train a voice of a speaker's minute; its work folder and the minutes it took."""
    lang = (folder / "train" / "list.txt").read_text("utf-8").split("|")[2].lower()
    words = ["train", *map(str, sorted((folder / "train").glob("*.wav"))), "--name", folder.name]
    words += ["--lang", lang, "--transcripts", str(folder / "train" / "list.txt")]
    if minutes is not None:
        words += ["--minutes", f"{minutes:g}"]
    command(home, "daemon", "start", "--listen", "/ip4/127.0.0.1/tcp/0")
    try:
        begun = time.monotonic()
        command(home, *words, "--data", "A synthetic speaker.")
        return home / "trainings" / folder.name / "work", (time.monotonic() - begun) / 60
    finally:
        command(home, "daemon", "stop")


def main() -> None:
    """Train and judge each speaker in turn, then print the means."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("speakers", type=Path)
    parser.add_argument("--asr", type=Path, required=True)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--only", help="names of speakers, between commas")
    chosen = parser.parse_args()
    folders = sorted(path for path in chosen.speakers.iterdir() if (path / "train").is_dir())
    centres = {path.name: centre(path / "rest") for path in folders}
    wanted = chosen.only.split(",") if chosen.only else list(centres)
    rows: list[dict[str, float]] = []
    print("speaker         lang  minutes  similarity: starter, with clips, trained   to others   errors")
    for folder in (path for path in folders if path.name in wanted):
        own, others = centres[folder.name], [c for name, c in centres.items() if name != folder.name]
        lang = (folder / "train" / "list.txt").read_text("utf-8").split("|")[2].lower()
        with tempfile.TemporaryDirectory(prefix="p2pv-") as home:
            work, took = train(folder, Path(home), chosen.minutes)
            alone = judged(work / "packaged", lang, own, others, chosen.asr)
            before = judged(work / "untrained", lang, own, others, chosen.asr)
            after = judged(work / "bundle", lang, own, others, chosen.asr)
        row = {"minutes": took, "alone": alone["same"]}
        row |= {
            f"{name} {when}": told[name]
            for when, told in (("before", before), ("after", after))
            for name in told
        }
        rows.append(row)
        print(line(folder.name, lang, row), flush=True)
    print(line("mean", "", {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}))


def line(name: str, lang: str, row: dict[str, float]) -> str:
    """One row of the table."""
    pairs = "   ".join(
        f"{row[f'{what} before']:.3f} -> {row[f'{what} after']:.3f}" for what in ("same", "others", "errors")
    )
    return f"{name:15} {lang:5} {row['minutes']:7.1f}   {row['alone']:.3f} -> {pairs}"


if __name__ == "__main__":
    main()
