"""A Noise session after the handshake: whole reads of the socket, whole writes, no copy that can be spared.

The handshake is libp2p's own. What runs over the session is yamux.py; what a connection may hold in memory is
counted in held.py. Follows specs/wire.md, "Noise".
"""

import os
import struct
from collections.abc import Sequence
from typing import Any

import trio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.io.exceptions import ConnectionClosedError, IOException
from libp2p.peer.id import ID
from libp2p.security.base_session import BaseSession
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import Transport
from libp2p.security.secure_session import SecureSession
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.protocol.errors import BugError

MESSAGE = 65_519
"""Most bytes of plaintext in one Noise message: 65,535 less the tag."""

TAG = 16
"""Bytes by which a message grows when it is sealed."""

READ_SIZE = 512 * 1024
"""Bytes asked of the socket at once; a read adds as much to memory, and one unfinished message."""

WRITE_BUDGET = 20.0
"""Seconds one write may block, cancelled or not, with nothing taken, before its connection is closed."""

WRITE_PATIENCE = 3
"""So many times as long may one write take in all, however little is taken at a time."""

HANDSHAKE_BUDGET = 10.0
"""Seconds for the handshake; the door and the dialer have limits of their own around it."""

CLOSE_BUDGET = 2.0
"""Seconds for closing the socket."""

NONCE = struct.Struct("<4xQ").pack
"""The nonce of a message by its number. A connection that moved 2**64 messages does not exist."""

_INBOX: trio.lowlevel.RunVar[memoryview] = trio.lowlevel.RunVar("inbox")
"""Where a read puts its bytes: one buffer for all sessions of a loop, since none waits while it uses it."""


class NoiseSession(BaseSession):
    """The two ciphers of a finished handshake, and the socket below.

    One task reads. Writers hold ``turn``, which is handed on in the order it was asked for.
    """

    def __init__(self, session: SecureSession) -> None:
        """Take over from the stock session, of which nothing may have been read or written yet."""
        super().__init__(
            local_peer=session.local_peer,
            local_private_key=session.local_private_key,
            remote_peer=session.remote_peer,
            remote_permanent_pubkey=session.remote_permanent_pubkey,
            is_initiator=session.is_initiator,
        )
        stock: Any = session.conn
        protocol = stock.noise_state.noise_protocol
        sealing, opening = protocol.cipher_state_encrypt, protocol.cipher_state_decrypt
        self._raw: Any = stock.read_writer.read_write_closer
        # Over TCP the socket is read directly; over anything else (a relay) libp2p's own layers are.
        socket = getattr(getattr(self._raw, "stream", None), "stream", None)
        self._socket = socket if isinstance(socket, trio.SocketStream) else None
        self._seal, self._sealed = ChaCha20Poly1305(bytes(sealing.k)), int(sealing.n)
        self._open, self._opened = ChaCha20Poly1305(bytes(opening.k)), int(opening.n)
        self._inbox = _inbox()
        self._cipher = b""
        self._plain = bytearray()
        self.turn = trio.Lock()

    async def receive(self) -> list[bytes]:
        """The plaintexts of all messages that came whole, one at least; none at the end of the connection.

        Raises ``ConnectionClosedError`` when the connection breaks or a message is not from the peer.
        """
        if self._plain:
            rest, self._plain = bytes(self._plain), bytearray()
            return [rest]
        while True:
            end = await self._receive_some()
            if not end:
                return []
            messages = self._decrypt(self._inbox[:end])
            if messages:
                return messages

    async def send(self, messages: Sequence[bytes], *, within: float = WRITE_BUDGET) -> None:
        """Seal the messages (65,519 bytes each at most) and write all in one go. The caller holds ``turn``.

        A cancellation waits until the write is through: half a message would end every stream. Raises
        ``ConnectionClosedError`` when the connection is gone, and closes it when the peer takes nothing for
        ``within`` seconds, or not all in three times as many.
        """
        sealed = memoryview(self._encrypt(messages))
        if self._socket is not None:
            # Mostly the socket has room, and nothing has to be made that can be waited with.
            try:
                sealed = sealed[os.write(self._socket.socket.fileno(), sealed) :]
            except BlockingIOError:
                pass
            except OSError as error:
                raise ConnectionClosedError("the connection is gone", transport="tcp") from error
            if not sealed:
                return
        last = trio.current_time() + WRITE_PATIENCE * within
        with trio.move_on_after(within) as scope:
            scope.shield = True
            try:
                while sealed:
                    sealed = sealed[await self._send_some(sealed) :]
                    scope.deadline = min(trio.current_time() + within, last)
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError, IOException) as error:
                raise ConnectionClosedError("the connection is gone", transport="tcp") from error
            return
        await self.close()
        raise ConnectionClosedError("the peer took no data in time", transport="tcp")

    async def read(self, n: int | None = None) -> bytes:
        """Exactly ``n`` bytes, or what there is when ``n`` is None; fewer at the end of the connection.

        Only for the lines before Yamux. Raises ``ConnectionClosedError`` at the end when no byte is left.
        """
        if n == 0:
            return b""
        while len(self._plain) < (1 if n is None else n):
            self._plain, kept = bytearray(), self._plain
            messages = await self.receive()
            self._plain = kept
            if not messages:
                if kept:
                    break
                raise ConnectionClosedError("the connection ended", transport="tcp")
            for message in messages:
                self._plain += message
        taken = bytes(self._plain[:n])
        del self._plain[:n]
        return taken

    async def write(self, data: bytes) -> None:
        """Write ``data``, of any length, whole."""
        async with self.turn:
            await self.send([data[at : at + MESSAGE] for at in range(0, len(data), MESSAGE)])

    async def close(self) -> None:
        """Close the socket, within ``CLOSE_BUDGET`` and even when being cancelled."""
        with trio.move_on_after(CLOSE_BUDGET) as scope:
            scope.shield = True
            await self._raw.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        address: tuple[str, int] | None = self._raw.get_remote_address()
        return address

    def get_transport_addresses(self) -> list[Multiaddr]:
        return list(self._raw.get_transport_addresses())

    def get_connection_type(self) -> ConnectionType:
        kind: ConnectionType = self._raw.get_connection_type()
        return kind

    async def _send_some(self, data: memoryview) -> int:
        """Write the beginning of ``data``; how much of it. Only a full socket makes it wait."""
        if self._socket is not None:
            while True:
                descriptor = self._socket.socket.fileno()
                try:
                    return os.write(descriptor, data)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(descriptor)
        piece = bytes(data[: MESSAGE + TAG + 2])
        await self._raw.write(piece)
        return len(piece)

    async def _receive_some(self) -> int:
        """Read into the inbox, behind the unfinished message; how much is there then, 0 at the end.

        The caller takes it from there before it waits for anything.
        """
        try:
            if self._socket is not None:
                # Others have their turn first; what comes meanwhile is read in one go.
                await trio.lowlevel.checkpoint()
                return await self._read_socket(self._socket)
            data = bytes(await self._raw.read(MESSAGE + TAG + 2))
        except trio.ClosedResourceError:
            return 0
        except (trio.BrokenResourceError, OSError, IOException) as error:
            raise ConnectionClosedError("the connection broke", transport="tcp") from error
        held = self._fetch_kept()
        self._inbox[held : held + len(data)] = data
        return held + len(data) if data else 0

    async def _read_socket(self, stream: trio.SocketStream) -> int:
        while True:
            descriptor = stream.socket.fileno()
            if descriptor < 0:
                return 0
            held = self._fetch_kept()
            try:
                count = os.readv(descriptor, [self._inbox[held : held + READ_SIZE]])
            except BlockingIOError:
                await trio.lowlevel.wait_readable(descriptor)
                continue
            return held + count if count else 0

    def _fetch_kept(self) -> int:
        """Put the unfinished message at the front of the inbox; its bytes."""
        self._inbox[: len(self._cipher)] = self._cipher
        return len(self._cipher)

    def _decrypt(self, view: memoryview) -> list[bytes]:
        """The messages in ``view``; what is unfinished is kept."""
        messages, at, end = [], 0, len(view)
        while end - at >= 2:
            stop = at + 2 + (view[at] << 8 | view[at + 1])
            if stop > end:
                break
            try:
                message = self._open.decrypt(NONCE(self._opened), view[at + 2 : stop], None)
            except InvalidTag as error:
                raise ConnectionClosedError("a message that the peer did not seal") from error
            self._opened += 1
            if message:
                messages.append(message)
            at = stop
        self._cipher = bytes(view[at:])
        return messages

    def _encrypt(self, messages: Sequence[bytes]) -> bytearray:
        out = bytearray(sum(len(message) for message in messages) + (2 + TAG) * len(messages))
        at = 0
        with memoryview(out) as view:
            for message in messages:
                size = len(message) + TAG
                view[at], view[at + 1] = size >> 8, size & 0xFF
                self._seal.encrypt_into(NONCE(self._sealed), message, None, view[at + 2 : at + 2 + size])
                self._sealed += 1
                at += 2 + size
        return out


def _inbox() -> memoryview:
    try:
        return _INBOX.get()
    except LookupError:
        made = memoryview(bytearray(MESSAGE + TAG + 2 + READ_SIZE))
        _INBOX.set(made)
        return made


class OurNoise(Transport):
    """The stock Noise handshake with a time limit, handing out sessions of :class:`NoiseSession`."""

    def __init__(self, key_pair: KeyPair, *, within: float = HANDSHAKE_BUDGET) -> None:
        super().__init__(key_pair, noise_privkey=create_x25519_key_pair().private_key)
        self._within = within

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        try:
            with trio.fail_after(self._within):
                return _ours(await super().secure_inbound(conn))
        except trio.TooSlowError as error:
            raise HandshakeFailure(f"no handshake in {self._within:g} s") from error

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        try:
            with trio.fail_after(self._within):
                return _ours(await super().secure_outbound(conn, peer_id))
        except trio.TooSlowError as error:
            raise HandshakeFailure(f"no handshake in {self._within:g} s") from error


def _ours(session: ISecureConn) -> NoiseSession:
    if not isinstance(session, SecureSession):
        raise BugError(f"expected libp2p's Noise session, got {type(session).__name__}")
    return NoiseSession(session)
