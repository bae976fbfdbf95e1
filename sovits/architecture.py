"""Whether tensors are exactly a model of the v1/v2 family or a lite one: none missing, extra or misshapen.

For: refusing a checkpoint or a bundle by its shapes, before any weight is read. The networks themselves say
what they want: one of the sizes that the tensors claim is built without memory (on torch's meta device) and
compared. What is added here are the rules of the published versions, of which a network of any size knows
nothing. Not for: v3 and v4, whose files are recognised but not used yet. Follows specs/checkpoints.md.
"""

from functools import lru_cache

from p2pvoice.protocol.errors import BadCheckpointError

from . import declared, sizes
from .gpt import PREFIX, Text2Semantic
from .lite import analysis
from .lite.model import LiteVoice
from .sizes import Shapes
from .vits import SoVits
from .weightless import weightless

#: Rows of the text embedding -> symbol table.
SYMBOL_ROWS = {322: "v1", 732: "v2"}
#: Rows of the GPT's text embedding -> symbol table.
GPT_SYMBOL_ROWS = {512: "v1", 732: "v2"}
#: Spectrogram bins that the style encoder sees from v2 on.
STYLE_BINS = 704
#: Couplings of the flow.
COUPLINGS = 4
#: Features of one character that the Chinese BERT gives.
BERT_WIDTH = 1024
#: Codes of one codebook.
CODES_LIMIT = 8192
#: Kinds of models whose shapes are remembered.
REMEMBERED = 16

#: What honest files carry and speech never needs: training's posterior encoder and codebook statistics.
UNUSED_PARTS = ("enc_q.",)
UNUSED_LEAVES = ("_codebook.inited", "_codebook.cluster_size", "_codebook.embed_avg")


def is_unused(name: str) -> bool:
    """Whether a tensor is dropped on import without being looked at."""
    return name.startswith(UNUSED_PARTS) or name.endswith(UNUSED_LEAVES)


def check_sovits(shapes: Shapes, settings: declared.SovitsSettings, version: str) -> None:
    """Raise BadCheckpointError unless ``shapes`` is exactly the s2 model of that version."""
    if version == declared.LITE:
        return _check_lite(shapes, settings)
    found = sizes.SoVitsSettings.from_shapes(shapes, settings.to_config())
    _compare(shapes, _sovits_shapes(found))
    pro = version.startswith("v2Pro")
    _same("symbols", SYMBOL_ROWS.get(found.text_vocab), "v1" if version == "v1" else "v2")
    seen = found.spec_bins if version == "v1" else min(STYLE_BINS, found.spec_bins)
    _same("spectrogram bins", found.ref_bins, seen)
    _same("speaker vector", bool(found.speaker_dim), pro)
    _same("number of couplings", found.couplings, COUPLINGS)
    _same("upsampling kernels", found.upsample_kernels, settings.upsample_kernels)
    _same("residual kernels", found.resblock_kernels, settings.resblock_kernels)
    if not 2 <= found.codes <= CODES_LIMIT:
        raise _bad(f"its codebook has {found.codes} codes")


def check_gpt(shapes: Shapes, settings: declared.GptSettings) -> None:
    """Raise BadCheckpointError unless ``shapes`` is exactly an s1 model."""
    plain = {name.removeprefix(PREFIX): shape for name, shape in shapes.items()}
    found = sizes.GptSettings.from_shapes(plain, settings.to_config())
    _compare(shapes, _gpt_shapes(found))
    if found.phone_vocab not in GPT_SYMBOL_ROWS:
        known = " or ".join(map(str, GPT_SYMBOL_ROWS))
        raise _bad(f"its text embedding has {found.phone_vocab} rows; {known} are known")
    _same("width of BERT features", found.bert_dim, BERT_WIDTH)
    if not 3 <= found.vocab <= CODES_LIMIT + 1:
        raise _bad(f"its vocabulary has {found.vocab} entries")


def _check_lite(shapes: Shapes, settings: declared.SovitsSettings) -> None:
    found = sizes.LiteSettings.from_shapes(shapes, settings.to_config())
    _compare(shapes, _lite_shapes(found))
    _same("symbols", SYMBOL_ROWS.get(found.text_vocab), "v2")
    _same("channels of the latent", found.inter_channels, analysis.CHANNELS)
    if not 2 <= found.codes <= CODES_LIMIT:
        raise _bad(f"its codebook has {found.codes} codes")


@lru_cache(REMEMBERED)
def _lite_shapes(found: sizes.LiteSettings) -> Shapes:
    with weightless():
        state = LiteVoice(found).published_state()
    return {name: tuple(slot.shape) for name, slot in state.items()}


@lru_cache(REMEMBERED)
def _sovits_shapes(found: sizes.SoVitsSettings) -> Shapes:
    with weightless():
        state = SoVits(found).state_dict()
    return {name: tuple(slot.shape) for name, slot in state.items() if not is_unused(name)}


@lru_cache(REMEMBERED)
def _gpt_shapes(found: sizes.GptSettings) -> Shapes:
    with weightless():
        state = Text2Semantic(found).published_state()
    return {name: tuple(slot.shape) for name, slot in state.items()}


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


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise _bad(f"its {what} ({found}) should be {wanted}")


def _bad(reason: str) -> BadCheckpointError:
    return BadCheckpointError(f"the file is not a complete model: {reason}")
