"""The lite voice: semantic codes, phones and a style become samples, with a decoder that works at frame rate.

It has the pieces of vits.SoVits under the same names (style, prior, decode) and the same style encoder. What
is different: the latent is the fixed analysis of a frame, so nothing has to be learned to get it and there is
neither posterior encoder nor flow; the decoder says, 50 times a second, how a synthesiser is to be driven;
the last channel of a style is the speaker's median pitch. Shapes: B batch, T frames, S phones, N codes
(T = 2 N). Follows specs/lite.md.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.layers import load_exactly, mask_or_ones
from p2pvoice.sovits.sizes import Config, LiteSettings, Tensors
from p2pvoice.sovits.vits import CODEBOOK, UNUSED_BUFFERS, Quantizer, StyleEncoder
from p2pvoice.sovits.weightless import weightless

from . import analysis, dsp
from .block import Block
from .encoder import TextEncoder

DEVIATION = 0.1
"""Standard deviation of the latent round the text encoder's mean: declared, not learned."""
QUIET = (-4.0, -5.0)
"""Fresh log envelopes of pulses and noise: about the loudness of speech."""
NUDGE = 0.1
"""Natural logarithms of pitch that one unit of the decoder's own correction means."""


@dataclass(frozen=True)
class Controls:
    """How the synthesiser is driven, 100 times a second: two log envelopes [B, K, bands], the log pitch in
    hertz and the logit of voicing, both [B, K]."""

    harmonic: Tensor
    noise: Tensor
    log_f0: Tensor
    voicing: Tensor


class Decoder(nn.Module):
    """The latent becomes the controls of the synthesiser, and those become samples."""

    def __init__(self, s: LiteSettings) -> None:
        super().__init__()
        width = s.decoder_channels
        self.pre = nn.Conv1d(s.inter_channels, width, 7, padding=3)
        self.blocks = nn.ModuleList(
            Block(width, s.decoder_hidden, s.decoder_kernel, s.gin_channels) for _ in range(s.decoder_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.post = nn.Linear(width, 2 * (2 * dsp.BANDS + 2))
        nn.init.normal_(self.post.weight, 0.0, 0.01)
        with torch.no_grad():
            bias = self.post.bias.view(2, -1)
            bias.zero_()
            bias[:, : dsp.BANDS], bias[:, dsp.BANDS : 2 * dsp.BANDS] = QUIET

    def controls(self, latent: Tensor, style: Tensor) -> Controls:
        """Latent [B, inter, T], style [B, gin, 1] -> controls of K = 2 T steps."""
        flat = style[..., 0]
        x = self.pre(latent)
        for block in self.blocks:
            x = block(x, flat)
        steps = self.post(self.norm(x.mT)).float().unflatten(-1, (2, -1)).flatten(1, 2)  # [B, K, 2 bands + 2]
        harmonic, noise, rest = steps.split([dsp.BANDS, dsp.BANDS, 2], dim=-1)
        height = latent[:, analysis.PITCH : analysis.PITCH + 1].float() + style[:, -1:].float()
        height = F.interpolate(height, scale_factor=2, mode="linear", align_corners=False)[:, 0]
        log_f0 = height * analysis.PITCH_SPREAD + math.log(analysis.CENTRE_HZ) + rest[..., 0] * NUDGE
        return Controls(harmonic, noise, log_f0, rest[..., 1])

    def forward(self, latent: Tensor, style: Tensor, white: Tensor) -> Tensor:
        """Latent [B, inter, T], style [B, gin, 1], white noise [B, T * hop] -> samples [B, 1, T * hop]."""
        driven = self.controls(latent, style)
        pulses, _ = dsp.pulse_train(driven.log_f0, (driven.voicing > 0).float())
        return dsp.synthesise(driven.harmonic, driven.noise, pulses, white)[:, None]


def median_of(reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """The median of a reference's pitch channel where it is voiced: [B, CHANNELS, T] -> [B]; 0 if nowhere."""
    heard = reference[:, analysis.VOICING] > 0.5
    if mask is not None:
        heard = heard & (mask[:, 0] > 0)
    pitch = reference[:, analysis.PITCH].float().masked_fill(~heard, float("nan"))
    return pitch.nanmedian(dim=-1).values.nan_to_num(0.0)


class LiteVoice(nn.Module):
    """The whole network."""

    def __init__(self, settings: LiteSettings) -> None:
        super().__init__()
        s = self.settings = settings
        self.enc_p = TextEncoder(s)
        self.dec = Decoder(s)
        self.ref_enc = StyleEncoder(s)
        self.quantizer = Quantizer(s.codes, s.ssl_dim)
        with torch.no_grad():
            # The style begins as the reference's median pitch; what is learned there is a correction.
            self.ref_enc.fc.fc.weight[-1] = 0
            self.ref_enc.fc.fc.bias[-1] = 0

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Build the network that ``tensors`` were saved from, in float32 and ready to speak.

        Raises BadCheckpointError when tensors are missing, strange or of a shape that the others forbid.
        """
        settings = LiteSettings.from_tensors(tensors, config)
        with weightless():
            model = cls(settings)
        given = dict(tensors)
        for name in UNUSED_BUFFERS:
            given[CODEBOOK + name] = torch.zeros_like(model.get_buffer(CODEBOOK + name), device="cpu")
        load_exactly(model, given)
        return model.eval()

    def published_state(self) -> dict[str, Tensor]:
        """The weights that a release stores."""
        unused = tuple(CODEBOOK + name for name in UNUSED_BUFFERS)
        return {name: tensor for name, tensor in self.state_dict().items() if name not in unused}

    def fold(self, precision: str = "exact") -> Self:
        """Nothing to fold, and one precision: for the interface's sake."""
        return self

    def style(self, reference: Tensor, mask: Tensor | None = None) -> Tensor:
        """Analysis of a reference [B, CHANNELS, T] (see analysis.analyse) -> [B, gin, 1].

        The last channel is the reference's median pitch, in units of the pitch channel, and a learned
        correction.
        """
        style = self.ref_enc(reference, mask)
        return torch.cat([style[:, :-1], style[:, -1:] + median_of(reference, mask)[:, None, None]], dim=1)

    def prior(
        self,
        codes: Tensor,
        text: Tensor,
        style: Tensor,
        code_lengths: Tensor | None = None,
        text_lengths: Tensor | None = None,
        speed: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Codes [B, N], phones [B, S] -> mean of the latent [B, inter, T], mask [B, 1, T], T = 2 N."""
        quantized = self.quantizer.decode(codes)
        mask, text_mask = mask_or_ones(code_lengths, quantized), mask_or_ones(text_lengths, text)
        return self.enc_p(quantized, mask, text, text_mask, style, speed)

    @torch.inference_mode()
    def decode(
        self,
        codes: Tensor,
        text: Tensor,
        style: Tensor,
        *,
        speed: float = 1.0,
        noise_scale: float = 0.5,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """One sentence: codes [1, N], phones [1, S], style [1, gin, 1] -> samples [1, 1, T * hop].

        ``noise`` overrides the draw of the latent's noise from ``generator``, which must live on the CPU so
        that one seed gives one sentence on every device; the synthesiser's own noise is drawn after it.
        """
        mean, mask = self.prior(codes, text, style, speed=speed)
        if noise is None:
            noise = torch.randn(mean.shape, generator=generator)
        latent = (mean + noise.to(mean.device) * (DEVIATION * noise_scale)) * mask
        white = torch.randn(len(latent), latent.shape[-1] * self.settings.hop_length, generator=generator)
        return self.dec(latent, style, white.to(mean.device))
