"""The text encoder of a lite voice: what a frame will sound like, from codes, phones and a style.

A code already tells its sound, and sounds follow each other as they do in speech, so convolutions over their
neighbourhood do most of the work; the phones add, by one attention, what a sound does not tell (its tone, its
stress). Codes come 25 times a second and frames 50 times, so the first blocks run at half the cost. Not for
the samples: see model. Follows specs/lite.md.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.layers import Attention
from p2pvoice.sovits.sizes import LiteSettings
from p2pvoice.sovits.vits import FRAMES_PER_CODE

from .block import Block


class TextEncoder(nn.Module):
    """Codes and phones become the mean of the latent. Shapes: B batch, N codes, S phones, T = 2 N frames."""

    def __init__(self, s: LiteSettings) -> None:
        super().__init__()
        width, kernel, style = s.encoder_channels, s.encoder_kernel, s.gin_channels
        self.pre = nn.Conv1d(s.ssl_dim, width, 3, padding=1)
        self.text_embedding = nn.Embedding(s.text_vocab, width)
        self.text_block = Block(width, s.text_hidden, kernel, style)
        self.attention = Attention(width, s.heads)
        self.code_blocks = nn.ModuleList(
            Block(width, s.encoder_hidden, kernel, style) for _ in range(s.code_blocks)
        )
        self.upsample = nn.Linear(width, FRAMES_PER_CODE * width)
        self.frame_blocks = nn.ModuleList(
            Block(width, s.encoder_hidden, kernel, style) for _ in range(s.frame_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, s.inter_channels)
        nn.init.normal_(self.text_embedding.weight, 0.0, 0.5)

    def forward(
        self, quantized: Tensor, mask: Tensor, text: Tensor, text_mask: Tensor, style: Tensor, speed: float
    ) -> tuple[Tensor, Tensor]:
        """Codebook rows [B, ssl_dim, N] and phones [B, S] with their masks [B, 1, N] and [B, 1, S], style
        [B, gin, 1] -> mean [B, inter, T] and its mask [B, 1, T]; ``speed`` divides T."""
        flat = style[..., 0]
        x = self.rows(quantized, mask, text, text_mask, flat)
        mask = mask.repeat_interleave(FRAMES_PER_CODE, dim=-1)
        if speed != 1.0:
            size = int(x.shape[-1] / speed) + 1
            x = F.interpolate(x, size=size, mode="linear")
            mask = F.interpolate(mask, size=size, mode="nearest")
        return self.mean(x, mask, flat), mask

    def rows(self, quantized: Tensor, mask: Tensor, text: Tensor, text_mask: Tensor, flat: Tensor) -> Tensor:
        """What works at 25 Hz, up to the layer that makes two frames of a code: [B, C, T] for T = 2 N."""
        x = self.pre(quantized * mask) * mask
        asked = len(self.code_blocks) // 2
        for i, block in enumerate(self.code_blocks):
            if i == asked:
                words = self.text_block(self.text_embedding(text).mT * text_mask, flat) * text_mask
                x = x + self.attention(x, words, mask[..., None] * text_mask[:, :, None]) * mask
            x = block(x, flat) * mask
        return self.upsample(x.mT).unflatten(-1, (FRAMES_PER_CODE, -1)).flatten(1, 2).mT

    def mean(self, x: Tensor, mask: Tensor, flat: Tensor) -> Tensor:
        """What works at 50 Hz, whatever the speed: rows [B, C, T] -> mean of the latent [B, inter, T]."""
        x = x * mask
        for block in self.frame_blocks:
            x = block(x, flat) * mask
        return self.proj(self.norm(x.mT)).mT * mask
