"""Stretches of a sentence decoded by a lite voice, for sound before all codes are there.

Everything in a lite voice sees a bounded neighbourhood but the attention to the phones, which are all there
from the start: a window with enough around it gives what the whole sentence would. The phase of the pulses is
the one thing that is handed on. Not for joining the stretches: see streaming. Follows specs/streaming.md.
"""

from math import ceil

import torch
from torch import Tensor

from p2pvoice.sovits.streaming import FRAMES_PER_CODE, FrameNoise, frames_in, frames_of, source_of, stretched

from . import dsp
from .model import DEVIATION, LiteVoice

STEPS = 2
"""Steps of the synthesiser in a frame."""
STEPS_BEFORE, STEPS_AFTER = 6, 3
"""Steps around a stretch whose overlap-add, or whose own edge, reaches into it."""
SETTLING = 0.2
"""Share of the further frames that must be there when speech is faster, and they narrower. At speed 1 the
codes that the part at 25 Hz looks at, none of which may be missing, are enough: what the rest still moves
is 50 dB below the sound."""


class LiteWindows:
    """One sentence: phones [1, S], style [1, gin, 1]; see streaming.Windows.

    ``generator`` makes the noise and lives on the CPU.
    """

    def __init__(
        self,
        network: LiteVoice,
        phones: Tensor,
        style: Tensor,
        *,
        speed: float,
        noise_scale: float,
        generator: torch.Generator,
    ) -> None:
        s = network.settings
        self._network, self._phones, self._style = network, phones, style
        self._speed, self._scale = speed, DEVIATION * noise_scale
        self.hop = s.hop_length
        # One draw a frame for the latent and for the synthesiser's white noise.
        self._channels = s.inter_channels
        self._noise = FrameNoise(s.inter_channels + s.hop_length, generator)
        codes = 1 + s.code_blocks * (s.encoder_kernel // 2)
        frames = s.frame_blocks * (s.encoder_kernel // 2) + 3 + s.decoder_blocks * (s.decoder_kernel // 2) + 1
        self._frames = frames + ceil(STEPS_BEFORE / STEPS)
        """Frames before a stretch whose latent it depends on."""
        self._codes = codes + 1
        self.ahead = codes + ceil(SETTLING * frames * max(0.0, speed - 1) / FRAMES_PER_CODE)
        self._phase = torch.zeros(1, dtype=torch.float64, device=style.device)
        """Turns of the pulses before the step where the next stretch's synthesis begins."""

    @torch.inference_mode()
    def decode(self, codes: list[int], first: int, last: int, *, whole: bool) -> Tensor:
        known = frames_in(len(codes), self._speed) if whole else frames_of(len(codes), self._speed)
        start = max(0, first - self._frames)
        stop = min(known, last + self._frames)
        noise = self._noise.window(start, stop).to(self._style.device)
        latent = self._mean(codes, start, stop) + noise[:, : self._channels] * self._scale
        driven = self._network.dec.controls(latent, self._style)
        # The synthesiser works on the steps from a to b; pitch and voicing are known a step further, where
        # there is one, so that the lines between steps are right at both ends.
        a = max(0, STEPS * first - STEPS_BEFORE)
        b = min(STEPS * stop, STEPS * last + STEPS_AFTER)
        before, after = min(a, 1), min(STEPS * stop - b, 1)
        origin = STEPS * start
        curves = slice(a - before - origin, b + after - origin)
        samples = slice(before * dsp.STEP, (before + b - a) * dsp.STEP)
        hertz = dsp.to_hertz(driven.log_f0[:, curves])[:, samples]
        gate = dsp.to_samples((driven.voicing[:, curves] > 0).float())[:, samples]
        pulses, _ = dsp.pulses(hertz, gate, self._phase)
        # The next stretch begins with the frame that this one foretells.
        following = (max(0, STEPS * (last - 1) - STEPS_BEFORE) - a) * dsp.STEP
        if following > 0:
            self._phase = (self._phase + dsp.turns_of(hertz[:, :following])[:, -1]).frac()
        white = noise[:, self._channels :].mT.flatten(1)
        white = white[:, (a - origin) * dsp.STEP : (b - origin) * dsp.STEP]
        steps = slice(a - origin, b - origin)
        made = dsp.synthesise(driven.harmonic[:, steps], driven.noise[:, steps], pulses, white)[0]
        begin = a * dsp.STEP
        return made[first * self.hop - begin : last * self.hop - begin]

    def skip(self, frames: int, generator: torch.Generator) -> None:
        torch.randn(1, self._channels, frames, generator=generator)
        torch.randn(1, frames * self.hop, generator=generator)

    def _mean(self, codes: list[int], start: int, stop: int) -> Tensor:
        """The mean of the latent of the frames from ``start`` up to ``stop``: [1, inter, stop - start]."""
        skipped = max(0, source_of(start, self._speed) // FRAMES_PER_CODE - self._codes)
        network, flat = self._network, self._style[..., 0]
        shown = network.quantizer.decode(torch.tensor([codes[skipped:]], device=self._style.device))
        text_mask = flat.new_ones(1, 1, self._phones.shape[1])
        rows = network.enc_p.rows(shown, flat.new_ones(1, 1, shown.shape[-1]), self._phones, text_mask, flat)
        rows = stretched(rows, skipped * FRAMES_PER_CODE, start, stop, self._speed)
        return network.enc_p.mean(rows, flat.new_ones(1, 1, stop - start), flat)
