"""Reads a GPT-SoVITS weight file without unpickling it: what is it, which version, is it whole?

For: the user's own ``.pth`` and ``.ckpt`` files on import, and safetensors files made from them. Not for: files
from the network, which are safetensors and nothing else (see voicefile). Nothing is imported, called or
written, whatever the file says. Follows specs/checkpoints.md.

The steps: ``mapped`` opens the file, ``torch_zip`` finds the index and the numbers, ``pickle_walk`` reads the
index into inert values, this module decides what it is, and ``architecture`` that it is complete.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Literal

import torch

from p2pvoice.protocol.errors import BadCheckpointError, UnsafeFileError
from p2pvoice.protocol.tensors import SafetensorsHeader, header_size, read_header

from . import architecture
from .declared import GptSettings, SovitsSettings, check_gpt, check_sovits
from .mapped import MappedFile
from .pickle_walk import Record, TensorSpec, walk
from .torch_zip import open_zip

#: Tensors of one file; the largest published model has 685.
TENSOR_LIMIT = 4096
#: Bytes of one tensor's name.
NAME_LIMIT = 200
#: All tensors together may describe this many times the bytes that the file has (tied weights share theirs).
SHARING_LIMIT = 2
#: Characters of a text in the config or of the training note that are kept.
WORD_LIMIT = 100
#: Numbers in one list of the config.
LIST_LIMIT = 16
#: Elements looked at in one step when a tensor is searched for NaN and infinity.
SCAN_STEP = 1 << 20
#: The metadata key under which our safetensors files carry their config.
METADATA_KEY = "config"

#: The two bytes that newer versions write over the zip's "PK" -> (version, is it a LoRA file).
HEADS = {
    b"00": ("v1", False),
    b"01": ("v2", False),
    b"02": ("v3", False),
    b"03": ("v3", True),
    b"04": ("v4", True),
    b"05": ("v2Pro", False),
    b"06": ("v2ProPlus", False),
}
VERSIONS = ("v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4")
#: Versions whose models this program can build and speak with.
SPOKEN_VERSIONS = ("v2",)

_LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_TENSOR_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\Z")
_WORD = re.compile(r"[A-Za-z0-9_.+-]+\Z")

#: The config keys that are kept; everything else (paths, user names, training options) is dropped unread.
CONFIG_KEYS = {
    "s2": {
        "": ("version", "content_module"),
        "data": ("sampling_rate", "filter_length", "hop_length", "win_length"),
        "model": (
            "inter_channels", "hidden_channels", "filter_channels", "n_heads", "n_layers", "kernel_size", "resblock",
            "resblock_kernel_sizes", "resblock_dilation_sizes", "upsample_rates", "upsample_initial_channel",
            "upsample_kernel_sizes", "gin_channels", "semantic_frame_rate", "version",
        ),
    },
    "s1": {
        "": (),
        "data": (),
        "model": ("vocab_size", "phoneme_vocab_size", "embedding_dim", "hidden_dim", "head", "n_layer", "EOS"),
    },
}  # fmt: skip

Part = Literal["s1", "s2"]


@dataclass(frozen=True)
class Checkpoint:
    """A weight file that was found whole, finite and harmless.

    ``part``: s1 is the GPT, s2 is SoVITS. ``tensors`` are those that speech needs, by their published names.
    ``config`` is the file's own, in its own words, reduced to the allowed keys. ``info`` is the training note.
    """

    part: Part
    version: str
    tensors: dict[str, torch.Tensor]
    config: dict[str, object]
    info: str = ""
    lora_rank: int | None = None
    settings: SovitsSettings | GptSettings | None = field(default=None)

    @property
    def content_encoder(self) -> str:
        """The id of the content encoder that the codes were learned from."""
        name = self.config.get("content_module", "cnhubert")
        return "hubert" if name in ("cnhubert", "hubert") else str(name)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read, identify and check one weight file.

    Raises UnsafeFileError when the file tries to do or reach something, BadCheckpointError when it is broken,
    lying or no voice, NotFoundError when there is no such file. v3, v4 and LoRA files are identified and their
    numbers checked, but their architecture is not.
    """
    file = MappedFile(Path(path))
    head = file.bytes(0, min(16, file.size))
    if _looks_like_safetensors(file, head):
        return _read_safetensors(file)
    marker = _check_head(file, head)
    archive = open_zip(file)
    top = walk(archive.pickle)
    if isinstance(top, Record):
        top = top.fields
    if type(top) is not dict:
        raise _bad("its index is no dictionary")
    weight, config = _top_level(top)
    tensors: dict[str, torch.Tensor] = {}
    described = 0
    for name, spec in weight.items():
        described += prod(spec.shape) * spec.storage.itemsize
        if described > SHARING_LIMIT * file.size:
            raise _bad("its tensors describe far more numbers than the file has")
        entry = archive.storages.get(spec.storage.key)
        if entry is None or entry.size != spec.storage.count * spec.storage.itemsize:
            raise _bad(f"the numbers of {name!a} are not all there")
        if not architecture.is_unused(name):
            dtype = getattr(torch, spec.storage.dtype)
            whole = file.tensor(entry.start, dtype, (spec.storage.count,))
            tensors[name] = whole.as_strided(spec.shape, spec.stride, spec.offset)
    rank = top.get("lora_rank")
    info = top.get("info")
    return _identify(
        tensors,
        config,
        marker,
        info=info[:WORD_LIMIT] if type(info) is str and info.isascii() and info.isprintable() else "",
        lora_rank=rank if type(rank) is int and 0 < rank <= 1024 else None,
    )


# The container ------------------------------------------------------------------------------------


def _check_head(file: MappedFile, head: bytes) -> tuple[str, bool] | None:
    """The version marker over the zip's first two bytes, if there is one; refuse what is no torch zip at all."""
    if head.startswith(b"PK\x03\x04"):
        return None
    if head[2:4] == b"\x03\x04" and len(head) == 16:
        if head[:2] not in HEADS:
            raise _bad(f"its version mark {head[:2]!a} is unknown", "it may need a newer p2pvoice")
        return HEADS[head[:2]]
    start = file.bytes(0, min(512, file.size)).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise _bad("it is a Git LFS pointer, not the weight file itself", "run `git lfs pull`, then import again")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _bad("it is a web page, not a weight file", "download it again; the address may need a login")
    if head.startswith(_LEGACY_MAGIC[:15]):
        raise _bad(
            "it is in the legacy format that torch wrote before 1.6, which is not supported",
            "load and save it again with a current GPT-SoVITS",
        )
    if head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"cposix", b"cos\n", b"c__builtin__")):
        raise UnsafeFileError("the file is a bare pickle, which can run any program when it is opened")
    raise _bad("it is no torch weight file")


def _looks_like_safetensors(file: MappedFile, head: bytes) -> bool:
    return len(head) >= 10 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= file.size - 8


def _top_level(top: dict[object, object]) -> tuple[dict[str, TensorSpec], object]:
    """The ``weight`` dictionary and the ``config`` of the file's index."""
    if "weight" not in top:
        if top.keys() & {"optimizer", "iteration", "state_dict", "optimizer_states"} or "model" in top:
            raise _bad(
                "it is a checkpoint of training (such as G_*.pth or D_*.pth), not a voice",
                "take the file from the SoVITS_weights or GPT_weights folder",
            )
        raise _bad("it has no weights")
    weight = top["weight"]
    if type(weight) is not dict or not weight:
        raise _bad("its weights are no dictionary")
    if len(weight) > TENSOR_LIMIT:
        raise _bad(f"it has {len(weight)} tensors, more than {TENSOR_LIMIT}")
    for name, spec in weight.items():
        if type(name) is not str or len(name) > NAME_LIMIT or not _TENSOR_NAME.match(name):
            raise _bad(f"it has a tensor of the impossible name {str(name)[:80]!a}")
        if type(spec) is not TensorSpec:
            raise _bad(f"{name!a} is no tensor")
    return weight, top.get("config", {})


def _read_safetensors(file: MappedFile) -> Checkpoint:
    header = file_header(file)
    tensors = {n: t for n, t in map_tensors(file, header).items() if not architecture.is_unused(n)}
    try:
        note = json.loads(header.metadata.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        note = {}
    return _identify(tensors, note if type(note) is dict else {}, None, info="")


def file_header(file: MappedFile) -> SafetensorsHeader:
    """The strictly checked header of a mapped safetensors file."""
    size = header_size(file.bytes(0, min(8, file.size)), file.size)
    return read_header(file.bytes(0, size), file.size)


def map_tensors(file: MappedFile, header: SafetensorsHeader) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, lying in the mapping."""
    dtypes = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
    return {n: file.tensor(info.start, dtypes[info.dtype], info.shape) for n, info in header.tensors.items()}


# What it is ---------------------------------------------------------------------------------------


def _identify(
    tensors: dict[str, torch.Tensor],
    config: object,
    marker: tuple[str, bool] | None,
    *,
    info: str,
    lora_rank: int | None = None,
) -> Checkpoint:
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
    if lora and lora_rank is None:
        lora_rank = next((s[0] for n, s in shapes.items() if ".lora_A." in n and s), None)
    settings: SovitsSettings | GptSettings | None = None
    if part == "s1":
        settings = _gpt_settings(kept, shapes)
        architecture.check_gpt(shapes, settings)
    elif version in ("v1", "v2", "v2Pro", "v2ProPlus"):
        settings = _sovits_settings(kept, shapes)
        architecture.check_sovits(shapes, settings, version)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise _bad(f"{name!a} holds integers")
        if not _is_finite(tensor):
            raise _bad(f"{name!a} holds NaN or infinity", "train or export it again, in float32 if it overflowed")
    return Checkpoint(part, version, tensors, kept, info, lora_rank if lora else None, settings)


def _sovits_version(
    shapes: Mapping[str, tuple[int, ...]], config: dict[str, object], marker: tuple[str, bool] | None
) -> tuple[str, bool]:
    """The version by the tensors; the marker and the config must then agree."""
    model = config["model"]
    assert isinstance(model, dict)
    claims = {str(claim) for claim in (config.get("version"), model.get("version")) if claim in VERSIONS}
    lora = False
    rows = shapes.get("enc_p.text_embedding.weight", (0,))[0]
    if any(name.startswith("cfm.") for name in shapes):
        lora = any(".lora_A." in name for name in shapes)
        # v3 and v4 have the same tensors: only the marker or the config tells them apart.
        told = {marker[0]} if marker else claims & {"v3", "v4"}
        version = told.pop() if len(told) == 1 else "v3"
    elif "sv_emb.weight" in shapes:
        wide = shapes.get("dec.conv_pre.weight", (0,))[0] == 768
        first = shapes.get("dec.ups.0.weight_v", (0,))[-1] == 20
        version = "v2ProPlus" if wide or first else "v2Pro"
    elif rows in architecture.SYMBOL_ROWS:
        version = architecture.SYMBOL_ROWS[rows]
    elif rows:
        known = " or ".join(str(rows) for rows in architecture.SYMBOL_ROWS)
        raise _bad(f"its text embedding has {rows} rows; {known} are known")
    else:
        raise _bad("it holds neither a SoVITS nor a GPT model", "give a GPT-SoVITS voice: a .pth and a .ckpt file")
    if marker is not None and marker != (version, lora):
        raise _bad(f"its mark says {marker[0]} but its tensors are {version}{' LoRA' if lora else ''}")
    if claims and claims != {version}:
        raise _bad(f"its config says {' and '.join(sorted(claims))} but its tensors are {version}")
    return version, lora


def _gpt_version(shapes: Mapping[str, tuple[int, ...]]) -> str:
    rows = shapes.get("model.ar_text_embedding.word_embeddings.weight", (0,))[:1]
    return architecture.GPT_SYMBOL_ROWS.get(rows[0] if rows else 0, "")


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
    if type(value) is list or type(value) is tuple:
        if len(value) <= LIST_LIMIT and depth < 2:
            return [_plain(key, item, depth + 1) for item in value]
    raise _bad(f"its config has an impossible value for {key}")


# Its settings -------------------------------------------------------------------------------------


def _sovits_settings(config: dict[str, object], shapes: Mapping[str, tuple[int, ...]]) -> SovitsSettings:
    """The settings that the config declares, or the published ones where it is silent, checked with the tensors."""
    data, model = config["data"], config["model"]
    assert isinstance(data, dict)
    assert isinstance(model, dict)
    kernels = [shape[-1] for i in range(16) if (shape := shapes.get(f"dec.ups.{i}.weight_v"))]
    if model.get("resblock", "1") != "1" or model.get("semantic_frame_rate", "25hz") != "25hz":
        raise _bad("it is a variant of the generator or of the frame rate that no published version has")
    # Without a config the number of heads follows from the relative positions, which are as wide as one head.
    hidden = shapes.get("enc_p.text_embedding.weight", (0, 0))[-1]
    narrow = shapes.get("enc_p.encoder_text.attn_layers.0.emb_rel_k", (0,))[-1]
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
    layers = sum(1 for name in shapes if re.match(r"enc_p\.encoder_text\.attn_layers\.\d+\.emb_rel_k\Z", name))
    if model.get("n_layers", layers) != layers:
        raise _bad(f"its config says n_layers {str(model['n_layers'])[:24]}, its tensors {layers}")
    return settings


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


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether every number is finite, looking at a piece at a time so that memory stays small."""
    if tensor.is_contiguous():
        return all(bool(torch.isfinite(piece).all()) for piece in tensor.reshape(-1).split(SCAN_STEP))
    return bool(torch.isfinite(tensor).all())


def _bad(reason: str, hint: str = "") -> BadCheckpointError:
    return BadCheckpointError(
        f"this file cannot be used: {reason}", hint=hint or "ask for the file as the training tool exported it"
    )
