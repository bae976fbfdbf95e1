"""What a decoder said before it is trained further, to be said after it, too.

A few recordings pull at every weight, and what a decoder could say goes first. So the base reads ordinary
sentences beforehand, and while the decoder learns it is held to what the base foretold of each of their
codes. Not for how codes become sound (see lite.rehearsal). Follows specs/lite.md, "Fine-tuning".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from p2pvoice.sovits import text
from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.sampling import Sampling, exponential_noise, generate

if TYPE_CHECKING:
    from .dataset import Example

LONGEST: Final = 400
"""Codes after which a sentence is given up: the base did not find its end, which is nothing to hold on to."""
ASIDE: Final = 4
"""One sentence in so many is never learned from: by these it is told what was forgotten."""


@dataclass(frozen=True)
class Rehearsal:
    """What is read beforehand, and how strongly it is held to."""

    sentences: tuple[tuple[str, str], ...]
    """Each text with its language."""
    weight: float = 1.0
    """Of a nat that the decoder's foretelling of a code is away from the base's."""


def said_by(
    base: Text2Semantic, rehearsal: Rehearsal, prompts: Sequence["Example"], version: str, seed: int
) -> list["Example"]:
    """The sentences as ``base`` says them, each after another of ``prompts``, drawn as in speaking.

    The examples have phones and codes, no audio and no BERT features. The same arguments give the same codes
    on one machine, so a training that goes on draws them again. Raises SynthesisError for a text without
    words.
    """
    base.eval()
    device = base.ar_predict_layer.weight.device
    said = []
    for number, (sentence, lang) in enumerate(rehearsal.sentences):
        phones = np.array(text.phonemize(sentence, lang, version).ids, np.int64)
        prompt = prompts[number % len(prompts)]
        codes = generate(
            base,
            torch.from_numpy(np.concatenate([prompt.phones, phones]))[None].to(device),
            None,
            torch.from_numpy(prompt.codes)[None].to(device),
            Sampling(),
            exponential_noise(torch.Generator().manual_seed(seed * 1_000_003 + number)),
            early_stop=LONGEST,
        )
        if 0 < len(codes) < LONGEST:
            own = replace(prompt, name=f"rehearsed {number}", text=sentence, lang=lang, phones=phones)
            said.append(replace(own, codes=np.array(codes, np.int64), bert=None))
    return said


def parted(said: Sequence["Example"]) -> tuple[list["Example"], list["Example"]]:
    """What is rehearsed, and what is only looked at."""
    return [e for i, e in enumerate(said) if i % ASIDE], [e for i, e in enumerate(said) if not i % ASIDE]


def drift(now: Tensor, base: Tensor, rehearsal: Rehearsal) -> Tensor:
    """How far a decoder has gone from its base, from the logits [places, V] of both: a number, 0 at first.

    The Kullback-Leibler divergence of a code in nats, weighted.
    """
    mine, wanted = now.float().log_softmax(-1), base.float().log_softmax(-1)
    return rehearsal.weight * (wanted.exp() * (wanted - mine)).sum(-1).mean()


def in_turn(said: Sequence["Example"], count: int) -> Iterator[list["Example"]]:
    """``said`` in batches of ``count``, once."""
    return (list(said[start : start + count]) for start in range(0, len(said), count))
