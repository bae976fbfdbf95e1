"""Readers of libp2p that have no limit, or too large a one, replaced by readers that do.

Each belongs to a step that any stranger reaches before our own code sees a byte: the choice of a protocol,
before and after the handshake, and identify. Process-wide, and harmless to repeat. What the DHT needs is in
kad.py, what a connection may hold in held.py. Follows specs/network.md, "Memory".
"""

from typing import Any

from libp2p.exceptions import ParseError
from libp2p.host import basic_host
from libp2p.identity.identify_push import identify_push
from libp2p.io.utils import read_exactly
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.stream_muxer.yamux import yamux
from libp2p.utils.varint import decode_uvarint_from_stream, read_varint_prefixed_bytes_limited

from p2pvoice.protocol.errors import BugError

SELECT_LIMIT = 1024
"""Bytes of one line of multistream-select, which carries one protocol id."""

IDENTIFY_LIMIT = 16 * 1024
"""Bytes of an identify message; an honest one has one or two KiB."""

WINDOW_LIMIT = 4 * 1024 * 1024
"""Bytes to which the receive window of a stream may grow (libp2p: 16 MiB): what a fetch asks of one peer."""


async def read_line(reader: Any) -> bytes:
    """One line of multistream-select, without its line end; stands in for libp2p's ``read_delim``."""
    size = await decode_uvarint_from_stream(reader)
    if not 1 <= size <= SELECT_LIMIT:
        raise ParseError(f"a line of {size} bytes, the limit is {SELECT_LIMIT}")
    line = await read_exactly(reader, size)
    if not line.endswith(b"\n"):
        raise ParseError("a line without its end")
    return line[:-1]


async def read_identify(stream: Any, use_varint_format: bool = True, max_length: int = 0) -> bytes:
    """An identify message; stands in for libp2p's ``read_length_prefixed_protobuf``.

    On any error the stream is reset: libp2p would go on to read what comes as a message of another form.
    """
    try:
        return await read_varint_prefixed_bytes_limited(stream, IDENTIFY_LIMIT)
    except Exception:
        await stream.reset()
        raise


def install() -> None:
    """Put the limits in force. Raises :class:`BugError` when libp2p no longer has what is replaced."""
    for module, name, value in (
        (multiselect_communicator, "read_delim", read_line),
        (basic_host, "read_length_prefixed_protobuf", read_identify),
        (identify_push, "read_length_prefixed_protobuf", read_identify),
        (yamux, "MAX_WINDOW_SIZE", WINDOW_LIMIT),
    ):
        if not hasattr(module, name):
            raise BugError(f"{module.__name__} has no {name} to bound")
        setattr(module, name, value)
