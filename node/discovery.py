"""Finding one thing by its key in the DHT: providers of a release, heads, successors, revocations.

A cached answer is never trusted and every signature is verified. Not for announcing (announcing.py), nor for
searching by tags (seeking.py), nor for moving files (fetch.py). Follows specs/discovery.md.
"""

from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.ask import SignedHead, check_head, check_successor
from p2pvoice.node.host import P2PHost
from p2pvoice.protocol.errors import NotFoundError
from p2pvoice.protocol.head import Head, head_key, release_key
from p2pvoice.protocol.successor import successor_key


async def find_providers(host: P2PHost, release: str) -> list[PeerInfo]:
    """Peers that announced the release and may be asked, best score first."""
    found = {str(i.peer_id): i for i in await host.kad.find_providers(release_key(release))}
    return [found[name] for name in host.peers.best_first(found)]


def connected_peers(host: P2PHost) -> list[PeerInfo]:
    """Peers with an open connection, best score first: whom to ask for what nobody announced, or not yet."""
    return [PeerInfo(ID.from_string(name), []) for name in host.peers.best_first(host.connected())]


async def find_successor(host: P2PHost, author: str) -> bytes | None:
    """The verified record in the DHT of what comes after an author's key, as signed bytes."""
    data = await host.kad.get(successor_key(author))
    return check_successor(data, author) if data is not None else None


async def find_head(host: P2PHost, author: str, slug: str, known: Head | None = None) -> SignedHead:
    """The newest head of a voice in the DHT, never older than ``known``.

    Raises :class:`NotFoundError` when there is none and :class:`StaleError` when the network only replays
    a head older than the one already seen.
    """
    data = await host.kad.get(head_key(author, slug))
    if data is None:
        raise NotFoundError(f"nobody knows a head of {author}/{slug}")
    return check_head(data, author, slug, known)


async def find_revocation(host: P2PHost, key: bytes) -> bytes | None:
    """The signed revocation in the DHT under a key, or None.

    It is verified, and that its signer and what it revokes are those of the key.
    """
    return await host.kad.get(key)
