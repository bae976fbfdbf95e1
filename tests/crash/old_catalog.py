"""How tests/golden/catalog_v1.sqlite was made, with the code of version 1:
`python tests/crash/old_catalog.py FOLDER`.

It stands here so that one can see what is in the file. It is not to be made again: its worth is that old code
wrote it. tests/node/test_migration.py lifts a copy of it with today's steps.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.schema import open_database
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.head import Head, sign_head
from p2pvoice.protocol.ids import author_id, digest_of
from p2pvoice.protocol.manifest import Engine, FileEntry, Manifest, Release, sign_manifest

NOW = 1_790_000_000.0
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (11, 12)]


@dataclass(frozen=True)
class Voice:
    """A release to put in: who, what, how it is installed (None: not at all), and its head's sequence."""

    key: int
    slug: str
    name: str
    tags: tuple[str, ...]
    created: int
    seed: bool | None = None
    sequence: int = 0


VOICES = (
    Voice(0, "storyteller", "講古佬", ("language/yue", "gender/male", "style/narration"), 1_780_000_000),
    Voice(0, "storyteller", "講古佬", ("language/yue", "gender/male"), 1_780_000_100, True, 2),
    Voice(1, "night-radio", "Night radio", ("language/en",), 1_780_000_200, False, 7),
    Voice(1, "weather", "天气预报", ("language/zh", "gender/female"), 1_780_000_300, None, 1),
)


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def release_of(voice: Voice) -> Release:
    contents = {name: f"{voice.slug} {voice.created} {name}".encode() for name in ("gpt", "sovits")}
    files = tuple(
        FileEntry(f"{name}.safetensors", len(data), digest_of(data), (Chunk(len(data), digest_of(data)),))
        for name, data in contents.items()
    )
    manifest = Manifest(
        author=public(KEYS[voice.key]),
        slug=voice.slug,
        name=voice.name,
        description="溫暖嘅聲，啱講故事。" if voice.key == 0 else "Made for the small hours.",
        created=voice.created,
        license="CC-BY-4.0",
        consent=ConsentDeclaration("self", True),
        languages=("yue",) if voice.key == 0 else ("en",),
        tags=voice.tags,
        files=files,
        engine=Engine("gpt-sovits", "v2", 32_000),
    )
    return sign_manifest(manifest, KEYS[voice.key])


def fill(catalog: Catalog) -> dict[str, object]:
    """Put everything in; what is expected to come out again."""
    rows = []
    for voice in VOICES:
        release, key = release_of(voice), KEYS[voice.key]
        data = release.envelope.to_bytes()
        catalog.add_release(data)
        if voice.seed is not None:
            catalog.install(release, seed=voice.seed)
        head = b""
        if voice.sequence:
            head = sign_head(
                Head(public(key), voice.slug, voice.sequence, release.id, int(NOW) + 86_400), key
            )
            catalog.add_head(head)
        rows.append(
            {
                "release": release.id,
                "author": author_id(public(key)),
                "slug": voice.slug,
                "tags": list(voice.tags),
                "data": data.hex(),
                "head": head.hex(),
                "sequence": voice.sequence,
                "seed": voice.seed,
            }
        )
    return {"now": NOW, "version": 1, "releases": rows}


def main(folder: Path) -> None:
    path = folder / "catalog_v1.sqlite"
    path.unlink(missing_ok=True)
    database = open_database(path)
    expected = fill(Catalog(database, clock=lambda: NOW))
    database.close()
    (folder / "catalog_v1.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
