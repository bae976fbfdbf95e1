"""What both sides of a relayed connection share: messages, and a stream that stands in for a socket.

The wire format is libp2p's circuit relay v2; AutoNAT sends its messages in the same way. Not for who may use
a relay (relay_server.py) nor for using one (relay_client.py). Follows specs/reach.md, "Relay".
"""

import contextlib
from typing import Any, TypeVar

import trio
from libp2p.abc import INetStream
from libp2p.connection_types import ConnectionType
from libp2p.custom_types import TProtocol
from libp2p.host.autonat.pb.autonat_pb2 import Message as DialBackMessage
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, StopMessage
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.wire import CLOSE_BUDGET, READ_SIZE, STREAM_ERRORS
from p2pvoice.protocol.errors import ManifestError, NetworkError

HOP = TProtocol("/libp2p/circuit/relay/0.2.0/hop")
STOP = TProtocol("/libp2p/circuit/relay/0.2.0/stop")

MESSAGE_LIMIT = 4096
"""Bytes of one message, checked before its body is read."""

MESSAGE_TIMEOUT = 10.0
"""Seconds for one message to come or to leave."""

OK, REFUSED, LIMIT_EXCEEDED, DENIED, FAILED, NO_RESERVATION, MALFORMED = 100, 200, 201, 202, 203, 204, 400
"""Status codes of the specification."""

Message = TypeVar("Message", HopMessage, StopMessage, DialBackMessage)


async def write_message(stream: INetStream, message: HopMessage | StopMessage | DialBackMessage) -> None:
    """Send one message. Raises :class:`NetworkError`."""
    body = message.SerializeToString()
    size = len(body)
    prefix = bytearray()
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    try:
        with trio.fail_after(MESSAGE_TIMEOUT):
            await stream.write(bytes(prefix) + body)
    except (trio.TooSlowError, *STREAM_ERRORS) as error:
        raise NetworkError("the relay stream broke") from error


async def read_message(stream: INetStream, kind: type[Message]) -> Message:
    """The next message. Raises :class:`ManifestError` for what is none, :class:`NetworkError` otherwise."""
    try:
        with trio.fail_after(MESSAGE_TIMEOUT):
            size = 0
            # Two bytes reach 16383, so a third one cannot belong to a message within the limit.
            for shift in (0, 7):
                byte = (await _exactly(stream, 1))[0]
                size |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
            else:
                raise ManifestError("a relay message announces too many bytes")
            if size > MESSAGE_LIMIT:
                raise ManifestError(f"a relay message of {size} bytes")
            body = await _exactly(stream, size)
    except (trio.TooSlowError, *STREAM_ERRORS) as error:
        raise NetworkError("the relay stream broke or stayed silent") from error
    message = kind()
    try:
        message.ParseFromString(body)
    except Exception as error:  # protobuf's own class differs with its implementation.
        raise ManifestError("not a relay message") from error
    return message


async def _exactly(stream: INetStream, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        data = await stream.read(size - len(found))
        if not data:
            raise EOFError
        found += data
    return bytes(found)


async def reset(stream: INetStream | None) -> None:
    """Give a stream up within ``CLOSE_BUDGET``, even when the task is being cancelled."""
    if stream is None:
        return
    with trio.move_on_after(CLOSE_BUDGET) as scope:
        scope.shield = True
        with contextlib.suppress(*STREAM_ERRORS):
            await stream.reset()


class Circuit(RawConnection):
    """A stream through a relay as the socket below Noise and Yamux. ``address`` tells the way."""

    def __init__(self, stream: INetStream, initiator: bool, address: Multiaddr) -> None:
        super().__init__(stream, initiator, ConnectionType.RELAYED, [address])

    async def read(self, n: int | None = None) -> bytes:
        try:
            data = await self.stream.read(n or READ_SIZE)
        except STREAM_ERRORS as error:
            raise ConnectionClosedError("the circuit ended", transport="relay") from error
        if not data:
            raise ConnectionClosedError("the circuit ended", transport="relay")
        return data

    async def write(self, data: bytes) -> None:
        try:
            await self.stream.write(data)
        except STREAM_ERRORS as error:
            raise ConnectionClosedError("the circuit ended", transport="relay") from error

    async def close(self) -> None:
        stream: Any = self.stream
        await reset(stream)
