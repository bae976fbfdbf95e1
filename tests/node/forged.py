"""Releases of bases as somebody who means ill would sign them, or somebody who is only unknown."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from p2pvoice.node.identity import generate
from p2pvoice.protocol import base as b
from p2pvoice.protocol.chunks import Chunk, plan_chunks
from p2pvoice.protocol.consent import NO_VOICE, ConsentDeclaration
from p2pvoice.protocol.ids import digest_of, raw_cid
from p2pvoice.protocol.manifest import Engine, FileEntry, Manifest, Release, sign_manifest
from p2pvoice.protocol.tensors import read_header

AUTHOR = generate().author


def entry(path: str, data: bytes, *, sizes: Sequence[int] | None = None, digest: bytes = b"") -> FileEntry:
    """A file as it should stand in a manifest, or with another cut or digest."""
    if sizes is None:
        header = read_header(data, len(data)) if path.endswith(".safetensors") else None
        sizes = plan_chunks(len(data), header)
    chunks, at = [], 0
    for size in sizes:
        chunks.append(Chunk(size, digest_of(data[at : at + size])))
        at += size
    return FileEntry(path, len(data), digest or digest_of(data), tuple(chunks))


def signed(kind: str, files: Sequence[FileEntry], **changes: Any) -> Release:
    """A base of these files, signed by somebody nobody knows."""
    weights = next(one for one in files if one.path == b.model_path(kind))
    manifest = Manifest(
        author=AUTHOR.public_key().public_bytes_raw(),
        slug=b.base_slug(kind, raw_cid(weights.digest)),
        name="good as gold",
        created=1_790_000_000,
        license="MIT",
        consent=ConsentDeclaration(NO_VOICE, False, references_may_travel=False),
        languages=("und",),
        files=tuple(files),
        engine=Engine("base", kind, 16_000),
        format=3,
        min_reader=3,
    )
    return sign_manifest(dataclasses.replace(manifest, **changes), AUTHOR)
