"""SoVITS: semantic codes, phones and a style vector become a waveform (v1, v2 and the Pro models).

Every piece can be called on its own, on batches with lengths, and trained; the state-dict keys are those of
the published checkpoints. ``enc_q``, the posterior encoder, exists only in training. Not for files,
spectrograms or text: see checkpoint, audio and text. Shapes: B batch, T spectrogram frames, S phones,
N codes = T / 2. Follows specs/models.md.
"""

from collections.abc import Callable
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.fast_decoder import FastGenerator
from p2pvoice.sovits.fast_flow import FastFlow
from p2pvoice.sovits.layers import (
    Attention,
    ChannelNorm,
    WeightNormConv,
    fold_weight_norm,
    load_exactly,
    mask_or_ones,
)
from p2pvoice.sovits.sizes import Config, SoVitsSettings, Tensors, generator_reach
from p2pvoice.sovits.weightless import weightless

LEAK = 0.1
"""Slope of the generator's leaky rectifiers but the last, which has torch's default 0.01."""
GENERATOR_STD = 0.01
"""Fresh weights of the generator start this small, so that training begins near silence."""
FRAMES_PER_CODE = 2
"""A semantic code covers two spectrogram frames (25 Hz against 50 Hz)."""
CODEBOOK = "quantizer.vq.layers.0._codebook."
UNUSED_BUFFERS = ("inited", "cluster_size", "embed_avg")
"""State of the codebook's own training: carried for the format's sake, never read, and free to be absent."""


Precision = Literal["exact", "fast"]
FAST_TYPES = (torch.float32, torch.float64)
"""What the fast generator computes in."""


def half_type(device: torch.device) -> torch.dtype | None:
    """Half precision for the generator on this device; None where float32 is as fast.

    On the CPU that takes matrix units (AMX): vector instructions on bfloat16 alone save less than the fast
    generator does in float32.
    """
    if device.type == "cuda":
        return torch.float16
    # Asked for by name because PyTorch has not made this one public.
    has_matrix_units = getattr(torch.cpu, "_is_amx_tile_supported", bool)
    return torch.bfloat16 if device.type == "cpu" and has_matrix_units() else None


class FeedForward(nn.Module):
    def __init__(self, channels: int, filter_channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(channels, filter_channels, kernel, padding="same")
        self.conv_2 = nn.Conv1d(filter_channels, channels, kernel, padding="same")
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.dropout(self.conv_1(x * mask).relu())
        return self.conv_2(x * mask) * mask


class Encoder(nn.Module):
    """A post-norm transformer over [B, C, T] with learned relative positions."""

    def __init__(self, s: SoVitsSettings, layers: int) -> None:
        super().__init__()
        width = s.hidden_channels
        self.attn_layers = nn.ModuleList(
            Attention(width, s.heads, window=s.window, dropout=s.dropout) for _ in range(layers)
        )
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(width) for _ in range(layers))
        self.ffn_layers = nn.ModuleList(
            FeedForward(width, s.filter_channels, s.kernel, s.dropout) for _ in range(layers)
        )
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(width) for _ in range(layers))
        self.dropout = nn.Dropout(s.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        pairs = mask.unsqueeze(2) * mask.unsqueeze(-1)  # [B, 1, T, T]
        x = x * mask
        layers = zip(self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2, strict=True)
        for attention, norm_1, feed_forward, norm_2 in layers:
            x = norm_1(x + self.dropout(attention(x, x, pairs)))
            x = norm_2(x + self.dropout(feed_forward(x, mask)))
        return x * mask


class Mrte(nn.Module):
    """Where audio, text and style meet: the audio frames look at the phones, the style is added to all."""

    def __init__(self, s: SoVitsSettings) -> None:
        super().__init__()
        self.cross_attention = Attention(s.mrte_channels, s.mrte_heads)
        self.c_pre = nn.Conv1d(s.hidden_channels, s.mrte_channels, 1)
        self.text_pre = nn.Conv1d(s.hidden_channels, s.mrte_channels, 1)
        self.c_post = nn.Conv1d(s.mrte_channels, s.hidden_channels, 1)

    def forward(
        self, audio: Tensor, audio_mask: Tensor, text: Tensor, text_mask: Tensor, style: Tensor
    ) -> Tensor:
        pairs = text_mask.unsqueeze(2) * audio_mask.unsqueeze(-1)  # [B, 1, T, S]
        audio = self.c_pre(audio * audio_mask)
        text = self.text_pre(text * text_mask)
        x = self.cross_attention(audio * audio_mask, text * text_mask, pairs) + audio + style
        return self.c_post(x * audio_mask)


class TextEncoder(nn.Module):
    """The prior: what codes and phones together say about the latent."""

    def __init__(self, s: SoVitsSettings) -> None:
        super().__init__()
        self.ssl_proj = nn.Conv1d(s.ssl_dim, s.hidden_channels, 1)
        self.encoder_ssl = Encoder(s, s.audio_layers)
        self.text_embedding = nn.Embedding(s.text_vocab, s.hidden_channels)
        self.encoder_text = Encoder(s, s.text_layers)
        self.mrte = Mrte(s)
        self.encoder2 = Encoder(s, s.audio_layers)
        self.proj = nn.Conv1d(s.hidden_channels, 2 * s.inter_channels, 1)

    def forward(
        self,
        quantized: Tensor,
        mask: Tensor,
        text: Tensor,
        text_mask: Tensor,
        style: Tensor,
        speed: float = 1.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[B, ssl, T], phones [B, S] -> mean, log-deviation [B, inter, T'] and their mask [B, 1, T']."""
        x = self.encoder_ssl(self.ssl_proj(quantized * mask) * mask, mask)
        y = self.encoder_text(self.text_embedding(text).mT, text_mask)
        x = self.encoder2(self.mrte(x, mask, y, text_mask, style), mask)
        if speed != 1.0:
            frames = int(x.shape[-1] / speed) + 1
            x = F.interpolate(x, size=frames, mode="linear")
            mask = F.interpolate(mask, size=frames, mode="nearest")
        mean, log_deviation = (self.proj(x) * mask).chunk(2, dim=1)
        return mean, log_deviation, mask


class WaveNet(nn.Module):
    """Gated convolutions under a style condition."""

    def __init__(self, hidden: int, kernel: int, layers: int, gin: int) -> None:
        super().__init__()
        self.in_layers = nn.ModuleList(
            WeightNormConv(hidden, 2 * hidden, kernel, padding=kernel // 2) for _ in range(layers)
        )
        self.res_skip_layers = nn.ModuleList(
            WeightNormConv(hidden, 2 * hidden if i < layers - 1 else hidden, 1) for i in range(layers)
        )
        self.cond_layer = WeightNormConv(gin, 2 * hidden * layers, 1)

    def forward(self, x: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        skipped = torch.zeros_like(x)
        conditions = self.cond_layer(style).chunk(len(self.in_layers), dim=1)
        for gate, mix, condition in zip(self.in_layers, self.res_skip_layers, conditions, strict=True):
            a, b = (gate(x) + condition).chunk(2, dim=1)
            y = mix(a.tanh() * b.sigmoid())
            if y.shape[1] == x.shape[1]:  # The last layer only skips.
                return (skipped + y) * mask
            residual, skip = y.chunk(2, dim=1)
            x, skipped = (x + residual) * mask, skipped + skip
        raise AssertionError("a WaveNet has at least one layer")


class Coupling(nn.Module):
    """One half of the channels shifts the other: trivially inverted, and its volume never changes."""

    def __init__(self, s: SoVitsSettings) -> None:
        super().__init__()
        half = s.inter_channels // 2
        self.pre = nn.Conv1d(half, s.hidden_channels, 1)
        self.enc = WaveNet(s.hidden_channels, s.wavenet_kernel, s.coupling_layers, s.gin_channels)
        self.post = nn.Conv1d(s.hidden_channels, half, 1)
        nn.init.zeros_(self.post.weight)
        nn.init.zeros_(self.post.bias)

    def forward(self, x: Tensor, mask: Tensor, style: Tensor, *, reverse: bool) -> Tensor:
        kept, moved = x.chunk(2, dim=1)
        shift = self.post(self.enc(self.pre(kept) * mask, mask, style)) * mask
        moved = (moved - shift) * mask if reverse else moved * mask + shift
        return torch.cat([kept, moved], dim=1)


class Flow(nn.Module):
    """Couplings with the channels turned round after each; the weights stand at even indexes of ``flows``."""

    def __init__(self, s: SoVitsSettings) -> None:
        super().__init__()
        self.flows = nn.ModuleDict({str(2 * i): Coupling(s) for i in range(s.couplings)})

    def forward(self, x: Tensor, mask: Tensor, style: Tensor, *, reverse: bool = False) -> Tensor:
        for coupling in reversed(list(self.flows.values())) if reverse else self.flows.values():
            if reverse:
                x = coupling(x.flip(1), mask, style, reverse=True)
            else:
                x = coupling(x, mask, style, reverse=False).flip(1)
        return x


class PosteriorEncoder(nn.Module):
    """What the true spectrogram says about the latent; training only."""

    def __init__(self, s: SoVitsSettings) -> None:
        super().__init__()
        self.pre = nn.Conv1d(s.spec_bins, s.hidden_channels, 1)
        self.enc = WaveNet(s.hidden_channels, s.wavenet_kernel, s.posterior_layers, s.gin_channels)
        self.proj = nn.Conv1d(s.hidden_channels, 2 * s.inter_channels, 1)

    def forward(self, spec: Tensor, mask: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spectrogram [B, bins, T] -> a draw, its mean and its log-deviation, each [B, inter, T]."""
        x = self.enc(self.pre(spec) * mask, mask, style)
        mean, log_deviation = (self.proj(x) * mask).chunk(2, dim=1)
        draw = mean + torch.randn_like(mean) * log_deviation.exp()
        return draw * mask, mean, log_deviation


class ResBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def conv(dilation: int) -> WeightNormConv:
            padding = dilation * (kernel - 1) // 2
            return WeightNormConv(
                channels, channels, kernel, padding=padding, dilation=dilation, init_std=GENERATOR_STD
            )

        self.convs1 = nn.ModuleList(conv(d) for d in dilations)
        self.convs2 = nn.ModuleList(conv(1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, LEAK)), LEAK))
        return x


class Generator(nn.Module):
    """The latent becomes samples: each stage multiplies time by its rate and halves the channels."""

    def __init__(self, s: SoVitsSettings) -> None:
        super().__init__()
        self.conv_pre = nn.Conv1d(s.inter_channels, s.upsample_initial, 7, padding=3)
        self.cond = nn.Conv1d(s.gin_channels, s.upsample_initial, 1)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        channels = s.upsample_initial
        for rate, kernel in zip(s.upsample_rates, s.upsample_kernels, strict=True):
            padding = (kernel - rate) // 2
            self.ups.append(
                WeightNormConv(
                    channels,
                    channels // 2,
                    kernel,
                    stride=rate,
                    padding=padding,
                    transposed=True,
                    init_std=GENERATOR_STD,
                )
            )
            channels //= 2
            for width, dilations in zip(s.resblock_kernels, s.resblock_dilations, strict=True):
                self.resblocks.append(ResBlock(channels, width, dilations))
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3, bias=False)

    def forward(self, z: Tensor, style: Tensor) -> Tensor:
        """[B, inter, T] -> samples [B, 1, T * hop] within -1 and 1."""
        x = self.conv_pre(z) + self.cond(style)
        per_stage = len(self.resblocks) // len(self.ups)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, LEAK))
            blocks = self.resblocks[i * per_stage : (i + 1) * per_stage]
            x = sum(block(x) for block in blocks) / per_stage
        return self.conv_post(F.leaky_relu(x)).tanh()


class _Linear(nn.Module):
    """A linear layer one level deeper, as the published keys want it (``….fc.weight``)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class _GatedConv(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.ModuleDict({"conv": nn.Conv1d(channels, 2 * channels, 5, padding=2)})

    def forward(self, x: Tensor) -> Tensor:
        return x + F.glu(self.conv1["conv"](x), dim=1)


class _StyleAttention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.w_qs, self.w_ks, self.w_vs = (nn.Linear(channels, channels) for _ in range(3))
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            w(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for w in (self.w_qs, self.w_ks, self.w_vs)
        )  # [B, H, T, D]
        # The published models divide by the root of the whole width, not of one head's.
        scale = x.shape[-1] ** -0.5
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.unsqueeze(1).bool(), scale=scale)
        return x + self.fc(y.transpose(1, 2).flatten(2))


class StyleEncoder(nn.Module):
    """A reference spectrogram becomes one style vector."""

    def __init__(self, s: SoVitsSettings) -> None:
        super().__init__()
        width = s.style_channels
        self.bins = s.ref_bins
        self.spectral = nn.Sequential(
            _Linear(s.ref_bins, width), nn.Mish(), nn.Dropout(s.dropout),
            _Linear(width, width), nn.Mish(), nn.Dropout(s.dropout),
        )  # fmt: skip
        self.temporal = nn.ModuleList(_GatedConv(width) for _ in range(2))
        self.slf_attn = _StyleAttention(width, s.style_heads)
        self.fc = _Linear(width, s.gin_channels)

    def forward(self, spec: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, at least ref_bins, T] and optionally [B, 1, T] -> [B, gin, 1]."""
        if mask is None:
            mask = spec.new_ones(len(spec), 1, spec.shape[-1])
        x = self.spectral(spec[:, : self.bins].mT).mT * mask  # [B, width, T]
        for gated in self.temporal:
            x = gated(x) * mask
        x = self.fc(self.slf_attn(x.mT, mask)).mT * mask  # [B, gin, T]
        return x.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)


class _Codebook(nn.Module):
    embed: Tensor

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("inited", torch.ones(1))
        self.register_buffer("cluster_size", torch.zeros(codes))
        self.register_buffer("embed", torch.randn(codes, width))
        self.register_buffer("embed_avg", torch.zeros(codes, width))


class Quantizer(nn.Module):
    """One codebook; the deep names are those of the published files."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        layer = nn.ModuleDict({"_codebook": _Codebook(codes, width)})
        self.vq = nn.ModuleDict({"layers": nn.ModuleList([layer])})

    @property
    def embed(self) -> Tensor:
        """The codebook [codes, width]; a trainer may fill it in place."""
        embed = self.vq["layers"][0]["_codebook"].embed
        assert isinstance(embed, Tensor)
        return embed

    def encode(self, x: Tensor) -> Tensor:
        """[B, width, N] -> the nearest rows [B, N]."""
        flat, rows = x.mT, self.embed
        distance = flat.square().sum(-1, keepdim=True) - 2 * flat @ rows.mT + rows.square().sum(-1)
        return distance.argmin(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """[B, N] -> [B, width, N]."""
        return F.embedding(codes, self.embed).mT


class SoVits(nn.Module):
    """The whole network; ``posterior`` adds what only training needs."""

    def __init__(self, settings: SoVitsSettings, *, posterior: bool = False) -> None:
        super().__init__()
        s = self.settings = settings
        self.enc_p = TextEncoder(s)
        self.dec = Generator(s)
        self.flow = Flow(s)
        if posterior:
            self.enc_q = PosteriorEncoder(s)
        self.ref_enc = StyleEncoder(s)
        self.ssl_proj = nn.Conv1d(s.ssl_dim, s.ssl_dim, 2, stride=2)
        self.quantizer = Quantizer(s.codes, s.ssl_dim)
        if s.speaker_dim:
            self.sv_emb = nn.Linear(s.speaker_dim, s.gin_channels)
            self.ge_to512 = nn.Linear(s.gin_channels, s.mrte_channels)
            self.prelu = nn.PReLU(s.gin_channels)

        self.precision: Precision | None = None
        self._fast: tuple[FastFlow, FastGenerator] | None = None

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config, *, posterior: bool = False) -> Self:
        """Build the network that ``tensors`` were saved from, in float32 and ready to speak.

        ``config`` is upstream's (data, model). Posterior weights in the file are ignored unless asked for.
        Raises BadCheckpointError when tensors are missing, strange or of a shape that the others forbid.
        """
        settings = SoVitsSettings.from_tensors(tensors, config)
        with weightless():
            model = cls(settings, posterior=posterior)
        given = {k: v for k, v in tensors.items() if posterior or not k.startswith("enc_q.")}
        for name in UNUSED_BUFFERS:
            expected = model.get_buffer(CODEBOOK + name)
            given[CODEBOOK + name] = torch.zeros_like(expected, device="cpu")
        load_exactly(model, given)
        return model.eval()

    def fold(self, precision: Precision = "exact") -> Self:
        """Make the network faster and fit for inference only.

        ``exact`` computes in float32. ``fast`` lets ``decode`` make samples in half precision where the
        processor gains by it (see ``half_type``), and is the same as ``exact`` elsewhere.
        """
        fold_weight_norm(self)
        self.precision = precision
        return self

    def generate(self, z: Tensor, style: Tensor) -> Tensor:
        """[B, inter, T] and [B, gin, 1] -> samples [B, 1, T * hop], the fastest way for inference.

        The first call on the CPU builds the fast generator, which takes a fraction of a second. Pieces of a
        longer latent may be given one after the other.
        """
        half = half_type(z.device) if self.precision == "fast" else None
        if half is not None:
            return self.generate_half(z, style, half)
        fast = self._fast_parts(z)
        return self.dec(z, style) if fast is None else fast[1](z, style)

    def reverse_flow(self, z: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """The latent of the prior's ``z`` [B, inter, T]; the fast way takes one sentence without padding."""
        fast = self._fast_parts(z)
        if fast is None or len(z) > 1:
            return self.flow(z, mask, style, reverse=True) * mask
        return fast[0](z, style)

    def _fast_parts(self, like: Tensor) -> tuple[FastFlow, FastGenerator] | None:
        if self.precision is None or like.device.type != "cpu" or like.dtype not in FAST_TYPES:
            return None
        if self._fast is None:
            self._fast = FastFlow(self.flow), FastGenerator(self.dec, LEAK, generator_reach(self.settings))
        return self._fast

    def generate_half(self, z: Tensor, style: Tensor, half: torch.dtype) -> Tensor:
        """As ``generate``, with convolutions in half precision and samples in float32."""
        with torch.autocast(z.device.type, half):
            return self.dec(z, style).float()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._fast = None  # Its weights would stay behind on the old device.
        return super()._apply(fn, recurse)

    def extract_codes(self, features: Tensor) -> Tensor:
        """Content features [B, ssl, 2 N] -> semantic codes [B, N]."""
        return self.quantizer.encode(self.ssl_proj(features))

    def style(self, spec: Tensor, mask: Tensor | None = None, speaker: Tensor | None = None) -> Tensor:
        """Reference spectrogram [B, bins, T] (and for Pro a speaker vector [B, speaker]) -> [B, gin, 1]."""
        style = self.ref_enc(spec, mask)
        if self.settings.speaker_dim:
            if speaker is None:
                raise ValueError("a Pro model needs a speaker vector beside the spectrogram")
            style = self.prelu(style + self.sv_emb(speaker).unsqueeze(-1))
        return style

    def text_style(self, style: Tensor) -> Tensor:
        """The style as the text encoder wants it: [B, mrte, 1]."""
        return self.ge_to512(style.mT).mT if self.settings.speaker_dim else style

    def prior(
        self,
        codes: Tensor,
        text: Tensor,
        style: Tensor,
        code_lengths: Tensor | None = None,
        text_lengths: Tensor | None = None,
        speed: float = 1.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Codes [B, N], phones [B, S] -> mean, log-deviation [B, inter, T], mask [B, 1, T], T = 2 N."""
        quantized = self.quantizer.decode(codes).repeat_interleave(FRAMES_PER_CODE, dim=-1)
        mask = mask_or_ones(None if code_lengths is None else code_lengths * FRAMES_PER_CODE, quantized)
        text_mask = mask_or_ones(text_lengths, text)
        return self.enc_p(quantized, mask, text, text_mask, self.text_style(style), speed)

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

        ``noise`` overrides the draw from ``generator``, which must live on the CPU so that one seed gives one
        sentence on every device.
        """
        mean, log_deviation, mask = self.prior(codes, text, style, speed=speed)
        if noise is None:
            noise = torch.randn(mean.shape, generator=generator)
        z = mean + noise.to(mean.device) * log_deviation.exp() * noise_scale
        return self.generate(self.reverse_flow(z, mask, style), style)
