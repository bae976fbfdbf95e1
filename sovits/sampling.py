"""Drawing semantic codes from the decoder's logits, in exactly the published order of steps.

Not for the network: see gpt. Every request brings its own random generator, on the CPU, so that a seed gives
the same codes on every device and whatever else runs. Follows specs/sampling.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.gpt import Cache
from p2pvoice.sovits.sizes import GptSettings

MIN_CODES = 11
"""The end token is barred from the first so many draws."""
MAX_CODES = 1500
"""No sentence grows longer: 60 seconds at 25 codes a second."""
MIN_TEMPERATURE = 1e-5

Noise = Callable[[int, int], Tensor]
"""(step, width) -> that many draws from Exp(1), float32 on the CPU."""


class Decoder(Protocol):
    """What draws come from: gpt.Text2Semantic on every device, packed.PackedGpt on the CPU."""

    settings: GptSettings

    def prefill(
        self, phones: Tensor, bert: Tensor | None, prompt: Tensor | None, room: int
    ) -> tuple[Tensor, Cache]: ...

    def step(self, code: int, cache: Cache) -> Tensor: ...


@dataclass(frozen=True)
class Sampling:
    """How adventurous the draw is; the defaults are those of the published pipeline."""

    top_k: int = 15
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.35

    def __post_init__(self) -> None:
        if not (self.top_k >= 1 and 0 < self.top_p <= 1 and 0 <= self.temperature <= 10):
            raise UsageError("top_k must be at least 1, top_p within 0 and 1, temperature within 0 and 10")
        if not 0.1 <= self.repetition_penalty <= 10:
            raise UsageError("repetition_penalty must lie within 0.1 and 10")


def exponential_noise(generator: torch.Generator) -> Noise:
    """Noise from a generator of one's own; ``generator`` must live on the CPU."""
    return lambda _step, width: torch.empty(width).exponential_(generator=generator)


def penalise(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make each earlier code less likely, once however often it came: logits [V], seen [V or more]."""
    less = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen[: len(logits)], less, logits)


def probabilities(penalised: Tensor, s: Sampling) -> Tensor:
    """Logits after the repetition penalty -> what is drawn from: both [V]."""
    scores = penalised
    if s.top_p < 1.0:
        ranked, order = scores.sort(descending=True)
        # An entry goes when the sum up to and including itself exceeds top_p; the best one always stays.
        beyond = ranked.softmax(-1).cumsum(-1) > s.top_p
        beyond[0] = False
        scores = scores.index_fill(0, order[beyond], float("-inf"))
    scores = scores / max(s.temperature, MIN_TEMPERATURE)
    if s.top_k < len(scores):
        worst_kept = scores.topk(s.top_k).values[-1]
        scores = scores.masked_fill(scores < worst_kept, float("-inf"))
    return scores.softmax(-1)


def generate(
    model: Decoder,
    phones: Tensor,
    bert: Tensor | None,
    prompt: Tensor | None,
    sampling: Sampling,
    noise: Noise,
    *,
    early_stop: int = MAX_CODES,
    on_code: Callable[[int], None] | None = None,
) -> list[int]:
    """The new codes of one sentence, without the end token.

    phones [1, L], bert [1, bert_dim, L] or None, prompt [1, N] or None. ``early_stop`` bounds the new codes;
    ``on_code`` hears of each code as it is drawn and may raise to stop. The codes of an early stop are all
    kept: the published loop loses one there.
    """
    limit = min(early_stop, MAX_CODES)
    eos = model.settings.eos
    logits, cache = model.prefill(phones, bert, prompt, room=limit)
    drawn: list[int] = []
    seen = torch.zeros(model.settings.vocab, dtype=torch.bool)
    if prompt is not None:
        seen[prompt[0].cpu()] = True
    while True:
        # Before the first so many draws the end has no column at all, so no rule below ever sees it.
        scores = logits.float().cpu()[: eos if len(drawn) < MIN_CODES else eos + 1]
        scores = penalise(scores, seen, sampling.repetition_penalty)
        share = probabilities(scores, sampling)
        code = int((share / noise(len(drawn), len(share))).argmax())
        if code == eos or int(scores.argmax()) == eos:
            return drawn
        drawn.append(code)
        seen[code] = True
        if on_code is not None:
            on_code(code)
        if len(drawn) >= limit:
            return drawn
        logits = model.step(code, cache)
