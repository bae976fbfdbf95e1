"""Which tensors of which shapes a model of the v1/v2 family has.

For: refusing a checkpoint or a bundle whose tensors are missing, extra or of wrong shape, before any model is
built. Not for: v3 and v4, whose files are recognised but not used yet. All sizes are read from the tensors
themselves and must then agree with each other and with the settings. Follows specs/checkpoints.md.
"""

from collections.abc import Iterable, Mapping

from p2pvoice.protocol.errors import BadCheckpointError

from .declared import GptSettings, SovitsSettings

Shapes = Mapping[str, tuple[int, ...]]

#: Rows of the text embedding -> symbol table.
SYMBOL_ROWS = {322: "v1", 732: "v2"}
#: Rows of the GPT's text embedding -> symbol table.
GPT_SYMBOL_ROWS = {512: "v1", 732: "v2"}
#: Spectrogram bins that the style encoder sees from v2 on.
STYLE_BINS = 704
#: Coupling layers of the flow; those between them (odd numbers) carry no weights.
FLOWS = 4
#: Heads of the attention between audio and text, and of the style encoder's attention.
MRTE_HEADS, STYLE_HEADS = 4, 2
#: Kernels of the generator's first and last convolution, and of the style encoder's.
EDGE_KERNEL, STYLE_KERNEL = 7, 5
#: Features of one character that the Chinese BERT gives.
BERT_WIDTH = 1024
#: Layers of one stack, and codes of one codebook.
LAYERS_LIMIT, CODES_LIMIT = 64, 8192

#: What honest files carry and speech never needs: training's posterior encoder and codebook statistics.
UNUSED_PARTS = ("enc_q.",)
UNUSED_LEAVES = ("_codebook.inited", "_codebook.cluster_size", "_codebook.embed_avg")


def is_unused(name: str) -> bool:
    """Whether a tensor is dropped on import without being looked at."""
    return name.startswith(UNUSED_PARTS) or name.endswith(UNUSED_LEAVES)


def check_sovits(shapes: Shapes, settings: SovitsSettings, version: str) -> None:
    """Raise :class:`BadCheckpointError` unless ``shapes`` is exactly the s2 model of that version."""
    _compare(shapes, _sovits(shapes, settings, version))


def check_gpt(shapes: Shapes, settings: GptSettings) -> None:
    """Raise :class:`BadCheckpointError` unless ``shapes`` is exactly an s1 model."""
    _compare(shapes, _gpt(shapes, settings))


def _compare(shapes: Shapes, wanted: Shapes) -> None:
    missing = sorted(wanted.keys() - shapes.keys())
    extra = sorted(shapes.keys() - wanted.keys())
    if missing:
        raise _bad(f"{len(missing)} tensors are missing, the first is {missing[0]!a}")
    if extra:
        raise _bad(f"{len(extra)} tensors do not belong to it, the first is {extra[0][:80]!a}")
    for name in sorted(wanted):
        if shapes[name] != wanted[name]:
            raise _bad(f"{name!a} has the shape {list(shapes[name])} instead of {list(wanted[name])}")


def _sovits(shapes: Shapes, settings: SovitsSettings, version: str) -> dict[str, tuple[int, ...]]:
    symbols, hidden = _size(shapes, "enc_p.text_embedding.weight", 2)
    _, content, _ = _size(shapes, "enc_p.ssl_proj.weight", 3)
    filters, _, kernel = _size(shapes, "enc_p.encoder_text.ffn_layers.0.conv_1.weight", 3)
    mrte = _size(shapes, "enc_p.mrte.c_pre.weight", 3)[0]
    latent = _size(shapes, "enc_p.proj.weight", 3)[0] // 2
    _, style, _ = _size(shapes, "dec.cond.weight", 3)
    first = _size(shapes, "dec.conv_pre.weight", 3)[0]
    narrow, bins = _size(shapes, "ref_enc.spectral.0.fc.weight", 2)
    codes = _size(shapes, "quantizer.vq.layers.0._codebook.embed", 2)[0]
    pro = version.startswith("v2Pro")

    spectrum = settings.filter_length // 2 + 1
    _same("symbols", SYMBOL_ROWS.get(symbols), "v1" if version == "v1" else "v2")
    _same("spectrogram bins", bins, spectrum if version == "v1" else min(STYLE_BINS, spectrum))
    _same("style width", style if not pro else mrte, mrte)
    for name, size, parts in (
        ("hidden width", hidden, settings.heads),
        ("text attention's width", mrte, MRTE_HEADS),
        ("style encoder's width", narrow, STYLE_HEADS),
        ("latent width", latent, 2),
        ("generator's width", first, 2 ** len(settings.upsample_rates)),
    ):
        if size < parts or size % parts:
            raise _bad(f"the {name} {size} cannot be divided by {parts}")
    if not 2 <= codes <= CODES_LIMIT:
        raise _bad(f"its codebook has {codes} codes")
    if kernel % 2 == 0:
        raise _bad(f"its text encoder has the even kernel {kernel}")

    want: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out: int, into: int) -> None:
        want[f"{name}.weight"], want[f"{name}.bias"] = (out, into), (out,)

    def conv(name: str, out: int, into: int, width: int) -> None:
        want[f"{name}.weight"], want[f"{name}.bias"] = (out, into, width), (out,)

    def normed(name: str, out: int, into: int, width: int, bias: int | None = None) -> None:
        want[f"{name}.weight_g"], want[f"{name}.weight_v"] = (out, 1, 1), (out, into, width)
        want[f"{name}.bias"] = (out if bias is None else bias,)

    def attention(name: str, width: int) -> None:
        for part in "qkvo":
            conv(f"{name}.conv_{part}", width, width, 1)

    window = _size(shapes, "enc_p.encoder_text.attn_layers.0.emb_rel_k", 3)[1]
    if window % 2 == 0:
        raise _bad(f"its text encoder has the even attention window {window}")

    def encoder(name: str, layers: int) -> None:
        for i in range(layers):
            attention(f"{name}.attn_layers.{i}", hidden)
            for part in ("emb_rel_k", "emb_rel_v"):
                want[f"{name}.attn_layers.{i}.{part}"] = (1, window, hidden // settings.heads)
            conv(f"{name}.ffn_layers.{i}.conv_1", filters, hidden, kernel)
            conv(f"{name}.ffn_layers.{i}.conv_2", hidden, filters, kernel)
            for norm in ("norm_layers_1", "norm_layers_2"):
                for part in ("gamma", "beta"):
                    want[f"{name}.{norm}.{i}.{part}"] = (hidden,)

    conv("enc_p.ssl_proj", hidden, content, 1)
    encoder("enc_p.encoder_text", _layers(shapes, "enc_p.encoder_text.attn_layers."))
    # The audio passes as many layers before it meets the text as after.
    for name in ("enc_p.encoder_ssl", "enc_p.encoder2"):
        encoder(name, _layers(shapes, "enc_p.encoder_ssl.attn_layers."))
    want["enc_p.text_embedding.weight"] = (symbols, hidden)
    attention("enc_p.mrte.cross_attention", mrte)
    conv("enc_p.mrte.c_pre", mrte, hidden, 1)
    conv("enc_p.mrte.text_pre", mrte, hidden, 1)
    conv("enc_p.mrte.c_post", hidden, mrte, 1)
    conv("enc_p.proj", 2 * latent, hidden, 1)

    conv("dec.conv_pre", first, latent, EDGE_KERNEL)
    conv("dec.cond", first, style, 1)
    width = first
    for i, kernel_size in enumerate(settings.upsample_kernels):
        normed(f"dec.ups.{i}", width, width // 2, kernel_size, bias=width // 2)
        width //= 2
        for j, dilations in enumerate(settings.resblock_dilations):
            block = f"dec.resblocks.{i * len(settings.resblock_kernels) + j}"
            for k in range(len(dilations)):
                normed(f"{block}.convs1.{k}", width, width, settings.resblock_kernels[j])
                normed(f"{block}.convs2.{k}", width, width, settings.resblock_kernels[j])
    want["dec.conv_post.weight"] = (1, width, EDGE_KERNEL)

    layers = _layers(shapes, "flow.flows.0.enc.in_layers.")
    span = _size(shapes, "flow.flows.0.enc.in_layers.0.weight_v", 3)[2]
    if span % 2 == 0:
        raise _bad(f"its flow has the even kernel {span}")
    for i in range(0, 2 * FLOWS, 2):
        flow = f"flow.flows.{i}"
        conv(f"{flow}.pre", hidden, latent // 2, 1)
        conv(f"{flow}.post", latent // 2, hidden, 1)
        normed(f"{flow}.enc.cond_layer", 2 * hidden * layers, style, 1)
        for k in range(layers):
            normed(f"{flow}.enc.in_layers.{k}", 2 * hidden, hidden, span)
            normed(f"{flow}.enc.res_skip_layers.{k}", hidden * (2 if k < layers - 1 else 1), hidden, 1)

    linear("ref_enc.spectral.0.fc", narrow, bins)
    linear("ref_enc.spectral.3.fc", narrow, narrow)
    for i in range(2):
        conv(f"ref_enc.temporal.{i}.conv1.conv", 2 * narrow, narrow, STYLE_KERNEL)
    for part in ("w_qs", "w_ks", "w_vs", "fc"):
        linear(f"ref_enc.slf_attn.{part}", narrow, narrow)
    linear("ref_enc.fc.fc", style, narrow)
    conv("ssl_proj", content, content, 2)
    want["quantizer.vq.layers.0._codebook.embed"] = (codes, content)
    if pro:
        linear("sv_emb", style, _size(shapes, "sv_emb.weight", 2)[1])
        linear("ge_to512", mrte, style)
        want["prelu.weight"] = (style,)
    return want


def _gpt(shapes: Shapes, settings: GptSettings) -> dict[str, tuple[int, ...]]:
    rows, width = _size(shapes, "model.ar_text_embedding.word_embeddings.weight", 2)
    vocabulary = _size(shapes, "model.ar_audio_embedding.word_embeddings.weight", 2)[0]
    feed = _size(shapes, "model.h.layers.0.linear1.weight", 2)[0]
    if rows not in GPT_SYMBOL_ROWS:
        raise _bad(f"its text embedding has {rows} rows; {_either(GPT_SYMBOL_ROWS)} are known")
    if width < settings.heads or width % settings.heads:
        raise _bad(f"its width {width} cannot be divided by {settings.heads} heads")
    if not 3 <= vocabulary <= CODES_LIMIT + 1:
        raise _bad(f"its vocabulary has {vocabulary} entries")
    want: dict[str, tuple[int, ...]] = {
        "model.bert_proj.weight": (width, BERT_WIDTH),
        "model.bert_proj.bias": (width,),
        "model.ar_text_embedding.word_embeddings.weight": (rows, width),
        "model.ar_audio_embedding.word_embeddings.weight": (vocabulary, width),
        "model.ar_text_position.alpha": (1,),
        "model.ar_audio_position.alpha": (1,),
        "model.ar_predict_layer.weight": (vocabulary, width),
    }
    for i in range(_layers(shapes, "model.h.layers.")):
        for name, shape in {
            "self_attn.in_proj_weight": (3 * width, width),
            "self_attn.in_proj_bias": (3 * width,),
            "self_attn.out_proj.weight": (width, width),
            "self_attn.out_proj.bias": (width,),
            "linear1.weight": (feed, width),
            "linear1.bias": (feed,),
            "linear2.weight": (width, feed),
            "linear2.bias": (width,),
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
        }.items():
            want[f"model.h.layers.{i}.{name}"] = shape
    return want


def _size(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor from which other sizes follow."""
    shape = shapes.get(name)
    if shape is None:
        raise _bad(f"the tensor {name!a} is missing")
    if len(shape) != rank or 0 in shape:
        raise _bad(f"{name!a} has the impossible shape {list(shape)}")
    return shape


def _layers(shapes: Shapes, prefix: str) -> int:
    """How many numbered layers stand under ``prefix``; a hole among them shows as missing tensors."""
    numbers = {name[len(prefix) :].split(".", 1)[0] for name in shapes if name.startswith(prefix)}
    found = [int(number) for number in numbers if number.isascii() and number.isdigit() and len(number) < 4]
    count = max(found, default=-1) + 1
    if not 1 <= count <= LAYERS_LIMIT:
        raise _bad(f"it has {count} layers under {prefix!a}")
    return count


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise _bad(f"its {what} ({found}) should be {wanted}")


def _either(numbers: Iterable[int]) -> str:
    return " or ".join(str(number) for number in numbers)


def _bad(reason: str) -> BadCheckpointError:
    return BadCheckpointError(
        f"the file is not a complete model: {reason}",
        hint="ask for the file as the training tool exported it",
    )
