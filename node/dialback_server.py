"""Dialing peers back that want to know whether others can dial them: the server of AutoNAT, version 1.

Only the asker itself is dialed, at the IP address it asks from, so that nobody can be made to call a third.
Not for asking (dialback_client.py). libp2p's own service is not used; specs/reach.md says why. Follows
specs/reach.md, "AutoNAT".
"""

import logging
import secrets
from collections.abc import Sequence
from typing import Any

import trio
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.autonat.pb.autonat_pb2 import Message
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.security_multistream import SecurityMultistream
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from p2pvoice.node.addresses import is_tcp, without_peer
from p2pvoice.node.interfaces import IPAddress, parse_ip, site, split
from p2pvoice.node.links import RELAYED, kind_of_muxed
from p2pvoice.node.peers import PeerBook
from p2pvoice.node.relay_wire import read_message, reset, write_message
from p2pvoice.node.wire import CLOSE_BUDGET, STREAM_ERRORS, Noise
from p2pvoice.protocol.errors import ManifestError, NetworkError

AUTONAT = TProtocol("/libp2p/autonat/1.0.0")

ADDRESSES_READ = 16
"""Addresses of one question that are looked at."""

ADDRESSES_DIALED = 4
"""Addresses of one asker that are dialed, at the same time."""

DIAL_BACK_SECONDS = 5.0
"""Seconds an address has for the connection and the handshake."""

PER_MINUTE = 6
"""Askers that are dialed back in a minute, all together."""

PER_HOST_SECONDS = 60.0
"""Seconds between two dials to one IP address."""

log = logging.getLogger("p2pvoice.reach")


def worth_dialing(named: Sequence[bytes], asker: IPAddress) -> list[tuple[Multiaddr, int]]:
    """Of the addresses an asker names those to dial, and the ports: bare TCP at the asker's own IP."""
    found: dict[int, Multiaddr] = {}
    for data in named[:ADDRESSES_READ]:
        try:
            address = without_peer(Multiaddr(data))
            apart = split(str(address))
        except Exception as error:  # whatever a library raises at bytes of a stranger
            log.debug("an address of a stranger is none: %r", error)
            continue
        if apart is None or not is_tcp(address) or parse_ip(str(apart[0])) != asker:
            continue
        words = apart[1].split("/")
        # Nothing may follow the port: what is dialed is what was read.
        if len(words) == 2 and words[0] == "tcp" and words[1].isdigit() and 0 < int(words[1]) < 65536:
            found.setdefault(int(words[1]), address)
    return [(address, port) for port, address in found.items()][:ADDRESSES_DIALED]


class DialBackServer:
    """The server on one host."""

    def __init__(self, host: IHost, book: PeerBook) -> None:
        self._host = host
        self._book = book
        #: Site of an IP address -> when it was dialed back last; never more than a minute's worth.
        self._dialed: dict[str, float] = {}

    def attach(self) -> None:
        """Serve; until then nobody is told that this node dials back."""
        self._host.set_stream_handler(AUTONAT, self._serve)

    async def _serve(self, stream: INetStream) -> None:
        try:
            answer = await self._answer(stream)
            await write_message(stream, answer)
            await stream.close()
        except (ManifestError, NetworkError, *STREAM_ERRORS) as error:
            log.debug("a question whether somebody can be dialed broke off: %r", error)
            await reset(stream)

    async def _answer(self, stream: INetStream) -> Message:
        peer = stream.muxed_conn.peer_id
        muxed: Any = stream.muxed_conn
        end = muxed.get_remote_address()
        asker = parse_ip(end[0]) if end else None
        if asker is None or self._book.is_shunned(str(peer)) or kind_of_muxed(muxed) == RELAYED:
            return _response(Message.E_DIAL_REFUSED)
        message = await read_message(stream, Message)
        if message.type != Message.DIAL or message.dial.peer.id != peer.to_bytes():
            return _response(Message.E_BAD_REQUEST)
        addresses = worth_dialing(list(message.dial.peer.addrs), asker)
        if not addresses or not self._may_dial(asker):
            return _response(Message.E_DIAL_REFUSED)
        reached: list[Multiaddr] = []

        async def dial(address: Multiaddr, port: int, done: trio.CancelScope) -> None:
            if await dial_back(str(asker), port, peer):
                reached.append(address)
                done.cancel()

        async with trio.open_nursery() as nursery:
            for address, port in addresses:
                nursery.start_soon(dial, address, port, nursery.cancel_scope)
        if not reached:
            return _response(Message.E_DIAL_ERROR)
        return _response(Message.OK, reached[0].to_bytes())

    def _may_dial(self, asker: IPAddress) -> bool:
        """Whether there is a dial for this IP address now; it is taken."""
        now = trio.current_time()
        self._dialed = {one: at for one, at in self._dialed.items() if now - at < PER_HOST_SECONDS}
        if site(asker) in self._dialed or len(self._dialed) >= PER_MINUTE:
            return False
        self._dialed[site(asker)] = now
        return True


def _response(status: Message.ResponseStatus.ValueType, address: bytes | None = None) -> Message:
    answer = Message(type=Message.DIAL_RESPONSE)
    answer.dialResponse.status = status
    if address is not None:
        answer.dialResponse.addr = address
    return answer


async def dial_back(ip: str, port: int, peer: ID) -> bool:
    """Whether somebody who holds the key of ``peer`` answers there, within five seconds.

    The socket has a port of its own: from a listening port, which the asker may have dialed, its NAT would
    let us in. The key is a fresh one, so that the asker does not take this for another connection with us.
    """
    stream: trio.SocketStream | None = None
    try:
        with trio.fail_after(DIAL_BACK_SECONDS):
            stream = await trio.open_tcp_stream(ip, port)
            ours = Noise(create_new_key_pair(secrets.token_bytes(32)))
            await SecurityMultistream({NOISE: ours}).secure_outbound(
                RawConnection(TrioTCPStream(stream), True), peer
            )
    except Exception as error:
        # Whatever a stranger's handshake makes libp2p raise: it was not reached.
        log.debug("nobody answered at a dial back: %r", error)
        return False
    finally:
        if stream is not None:
            with trio.move_on_after(CLOSE_BUDGET) as scope:
                scope.shield = True
                await trio.aclose_forcefully(stream)
    return True
