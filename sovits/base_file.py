"""Whether the files of a base are one of the networks that voices lean on, and nothing else.

For a base that is shared: before it is published, and after it was fetched, when it is a stranger's.
Everything is read as if an enemy had written it. Not for a folder as others publish it (bases.py reads that,
converts it and leaves out what is not needed). Follows specs/bases.md, "Bases as releases".
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pvoice.protocol.errors import BadCheckpointError
from p2pvoice.sovits.bases import (
    BERT,
    CONFIG_LIMIT,
    KEPT_KEYS,
    KINDS,
    SPEAKER,
    VOCABULARY_BYTES_LIMIT,
    VOCABULARY_NAME,
    canonical_config,
    needed,
    read_bounded,
)
from p2pvoice.sovits.bert import Characters
from p2pvoice.sovits.checkpoint import file_header, map_tensors
from p2pvoice.sovits.identify import is_finite
from p2pvoice.sovits.mapped import MappedFile

METADATA_KEYS = {"kind", "config"}
"""What the header of an installed base says beside its tensors."""


def check_base(
    folder: Path, kind: str, progress: Callable[[str, float], None] = lambda stage, done: None
) -> dict[str, Any]:
    """Check ``<kind>.safetensors`` of a folder, and ``vocab.txt`` for a BERT; tell what was found.

    Raises BadCheckpointError for anything that such a network would not be or not need, NotFoundError for a
    missing file.
    """
    if kind not in KINDS:
        raise _bad(f"{kind[:20]!a} is no kind of base")
    progress("check", 0.0)
    file = MappedFile(folder / f"{kind}.safetensors")
    header = file_header(file)
    config = _config(header.metadata, kind)
    number = "F32" if kind == SPEAKER else "F16"
    for name, info in header.tensors.items():
        if info.dtype != number:
            raise _bad(f"{name!a} is of the type {info.dtype}, and a {kind} is stored as {number}")
    tensors = map_tensors(file, header)
    surplus = sorted(tensors.keys() - needed(kind, tensors, config).keys())
    if surplus:
        raise _bad(f"{surplus[0][:100]!a} has no place in a {kind}")
    for done, (name, tensor) in enumerate(tensors.items()):
        if not is_finite(tensor):
            raise _bad(f"{name!a} holds NaN or infinity")
        progress("check", done / len(tensors))
    if kind == BERT:
        _check_vocabulary(folder / VOCABULARY_NAME, tensors["embeddings.word_embeddings.weight"].shape[0])
    progress("check", 1.0)
    return {"kind": kind, "parameters": sum(tensor.numel() for tensor in tensors.values())}


def _config(metadata: Any, kind: str) -> dict[str, Any]:
    if set(metadata) != METADATA_KEYS or metadata["kind"] != kind:
        raise _bad(f"its header does not say that it is a {kind}, or says more")
    text = metadata["config"]
    if len(text) > CONFIG_LIMIT:
        raise _bad(f"its configuration has more than {CONFIG_LIMIT} characters")
    try:
        config = json.loads(text)
        canonical = type(config) is dict and canonical_config(config) == text
    except (ValueError, RecursionError) as error:
        raise _bad("its configuration is not JSON") from error
    if not canonical or not set(config) <= set(KEPT_KEYS[kind]):
        raise _bad("its configuration is not spelled as an installed base's is")
    return dict(config)


def _check_vocabulary(path: Path, rows: int) -> None:
    """Every token must have a row of the embedding, or a text could ask for one that is not there."""
    try:
        text = read_bounded(path, VOCABULARY_BYTES_LIMIT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad("its vocabulary is not UTF-8") from error
    highest = max(Characters.from_text(text).vocabulary.values())
    if highest >= rows:
        raise _bad(f"its vocabulary has {highest + 1} tokens and its embedding {rows} rows")


def _bad(reason: str) -> BadCheckpointError:
    return BadCheckpointError(f"this base cannot be used: {reason}", hint="take another one")
