"""Lies about chunks: wrong bytes, bombs, forged providers; refused, and the liar remembered."""

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import zstandard
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from multiaddr import Multiaddr

from p2pvoice.node.exchange import ExchangeServer
from p2pvoice.node.fetch import fetch_files
from p2pvoice.node.host import open_host
from p2pvoice.node.identity import generate
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.errors import NoPeersError
from p2pvoice.protocol.exchange_messages import EXCHANGE, ChunkFrame, Want
from p2pvoice.protocol.messages import decode_message, encode_message

from . import attacks
from .victim import MIB, forget_peak, memory

Tally = Callable[..., None]
Make = Callable[..., Any]


def zeros(size: int, *, claim: bool = True) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=20, write_content_size=claim)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(size))


def claiming(size: int) -> bytes:
    """A frame that claims ``size`` bytes of content and has none of them."""
    return b"\x28\xb5\x2f\xfd" + b"\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00"


Lie = Callable[[int, bytes], tuple[ChunkFrame, bytes]]

#: 64 MiB of zeros in 2 KiB, with and without saying so.
BOMB, SILENT_BOMB = zeros(64 * MIB), zeros(64 * MIB, claim=False)

LIES: dict[str, Lie] = {
    "zstd: claims the chunk, holds 64 MiB": lambda i, raw: said(
        i, "zstd", b"\x28\xb5\x2f\xfd\xa0" + len(raw).to_bytes(4, "little") + BOMB[9:]
    ),
    "zstd: claims 64 MiB": lambda i, raw: said(i, "zstd", BOMB),
    "zstd: claims 2**60 bytes": lambda i, raw: said(i, "zstd", claiming(1 << 60)),
    "zstd: claims no size, holds 64 MiB": lambda i, raw: said(i, "zstd", SILENT_BOMB),
    "zstd: bytes behind the frame": lambda i, raw: said(i, "zstd", zeros(len(raw)) + b"more"),
    "zstd: no frame at all": lambda i, raw: said(i, "zstd", b"\xff" * 100),
    "raw bytes called zstd": lambda i, raw: said(i, "zstd", raw),
    "zstd called raw": lambda i, raw: said(i, "raw", zeros(len(raw))),
    "a byte too few": lambda i, raw: said(i, "raw", raw[:-1]),
    "another chunk's index": lambda i, raw: said(i + 1, "raw", raw),
    "every bit wrong": lambda i, raw: said(i, "raw", bytes(b ^ 255 for b in raw)),
    "one bit wrong": lambda i, raw: said(i, "raw", raw[:-1] + bytes([raw[-1] ^ 1])),
    "the bytes of another chunk": lambda i, raw: said(i, "raw", bytes(len(raw))),
}


def said(index: int, codec: str, blob: bytes) -> tuple[ChunkFrame, bytes]:
    return ChunkFrame(index, codec, len(blob)), blob


def lying(
    chunks: dict[tuple[bytes, int], bytes], lie: Lie, asked: list[int]
) -> Callable[[Channel], Awaitable[None]]:
    async def answer(channel: Channel) -> None:
        while (frame := await channel.receive(4096)) is not None:
            want = decode_message(frame, Want)
            asked.append(want.first)
            announcement, blob = lie(want.first, chunks[want.file, want.first])
            await channel.send(encode_message(announcement), blob)

    return answer


async def test_every_lie_about_a_chunk_costs_the_liar_and_not_the_fetch(
    network: Make, publish: Make, shelf: Make, tally: Tally
) -> None:
    voice = publish(sizes={"gpt.safetensors": 2 * MIB})
    library = shelf(voice)
    before = forget_peak()
    async with network(3) as (liar, honest, victim):
        ExchangeServer(honest, library).attach()
        for name, lie in LIES.items():
            asked: list[int] = []
            liar.serve(EXCHANGE, lying(library.chunks, lie, asked))
            victim.peers.forgive(liar.id)
            # The liar is asked first, and alone at first.
            sink = shelf()
            with trio.fail_after(20), pytest.raises(NoPeersError):
                await fetch_files(victim, voice.files, [attacks.info(liar)], sink)
            assert asked, name
            assert not sink.chunks, name
            assert victim.peers.is_shunned(liar.id), name
            asked.clear()
            with trio.fail_after(20):
                report = await fetch_files(
                    victim, voice.files, [attacks.info(liar), attacks.info(honest)], sink
                )
            assert sink.finished == ["gpt.safetensors"]
            assert report.peers == {honest.id: 2 * MIB}, name
            assert not asked, f"{name}: a shunned liar was asked again"
    growth = memory("VmHWM") - before
    assert growth < 60  # three hosts and all copies of the voice among it; one bomb alone has 64
    cost = f"+{growth:.0f} MiB at most"
    tally("lies about chunks, each by one peer", tried=len(LIES), refused=len(LIES), cost=cost)


async def test_liar_in_the_last_chunk_is_remembered_over_a_restart(
    network: Make, publish: Make, shelf: Make, tally: Tally, tmp_path: Path
) -> None:
    voice = publish(sizes={"gpt.safetensors": 6 * MIB})
    book = tmp_path / "peers.json"
    asked: list[int] = []
    library = shelf(voice)

    def lie(index: int, raw: bytes) -> tuple[ChunkFrame, bytes]:
        # Chunks are asked in any order.
        return said(index, "raw", raw if len(asked) < 6 else raw[:-1] + bytes([raw[-1] ^ 1]))

    async with network(2) as (liar, honest):
        liar.serve(EXCHANGE, lying(library.chunks, lie, asked))
        ExchangeServer(honest, library).attach()
        identity = generate()
        async with open_host(identity, listen=["/ip4/127.0.0.1/tcp/0"], book_path=book) as victim:
            sink = shelf()
            with trio.fail_after(30), pytest.raises(NoPeersError):
                await fetch_files(victim, voice.files, [attacks.info(liar)], sink)
            assert len(sink.chunks) == 5
            with trio.fail_after(30):
                report = await fetch_files(victim, voice.files, [attacks.info(honest)], sink)
            # What the liar said truly is kept; only the rest is fetched again.
            assert report.received == MIB
            assert sink.finished == ["gpt.safetensors"]
        asked.clear()
        async with open_host(identity, listen=["/ip4/127.0.0.1/tcp/0"], book_path=book) as again:
            assert again.peers.is_shunned(liar.id)
            with trio.fail_after(30):
                both = [attacks.info(liar), attacks.info(honest)]
                report = await fetch_files(again, voice.files, both, shelf())
            assert set(report.peers) == {honest.id}
            assert not asked
    tally("one bit wrong in the last chunk; the liar after a restart", tried=2, refused=2)


async def test_forged_provider_records_cost_time_only(
    network: Make, publish: Make, shelf: Make, tally: Tally
) -> None:
    """Providers that are dead, that are others, and that never asked to be: twenty before the honest one."""
    voice = publish()
    chance = itertools.count(1)
    forged = [
        PeerInfo(
            ID.from_pubkey(create_new_key_pair(next(chance).to_bytes(32, "big")).public_key),
            [Multiaddr("/ip4/127.0.0.1/tcp/1"), Multiaddr("/ip4/127.0.0.1/tcp/2")],
        )
        for _ in range(20)
    ]
    async with network(3) as (honest, bystander, victim):
        ExchangeServer(honest, shelf(voice)).attach()
        ExchangeServer(bystander, shelf()).attach()
        elsewhere = PeerInfo(ID.from_string(bystander.id), bystander.host.get_transport_addrs())
        began = trio.current_time()
        with trio.fail_after(30):
            report = await fetch_files(
                victim, voice.files, [*forged, elsewhere, attacks.info(honest)], shelf()
            )
        seconds = trio.current_time() - began
        assert set(report.peers) == {honest.id}
        assert victim.peers.entry(bystander.id).drop is None
    tally("forged provider records before the honest one", tried=21, refused=21, cost=f"{seconds:.1f} s")
