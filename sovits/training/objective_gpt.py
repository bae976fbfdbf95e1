"""How the text-to-semantic decoder learns a voice: it is told each next code and the end.

For decoders of any size, with BERT features or without. Where a rehearsal is asked for, each step also holds
the decoder to its base on sentences that the base said (see gpt_rehearsal). Not for the preference pairs that
upstream may add.
Follows specs/training.md.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from p2pvoice.sovits.gpt import PREFIX, Text2Semantic
from p2pvoice.sovits.layers import load_exactly
from p2pvoice.sovits.sizes import Config, GptSettings, Tensors
from p2pvoice.sovits.weightless import weightless

from .batches import CODE_RATE, Batch, Order, Vocabulary, choose_device, collate, unfit_for_gpt, usable
from .gpt_rehearsal import Rehearsal, drift, in_turn, parted, said_by
from .parts import Only, belongs, gpt_parts, train_only
from .scaled_adam import ScaledAdam

if TYPE_CHECKING:
    from .dataset import Example

IGNORED = -100
"""The target of a place that is padding."""
LEAST_CHANCE = 1e-7
"""A kind is never held for less likely: the logarithm of nothing has no slope."""


@dataclass(frozen=True)
class GptTraining:
    """How to train; the defaults are those of the published recipe."""

    batch: int = 8
    batch_seconds: float = 120.0
    """Longest batch, padding included: what bounds memory."""
    accumulated: int = 4
    """Batches whose gradients are summed to one step."""
    rate: float = 0.002
    betas: tuple[float, float] = (0.9, 0.95)
    optimiser: Literal["scaled", "adamw"] = "scaled"
    """ScaledAdam as published, or AdamW without decay, whose rate rises over the first steps."""
    warm_up: int = 10
    """Steps over which AdamW's rate rises."""
    dropout: float = 0.0
    temper: float = 1.0
    """What logits are multiplied by before they are judged: less than 1 where they are stored sharpened."""
    prompted: bool = False
    """Let each example follow another one, as a sentence follows the reference clip in speaking: a small
    decoder that is trained on lone sentences forgets how to."""
    kinds: tuple[int, ...] | None = None
    """For each code its kind, where only the kind is learned: what one kind's codes differ in is left to the
    base, because recordings do not tell it well enough."""
    rehearsal: Rehearsal | None = None
    version: str = "v2"
    """The front end that reads what is rehearsed."""
    half_on_cpu: bool = False
    """Compute in bfloat16 on the CPU; on CUDA half precision is always used."""
    seed: int = 0


class GptObjective:
    """Follows `loop.Objective`. ``left_out`` says by name why an example is not learned from."""

    name = "gpt"

    def __init__(
        self,
        tensors: Tensors,
        config: Config,
        training_part: Tensors | None,
        examples: Sequence["Example"],
        held_out: Sequence["Example"],
        settings: GptTraining | None = None,
        device: torch.device | str | None = None,
        only: Only = "all",
    ) -> None:
        """``tensors`` and ``config`` as the release has them; a decoder needs no ``training_part``.

        Raises BadCheckpointError for tensors that are no such model, UsageError when no example can be used.
        """
        self.how, self.only, self.device = settings or GptTraining(), only, choose_device(device)
        self.published = dict(tensors)
        plain = {k.removeprefix(PREFIX): v.detach().float().clone() for k, v in tensors.items()}
        s = GptSettings.from_tensors(plain, config)
        with weightless():
            self.model = Text2Semantic(replace(s, dropout=self.how.dropout))
        load_exactly(self.model, plain)
        self.model.to(self.device)
        self.layers = gpt_parts(s, only)
        train_only(self.model, self.layers, PREFIX)
        unfit = partial(unfit_for_gpt, known=Vocabulary(s.phone_vocab, s.eos))
        self.examples, self.left_out = usable(examples, unfit)
        self.aside = [example for example in held_out if unfit(example) is None]
        seconds = [len(example.codes) / CODE_RATE for example in self.examples]
        self.order = Order(seconds, self.how.batch, self.how.batch_seconds, self.how.seed)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser: torch.optim.Optimizer
        if self.how.optimiser == "scaled":
            self.optimiser = ScaledAdam(trained, self.how.rate, self.how.betas)
        else:
            self.optimiser = torch.optim.AdamW(trained, self.how.rate, self.how.betas, weight_decay=0.0)
        self.kinds: Tensor | None = None
        if self.how.kinds is not None:
            end = max(self.how.kinds) + 1
            self.kinds = torch.tensor([*self.how.kinds, end], device=self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.device.type == "cuda")
        self.step = 0

    def train_step(self) -> dict[str, float]:
        """The gradients of a few batches, then one step."""
        self.model.train()
        if self.how.optimiser == "adamw":
            for group in self.optimiser.param_groups:
                group["lr"] = self.how.rate * min(1.0, (self.step + 1) / self.how.warm_up)
        self.optimiser.zero_grad(set_to_none=True)
        entropy, away, right, count = 0.0, 0.0, 0, 0
        for turn in range(self.how.accumulated):
            chosen = [self.examples[i] for i in next(self.order)]
            loss, hits, places = self._loss(*self._batch(chosen))
            entropy, right, count = entropy + float(loss.detach()), right + hits, count + places
            if self.how.rehearsal is not None:
                # Another few at each turn, and the same ones whenever a step is taken again.
                chance = random.Random(f"{self.how.seed} {self.step} {turn} rehearsed")
                known = self.rehearsed[0]
                moved = self._drift(chance.sample(known, min(self.how.batch, len(known))))
                loss, away = loss + moved * places, away + float(moved.detach()) * places
            self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        losses = {"entropy": entropy / count, "right": right / count}
        return losses if self.how.rehearsal is None else {**losses, "drift": away / count}

    @cached_property
    def base(self) -> Text2Semantic:
        """The decoder as it was given, which is what rehearsing holds to."""
        plain = {k.removeprefix(PREFIX): v.detach().float() for k, v in self.published.items()}
        with weightless():
            model = Text2Semantic(replace(self.model.settings, dropout=0.0))
        load_exactly(model, plain)
        return model.to(self.device).requires_grad_(False).eval()

    @cached_property
    def rehearsed(self) -> tuple[list["Example"], list["Example"]]:
        """What the base says of the rehearsal's sentences: to learn from, and to look at only."""
        assert self.how.rehearsal is not None
        how = self.how
        return parted(said_by(self.base, how.rehearsal, self.examples, how.version, how.seed))

    def _drift(self, chosen: Sequence["Example"]) -> Tensor:
        """How far the decoder is from its base on sentences of the rehearsal."""
        assert self.how.rehearsal is not None
        batch, prompts = self._batch(chosen)
        told = []
        for model in (self.model, self.base):
            with self._half(), torch.set_grad_enabled(model is self.model and torch.is_grad_enabled()):
                logits, _ = model(batch.phones, batch.bert, batch.codes, batch.phone_lengths)
            told.append(logits * self.how.temper)
        place = torch.arange(batch.codes.shape[1] + 1, device=self.device)
        counted = (place <= batch.code_lengths[:, None]) & (place >= prompts)
        return drift(told[0][counted], told[1][counted], self.how.rehearsal)

    def _batch(self, chosen: Sequence["Example"]) -> tuple[Batch, Tensor]:
        """A batch, and how many codes of each row are prompt."""
        if not self.how.prompted or len(self.examples) < 2:
            return collate(chosen, 0, self.device), torch.zeros(len(chosen), 1, device=self.device)
        # Another prompt at each step, and the same ones whenever a step is taken again.
        chance = random.Random(self.how.seed * 1_000_003 + (self.step if self.model.training else 0))
        prompts = [chance.choice([e for e in self.examples if e is not one]) for one in chosen]
        joined = [_after(prompt, one) for prompt, one in zip(prompts, chosen, strict=True)]
        sizes = torch.tensor([[len(prompt.codes)] for prompt in prompts], device=self.device)
        return collate(joined, 0, self.device), sizes

    def _loss(self, batch: Batch, prompts: Tensor) -> tuple[Tensor, int, int]:
        """Cross-entropy summed over codes and ends, how many were foretold rightly, and of how many.

        What lies before ``prompts`` [B, 1] codes is given, not foretold.
        """
        with self._half():
            logits, _ = self.model(batch.phones, batch.bert, batch.codes, batch.phone_lengths)
        logits = logits * self.how.temper
        place = torch.arange(batch.codes.shape[1] + 1, device=self.device)
        ends = batch.code_lengths[:, None]
        target = F.pad(batch.codes, (0, 1)).masked_fill(place == ends, self.model.settings.eos)
        target = target.masked_fill((place > ends) | (place < prompts), IGNORED)
        counted = target != IGNORED
        told, wanted = logits[counted].float(), target[counted]
        guessed = told.argmax(-1)
        if self.kinds is None:
            return (
                F.cross_entropy(told, wanted, reduction="sum"),
                int((guessed == wanted).sum()),
                len(wanted),
            )
        # The chance of a kind is the sum of its codes' chances.
        members = F.one_hot(self.kinds).to(told.dtype)  # [V, kinds]
        chances = (told.softmax(-1) @ members).clamp(min=LEAST_CHANCE).log()
        loss = F.nll_loss(chances, self.kinds[wanted], reduction="sum")
        return loss, int((self.kinds[guessed] == self.kinds[wanted]).sum()), len(wanted)

    @torch.no_grad()
    def held_out(self) -> float:
        """What is learned and what is forgotten, in nats a code: `entropy`, and the drift from the base."""
        entropy = self.entropy()
        if self.how.rehearsal is None:
            return entropy
        batches = list(in_turn(self.rehearsed[1], self.how.batch))
        return entropy + sum(float(self._drift(batch)) for batch in batches) / max(len(batches), 1)

    @torch.no_grad()
    def entropy(self) -> float:
        """Cross-entropy of a held-out code in nats, ends included; NaN without any."""
        self.model.eval()
        entropy, count = 0.0, 0
        for number, example in enumerate(self.aside):
            prompt = self.examples[number % len(self.examples)]
            whole = _after(prompt, example) if self.how.prompted else example
            given = len(whole.codes) - len(example.codes)
            batch = collate([whole], 0, self.device)
            loss, _, places = self._loss(batch, torch.tensor([[given]], device=self.device))
            entropy, count = entropy + float(loss), count + places
        return entropy / count if count else float("nan")

    def epoch_steps(self) -> int:
        return -(-len(self.order.batches) // self.how.accumulated)

    def weights(self) -> dict[str, Tensor]:
        """The release's tensors: the trained parts as they are now, all others the very ones given."""
        now = self.model.published_state()
        names = {name: PREFIX + name.removeprefix(PREFIX) for name in self.published}
        return {
            name: now[full].to("cpu", copy=True) if belongs(full, self.layers) else self.published[name]
            for name, full in names.items()
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "only": self.only,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "order": self.order.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["only"] != self.only:
            raise ValueError("the checkpoint trains other parts")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.order.load_state_dict(state["order"])
        self.step = state["step"]

    def _half(self) -> AbstractContextManager[Any]:
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.float16)
        return torch.autocast("cpu", torch.bfloat16) if self.how.half_on_cpu else nullcontext()


def _after(prompt: "Example", one: "Example") -> "Example":
    """``one`` as it follows ``prompt``: the phones of both, the codes of both."""
    bert = None
    if prompt.bert is not None and one.bert is not None:
        bert = np.concatenate([prompt.bert, one.bert], axis=1)
    return replace(
        one,
        phones=np.concatenate([prompt.phones, one.phones]),
        codes=np.concatenate([prompt.codes, one.codes]),
        bert=bert,
    )
