"""The networks that voices lean on, installed once: content encoders, the Chinese BERT, the speaker network.

An installed base is a folder with one ``model.safetensors``, whose metadata says its kind and the few numbers
that tensors do not tell, and for a BERT a ``vocab.txt``. It is known by its kind (one of KINDS) or by the
content id of its safetensors file, which pins every number in it. The encoder of the voice that comes with
the program is always there. Not for a base that came from a peer: base_file.py checks that. Follows
specs/bases.md.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from p2pvoice.protocol.errors import BadCheckpointError, NotFoundError, UsageError
from p2pvoice.sovits import speaker
from p2pvoice.sovits.bert import Bert, Characters, current_names
from p2pvoice.sovits.checkpoint import file_header, map_tensors
from p2pvoice.sovits.hubert import Hubert
from p2pvoice.sovits.identify import is_finite
from p2pvoice.sovits.mapped import MappedFile
from p2pvoice.sovits.pickle_walk import TensorSpec
from p2pvoice.sovits.sizes import Config, Tensors
from p2pvoice.sovits.speaker import SpeakerNetwork
from p2pvoice.sovits.tensorfile import write_half, write_single
from p2pvoice.sovits.torch_file import open_torch

if TYPE_CHECKING:
    from p2pvoice.sovits.lite.content import ContentEncoder

HUBERT, BERT, SPEAKER = "hubert", "bert", "speaker"
KINDS = (HUBERT, BERT, SPEAKER)
"""What a user installs. The lite family's content encoder, of kind ``content``, comes with the program."""
MODEL_NAME, VOCABULARY_NAME, CONFIG_NAME = "model.safetensors", "vocab.txt", "config.json"
BUNDLED = Path(__file__).parent / "data" / "bases"
"""Bases that come with the program, one folder each."""
CONFIG_LIMIT = 64 << 10
"""Bytes of a ``config.json``; published ones have 1 to 3 KB."""
VOCABULARY_BYTES_LIMIT = 4 << 20
"""Bytes of a ``vocab.txt``; the published one has 110 KB."""
FLOATS = ("float16", "bfloat16", "float32")
"""Element types that are read; anything else in a pickle (such as position numbers) is passed over."""
FOLDER_LIMIT = 64
"""Bases that are looked at in one folder."""
KEPT_KEYS = {
    "hubert": ("num_attention_heads", "conv_stride", "feat_extract_norm", "do_stable_layer_norm"),
    "bert": ("num_attention_heads", "num_hidden_layers", "layer_norm_eps"),
    "speaker": (),
}
"""What is kept of a base's configuration: only what its tensors do not tell."""
PUBLISHED = {
    HUBERT: "chinese-hubert-base",
    BERT: "chinese-roberta-wwm-ext-large",
    SPEAKER: "sv",
}
"""The folder in which GPT-SoVITS keeps a base of each kind."""

# CIDv1 (0x01) of raw bytes (0x55) under sha2-256 (0x12) of 32 bytes (0x20).
_CID_PREFIX = bytes((0x01, 0x55, 0x12, 0x20))


class Bases:
    """The bases in some folders and those that came with the program. Nothing is loaded until asked for."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.folders = (*folders, BUNDLED)

    def hubert(self, base: str = "hubert") -> Hubert:
        """A content encoder by kind or content id, ready to use. Raises NotFoundError with what to type."""
        tensors, config = _load(self._find("hubert", base))
        return Hubert.from_tensors(tensors, config).fold()

    def content(self, base: str) -> "ContentEncoder":
        """A content encoder of the lite family by its content id, ready to use. Raises NotFoundError."""
        from p2pvoice.sovits.lite.content import ContentEncoder

        return ContentEncoder.from_tensors(*_load(self._find("content", base)))

    def speaker(self, base: str = SPEAKER) -> SpeakerNetwork:
        """A speaker network by kind or content id. Raises NotFoundError with what to type."""
        return SpeakerNetwork.from_tensors(*_load(self._find(SPEAKER, base)))

    def bert(self, base: str = "bert") -> tuple[Bert, Characters] | None:
        """A BERT and its tokeniser by kind or content id; None when it is not installed."""
        try:
            folder = self._find("bert", base)
        except NotFoundError:
            return None
        tensors, config = _load(folder)
        vocabulary = read_bounded(folder / VOCABULARY_NAME, VOCABULARY_BYTES_LIMIT)
        return Bert.from_tensors(tensors, config), Characters.from_text(vocabulary.decode("utf-8", "replace"))

    def _find(self, kind: str, base: str) -> Path:
        for folder in self.folders:
            for candidate in _installed(folder):
                if base != kind:
                    if content_id(candidate) == base:
                        return candidate
                # A base that came with the program serves by its id only, never as the published one.
                elif folder != BUNDLED and _described(candidate)[0] == kind:
                    return candidate
        if kind == "content":
            raise NotFoundError(
                f"this voice's content encoder {base[:20]}… does not come with this program",
                hint="update p2pvoice",
            )
        wanted = kind if base == kind else f"{kind} {base[:20]}…"
        raise NotFoundError(
            f"the base {wanted} is not installed",
            hint=f"p2pvoice base add PATH/TO/{PUBLISHED[kind]}, or from peers: p2pvoice base fetch {base}",
        )


def content_id(folder: Path) -> str:
    """The CID of a base's weights: a CIDv1 of raw bytes, in base32."""
    with (folder / MODEL_NAME).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return "b" + base64.b32encode(_CID_PREFIX + digest).decode().lower().rstrip("=")


def kind_of(folder: Path) -> str:
    """What an installed base is: one of KINDS."""
    return _described(folder)[0]


def install(kind: str, source: Path, into: Path) -> Path:
    """Check the published files of a base in ``source`` and write what is needed of them into ``into``.

    ``kind`` is one of KINDS, or empty to take it from ``config.json``; the speaker network is published as
    one checkpoint (.ckpt) without a configuration. No pickle is ever executed. Raises UsageError,
    NotFoundError, BadCheckpointError or UnsafeFileError; then nothing has been written.
    """
    alone = sorted(source.glob("*.ckpt"))
    if kind in ("", SPEAKER) and not (source / CONFIG_NAME).exists() and len(alone) == 1:
        kind, config, tensors = SPEAKER, {}, _read_torch(alone[0])
    else:
        config = _read_config(source / CONFIG_NAME)
        kind = kind or str(config.get("model_type", ""))[:20]
        if kind not in KINDS:
            raise UsageError(f"{kind!r} is no kind of base", hint=f"kinds: {' '.join(KINDS)}")
        tensors = _read_published(source)
    kept = {key: config[key] for key in KEPT_KEYS[kind] if key in config}
    used = needed(kind, tensors, kept)
    for name, tensor in used.items():
        if not is_finite(tensor):
            raise BadCheckpointError(f"{name} holds NaN or infinity", hint="download the base again")
    vocabulary = read_bounded(source / VOCABULARY_NAME, VOCABULARY_BYTES_LIMIT) if kind == "bert" else None
    if vocabulary is not None:
        Characters.from_text(vocabulary.decode("utf-8", "replace"))
    return write(kind, used, kept, into, vocabulary)


def write(kind: str, tensors: Tensors, config: Config, into: Path, vocabulary: bytes | None = None) -> Path:
    """Write a base that was checked, or just trained; an older one is replaced.

    In half precision, but for the speaker network: there that moves the vector by up to a twentieth of its
    spread (specs/bases.md).
    """
    into.mkdir(parents=True, exist_ok=True)
    if vocabulary is not None:
        (into / VOCABULARY_NAME).write_bytes(vocabulary)
    metadata = {"kind": kind, "config": canonical_config(config)}
    growing = into / (MODEL_NAME + ".part")
    (write_single if kind == SPEAKER else write_half)(growing, tensors, metadata)
    os.replace(growing, into / MODEL_NAME)
    return into


def canonical_config(config: Config) -> str:
    """The one spelling of a configuration, as it stands in an installed base's metadata."""
    return json.dumps(dict(config), sort_keys=True, separators=(",", ":"))


def needed(kind: str, tensors: Tensors, config: Config) -> dict[str, torch.Tensor]:
    """Build the network without its numbers, to check every shape, and return the tensors it uses."""
    shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
    if kind == "hubert":
        plain = {name.removeprefix("hubert."): tensor for name, tensor in tensors.items()}
        Hubert.from_tensors(shapes, config)
        return {name: tensor for name, tensor in plain.items() if not name.endswith("masked_spec_embed")}
    if kind == SPEAKER:
        SpeakerNetwork.from_tensors(shapes, config)
        return speaker.needed(tensors)
    wanted = Bert.from_tensors(shapes, config).state_dict().keys()
    return {name: tensor for name, tensor in current_names(tensors).items() if name in wanted}


def _installed(folder: Path) -> Iterator[Path]:
    """The bases in ``folder``: itself, or the folders in it."""
    if not folder.is_dir():
        return
    # A hidden folder is one that somebody is still filling.
    within = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for candidate in [folder, *within[:FOLDER_LIMIT]]:
        if (candidate / MODEL_NAME).is_file():
            yield candidate


def _described(folder: Path) -> tuple[str, Config]:
    """Kind and configuration of an installed base."""
    metadata = file_header(MappedFile(folder / MODEL_NAME)).metadata
    try:
        config = json.loads(metadata.get("config", ""))
    except (ValueError, RecursionError) as error:
        raise BadCheckpointError(f"the base in {folder.name!a} does not say what it is") from error
    if type(config) is not dict:
        raise BadCheckpointError(f"the base in {folder.name!a} does not say what it is")
    return metadata.get("kind", ""), config


def _load(folder: Path) -> tuple[dict[str, torch.Tensor], Config]:
    file = MappedFile(folder / MODEL_NAME)
    return map_tensors(file, file_header(file)), _described(folder)[1]


def _read_published(source: Path) -> dict[str, torch.Tensor]:
    """The tensors of a published base, without running anything; safetensors are preferred."""
    if (source / MODEL_NAME).is_file():
        return _read_safetensors(source / MODEL_NAME)
    if not (source / "pytorch_model.bin").is_file():
        raise NotFoundError(f"{source} holds neither {MODEL_NAME} nor pytorch_model.bin")
    return _read_torch(source / "pytorch_model.bin")


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file that torch wrote, without running anything."""
    opened = open_torch(MappedFile(path))
    if type(opened.top) is not dict:
        raise BadCheckpointError(f"{path.name[:80]} is no table of tensors")
    return opened.tensors(
        {
            name: spec
            for name, spec in opened.top.items()
            if type(name) is str and type(spec) is TensorSpec and spec.storage.dtype.endswith(FLOATS)
        }
    )


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    # The project's own strict reader knows only the types of voices; published bases may carry whole numbers.
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise BadCheckpointError(f"{path.name} is no safetensors file: {str(error)[:100]}") from error
    return {name: tensor for name, tensor in tensors.items() if str(tensor.dtype).endswith(FLOATS)}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(read_bounded(path, CONFIG_LIMIT))
    except (ValueError, RecursionError) as error:
        raise BadCheckpointError(f"{path.name} is not JSON") from error
    if type(config) is not dict:
        raise BadCheckpointError(f"{path.name} is no table")
    return config


def read_bounded(path: Path, limit: int) -> bytes:
    """A small file of a base. Raises NotFoundError, and BadCheckpointError for more than ``limit`` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{path.parent} has no {path.name}", hint="give the folder as published"
        ) from error
    if len(data) > limit:
        raise BadCheckpointError(f"{path.name} is larger than {limit} bytes")
    return data
