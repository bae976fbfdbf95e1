"""What a weight file is: the part, the version, the settings, and whether every tensor is there and finite.

For: checkpoint, once the tensors of a file are known. The version follows from the tensors; the mark over the
zip's first bytes and the config must then agree with them. Not for: containers. Follows specs/checkpoints.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from p2pvoice.protocol.errors import BadCheckpointError

from . import architecture
from .declared import LITE, LITE_AUDIO, GptSettings, SovitsSettings, check_gpt, check_sovits
from .pickle_walk import Record

#: Characters of one word of the config.
WORD_LIMIT = 100
#: Numbers in one list of the config.
LIST_LIMIT = 16
#: Elements looked at in one step when a tensor is searched for NaN and infinity.
SCAN_STEP = 1 << 20

VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4", "lite")

_WORD = re.compile(r"[A-Za-z0-9_.+-]+\Z")

#: The config keys that are kept; everything else (paths, user names, training options) is dropped unread.
CONFIG_KEYS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "s2": {
        "": ("version", "content_module"),
        "data": ("sampling_rate", "filter_length", "hop_length", "win_length"),
        "model": (
            "inter_channels",
            "hidden_channels",
            "filter_channels",
            "n_heads",
            "n_layers",
            "kernel_size",
            "resblock",
            "resblock_kernel_sizes",
            "resblock_dilation_sizes",
            "upsample_rates",
            "upsample_initial_channel",
            "upsample_kernel_sizes",
            "gin_channels",
            "semantic_frame_rate",
            "version",
        ),
    },
    "s1": {
        "": (),
        "data": (),
        "model": (
            "vocab_size",
            "phoneme_vocab_size",
            "embedding_dim",
            "hidden_dim",
            "head",
            "n_layer",
            "EOS",
        ),
    },
}

Part = Literal["s1", "s2"]


@dataclass(frozen=True)
class Identity:
    """What was found. ``settings`` is None for v3, v4 and LoRA files, recognised but not used yet."""

    part: Part
    version: str
    lora: bool
    config: dict[str, object]
    settings: SovitsSettings | GptSettings | None


def identify(tensors: dict[str, torch.Tensor], config: object, marker: tuple[str, bool] | None) -> Identity:
    """Identify and check the tensors of one file.

    ``config`` is whatever the file has under that name, ``marker`` the (version, LoRA?) of its mark, if any.
    Raises BadCheckpointError when tensors, config and mark do not describe one complete, finite model.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    part: Part = "s1" if "model.ar_predict_layer.weight" in shapes else "s2"
    kept = _allowed_config(config, part)
    if part == "s1":
        version = _gpt_version(shapes)
        lora = False
        if marker is not None:
            raise _bad("it carries the version mark of a SoVITS file but holds a GPT")
    else:
        version, lora = _sovits_version(shapes, kept, marker)
    settings: SovitsSettings | GptSettings | None = None
    if part == "s1":
        settings = _gpt_settings(kept, shapes)
        architecture.check_gpt(shapes, settings)
    elif version in ("v1", "v2", "v2Pro", "v2ProPlus", LITE):
        settings = (_lite_settings if version == LITE else _sovits_settings)(kept, shapes)
        architecture.check_sovits(shapes, settings, version)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise _bad(f"{name!a} holds integers")
        if not is_finite(tensor):
            raise _bad(
                f"{name!a} holds NaN or infinity", "train or export it again, in float32 if it overflowed"
            )
    return Identity(part, version, lora, kept, settings)


def _sovits_version(
    shapes: Mapping[str, tuple[int, ...]], config: dict[str, object], marker: tuple[str, bool] | None
) -> tuple[str, bool]:
    """The version by the tensors; the marker and the config must then agree."""
    model = config["model"]
    assert isinstance(model, dict)
    claims = {str(claim) for claim in (config.get("version"), model.get("version")) if claim in VERSIONS}
    lora = False
    rows = _axis(shapes, "enc_p.text_embedding.weight", 0)
    if any(name.startswith("cfm.") for name in shapes):
        lora = any(".lora_A." in name for name in shapes)
        # v3 and v4 have the same tensors: only the marker or the config tells them apart.
        told = {marker[0]} if marker else claims & {"v3", "v4"}
        version = told.pop() if len(told) == 1 else "v3"
    elif "dec.blocks.0.film.weight" in shapes:
        version = LITE
    elif "sv_emb.weight" in shapes:
        wide = _axis(shapes, "dec.conv_pre.weight", 0) == 768
        first = _axis(shapes, "dec.ups.0.weight_v", -1) == 20
        version = "v2ProPlus" if wide or first else "v2Pro"
    elif rows in architecture.SYMBOL_ROWS:
        version = architecture.SYMBOL_ROWS[rows]
    elif rows:
        known = " or ".join(str(rows) for rows in architecture.SYMBOL_ROWS)
        raise _bad(f"its text embedding has {rows} rows; {known} are known")
    else:
        raise _bad(
            "it holds neither a SoVITS nor a GPT model", "give a GPT-SoVITS voice: a .pth and a .ckpt file"
        )
    if marker is not None and marker != (version, lora):
        raise _bad(f"its mark says {marker[0]} but its tensors are {version}{' LoRA' if lora else ''}")
    if claims and claims != {version}:
        raise _bad(f"its config says {' and '.join(sorted(claims))} but its tensors are {version}")
    return version, lora


def _gpt_version(shapes: Mapping[str, tuple[int, ...]]) -> str:
    rows = _axis(shapes, "model.ar_text_embedding.word_embeddings.weight", 0)
    return architecture.GPT_SYMBOL_ROWS.get(rows, "")


def _axis(shapes: Mapping[str, tuple[int, ...]], name: str, axis: int) -> int:
    """The length of a tensor's first or last axis; 0 for a tensor that is missing or has no axes."""
    shape = shapes.get(name)
    return shape[axis] if shape else 0


def _allowed_config(config: object, part: Part) -> dict[str, object]:
    """The allowed keys of a config, whatever object it came in, with bounded plain values."""
    source = _fields(config)
    kept: dict[str, object] = {}
    for section, keys in CONFIG_KEYS[part].items():
        fields = source if not section else _fields(source.get(section, {}))
        values = {key: _plain(key, fields[key]) for key in keys if fields.get(key) is not None}
        if section:
            kept[section] = values
        else:
            kept.update(values)
    return kept


def _fields(value: object) -> dict[str, object]:
    if isinstance(value, Record):
        return value.fields
    if type(value) is dict:
        return value
    raise _bad("its config is no dictionary")


def _plain(key: str, value: object, depth: int = 0) -> object:
    if type(value) is bool or (type(value) is int and abs(value) < 1 << 31):
        return value
    if type(value) is str and len(value) <= WORD_LIMIT and _WORD.match(value):
        return value
    if (type(value) is list or type(value) is tuple) and len(value) <= LIST_LIMIT and depth < 2:
        return [_plain(key, item, depth + 1) for item in value]
    raise _bad(f"its config has an impossible value for {key}")


# Its settings -------------------------------------------------------------------------------------


def _sovits_settings(config: dict[str, object], shapes: Mapping[str, tuple[int, ...]]) -> SovitsSettings:
    """The settings that the config declares, the published ones where it is silent; they fit the tensors."""
    data, model = config["data"], config["model"]
    assert isinstance(data, dict)
    assert isinstance(model, dict)
    kernels = [shape[-1] for i in range(16) if (shape := shapes.get(f"dec.ups.{i}.weight_v"))]
    if model.get("resblock", "1") != "1" or model.get("semantic_frame_rate", "25hz") != "25hz":
        raise _bad("it is a variant of the generator or of the frame rate that no published version has")
    # Without a config the number of heads follows from the relative positions, which are as wide as one head.
    hidden = _axis(shapes, "enc_p.text_embedding.weight", -1)
    narrow = _axis(shapes, "enc_p.encoder_text.attn_layers.0.emb_rel_k", -1)
    settings = check_sovits(
        SovitsSettings(
            heads=_number(model, "n_heads", hidden // narrow if narrow else 2),
            upsample_rates=_numbers(model, "upsample_rates", (10, 8, 2, 2, 2)),
            upsample_kernels=_numbers(model, "upsample_kernel_sizes", tuple(kernels)),
            resblock_kernels=_numbers(model, "resblock_kernel_sizes", (3, 7, 11)),
            resblock_dilations=_groups(model, "resblock_dilation_sizes", ((1, 3, 5),) * 3),
            sample_rate=_number(data, "sampling_rate", 32_000),
            filter_length=_number(data, "filter_length", 2048),
            hop_length=_number(data, "hop_length", 640),
            win_length=_number(data, "win_length", 2048),
        )
    )
    for key, tensor, axis in (
        ("hidden_channels", "enc_p.text_embedding.weight", 1),
        ("filter_channels", "enc_p.encoder_text.ffn_layers.0.conv_1.weight", 0),
        ("kernel_size", "enc_p.encoder_text.ffn_layers.0.conv_1.weight", 2),
        ("inter_channels", "flow.flows.0.post.weight", 0),
        ("upsample_initial_channel", "dec.conv_pre.weight", 0),
    ):
        found = shapes.get(tensor, ())[axis : axis + 1]
        stated = model.get(key)
        if stated is not None and found and stated != found[0] * (2 if key == "inter_channels" else 1):
            raise _bad(f"its config says {key} {str(stated)[:24]}, its tensors do not")
    layers = sum(
        1 for name in shapes if re.match(r"enc_p\.encoder_text\.attn_layers\.\d+\.emb_rel_k\Z", name)
    )
    if model.get("n_layers", layers) != layers:
        raise _bad(f"its config says n_layers {str(model['n_layers'])[:24]}, its tensors {layers}")
    return settings


def _lite_settings(config: dict[str, object], shapes: Mapping[str, tuple[int, ...]]) -> SovitsSettings:
    """The settings that a lite file declares: of all that could be said, only the heads are free."""
    data, model = config["data"], config["model"]
    assert isinstance(data, dict)
    assert isinstance(model, dict)
    names = ("sampling_rate", "filter_length", "hop_length", "win_length")
    stages = ("upsample_rates", "upsample_kernel_sizes", "resblock_kernel_sizes", "resblock_dilation_sizes")
    audio = [_number(data, name, usual) for name, usual in zip(names, LITE_AUDIO, strict=True)]
    settings = SovitsSettings(
        _number(model, "n_heads", 2), *(_numbers(model, name, ()) for name in stages), *audio
    )
    return check_sovits(settings, LITE)


def _gpt_settings(config: dict[str, object], shapes: Mapping[str, tuple[int, ...]]) -> GptSettings:
    model = config["model"]
    assert isinstance(model, dict)
    rows = shapes["model.ar_predict_layer.weight"][0:1]
    layers = sum(1 for name in shapes if re.match(r"model\.h\.layers\.\d+\.norm1\.weight\Z", name))
    for key, found in (("n_layer", layers), ("vocab_size", rows and rows[0]), ("EOS", rows and rows[0] - 1)):
        if model.get(key, found) != found:
            raise _bad(f"its config says {key} {str(model[key])[:24]}, its tensors say {found}")
    return check_gpt(GptSettings(heads=_number(model, "head", 16)))


def _number(source: dict[str, object], key: str, default: int) -> int:
    value = source.get(key, default)
    if type(value) is not int:
        raise _bad(f"its config has no whole number for {key}")
    return value


def _numbers(source: dict[str, object], key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    value = source.get(key, list(default))
    if type(value) is not list or not all(type(item) is int for item in value):
        raise _bad(f"its config has no list of whole numbers for {key}")
    return tuple(value)


def _groups(
    source: dict[str, object], key: str, default: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    value = source.get(key, [list(group) for group in default])
    if type(value) is not list:
        raise _bad(f"its config has no list for {key}")
    return tuple(_numbers({key: group}, key, ()) for group in value)


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether every number is finite, looking at a piece at a time so that memory stays small."""
    if tensor.is_contiguous():
        return all(bool(torch.isfinite(piece).all()) for piece in torch.split(tensor.reshape(-1), SCAN_STEP))
    return bool(torch.isfinite(tensor).all())


def _bad(reason: str, hint: str = "") -> BadCheckpointError:
    return BadCheckpointError(f"this file cannot be used: {reason}", hint=hint)
