"""Wyoming's events on a byte stream: a line of JSON, perhaps more JSON, perhaps a payload.

Every length is checked before memory is taken for what it announces. Not for what an event means: see
session.py. Follows specs/wyoming.md, "Format" and "Limits".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from p2pvoice.protocol.errors import UsageError

#: Bytes of a header line, without its line feed.
HEADER_LIMIT = 64 * 1024

#: Bytes of the JSON that may follow it: the longest text fits, however it is escaped.
DATA_LIMIT = 256 * 1024

#: Bytes of a payload. None of the events that are understood here has one.
PAYLOAD_LIMIT = 64 * 1024

#: Seconds from the first byte of an event to its last.
EVENT_SECONDS = 10.0

#: Seconds that one piece of what is sent may stay unread, and its bytes.
SEND_SECONDS = 30.0
SEND_PIECE = 64 * 1024

_READ = 16 * 1024


@dataclass(frozen=True)
class Event:
    """One event. A payload that came with it was dropped."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Gone(Exception):
    """The other side is gone, or too slow to be waited for."""


class Events:
    """The events of one connection, read one after the other and written by one task at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._writing = trio.Lock()
        #: Whether an event was sent in part and given up: nothing that follows would be understood.
        self._torn = False

    async def arrives(self) -> bool:
        """Wait for the first byte of an event; False when the other side has ended. Safe to cancel."""
        if not self._buffer:
            await self._more()
        return bool(self._buffer)

    async def read(self) -> Event:
        """The event whose first byte has arrived. UsageError for one that breaks the format or a limit.

        Raises Gone when the connection ends within it, or when it takes too long.
        """
        with trio.move_on_after(EVENT_SECONDS):
            header = _object(await self._line())
            kind, data = header.get("type"), header.get("data")
            if not isinstance(kind, str):
                raise UsageError("an event has no type")
            if data is not None and not isinstance(data, dict):
                raise UsageError("the data of an event is no JSON object")
            size = _length(header, "data_length", DATA_LIMIT)
            payload = _length(header, "payload_length", PAYLOAD_LIMIT)
            found = dict(data or {})
            if size:
                found |= _object(await self._exactly(size))
            await self._drop(payload)
            return Event(kind, found)
        raise Gone("an event did not end in time")

    async def write(self, kind: str, data: Mapping[str, Any], payload: bytes = b"") -> None:
        """Send an event. Raises Gone when the other side does not read, or is not there any more."""
        header: dict[str, Any] = {"type": kind}
        body = json.dumps(data, ensure_ascii=False).encode() if data else b""
        if body:
            header["data_length"] = len(body)
        if payload:
            header["payload_length"] = len(payload)
        raw = json.dumps(header).encode() + b"\n" + body + payload
        async with self._writing:
            if self._torn:
                raise Gone("an event was given up")
            self._torn = True
            for start in range(0, len(raw), SEND_PIECE):
                with trio.move_on_after(SEND_SECONDS) as scope:
                    try:
                        await self._stream.send_all(raw[start : start + SEND_PIECE])
                    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                        raise Gone("the connection ended") from error
                if scope.cancelled_caught:
                    raise Gone("what was sent is not read")
            self._torn = False

    async def _more(self) -> bool:
        try:
            data = await self._stream.receive_some(_READ)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self._buffer += data
        return bool(data)

    async def _line(self) -> bytes:
        looked = 0
        while (end := self._buffer.find(b"\n", looked)) < 0:
            looked = len(self._buffer)
            if looked > HEADER_LIMIT:
                break
            if not await self._more():
                raise Gone("the connection ended within an event")
        if end < 0 or end > HEADER_LIMIT:
            raise UsageError(f"the header of an event is longer than {HEADER_LIMIT} bytes")
        return self._take(end + 1)

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not await self._more():
                raise Gone("the connection ended within an event")
        return self._take(size)

    async def _drop(self, size: int) -> None:
        while size:
            if not self._buffer and not await self._more():
                raise Gone("the connection ended within an event")
            size -= len(self._take(min(size, len(self._buffer))))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise UsageError("an event is no JSON") from None
    if not isinstance(found, dict):
        raise UsageError("an event is no JSON object")
    return found


def _length(header: Mapping[str, Any], name: str, limit: int) -> int:
    value = header.get(name)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= limit:
        raise UsageError(f"{name} must be a whole number up to {limit}")
    return value
