"""The objectives computed again in float64 from the papers and the specification, calling nothing of ours.

Plain functions over a dictionary of weights. Convolutions, matrix products and automatic differentiation are
torch's; everything between is written out here, where possible in another way than in the package: the
Fourier transform is a matrix, relative positions are a table of pairs, and no clip is ever padded.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from p2pvoice.sovits.sizes import GptSettings, SoVitsSettings

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Clip:
    """One item of a batch, nothing padded."""

    audio: Tensor
    codes: Tensor
    phones: Tensor
    noise: Tensor
    """[inter, T], of the posterior's draw"""
    start: int
    """First frame of the slice."""
    speaker: Tensor | None = None


def weight(w: Weights, name: str) -> Tensor:
    if f"{name}.weight" in w:
        return w[f"{name}.weight"]
    v, g = w[f"{name}.weight_v"], w[f"{name}.weight_g"]
    norm = (v**2).flatten(1).sum(1).sqrt().reshape(-1, *[1] * (v.ndim - 1))
    return g * v / norm


def conv(w: Weights, name: str, x: Tensor, dilation: int = 1) -> Tensor:
    kernel = weight(w, name)
    padding = dilation * (kernel.shape[2] // 2)
    return F.conv1d(x, kernel, w.get(f"{name}.bias"), padding=padding, dilation=dilation)


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(x: Tensor, scale: Tensor, shift: Tensor, axis: int) -> Tensor:
    centred = x - x.mean(axis, keepdim=True)
    shape = [1] * x.ndim
    shape[axis] = -1
    scaled = centred / (centred.square().mean(axis, keepdim=True) + 1e-5).sqrt()
    return scaled * scale.view(shape) + shift.view(shape)


# SoVITS, one clip at a time: [1, C, T] without padding ---------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, scale: float, pairs_k=None, pairs_v=None) -> Tensor:
    """[C, T], [C, S] -> [C, T]; ``pairs`` are [T, S, C / heads]."""
    q, k, v = (x.reshape(heads, -1, x.shape[-1]) for x in (q, k, v))
    scores = torch.einsum("hdt,hds->hts", q, k) * scale
    if pairs_k is not None:
        scores = scores + torch.einsum("hdt,tsd->hts", q, pairs_k) * scale
    share = scores.softmax(-1)
    out = torch.einsum("hts,hds->hdt", share, v)
    if pairs_v is not None:
        out = out + torch.einsum("hts,tsd->hdt", share, pairs_v)
    return out.reshape(-1, out.shape[-1])


def pairs(table: Tensor, size: int) -> Tensor:
    """Learned vectors of offsets as a table of all pairs of positions, zero where they are far apart."""
    window = table.shape[1] // 2
    out = torch.zeros(size, size, table.shape[2], dtype=table.dtype)
    rows = [
        torch.stack([
            table[0, s - t + window] if abs(s - t) <= window else torch.zeros_like(out[0, 0])
            for s in range(size)
        ])
        for t in range(size)
    ]  # fmt: skip
    return torch.stack(rows)


def encoder(w: Weights, name: str, x: Tensor, layers: int, heads: int) -> Tensor:
    for i in range(layers):
        a = f"{name}.attn_layers.{i}"
        q, k, v = (conv(w, f"{a}.conv_{which}", x)[0] for which in "qkv")
        size, depth = x.shape[-1], len(q) // heads
        near_k, near_v = pairs(w[f"{a}.emb_rel_k"], size), pairs(w[f"{a}.emb_rel_v"], size)
        y = attend(q, k, v, heads, depth**-0.5, near_k, near_v)
        x = x + conv(w, f"{a}.conv_o", y[None])
        x = norm(x, w[f"{name}.norm_layers_1.{i}.gamma"], w[f"{name}.norm_layers_1.{i}.beta"], 1)
        f = f"{name}.ffn_layers.{i}"
        x = x + conv(w, f"{f}.conv_2", conv(w, f"{f}.conv_1", x).relu())
        x = norm(x, w[f"{name}.norm_layers_2.{i}.gamma"], w[f"{name}.norm_layers_2.{i}.beta"], 1)
    return x


def prior(w: Weights, s: SoVitsSettings, clip: Clip, style: Tensor) -> tuple[Tensor, Tensor]:
    book = w["quantizer.vq.layers.0._codebook.embed"]
    heard = torch.stack([book[c] for c in clip.codes.tolist() for _ in range(2)], dim=1)[None]
    audio = encoder(w, "enc_p.encoder_ssl", conv(w, "enc_p.ssl_proj", heard), s.audio_layers, s.heads)
    text = w["enc_p.text_embedding.weight"][clip.phones].T[None]
    text = encoder(w, "enc_p.encoder_text", text, s.text_layers, s.heads)
    audio, text = conv(w, "enc_p.mrte.c_pre", audio), conv(w, "enc_p.mrte.text_pre", text)
    c = "enc_p.mrte.cross_attention"
    q = conv(w, f"{c}.conv_q", audio)[0]
    k, v = conv(w, f"{c}.conv_k", text)[0], conv(w, f"{c}.conv_v", text)[0]
    y = attend(q, k, v, s.mrte_heads, (len(q) // s.mrte_heads) ** -0.5)
    if s.speaker_dim:
        style = linear(w, "ge_to512", style[..., 0])[..., None]
    x = conv(w, "enc_p.mrte.c_post", conv(w, f"{c}.conv_o", y[None]) + audio + style)
    x = encoder(w, "enc_p.encoder2", x, s.audio_layers, s.heads)
    mean, deviation = conv(w, "enc_p.proj", x).chunk(2, 1)
    return mean, deviation


def style_of(w: Weights, s: SoVitsSettings, spec: Tensor, speaker: Tensor | None) -> Tensor:
    """[1, bins, T] -> [1, gin, 1]."""

    def mish(x: Tensor) -> Tensor:
        return x * (1 + x.exp()).log().tanh()

    x = spec[0, : s.ref_bins].T
    x = mish(linear(w, "ref_enc.spectral.3.fc", mish(linear(w, "ref_enc.spectral.0.fc", x)))).T[None]
    for i in range(2):
        a, b = conv(w, f"ref_enc.temporal.{i}.conv1.conv", x).chunk(2, 1)
        x = x + a * b.sigmoid()
    x = x[0].T
    q, k, v = (linear(w, f"ref_enc.slf_attn.w_{which}s", x).T for which in "qkv")
    x = x + linear(w, "ref_enc.slf_attn.fc", attend(q, k, v, s.style_heads, s.style_channels**-0.5).T)
    style = linear(w, "ref_enc.fc.fc", x).mean(0)
    if speaker is not None:
        style = style + linear(w, "sv_emb", speaker)
        style = torch.where(style > 0, style, w["prelu.weight"] * style)
    return style[None, :, None]


def wavenet(w: Weights, name: str, x: Tensor, style: Tensor, layers: int) -> Tensor:
    hidden, total = x.shape[1], torch.zeros_like(x)
    condition = conv(w, f"{name}.cond_layer", style)
    for i in range(layers):
        y = conv(w, f"{name}.in_layers.{i}", x) + condition[:, 2 * hidden * i : 2 * hidden * (i + 1)]
        y = conv(w, f"{name}.res_skip_layers.{i}", y[:, :hidden].tanh() * y[:, hidden:].sigmoid())
        if i < layers - 1:
            x, total = x + y[:, :hidden], total + y[:, hidden:]
        else:
            total = total + y
    return total


def flow(w: Weights, s: SoVitsSettings, x: Tensor, style: Tensor) -> Tensor:
    for i in range(0, 2 * s.couplings, 2):
        name = f"flow.flows.{i}"
        first, second = x.chunk(2, 1)
        hidden = wavenet(w, f"{name}.enc", conv(w, f"{name}.pre", first), style, s.coupling_layers)
        x = torch.cat([first, second + conv(w, f"{name}.post", hidden)], 1).flip(1)
    return x


def generator(w: Weights, s: SoVitsSettings, z: Tensor, style: Tensor) -> Tensor:
    x = conv(w, "dec.conv_pre", z) + conv(w, "dec.cond", style)
    kinds = len(s.resblock_kernels)
    for i, rate in enumerate(s.upsample_rates):
        kernel = weight(w, f"dec.ups.{i}")
        padding = (kernel.shape[2] - rate) // 2
        x = F.conv_transpose1d(F.leaky_relu(x, 0.1), kernel, w[f"dec.ups.{i}.bias"], rate, padding)
        total = torch.zeros_like(x)
        for j, dilations in enumerate(s.resblock_dilations):
            y, name = x, f"dec.resblocks.{i * kinds + j}"
            for n, dilation in enumerate(dilations):
                step = conv(w, f"{name}.convs1.{n}", F.leaky_relu(y, 0.1), dilation)
                y = y + conv(w, f"{name}.convs2.{n}", F.leaky_relu(step, 0.1))
            total = total + y
        x = total / kinds
    return conv(w, "dec.conv_post", F.leaky_relu(x, 0.01)).tanh()


def spectrogram(s: SoVitsSettings, audio: Tensor) -> Tensor:
    """[n] -> [1, bins, frames], by a matrix."""
    edge = (s.filter_length - s.hop_length) // 2
    padded = torch.cat([audio[1 : edge + 1].flip(0), audio, audio[-edge - 1 : -1].flip(0)])
    frames = padded.unfold(0, s.filter_length, s.hop_length)  # [frames, n]
    n = torch.arange(s.filter_length, dtype=torch.float64)
    window = 0.5 - 0.5 * (2 * math.pi * n / s.filter_length).cos()
    angle = 2 * math.pi * n[:, None] * n[: s.filter_length // 2 + 1] / s.filter_length
    real, imaginary = (frames * window) @ angle.cos(), (frames * window) @ angle.sin()
    return (real**2 + imaginary**2 + 1e-8).sqrt().T[None]


def mel_bands(s: SoVitsSettings, bands: int) -> Tensor:
    """[bands, bins]: triangles on Slaney's scale, each of area one per hertz, from 0 Hz to the top."""

    def hertz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)

    top = s.sample_rate / 2
    most = top * 3 / 200 if top < 1000 else 15 + math.log(top / 1000) * 27 / math.log(6.4)
    edges = [hertz(most * i / (bands + 1)) for i in range(bands + 2)]
    places = torch.linspace(0, top, s.filter_length // 2 + 1, dtype=torch.float64)
    rows = []
    for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
        rise, fall = (places - low) / (middle - low), (high - places) / (high - middle)
        rows.append(torch.minimum(rise, fall).clamp(min=0) * 2 / (high - low))
    return torch.stack(rows)


def judge(w: Weights, index: int, period: int, audio: Tensor) -> list[Tensor]:
    """[1, 1, n] -> the features of one discriminator, its verdict last."""
    name = f"discriminators.{index}"
    strides = (1, 4, 4, 4, 4, 1) if period == 1 else (3, 3, 3, 3, 1)
    x, seen = audio, []
    if period > 1:
        lack = -audio.shape[-1] % period
        x = torch.cat([x, x[..., -lack - 1 : -1].flip(-1)], -1) if lack else x
        # Each column of the picture is a signal of its own.
        x = x.reshape(-1, period).T[:, None]
    for i, stride in enumerate(strides):
        kernel = weight(w, f"{name}.convs.{i}").flatten(2)
        groups = x.shape[1] // kernel.shape[1]
        x = F.conv1d(x, kernel, w[f"{name}.convs.{i}.bias"], stride, kernel.shape[2] // 2, groups=groups)
        x = F.leaky_relu(x, 0.1)
        seen.append(x)
    kernel = weight(w, f"{name}.conv_post")
    last = F.conv1d(x, kernel.flatten(2), w[f"{name}.conv_post.bias"], padding=1)
    return [*seen, last]


@dataclass(frozen=True)
class Made:
    true: Tensor
    fake: Tensor
    mel: Tensor
    kl: Tensor


def make(w: Weights, s: SoVitsSettings, clips: Sequence[Clip], frames: int, bands: int) -> list[Made]:
    """Each clip's slice, true and made, its L1 of log mel bands, its divergence summed over its frames."""
    out = []
    filters = mel_bands(s, bands)
    for clip in clips:
        spec = spectrogram(s, clip.audio)
        style = style_of(w, s, spec, clip.speaker)
        hidden = wavenet(w, "enc_q.enc", conv(w, "enc_q.pre", spec), style, s.posterior_layers)
        mean_q, deviation_q = conv(w, "enc_q.proj", hidden).chunk(2, 1)
        z = mean_q + clip.noise * deviation_q.exp()
        mean_p, deviation_p = prior(w, s, clip, style)
        # The log-density of a normal posterior at its own draw is -deviation_q - 1/2 on average.
        gap = (flow(w, s, z, style) - mean_p) ** 2 / (2 * (2 * deviation_p).exp())
        kl = (deviation_p - deviation_q - 0.5 + gap).sum()
        at = clip.start
        fake = generator(w, s, z[..., at : at + frames], style)
        true = clip.audio[None, None, at * s.hop_length : (at + frames) * s.hop_length]
        wanted = (filters @ spec[..., at : at + frames]).clamp(min=1e-5).log()
        found = (filters @ spectrogram(s, fake[0, 0])).clamp(min=1e-5).log()
        out.append(Made(true, fake, (wanted - found).abs().mean(), kl))
    return out


def discriminator_loss(d: Weights, periods: Sequence[int], made: Sequence[Made]) -> Tensor:
    """Mean over the places of all clips, summed over discriminators; clips are slices of one length."""
    total = torch.zeros((), dtype=torch.float64)
    for i, period in enumerate((1, *periods)):
        for m in made:
            true, fake = judge(d, i, period, m.true)[-1], judge(d, i, period, m.fake.detach())[-1]
            total = total + ((true - 1) ** 2).mean() / len(made) + (fake**2).mean() / len(made)
    return total


def generator_losses(d: Weights, periods: Sequence[int], made: Sequence[Made]) -> tuple[Tensor, Tensor]:
    """The adversarial loss and feature matching."""
    adversarial, feature = (torch.zeros((), dtype=torch.float64) for _ in range(2))
    for i, period in enumerate((1, *periods)):
        for m in made:
            true, fake = judge(d, i, period, m.true), judge(d, i, period, m.fake)
            adversarial = adversarial + ((fake[-1] - 1) ** 2).mean() / len(made)
            for a, b in zip(true, fake, strict=True):
                feature = feature + (a.detach() - b).abs().mean() / len(made)
    return adversarial, feature


def adamw(x: Tensor, gradient: Tensor, rate: float, eps: float) -> Tensor:
    """The first step of AdamW with a decay of 0.01: both moments are then the gradient itself."""
    return x - rate * 0.01 * x - rate * gradient / (gradient.abs() + eps)


# The GPT, one clip at a time -----------------------------------------------------------------------


def gpt_entropy(w: Weights, s: GptSettings, phones: Tensor, bert: Tensor | None, codes: Tensor) -> Tensor:
    """Summed cross-entropy of the codes and the end, in nats."""

    def placed(x: Tensor, alpha: Tensor) -> Tensor:
        rows = []
        for t in range(len(x)):
            row = []
            for i in range(s.width // 2):
                angle = t / 10000 ** (2 * i / s.width)
                row += [math.sin(angle), math.cos(angle)]
            rows.append(row)
        return x + alpha * torch.tensor(rows, dtype=torch.float64)

    features = torch.zeros(len(phones), s.bert_dim, dtype=torch.float64) if bert is None else bert.T
    text = w["ar_text_embedding.word_embeddings.weight"][phones] + linear(w, "bert_proj", features)
    text = placed(text, w["ar_text_position.alpha"])
    audio = placed(w["ar_audio_embedding.word_embeddings.weight"][codes], w["ar_audio_position.alpha"])
    x, words = torch.cat([text, audio]), len(phones)
    hidden = torch.zeros(len(x), len(x), dtype=torch.float64)
    for row in range(len(x)):
        first_unseen = words if row < words else row + 1
        hidden[row, first_unseen:] = -math.inf
    for i in range(s.layers):
        n = f"h.layers.{i}"
        fused = x @ w[f"{n}.self_attn.in_proj_weight"].T + w[f"{n}.self_attn.in_proj_bias"]
        q, k, v = (y.reshape(len(x), s.heads, -1).transpose(0, 1) for y in fused.chunk(3, 1))
        share = (q @ k.mT / (s.width // s.heads) ** 0.5 + hidden).softmax(-1)
        y = (share @ v).transpose(0, 1).reshape(len(x), -1)
        x = norm(x + linear(w, f"{n}.self_attn.out_proj", y), w[f"{n}.norm1.weight"], w[f"{n}.norm1.bias"], 1)
        y = linear(w, f"{n}.linear2", linear(w, f"{n}.linear1", x).relu())
        x = norm(x + y, w[f"{n}.norm2.weight"], w[f"{n}.norm2.bias"], 1)
    logits = x[words - 1 :] @ w["ar_predict_layer.weight"].T
    target = torch.cat([codes, torch.tensor([s.vocab - 1])])
    return (logits.exp().sum(1).log() - logits[torch.arange(len(target)), target]).sum()
