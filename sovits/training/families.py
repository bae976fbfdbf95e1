"""What differs between the families of voices when they are trained: their objectives.

Clips, loop, references and report are the same for all, and features differ in hearing. Not for speaking,
which asks voicefile. Follows specs/training.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from torch import Tensor

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits.declared import LITE
from p2pvoice.sovits.lite.rehearsal import LANGUAGES
from p2pvoice.sovits.lite.units import KIND_OF, SHARPENED, without_blips
from p2pvoice.sovits.voicefile import Bundle, VoiceFile

from .dataset import Example
from .distil import sentences
from .gpt_rehearsal import Rehearsal
from .loop import Objective
from .objective_gpt import GptObjective, GptTraining
from .objective_lite import LiteObjective, LiteTraining
from .objective_sovits import SovitsObjective, SovitsTraining
from .parts import Only

PATIENCE: Final = {"sovits": 6, "gpt": 4}
"""Looks without a better one, after which a network's training ends: a minute is soon known by heart."""


class Family(Protocol):
    """One family's part in a training."""

    without_part: str
    """What is lost when the base brings no training part; empty when nothing is."""

    def voice_objective(
        self,
        base: Bundle,
        part: Mapping[str, Tensor] | None,
        examples: Sequence[Example],
        held_out: Sequence[Example],
        only: Only,
        seed: int,
    ) -> Objective:
        """How codes become sound."""

    def gpt_objective(
        self, base: Bundle, examples: Sequence[Example], held_out: Sequence[Example], only: Only, seed: int
    ) -> GptObjective:
        """How text becomes codes."""

    def lead_in(self, part: Mapping[str, Tensor] | None) -> int:
        """First steps in which only what a release does not store is learned."""


LITE_GPT_RATE: Final = 2e-4
"""AdamW's, for a decoder of three million weights; with a rehearsal, or it unlearns (specs/lite.md)."""
REHEARSED: Final = {True: 24, False: 8}
"""Sentences that a lite voice's GPT rehearses in the language of its recordings (True), and in each other."""


class _Gpt:
    """The text-to-semantic decoder, which is the same network in every family."""

    def gpt_objective(
        self, base: Bundle, examples: Sequence[Example], held_out: Sequence[Example], only: Only, seed: int
    ) -> GptObjective:
        config = base.voice.gpt_config()
        how = self.gpt_training(seed, examples[0].lang)
        return GptObjective(base.gpt, config, None, examples, held_out, how, only=only)

    def gpt_training(self, seed: int, lang: str) -> GptTraining:
        """The published recipe."""
        return GptTraining(seed=seed)


class GptSovits(_Gpt):
    """Upstream's family (v2), and voices built like it."""

    without_part = (
        "the base brings no training part: the posterior was learned anew and there was no adversary; "
        "expect a duller voice, that this gains on the base has not been measured"
    )

    def voice_objective(
        self,
        base: Bundle,
        part: Mapping[str, Tensor] | None,
        examples: Sequence[Example],
        held_out: Sequence[Example],
        only: Only,
        seed: int,
    ) -> Objective:
        settings = SovitsTraining(seed=seed)
        config = base.voice.sovits_config()
        return SovitsObjective(base.sovits, config, part, examples, held_out, settings, only=only)

    def lead_in(self, part: Mapping[str, Tensor] | None) -> int:
        return 0 if part is not None else SovitsTraining.new_posterior_steps


def rehearsed(lang: str) -> tuple[tuple[str, str], ...]:
    """What a lite voice's GPT goes on saying: mostly in ``lang``, some in the family's other languages."""
    return tuple((said, own) for own in LANGUAGES for said in sentences(own, REHEARSED[own == lang]))


class Lite(_Gpt):
    """The project's own small family: its latent is a fixed analysis, so no training part is wanted."""

    without_part = ""

    def voice_objective(
        self,
        base: Bundle,
        part: Mapping[str, Tensor] | None,
        examples: Sequence[Example],
        held_out: Sequence[Example],
        only: Only,
        seed: int,
    ) -> Objective:
        settings = LiteTraining(seed=seed)
        config = base.voice.sovits_config()
        return LiteObjective(base.sovits, config, part, examples, held_out, settings, only=only)

    def gpt_objective(
        self, base: Bundle, examples: Sequence[Example], held_out: Sequence[Example], only: Only, seed: int
    ) -> GptObjective:
        # A decoder that learns pauses within words says them everywhere.
        heard, aside = (
            [replace(one, codes=without_blips(one.codes)) for one in some] for some in (examples, held_out)
        )
        return super().gpt_objective(base, heard, aside, only, seed)

    def gpt_training(self, seed: int, lang: str) -> GptTraining:
        """After prompts, by unsharpened logits, sounds without pitch, with a rehearsal: specs/lite.md."""
        return GptTraining(
            batch=8,
            accumulated=1,
            rate=LITE_GPT_RATE,
            betas=(0.9, 0.98),
            optimiser="adamw",
            temper=SHARPENED,
            prompted=True,
            kinds=tuple(KIND_OF.tolist()),
            rehearsal=Rehearsal(rehearsed(lang)),
            version=LITE,
            seed=seed,
        )

    def lead_in(self, part: Mapping[str, Tensor] | None) -> int:
        return 0


def family_of(voice: VoiceFile) -> Family:
    """The family of a base. Raises UsageError for one that cannot be trained yet."""
    if voice.version == LITE:
        return Lite()
    if voice.version == "v2":
        return GptSovits()
    raise UsageError(
        f"a voice of version {voice.version} cannot be trained yet", hint="train from a v2 or a lite voice"
    )
