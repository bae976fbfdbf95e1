"""``python -m p2pvoice.sovits.starter``: the steps from nothing to the voice that ships, each resumable.

    corpus   WORK --hours N [--books ROOT]    two teachers speak: WORK/corpus, and WORK/unseen for judging
    codes    WORK --hours N [--books ROOT]    the same without audio, for the GPT: WORK/codes
    content  WORK --minutes N                 train the content encoder
    gpt      WORK --minutes N                 train the text-to-semantic decoder
    acoustic WORK PART --minutes N            train the voice; PART is decoder, prior or both
    agree    WORK                             how often forced alignment finds the true codes
    drawn    WORK                             how often the GPT alone draws the right sounds
    pack     WORK OUT [--speaker NAME]        write the files that ship
    minute   WORK OUT                         a minute of each of four unseen speakers, as clips
    copies   WORK --asr DIR [--voice DIR] [--count N]
                                              unseen speakers copied, and spoken from their true codes
    judge    --asr DIR [--voice DIR] [--out DIR] [--seed N] [--english FILE]
                                              import a packed voice, speak the held-out sentences, measure

It needs the extra ``starter``. Follows specs/starter.md.
"""

import argparse
import io
import json
import sys
import tempfile
from pathlib import Path

import torch

from p2pvoice.protocol.label import Label, label_flac

SPEAKER = "hibari-010"
"""Who speaks the reference clip that ships."""
PRODUCER = "p2pvoice/starter"
"""What the labels of judged audio name as the program."""
DATA = Path(__file__).parents[1] / "data"


def _told(line: str) -> None:
    print(line, flush=True)


def _corpus(work: Path, hours: float, books: Path, mute: bool) -> None:
    from . import build

    if mute:
        build.build(work / "codes", hours, plan=build.MUTE_PLAN, books=books, tell=_told)
    else:
        build.build_unseen(work / "unseen", books=books, tell=_told)
        build.build(work / "corpus", hours, books=books, tell=_told)


def _train(step: str, work: Path, minutes: float, part: str) -> None:
    from . import corpus, train_content, train_gpt, train_lite

    if step == "content":
        train_content.train(work / "corpus", work / "unseen", work / "content.pt", minutes, tell=_told)
    elif step == "gpt":
        train_gpt.train([work / "codes", work / "corpus"], work / "gpt.pt", minutes, tell=_told)
    else:
        assert part in train_lite.CROP
        items = corpus.read_corpus(work / "corpus")
        train_lite.train(items, work / "acoustic.pt", minutes, part)  # type: ignore[arg-type]


def _pack(work: Path, out: Path, speaker: str) -> None:
    from . import corpus, pack

    trained = pack.Trained(work / "acoustic.pt", work / "gpt.pt", work / "content.pt")
    shards = sorted((work / "corpus").glob("*-en_*.npz"))
    items = [item for path in shards for item in corpus.read_shard(path) if item.speaker == speaker]
    pack.pack(trained, pack.reference(items, speaker, "en"), out)


def _judge(voice: Path, asr: Path, out: Path | None, seed: int, english: Path | None) -> None:
    import numpy as np
    import soundfile
    import soxr

    from p2pvoice.sovits import bases, convert
    from p2pvoice.sovits.synthesize import SpeakText, Voice

    from . import judge, texts

    said = json.loads((voice / "reference.json").read_text("utf-8"))
    installed = bases.Bases((voice.parent / "bases",))
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "voice"
        weights = next(voice.glob("*.pth")), next(voice.glob("*.ckpt"))
        convert.import_voice(*weights, voice / said["clip"], said["text"], said["lang"], bundle, installed)
        spoken_by = Voice.load(bundle, installed)
    numbers = {language: 0 for language in texts.HELD_OUT}

    def speak(text: str, language: str) -> judge.Audio:
        audio = np.concatenate(list(spoken_by.speak(SpeakText(text, language, seed=seed))))
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            numbers[language] += 1
            name = f"{language}-{numbers[language]:02d}"
            file = io.BytesIO()
            soundfile.write(file, audio, spoken_by.sample_rate, format="FLAC", subtype="PCM_16")
            said_by = Label(f"starter-{name}-{seed}", PRODUCER, voice=voice.name, license="Apache-2.0")
            (out / f"{name}.flac").write_bytes(label_flac(file.getvalue(), said_by))
        return np.asarray(soxr.resample(audio, spoken_by.sample_rate, judge.EAR_RATE), np.float32)

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
    for name in ("corpus", "codes", "content", "gpt", "acoustic", "agree", "drawn", "pack", "minute"):
        step = steps.add_parser(name)
        step.add_argument("work", type=Path)
        if name in ("corpus", "codes"):
            step.add_argument("--hours", type=float, required=True)
            step.add_argument("--books", type=Path, default=Path("/"))
        elif name == "pack":
            step.add_argument("out", type=Path)
            step.add_argument("--speaker", default=SPEAKER)
        elif name == "minute":
            step.add_argument("out", type=Path)
        elif name not in ("agree", "drawn"):
            if name == "acoustic":
                step.add_argument("part", choices=("decoder", "prior", "both"))
            step.add_argument("--minutes", type=float, required=True)
    step = steps.add_parser("copies")
    step.add_argument("work", type=Path)
    step.add_argument("--asr", type=Path, required=True)
    step.add_argument("--voice", type=Path, default=DATA / "starter", help="a folder that pack wrote")
    step.add_argument("--count", type=int, default=20)
    step = steps.add_parser("judge")
    step.add_argument("--asr", type=Path, required=True)
    step.add_argument("--voice", type=Path, default=DATA / "starter", help="a folder that pack wrote")
    step.add_argument("--out", type=Path)
    step.add_argument("--seed", type=int, default=1)
    step.add_argument("--english", type=Path, metavar="FILE", help="judge the lines of FILE instead")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.step in ("corpus", "codes"):
        _corpus(chosen.work, chosen.hours, chosen.books, chosen.step == "codes")
    elif chosen.step == "pack":
        _pack(chosen.work, chosen.out, chosen.speaker)
    elif chosen.step == "judge":
        _judge(chosen.voice, chosen.asr, chosen.out, chosen.seed, chosen.english)
    elif chosen.step == "copies":
        from . import copies

        copies.report(chosen.work, chosen.voice, chosen.asr, chosen.count, _told)
    elif chosen.step == "minute":
        from . import minute

        minute.cut(chosen.work, chosen.out, _told)
    elif chosen.step == "agree":
        from . import agree

        agree.report(chosen.work, _told)
    elif chosen.step == "drawn":
        from . import drawn

        drawn.report(chosen.work, _told)
    else:
        _train(chosen.step, chosen.work, chosen.minutes, getattr(chosen, "part", ""))


if __name__ == "__main__":
    main()
