"""What the GPT alone gets wrong: the sounds of the codes it draws against the sounds that the phones ask for.

A judge of the GPT without any acoustic model, drawn exactly as speaking draws. Pauses are left out on both
sides; errors are insertions, deletions and replacements for each sound asked for. Follows specs/starter.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.lite import units
from p2pvoice.sovits.lite.sounds import SILENCE, sounds_of
from p2pvoice.sovits.measure import words
from p2pvoice.sovits.sampling import Sampling, exponential_noise, generate
from p2pvoice.sovits.symbols import SYMBOLS
from p2pvoice.sovits.text import phonemize

from . import corpus, pack, texts

LONGEST = 400
"""Codes after which a sentence is given up: the GPT did not find its end."""


@dataclass(frozen=True)
class Draw:
    """Errors of one sentence, the sounds it should have had, and whether it came to its end."""

    errors: int
    length: int
    ended: bool


def sounds_in(codes: list[int]) -> list[str]:
    """The sounds of a row of codes, each once however long it lasts, without pauses."""
    made: list[str] = []
    before = None
    for code in codes:
        if code >= units.USED:
            continue
        name, _, onset = units.entry_of(code)
        if onset or name != before:
            made.append(name)
        before = name
    return [name for name in made if name != SILENCE]


def draw(model: Text2Semantic, text: str, language: str, prompt: corpus.Item | None, seed: int) -> Draw:
    """Let ``model`` say one sentence, after ``prompt`` if there is one."""
    read = phonemize(text, language)
    rows = ([] if prompt is None else prompt.phones.tolist()) + read.ids
    heard = None if prompt is None else torch.from_numpy(prompt.codes.astype("int64"))[None]
    noise = exponential_noise(torch.Generator().manual_seed(seed))
    codes = generate(model, torch.tensor([rows]), None, heard, Sampling(), noise, early_stop=LONGEST)
    names = [SYMBOLS["v2"][row] for row in read.ids]
    wanted = [sound.name for made in sounds_of(names) for sound in made if sound.name != SILENCE]
    return Draw(words.distance(wanted, sounds_in(codes)), len(wanted), len(codes) < LONGEST)


def report(work: Path, tell: Callable[[str], None]) -> None:
    """Print the error rate of each language, without a prompt and after one by an unseen speaker."""
    model = Text2Semantic.from_tensors(pack.gpt_weights(work / "gpt.pt"), pack.gpt_config())
    shard = next(path for path in corpus.shards(work / "unseen") if "-en" in path.name)
    prompts = [item for item in corpus.read_shard(shard, audio=False) if 90 <= len(item.codes) <= 200]
    for language, sentences in texts.HELD_OUT.items():
        for name, prompted in (("alone", False), ("after a prompt", True)):
            draws = [
                draw(model, text, language, prompts[i % len(prompts)] if prompted else None, i)
                for i, text in enumerate(sentences)
            ]
            rate = sum(d.errors for d in draws) / sum(d.length for d in draws)
            endless = sum(not d.ended for d in draws)
            tell(f"{language} {name}: sound error rate {rate:.3f}, {endless} of {len(draws)} without an end")
