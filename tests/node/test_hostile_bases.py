"""Bases of somebody who means ill: each is refused by a real daemon, and nothing of it is installed.

The other side is a real host in this process that serves whatever it likes, which no daemon of ours would.
"""

import hashlib
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import torch
import trio
from safetensors.torch import load_file

from p2pvoice.node.announcing import Announcer
from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.host import open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.library import Page
from p2pvoice.protocol import base as b
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.chunks import CHUNK_LIMIT, Bitmap
from p2pvoice.protocol.consent import ConsentDeclaration
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import P2PVoiceError
from p2pvoice.protocol.ids import digest_of, raw_cid, release_id
from p2pvoice.protocol.manifest import (
    MANIFEST_LIMIT,
    VOICE_FILES,
    Engine,
    Manifest,
    Release,
)
from p2pvoice.protocol.tensors import read_header
from p2pvoice.sovits import bases
from p2pvoice.sovits.tensorfile import write_half

from ..sovits import bench
from .forged import AUTHOR, entry, signed
from .nodes import LOOPBACK, Daemon

Make = Callable[[], Daemon]


class Shop:
    """A library that offers what it was given, whatever it is asked for."""

    def __init__(self) -> None:
        self.releases: dict[str, bytes] = {}
        self.chunks: dict[tuple[bytes, int], bytes] = {}
        self.asked: list[tuple[str, ...]] = []

    def put(self, release: Release, contents: Mapping[str, bytes]) -> Release:
        """Offer a release with the bytes that its chunk list says."""
        self.releases[release.id] = release.envelope.to_bytes()
        for file in release.manifest.files:
            data, at = contents[file.path], 0
            for number, chunk in enumerate(file.chunks):
                self.chunks[file.digest, number] = data[at : at + chunk.size]
                at += chunk.size
        return release

    async def query(self, tags: Sequence[str], limit: int, cursor: str, **others: Any) -> Page:
        self.asked.append(tuple(tags))
        return Page(tuple(self.releases.values())[:limit])

    async def get_release(self, release: str) -> bytes | None:
        return self.releases.get(release)

    async def get_head(self, author: str, slug: str) -> bytes | None:
        return None

    async def get_revocations(
        self, releases: Sequence[str], author: str, slug: str, *, proofs: bool
    ) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        return (), ()

    async def hear(self, record: bytes) -> None:
        return None

    async def get_successor(self, author: str) -> bytes | None:
        return None

    async def get_collection(self, author: str, slug: str) -> bytes | None:
        return None

    async def get_have(self, file: bytes) -> Bitmap | None:
        return None

    async def read_chunk(self, file: bytes, index: int) -> bytes | None:
        return self.chunks.get((file, index))


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Bases, good and bad: what a tester calls them -> path -> bytes."""
    place = tmp_path_factory.mktemp("bases")
    hubert = bases.install("", bench.published_hubert(place / "hubert"), place / "installed")
    bert = bases.install("", bench.published_bert(place / "bert", 32), place / "bert-installed")
    path = hubert / "model.safetensors"
    tensors = load_file(path)
    raw = path.read_bytes()
    header = read_header(raw, len(raw))
    metadata = dict(header.metadata)

    def written(changed: Mapping[str, torch.Tensor], said: Mapping[str, str] = metadata) -> bytes:
        write_half(place / "spoiled", dict(changed), dict(said))
        return (place / "spoiled").read_bytes()

    name, info = max(header.tensors.items(), key=lambda one: one[1].end)
    poisoned = bytearray(raw)
    struct.pack_into("<e", poisoned, info.end - 2, float("nan"))
    assert torch.isnan(torch.frombuffer(poisoned[-2:], dtype=torch.float16)).all()
    voice, _ = bench.voice(place / "voice")
    weights = load_file(voice / "gpt.safetensors")
    vocabulary = (bert / "vocab.txt").read_bytes()
    whole = (bert / "model.safetensors").read_bytes()
    return {
        "good": {"hubert.safetensors": raw},
        "good bert": {"bert.safetensors": whole, "vocab.txt": vocabulary},
        "a voice": {
            "bert.safetensors": written(weights, {"kind": "bert", "config": "{}"}),
            "vocab.txt": vocabulary,
        },
        "a voice's weights beside it": {"hubert.safetensors": written({**tensors, **weights})},
        "one tensor of another shape": {"hubert.safetensors": written(tensors | {name: torch.zeros(3)})},
        "one tensor less": {"hubert.safetensors": written({k: v for k, v in tensors.items() if k != name})},
        "NaN": {"hubert.safetensors": bytes(poisoned)},
        "more tokens than rows": {"bert.safetensors": whole, "vocab.txt": vocabulary + b"\nmore"},
    }


@asynccontextmanager
async def shop(victim: Daemon) -> AsyncIterator[tuple[Shop, Callable[[Release], Any]]]:
    """A hostile node that the victim is connected to, and how it announces a release."""
    made = Shop()
    async with open_host(generate(), listen=(LOOPBACK,)) as host, trio.open_nursery() as nursery:
        ExchangeServer(host, made).attach()
        announcer = Announcer(host)
        nursery.start_soon(announcer.run)
        await trio.to_thread.run_sync(lambda: victim.client.connect(host.addresses()[0]))

        async def announce(release: Release, *more: str) -> None:
            tags = (*release.manifest.finding_tags, *more)
            assert await announcer.done(announcer.release(release.id, tags), 30)

        yield made, announce
        nursery.cancel_scope.cancel()


async def attempt(victim: Daemon, ref: str) -> P2PVoiceError:
    """How a fetch is refused."""

    def fetch() -> P2PVoiceError:
        with pytest.raises(P2PVoiceError) as caught:
            list(victim.client.fetch_base(ref))
        return caught.value

    return await trio.to_thread.run_sync(fetch)


def nothing_is_here(victim: Daemon) -> None:
    assert victim.client.bases() == []
    for folder in ("bases", "voices", "store/files", "store/partial"):
        assert list((victim.home / folder).iterdir()) == []
    status = victim.client.status()
    assert (status["serving"], status["dht"]["keys"]) == (0, 0)


async def test_no_bad_base_is_installed(daemons: Make, contents: dict[str, dict[str, bytes]]) -> None:
    victim = daemons().start()
    async with shop(victim) as (made, announce):
        for what, files in contents.items():
            if what.startswith("good"):
                continue
            kind = next(iter(files)).split(".")[0]
            release = signed(kind, [entry(path, data) for path, data in files.items()])
            made.put(release, files)
            await announce(release)
            error = await attempt(victim, release.manifest.bundle_id)
            assert (error.code, error.exit_code) == ("bad_checkpoint", 5), what
        good = contents["good"]
        data = good["hubert.safetensors"]
        # Right chunks of wrong bytes under the digest, and so under all the ids, of a good base.
        other = contents["NaN"]["hubert.safetensors"]
        claimed = entry("hubert.safetensors", other, digest=digest_of(data))
        lying = signed("hubert", [claimed])
        honest = signed("hubert", [entry("hubert.safetensors", data)])
        assert lying.manifest.bundle_id == honest.manifest.bundle_id
        assert lying.id != honest.id
        made.put(lying, {"hubert.safetensors": other})
        await announce(lying)
        for ref in (lying.manifest.bundle_id, raw_cid(digest_of(data)), lying.id):
            assert (await attempt(victim, ref)).code == "integrity"
        # A file in two pieces: not cut as the rules cut it.
        files = contents["good bert"]
        whole = files["bert.safetensors"]
        cut = entry("bert.safetensors", whole, sizes=[1000, len(whole) - 1000])
        odd = signed("bert", [cut, entry("vocab.txt", files["vocab.txt"])])
        made.put(odd, files)
        await announce(odd)
        assert (await attempt(victim, odd.id)).code == "bad_manifest"
        # A licence that does not let anybody share it, or of which nobody can tell.
        for license in ("CC-BY-NC-ND-4.0", "LicenseRef-secret"):
            kept = signed("hubert", [entry("hubert.safetensors", data)], license=license)
            made.releases[kept.id] = kept.envelope.to_bytes()
            await announce(kept)
            assert (await attempt(victim, kept.id)).code == "policy"
        await trio.to_thread.run_sync(nothing_is_here, victim)

        # Somebody who tells the truth about the same files is found behind all of these.
        bundle = honest.manifest.bundle_id
        assert lying.manifest.bundle_id == kept.manifest.bundle_id == bundle
        async with shop(victim) as (other_made, other_announce):
            other_made.put(honest, good)
            await other_announce(honest)
            got = await trio.to_thread.run_sync(lambda: list(victim.client.fetch_base(bundle))[-1])
        assert (got["release"], got["id"]) == (honest.id, raw_cid(digest_of(data)))
        place = victim.home / "bases" / got["name"] / "model.safetensors"
        assert hashlib.sha256(place.read_bytes()).digest() == digest_of(data)


async def test_what_is_no_base_is_not_found_as_one_nor_the_other_way_round(
    daemons: Make, contents: dict[str, dict[str, bytes]]
) -> None:
    victim = daemons().start()
    files = contents["good bert"]
    base = signed("bert", [entry(path, data) for path, data in files.items()])
    ids = b.base_ids(base.manifest)
    voice = Manifest(
        author=AUTHOR.public_key().public_bytes_raw(),
        slug="storyteller",
        name="Storyteller",
        created=1_790_000_000,
        license="MIT",
        consent=ConsentDeclaration("synthetic", True),
        languages=("yue",),
        tags=("language/yue", "base/bert", b.bundle_tag(ids.bundle)),
        files=tuple(entry(path, b"x", sizes=[1]) for path in VOICE_FILES),
        engine=Engine("gpt-sovits", "v2", 32_000),
    )
    payload = voice.payload()
    posing = Release(release_id(payload), voice, seal("manifest", payload, AUTHOR))
    async with shop(victim) as (made, announce):
        made.put(posing, dict.fromkeys(VOICE_FILES, b"x"))
        await announce(posing, "base/bert", b.bundle_tag(ids.bundle))

        def look() -> tuple[list[Any], list[Any]]:
            offered = [one for one in victim.client.offered_bases("bert") if one["event"] == "offer"]
            found = [one for one in victim.client.find(timeout=10) if one["event"] == "voice"]
            return offered, found

        # It answers every query with all that it has, a base among voices and a voice among bases.
        offered, found = await trio.to_thread.run_sync(look)
        assert ("base/bert",) in made.asked
        assert () in made.asked
        assert offered == []
        assert [one["release"] for one in found] == [posing.id]
        assert (await attempt(victim, ids.bundle)).code == "not_found"
        error = await attempt(victim, posing.id)
        assert (error.code, error.hint) == ("usage", f"p2pvoice fetch {posing.id}")

        made.put(base, files)
        offered, found = await trio.to_thread.run_sync(look)
        assert [one["release"] for one in offered] == [base.id]
        assert [one["release"] for one in found] == [posing.id]
    await trio.to_thread.run_sync(nothing_is_here, victim)


async def test_too_large_is_told_before_anything_is_fetched(
    daemons: Make, contents: dict[str, dict[str, bytes]]
) -> None:
    victim = daemons().start()
    files = contents["good"]
    body = decode(
        signed("hubert", [entry(path, data) for path, data in files.items()]).manifest.payload(),
        limit=MANIFEST_LIMIT,
    )
    (file,) = body["files"]
    chunk = [CHUNK_LIMIT, digest_of(b"")]
    file |= {
        "size": b.MODEL_LIMIT + 1,
        "chunks": [chunk] * (b.MODEL_LIMIT // CHUNK_LIMIT) + [[1, digest_of(b"")]],
    }
    payload = encode(body)
    good = signed("hubert", [entry(path, data) for path, data in files.items()])
    huge = Release(release_id(payload), good.manifest, seal("manifest", payload, AUTHOR))
    async with shop(victim) as (made, announce):
        made.releases[huge.id] = huge.envelope.to_bytes()
        await announce(huge)
        for ref in (huge.id, huge.manifest.bundle_id):
            assert (await attempt(victim, ref)).code in ("no_peers", "not_found")
    await trio.to_thread.run_sync(nothing_is_here, victim)
    dropped = [row["dropped"]["reason"] for row in victim.client.peers() if row["dropped"]]
    assert len(dropped) == 1
    assert f"at most {b.MODEL_LIMIT} bytes" in dropped[0]
