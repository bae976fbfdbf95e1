"""HuBERT, the content encoder: 16 kHz speech becomes 50 feature vectors a second that say what is said.

The published chinese-hubert-base and small encoders of the same architecture, fresh or trained, run through
this page; the importer of a voice needs one, a listener does not. The waveform goes in as it is: no
normalisation. State-dict keys are the published ones (``weight_g`` and ``weight_v`` in the position
convolution); the names that current transformers write are accepted too. Follows specs/models.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.layers import WeightNormConv, fold_weight_norm, load_exactly
from p2pvoice.sovits.sizes import HEAD_LIMIT, Config, Sizes, Tensors, integer, integers, shapes_of
from p2pvoice.sovits.weightless import weightless

SAMPLE_RATE = 16000
"""Hertz of the speech that goes in."""
STRIDE_LIMIT = 64
"""Largest stride of one convolution; the published encoder uses 5."""
RENAMED = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}
"""Names of current transformers -> names of the published file."""


@dataclass(frozen=True)
class HubertSettings:
    """Every size of a HuBERT; the defaults are those of chinese-hubert-base."""

    conv_dims: tuple[int, ...] = (512,) * 7
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    width: int = 768
    heads: int = 12
    layers: int = 12
    feed_forward: int = 3072
    position_kernel: int = 128
    position_groups: int = 16
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % self.position_groups:
            raise BadCheckpointError("impossible HuBERT sizes: heads and groups must divide the width")
        if not len(self.conv_dims) == len(self.conv_kernels) == len(self.conv_strides) > 0:
            raise BadCheckpointError(
                "impossible HuBERT sizes: each convolution has a width, kernel and stride"
            )

    def frames(self, samples: int) -> int:
        """How many feature vectors come out of so many samples."""
        for kernel, stride in zip(self.conv_kernels, self.conv_strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return max(samples, 0)

    def to_config(self) -> dict[str, Any]:
        """The ``config.json`` that transformers would read."""
        return {
            "model_type": "hubert",
            "conv_dim": list(self.conv_dims),
            "conv_kernel": list(self.conv_kernels),
            "conv_stride": list(self.conv_strides),
            "conv_bias": False,
            "feat_extract_norm": "group",
            "do_stable_layer_norm": False,
            "hidden_size": self.width,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "intermediate_size": self.feed_forward,
            "num_conv_pos_embeddings": self.position_kernel,
            "num_conv_pos_embedding_groups": self.position_groups,
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Sizes of the encoder behind ``tensors``; transformers' ``config`` tells heads and strides."""
        if config.get("feat_extract_norm", "group") != "group" or config.get("do_stable_layer_norm", False):
            raise BadCheckpointError("only HuBERTs of the base kind (group norm, post-norm) can be used")
        size = Sizes(shapes_of(tensors))
        count = size.count("feature_extractor.conv_layers.")
        convs = [f"feature_extractor.conv_layers.{i}.conv.weight" for i in range(count)]
        strides = (5,) + (2,) * (count - 1)
        position = "encoder.pos_conv_embed.conv.weight_v"
        width = size("feature_projection.projection.weight", 0)
        return cls(
            conv_dims=tuple(size(key, 0) for key in convs),
            conv_kernels=tuple(size(key, 2) for key in convs),
            conv_strides=integers(config, "conv_stride", strides, count, STRIDE_LIMIT),
            width=width,
            heads=integer(config, "num_attention_heads", 12, range(1, HEAD_LIMIT + 1)),
            layers=size.count("encoder.layers."),
            feed_forward=size("encoder.layers.0.feed_forward.intermediate_dense.weight", 0),
            position_kernel=size(position, 2),
            position_groups=max(1, width // size(position, 1)),
        )


class ConvLayer(nn.Module):
    """A strided convolution; only the first of them is normalised, each channel over all of time."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, normed: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)
        if normed:
            self.layer_norm = nn.GroupNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if hasattr(self, "layer_norm"):
            x = self.layer_norm(x)
        return F.gelu(x)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )  # [B, H, T, D]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(width, inner)
        self.output_dense = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_dense(F.gelu(self.intermediate_dense(x)))


class Layer(nn.Module):
    """A post-norm transformer layer."""

    def __init__(self, s: HubertSettings) -> None:
        super().__init__()
        self.attention = Attention(s.width, s.heads)
        self.layer_norm = nn.LayerNorm(s.width)
        self.feed_forward = FeedForward(s.width, s.feed_forward)
        self.final_layer_norm = nn.LayerNorm(s.width)
        self.dropout = nn.Dropout(s.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.layer_norm(x + self.dropout(self.attention(x, mask)))
        return self.final_layer_norm(x + self.dropout(self.feed_forward(x)))


class PositionConv(nn.Module):
    """Where in the sentence a frame stands, told by a very wide convolution of the features themselves."""

    def __init__(self, s: HubertSettings) -> None:
        super().__init__()
        kernel = s.position_kernel
        std = (4.0 / (kernel * s.width)) ** 0.5
        self.conv = WeightNormConv(
            s.width, s.width, kernel, padding=kernel // 2, groups=s.position_groups, axis=2, init_std=std
        )

    def forward(self, x: Tensor) -> Tensor:
        # An even kernel gives one frame too many.
        return F.gelu(self.conv(x.mT)[..., : x.shape[1]]).mT


class FeatureProjection(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(inputs)
        self.projection = nn.Linear(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(self.layer_norm(x))


class Hubert(nn.Module):
    """The encoder."""

    def __init__(self, settings: HubertSettings) -> None:
        super().__init__()
        s = self.settings = settings
        inputs = (1, *s.conv_dims)
        shapes = zip(inputs, s.conv_dims, s.conv_kernels, s.conv_strides, strict=False)
        convs = [ConvLayer(*shape, normed=i == 0) for i, shape in enumerate(shapes)]
        self.feature_extractor = nn.ModuleDict({"conv_layers": nn.ModuleList(convs)})
        self.feature_projection = FeatureProjection(s.conv_dims[-1], s.width)
        self.encoder = nn.ModuleDict(
            {
                "pos_conv_embed": PositionConv(s),
                "layer_norm": nn.LayerNorm(s.width),
                "layers": nn.ModuleList(Layer(s) for _ in range(s.layers)),
            }
        )
        self.dropout = nn.Dropout(s.dropout)

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Build the encoder that ``tensors`` were saved from, in float32. Raises BadCheckpointError."""
        given = {_published(k): v for k, v in tensors.items() if not k.endswith("masked_spec_embed")}
        settings = HubertSettings.from_tensors(given, config)
        with weightless():
            model = cls(settings)
        load_exactly(model, given)
        return model.eval()

    def fold(self) -> Self:
        """Make the encoder faster and fit for inference only."""
        fold_weight_norm(self)
        return self

    def features(self, wav: Tensor) -> Tensor:
        """Samples [B, n] at 16 kHz -> convolutional features [B, dim, T]."""
        x = wav.unsqueeze(1)
        layers = self.feature_extractor["conv_layers"]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            x = layer(x)
        return x

    def forward(self, wav: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """Samples [B, n] at 16 kHz -> features [B, T, width].

        With ``lengths`` (in samples) no frame attends to the padding of its batch; the published model was
        trained, and is used, without.
        """
        x = self.feature_projection(self.features(wav).mT)  # [B, T, width]
        mask = None
        if lengths is not None:
            frames = torch.tensor([self.settings.frames(n) for n in lengths], device=x.device)
            inside = torch.arange(x.shape[1], device=x.device) < frames[:, None]  # [B, T]
            x = x * inside[..., None]
            mask = inside[:, None, None]
        x = self.dropout(self.encoder["layer_norm"](x + self.encoder["pos_conv_embed"](x)))
        layers = self.encoder["layers"]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            x = layer(x, mask)
        return x


def _published(key: str) -> str:
    key = key.removeprefix("hubert.")
    for new, old in RENAMED.items():
        key = key.replace(new, old)
    return key
