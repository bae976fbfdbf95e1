"""What must be true of a home after every start, whatever happened before; read from its disk.

Used by the campaigns beside this file. A broken rule is an AssertionError that says which.
"""

import hashlib
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from p2pvoice.node.blocks import offsets_of
from p2pvoice.protocol.head import verify_head
from p2pvoice.protocol.manifest import FileEntry, Release, verify_release


@dataclass(frozen=True)
class Snapshot:
    """A home as it lies on disk: installed releases, begun fetches, sequence and release of each head."""

    installed: dict[str, Release]
    begun: dict[str, Release]
    heads: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    def files(self, releases: dict[str, Release]) -> dict[bytes, FileEntry]:
        return {file.digest: file for release in releases.values() for file in release.manifest.files}


def _rows(path: Path, query: str) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query).fetchall()


def read(home: Path) -> Snapshot:
    """What the databases of a home say; signatures are checked again."""
    catalog, index = home / "catalog.sqlite", home / "store" / "index.sqlite"
    releases = {row["id"]: bytes(row["data"]) for row in _rows(catalog, "SELECT id, data FROM releases")}
    installed = [row["release"] for row in _rows(catalog, "SELECT release FROM installed")]
    begun = [row["release"] for row in _rows(index, "SELECT release FROM fetches")]
    heads = {}
    for row in _rows(catalog, "SELECT author, slug, sequence, release, data FROM heads"):
        head = verify_head(bytes(row["data"]), 0)
        assert (head.sequence, head.release) == (row["sequence"], row["release"])
        heads[row["author"], row["slug"]] = (head.sequence, head.release)
    return Snapshot(
        {identifier: verify_release(releases[identifier]) for identifier in installed},
        {identifier: verify_release(releases[identifier]) for identifier in begun},
        heads,
    )


def held_bytes(home: Path, release: Release) -> int:
    """Bytes of a release that are on disk for good: in whole files, and behind set bits, each checked."""
    total = 0
    for file in {file.digest: file for file in release.manifest.files}.values():
        if (home / "store" / "files" / file.digest.hex()).is_file():
            total += file.size
        else:
            total += sum(file.chunks[number].size for number in _true_bits(home, file))
    return total


def _true_bits(home: Path, file: FileEntry) -> list[int]:
    """The set bits of a partial file; AssertionError when one promises bytes that are not there."""
    part = home / "store" / "partial" / f"{file.digest.hex()}.part"
    bits = part.with_suffix(".bits")
    if not part.is_file() or not bits.is_file():
        return []
    stamp = hashlib.sha256(
        b"".join(chunk.size.to_bytes(8, "big") + chunk.digest for chunk in file.chunks)
    ).digest()
    data = bits.read_bytes()
    if data[:32] != stamp:
        return []
    found = []
    with part.open("rb") as opened:
        for number, (chunk, start) in enumerate(zip(file.chunks, offsets_of(file.chunks), strict=True)):
            if data[32 + number // 8] >> number % 8 & 1:
                opened.seek(start)
                held = hashlib.sha256(opened.read(chunk.size)).digest()
                assert held == chunk.digest, f"bit {number} of {part.name} promises what is not there"
                found.append(number)
    return found


def check(home: Path) -> Snapshot:
    """Check every rule that needs no memory of what happened before; what the home holds."""
    found = read(home)
    whole = home / "store" / "files"
    stored = {bytes.fromhex(name) for name in os.listdir(whole)}
    for digest in stored:
        assert hashlib.sha256((whole / digest.hex()).read_bytes()).digest() == digest, "wrong bytes"
    needed, begun = found.files(found.installed), found.files(found.begun)
    assert set(needed) <= stored, "an installed voice lacks files"
    assert stored <= set(needed) | set(begun), "a file that nobody needs was left"
    rows = _rows(home / "store" / "index.sqlite", "SELECT file FROM chunks")
    indexed = {bytes(row["file"]) for row in rows}
    assert indexed == stored, "the index does not agree with the disk"
    for name in os.listdir(home / "store" / "partial"):
        digest = bytes.fromhex(name.split(".")[0])
        assert digest in begun, f"{name} was left in partial/"
        assert digest not in stored, f"{name} is the beginning of a file that is whole"
    for file in begun.values():
        _true_bits(home, file)
    folders = set(os.listdir(home / "voices"))
    assert folders == set(found.installed), "a voice is installed by halves"
    for identifier, release in found.installed.items():
        for file in release.manifest.files:
            link = home / "voices" / identifier / file.path
            assert link.readlink() == whole / file.digest.hex(), "a link leads elsewhere"
    left = [path.name for path in (home / "drafts").glob(".*")]
    left += [str(path) for path in (home / "drafts").glob("*/publishing")]
    left += [path.name for path in (home / "uploads").iterdir()]
    assert not left, f"left behind: {left}"
    return found
