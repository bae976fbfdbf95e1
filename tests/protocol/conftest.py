"""Parts that several protocol tests build on: two keys and a small complete manifest."""

import hashlib
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.manifest import VOICE_FILES, Engine, FileEntry, Manifest, ReferenceInfo


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="session")
def other_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.fixture(scope="session")
def make_file():
    def make(path: str = "voice.json", content: bytes = b"{}", cuts: tuple[int, ...] = ()) -> FileEntry:
        digest = hashlib.sha256(content).digest()
        edges = (0, *cuts, len(content))
        pieces = [content[a:b] for a, b in pairwise(edges)]
        chunks = tuple(Chunk(len(piece), hashlib.sha256(piece).digest()) for piece in pieces)
        return FileEntry(path, len(content), digest, chunks)

    return make


@pytest.fixture(scope="session")
def make_manifest(key, make_file):
    def make(**changes: Any) -> Manifest:
        values: dict[str, Any] = {
            "author": key.public_key().public_bytes_raw(),
            "slug": "storyteller",
            "name": "说书人",
            "created": 1_790_000_000,
            "description": "A voice for stories.\nRecorded at home.",
            "license": "CC-BY-4.0",
            "consent": ConsentDeclaration("self", True),
            "languages": ("yue", "zh"),
            "tags": ("language/yue", "gender/male", "tag/wuxia"),
            "files": tuple(make_file(path, path.encode(), (3,)) for path in VOICE_FILES),
            "engine": Engine("gpt-sovits", "v2", 32_000, {"content": "hubert"}),
            "references": (ReferenceInfo("yue", 4200),),
        }
        return Manifest(**(values | changes))

    return make
