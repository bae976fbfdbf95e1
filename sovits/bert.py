"""BERT features of Mandarin text: one vector a character, repeated over its phones.

The network is run up to the third hidden state from its end, so the two layers above it and the
language-model head are neither built nor needed. Used for the spans of a text that are Mandarin; without an
installed BERT their features are zeros. Not for finding those spans: see text. Follows specs/models.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.protocol.errors import BadCheckpointError, SynthesisError
from p2pvoice.sovits.layers import load_exactly
from p2pvoice.sovits.sizes import HEAD_LIMIT, LAYER_LIMIT, Config, Sizes, Tensors, integer, shapes_of
from p2pvoice.sovits.weightless import weightless

UNUSED_LAYERS = 2
"""Layers above the hidden state that is used: ``hidden_states[-3]``."""
VOCABULARY_LIMIT = 100_000
"""Most lines of a vocabulary file; the published one has 21,128."""
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""Names of files converted long ago -> today's."""


@dataclass(frozen=True)
class BertSettings:
    """Every size of a BERT; the defaults are those of chinese-roberta-wwm-ext-large up to layer 22."""

    vocab: int = 21128
    width: int = 1024
    heads: int = 16
    layers: int = 24 - UNUSED_LAYERS
    feed_forward: int = 4096
    positions: int = 512
    types: int = 2
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        if self.width % self.heads or self.layers < 1 or not 0 < self.epsilon < 1e-2:
            raise BadCheckpointError("impossible BERT sizes: the heads must divide the width")

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Sizes of the network behind ``tensors``; transformers' ``config`` tells heads and whole depth."""
        size = Sizes(shapes_of(tensors))
        depth = integer(config, "num_hidden_layers", 24, range(UNUSED_LAYERS + 1, LAYER_LIMIT + 1))
        epsilon = config.get("layer_norm_eps", 1e-12)
        if not isinstance(epsilon, float):
            raise BadCheckpointError("layer_norm_eps must be a number")
        return cls(
            vocab=size("embeddings.word_embeddings.weight", 0),
            width=size("embeddings.word_embeddings.weight", 1),
            heads=integer(config, "num_attention_heads", 16, range(1, HEAD_LIMIT + 1)),
            layers=depth - UNUSED_LAYERS,
            feed_forward=size("encoder.layer.0.intermediate.dense.weight", 0),
            positions=size("embeddings.position_embeddings.weight", 0),
            types=size("embeddings.token_type_embeddings.weight", 0),
            epsilon=epsilon,
        )


class Embeddings(nn.Module):
    def __init__(self, s: BertSettings) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(s.vocab, s.width)
        self.position_embeddings = nn.Embedding(s.positions, s.width)
        self.token_type_embeddings = nn.Embedding(s.types, s.width)
        self.LayerNorm = nn.LayerNorm(s.width, eps=s.epsilon)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[-1], device=ids.device)
        x = (
            self.word_embeddings(ids)
            + self.position_embeddings(places)
            + self.token_type_embeddings.weight[0]
        )
        return self.LayerNorm(x)


class Layer(nn.Module):
    """A post-norm transformer layer under the deep names of the published files."""

    def __init__(self, s: BertSettings) -> None:
        super().__init__()
        self.heads = s.heads
        projections = {name: nn.Linear(s.width, s.width) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(projections), "output": _output(s.width, s)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(s.width, s.feed_forward)})
        self.output = _output(s.feed_forward, s)

    def forward(self, x: Tensor) -> Tensor:
        projections, mix = self.attention["self"], self.attention["output"]
        q, k, v = (
            projections[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )  # [B, H, L, D]
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = mix["LayerNorm"](x + mix["dense"](attended))
        inner = F.gelu(self.intermediate["dense"](x))
        return self.output["LayerNorm"](x + self.output["dense"](inner))


def _output(inputs: int, s: BertSettings) -> nn.ModuleDict:
    return nn.ModuleDict(
        {"dense": nn.Linear(inputs, s.width), "LayerNorm": nn.LayerNorm(s.width, eps=s.epsilon)}
    )


class Bert(nn.Module):
    """The network up to the hidden state that is used."""

    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        self.settings = settings
        self.embeddings = Embeddings(settings)
        self.encoder = nn.ModuleDict(
            {"layer": nn.ModuleList(Layer(settings) for _ in range(settings.layers))}
        )

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Build what is needed of the network that ``tensors`` were saved from. Raises BadCheckpointError."""
        given = current_names(tensors)
        settings = BertSettings.from_tensors(given, config)
        with weightless():
            model = cls(settings)
        wanted = model.state_dict().keys()
        load_exactly(model, {k: v for k, v in given.items() if k in wanted})
        return model.eval()

    @torch.inference_mode()
    def forward(self, ids: Tensor) -> Tensor:
        """Token ids [B, L] -> [B, L, width]."""
        x = self.embeddings(ids)
        layers = self.encoder["layer"]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            x = layer(x)
        return x


class Characters:
    """The tokeniser: every character is a token of its own, as normalised Chinese text needs it."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        missing = {"[CLS]", "[SEP]", "[UNK]"} - vocabulary.keys()
        if missing:
            raise BadCheckpointError(f"the vocabulary lacks {', '.join(sorted(missing))}")
        self.vocabulary = dict(vocabulary)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a ``vocab.txt``: one token a line, numbered from 0."""
        lines = text.rstrip("\n").split("\n", VOCABULARY_LIMIT)
        if len(lines) > VOCABULARY_LIMIT:
            raise BadCheckpointError(f"the vocabulary has more than {VOCABULARY_LIMIT} lines")
        return cls({line.rstrip("\r"): i for i, line in enumerate(lines) if line})

    def ids(self, text: str) -> list[int]:
        """The characters of ``text`` between the marks of beginning and end."""
        tokens = ["[CLS]", *text.lower(), "[SEP]"]
        return [self.vocabulary.get(token, self.vocabulary["[UNK]"]) for token in tokens]


def phone_features(model: Bert, characters: Characters, text: str, word2ph: Sequence[int]) -> Tensor:
    """One span of normalised Mandarin -> features [width, phones], the first and last token dropped.

    ``word2ph`` tells how many phones each character of ``text`` has. Raises SynthesisError when the two do
    not match or the text is longer than the network can see.
    """
    if len(word2ph) != len(text):
        raise SynthesisError(f"{len(text)} characters but phones for {len(word2ph)}")
    ids = characters.ids(text)
    if len(ids) > model.settings.positions:
        raise SynthesisError(f"a piece of {len(text)} characters is too long; split the text")
    if max(ids) >= model.settings.vocab:
        raise BadCheckpointError("the vocabulary file does not belong to this BERT")
    device = model.embeddings.word_embeddings.weight.device
    hidden = model(torch.tensor([ids], device=device))[0, 1:-1]  # [characters, width]
    return hidden.repeat_interleave(torch.tensor(word2ph, device=device), dim=0).T


def current_names(tensors: Tensors) -> dict[str, Tensor]:
    """The same tensors by the names of this page, whoever named them before."""
    named = {}
    for key, tensor in tensors.items():
        key = key.removeprefix("bert.")
        for old, new in OLD_NAMES.items():
            key = key.replace(old, new)
        named[key] = tensor
    return named
