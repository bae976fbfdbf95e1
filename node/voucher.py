"""Reservation vouchers: what a relay signs to say that a peer has a place with it, until when.

A signed envelope of libp2p. Nobody has to ask for one; it is given, and checked where it is given. Follows
specs/reach.md, "Relay".
"""

from libp2p.crypto.keys import PrivateKey
from libp2p.peer.envelope import Envelope, make_unsigned, unmarshal_envelope
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import Voucher

from p2pvoice.protocol.errors import ManifestError

DOMAIN = "libp2p-relay-rsvp"
PAYLOAD = b"\x03\x02"
"""The two bytes that stand for a voucher, as every implementation writes them."""


def write_voucher(key: PrivateKey, peer: ID, until: int) -> bytes:
    """The voucher of the relay that holds this key, for one peer until a time (seconds since 1970)."""
    public = key.get_public_key()
    relay = ID.from_pubkey(public)
    body = Voucher(relay=relay.to_bytes(), peer=peer.to_bytes(), expiration=until).SerializeToString()
    signature = key.sign(make_unsigned(DOMAIN, PAYLOAD, body))
    return bytes(Envelope(public, PAYLOAD, body, signature).marshal_envelope())


def check_voucher(data: bytes, relay: ID, peer: ID) -> int:
    """Until when a voucher of ``relay`` for ``peer`` holds. Raises :class:`ManifestError` for any other."""
    try:
        envelope = unmarshal_envelope(data)
        envelope.validate(DOMAIN)
        signer = ID.from_pubkey(envelope.public_key)
        said = Voucher()
        said.ParseFromString(envelope.raw_payload)
    except Exception as error:  # whatever libraries raise at bytes of a stranger
        raise ManifestError("not a voucher of a relay") from error
    if envelope.payload_type != PAYLOAD or signer != relay or said.relay != relay.to_bytes():
        raise ManifestError("the voucher of another relay")
    if said.peer != peer.to_bytes():
        raise ManifestError("the voucher of another peer")
    return int(said.expiration)
