"""Trains the starter's GPT: phones to codes of all three languages, as inference will ask for them.

Most of the sequences are a prompt followed by the sentence, because that is what speaking gives the
network: the phones of both, the prompt's codes, and then the codes to come. Two heads of one layer are taught
to look at the phone that the next code belongs to. Reads the corpus again as it grows and resumes from its
checkpoint. Follows specs/starter.md.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.lite import units
from p2pvoice.sovits.sizes import GptSettings

from . import corpus
from .corpus import Item

SETTINGS: Final = GptSettings(width=192, heads=4, layers=6, feed_forward=768, dropout=0.05)
GUIDED_LAYER: Final = 2
GUIDED_HEADS: Final = 2
GUIDANCE: Final = 1.0
"""Weight of the attention's loss."""
SOUNDNESS: Final = 1.0
"""Weight of telling the right sound, whatever its pitch: to be understood matters more than melody."""
PROMPTED: Final = 0.8
"""Share of the sequences that have a prompt before the sentence: speaking always has one, and what goes wrong
there is losing the place among the phones of both."""
OWN_PROMPT: Final = 0.7
"""Share of the prompts that are by the speaker of the sentence."""
SILENCE: Final = (0, 8)
"""Silent codes after a prompt."""
WRONG: Final = 0.04
"""Share of a prompt's codes that are disturbed, as a content encoder errs."""
NORMALITY: Final = 0.02
"""Weight of the squared log of the softmax's sum. Logits that are near log-probabilities are hardly moved by
a repetition penalty, which would otherwise forbid a voice whose codes repeat by design to speak."""
LONGEST: Final = 380
"""Codes of the longest sequence trained on."""
POSITIONS: Final = 1400
"""Codes and phones, padding included, of a batch."""
LANGUAGES: Final = {"zh": 0.42, "en": 0.35, "yue": 0.23}
"""How often each language is drawn."""
SAVE_SECONDS: Final = 120.0
AVERAGE: Final = 0.998
"""Weight of the past in the running average of the weights, which is what speaks."""
HELD: Final = 40
"""Items of each language that are kept aside to measure."""
IGNORED: Final = -100

Curve = NDArray[np.int16]
Sequence4 = tuple[Curve, Curve, Curve, int]
"""Phones, codes, owner of each code, and how many of the codes are prompt."""

_SOUND_ROWS: Final = torch.zeros(SETTINGS.vocab, len(units.NAMES) + 1)
_SOUND_ROWS[torch.arange(units.USED), torch.from_numpy(units.SOUND_OF)] = 1
_SOUND_ROWS[SETTINGS.eos, -1] = 1
"""Which sound each code is of; the end is one more."""


def fresh_model() -> Text2Semantic:
    """Rows of like codes start alike: sound, level and onset each add a direction of their own."""
    model = Text2Semantic(SETTINGS)
    used = torch.arange(units.USED)
    levels = torch.from_numpy(units.LEVEL_OF)
    features = torch.zeros(SETTINGS.vocab, len(units.NAMES) + units.LEVELS + 2)
    features[used, torch.from_numpy(units.SOUND_OF)] = 1.0
    steps = (torch.arange(units.LEVELS - 1) < levels[:, None]).float() * 0.5
    features[: units.USED, len(units.NAMES) : len(units.NAMES) + units.LEVELS - 1] = steps
    features[: units.USED, -3] = (levels >= 0).float() * 0.5
    features[: units.USED, -2] = torch.from_numpy(units.ONSET_OF).float() * 0.7
    features[SETTINGS.eos, -1] = 1.0
    with torch.no_grad():
        for table, size in (
            (model.ar_audio_embedding["word_embeddings"].weight, 0.7),
            (model.ar_predict_layer.weight, 0.06),
        ):
            table.copy_(features @ torch.randn(features.shape[1], SETTINGS.width) * size)
            table.add_(torch.randn_like(table) * size * 0.1)
        model.ar_text_embedding["word_embeddings"].weight.mul_(0.7)
        model.bert_proj.bias.zero_()
    return model


def sequence(item: Item, prompt: Item | None, rnd: random.Random) -> Sequence4:
    """One training sequence."""
    if prompt is None:
        return item.phones, item.codes, item.owner, 0
    codes = prompt.codes.copy()
    for at in range(1, len(codes)):
        if rnd.random() < WRONG:
            codes[at] = codes[at - 1] if rnd.random() < 0.5 else rnd.randrange(units.USED)
    silence = np.full(rnd.randint(*SILENCE), units.silence_code(), np.int16)
    tail = np.full(len(silence), len(prompt.phones) - 1, np.int16)
    return (
        np.concatenate([prompt.phones, item.phones]),
        np.concatenate([codes, silence, item.codes]),
        np.concatenate([prompt.owner, tail, item.owner + np.int16(len(prompt.phones))]),
        len(codes) + len(silence),
    )


def _pad(rows: Sequence[NDArray[np.int16]]) -> Tensor:
    return nn.utils.rnn.pad_sequence([torch.from_numpy(row.astype(np.int64)) for row in rows], True)


def losses(model: Text2Semantic, rows: Sequence[Sequence4]) -> dict[str, Tensor]:
    """Entropy of codes and of their sounds, the two regularisers, and shares of codes and sounds right."""
    phones, codes, owner = (_pad([row[i] for row in rows]) for i in (0, 1, 2))
    lengths = torch.tensor([len(row[0]) for row in rows])
    ends = torch.tensor([len(row[1]) for row in rows])
    prompts = torch.tensor([row[3] for row in rows])
    place = torch.arange(codes.shape[1] + 1)
    target = F.pad(codes, (0, 1)).masked_fill(place > ends[:, None], IGNORED)
    target[torch.arange(len(rows)), ends] = SETTINGS.eos
    target = target.masked_fill(place < prompts[:, None], IGNORED)
    with torch.autocast("cpu", torch.bfloat16):
        logits, attention = model(phones, None, codes, lengths, attention_layer=GUIDED_LAYER)
    assert attention is not None
    counted = target != IGNORED
    wanted, told = target[counted], logits[counted].float()
    logs = told.log_softmax(-1)
    chances = (logs.exp() @ _SOUND_ROWS).clamp(min=1e-6).log()
    sounds = _SOUND_ROWS.argmax(-1)
    looked = attention[:, :GUIDED_HEADS, :-1].float().mean(1).gather(2, owner[..., None])[..., 0]
    return {
        "entropy": F.nll_loss(logs, wanted),
        "sound": F.nll_loss(chances, sounds[wanted]),
        "guided": -(looked + 1e-5).log()[place[:-1] < ends[:, None]].mean(),
        "normal": told.logsumexp(-1).square().mean(),
        "right": (told.argmax(-1) == wanted).float().mean(),
        "sounds": (sounds[told.argmax(-1)] == sounds[wanted]).float().mean(),
    }


class _Library:
    """The items by language and speaker, read again as the folders grow."""

    def __init__(self, folders: Sequence[Path]):
        self._folders, self._seen = folders, set[Path]()
        self.by_language: dict[str, list[Item]] = {}
        self.by_speaker: dict[str, list[Item]] = {}
        self.held: dict[str, list[Item]] = {}

    def look(self) -> None:
        """Read what is new. The first items of each language's first shard are never trained on."""
        for path in (path for folder in self._folders for path in corpus.shards(folder)):
            if path in self._seen:
                continue
            self._seen.add(path)
            for item in corpus.read_shard(path, audio=False):
                if not 12 < len(item.codes) < 200:
                    continue
                held = self.held.setdefault(item.language, [])
                if len(held) < HELD:
                    held.append(item)
                    continue
                self.by_language.setdefault(item.language, []).append(item)
                self.by_speaker.setdefault(item.speaker, []).append(item)

    def prompt(self, item: Item, rnd: random.Random) -> Item | None:
        """An utterance to come before ``item``, if the two are not too long together."""
        same = rnd.random() < OWN_PROMPT
        pool = self.by_speaker[item.speaker] if same else self.by_language[rnd.choice([*self.by_language])]
        chosen = rnd.choice(pool)
        room = LONGEST - SILENCE[1] - len(item.codes)
        return chosen if chosen is not item and 50 <= len(chosen.codes) <= room else None

    def batches(self, rnd: random.Random) -> Iterator[list[Sequence4]]:
        """Batches of sequences of like length, drawn by language, without end."""
        while True:
            spoken = [name for name in LANGUAGES if self.by_language.get(name)]
            drawn = rnd.choices(spoken, [LANGUAGES[name] for name in spoken], k=400)
            rows = []
            for name in drawn:
                item = rnd.choice(self.by_language[name])
                rows.append(sequence(item, self.prompt(item, rnd) if rnd.random() < PROMPTED else None, rnd))
            rows.sort(key=lambda row: len(row[0]) + len(row[1]))
            batches: list[list[Sequence4]] = [[]]
            for row in rows:
                if (len(batches[-1]) + 1) * (len(row[0]) + len(row[1])) > POSITIONS:
                    batches.append([])
                batches[-1].append(row)
            rnd.shuffle(batches)
            yield from (batch for batch in batches if batch)


def train(
    folders: Sequence[Path], checkpoint: Path, minutes: float, *, rate: float = 1e-3, settle: float = 0.5,
    seed: int = 0, tell: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Train on the shards of ``folders`` for ``minutes`` of wall time; the rate falls in its last part."""
    torch.manual_seed(seed)
    rnd = random.Random(seed)
    library = _Library(folders)
    library.look()
    model, average = fresh_model(), Text2Semantic(SETTINGS)
    average.load_state_dict(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), rate, (0.9, 0.96), weight_decay=0.02)
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["cpu_seconds"]
        rnd.seed(seed + step)
    begun, cpu, first, saved_at = time.monotonic(), time.process_time(), step, time.monotonic()
    sums: list[list[float]] = []
    tests = {name: [sequence(i, None, rnd) for i in items] for name, items in library.held.items()}

    def save() -> None:
        state = {
            "model": model.state_dict(), "average": average.state_dict(), "step": step,
            "optimiser": optimiser.state_dict(), "cpu_seconds": spent + time.process_time() - cpu,
        }  # fmt: skip
        part = checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(checkpoint)

    for rows in library.batches(rnd):
        done = (time.monotonic() - begun) / (minutes * 60)
        if done >= 1:
            break
        factor = min(1.0, (step - first + 1) / (200 if first == 0 else 30)) * min(
            1.0, max(0.03, (1 - done) / settle)
        )
        for group in optimiser.param_groups:
            group["lr"] = rate * factor
        made = losses(model, rows)
        loss = made["entropy"] + SOUNDNESS * made["sound"] + GUIDANCE * made["guided"]
        optimiser.zero_grad()
        (loss + NORMALITY * made["normal"]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        keep = min(AVERAGE, step / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)
        sums.append([float(value.detach()) for value in made.values()])
        if step % 50 == 0:
            told = " ".join(f"{n} {v:.3f}" for n, v in zip(made, np.mean(sums, 0), strict=True))
            if step % 200 == 0:
                average.eval()
                for name, held in tests.items():
                    with torch.no_grad():
                        parts = [losses(average, held[i : i + 20]) for i in range(0, len(held), 20)]
                    told += f" | {name} " + " ".join(
                        f"{np.mean([float(part[key]) for part in parts]):.3f}"
                        for key in ("entropy", "sound", "guided", "sounds")
                    )
            used = spent + time.process_time() - cpu
            tell(f"step {step} cpu {used:.0f} rate {rate * factor:.1e} {told}")
            sums = []
        if time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            library.look()
            saved_at = time.monotonic()
    save()


def load_gpt(checkpoint: Path) -> Text2Semantic:
    """The decoder of a training checkpoint, ready to speak."""
    model = Text2Semantic(SETTINGS)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    return model.eval()
