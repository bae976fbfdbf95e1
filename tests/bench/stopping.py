"""How long full-size networks work between two chances to stop: ``python -m tests.bench.stopping [THREADS]``.

A voice of the published v2 sizes with the filler weights speaks a sentence of six seconds, whole and
streamed; printed is the longest stretch of CPU time in which nobody asked whether to go on, and beside it
what it costs to decode in pieces. CPU time, because what else the machine does is not in it. Needs 2 GB.
"""

import sys
import time

import torch

from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.heeding import heeding
from p2pvoice.sovits.sampling import Sampling, exponential_noise, generate
from p2pvoice.sovits.sizes import GptSettings, SoVitsSettings
from p2pvoice.sovits.streaming import Pieces
from p2pvoice.sovits.vits import SoVits
from p2pvoice.sovits.windows import SoVitsWindows

from ..sovits.filler import filled

CODES = 150


class Clock:
    """Is asked whether to stop, and notes how much work lay between two questions."""

    def __init__(self) -> None:
        self.asked = time.process_time()
        self.longest = 0.0

    def check(self, *_: object) -> None:
        now = time.process_time()
        self.longest, self.asked = max(self.longest, now - self.asked), now


def networks() -> tuple[SoVits, Text2Semantic]:
    """The full-size networks with weights that anybody can rebuild."""
    sovits, gpt = SoVits(SoVitsSettings()), Text2Semantic(GptSettings())
    for network in (sovits, gpt):
        network.load_state_dict(filled({k: tuple(v.shape) for k, v in network.state_dict().items()}))
        network.eval()
    return sovits.fold(), gpt


class Sentence:
    """Sixty phones and a prompt of three seconds."""

    def __init__(self) -> None:
        self.sovits, self.gpt = networks()
        generator = torch.Generator().manual_seed(1)
        self.phones = torch.randint(1, 300, (1, 60), generator=generator)
        self.prompt = torch.randint(0, 1024, (1, 75), generator=generator)
        self.style = torch.randn(1, 512, 1, generator=generator)

    def draw(self, clock: Clock, take: object = None) -> list[int]:
        with heeding(clock.check, self.gpt) as leave:

            def heard(code: int) -> None:
                leave()
                clock.check()
                if take is not None:
                    take(code)

            noise = exponential_noise(torch.Generator().manual_seed(2))
            both = torch.cat([self.phones, self.phones], dim=1)
            sampling = Sampling(top_k=1025, temperature=1.0)
            return generate(
                self.gpt, both, None, self.prompt, sampling, noise, early_stop=CODES, on_code=heard
            )

    def whole(self, clock: Clock) -> None:
        codes = torch.tensor([self.draw(clock)])
        with heeding(clock.check, self.sovits):
            self.sovits.decode(codes, self.phones, self.style, generator=torch.Generator())

    def streamed(self, clock: Clock) -> None:
        noise = torch.Generator().manual_seed(3)
        windows = SoVitsWindows(
            self.sovits, self.phones, self.style, speed=1.0, noise_scale=0.5, generator=noise
        )
        pieces = Pieces(windows, 1.0)
        with heeding(clock.check, self.sovits):
            self.draw(clock, pieces.add)
            pieces.end()


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    sentence = Sentence()
    # What is made with the first sentence alone is not what is measured.
    sentence.sovits.decode(sentence.prompt[:, :12], sentence.phones, sentence.style)
    for name, speak in (("whole", sentence.whole), ("streamed", sentence.streamed)):
        clock = Clock()
        begun = clock.asked
        speak(clock)
        clock.check()
        work, longest = clock.asked - begun, clock.longest * 1000
        print(f"{name:<10}{work:6.2f} CPU-s; asked whether to stop at least every {longest:.0f} CPU-ms")


if __name__ == "__main__":
    main()
