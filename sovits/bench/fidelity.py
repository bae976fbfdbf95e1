"""What fast costs: how often it draws another code than exact, and how far its sound is from exact's.

``python -m p2pvoice.sovits.bench.fidelity --folder WEIGHTS --version v2`` writes one line of JSON. Codes
are compared on the voice that comes with the package, whose weights were trained; sound also on the
full-size filler weights, because the packaged voice's second network is of another kind. Follows
specs/speed.md.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pvoice.sovits import convert
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.bench.work import GPT, PHONES, SOVITS, Work, read
from p2pvoice.sovits.packaged import packaged_voice
from p2pvoice.sovits.precision import decoder
from p2pvoice.sovits.sampling import MIN_CODES, Decoder, Sampling, exponential_noise, generate, penalise
from p2pvoice.sovits.synthesize import Voice
from p2pvoice.sovits.vits import SoVits

CPU = torch.device("cpu")
Sound = NDArray[np.float32]
LONGEST = 150
"""Codes of a sentence that nothing else ends: six seconds."""
SENTENCES = (
    ("en", "The birch canoe slid on the smooth planks."),
    ("en", "Four hours of steady work faced us."),
    ("zh", "今天天气很好，我们一起去公园散步。"),
    ("zh", "请把窗户打开，屋里有点热。"),
    ("yue", "今日天氣好好，我哋一齊去公園行下。"),
    ("yue", "唔該你開下窗，屋入面有啲熱。"),
)
WINDOW, HOP, FLOOR = 1024, 256, 1e-4
"""Samples of a spectrum, samples between two, and the magnitude below which both sides count as silent."""


@dataclass
class Tally:
    """How many of how many were alike."""

    alike: int = 0
    all: int = 0

    def count(self, alike: int, of: int) -> None:
        self.alike += alike
        self.all += of

    def add(self, codes: Sequence[Sequence[int]]) -> None:
        """Count the positions where two sentences have the same code, of those of the longer one."""
        self.count(sum(a == b for a, b in zip(*codes, strict=False)), max(map(len, codes)))

    @property
    def share(self) -> float:
        return self.alike / max(self.all, 1)


def forced(
    exact: Decoder, fast: Decoder, inputs: tuple[Tensor, Tensor | None, Tensor], codes: list[int]
) -> int:
    """How many of the greedy ``codes`` fast would choose as well, were it fed exact's at every step."""
    penalty = Sampling().repetition_penalty
    (one, first), (other, second) = (model.prefill(*inputs, room=len(codes)) for model in (exact, fast))
    seen = torch.zeros(exact.settings.vocab, dtype=torch.bool)
    seen[inputs[2][0]] = True
    alike = 0
    for i, code in enumerate(codes):
        width = exact.settings.vocab - (i < MIN_CODES)
        choices = [int(penalise(logits[:width], seen, penalty).argmax()) for logits in (one, other)]
        alike += choices[0] == choices[1]
        seen[code] = True
        one, other = exact.step(code, first), fast.step(code, second)
    return alike


def spectral_distance(a: Sound, b: Sound) -> float:
    """Log-spectral distance of two sounds of one length in dB: RMS over bins, mean over frames."""
    spectra = []
    for samples in (a, b):
        frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * np.hanning(WINDOW)
        spectra.append(20 * np.log10(np.maximum(np.abs(np.fft.rfft(frames)) / WINDOW, FLOOR)))
    return float(np.sqrt(np.square(spectra[0] - spectra[1]).mean(axis=1)).mean())


def inputs_of(voice: Voice, sentence: str, lang: str) -> tuple[tuple[Tensor, Tensor | None, Tensor], Tensor]:
    """What a voice's decoder gets for a sentence, and the sentence's own phones."""
    prompt, said = voice.prompt(0), voice.read(sentence, lang)
    phones = torch.cat([prompt.spoken.phones, said.phones], dim=1)
    return (phones, voice._join(prompt.spoken, said), prompt.codes), said.phones


def greedy(model: Decoder, inputs: tuple[Tensor, Tensor | None, Tensor], limit: int) -> list[int]:
    """The likeliest code at every step, repetition penalty and all."""
    return generate(model, *inputs, Sampling(top_k=1), lambda _, width: torch.ones(width), early_stop=limit)


def packaged(folder: Path) -> dict[str, float]:
    """Exact and fast with the voice that comes along: shares of equal codes, and the sound of equal codes."""
    files = packaged_voice()
    convert.import_voice(files.sovits, files.gpt, files.clip, files.text, files.lang, folder, Bases())
    voices = [Voice.load(folder, Bases(), "cpu", precision) for precision in ("exact", "fast")]
    steps, free, drawn, distances = Tally(), Tally(), Tally(), []
    for lang, sentence in SENTENCES:
        inputs, phones = inputs_of(voices[0], sentence, lang)
        likeliest = [greedy(voice.gpt, inputs, LONGEST) for voice in voices]
        steps.count(forced(voices[0].gpt, voices[1].gpt, inputs, likeliest[0]), len(likeliest[0]))
        free.add(likeliest)
        drawn.add(
            [
                generate(voice.gpt, *inputs, Sampling(), exponential_noise(torch.Generator().manual_seed(1)))
                for voice in voices
            ]
        )
        codes = torch.tensor(likeliest[:1])
        distances.append(spectral_distance(*(sound(v.sovits, codes, phones, v.style((0,))) for v in voices)))
    return {
        "codes": steps.all,
        "forced": steps.share,
        "free": free.share,
        "drawn": drawn.share,
        "decibel": float(np.mean(distances)),
    }


def full_size(folder: Path, versions: list[str]) -> dict[str, float]:
    """The same with the weights that speed is measured with; there is nothing to hear in these."""
    exact, fast = (decoder(read(folder, "gpt"), GPT.to_config(), CPU, fast=f)[0] for f in (False, True))
    work = Work.of(versions[0], LONGEST)
    inputs = work.phones, work.bert, work.prompt
    codes = greedy(exact, inputs, LONGEST)
    found = {"codes": len(codes), "forced": forced(exact, fast, inputs, codes) / len(codes)}
    for version in versions:
        sovits = SoVits.from_tensors(read(folder, version), SOVITS[version].to_config())
        work = Work.of(version, LONGEST)
        sounds = [
            sound(sovits.fold(precision), work.codes, work.phones[:, -PHONES:], work.style)
            for precision in ("exact", "fast")
        ]
        found[f"decibel {version}"] = spectral_distance(*sounds)
    return found


def sound(sovits: Any, codes: Tensor, phones: Tensor, style: Tensor) -> Sound:
    """Codes [1, N] as samples, with the same noise each time."""
    with torch.inference_mode():
        samples = sovits.decode(codes, phones, style, generator=torch.Generator().manual_seed(1))
    return samples[0, 0].float().numpy()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="p2pvoice-bench-fidelity")
    parser.add_argument("--folder", type=Path, required=True, help="where the weights lie")
    parser.add_argument("--version", choices=tuple(SOVITS), action="append", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p2pvoice-bench-") as place:
        found = {
            "packaged": packaged(Path(place) / "voice"),
            "full size": full_size(options.folder, options.version),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
