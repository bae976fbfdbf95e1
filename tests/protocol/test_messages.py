import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import catalog_messages as cat
from p2pvoice.protocol import errors as e
from p2pvoice.protocol import exchange_messages as exc
from p2pvoice.protocol import messages as m
from p2pvoice.protocol import recall_messages as rec
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

from .kinds import KINDS

FILE = b"f" * 32
AUTHOR = author_id(b"a" * 32)
RELEASES = tuple(release_id(bytes([n])) for n in range(rec.REVOCATIONS_ASKED))
TAGS = tuple(f"tag/{n:02}{'长' * (TAG_LENGTH - 6)}" for n in range(TAGS_LIMIT))
LARGEST = [
    cat.Query(TAGS, cat.PAGE_ITEMS, "c" * cat.CURSOR_LENGTH),
    cat.QueryPage(
        (b"r" * RELEASE_LIMIT, b"r" * RELEASE_LIMIT, *(b"r",) * (cat.PAGE_ITEMS - 2)),
        (b"h" * HEAD_LIMIT,) * cat.PAGE_ITEMS,
        "c" * cat.CURSOR_LENGTH,
        (b"v" * REVOCATION_LIMIT,) * cat.PAGE_REVOCATIONS,
    ),
    cat.GetRelease(release_id(b"")),
    cat.ReleaseReply(b"r" * RELEASE_LIMIT),
    cat.GetHead(AUTHOR, "s" * 63),
    cat.HeadReply(b"h" * HEAD_LIMIT),
    rec.GetRevocations(RELEASES, AUTHOR, "s" * 63, True),
    rec.Revocations(
        (b"v" * REVOCATION_LIMIT,) * rec.REVOCATIONS_ASKED, (b"r" * (rec.PROOFS_BYTES // 16),) * 16
    ),
    rec.TellRevocation(b"v" * REVOCATION_LIMIT),
    rec.GetSuccessor(AUTHOR),
    rec.SuccessorReply(b"s" * SUCCESSOR_LIMIT),
    GetCollection(AUTHOR, "s" * 63),
    CollectionReply(b"c" * COLLECTION_LIMIT),
    exc.GetHave(FILE),
    exc.Have(CHUNKS_LIMIT, b"\xff" * (CHUNKS_LIMIT // 8)),
    exc.Want(
        FILE, CHUNKS_LIMIT - exc.WINDOW_LIMIT, exc.WINDOW_LIMIT, ("c" * 16,) * 8, (FILE,) * exc.BASES_LIMIT
    ),
    exc.ChunkFrame(CHUNKS_LIMIT - 1, "delta1", CHUNK_LIMIT, exc.BASES_LIMIT - 1),
    m.Fail("x" * m.CODE_LENGTH, "错" * m.FAIL_MESSAGE_LENGTH),
]
SMALLEST = [
    *(cat.Query(), cat.QueryPage(), cat.GetRelease(release_id(b"x")), cat.ReleaseReply(b"r")),
    *(cat.GetHead(AUTHOR, "s"), cat.HeadReply(b"h")),
    *(rec.GetRevocations(), rec.Revocations(), rec.TellRevocation(b"v")),
    *(rec.GetSuccessor(AUTHOR), rec.SuccessorReply(b"s")),
    *(GetCollection(AUTHOR, "s"), CollectionReply(b"c")),
    *(exc.GetHave(FILE), exc.Have(0, b""), exc.Want(FILE, 0), exc.ChunkFrame(0, "raw", 1)),
    m.Fail("bug"),
]


@pytest.mark.parametrize("message", LARGEST + SMALLEST, ids=lambda message: message.TYPE)
def test_round_trip_at_both_ends_of_the_limits(message: m.Wire) -> None:
    data = m.encode_message(message)
    assert len(data) <= message.LIMIT <= MESSAGE_LIMIT
    assert m.decode_message(data, type(message)) == message
    assert m.decode_message(data, *KINDS) == message


def test_every_kind_is_tested() -> None:
    assert [type(message) for message in LARGEST] == [type(message) for message in SMALLEST] == list(KINDS)
    assert len({kind.TYPE for kind in KINDS}) == len(KINDS)


def test_requests_fit_the_request_limit() -> None:
    requests = (
        cat.Query,
        cat.GetRelease,
        cat.GetHead,
        rec.GetRevocations,
        rec.TellRevocation,
        exc.GetHave,
        exc.Want,
    )
    assert m.message_limit(*requests) == m.REQUEST_LIMIT
    assert m.message_limit(exc.ChunkFrame, m.Fail) == m.Fail.LIMIT


def test_a_message_of_another_kind_is_a_protocol_mismatch() -> None:
    with pytest.raises(ProtocolMismatchError):
        m.decode_message(m.encode_message(exc.GetHave(FILE)), exc.Want, m.Fail)
    with pytest.raises(ProtocolMismatchError):
        m.decode_message(encode({"t": "later"}), *KINDS)


def test_the_limit_is_that_of_the_kind_and_not_of_its_neighbours() -> None:
    body = decode(m.encode_message(m.Fail("bug")), limit=1000)
    base = len(encode(body | {"pad": b"x" * 300})) - 300
    fitting = encode(body | {"pad": b"x" * (m.Fail.LIMIT - base)})
    assert len(fitting) == m.Fail.LIMIT
    assert m.decode_message(fitting, cat.QueryPage, m.Fail) == m.Fail("bug")
    with pytest.raises(ManifestError):
        m.decode_message(encode(body | {"pad": b"x" * (m.Fail.LIMIT - base + 1)}), cat.QueryPage, m.Fail)


@pytest.mark.parametrize("message", SMALLEST, ids=lambda message: message.TYPE)
def test_unknown_keys_are_ignored(message: m.Wire) -> None:
    body = decode(m.encode_message(message), limit=MESSAGE_LIMIT)
    assert m.decode_message(encode(body | {"later": [1, {"a": b""}]}), type(message)) == message


VALUES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=4)
    | st.binary(max_size=40)
    | st.lists(st.integers(-9, 9) | st.text(max_size=3) | st.binary(max_size=3), max_size=3)
)  # fmt: skip


# Without the two that are so large that every example would take a megabyte.
SMALL = [*SMALLEST, *(one for one in LARGEST if not isinstance(one, cat.QueryPage | rec.Revocations))]


@given(st.sampled_from(SMALL), st.data())
def test_any_value_in_any_field_raises_only_our_errors(message: m.Wire, data) -> None:
    body = decode(m.encode_message(message), limit=MESSAGE_LIMIT)
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(VALUES)
    try:
        again = m.decode_message(encode(body), type(message))
    except (ManifestError, ProtocolMismatchError):
        return
    assert m.decode_message(m.encode_message(again), type(message)) == again


@pytest.mark.parametrize("tags", [0, 4, 8, 12, 16])
def test_a_query_names_as_many_known_releases_as_fit_beside_its_tags(tags: int) -> None:
    count = cat.Query.known_beside(TAGS[:tags])
    assert count == cat.KNOWN_LIMIT if tags <= 4 else count < cat.KNOWN_LIMIT
    query = cat.Query(
        TAGS[:tags], cat.PAGE_ITEMS, "c" * cat.CURSOR_LENGTH, True, b"k" * count * cat.KNOWN_SIZE
    )
    assert m.decode_message(m.encode_message(query), *KINDS) == query


@given(st.binary(max_size=100))
def test_random_bytes_raise_only_our_errors(data: bytes) -> None:
    with pytest.raises((ManifestError, ProtocolMismatchError)):
        m.decode_message(data, *KINDS)


BEYOND = [
    lambda: cat.Query((*TAGS, "tag/one-more")),
    lambda: cat.Query(("tag/a", "tag/a")),
    lambda: cat.Query(("Not A Tag",)),
    lambda: cat.Query(limit=0),
    lambda: cat.Query(limit=cat.PAGE_ITEMS + 1),
    lambda: cat.Query(cursor="c" * (cat.CURSOR_LENGTH + 1)),
    lambda: cat.Query(cursor="ü"),
    lambda: cat.Query(cursor="\n"),
    lambda: cat.Query(known=b"k" * (cat.KNOWN_LIMIT + 1) * cat.KNOWN_SIZE),
    lambda: cat.Query(known=b"k" * (cat.KNOWN_SIZE - 1)),
    lambda: cat.Query(offered=1),  # type: ignore[arg-type]
    lambda: cat.QueryPage((b"r",) * (cat.PAGE_ITEMS + 1)),
    lambda: cat.QueryPage((), (b"h",) * (cat.PAGE_ITEMS + 1)),
    lambda: cat.QueryPage((b"",)),
    lambda: cat.QueryPage((b"r" * (RELEASE_LIMIT + 1),)),
    lambda: cat.QueryPage((), (b"h" * (HEAD_LIMIT + 1),)),
    lambda: cat.QueryPage((b"r" * (cat.PAGE_LIMIT // 8 + 1),) * 8),
    lambda: cat.QueryPage(next="c" * (cat.CURSOR_LENGTH + 1)),
    lambda: cat.GetRelease("nothing"),
    lambda: cat.ReleaseReply(b""),
    lambda: cat.ReleaseReply(b"r" * (RELEASE_LIMIT + 1)),
    lambda: cat.GetHead("nobody", "s"),
    lambda: cat.GetHead(AUTHOR, "S"),
    lambda: cat.HeadReply(b"h" * (HEAD_LIMIT + 1)),
    lambda: cat.QueryPage(revocations=(b"v",) * (cat.PAGE_REVOCATIONS + 1)),
    lambda: cat.QueryPage(revocations=(b"v" * (REVOCATION_LIMIT + 1),)),
    lambda: rec.GetRevocations((*RELEASES, release_id(b"one more"))),
    lambda: rec.GetRevocations((RELEASES[0], RELEASES[0])),
    lambda: rec.GetRevocations(("nothing",)),
    lambda: rec.GetRevocations((), AUTHOR),
    lambda: rec.GetRevocations((), "", "s"),
    lambda: rec.GetRevocations((), "nobody", "s"),
    lambda: rec.GetRevocations((), AUTHOR, "S"),
    lambda: rec.Revocations((b"v",) * (rec.REVOCATIONS_ASKED + 1)),
    lambda: rec.Revocations((b"",)),
    lambda: rec.Revocations((b"v" * (REVOCATION_LIMIT + 1),)),
    lambda: rec.Revocations((), (b"r",) * (rec.PROOFS_LIMIT + 1)),
    lambda: rec.Revocations((), (b"r" * (RELEASE_LIMIT + 1),)),
    lambda: rec.Revocations((), (b"r" * (rec.PROOFS_BYTES // 8 + 1),) * 8),
    lambda: rec.TellRevocation(b""),
    lambda: rec.TellRevocation(b"v" * (REVOCATION_LIMIT + 1)),
    lambda: exc.GetHave(b"f" * 31),
    lambda: exc.Have(CHUNKS_LIMIT + 1, b"\xff" * (CHUNKS_LIMIT // 8 + 1)),
    lambda: exc.Have(9, b"\xff"),
    lambda: exc.Want(b"f" * 33, 0),
    lambda: exc.Want(FILE, -1),
    lambda: exc.Want(FILE, CHUNKS_LIMIT),
    lambda: exc.Want(FILE, 0, 0),
    lambda: exc.Want(FILE, 0, exc.WINDOW_LIMIT + 1),
    lambda: exc.Want(FILE, CHUNKS_LIMIT - 1, 2),
    lambda: exc.Want(FILE, 0, 1, ()),
    lambda: exc.Want(FILE, 0, 1, ("x",) * 9),
    lambda: exc.Want(FILE, 0, 1, ("x" * 17,)),
    lambda: exc.Want(FILE, 0, 1, ("raw",), (FILE,) * (exc.BASES_LIMIT + 1)),
    lambda: exc.Want(FILE, 0, 1, ("raw",), (FILE[:-1],)),
    lambda: exc.ChunkFrame(0, "raw", 1, exc.BASES_LIMIT),
    lambda: exc.ChunkFrame(0, "raw", 1, -1),
    lambda: exc.ChunkFrame(CHUNKS_LIMIT, "raw", 1),
    lambda: exc.ChunkFrame(0, "gz9", 1),
    lambda: exc.ChunkFrame(0, "raw", 0),
    lambda: exc.ChunkFrame(0, "raw", CHUNK_LIMIT + 1),
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
    page = cat.QueryPage((b"r" * (cat.PAGE_LIMIT // 8),) * 8)
    assert m.decode_message(m.encode_message(page), cat.QueryPage) == page


def test_a_want_without_codecs_means_raw() -> None:
    data = encode({"t": "want", "file": FILE, "first": 3})
    assert m.decode_message(data, exc.Want) == exc.Want(FILE, 3, 1, ("raw",))


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
