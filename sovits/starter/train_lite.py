"""Trains the acoustic half of the starter: a lite voice of many speakers.

First the decoder from the true latent, then the text encoder (prior) beside it, then both together, the
decoder mostly on the text encoder's latent. The style encoder learns from the start to tell speakers apart,
on another utterance than the one that is spoken, so that it clones speakers it never met. One torch thread;
resumes from its checkpoint with the same random numbers. Kept beside the weights is their running mean,
which is what is judged and shipped: so training has no end that it must know.

    python -m p2pvoice.sovits.starter.train_lite CORPUS CHECKPOINT PART --minutes N [--again R]

``--again R`` reads the corpus anew every R minutes, while it still grows. Follows specs/lite.md.
"""

import argparse
import random
import signal
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.lite import analysis, learning
from p2pvoice.sovits.lite.codebook import WIDTH, codebook
from p2pvoice.sovits.lite.learning import Batch, Cut, Utterance
from p2pvoice.sovits.lite.model import LiteVoice
from p2pvoice.sovits.sizes import LiteSettings
from p2pvoice.sovits.vits import CODEBOOK

from .speakers import TRAINED

Part = Literal["decoder", "prior", "both"]

SETTINGS: Final = LiteSettings(ssl_dim=WIDTH, dropout=0.05)

CROP: Final = {"decoder": 36, "prior": 110, "both": 80}
"""Codes that are kept of an utterance."""
SEGMENT: Final = 64
"""Frames that the decoder sees of each."""
REFERENCE: Final = (150, 350)
"""Frames of a reference, of another utterance of the speaker."""
GAIN: Final = 0.4
"""Standard deviation of a reference's gain, in nepers: the level must not tell the speaker."""
HELD_OUT_SHARE: Final = 40
"""One of the corpus's speakers in so many is not trained on, to see how it goes; those that the starter is
judged with are not in the corpus at all."""
SPEAKER_WEIGHT: Final = 0.5
AVERAGE: Final = 0.999
WARM_UP: Final = 200
"""Steps over which the rate rises at the beginning."""
SAVE_SECONDS: Final = 150
TOLD_EVERY: Final = 50
CHECK_EVERY: Final = 500


class Item(Protocol):
    """What is needed of a corpus item; samples at 24 kHz, pitch in hertz at 100 a second."""

    speaker: str
    language: str
    median: float
    audio: NDArray[np.int16]
    f0: NDArray[np.float32]
    phones: NDArray[np.int16]
    codes: NDArray[np.int16]


def held_out(speaker: str) -> bool:
    """Whether a speaker of the corpus is not trained on."""
    return zlib.crc32(speaker.encode()) % HELD_OUT_SHARE == 0


class Speakers:
    """A corpus by speaker: pieces of it, and references from elsewhere."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.by_name: dict[str, list[int]] = defaultdict(list)
        for i, item in enumerate(items):
            self.by_name[item.speaker].append(i)

    def utterance(self, i: int) -> Utterance:
        """Item ``i`` as training wants it."""
        item = self.items[i]
        return Utterance(
            item.codes.astype(np.int64), item.phones.astype(np.int64),
            item.audio.astype(np.float32) / 32768, item.f0.astype(np.float32), item.median,
        )  # fmt: skip

    def reference(self, i: int, rnd: random.Random) -> Tensor:
        """A reference [CHANNELS, T] for item ``i``: a stretch of another utterance, at another gain."""
        own = self.by_name[self.items[i].speaker]
        other = self.utterance(rnd.choice([j for j in own if j != i] or own))
        size = min(len(other.codes), rnd.randint(*REFERENCE) // 2)
        cut = other.piece(rnd.randrange(len(other.codes) - size + 1), size)
        heard = learning.reference_of(cut)
        heard[: analysis.MEL] += rnd.gauss(0, GAIN) / analysis.MEL_SPREAD
        return heard

    def batch(self, chosen: Sequence[int], crop: int, rnd: random.Random) -> Batch:
        """A batch of pieces."""
        utterances = []
        for i in chosen:
            whole = self.utterance(i)
            size = min(crop, len(whole.codes))
            utterances.append(whole.piece(rnd.randrange(len(whole.codes) - size + 1), size))
        return learning.collate(utterances, [self.reference(i, rnd) for i in chosen])


class Course:
    """The network in training, with everything that a resumed training needs."""

    def __init__(self, settings: LiteSettings, seed: int) -> None:
        torch.manual_seed(seed)
        self.voice = LiteVoice(settings)
        self.voice.quantizer.embed.copy_(torch.from_numpy(codebook()))
        self.names = nn.Linear(settings.gin_channels, len(TRAINED))
        self.average = {name: value.clone() for name, value in self.voice.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.parameters(), 1e-3, (0.8, 0.99), weight_decay=0.01)
        self.rnd, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)
        self.step, self.seconds = 0, 0.0
        self.first = 0
        """The step at which the optimiser was new."""

    def parameters(self) -> list[nn.Parameter]:
        return [*self.voice.parameters(), *self.names.parameters()]

    def state_dict(self) -> dict[str, Any]:
        return {
            "voice": self.voice.state_dict(), "average": self.average, "names": self.names.state_dict(),
            "optimiser": self.optimiser.state_dict(), "random": self.rnd.getstate(),
            "generator": self.generator.get_state(), "step": self.step, "cpu_seconds": self.seconds,
            "first": self.first,
            "settings": vars(self.voice.settings),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint: all of it, or, of other sizes, the weights that still fit."""
        own = self.voice.state_dict()
        fits = {k: v for k, v in state["voice"].items() if k in own and own[k].shape == v.shape}
        book = self.voice.quantizer.embed.clone()
        whole = len(fits) == len(own) == len(state["voice"])
        self.voice.load_state_dict(fits, strict=False)
        self.average = {**own, **fits, **{k: v for k, v in state["average"].items() if k in fits}}
        self.voice.quantizer.embed.copy_(book)
        self.average[CODEBOOK + "embed"] = book
        self.step, self.seconds = state["step"], state["cpu_seconds"]
        self.average = {name: value.clone() for name, value in self.average.items()}
        self.first = state.get("first", 0) if whole else self.step
        if whole:
            self.names.load_state_dict(state["names"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.rnd.setstate(state["random"])
            self.generator.set_state(state["generator"])

    def losses(
        self, batch: Batch, part: Part, speakers: Tensor | None, truth: float, frames: int = SEGMENT
    ) -> dict[str, Tensor]:
        """The losses of one batch; in ``both`` the decoder sees the true latent for the share ``truth``."""
        voice, autocast = self.voice, torch.autocast("cpu", torch.bfloat16)
        with autocast:
            style = voice.style(batch.reference, batch.reference_mask)
        style = style.float()
        losses = {"median": learning.median_loss(style, batch)}
        if speakers is not None:
            losses["speaker"] = F.cross_entropy(self.names(style[..., 0]), speakers)
        latent = batch.latent
        if part != "decoder":
            with autocast:
                mean, _ = voice.prior(
                    batch.codes, batch.phones, style, batch.code_lengths, batch.phone_lengths
                )
            mean = mean.float()
            losses |= learning.prior_losses(mean, batch)
            own = round(len(mean) * (1 - truth))
            latent = torch.cat([mean[:own], latent[own:]])
        if part != "prior":
            room = [max(0, 2 * int(n) - frames) for n in batch.code_lengths]
            cut = Cut([int(torch.randint(n + 1, (), generator=self.generator)) for n in room], frames)
            losses |= learning.decoder_losses(voice, latent, style, batch, cut, self.generator, autocast)
        return losses

    def train_step(
        self, batch: Batch, part: Part, speakers: Tensor, rate: float, truth: float
    ) -> dict[str, float]:
        """One step; returns the losses."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        losses = self.losses(batch, part, speakers, truth)
        loss = learning.weighted(losses, {**learning.WEIGHTS, "speaker": SPEAKER_WEIGHT})
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_([p for p in self.parameters() if p.grad is not None], 20.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        done = self.step - self.first
        share = min(AVERAGE, done / (done + 10))
        with torch.no_grad():
            for name, value in self.voice.state_dict().items():
                self.average[name].lerp_(value, 1 - share)
        return {name: float(value.detach()) for name, value in losses.items()} | {"norm": float(norm)}

    @torch.no_grad()
    def check(self, batches: Sequence[Batch], part: Part) -> dict[str, float]:
        """Mean losses of the averaged weights on held-out batches, all of a batch by the path that speaks."""
        trained = {name: value.clone() for name, value in self.voice.state_dict().items()}
        state = self.generator.get_state()
        self.voice.load_state_dict(self.average)
        self.voice.eval()
        self.generator.manual_seed(0)
        sums: dict[str, list[float]] = defaultdict(list)
        for batch in batches:
            for name, value in self.losses(batch, part, None, 0.0).items():
                sums[name].append(float(value))
        self.generator.set_state(state)
        self.voice.load_state_dict(trained)
        self.voice.train()
        return {name: sum(values) / len(values) for name, values in sums.items()}


def balanced(kinds: Sequence[str]) -> list[int]:
    """Indices of ``kinds``, those of a rare one several times: shares go with the square root of counts.

    What is rare is learned from at all that way, and not so often that it is learned by heart.
    """
    counts = Counter(kinds)
    most = max(counts.values())
    times = {kind: max(1, round((most / count) ** 0.5)) for kind, count in counts.items()}
    return [i for i, kind in enumerate(kinds) for _ in range(times[kind])]


def kind_of(item: Item) -> str:
    """Teacher and language of an item."""
    return f"{item.speaker.split('-')[0]} {item.language}"


def order(speakers: Speakers, size: int, part: Part, rnd: random.Random) -> Iterator[list[int]]:
    """For ever batches of utterances of like length."""
    least = SEGMENT // 2
    usable = [i for i, item in enumerate(speakers.items) if len(item.codes) >= least]
    met = [usable[i] for i in balanced([kind_of(speakers.items[i]) for i in usable])]
    while True:
        mixed = rnd.sample(met, len(met))
        for at in range(0, len(mixed) - size * 8 + 1, size * 8):
            chunk = sorted(
                mixed[at : at + size * 8], key=lambda i: min(len(speakers.items[i].codes), CROP[part])
            )
            groups = [chunk[i : i + size] for i in range(0, len(chunk), size)]
            rnd.shuffle(groups)
            yield from groups


def train(
    items: Sequence[Item],
    checkpoint: Path,
    minutes: float,
    part: Part,
    *,
    settings: LiteSettings = SETTINGS,
    batch: int = 12,
    rate: float = 1e-3,
    settle: float = 0.0,
    truth: float = 0.4,
    seed: int = 0,
    asked: Callable[[], bool] = lambda: False,
) -> None:
    """Train ``part`` for ``minutes`` of wall time, or until ``asked`` says to end; then save.

    The rate falls during the last ``settle`` of the time.
    """
    taught = Speakers([item for item in items if not held_out(item.speaker)])
    kept = Speakers([item for item in items if held_out(item.speaker)])
    course = Course(settings, seed)
    if checkpoint.exists():
        course.load_state_dict(torch.load(checkpoint, weights_only=True))
    checks = _held_out_batches(kept, part)
    print(
        f"{len(taught.items)} items of {len(taught.by_name)} speakers, {len(kept.items)} held out", flush=True
    )
    begun, cpu, saved = time.monotonic(), time.process_time(), time.monotonic()
    spent = course.seconds
    sums: dict[str, list[float]] = defaultdict(list)

    def save() -> None:
        growing = checkpoint.with_suffix(".part")
        torch.save(course.state_dict(), growing)
        growing.replace(checkpoint)

    for chosen in order(taught, batch, part, course.rnd):
        done = (time.monotonic() - begun) / (minutes * 60)
        if done >= 1 or asked():
            break
        factor = min(1.0, (course.step - course.first + 1) / WARM_UP)
        if settle:
            factor *= min(1.0, max(0.03, (1 - done) / settle))
        data = taught.batch(chosen, CROP[part], course.rnd)
        who = torch.tensor([TRAINED.index(taught.items[i].speaker) for i in chosen])
        for name, value in course.train_step(data, part, who, rate * factor, truth).items():
            sums[name].append(value)
        course.seconds = spent + time.process_time() - cpu
        if course.step % TOLD_EVERY == 0:
            print(
                _line(f"step {course.step} cpu {course.seconds:.0f} rate {rate * factor:.1e}", sums),
                flush=True,
            )
            sums.clear()
        if course.step % CHECK_EVERY == 0 and checks:
            told = {name: [value] for name, value in course.check(checks, part).items()}
            print(_line(f"  held out, step {course.step}", told), flush=True)
        if time.monotonic() - saved > SAVE_SECONDS:
            save()
            saved = time.monotonic()
    save()


def _held_out_batches(kept: Speakers, part: Part, count: int = 4, size: int = 8) -> list[Batch]:
    usable = [i for i, item in enumerate(kept.items) if len(item.codes) >= SEGMENT // 2]
    rnd = random.Random(1)
    chosen = rnd.sample(usable, min(len(usable), count * size))
    return [kept.batch(chosen[at : at + size], CROP[part], rnd) for at in range(0, len(chosen), size)]


def _line(head: str, sums: dict[str, list[float]]) -> str:
    return head + "".join(f" {name} {sum(v) / len(v):.3f}" for name, v in sums.items())


def load_voice(checkpoint: Path) -> LiteVoice:
    """The averaged network of a training checkpoint, ready to speak."""
    saved = torch.load(checkpoint, weights_only=True)
    voice = LiteVoice(LiteSettings(**{**saved["settings"], "dropout": 0.0}))
    voice.load_state_dict(saved["average"])
    return voice.eval()


def main() -> None:
    """Read the command line and train."""
    from . import corpus

    parser = argparse.ArgumentParser(prog="p2pvoice.sovits.starter.train_lite")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("part", choices=list(CROP))
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--again", type=float, metavar="MINUTES")
    parser.add_argument("--settle", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--truth", type=float, default=0.4)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    left = chosen.minutes
    while left > 0 and not ended:
        now = min(left, chosen.again or left)
        train(
            corpus.read_corpus(chosen.corpus), chosen.checkpoint, now, chosen.part,
            batch=chosen.batch, rate=chosen.rate, truth=chosen.truth,
            settle=chosen.settle if now == left else 0.0, asked=lambda: bool(ended),
        )  # fmt: skip
        left -= now


if __name__ == "__main__":
    main()
