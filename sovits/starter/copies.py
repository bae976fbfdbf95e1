"""What the acoustic model alone loses, on speakers and sentences that no training heard.

Three ways to the same sentence are heard by the same judges: the teacher's speech itself, a copy (its
analysis through the decoder), and its true codes through text encoder and decoder, in the style of another
utterance of the speaker. So errors of the decoder, of the text encoder and of the GPT can be told apart.
Follows specs/starter.md.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.lite import analysis, learning
from p2pvoice.sovits.lite.model import LiteVoice

from . import corpus, judge, train_lite

WAYS: Final = ("truth", "copy", "codes")
SECONDS: Final = (2.2, 7.0)
"""Least and most that a judged utterance lasts."""


def load(voice: Path) -> LiteVoice:
    """The network of a packed voice."""
    read = read_checkpoint(next(voice.glob("*.pth")))
    return LiteVoice.from_tensors(read.tensors, read.config)


@torch.inference_mode()
def made(
    voice: LiteVoice, said: learning.Utterance, other: learning.Utterance, way: str
) -> NDArray[np.float32]:
    """Samples at 24 kHz of what ``said`` says, in one of the WAYS, in the style of ``other``."""
    if way == "truth":
        return said.audio
    batch = learning.collate([said], [learning.reference_of(other)])
    style = voice.style(batch.reference, batch.reference_mask)
    generator = torch.Generator().manual_seed(0)
    if way == "copy":
        white = torch.randn(1, batch.latent.shape[-1] * analysis.HOP, generator=generator)
        heard = voice.dec(batch.latent, style, white)
    else:
        heard = voice.decode(batch.codes, batch.phones, style, generator=generator)
    return np.asarray(heard[0, 0].numpy(), np.float32)


def report(work: Path, voice: Path, asr: Path, count: int, tell: Callable[[str], None]) -> None:
    """Judge ``count`` utterances of each teacher and language, a line for each way."""
    network, ear, rnd = load(voice), judge.Ear(asr), random.Random(0)
    for kind in ("hibari-en", "kokoro-en", "kokoro-zh"):
        items = [
            item
            for path in sorted((work / "unseen").glob(f"{kind}_*.npz"))
            for item in corpus.read_shard(path)
        ]
        speakers = train_lite.Speakers(items)
        low, high = (seconds * analysis.SAMPLE_RATE for seconds in SECONDS)
        chosen = rnd.sample([i for i, item in enumerate(items) if low < len(item.audio) < high], count)
        pairs = [(i, rnd.choice([j for j in speakers.by_name[items[i].speaker] if j != i])) for i in chosen]
        for way in WAYS:
            verdicts, heard = [], []
            for i, j in pairs:
                audio = made(network, speakers.utterance(i), speakers.utterance(j), way)
                heard.append(soxr.resample(audio, analysis.SAMPLE_RATE, judge.EAR_RATE).astype(np.float32))
                verdicts.append(ear.judge(heard[-1], items[i].text, items[i].language))
            quality = judge.dnsmos(heard) or {}
            figures = {"errors": judge.error_rate(verdicts), **quality}
            told = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
            tell(f"{kind} {way:6} n = {count}  {told}")
