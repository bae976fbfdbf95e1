"""How a lite voice learns a speaker: from the fixed analysis of his speech, without an adversary.

The text encoder is drawn to the analysis, the decoder to the sound, half of it from what the text encoder
says. What a minute of speech cannot tell is kept: whatever reads the text is frozen, and the text encoder
rehearses random syllables, to which it must go on saying what the base says, but for the colour of the whole.
The style itself is learned as the bias of the style encoder's last layer. Deterministic: the next step
follows from ``state_dict`` alone. Follows specs/lite.md, "Fine-tuning".
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from p2pvoice.sovits.layers import load_exactly, sequence_mask
from p2pvoice.sovits.lite import analysis, learning
from p2pvoice.sovits.lite.learning import Batch, Cut, Utterance
from p2pvoice.sovits.lite.model import LiteVoice
from p2pvoice.sovits.lite.rehearsal import rehearse
from p2pvoice.sovits.sizes import Config, Tensors

from .batches import Order, Vocabulary, choose_device, unfit_for_sovits, usable
from .parts import Only, belongs

if TYPE_CHECKING:
    from .dataset import Example

STYLE = "ref_enc.fc.fc.bias"
"""The learned style: it is added to what the style encoder says of any reference."""
PARTS = (
    *("enc_p.pre", "enc_p.code_blocks", "enc_p.upsample", "enc_p.frame_blocks", "enc_p.norm", "enc_p.proj"),
    "dec",
)
"""What reads the text is not among them: a minute of speech holds few of a language's sounds."""
LAST_BLOCKS = 2
"""Blocks of the decoder that count as last."""
PIECE_CODES = 80
"""Codes of an utterance that are looked at together."""
REFERENCE_CODES = (75, 175)
"""Codes under a reference: 3 to 7 seconds."""
HELD_OUT_SEED = 7


@dataclass(frozen=True)
class LiteTraining:
    """How to fine-tune."""

    batch: int = 6
    frames: int = 64
    """Frames of each utterance that the decoder sees."""
    rate: float = 3e-4
    prior_share: float = 0.3
    """The text encoder's share of the rate."""
    style_share: float = 5.0
    truth: float = 0.5
    """Share of a batch whose decoder sees the true latent."""
    rehearsed: int = 4
    """Random sequences of a step."""
    rehearsal_weight: float = 10.0
    warm_up: int = 30
    average: float = 0.98
    """Weight of the past in the running mean of the weights, which is what is kept."""
    half: bool = True
    """Compute the networks in bfloat16; whatever has a Fourier transform in it is in float32."""
    seed: int = 0


def lite_parts(blocks: int, only: Only) -> tuple[str, ...]:
    """The trained parts of a lite voice, by the published names."""
    if only == "all":
        return (*PARTS, "ref_enc.fc.fc")
    first = max(0, blocks - LAST_BLOCKS)
    return (*(f"dec.blocks.{i}" for i in range(first, blocks)), "dec.norm", "dec.post")


def unfit_for_lite(example: "Example", known: Vocabulary) -> str | None:
    """Why a lite voice cannot learn from an example; None when it can."""
    if example.f0 is None:
        return "its pitch was not tracked"
    if not (example.f0 > 0).any():
        return "nothing in it is voiced"
    return unfit_for_sovits(example, analysis.SAMPLE_RATE, known)


class LiteObjective:
    """Follows `loop.Objective`. ``left_out`` says by name why an example is not learned from."""

    name = "lite"

    def __init__(
        self,
        tensors: Tensors,
        config: Config,
        training_part: Tensors | None,
        examples: Sequence["Example"],
        held_out: Sequence["Example"],
        settings: LiteTraining | None = None,
        device: torch.device | str | None = None,
        only: Only = "all",
    ) -> None:
        """``tensors`` and ``config`` as the release has them; a lite voice needs no ``training_part``.

        Raises BadCheckpointError for tensors that are no such model, UsageError when no example can be used.
        """
        self.how, self.only, self.device = settings or LiteTraining(), only, choose_device(device)
        self.published = dict(tensors)
        self.base = LiteVoice.from_tensors(tensors, config).to(self.device).requires_grad_(False)
        self.voice = LiteVoice(replace(self.base.settings, dropout=0.0)).to(self.device)
        load_exactly(self.voice, {name: value.clone() for name, value in self.base.state_dict().items()})
        self.layers = lite_parts(self.base.settings.decoder_blocks, only)
        self.trained = {
            name: parameter
            for name, parameter in self.voice.named_parameters()
            if parameter.requires_grad_(self._learns(name)).requires_grad
        }
        self.optimiser = torch.optim.AdamW(self._groups(), self.how.rate, (0.8, 0.99), weight_decay=0.0)
        self.average = {name: value.detach().clone() for name, value in self.trained.items()}
        s = self.base.settings
        unfit = partial(unfit_for_lite, known=Vocabulary(s.text_vocab, s.codes))
        kept, self.left_out = usable(examples, unfit)
        aside = [example for example in held_out if unfit(example) is None]
        tracks = [example.f0 for example in (*kept, *aside) if example.f0 is not None]
        median = analysis.median_pitch(np.concatenate(tracks))
        self.examples = [_utterance(example, median) for example in kept]
        self.aside = [_utterance(example, median) for example in aside]
        seconds = [len(one.codes) / learning.CODE_RATE for one in self.examples]
        self.order = Order(seconds, self.how.batch, 1e9, self.how.seed)
        self.chance = random.Random(self.how.seed)
        self.noise = torch.Generator().manual_seed(self.how.seed)
        self.step = 0

    def _learns(self, name: str) -> bool:
        if name.startswith("ref_enc."):
            return name == STYLE and self.only == "all"
        return belongs(name, self.layers)

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by how fast they learn."""
        shares = {name: 1.0 for name in self.trained}
        for name in shares:
            if name.startswith("enc_p."):
                shares[name] = self.how.prior_share
            elif name == STYLE:
                shares[name] = self.how.style_share
        return [
            {"params": [p for n, p in self.trained.items() if shares[n] == share], "share": share}
            for share in sorted(set(shares.values()))
        ]

    def train_step(self) -> dict[str, float]:
        """Learn from the next batch, and rehearse."""
        self.voice.train()
        chosen = next(self.order)
        pieces = [self._piece(self.examples[i]) for i in chosen]
        references = [self._reference(i) for i in chosen]
        losses = self._losses(learning.collate(pieces, references).to(self.device), self.chance, self.noise)
        if self.only == "all" and self.how.rehearsed:
            losses["rehearsed"] = self._rehearsal(references)
        weights = {**learning.WEIGHTS, "rehearsed": self.how.rehearsal_weight}
        rate = self.how.rate * min(1.0, (self.step + 1) / self.how.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        self.optimiser.zero_grad(set_to_none=True)
        learning.weighted(losses, weights).backward()
        norm = nn.utils.clip_grad_norm_(self.trained.values(), 20.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        share = min(self.how.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.trained.items():
                self.average[name].lerp_(value, 1 - share)
        return {name: float(value.detach()) for name, value in losses.items() if name != "off"}

    def _losses(
        self, batch: Batch, chance: random.Random, noise: torch.Generator, truth: float | None = None
    ) -> dict[str, Tensor]:
        with self._half():
            style = self.voice.style(batch.reference, batch.reference_mask)
            mean, _ = self.voice.prior(
                batch.codes, batch.phones, style, batch.code_lengths, batch.phone_lengths
            )
        style, mean = style.float(), mean.float()
        own = round(len(mean) * (1 - (self.how.truth if truth is None else truth)))
        latent = torch.cat([mean[:own], batch.latent[own:]])
        frames = min(self.how.frames, 2 * int(batch.code_lengths.max()))
        room = [max(0, 2 * int(size) - frames) for size in batch.code_lengths]
        cut = Cut([chance.randint(0, most) for most in room], frames)
        losses = learning.decoder_losses(self.voice, latent, style, batch, cut, noise, self._half())
        losses["median"] = learning.median_loss(style, batch)
        return learning.prior_losses(mean, batch) | losses

    def _rehearsal(self, references: Sequence[Tensor]) -> Tensor:
        """How far the text encoder has moved from the base's on random syllables, in the speaker's style.

        The mean difference over a sequence is free: it is the colour of the voice, which is to be learned.
        """
        drawn = [rehearse(self.chance) for _ in range(self.how.rehearsed)]
        codes = learning.padded([codes for codes, _ in drawn]).to(self.device)
        phones = learning.padded([phones for _, phones in drawn]).to(self.device)
        sizes = torch.tensor([len(codes) for codes, _ in drawn], device=self.device)
        reads = torch.tensor([len(phones) for _, phones in drawn], device=self.device)
        reference = references[self.chance.randrange(len(references))][None].to(self.device)
        with self._half():
            style = self.voice.style(reference).expand(len(drawn), -1, -1)
            mean, _ = self.voice.prior(codes, phones, style, sizes, reads)
            with torch.no_grad():
                known = self.base.style(reference).expand(len(drawn), -1, -1)
                wanted, _ = self.base.prior(codes, phones, known, sizes, reads)
        mask = sequence_mask(2 * sizes, mean.shape[-1])
        off = (mean.float() - wanted.float()) * mask
        moved = (off - off.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)) * mask
        return moved.abs().sum() / mask.sum() / mean.shape[1]

    def _piece(self, one: Utterance) -> Utterance:
        size = min(PIECE_CODES, len(one.codes))
        return one.piece(self.chance.randint(0, len(one.codes) - size), size)

    def _reference(self, i: int) -> Tensor:
        """A stretch of another example, or of the same where there is only one."""
        others = [j for j in range(len(self.examples)) if j != i] or [i]
        one = self.examples[self.chance.choice(others)]
        size = min(len(one.codes), self.chance.randint(*REFERENCE_CODES))
        return learning.reference_of(one.piece(self.chance.randint(0, len(one.codes) - size), size))

    @torch.no_grad()
    def held_out(self) -> float:
        """Weighted distance of what held-out codes give from the truth, by the averaged weights; or NaN."""
        if not self.aside:
            return float("nan")
        now = {name: value.detach().clone() for name, value in self.trained.items()}
        self._put(self.average)
        self.voice.eval()
        chance, noise = random.Random(HELD_OUT_SEED), torch.Generator().manual_seed(HELD_OUT_SEED)
        total = 0.0
        for i, one in enumerate(self.aside):
            size = min(PIECE_CODES, len(one.codes))
            piece = one.piece((len(one.codes) - size) // 2, size)
            heard = learning.reference_of(self.examples[i % len(self.examples)])[:, : 2 * REFERENCE_CODES[1]]
            batch = learning.collate([piece], [heard]).to(self.device)
            total += float(learning.weighted(self._losses(batch, chance, noise, truth=0.0)))
        self._put(now)
        return total / len(self.aside)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.trained[name].copy_(value)

    def epoch_steps(self) -> int:
        return len(self.order.batches)

    def weights(self) -> dict[str, Tensor]:
        """The release's tensors: the averages of the trained ones, all others the very ones given."""
        return {
            name: self.average[name].to("cpu", copy=True) if name in self.average else tensor
            for name, tensor in self.published.items()
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "only": self.only,
            "step": self.step,
            "trained": {name: value.detach().clone() for name, value in self.trained.items()},
            "average": {name: value.clone() for name, value in self.average.items()},
            "optimiser": self.optimiser.state_dict(),
            "order": self.order.state_dict(),
            "chance": self.chance.getstate(),
            "noise": self.noise.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["only"] != self.only or state["trained"].keys() != self.trained.keys():
            raise ValueError("the checkpoint trains other parts")
        self._put(state["trained"])
        self.average = {name: value.to(self.device).clone() for name, value in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.order.load_state_dict(state["order"])
        self.chance.setstate(state["chance"])
        self.noise.set_state(state["noise"])
        self.step = state["step"]

    def _half(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.how.half)


def _utterance(example: "Example", median: float) -> Utterance:
    """An example as the lite family learns from it."""
    assert example.f0 is not None
    count = min(len(example.codes), len(example.audio) // (2 * analysis.HOP))
    whole = Utterance(
        np.asarray(example.codes, np.int64),
        np.asarray(example.phones, np.int64),
        np.asarray(example.audio, np.float32),
        np.asarray(example.f0, np.float32),
        median,
    )
    return whole.piece(0, count)
