"""Examples in batches: which may be used, in what order, and how they are padded.

The order is a function of the seed and the epoch, so where a training stands is two numbers. Not for making
examples (see dataset). Follows specs/training.md.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from p2pvoice.protocol.errors import UsageError

if TYPE_CHECKING:
    from .dataset import Example

CODE_RATE = 25
"""Semantic codes a second."""
SMALL_SET = 100
"""An epoch of fewer examples repeats them until there are about so many."""
POOL = 16
"""Batches that are drawn at once and sorted by length together: shuffled enough, padded little."""
SECONDS_RANGE = (0.6, 54.0)
"""Shortest and longest example that SoVITS learns from."""
PHONES_LIMIT = 540
"""Most phones of an example that the GPT learns from: ten a second, over 54 s."""
PHONE_RATE_RANGE = (3.0, 25.0)
"""Least and most phones a second; outside, text and audio hardly belong together."""


@dataclass(frozen=True)
class Vocabulary:
    """How many phones and codes a network knows."""

    phones: int
    codes: int


def unfit_for_sovits(example: "Example", rate: int, known: Vocabulary) -> str | None:
    """Why SoVITS cannot learn from an example; None when it can."""
    seconds = len(example.audio) / rate
    if not SECONDS_RANGE[0] <= seconds <= SECONDS_RANGE[1]:
        return f"it lasts {seconds:.2f} s; {SECONDS_RANGE[0]} to {SECONDS_RANGE[1]:.0f} s can be used"
    return _unknown(example, known)


def unfit_for_gpt(example: "Example", known: Vocabulary) -> str | None:
    """Why the GPT cannot learn from an example; None when it can."""
    seconds = len(example.codes) / CODE_RATE
    if not 0 < seconds <= SECONDS_RANGE[1]:
        return f"it lasts {seconds:.2f} s; at most {SECONDS_RANGE[1]:.0f} s can be used"
    if len(example.phones) > PHONES_LIMIT:
        return f"it has {len(example.phones)} phones; at most {PHONES_LIMIT} can be used"
    pace = len(example.phones) / seconds
    if not PHONE_RATE_RANGE[0] <= pace <= PHONE_RATE_RANGE[1]:
        return f"it has {pace:.1f} phones a second: its text is not what is said, or much of it is silent"
    return _unknown(example, known)


def _unknown(example: "Example", known: Vocabulary) -> str | None:
    for what, ids, limit in (("phone", example.phones, known.phones), ("code", example.codes, known.codes)):
        if not len(ids):
            return f"it has no {what}s"
        if ids.min() < 0 or ids.max() >= limit:
            return f"it has a {what} that the base does not know"
    return None


def usable(
    examples: Sequence["Example"], unfit: Callable[["Example"], str | None]
) -> tuple[list["Example"], dict[str, str]]:
    """Those that can be learned from, and why not the others, by name. Raises UsageError when none can."""
    reasons = {example.name: reason for example in examples if (reason := unfit(example))}
    kept = [example for example in examples if example.name not in reasons]
    if not kept:
        name, reason = next(iter(reasons.items()), ("", "there are none"))
        raise UsageError(
            f"no clip can be learned from: {f'{name}: ' if name else ''}{reason}",
            hint="give clips of 3 to 10 seconds with the text that is said in them",
        )
    return kept, reasons


class Order:
    """For ever batches of indexes of examples of like length; a small set is repeated within an epoch."""

    def __init__(self, seconds: Sequence[float], size: int, longest: float, seed: int) -> None:
        """``size`` examples make a batch, fewer where ``longest`` seconds, padding included, would not do."""
        self.seconds, self.size, self.longest, self.seed = list(seconds), size, longest, seed
        self.repeats = 1 if len(seconds) >= SMALL_SET else max(2, SMALL_SET // len(seconds))
        self.epoch, self.at = 0, 0
        self.batches = self._shuffled(0)

    def __next__(self) -> list[int]:
        if self.at >= len(self.batches):
            self.load_state_dict({"epoch": self.epoch + 1, "at": 0})
        self.at += 1
        return self.batches[self.at - 1]

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "at": self.at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.at = state["epoch"], state["at"]
        self.batches = self._shuffled(self.epoch)

    def _shuffled(self, epoch: int) -> list[list[int]]:
        chance = random.Random(f"{self.seed} {epoch}")
        order = list(range(len(self.seconds))) * self.repeats
        chance.shuffle(order)
        batches: list[list[int]] = []
        for start in range(0, len(order), POOL * self.size):
            pool = sorted(order[start : start + POOL * self.size], key=lambda i: self.seconds[i])
            batches.append([])
            for i in pool:
                # The pool is sorted: the newcomer is the longest, and all are padded to it.
                full = len(batches[-1]) == self.size
                if batches[-1] and (full or self.seconds[i] * (len(batches[-1]) + 1) > self.longest):
                    batches.append([])
                batches[-1].append(i)
        chance.shuffle(batches)
        return batches


@dataclass(frozen=True)
class Batch:
    """Examples padded with zeros on the right."""

    audio: Tensor
    """[B, 2 N hop] samples"""
    codes: Tensor
    """[B, N]"""
    code_lengths: Tensor
    phones: Tensor
    """[B, L]"""
    phone_lengths: Tensor
    bert: Tensor | None
    """[B, width, L]; None when no example has any."""


def collate(examples: Sequence["Example"], hop: int, device: torch.device, least: int = 0) -> Batch:
    """Pad ``examples`` together, to ``least`` codes at least; audio and codes are cut to what both have.

    With ``hop`` 0 the audio is left out.
    """
    step = 2 * hop
    lengths = [min(len(e.codes), len(e.audio) // step) if hop else len(e.codes) for e in examples]
    longest, features = max(least, *lengths), next((e.bert for e in examples if e.bert is not None), None)
    phones = pad([e.phones for e in examples])
    bert = None
    if features is not None:
        bert = torch.zeros(len(examples), len(features), phones.shape[1])
        for row, e in zip(bert, examples, strict=True):
            if e.bert is not None:
                row[:, : e.bert.shape[1]] = torch.from_numpy(np.asarray(e.bert, np.float32))
    audio = [e.audio[: n * step] for e, n in zip(examples, lengths, strict=True)]
    return Batch(
        pad(audio, longest * step).float().to(device),
        pad([e.codes[:n] for e, n in zip(examples, lengths, strict=True)], longest).long().to(device),
        torch.tensor(lengths, device=device),
        phones.long().to(device),
        torch.tensor([len(e.phones) for e in examples], device=device),
        None if bert is None else bert.to(device),
    )


def pad(rows: Sequence[np.ndarray], size: int = 0) -> Tensor:
    """Rows of unlike length as one tensor of at least ``size`` columns, zeros behind."""
    out = np.zeros((len(rows), max(size, *(len(row) for row in rows))), rows[0].dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)


def choose_device(device: torch.device | str | None = None) -> torch.device:
    """The one that is named, else CUDA where there is any, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
