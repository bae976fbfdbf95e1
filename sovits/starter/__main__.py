"""``python -m p2pvoice.sovits.starter``: the steps from nothing to a shipped voice, each of which can be
resumed.

    corpus  WORK [--books ROOT]              recite the sentences of all three languages
    prior   WORK --minutes N                 train the text encoder alone
    decoder WORK --minutes N                 train the decoder alone, beside it
    both    WORK --minutes N [--critics]     go on with the two together
    gpt     WORK --minutes N                 train the text-to-semantic decoder
    content WORK --minutes N                 train the content encoder
    pack    WORK OUT                         write the files that ship
    judge   --asr DIR [--out DIR] [--seed N] [--english FILE]
                                             import the shipped voice, speak the held-out sentences, measure

It needs the extra ``starter``. Follows specs/bootstrap-voice.md.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch

REFERENCES = (
    "We walked along the river in the morning, and the light was clear.",
    "The old captain told us a long story about the sea and the stars.",
)
"""What the reference clips say; the first one ships."""
ENGLISH, CHINESE = 6500, 1500
"""Sentences of English, and of Mandarin and Cantonese each."""


def _corpus(work: Path, books: Path) -> None:
    from . import corpus, texts_chinese

    corpus.build(work / "corpus", "en", corpus.english_sentences(books, ENGLISH))
    for language in ("zh", "yue"):
        corpus.build(work / "corpus", language, texts_chinese.sentences(language, CHINESE))
    if not (work / "reference.npz").exists():
        corpus.build(work / "reference", "en", REFERENCES, seed=7)
        (work / "reference" / "en_000.npz").rename(work / "reference.npz")


def _train(step: str, work: Path, minutes: float, critics: bool) -> None:
    from . import content, corpus, train_gpt, train_sovits

    items = corpus.read_corpus(work / "corpus")
    if step == "gpt":
        # Once the content encoder is there, the prompts are what it hears in the clip that ships.
        shipped = next(corpus.read_shard(work / "reference.npz"))
        reference = None
        if (work / "ct.pt").exists():
            reference = shipped, content.heard_codes(work / "ct.pt", shipped)
        train_gpt.train(items, work / "gpt.pt", minutes, reference=reference)
    elif step == "content":
        references = list(corpus.read_shard(work / "reference.npz"))
        content.train(items, work / "ct.pt", minutes, references=references)
    elif step == "both":
        if not (work / "sv.pt").exists():
            train_sovits.merge(work / "prior.pt", work / "dec.pt", work / "sv.pt")
        train_sovits.train(items, work / "sv.pt", minutes, "both", rate=5e-4, critics_on=critics)
    else:
        path = work / ("prior.pt" if step == "prior" else "dec.pt")
        train_sovits.train(items, path, minutes, "prior" if step == "prior" else "decoder", settle=0.05)


def _pack(work: Path, out: Path) -> None:
    from . import corpus, pack

    reference = next(corpus.read_shard(work / "reference.npz"))
    pack.pack(work / "sv.pt", work / "gpt.pt", work / "ct.pt", reference, out)


def _judge(asr: Path, out: Path | None, seed: int, english: Path | None) -> None:
    import numpy as np
    import soundfile

    from p2pvoice.sovits import bases, convert
    from p2pvoice.sovits.synthesize import SpeakText, Voice

    from . import judge, texts

    data = Path(__file__).parents[1] / "data" / "bootstrap"
    said = json.loads((data / "reference.json").read_text("utf-8"))
    installed = bases.Bases()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "voice"
        convert.import_voice(
            data / "bootstrap.pth", data / "bootstrap.ckpt", data / said["clip"], said["text"], said["lang"],
            bundle, installed,
        )  # fmt: skip
        voice = Voice.load(bundle, installed)
    numbers = {language: 0 for language in texts.HELD_OUT}

    def speak(text: str, language: str) -> judge.Audio:
        audio = np.concatenate(list(voice.speak(SpeakText(text, language, seed=seed))))
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            numbers[language] += 1
            name = f"{language}-{numbers[language]:02d}.flac"
            soundfile.write(out / name, audio, voice.sample_rate, subtype="PCM_16")
        return audio

    sentences = texts.HELD_OUT
    if english is not None:
        sentences = {"en": [line for line in english.read_text("utf-8").splitlines() if line.strip()]}
    report = judge.judge_all(speak, judge.Ear(asr), sentences)
    json.dump(report, sys.stdout, ensure_ascii=False, indent=1)
    print()


def main() -> None:
    """Read the command line and do the step."""
    parser = argparse.ArgumentParser(
        prog="p2pvoice.sovits.starter", description=(__doc__ or "").split("\n")[0]
    )
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("corpus", "prior", "decoder", "both", "gpt", "content", "pack"):
        step = steps.add_parser(name)
        step.add_argument("work", type=Path)
        if name == "corpus":
            step.add_argument("--books", type=Path, default=Path("/"))
        elif name == "pack":
            step.add_argument("out", type=Path)
        else:
            step.add_argument("--minutes", type=float, required=True)
            step.add_argument("--critics", action="store_true")
    step = steps.add_parser("judge")
    step.add_argument("--asr", type=Path, required=True)
    step.add_argument("--out", type=Path)
    step.add_argument("--seed", type=int, default=1)
    step.add_argument("--english", type=Path, metavar="FILE", help="judge the lines of FILE instead")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.step == "corpus":
        _corpus(chosen.work, chosen.books)
    elif chosen.step == "pack":
        _pack(chosen.work, chosen.out)
    elif chosen.step == "judge":
        _judge(chosen.asr, chosen.out, chosen.seed, chosen.english)
    else:
        _train(chosen.step, chosen.work, chosen.minutes, chosen.critics)


if __name__ == "__main__":
    main()
