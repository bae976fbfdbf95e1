"""Small networks and examples of noise that are the same everywhere, for the tests of training."""

from dataclasses import replace

import numpy as np
import torch

from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.sizes import GptSettings, SoVitsSettings
from p2pvoice.sovits.training.dataset import Example
from p2pvoice.sovits.training.discriminators import Discriminators, DiscriminatorSizes
from p2pvoice.sovits.vits import SoVits

from ..filler import fill

SOVITS = SoVitsSettings(
    ssl_dim=24, codes=40, text_vocab=50, inter_channels=16, hidden_channels=16, filter_channels=32,
    audio_layers=1, text_layers=2, gin_channels=32, mrte_channels=32, style_channels=16, ref_bins=200,
    couplings=2, coupling_layers=2, posterior_layers=3, upsample_rates=(4, 5, 8), upsample_kernels=(8, 9, 16),
    upsample_initial=32, resblock_kernels=(3, 5), resblock_dilations=((1, 3), (1, 3)), dropout=0.0,
    sample_rate=8000, filter_length=512, hop_length=160,
)  # fmt: skip
PRO = replace(SOVITS, speaker_dim=20, mrte_channels=24)
GPT = GptSettings(phone_vocab=50, vocab=41, width=16, heads=2, layers=3, feed_forward=32, bert_dim=8)
ADVERSARY = DiscriminatorSizes((2, 3, 5), (4, 8, 16, 16, 16, 16), (1, 4, 4, 4, 4, 1), (4, 8, 8, 8, 8))


def sovits_tensors(s: SoVitsSettings = SOVITS) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A release's tensors and its training part."""
    with torch.device("meta"):
        state, judges = SoVits(s, posterior=True).state_dict(), Discriminators(ADVERSARY).state_dict()
    filled = {k: torch.from_numpy(fill(k, tuple(v.shape))) for k, v in state.items()}
    part = {k: filled.pop(k) for k in list(filled) if k.startswith("enc_q.")}
    part |= {f"disc.{k}": torch.from_numpy(fill(k, tuple(v.shape))) for k, v in judges.items()}
    return filled, part


def gpt_tensors(s: GptSettings = GPT) -> dict[str, torch.Tensor]:
    """A release's tensors, by the published keys."""
    with torch.device("meta"):
        state = Text2Semantic(s).published_state()
    return {k: torch.from_numpy(fill(k, tuple(v.shape))) for k, v in state.items()}


def example(index: int, seconds: float, bert: bool = False, s: SoVitsSettings = SOVITS) -> Example:
    """Noise that rises and falls, with codes and phones that mean nothing."""
    chance = np.random.default_rng(index)
    codes, phones = round(seconds * 25), round(seconds * 8)
    size = codes * 2 * s.hop_length
    level = 0.1 + 0.1 * np.sin(np.arange(size) / s.sample_rate * 9.0)
    return Example(
        name=f"clip {index}",
        text="",
        lang="en",
        audio=(level * chance.standard_normal(size)).astype(np.float32),
        phones=chance.integers(0, s.text_vocab, phones),
        codes=chance.integers(0, s.codes, codes),
        bert=chance.standard_normal((GPT.bert_dim, phones)).astype(np.float32) if bert else None,
        f0=None,
    )


def examples(count: int, bert: bool = False) -> list[Example]:
    """Examples of unlike length, every other one with features if ``bert``."""
    return [example(i, 0.8 + 0.12 * i, bert and i % 2 == 0) for i in range(count)]
