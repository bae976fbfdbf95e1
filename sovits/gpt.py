"""The text-to-semantic decoder (GPT, s1): phones and BERT features become semantic codes, one at a time.

Training takes padded batches with lengths; inference fills a key/value cache once with the text and the
prompt codes and then feeds one code a step. The draw itself is in sampling. State-dict keys are the
published ones without their leading ``model.``. Shapes: B batch, L phones, N codes, W width, V codes plus
the end token. Follows specs/models.md.
"""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pvoice.sovits.layers import load_exactly
from p2pvoice.sovits.sizes import Config, GptSettings, Tensors
from p2pvoice.sovits.weightless import weightless

PREFIX = "model."
"""What the published files put before every key."""


def without_prefix(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors of a decoder under their own names, whether or not they carry the published prefix."""
    return {k.removeprefix(PREFIX): v for k, v in tensors.items()}


class Position(nn.Module):
    """Sines on even and cosines on odd dimensions, scaled by one learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """[B, T, W] whose first row stands at position ``first``."""
        return x + self.alpha * places(*x.shape[-2:], first=first, device=x.device).to(x.dtype)


def places(steps: int, width: int, *, first: int = 0, device: torch.device | None = None) -> Tensor:
    """What tells positions ``first``, … apart: float32 [steps, width]."""
    place = torch.arange(first, first + steps, device=device, dtype=torch.float32)
    rate = 10000.0 ** (-torch.arange(0, width, 2, device=device) / width)
    angle = place[:, None] * rate  # [T, W / 2]
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


class SelfAttention(nn.Module):
    """Fused projections, and a cache of keys and values that grows in place."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, W] -> queries, keys and values, each [B, H, T, W / H]."""
        fused = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = fused.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(y.transpose(1, 2).flatten(2))

    def explained(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As ``forward``, with the attention weights [B, H, T, T] beside."""
        scores = (q @ k.mT) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2)), weights


class Layer(nn.Module):
    """A post-norm transformer layer."""

    def __init__(self, s: GptSettings) -> None:
        super().__init__()
        self.self_attn = SelfAttention(s.width, s.heads)
        self.linear1 = nn.Linear(s.width, s.feed_forward)
        self.linear2 = nn.Linear(s.feed_forward, s.width)
        self.norm1 = nn.LayerNorm(s.width)
        self.norm2 = nn.LayerNorm(s.width)
        self.dropout = nn.Dropout(s.dropout)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """All that follows attention."""
        x = self.norm1(x + self.dropout(attended))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(self.linear1(x).relu()))))


class Cache:
    """Keys and values of every layer for one sentence, allocated once for its longest outcome."""

    def __init__(self, s: GptSettings, capacity: int, like: Tensor) -> None:
        shape = (s.layers, 1, s.heads, capacity, s.width // s.heads)
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.capacity, self.filled = capacity, 0
        self.audio_position = 0
        """Where the next code will stand among the codes."""

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values after those that are filled and return all of them."""
        end = self.filled + k.shape[2]
        self.keys[layer, :, :, self.filled : end] = k
        self.values[layer, :, :, self.filled : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Text2Semantic(nn.Module):
    """The decoder. Text sees all text and no code; a code sees all text and the codes before it."""

    def __init__(self, settings: GptSettings) -> None:
        super().__init__()
        s = self.settings = settings
        self.bert_proj = nn.Linear(s.bert_dim, s.width)
        self.ar_text_embedding = nn.ModuleDict({"word_embeddings": nn.Embedding(s.phone_vocab, s.width)})
        self.ar_text_position = Position()
        self.ar_audio_embedding = nn.ModuleDict({"word_embeddings": nn.Embedding(s.vocab, s.width)})
        self.ar_audio_position = Position()
        self.h = nn.ModuleDict({"layers": nn.ModuleList(Layer(s) for _ in range(s.layers))})
        self.ar_predict_layer = nn.Linear(s.width, s.vocab, bias=False)

    @classmethod
    def from_tensors(cls, tensors: Tensors, config: Config) -> Self:
        """Build the decoder that ``tensors`` were saved from, in float32 and ready to speak.

        Keys may carry the published ``model.`` before them. Raises BadCheckpointError.
        """
        plain = without_prefix(tensors)
        settings = GptSettings.from_tensors(plain, config)
        with weightless():
            model = cls(settings)
        load_exactly(model, plain)
        return model.eval()

    def published_state(self) -> dict[str, Tensor]:
        """The weights under the keys of the published files."""
        return {PREFIX + k: v for k, v in self.state_dict().items()}

    @property
    def layers(self) -> nn.ModuleList:
        layers = self.h["layers"]
        assert isinstance(layers, nn.ModuleList)
        return layers

    def embed_text(self, phones: Tensor, bert: Tensor | None) -> Tensor:
        """Phones [B, L] and their BERT features [B, bert_dim, L] (None: all zeros) -> [B, L, W]."""
        x = self.ar_text_embedding["word_embeddings"](phones)
        x = x + (self.bert_proj.bias if bert is None else self.bert_proj(bert.mT.to(x.dtype)))
        return self.ar_text_position(x)

    def embed_codes(self, codes: Tensor, first: int = 0) -> Tensor:
        """Codes [B, N], the first of them at position ``first`` -> [B, N, W]."""
        return self.ar_audio_position(self.ar_audio_embedding["word_embeddings"](codes), first)

    def forward(
        self,
        phones: Tensor,
        bert: Tensor | None,
        codes: Tensor,
        phone_lengths: Tensor,
        attention_layer: int | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Training: phones [B, L] and codes [B, N], both padded on the right -> logits [B, N + 1, V].

        ``logits[b, n]`` predicts code n of item b, and ``logits[b, number of its codes]`` its end; what
        stands beyond is padding, which no earlier position sees. With ``attention_layer`` the second value is
        that layer's attention of the last phone and the N codes to the phones: [B, H, N + 1, L].
        """
        text, audio = self.embed_text(phones, bert), self.embed_codes(codes)
        x = torch.cat([text, audio], dim=1)  # [B, L + N, W]
        mask = self._mask(text.shape[1], audio.shape[1], phone_lengths)
        attention = None
        for i, layer in enumerate(self.layers):
            q, k, v = layer.self_attn.project(x)
            if i == attention_layer:
                attended, attention = layer.self_attn.explained(q, k, v, mask)
            else:
                attended = layer.self_attn(q, k, v, mask)
            x = layer.finish(x, attended)
        rows = self._predicting_rows(text.shape[1], audio.shape[1], phone_lengths)  # [B, N + 1]
        logits = self.ar_predict_layer(x.gather(1, rows[..., None].expand(-1, -1, x.shape[-1])))
        if attention is not None:
            index = rows[:, None, :, None].expand(-1, attention.shape[1], -1, attention.shape[-1])
            attention = attention.gather(2, index)[..., : text.shape[1]]
        return logits, attention

    @staticmethod
    def _mask(text: int, audio: int, phone_lengths: Tensor) -> Tensor:
        """Who sees whom: [B, 1, L + N, L + N], true where a row may look at a column."""
        place = torch.arange(text + audio, device=phone_lengths.device)
        is_text = place < text
        causal = ~is_text & (place <= place[:, None])  # [L + N, L + N]; for a text row all false
        phones = place < phone_lengths[:, None]  # [B, L + N]
        return (causal | phones[:, None]).unsqueeze(1)

    @staticmethod
    def _predicting_rows(text: int, audio: int, phone_lengths: Tensor) -> Tensor:
        """The rows whose output predicts code 0, 1, …: the last phone's, then each code's. [B, N + 1]."""
        codes = torch.arange(text, text + audio, device=phone_lengths.device).expand(len(phone_lengths), -1)
        return torch.cat([phone_lengths[:, None] - 1, codes], dim=1)

    @torch.inference_mode()
    def prefill(
        self, phones: Tensor, bert: Tensor | None, prompt: Tensor | None, room: int
    ) -> tuple[Tensor, Cache]:
        """Read a sentence: phones [1, L], features, prompt codes [1, N] -> logits [V] of the first new code.

        ``room`` is how many new codes the cache must hold.
        """
        x, mask, text = self.opening(phones, bert, prompt)
        cache = Cache(self.settings, x.shape[1] + room, x)
        cache.audio_position = x.shape[1] - text
        return self._run(x, cache, mask), cache

    def opening(
        self, phones: Tensor, bert: Tensor | None, prompt: Tensor | None
    ) -> tuple[Tensor, Tensor, int]:
        """What prefill begins with: input [1, L + N, W], mask [1, 1, L + N, L + N], and L."""
        x = self.embed_text(phones, bert)
        text, prompted = x.shape[1], 0 if prompt is None else prompt.shape[1]
        if prompt is not None:
            x = torch.cat([x, self.embed_codes(prompt)], dim=1)
        return x, self._mask(text, prompted, torch.tensor([text], device=x.device)), text

    @torch.inference_mode()
    def step(self, code: int, cache: Cache) -> Tensor:
        """Feed one new code -> logits [V] of the one after it."""
        token = torch.tensor([[code]], device=self.ar_predict_layer.weight.device)
        x = self.embed_codes(token, cache.audio_position)
        cache.audio_position += 1
        return self._run(x, cache, None)

    def _run(self, x: Tensor, cache: Cache, mask: Tensor | None) -> Tensor:
        if cache.filled + x.shape[1] > cache.capacity:
            raise ValueError("the cache is full: prefill was told of too little room")
        for i, layer in enumerate(self.layers):
            q, k, v = layer.self_attn.project(x)
            k, v = cache.extend(i, k, v)
            x = layer.finish(x, layer.self_attn(q, k, v, mask))
        cache.filled += x.shape[1]
        return self.ar_predict_layer(x[0, -1])
