"""Our Noise session: handshakes that stop half way, messages at the limit, messages of somebody else."""

import struct

import pytest
import trio
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.exceptions import HandshakeFailure

from p2pvoice.node.transport import noise as our_noise

from .attacker import attacked
from .peers import noise, sessions, sockets


async def test_a_message_that_was_tampered_with_ends_the_connection() -> None:
    for garbage in (b"\x00\x00", b"\x00\x05hello", struct.pack("!H", 65_535) + bytes(65_535)):
        async with attacked() as (connection, attacker):
            await attacker.socket.send_all(garbage)
            await connection.event_closed.wait()


@pytest.mark.parametrize(
    "said", [b"", b"\x00", b"\x00\x20" + bytes(31)], ids=["mute", "half a length", "half"]
)
async def test_half_open_handshakes(said: bytes) -> None:
    dialed, accepted = await sockets()
    with trio.fail_after(10):
        await dialed.send_all(said)
        transport, peer = noise("own", within=0.2)
        with pytest.raises(HandshakeFailure, match="no handshake"):
            await transport.secure_inbound(RawConnection(TrioTCPStream(accepted), False))
        with pytest.raises(HandshakeFailure, match="no handshake"):
            await transport.secure_outbound(RawConnection(TrioTCPStream(dialed), True), peer)
    await dialed.aclose()
    await accepted.aclose()


async def test_messages_at_the_limit() -> None:
    """The largest Noise message either way, to and from libp2p's session."""
    with trio.fail_after(10):
        (stock, _, _), (ours, _, _) = await sessions("stock", "own")
        for size in (1, our_noise.MESSAGE, our_noise.MESSAGE + 1):
            for there, here in ((stock, ours), (ours, stock)):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(there.write, bytes(size))
                    assert await here.read(size) == bytes(size)
        await ours.close()
        await stock.close()
