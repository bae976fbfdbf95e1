"""Asking a peer which chunks of some files it has: the client side of ``get-have``.

It has a stream of its own, so that a peer that does not know the question loses nothing but that stream, and
so that the answer does not wait behind chunks. Not for what is done with the answer: see window.py. Follows
specs/exchange.md and specs/messages.md.
"""

from collections.abc import Sequence
from typing import cast

import trio
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.host import P2PHost
from p2pvoice.node.wire import STALL_TIMEOUT
from p2pvoice.protocol.chunks import Bitmap
from p2pvoice.protocol.errors import NetworkError, NotFoundError, PeerTimeoutError
from p2pvoice.protocol.exchange_messages import EXCHANGE, GetHave, Have
from p2pvoice.protocol.manifest import FileEntry
from p2pvoice.protocol.messages import Fail, decode_message, encode_message, message_limit

HAVE_TIMEOUT = 30.0
"""Seconds the answers about all files may take."""


async def ask_have(
    host: P2PHost, peer: PeerInfo, files: Sequence[FileEntry], *, stall: float = STALL_TIMEOUT
) -> list[Bitmap | None]:
    """Which chunks of each file the peer has: none of one that it does not offer, or has cut otherwise.

    None for a file that it cannot tell of. That a file is cut otherwise is nobody's fault: the manifest may
    lie about one that the peer holds. Raises NetworkError when the peer does not answer, or does not know the
    question, and ManifestError for an answer that is none.
    """
    try:
        with trio.fail_after(HAVE_TIMEOUT):
            async with await host.open_stream(peer, EXCHANGE) as channel:
                found: list[Bitmap | None] = []
                for file in files:
                    await channel.send(encode_message(GetHave(file.digest)), within=stall)
                    frame = await channel.receive(message_limit(Have, Fail), stall=stall)
                    if frame is None:
                        raise NetworkError(f"peer {channel.peer} ended the stream")
                    found.append(_read(cast("Have | Fail", decode_message(frame, Have, Fail)), file))
                return found
    except trio.TooSlowError as error:
        raise PeerTimeoutError(f"peer {peer.peer_id} is too slow") from error


def _read(answer: Have | Fail, file: FileEntry) -> Bitmap | None:
    count = len(file.chunks)
    if isinstance(answer, Have):
        return answer.bitmap() if answer.count == count else Bitmap(count)
    return Bitmap(count) if answer.code == NotFoundError.code else None
