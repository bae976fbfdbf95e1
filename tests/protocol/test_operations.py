import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pvoice.protocol import acts as a
from p2pvoice.protocol import operations as o
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.envelope import seal
from p2pvoice.protocol.errors import ManifestError, RefusedError, SignatureError, UsageError
from p2pvoice.protocol.ids import author_id, digest_of

TARGET, RELEASE, BASE = (digest_of(word) for word in (b"target", b"release", b"base"))
#: The widest letters: four bytes each.
WIDE = "𠮷" * a.TEXT_LENGTH
LABELS = tuple(f"{n:02}" + "𠮷" * (a.LABEL_LENGTH - 2) for n in range(a.LABELS_LIMIT))

SMALLEST: list[a.Act] = [
    a.Star(), a.Unstar(), a.Comment("a"), a.Edit(TARGET, ""), a.Retract(TARGET), a.Issue("a"),
    a.Label(TARGET), a.Close(TARGET), a.Reopen(TARGET), a.Proposal(RELEASE, BASE, "a"),
    a.Review(TARGET, "reject"), a.Merge(TARGET, RELEASE, "take"), a.Unknown("a"),
]  # fmt: skip
LARGEST: list[a.Act] = [
    a.Star(), a.Unstar(), a.Comment(WIDE, TARGET), a.Edit(TARGET, WIDE, "𠮷" * a.TITLE_LENGTH),
    a.Retract(TARGET), a.Issue("𠮷" * a.TITLE_LENGTH, WIDE), a.Label(TARGET, LABELS, LABELS),
    a.Close(TARGET, WIDE), a.Reopen(TARGET, WIDE), a.Proposal(RELEASE, BASE, WIDE),
    a.Review(TARGET, "accept", WIDE), a.Merge(TARGET, RELEASE, "average"),
    a.Unknown("a" * a.NAME_LENGTH, {"x": b"x" * 20_000}),
]  # fmt: skip


@pytest.fixture(scope="session")
def voice(other_key) -> o.VoiceName:
    return o.VoiceName(other_key.public_key().public_bytes_raw(), "s" * 63)


@pytest.fixture(scope="session")
def make(key, voice) -> Callable[..., o.Operation]:
    def build(act: a.Act = a.Star(), **changes: Any) -> o.Operation:  # noqa: B008
        signer = key.public_key().public_bytes_raw()
        values: dict[str, Any] = {"voice": voice, "signer": signer, "seq": 2, "previous": TARGET, "time": 5}
        return o.Operation(act=act, **(values | changes))

    return build


@pytest.fixture(scope="session")
def sealed(key, make) -> Callable[..., bytes]:
    """A signed operation whose payload was changed by hand: by keys of it, and by keys of its body."""

    def build(act: a.Act = a.Star(), body: dict[str, Any] | None = None, **changes: Any) -> bytes:  # noqa: B008
        value = decode(make(act).payload, limit=o.OPERATION_PAYLOAD_LIMIT)
        value["body"] |= body or {}
        return seal(o.KIND, encode(value | changes), key).to_bytes()

    return build


def test_every_act_is_tested() -> None:
    assert (
        {type(act) for act in SMALLEST} == {type(act) for act in LARGEST} == {*a._BY_NAME.values(), a.Unknown}
    )


@pytest.mark.parametrize("act", SMALLEST + LARGEST, ids=a.name_of)
def test_round_trip_at_both_ends_of_the_limits(act: a.Act, make, key) -> None:
    operation = make(act, seq=o.CHAIN_LIMIT, time=o.TIME_LIMIT - 1)
    signed = o.sign_operation(operation, key)
    assert len(signed.data) <= o.OPERATION_LIMIT
    assert o.verify_operation(signed.data) == signed
    assert signed.operation == operation
    assert signed.id == digest_of(operation.payload)
    assert signed.order == (o.TIME_LIMIT - 1, signed.id)


def test_the_first_names_none_before_it(make, key) -> None:
    first = make(seq=1, previous=None)
    assert "prev" not in decode(first.payload, limit=1000)
    assert o.verify_operation(o.sign_operation(first, key).data).operation == first


BEYOND: list[Callable[[], a.Act]] = [
    lambda: a.Comment(""),
    lambda: a.Comment("a" * (a.TEXT_LENGTH + 1)),
    lambda: a.Comment("a\u202eb"),
    lambda: a.Comment(" a"),
    lambda: a.Comment("a", TARGET[:31]),
    lambda: a.Edit(b"", "a"),
    lambda: a.Edit(TARGET, "a" * (a.TEXT_LENGTH + 1)),
    lambda: a.Edit(TARGET, "a", ""),
    lambda: a.Edit(TARGET, "a", "a" * (a.TITLE_LENGTH + 1)),
    lambda: a.Edit(TARGET, "a", "a\nb"),
    lambda: a.Retract(TARGET + b"x"),
    lambda: a.Issue(""),
    lambda: a.Issue("a" * (a.TITLE_LENGTH + 1)),
    lambda: a.Issue("a\nb"),
    lambda: a.Issue("a", "a" * (a.TEXT_LENGTH + 1)),
    lambda: a.Label(b"", ("a",)),
    lambda: a.Label(TARGET, (*LABELS, "one more")),
    lambda: a.Label(TARGET, (), (*LABELS, "one more")),
    lambda: a.Label(TARGET, ("a", "a")),
    lambda: a.Label(TARGET, ("",)),
    lambda: a.Label(TARGET, ("a" * (a.LABEL_LENGTH + 1),)),
    lambda: a.Label(TARGET, (), ("a\nb",)),
    lambda: a.Close(b""),
    lambda: a.Close(TARGET, "a" * (a.TEXT_LENGTH + 1)),
    lambda: a.Reopen(b""),
    lambda: a.Reopen(TARGET, "a" * (a.TEXT_LENGTH + 1)),
    lambda: a.Proposal(b"", BASE, "a"),
    lambda: a.Proposal(RELEASE, b"", "a"),
    lambda: a.Proposal(RELEASE, BASE, ""),
    lambda: a.Proposal(RELEASE, BASE, "a" * (a.TEXT_LENGTH + 1)),
    lambda: a.Review(b"", "accept"),
    lambda: a.Review(TARGET, "later"),
    lambda: a.Review(TARGET, "accept", "a" * (a.TEXT_LENGTH + 1)),
    lambda: a.Merge(b"", RELEASE, "take"),
    lambda: a.Merge(TARGET, b"", "take"),
    lambda: a.Merge(TARGET, RELEASE, "later"),
    lambda: a.Unknown(""),
    lambda: a.Unknown("a" * (a.NAME_LENGTH + 1)),
    lambda: a.Unknown("Wave"),
    lambda: a.Unknown("wave\n"),
    lambda: a.read_act("", {}),
    lambda: a.read_act("a" * (a.NAME_LENGTH + 1), {}),
    lambda: a.read_act("star", None),
    lambda: a.read_act("star", {"": 1}),
    lambda: a.read_act("wave", []),
]


@pytest.mark.parametrize("number", range(len(BEYOND)))
def test_an_act_beyond_its_limits(number: int) -> None:
    with pytest.raises(ManifestError):
        BEYOND[number]()


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 0, "previous": None},
        {"seq": 1},
        {"previous": None},
        {"previous": TARGET[:31]},
        {"seq": o.CHAIN_LIMIT + 1},
        {"seq": True},
        {"time": 0},
        {"time": o.TIME_LIMIT},
        {"time": 1.5},
        {"signer": b"k" * 31},
        {"voice": o.VoiceName(b"a" * 33, "s")},
        {"voice": o.VoiceName(b"a" * 32, "s" * 64)},
        {"voice": o.VoiceName(b"a" * 32, "S")},
    ],
)
def test_an_operation_beyond_its_limits(changes: dict[str, Any], make) -> None:
    with pytest.raises(ManifestError):
        make(**changes)


def test_the_voices_author_has_more_room(make, voice, other_key) -> None:
    last = make(signer=voice.author, seq=o.OWNER_CHAIN_LIMIT)
    assert last.quota == (o.OWNER_CHAIN_LIMIT, o.OWNER_CHAIN_BYTES)
    assert make().quota == (o.CHAIN_LIMIT, o.CHAIN_BYTES)
    assert o.verify_operation(o.sign_operation(last, other_key).data).operation == last
    with pytest.raises(ManifestError):
        make(signer=voice.author, seq=o.OWNER_CHAIN_LIMIT + 1)


def test_the_payload_is_bounded(make, key) -> None:
    base = len(make(a.Unknown("wave", {"x": b"x" * 1000})).payload) - 1000
    fitting = make(a.Unknown("wave", {"x": b"x" * (o.OPERATION_PAYLOAD_LIMIT - base)}))
    signed = o.sign_operation(fitting, key)
    assert len(fitting.payload) == o.OPERATION_PAYLOAD_LIMIT
    assert o.verify_operation(signed.data) == signed
    longer = make(a.Unknown("wave", {"x": b"x" * (o.OPERATION_PAYLOAD_LIMIT - base + 1)}))
    with pytest.raises(ManifestError):
        o.sign_operation(longer, key)
    with pytest.raises(ManifestError):
        o.verify_operation(seal(o.KIND, longer.payload, key).to_bytes())
    many = make(a.Unknown("wave", {"x": [0] * o.OPERATION_ITEMS}))
    with pytest.raises(ManifestError):
        o.verify_operation(seal(o.KIND, many.payload, key).to_bytes())


def test_only_the_signer_signs(make, key, other_key) -> None:
    with pytest.raises(SignatureError):
        o.sign_operation(make(), other_key)
    with pytest.raises(SignatureError):
        o.verify_operation(seal(o.KIND, make().payload, other_key).to_bytes())
    signed = o.sign_operation(make(), key)
    for at in range(0, len(signed.data), 7):
        broken = bytearray(signed.data)
        broken[at] ^= 1
        with pytest.raises(RefusedError):
            o.verify_operation(bytes(broken))


def test_a_signature_of_another_kind_says_nothing_here(make, key) -> None:
    with pytest.raises(ManifestError):
        o.verify_operation(seal("head", make().payload, key).to_bytes())


def test_min_reader_says_who_must_not_try(sealed) -> None:
    assert o.verify_operation(sealed(v=o.FORMAT + 1)).operation.act == a.Star()
    with pytest.raises(ManifestError, match="needs a reader"):
        o.verify_operation(sealed(min_reader=o.FORMAT + 1))


def test_unknown_keys_are_ignored_and_signed_over(sealed) -> None:
    plain, more = o.verify_operation(sealed()), o.verify_operation(sealed(later=[1, {"a": b""}]))
    assert more.operation == plain.operation
    assert more.id != plain.id
    assert o.verify_operation(sealed(a.Comment("a"), {"later": 1})).operation.act == a.Comment("a")


def test_an_unknown_act_is_kept_as_it_is(sealed) -> None:
    signed = o.verify_operation(sealed(a.Unknown("wave", {"at": TARGET, "hands": [1, 2]})))
    assert signed.operation.act == a.Unknown("wave", {"at": TARGET, "hands": [1, 2]})
    assert signed.id == digest_of(signed.operation.payload)


@pytest.mark.parametrize(
    ("act", "body"),
    [
        (a.Comment("a"), {"text": "a" * (a.TEXT_LENGTH + 1)}),
        (a.Comment("a"), {"text": ""}),
        (a.Comment("a"), {"text": 5}),
        (a.Comment("a"), {"target": b"short"}),
        # A character that is in no version of Unicode yet, or only in one that this reader does not have.
        (a.Comment("a"), {"text": "\U0001fbff"}),
        (a.Comment("a"), {"text": "a\u202eb"}),
        (a.Review(TARGET, "accept"), {"verdict": "later"}),
        (a.Merge(TARGET, RELEASE, "take"), {"mode": "later"}),
        (a.Label(TARGET), {"add": ["a"] * 17}),
        (a.Issue("a"), {"title": None}),
    ],
)
def test_a_body_that_cannot_be_read_makes_an_act_unknown(act: a.Act, body: dict[str, Any], sealed) -> None:
    # Refusing it would end the chain here and not elsewhere.
    read = o.verify_operation(sealed(act, body)).operation.act
    assert read == a.Unknown(a.name_of(act), act.body() | body)


@given(st.sampled_from([act.NAME for act in a._BY_NAME.values()] + ["wave"]), st.data())
def test_any_body_is_an_act(name: str, data) -> None:
    values = st.none() | st.integers(0, 9) | st.text(max_size=3) | st.binary(max_size=33) | st.just(TARGET)
    keys = st.sampled_from(
        ["text", "target", "title", "add", "remove", "verdict", "mode", "release", "later"]
    )
    body = data.draw(st.dictionaries(keys, values | st.lists(values, max_size=3), max_size=4))
    act = a.read_act(name, body)
    assert a.name_of(act) == name
    if isinstance(act, a.Unknown):
        assert act.values == body
    assert a.read_act(name, act.body()) == act


def test_ids_have_one_spelling() -> None:
    text = o.operation_id(TARGET)
    assert len(text) == o.ID_LENGTH
    assert o.parse_operation_id(text) == TARGET
    # The last letter carries four spare bits, which must be zero.
    spare = text[:-1] + chr(ord(text[-1]) + 1)
    for wrong in (
        text.upper(),
        text[:-1],
        text + "a",
        text[2:],
        "op" + text,
        spare,
        text[:-1] + "1",
        "",
        " " + text,
    ):
        with pytest.raises(UsageError):
            o.parse_operation_id(wrong)
    with pytest.raises(UsageError):
        o.operation_id(TARGET[:31])


@given(st.binary(min_size=32, max_size=32))
def test_every_digest_has_an_id(digest: bytes) -> None:
    assert o.parse_operation_id(o.operation_id(digest)) == digest


def test_voice_names(voice) -> None:
    assert str(voice) == f"{author_id(voice.author)}/{voice.slug}"
    assert o.VoiceName.of(author_id(voice.author), voice.slug) == voice
    for author, slug in (("nobody", "s"), (author_id(voice.author), "S")):
        with pytest.raises(UsageError):
            o.VoiceName.of(author, slug)


def test_operations_are_frozen(make) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().seq = 3
