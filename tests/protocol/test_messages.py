import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import errors as e
from p2pvoice.protocol import messages as m
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.chunks import CHUNK_LIMIT, CHUNKS_LIMIT
from p2pvoice.protocol.collection import COLLECTION_LIMIT
from p2pvoice.protocol.collection_messages import CollectionReply, GetCollection
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import ManifestError, ProtocolMismatchError
from p2pvoice.protocol.framing import MESSAGE_LIMIT
from p2pvoice.protocol.head import HEAD_LIMIT
from p2pvoice.protocol.ids import author_id, release_id
from p2pvoice.protocol.manifest import RELEASE_LIMIT
from p2pvoice.protocol.revocation import REVOCATION_LIMIT
from p2pvoice.protocol.successor import SUCCESSOR_LIMIT
from p2pvoice.protocol.tags import TAG_LENGTH, TAGS_LIMIT

FILE = b"f" * 32
AUTHOR = author_id(b"a" * 32)
RELEASES = tuple(release_id(bytes([n])) for n in range(m.REVOCATIONS_ASKED))
TAGS = tuple(f"tag/{n:02}{'长' * (TAG_LENGTH - 6)}" for n in range(TAGS_LIMIT))
KINDS = (
    m.Query, m.QueryPage, m.GetRelease, m.ReleaseReply, m.GetHead, m.HeadReply, m.GetRevocations,
    m.Revocations, m.TellRevocation, m.GetSuccessor, m.SuccessorReply, GetCollection, CollectionReply,
    m.GetHave, m.Have, m.Want, m.ChunkFrame, m.Fail,
)  # fmt: skip

LARGEST = [
    m.Query(TAGS, m.PAGE_ITEMS, "c" * m.CURSOR_LENGTH),
    m.QueryPage(
        (b"r" * RELEASE_LIMIT, b"r" * RELEASE_LIMIT, *(b"r",) * (m.PAGE_ITEMS - 2)),
        (b"h" * HEAD_LIMIT,) * m.PAGE_ITEMS,
        "c" * m.CURSOR_LENGTH,
        (b"v" * REVOCATION_LIMIT,) * m.PAGE_REVOCATIONS,
    ),
    m.GetRelease(release_id(b"")),
    m.ReleaseReply(b"r" * RELEASE_LIMIT),
    m.GetHead(AUTHOR, "s" * 63),
    m.HeadReply(b"h" * HEAD_LIMIT),
    m.GetRevocations(RELEASES, AUTHOR, "s" * 63, True),
    m.Revocations((b"v" * REVOCATION_LIMIT,) * m.REVOCATIONS_ASKED, (b"r" * (m.PROOFS_BYTES // 16),) * 16),
    m.TellRevocation(b"v" * REVOCATION_LIMIT),
    m.GetSuccessor(AUTHOR),
    m.SuccessorReply(b"s" * SUCCESSOR_LIMIT),
    GetCollection(AUTHOR, "s" * 63),
    CollectionReply(b"c" * COLLECTION_LIMIT),
    m.GetHave(FILE),
    m.Have(CHUNKS_LIMIT, b"\xff" * (CHUNKS_LIMIT // 8)),
    m.Want(FILE, CHUNKS_LIMIT - m.WINDOW_LIMIT, m.WINDOW_LIMIT, ("c" * 16,) * 8, (FILE,) * m.BASES_LIMIT),
    m.ChunkFrame(CHUNKS_LIMIT - 1, "delta1", CHUNK_LIMIT, m.BASES_LIMIT - 1),
    m.Fail("x" * m.CODE_LENGTH, "错" * m.FAIL_MESSAGE_LENGTH),
]
SMALLEST = [
    m.Query(), m.QueryPage(), m.GetRelease(release_id(b"x")), m.ReleaseReply(b"r"), m.GetHead(AUTHOR, "s"),
    m.HeadReply(b"h"), m.GetRevocations(), m.Revocations(), m.TellRevocation(b"v"), m.GetSuccessor(AUTHOR),
    m.SuccessorReply(b"s"), GetCollection(AUTHOR, "s"), CollectionReply(b"c"), m.GetHave(FILE),
    m.Have(0, b""), m.Want(FILE, 0), m.ChunkFrame(0, "raw", 1), m.Fail("bug"),
]  # fmt: skip


@pytest.mark.parametrize("message", LARGEST + SMALLEST, ids=lambda message: message.TYPE)
def test_round_trip_at_both_ends_of_the_limits(message: m.Message) -> None:
    data = m.encode_message(message)
    assert len(data) <= message.LIMIT <= MESSAGE_LIMIT
    assert m.decode_message(data, type(message)) == message
    assert m.decode_message(data, *KINDS) == message


def test_every_kind_is_tested() -> None:
    assert [type(message) for message in LARGEST] == [type(message) for message in SMALLEST] == list(KINDS)
    assert len({kind.TYPE for kind in KINDS}) == len(KINDS)


def test_requests_fit_the_request_limit() -> None:
    requests = (m.Query, m.GetRelease, m.GetHead, m.GetRevocations, m.TellRevocation, m.GetHave, m.Want)
    assert m.message_limit(*requests) == m.REQUEST_LIMIT
    assert m.message_limit(m.ChunkFrame, m.Fail) == m.Fail.LIMIT


def test_a_message_of_another_kind_is_a_protocol_mismatch() -> None:
    with pytest.raises(ProtocolMismatchError):
        m.decode_message(m.encode_message(m.GetHave(FILE)), m.Want, m.Fail)
    with pytest.raises(ProtocolMismatchError):
        m.decode_message(encode({"t": "later"}), *KINDS)


def test_the_limit_is_that_of_the_kind_and_not_of_its_neighbours() -> None:
    body = decode(m.encode_message(m.Fail("bug")), limit=1000)
    base = len(encode(body | {"pad": b"x" * 300})) - 300
    fitting = encode(body | {"pad": b"x" * (m.Fail.LIMIT - base)})
    assert len(fitting) == m.Fail.LIMIT
    assert m.decode_message(fitting, m.QueryPage, m.Fail) == m.Fail("bug")
    with pytest.raises(ManifestError):
        m.decode_message(encode(body | {"pad": b"x" * (m.Fail.LIMIT - base + 1)}), m.QueryPage, m.Fail)


@pytest.mark.parametrize("message", SMALLEST, ids=lambda message: message.TYPE)
def test_unknown_keys_are_ignored(message: m.Message) -> None:
    body = decode(m.encode_message(message), limit=MESSAGE_LIMIT)
    assert m.decode_message(encode(body | {"later": [1, {"a": b""}]}), type(message)) == message


VALUES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=4)
    | st.binary(max_size=40)
    | st.lists(st.integers(-9, 9) | st.text(max_size=3) | st.binary(max_size=3), max_size=3)
)  # fmt: skip


# Without the two that are so large that every example would take a megabyte.
SMALL = [*SMALLEST, *(one for one in LARGEST if not isinstance(one, m.QueryPage | m.Revocations))]


@given(st.sampled_from(SMALL), st.data())
def test_any_value_in_any_field_raises_only_our_errors(message: m.Message, data) -> None:
    body = decode(m.encode_message(message), limit=MESSAGE_LIMIT)
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(VALUES)
    try:
        again = m.decode_message(encode(body), type(message))
    except (ManifestError, ProtocolMismatchError):
        return
    assert m.decode_message(m.encode_message(again), type(message)) == again


@pytest.mark.parametrize("tags", [0, 4, 8, 12, 16])
def test_a_query_names_as_many_known_releases_as_fit_beside_its_tags(tags: int) -> None:
    count = m.Query.known_beside(TAGS[:tags])
    assert count == m.KNOWN_LIMIT if tags <= 4 else count < m.KNOWN_LIMIT
    query = m.Query(TAGS[:tags], m.PAGE_ITEMS, "c" * m.CURSOR_LENGTH, True, b"k" * count * m.KNOWN_SIZE)
    assert m.decode_message(m.encode_message(query), *KINDS) == query


@given(st.binary(max_size=100))
def test_random_bytes_raise_only_our_errors(data: bytes) -> None:
    with pytest.raises((ManifestError, ProtocolMismatchError)):
        m.decode_message(data, *KINDS)


BEYOND = [
    lambda: m.Query((*TAGS, "tag/one-more")),
    lambda: m.Query(("tag/a", "tag/a")),
    lambda: m.Query(("Not A Tag",)),
    lambda: m.Query(limit=0),
    lambda: m.Query(limit=m.PAGE_ITEMS + 1),
    lambda: m.Query(cursor="c" * (m.CURSOR_LENGTH + 1)),
    lambda: m.Query(cursor="ü"),
    lambda: m.Query(cursor="\n"),
    lambda: m.Query(known=b"k" * (m.KNOWN_LIMIT + 1) * m.KNOWN_SIZE),
    lambda: m.Query(known=b"k" * (m.KNOWN_SIZE - 1)),
    lambda: m.Query(offered=1),  # type: ignore[arg-type]
    lambda: m.QueryPage((b"r",) * (m.PAGE_ITEMS + 1)),
    lambda: m.QueryPage((), (b"h",) * (m.PAGE_ITEMS + 1)),
    lambda: m.QueryPage((b"",)),
    lambda: m.QueryPage((b"r" * (RELEASE_LIMIT + 1),)),
    lambda: m.QueryPage((), (b"h" * (HEAD_LIMIT + 1),)),
    lambda: m.QueryPage((b"r" * (m.PAGE_LIMIT // 8 + 1),) * 8),
    lambda: m.QueryPage(next="c" * (m.CURSOR_LENGTH + 1)),
    lambda: m.GetRelease("nothing"),
    lambda: m.ReleaseReply(b""),
    lambda: m.ReleaseReply(b"r" * (RELEASE_LIMIT + 1)),
    lambda: m.GetHead("nobody", "s"),
    lambda: m.GetHead(AUTHOR, "S"),
    lambda: m.HeadReply(b"h" * (HEAD_LIMIT + 1)),
    lambda: m.QueryPage(revocations=(b"v",) * (m.PAGE_REVOCATIONS + 1)),
    lambda: m.QueryPage(revocations=(b"v" * (REVOCATION_LIMIT + 1),)),
    lambda: m.GetRevocations((*RELEASES, release_id(b"one more"))),
    lambda: m.GetRevocations((RELEASES[0], RELEASES[0])),
    lambda: m.GetRevocations(("nothing",)),
    lambda: m.GetRevocations((), AUTHOR),
    lambda: m.GetRevocations((), "", "s"),
    lambda: m.GetRevocations((), "nobody", "s"),
    lambda: m.GetRevocations((), AUTHOR, "S"),
    lambda: m.Revocations((b"v",) * (m.REVOCATIONS_ASKED + 1)),
    lambda: m.Revocations((b"",)),
    lambda: m.Revocations((b"v" * (REVOCATION_LIMIT + 1),)),
    lambda: m.Revocations((), (b"r",) * (m.PROOFS_LIMIT + 1)),
    lambda: m.Revocations((), (b"r" * (RELEASE_LIMIT + 1),)),
    lambda: m.Revocations((), (b"r" * (m.PROOFS_BYTES // 8 + 1),) * 8),
    lambda: m.TellRevocation(b""),
    lambda: m.TellRevocation(b"v" * (REVOCATION_LIMIT + 1)),
    lambda: m.GetHave(b"f" * 31),
    lambda: m.Have(CHUNKS_LIMIT + 1, b"\xff" * (CHUNKS_LIMIT // 8 + 1)),
    lambda: m.Have(9, b"\xff"),
    lambda: m.Want(b"f" * 33, 0),
    lambda: m.Want(FILE, -1),
    lambda: m.Want(FILE, CHUNKS_LIMIT),
    lambda: m.Want(FILE, 0, 0),
    lambda: m.Want(FILE, 0, m.WINDOW_LIMIT + 1),
    lambda: m.Want(FILE, CHUNKS_LIMIT - 1, 2),
    lambda: m.Want(FILE, 0, 1, ()),
    lambda: m.Want(FILE, 0, 1, ("x",) * 9),
    lambda: m.Want(FILE, 0, 1, ("x" * 17,)),
    lambda: m.Want(FILE, 0, 1, ("raw",), (FILE,) * (m.BASES_LIMIT + 1)),
    lambda: m.Want(FILE, 0, 1, ("raw",), (FILE[:-1],)),
    lambda: m.ChunkFrame(0, "raw", 1, m.BASES_LIMIT),
    lambda: m.ChunkFrame(0, "raw", 1, -1),
    lambda: m.ChunkFrame(CHUNKS_LIMIT, "raw", 1),
    lambda: m.ChunkFrame(0, "gz9", 1),
    lambda: m.ChunkFrame(0, "raw", 0),
    lambda: m.ChunkFrame(0, "raw", CHUNK_LIMIT + 1),
    lambda: m.Fail(""),
    lambda: m.Fail("x" * (m.CODE_LENGTH + 1)),
    lambda: m.Fail("no code"),
    lambda: m.Fail("bug", "x" * (m.FAIL_MESSAGE_LENGTH + 1)),
]


@pytest.mark.parametrize("number", range(len(BEYOND)))
def test_beyond_the_limits(number: int) -> None:
    with pytest.raises(ManifestError):
        BEYOND[number]()


def test_a_page_at_its_byte_limit() -> None:
    page = m.QueryPage((b"r" * (m.PAGE_LIMIT // 8),) * 8)
    assert m.decode_message(m.encode_message(page), m.QueryPage) == page


def test_a_want_without_codecs_means_raw() -> None:
    data = encode({"t": "want", "file": FILE, "first": 3})
    assert m.decode_message(data, m.Want) == m.Want(FILE, 3, 1, ("raw",))


def test_a_failure_becomes_an_error_of_the_asking_side() -> None:
    fail = m.Fail.of(e.NotFoundError("no such voice", hint="ours alone"))
    assert "ours alone" not in repr(fail)
    error = m.decode_message(m.encode_message(fail), m.Fail).error()
    assert type(error) is e.NotFoundError
    assert error.message == "the peer says: no such voice"
    assert type(m.Fail("busy").error()) is e.BusyError
    # What is broken over there is, seen from here, the network.
    for code in ("bug", "disk_full", "of_the_future", "error"):
        assert type(m.Fail(code).error()) is e.NetworkError


def test_a_failure_cannot_write_to_the_terminal() -> None:
    hostile = m.Fail("not_found", "\x1b[2Jgone\r\nexit 0\u202e")
    assert hostile.error().message == "the peer says: [2Jgone exit 0"
    assert m.Fail.of(e.NotFoundError("a\n" * 500)).message.startswith("a a a")


def test_messages_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALLEST[0].limit = 3


def test_a_sealed_head_fits_its_reply(key) -> None:
    assert len(seal("head", b"x" * 512, key).to_bytes()) <= HEAD_LIMIT
