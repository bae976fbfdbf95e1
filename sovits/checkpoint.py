"""Reads a GPT-SoVITS weight file without unpickling it: what is it, which version, is it whole?

For: the user's own ``.pth`` and ``.ckpt`` files on import, and safetensors files made from them. Not for:
files from the network, which are safetensors and nothing else (see voicefile). Nothing is imported, called
or written, whatever the file says. Follows specs/checkpoints.md.

The steps: ``mapped`` opens the file, ``torch_file`` finds the index and the numbers in either container,
``pickle_walk`` reads the index into inert values, this module decides what it is, and ``architecture`` that
it is complete.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from p2pvoice.protocol.errors import BadCheckpointError, UnsafeFileError
from p2pvoice.protocol.tensors import SafetensorsHeader, header_size, read_header

from . import architecture
from .declared import GptSettings, SovitsSettings
from .identify import Identity, Part, identify
from .mapped import MappedFile
from .pickle_walk import Record, TensorSpec
from .torch_file import is_legacy, open_torch

#: Tensors of one file; the largest published model has 685.
TENSOR_LIMIT = 4096
#: Bytes of one tensor's name.
NAME_LIMIT = 200
#: The largest rank of a LoRA file.
RANK_LIMIT = 1024
#: Characters of the training note that are kept.
NOTE_LIMIT = 100
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

_TENSOR_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\Z")


@dataclass(frozen=True)
class Checkpoint:
    """A weight file that was found whole, finite and harmless.

    ``part``: s1 is the GPT, s2 is SoVITS. ``tensors`` are those that speech needs, by their published names.
    ``config`` is the file's own, in its own words, reduced to the allowed keys. ``info`` is the training
    note.
    """

    part: Part
    version: str
    tensors: dict[str, torch.Tensor]
    config: dict[str, object]
    info: str = ""
    lora_rank: int | None = None
    settings: SovitsSettings | GptSettings | None = None

    @property
    def content_encoder(self) -> str:
        """The id of the content encoder that the codes were learned from."""
        name = self.config.get("content_module", "cnhubert")
        return "hubert" if name in ("cnhubert", "hubert") else str(name)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read, identify and check one weight file.

    Raises UnsafeFileError when the file tries to do or reach something, BadCheckpointError when it is broken,
    lying or no voice, NotFoundError when there is no such file. v3, v4 and LoRA files are identified and
    their numbers checked, but their architecture is not.
    """
    file = MappedFile(Path(path))
    head = file.bytes(0, min(16, file.size))
    if _looks_like_safetensors(file, head):
        return _read_safetensors(file)
    marker = _check_head(file, head)
    opened = open_torch(file)
    top = opened.top
    if isinstance(top, Record):
        top = top.fields
    if type(top) is not dict:
        raise _bad("its index is no dictionary")
    weight, config = _top_level(top)
    found = opened.tensors(weight)
    tensors = {name: tensor for name, tensor in found.items() if not architecture.is_unused(name)}
    rank = top.get("lora_rank")
    info = top.get("info")
    return _checkpoint(
        tensors,
        identify(tensors, config, marker),
        info=info[:NOTE_LIMIT] if type(info) is str and info.isascii() and info.isprintable() else "",
        lora_rank=rank if type(rank) is int and 0 < rank <= RANK_LIMIT else None,
    )


def _checkpoint(
    tensors: dict[str, torch.Tensor], found: Identity, *, info: str = "", lora_rank: int | None = None
) -> Checkpoint:
    if found.lora and lora_rank is None:
        # Older files do not say it, but every first factor has as many rows as the rank.
        factors = (tensor.shape for name, tensor in tensors.items() if ".lora_A." in name)
        lora_rank = next((shape[0] for shape in factors if shape and shape[0] <= RANK_LIMIT), None)
    rank = lora_rank if found.lora else None
    return Checkpoint(found.part, found.version, tensors, found.config, info, rank, found.settings)


# The container ------------------------------------------------------------------------------------


def _check_head(file: MappedFile, head: bytes) -> tuple[str, bool] | None:
    """The version mark over the zip's first two bytes, if there is one; refuse what is no torch file."""
    if head.startswith(b"PK\x03\x04") or is_legacy(head):
        return None
    if head[2:4] == b"\x03\x04" and len(head) == 16:
        if head[:2] not in HEADS:
            raise _bad(f"its version mark {head[:2]!a} is unknown", "it may need a newer p2pvoice")
        return HEADS[head[:2]]
    start = file.bytes(0, min(512, file.size)).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise _bad(
            "it is a Git LFS pointer, not the weight file itself", "run `git lfs pull`, then import again"
        )
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _bad("it is a web page, not a weight file", "download it again; the address may need a login")
    if head.startswith(
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"cposix", b"cos\n", b"c__builtin__")
    ):
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
    return _checkpoint(tensors, identify(tensors, note if type(note) is dict else {}, None))


def file_header(file: MappedFile) -> SafetensorsHeader:
    """The strictly checked header of a mapped safetensors file."""
    try:
        size = header_size(file.bytes(0, min(8, file.size)), file.size)
        return read_header(file.bytes(0, size), file.size)
    except BadCheckpointError as error:
        name = file.path.name[:80]
        raise BadCheckpointError(f"{name!a}: {error.message}", hint="download or export it again") from error


def map_tensors(file: MappedFile, header: SafetensorsHeader) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, lying in the mapping."""
    dtypes = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
    return {n: file.tensor(info.start, dtypes[info.dtype], info.shape) for n, info in header.tensors.items()}


def _bad(reason: str, hint: str = "") -> BadCheckpointError:
    return BadCheckpointError(f"this file cannot be used: {reason}", hint=hint)
