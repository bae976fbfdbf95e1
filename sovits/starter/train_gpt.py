"""Trains the bootstrap voice's GPT: phones to codes, as inference will ask for them.

Most items are a prompt followed by the sentence, because that is what speaking gives the network: the
phones of both, the prompt's codes, some silence (a reference clip is padded with it), and then the codes
to come. Two heads of one layer are taught to look at the phone that the next code belongs to. Resumes
from its checkpoint. Follows specs/bootstrap-voice.md.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.sizes import GptSettings

from . import units
from .corpus import Item
from .train_sovits import SAVE_SECONDS, batches, pad

SETTINGS: Final = GptSettings(width=192, heads=4, layers=5, feed_forward=768, dropout=0.05)
GUIDED_LAYER: Final = 2
GUIDED_HEADS: Final = 2
GUIDANCE: Final = 1.0
"""Weight of the attention's loss."""
SOUNDNESS: Final = 1.0
"""Weight of telling the right sound, whatever its pitch: to be understood matters more than melody."""
PROMPTED: Final = 0.75
"""Share of the batches whose items have a prompt before them."""
PADDING: Final = (10, 16)
"""Silent codes after a prompt: the 0.6 s of zeros that importing appends, and what recognition makes of
them."""
LONGEST: Final = 260
"""Codes of the longest sequence trained on."""
WRONG: Final = 0.03
"""Share of a prompt's codes that are disturbed, as a content encoder errs."""
NORMALITY: Final = 0.05
"""Weight of the squared log of the softmax's sum. Logits that are near log-probabilities are hardly
moved by a
repetition penalty, which would otherwise forbid a voice whose codes repeat by design to speak."""
IGNORED: Final = -100

Sequence3 = tuple[np.ndarray, np.ndarray, np.ndarray, int]
"""Phones, codes, owner of each code, and how many of the codes are prompt."""


def fresh_model() -> Text2Semantic:
    """Rows of like codes start alike: sound, level and onset each add a direction of their own."""
    model = Text2Semantic(SETTINGS)
    features = torch.zeros(SETTINGS.vocab, units.WIDTH + 2)
    features[: units.USED, : units.WIDTH] = torch.from_numpy(units.codebook()[: units.USED])
    features[units.USED : -1, -2] = 1.0
    features[-1, -1] = 1.0
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


def sequence(
    item: Item, prompt: Item | None, rnd: random.Random, heard: np.ndarray | None = None
) -> Sequence3:
    """One training sequence; ``heard`` are the codes that import finds in the clip of ``prompt``."""
    if prompt is None:
        return item.phones, item.codes, item.owner, 0
    if heard is not None:
        last = np.full(len(heard), len(prompt.phones) - 1, np.int16)
        last[: len(prompt.owner)] = prompt.owner
        return (
            np.concatenate([prompt.phones, item.phones]),
            np.concatenate([heard, item.codes]),
            np.concatenate([last, item.owner + np.int16(len(prompt.phones))]),
            len(heard),
        )
    silence = np.full(rnd.randint(*PADDING), units.silence_code(), np.int16)
    codes = prompt.codes.copy()
    for at in range(len(codes)):
        if rnd.random() < WRONG:
            codes[at] = codes[max(0, at - 1)]
    tail = np.full(len(silence), len(prompt.phones) - 1, np.int16)
    return (
        np.concatenate([prompt.phones, item.phones]),
        np.concatenate([codes, silence, item.codes]),
        np.concatenate([prompt.owner, tail, item.owner + np.int16(len(prompt.phones))]),
        len(codes) + len(silence),
    )


def losses(model: Text2Semantic, rows: Sequence[Sequence3]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cross-entropy; all that is added to it; the sounds' own part of that; how many of the codes are
    right."""
    phones = pad([row[0].astype(np.int64) for row in rows])
    codes = pad([row[1].astype(np.int64) for row in rows])
    owner = pad([row[2].astype(np.int64) for row in rows])
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
    logits = logits.float()
    entropy = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORED)
    counted = target != IGNORED
    real = place[:-1] < ends[:, None]
    looked = attention[:, :GUIDED_HEADS, :-1].float().mean(1).gather(2, owner[..., None])[..., 0]
    guided = -(looked + 1e-5).log()[real].mean()
    right = (logits.argmax(-1) == target)[counted].float().mean()
    same = torch.zeros(SETTINGS.vocab, len(units.NAMES) + 1)
    same[
        torch.arange(units.USED),
        torch.tensor([units.NAMES.index(units.entry_of(c)[0]) for c in range(units.USED)]),
    ] = 1
    same[SETTINGS.eos, -1] = 1
    chances = (logits[counted].softmax(-1) @ same).clamp(min=1e-6).log()
    sound = F.nll_loss(chances, same.argmax(-1)[target[counted]])
    excess = logits.logsumexp(-1)[counted].square().mean()
    extra = GUIDANCE * guided + SOUNDNESS * sound + NORMALITY * excess
    return entropy, extra, sound, right


def train(
    items: Sequence[Item],
    checkpoint: Path,
    minutes: float,
    *,
    batch: int = 16,
    rate: float = 1e-3,
    settle: float = 0.5,
    seed: int = 0,
    held: int = 64,
    reference: tuple[Item, np.ndarray] | None = None,
) -> None:
    """Train for ``minutes`` of wall time; ``held`` utterances are kept aside to measure.

    With ``reference``, the clip that will ship and the codes found in it, every prompt is that one.
    """
    torch.manual_seed(seed)
    rnd = random.Random(seed)
    items = [item for item in items if 15 < len(item.codes) < 160]
    kept = [items[i] for i in range(0, len(items), max(1, len(items) // held))][:held]
    aside = {id(item) for item in kept}
    items = [item for item in items if id(item) not in aside]
    model = fresh_model()
    optimiser = torch.optim.AdamW(model.parameters(), rate, (0.9, 0.96), weight_decay=0.02)
    step, spent = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["cpu_seconds"]
        rnd.seed(seed + step)
    begun, cpu, first, saved_at = time.monotonic(), time.process_time(), step, time.monotonic()
    sums: list[tuple[float, ...]] = []
    test_rows = [sequence(item, None, rnd) for item in kept]

    def save() -> None:
        state = {
            "model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step,
            "cpu_seconds": spent + time.process_time() - cpu,
        }  # fmt: skip
        part = checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(checkpoint)

    for chosen in batches(items, batch, rnd):
        done = (time.monotonic() - begun) / (minutes * 60)
        if done >= 1:
            break
        factor = min(1.0, (step - first + 1) / (150 if first == 0 else 30)) * (
            1 if done < 1 - settle else max(0.03, (1 - done) / settle)
        )
        for group in optimiser.param_groups:
            group["lr"] = rate * factor
        if rnd.random() < PROMPTED:
            prompt, heard = reference or (None, None)
            rows = [sequence(item, prompt or rnd.choice(items), rnd, heard) for item in chosen[: batch // 2]]
            rows = [row for row in rows if len(row[1]) <= LONGEST] or [sequence(chosen[0], None, rnd)]
        else:
            rows = [sequence(item, None, rnd) for item in chosen]
        entropy, extra, sound, right = losses(model, rows)
        optimiser.zero_grad()
        (entropy + extra).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        sums.append(tuple(float(x.detach()) for x in (entropy, extra, sound, right)))
        if step % 50 == 0:
            told = "entropy {:.3f} extra {:.3f} sound {:.3f} right {:.3f}".format(*np.mean(sums, 0))
            if step % 200 == 0:
                model.eval()
                with torch.no_grad():
                    heard = [losses(model, test_rows[i : i + 16]) for i in range(0, len(test_rows), 16)]
                told += " | held out {:.3f} {:.3f} {:.3f} {:.3f}".format(
                    *np.mean([[float(x) for x in h] for h in heard], 0)
                )
                model.train()
            used = spent + time.process_time() - cpu
            print(f"step {step} cpu {used:.0f} rate {rate * factor:.1e} {told}", flush=True)
            sums = []
        if time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            saved_at = time.monotonic()
    save()


def load_gpt(checkpoint: Path) -> Text2Semantic:
    """The decoder of a training checkpoint, ready to speak."""
    model = Text2Semantic(SETTINGS)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    return model.eval()
