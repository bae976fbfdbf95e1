"""Asking one peer for what it knows: releases, heads, revocations. Every signature is verified.

A peer that sends a bad signature, or another release than the one asked for, is dropped and shunned.
Not for chunks (fetch.py) nor for finding whom to ask (discovery.py). Follows specs/exchange.md, "Catalog".
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from libp2p.peer.peerinfo import PeerInfo

from p2pvoice.node.blame import blamed
from p2pvoice.node.host import P2PHost
from p2pvoice.node.peers import Fault
from p2pvoice.node.turns import ask
from p2pvoice.node.wire import Channel
from p2pvoice.protocol.catalog_messages import (
    CATALOG,
    PAGE_ITEMS,
    GetHead,
    GetRelease,
    HeadReply,
    Query,
    QueryPage,
    ReleaseReply,
)
from p2pvoice.protocol.collection import SignedCollection, verify_collection
from p2pvoice.protocol.collection import advance as advance_collection
from p2pvoice.protocol.collection_messages import CollectionReply, GetCollection
from p2pvoice.protocol.errors import (
    NetworkError,
    NoPeersError,
    NotFoundError,
    P2PVoiceError,
    ProtocolMismatchError,
    RevokedError,
    SignatureError,
)
from p2pvoice.protocol.head import Head, advance, verify_head
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release, verify_release
from p2pvoice.protocol.recall_messages import (
    GetRevocations,
    GetSuccessor,
    Revocations,
    SuccessorReply,
    TellRevocation,
)
from p2pvoice.protocol.revocation import Revocation, has_say, verify_revocation
from p2pvoice.protocol.successor import verify_successor

PAGES_LIMIT = 32
"""Pages taken from one peer for one query; a peer that never ends its answer is left there."""

ANSWER_REWARD = 0.1
"""Points for a peer that answered."""


class Recalled(Exception):
    """A peer answered with a revocation, and with the release that shows who has a say where one is needed.

    Never leaves the network part: what becomes of it is hearsay.py's.
    """

    def __init__(self, data: bytes, revocation: Revocation, proof: Release | None) -> None:
        super().__init__("revoked")
        self.data = data
        self.revocation = revocation
        self.proof = proof


@dataclass(frozen=True)
class SignedHead(Head):
    """A verified head together with the bytes it came in, to store or pass on."""

    data: bytes = field(default=b"", repr=False)

    def to_bytes(self) -> bytes:
        """The signed bytes."""
        return self.data


Deliver = Callable[[Release, SignedHead | None], Awaitable[None]]


Hear = Callable[[bytes], Awaitable[None]]
"""Told of a revocation somebody sent, not verified yet."""


GoOn = Callable[[QueryPage], bool]
"""Told of each page of an answer after its releases were delivered; whether to read on."""


async def query(
    host: P2PHost,
    peer: PeerInfo,
    tags: Sequence[str],
    deliver: Deliver,
    *,
    limit: int,
    hear: Hear | None = None,
    go_on: GoOn = lambda page: True,
    offered: bool = False,
    known: Callable[[], bytes] = bytes,
) -> int:
    """Hand every release the peer has under all of ``tags`` to ``deliver``; returns how many.

    ``tags`` are canonical; ``hear`` gets the revocations that came along; ``go_on`` says after each page
    whether the next one is wanted. ``offered`` leaves out shelves, ``known`` gives what a page need not
    tell, as :class:`~p2pvoice.protocol.catalog_messages.Query` has them. Raises :class:`NetworkError` and
    its kin when the peer fails, and :class:`RefusedError` when it lies; either is noted in the peer book.
    """
    count, cursor = 0, ""
    with _noted(host, peer):
        async with await host.open_stream(peer, CATALOG) as channel:
            for _ in range(PAGES_LIMIT):
                wanted = Query(tuple(tags), min(limit - count, PAGE_ITEMS), cursor, offered, known())
                page = await ask(channel, wanted, QueryPage)
                heads = [_signed(data) for data in page.heads]
                by_voice = {(h.author, h.slug): h for h in heads}
                if hear is not None:
                    for record in page.revocations:
                        await hear(record)
                for data in page.releases:
                    release = verify_release(data)
                    if not set(tags) <= set(release.manifest.finding_tags):
                        continue
                    manifest = release.manifest
                    await deliver(release, by_voice.get((manifest.author, manifest.slug)))
                    count += 1
                    if count >= limit:
                        return count
                if not go_on(page) or not page.next or page.next == cursor:
                    break
                cursor = page.next
    return count


async def get_release(host: P2PHost, peer: PeerInfo, release: str) -> Release:
    """One release from one peer, verified to be the one asked for.

    Raises :class:`Recalled` when the peer shows that the release was revoked by somebody with a say.
    """
    with _noted(host, peer):
        async with await host.open_stream(peer, CATALOG) as channel:
            try:
                answer = await ask(channel, GetRelease(release), ReleaseReply)
            except RevokedError:
                await _prove(channel, GetRevocations((release,), proofs=True))
                raise NetworkError(f"peer {channel.peer} says revoked and does not show it") from None
            found = verify_release(answer.data)
            if found.id != release:
                raise SignatureError("sent another release than the one asked for")
            return found


async def get_head(
    host: P2PHost, peer: PeerInfo, author: str, slug: str, known: Head | None = None
) -> SignedHead:
    """The head of a voice from one peer, verified, and refused when older than ``known``.

    Raises :class:`Recalled` when the peer shows that the voice was revoked by somebody with a say.
    """
    with _noted(host, peer):
        async with await host.open_stream(peer, CATALOG) as channel:
            try:
                answer = await ask(channel, GetHead(author, slug), HeadReply)
            except RevokedError:
                await _prove(channel, GetRevocations((), author, slug, proofs=True))
                raise NetworkError(f"peer {channel.peer} says revoked and does not show it") from None
            return check_head(answer.data, author, slug, known)


async def get_revocations(host: P2PHost, peer: PeerInfo, wanted: GetRevocations) -> list[bytes]:
    """The revocations that a peer knows, verified as far as their own signature goes.

    Whether a signer has any say is for whoever knows the releases. A peer that does not speak our protocol,
    or an older one, is not blamed: nobody asked it to.
    """
    async with await host.open_stream(peer, CATALOG) as channel:
        with _noted(host, peer):
            answer = await ask(channel, wanted, Revocations)
            for data in answer.records:
                verify_revocation(data)
            return list(answer.records)


async def seek_revocation(host: P2PHost, peer: PeerInfo, wanted: GetRevocations) -> None:
    """Ask a peer whether a release or voice that is not known here was revoked; returns when it is not.

    Raises :class:`Recalled` when the peer shows that it was.
    """
    async with await host.open_stream(peer, CATALOG) as channel:
        with _noted(host, peer):
            await _prove(channel, wanted)


async def tell_revocation(host: P2PHost, peer: PeerInfo, record: bytes) -> None:
    """Tell a peer of a revocation. It takes what concerns it and forgets the rest."""
    async with await host.open_stream(peer, CATALOG) as channel:
        await ask(channel, TellRevocation(record), Revocations)


async def _prove(channel: Channel, wanted: GetRevocations) -> None:
    """Ask for records with proofs, and raise :class:`Recalled` with the first pair that holds."""
    answer = await ask(channel, wanted, Revocations)
    proofs = [verify_release(data) for data in answer.proofs]
    for data in answer.records:
        revocation = verify_revocation(data)
        for proof in proofs:
            if has_say(revocation, proof) and _about(wanted, revocation, proof):
                raise Recalled(data, revocation, proof)
        # An author needs no proof to revoke a voice that is named by its author.
        named = (wanted.author, wanted.slug) == (author_id(revocation.author), revocation.slug)
        if named and revocation.release is None and revocation.signer == revocation.author:
            raise Recalled(data, revocation, None)


def _about(wanted: GetRevocations, revocation: Revocation, proof: Release) -> bool:
    if proof.id in wanted.releases:
        return True
    voice = (author_id(revocation.author), revocation.slug)
    return revocation.release is None and voice == (wanted.author, wanted.slug)


async def get_successor(host: P2PHost, peer: PeerInfo, author: str) -> bytes:
    """The signed record of what comes after an author's key, from one peer, verified."""
    with _noted(host, peer):
        async with await host.open_stream(peer, CATALOG) as channel:
            answer = await ask(channel, GetSuccessor(author), SuccessorReply)
            return check_successor(answer.data, author)


async def get_collection(
    host: P2PHost, peer: PeerInfo, author: str, slug: str, known: SignedCollection | None
) -> SignedCollection:
    """A collection from one peer, verified to be the one asked for, and refused when older than ``known``.

    A peer that has an older one is not blamed: it may have heard of no other. Neither is one that is too old
    a version to know of collections.
    """
    with _noted(host, peer):
        async with await host.open_stream(peer, CATALOG) as channel:
            answer = await ask(channel, GetCollection(author, slug), CollectionReply)
            found = verify_collection(answer.data)
            if (found.author, found.collection.slug) != (author, slug):
                raise SignatureError("sent another collection than the one asked for")
            advance_collection(known, found)
            return found


async def fetch_manifest(host: P2PHost, release: str, providers: Sequence[PeerInfo]) -> Release:
    """The release from the first provider that has it and tells the truth.

    Raises :class:`NotFoundError` when providers answered and none has it, :class:`NoPeersError` when none
    could be asked, :class:`Recalled` when one shows that it was revoked.
    """
    found: Release | None = None
    answered = False
    for peer in providers:
        try:
            found = await get_release(host, peer, release)
        except NotFoundError:
            answered = True
        except P2PVoiceError:
            continue  # Noted in the peer book already; the next provider may do better.
        if found is not None:
            return found
    if answered:
        raise NotFoundError(f"none of {len(providers)} peers has release {release}")
    raise NoPeersError(f"none of {len(providers)} peers could be asked for release {release}")


def check_head(data: bytes, author: str, slug: str, known: Head | None) -> SignedHead:
    """Verify a head, that it belongs to the voice, and that it does not go back behind ``known``.

    Raises :class:`StaleError` for an expired or a replayed old head.
    """
    head = _signed(data)
    if author_id(head.author) != author or head.slug != slug:
        raise SignatureError("a head of another voice")
    advance(known, head)
    return head


def check_successor(data: bytes, author: str) -> bytes:
    """The record itself when it is verified and speaks of this author's key; SignatureError otherwise."""
    if verify_successor(data).old_author != author:
        raise SignatureError("a successor record of another author")
    return data


def _signed(data: bytes) -> SignedHead:
    head = verify_head(data, time.time())
    return SignedHead(head.author, head.slug, head.sequence, head.release, head.expires, data)


@contextmanager
def _noted(host: P2PHost, peer: PeerInfo) -> Iterator[None]:
    """Write into the peer book what a peer does wrong inside the block, or that it did well."""
    name = str(peer.peer_id)
    try:
        with blamed(host, name):
            yield
    except ProtocolMismatchError as error:
        host.peers.drop(name, Fault.BROKE_PROTOCOL, error.message)
        raise
    host.peers.reward(name, ANSWER_REWARD)
