"""Sizes of the networks: read from the tensors; the configuration adds only what no tensor can tell.

A file's configuration is a claim by whoever made the file. Widths, depths and vocabularies come from the
tensors themselves; heads, up-sampling rates and audio rates come from the configuration, bounded here, and a
file whose claims do not fit its tensors is refused. Not for reading files. Follows specs/models.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Self

from torch import Tensor

from p2pvoice.protocol.errors import BadCheckpointError

WIDTH_LIMIT = 65536
"""No axis of any tensor may be longer: the longest in the family is a speaker vector of 20480."""
LAYER_LIMIT = 64
"""Most layers of one kind; the deepest stack of the family has 24."""
HEAD_LIMIT = 64
"""Most attention heads; the family uses 16."""
STAGE_LIMIT = 8
"""Most up-sampling stages of a generator; the family uses 5."""
BLOCK_LIMIT = STAGE_LIMIT * STAGE_LIMIT
"""Most residual blocks of a generator; the family uses 15."""
RATE_LIMIT = 64
"""Largest up-sampling rate or dilation; the family uses 10."""
SAMPLE_RATE_RANGE = range(8000, 96001)
"""Sample rates a voice may claim, in hertz."""
FILTER_LIMIT = 8192
"""Longest Fourier window in samples; the family uses 2048."""

Tensors = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class SoVitsSettings:
    """Every size of a SoVITS network; the defaults are those of a published v2 model."""

    ssl_dim: int = 768
    codes: int = 1024
    text_vocab: int = 732
    inter_channels: int = 192
    hidden_channels: int = 192
    filter_channels: int = 768
    heads: int = 2
    audio_layers: int = 3
    """Layers over the audio before it meets the text and, as many again, after."""
    text_layers: int = 6
    kernel: int = 3
    window: int = 4
    mrte_channels: int = 512
    mrte_heads: int = 4
    dropout: float = 0.1
    gin_channels: int = 512
    style_channels: int = 128
    style_heads: int = 2
    ref_bins: int = 704
    speaker_dim: int = 0
    """Width of the speaker vector of the Pro models; 0 for those without."""
    couplings: int = 4
    coupling_layers: int = 4
    posterior_layers: int = 16
    wavenet_kernel: int = 5
    upsample_rates: tuple[int, ...] = (10, 8, 2, 2, 2)
    upsample_kernels: tuple[int, ...] = (16, 16, 8, 2, 2)
    upsample_initial: int = 512
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    sample_rate: int = 32000
    filter_length: int = 2048
    hop_length: int = 640

    def __post_init__(self) -> None:
        stages = zip(self.upsample_rates, self.upsample_kernels, strict=True)
        kernels = (self.kernel, self.wavenet_kernel, *self.resblock_kernels)
        rules = {
            "heads divide their widths": self.hidden_channels % self.heads == 0
            and self.mrte_channels % self.mrte_heads == 0
            and self.style_channels % self.style_heads == 0,
            "a coupling halves the latent": self.inter_channels % 2 == 0,
            "a kernel has a middle": all(k % 2 for k in kernels),
            "each stage multiplies time by its rate": all(k >= r and (k - r) % 2 == 0 for r, k in stages),
            "the rates multiply to the hop": prod(self.upsample_rates) == self.hop_length,
            "each stage halves the channels": self.upsample_initial >> len(self.upsample_rates) >= 1,
            "the reference fits the spectrogram": self.ref_bins <= self.spec_bins,
            "the window covers the hop": self.hop_length <= self.filter_length,
            "a model without speaker vectors has one style width": bool(self.speaker_dim)
            or self.mrte_channels == self.gin_channels,
        }
        for rule, holds in rules.items():
            if not holds:
                raise BadCheckpointError(f"impossible SoVITS sizes: it does not hold that {rule}")

    @property
    def spec_bins(self) -> int:
        return self.filter_length // 2 + 1

    def to_config(self) -> dict[str, dict[str, Any]]:
        """The part of upstream's configuration that these settings stand for."""
        return {
            "data": {
                "sampling_rate": self.sample_rate,
                "filter_length": self.filter_length,
                "hop_length": self.hop_length,
                "win_length": self.filter_length,
            },
            "model": {
                "inter_channels": self.inter_channels,
                "hidden_channels": self.hidden_channels,
                "filter_channels": self.filter_channels,
                "n_heads": self.heads,
                "n_layers": self.text_layers,
                "kernel_size": self.kernel,
                "p_dropout": self.dropout,
                "resblock": "1",
                "resblock_kernel_sizes": list(self.resblock_kernels),
                "resblock_dilation_sizes": [list(d) for d in self.resblock_dilations],
                "upsample_rates": list(self.upsample_rates),
                "upsample_initial_channel": self.upsample_initial,
                "upsample_kernel_sizes": list(self.upsample_kernels),
                "gin_channels": self.gin_channels,
                "semantic_frame_rate": "25hz",
            },
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Sizes of the network that ``tensors`` were saved from; ``config`` is upstream's (data, model)."""
        return cls.from_shapes(shapes_of(tensors), config)

    @classmethod
    def from_shapes(cls, shapes: Shapes, config: Config) -> Self:
        """The same from the shapes alone, before any weight is read."""
        size = Sizes(shapes)
        data, model = section(config, "data"), section(config, "model")
        stages = size.count("dec.ups.", STAGE_LIMIT)
        blocks = size.count("dec.resblocks.", BLOCK_LIMIT)
        if not stages or not blocks or blocks % stages:
            raise BadCheckpointError("the generator's residual blocks do not divide evenly among its stages")
        kinds = blocks // stages
        dilations = model.get("resblock_dilation_sizes", ((1, 3, 5),) * kinds)
        if not isinstance(dilations, (list, tuple)) or len(dilations) != kinds:
            raise BadCheckpointError("resblock_dilation_sizes does not fit the generator's residual blocks")
        return cls(
            ssl_dim=size("ssl_proj.weight", 0),
            codes=size("quantizer.vq.layers.0._codebook.embed", 0),
            text_vocab=size("enc_p.text_embedding.weight", 0),
            inter_channels=size("dec.conv_pre.weight", 1),
            hidden_channels=size("enc_p.ssl_proj.weight", 0),
            filter_channels=size("enc_p.encoder_text.ffn_layers.0.conv_1.weight", 0),
            heads=integer(model, "n_heads", 2, range(1, HEAD_LIMIT + 1)),
            audio_layers=size.count("enc_p.encoder_ssl.attn_layers."),
            text_layers=size.count("enc_p.encoder_text.attn_layers."),
            kernel=size("enc_p.encoder_text.ffn_layers.0.conv_1.weight", 2),
            window=size("enc_p.encoder_text.attn_layers.0.emb_rel_k", 1) // 2,
            mrte_channels=size("enc_p.mrte.c_pre.weight", 0),
            gin_channels=size("ref_enc.fc.fc.weight", 0),
            style_channels=size("ref_enc.spectral.0.fc.weight", 0),
            ref_bins=size("ref_enc.spectral.0.fc.weight", 1),
            speaker_dim=size("sv_emb.weight", 1) if "sv_emb.weight" in shapes else 0,
            couplings=size.count("flow.flows."),
            coupling_layers=size.count("flow.flows.0.enc.in_layers."),
            posterior_layers=size.count("enc_q.enc.in_layers.") or 16,
            wavenet_kernel=size("flow.flows.0.enc.in_layers.0.weight_v", 2),
            upsample_rates=integers(model, "upsample_rates", (10, 8, 2, 2, 2), stages, RATE_LIMIT),
            upsample_kernels=tuple(size(f"dec.ups.{i}.weight_v", 2) for i in range(stages)),
            upsample_initial=size("dec.conv_pre.weight", 0),
            resblock_kernels=tuple(size(f"dec.resblocks.{i}.convs1.0.weight_v", 2) for i in range(kinds)),
            resblock_dilations=tuple(
                integers(
                    {"dilations": d}, "dilations", (), size.count(f"dec.resblocks.{i}.convs1."), RATE_LIMIT
                )
                for i, d in enumerate(dilations)
            ),
            sample_rate=integer(data, "sampling_rate", 32000, SAMPLE_RATE_RANGE),
            filter_length=integer(data, "filter_length", 2048, range(2, FILTER_LIMIT + 1)),
            hop_length=integer(data, "hop_length", 640, range(1, FILTER_LIMIT + 1)),
        )


@dataclass(frozen=True)
class LiteSettings:
    """Every size of a lite voice; the defaults are those of the starter.

    The names that it shares with SoVitsSettings mean the same, since the encoders are the same networks.
    """

    ssl_dim: int = 96
    """Width of a codebook row."""
    codes: int = 1024
    text_vocab: int = 732
    inter_channels: int = 82
    encoder_channels: int = 256
    encoder_hidden: int = 512
    encoder_kernel: int = 7
    text_hidden: int = 256
    code_blocks: int = 4
    frame_blocks: int = 3
    heads: int = 4
    dropout: float = 0.0
    """Of the style encoder, in training."""
    gin_channels: int = 192
    style_channels: int = 128
    style_heads: int = 2
    decoder_channels: int = 256
    decoder_hidden: int = 768
    decoder_blocks: int = 6
    decoder_kernel: int = 7
    sample_rate: int = 24000
    filter_length: int = 1024
    hop_length: int = 480

    def __post_init__(self) -> None:
        rules = {
            "heads divide their widths": self.encoder_channels % self.heads == 0
            and self.style_channels % self.style_heads == 0,
            "a kernel has a middle": self.encoder_kernel % 2 == 1 and self.decoder_kernel % 2 == 1,
            "every stack has a block": min(self.code_blocks, self.frame_blocks, self.decoder_blocks) >= 1,
            "the style holds a pitch and more": self.gin_channels >= 2,
        }
        for rule, holds in rules.items():
            if not holds:
                raise BadCheckpointError(f"impossible sizes of a lite voice: it does not hold that {rule}")

    @property
    def ref_bins(self) -> int:
        """Channels of a reference's analysis: those of the latent."""
        return self.inter_channels

    def to_config(self) -> dict[str, dict[str, Any]]:
        """What a file says beside its tensors."""
        return {
            "data": {
                "sampling_rate": self.sample_rate,
                "filter_length": self.filter_length,
                "hop_length": self.hop_length,
                "win_length": self.filter_length,
            },
            "model": {"n_heads": self.heads},
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Sizes of the network that ``tensors`` were saved from."""
        return cls.from_shapes(shapes_of(tensors), config)

    @classmethod
    def from_shapes(cls, shapes: Shapes, config: Config) -> Self:
        """The same from the shapes alone, before any weight is read."""
        size = Sizes(shapes)
        model = section(config, "model")
        return cls(
            ssl_dim=size("enc_p.pre.weight", 1),
            codes=size("quantizer.vq.layers.0._codebook.embed", 0),
            text_vocab=size("enc_p.text_embedding.weight", 0),
            inter_channels=size("dec.pre.weight", 1),
            encoder_channels=size("enc_p.pre.weight", 0),
            encoder_hidden=size("enc_p.code_blocks.0.widen.weight", 0),
            encoder_kernel=size("enc_p.code_blocks.0.along.weight", 2),
            text_hidden=size("enc_p.text_block.widen.weight", 0),
            code_blocks=size.count("enc_p.code_blocks."),
            frame_blocks=size.count("enc_p.frame_blocks."),
            heads=integer(model, "n_heads", 4, range(1, HEAD_LIMIT + 1)),
            gin_channels=size("ref_enc.fc.fc.weight", 0),
            style_channels=size("ref_enc.spectral.0.fc.weight", 0),
            decoder_channels=size("dec.pre.weight", 0),
            decoder_hidden=size("dec.blocks.0.widen.weight", 0),
            decoder_blocks=size.count("dec.blocks."),
            decoder_kernel=size("dec.blocks.0.along.weight", 2),
        )


@dataclass(frozen=True)
class GptSettings:
    """Every size of a text-to-semantic decoder; the defaults are those of a published v2 model."""

    phone_vocab: int = 732
    vocab: int = 1025
    """Codes plus one: the last entry ends a sentence."""
    width: int = 512
    heads: int = 16
    layers: int = 24
    feed_forward: int = 2048
    bert_dim: int = 1024
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 2 or self.vocab < 2 or not self.layers:
            raise BadCheckpointError("impossible GPT sizes: the heads must divide an even width")

    @property
    def eos(self) -> int:
        return self.vocab - 1

    def to_config(self) -> dict[str, dict[str, Any]]:
        """The part of upstream's configuration that these settings stand for."""
        return {
            "model": {
                "vocab_size": self.vocab,
                "phoneme_vocab_size": self.phone_vocab,
                "embedding_dim": self.width,
                "hidden_dim": self.width,
                "head": self.heads,
                "linear_units": self.feed_forward,
                "n_layer": self.layers,
                "dropout": self.dropout,
                "EOS": self.eos,
            }
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Sizes of the decoder that ``tensors`` (keys without ``model.``) were saved from."""
        return cls.from_shapes(shapes_of(tensors), config)

    @classmethod
    def from_shapes(cls, shapes: Shapes, config: Config) -> Self:
        """The same from the shapes alone, before any weight is read."""
        size, model = Sizes(shapes), section(config, "model")
        vocab = size("ar_predict_layer.weight", 0)
        if model.get("EOS", vocab - 1) != vocab - 1:
            raise BadCheckpointError(f"the end token is not the last of the {vocab} that the decoder knows")
        return cls(
            phone_vocab=size("ar_text_embedding.word_embeddings.weight", 0),
            vocab=vocab,
            width=size("ar_predict_layer.weight", 1),
            heads=integer(model, "head", 16, range(1, HEAD_LIMIT + 1)),
            layers=size.count("h.layers."),
            feed_forward=size("h.layers.0.linear1.weight", 0),
            bert_dim=size("bert_proj.weight", 1),
        )


class Sizes:
    """Sizes looked up by key, each checked against the limits before anything is built from it."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes

    def __call__(self, key: str, axis: int) -> int:
        shape = self.shapes.get(key, ())
        if axis >= len(shape):
            raise BadCheckpointError(f"the tensor {key} is missing or has too few axes")
        size = shape[axis]
        if not 1 <= size <= WIDTH_LIMIT:
            raise BadCheckpointError(f"axis {axis} of {key} is {size} long; the limit is {WIDTH_LIMIT}")
        return size

    def count(self, prefix: str, limit: int = LAYER_LIMIT) -> int:
        """How many numbered children stand directly under ``prefix``."""
        numbers = {key[len(prefix) :].split(".", 1)[0] for key in self.shapes if key.startswith(prefix)}
        if len(numbers) > limit:
            raise BadCheckpointError(f"{len(numbers)} layers under {prefix}; the limit is {limit}")
        return len(numbers)


def shapes_of(tensors: Tensors) -> Shapes:
    """The shape of every tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def section(config: Config, name: str) -> Config:
    """A table of the configuration; an absent one is empty."""
    table = config.get(name, {})
    if not isinstance(table, Mapping):
        raise BadCheckpointError(f"the configuration's {name} is not a table")
    return table


def integer(table: Config, key: str, default: int, allowed: range) -> int:
    """A bounded whole number of a table."""
    value = table.get(key, default)
    if type(value) is not int or value not in allowed:
        raise BadCheckpointError(f"{key} must be a whole number from {allowed[0]} to {allowed[-1]}")
    return value


def integers(table: Config, key: str, default: tuple[int, ...], length: int, top: int) -> tuple[int, ...]:
    """A list of ``length`` whole numbers from 1 to ``top``."""
    values = table.get(key, default)
    if not isinstance(values, (list, tuple)) or len(values) != length:
        raise BadCheckpointError(f"{key} must list {length} whole numbers")
    return tuple(integer({key: value}, key, 0, range(1, top + 1)) for value in values)


def generator_reach(s: SoVitsSettings) -> int:
    """Frames to either side that a sample of the generator depends on."""
    reach, rate = 3.0, 1  # conv_pre has a kernel of 7.
    for factor, kernel in zip(s.upsample_rates, s.upsample_kernels, strict=True):
        reach += kernel / 2 / factor / rate
        rate *= factor
        reach += max(
            sum((d + 1) * (width - 1) / 2 for d in dilations)
            for width, dilations in zip(s.resblock_kernels, s.resblock_dilations, strict=True)
        ) / rate  # fmt: skip
    return ceil(reach + 3 / rate)
