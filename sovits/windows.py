"""Stretches of a sentence decoded by SoVITS, for sound before all codes are there.

The text encoder looks at every code of a sentence, so it is asked again about all of them (it is cheap), and
what it says of earlier frames moves a little with each later code; the flow and the generator see a bounded
neighbourhood and are given just that. Not for joining the stretches: see streaming. Follows
specs/streaming.md.
"""

from math import ceil

import torch
from torch import Tensor

from p2pvoice.sovits.sizes import SoVitsSettings, generator_reach
from p2pvoice.sovits.streaming import FRAMES_PER_CODE, FrameNoise, frames_in, frames_of, source_of, stretched
from p2pvoice.sovits.vits import SoVits

SETTLING_FRAMES = 12
"""Frames after which later codes hardly move what the text encoder and the flow say."""
REMEMBERED_CODES = 250
"""Codes before a stretch that the text encoder is shown: ten seconds."""


def flow_reach(s: SoVitsSettings) -> int:
    """Frames to either side that a frame of the flow depends on."""
    return s.couplings * s.coupling_layers * (s.wavenet_kernel // 2)


class SoVitsWindows:
    """One sentence: phones [1, S], style [1, gin, 1]; see streaming.Windows.

    ``generator`` makes the noise and lives on the CPU.
    """

    def __init__(
        self,
        network: SoVits,
        phones: Tensor,
        style: Tensor,
        *,
        speed: float,
        noise_scale: float,
        generator: torch.Generator,
    ) -> None:
        s = network.settings
        self._network, self._phones, self._style = network, phones, style
        self._speed, self._scale = speed, noise_scale
        self._noise = FrameNoise(s.inter_channels, generator)
        self._near = generator_reach(s)
        self._far = self._near + flow_reach(s)
        self.hop = s.hop_length
        self.ahead = ceil(((self._near + 1) * speed + SETTLING_FRAMES) / FRAMES_PER_CODE)

    @torch.inference_mode()
    def decode(self, codes: list[int], first: int, last: int, *, whole: bool) -> Tensor:
        speed, network = self._speed, self._network
        start = max(0, first - self._far)
        skipped = max(0, source_of(start, speed) // FRAMES_PER_CODE - REMEMBERED_CODES)
        known = frames_in(len(codes), speed) if whole else frames_of(len(codes), speed)
        stop = min(known, last + self._far)
        shown = torch.tensor([codes[skipped:]], device=self._style.device)
        mean, log_deviation, _ = network.prior(shown, self._phones, self._style)
        origin = skipped * FRAMES_PER_CODE
        mean, log_deviation = (stretched(rows, origin, start, stop, speed) for rows in (mean, log_deviation))
        z = mean + self._noise.window(start, stop).to(mean.device) * log_deviation.exp() * self._scale
        z = network.reverse_flow(z, z.new_ones(1, 1, stop - start), self._style)
        begin, end = max(start, first - self._near), min(stop, last + self._near)
        made = network.generate(z[..., begin - start : end - start], self._style)[0, 0]
        return made[(first - begin) * self.hop : (last - begin) * self.hop]

    def skip(self, frames: int, generator: torch.Generator) -> None:
        torch.randn(1, self._network.settings.inter_channels, frames, generator=generator)
