import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pvoice.protocol import reconcile as r
from p2pvoice.protocol.conversation import Reconcile, Reconciled
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.messages import decode_message, encode_message
from p2pvoice.protocol.operations import VoiceName

VOICE = VoiceName(b"a" * 32, "storyteller")
FINGERPRINT = b"f" * r.FINGERPRINT_SIZE


def key(number: int) -> bytes:
    return hashlib.sha256(b"key %d" % number).digest()


def wide(number: int) -> bytes:
    return number.to_bytes(32)


def numbers(values: dict[int, int]) -> dict[bytes, bytes]:
    return {key(one): wide(value) for one, value in values.items()}


def talk(ours: dict[bytes, bytes], theirs: dict[bytes, bytes]) -> tuple[r.Reconciliation, int]:
    """Both sides over the wire's bytes; the asker at the end, and the bytes that went either way."""
    asking, other, sent = r.Reconciliation(r.Pairs(ours)), r.Pairs(theirs), 0
    while asking.question:
        question = encode_message(Reconcile(VOICE, asking.question))
        answer = encode_message(Reconciled(r.answer(other, decode_message(question, Reconcile).ranges)))
        asking.take(decode_message(answer, Reconciled).ranges)
        sent += len(question) + len(answer)
    return asking, sent


def assert_found(asking: r.Reconciliation, ours: dict[bytes, bytes], theirs: dict[bytes, bytes]) -> None:
    expected = [
        r.Difference(one, ours.get(one), theirs.get(one))
        for one in sorted({*ours, *theirs})
        if ours.get(one) != theirs.get(one)
    ]
    assert asking.complete
    assert list(asking.differences) == expected


SETS = st.dictionaries(st.integers(0, 400), st.integers(0, 1), max_size=300)


@settings(max_examples=150)
@given(SETS, SETS)
def test_what_differs_is_found_whatever_the_sets_are(ours: dict[int, int], theirs: dict[int, int]) -> None:
    asking, _ = talk(numbers(ours), numbers(theirs))
    assert_found(asking, numbers(ours), numbers(theirs))


@pytest.mark.parametrize("mine", [0, 1, 32, 33, 255, 600])
@pytest.mark.parametrize("shared", [0, 1, 32, 33, 600])
@pytest.mark.parametrize("yours", [0, 1, 32, 33, 600])
def test_sizes_around_the_limits(mine: int, shared: int, yours: int) -> None:
    ours = numbers({one: 1 for one in range(mine + shared)})
    theirs = numbers({one: 1 for one in range(mine, mine + shared + yours)})
    asking, _ = talk(ours, theirs)
    assert_found(asking, ours, theirs)


def test_traffic_follows_the_difference_and_not_the_size() -> None:
    ours = numbers({one: 1 for one in range(50_000)})
    for changed, limit, rounds in ((0, 2_000, 1), (1, 6_000, 3), (10, 50_000, 4), (100, 400_000, 12)):
        theirs = dict(ours)
        for one in random.Random(changed).sample(sorted(ours), changed):
            theirs[one] = wide(2)
        asking, sent = talk(ours, theirs)
        assert_found(asking, ours, theirs)
        assert sent < limit
        assert asking.rounds <= rounds


@pytest.mark.parametrize(("mine", "yours"), [(0, 40_000), (40_000, 0), (40_000, 40_000), (100, 40_000)])
def test_large_and_wholly_different_sets_end_within_the_rounds(mine: int, yours: int) -> None:
    ours = numbers({one: 1 for one in range(mine)})
    theirs = numbers({one: 2 for one in range(50_000, 50_000 + yours)})
    asking, _ = talk(ours, theirs)
    assert_found(asking, ours, theirs)
    assert asking.rounds < r.ROUNDS_LIMIT


@given(SETS, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_fingerprint_is_that_of_the_pairs_in_the_range(values: dict[int, int], a: bytes, b: bytes) -> None:
    pairs, (lower, upper) = r.Pairs(numbers(values)), sorted((a, b))
    first, end = pairs.span(lower, upper)
    inside = {one: value for one, value in numbers(values).items() if lower < one <= upper}
    assert pairs.slice(first, end) == tuple(sorted(inside.items()))
    assert pairs.fingerprint(first, end) == r.Pairs(inside).fingerprint()


def test_a_set_that_is_none() -> None:
    for values in ({b"k": wide(1)}, {wide(1): b"v"}):
        with pytest.raises(ManifestError):
            r.Pairs(values)


@pytest.mark.parametrize(
    "make",
    [
        lambda: r.Range(b"k"),
        lambda: r.Range(wide(1), b"f" * 15),
        lambda: r.Range(wide(1), FINGERPRINT, ()),
        lambda: r.Range(r.LAST_KEY, pairs=tuple((wide(n), wide(n)) for n in range(r.PAIRS_SENT + 1))),
        lambda: r.Range(r.LAST_KEY, pairs=((wide(2), wide(0)), (wide(1), wide(0)))),
        lambda: r.Range(r.LAST_KEY, pairs=((wide(1), wide(0)), (wide(1), wide(0)))),
        lambda: r.Range(wide(1), pairs=((wide(2), wide(0)),)),
        lambda: r.Range(wide(1), pairs=((b"k", wide(0)),)),
        lambda: r.Range(wide(1), pairs=((wide(1), b"v"),)),
    ],
)
def test_a_range_out_of_form(make) -> None:
    with pytest.raises(ManifestError):
        make()


def lists(count: int, size: int) -> tuple[r.Range, ...]:
    """Ranges of ``size`` pairs each."""
    places = [range(n * size, (n + 1) * size) for n in range(count)]
    return tuple(r.Range(wide(one[-1]), pairs=tuple((wide(n), wide(n)) for n in one)) for one in places)


def test_limits_of_a_message() -> None:
    full = tuple(r.Range(wide(n), FINGERPRINT) for n in range(r.RANGES_LIMIT + 1))
    r.check_ranges(full[:-1])
    many = lists(r.PAIRS_LIMIT // r.PAIRS_SENT, r.PAIRS_SENT)
    r.check_ranges(many)
    assert len(encode_message(Reconciled(many))) <= Reconciled.LIMIT
    one_more = r.Range(r.LAST_KEY, pairs=((r.LAST_KEY, wide(0)),))
    r.Range(r.LAST_KEY, pairs=many[0].pairs)
    for ranges in (
        full,
        (*many, one_more),
        (r.Range(wide(2)), r.Range(wide(1))),
        (r.Range(wide(1)), r.Range(wide(1))),
        (r.Range(wide(5)), r.Range(wide(9), pairs=((wide(5), wide(0)),))),
    ):
        for refused in (r.check_ranges, lambda ranges: r.answer(r.Pairs({}), ranges),
                        lambda ranges: r.compare(r.Pairs({}), ranges),
                        r.Reconciliation(r.Pairs({})).take, Reconciled):  # fmt: skip
            with pytest.raises(ManifestError):
                refused(ranges)


@pytest.mark.parametrize("count", [0, 10, 5000])
def test_no_question_makes_an_answer_beyond_the_limits(count: int) -> None:
    pairs = r.Pairs({wide(one << 240): wide(1) for one in range(count)})
    questions = [
        tuple(r.Range(wide((n + 1) << 248), FINGERPRINT) for n in range(255)),
        tuple(r.Range(wide((n + 1) << 248), pairs=()) for n in range(255)),
        tuple(r.Range(wide((n + 1) << 248), FINGERPRINT if n % 2 else None) for n in range(255)),
        (r.Range(r.LAST_KEY, pairs=()),),
        (r.Range(r.LAST_KEY, FINGERPRINT),),
        (),
    ]
    for question in questions:
        r.check_ranges(r.answer(pairs, question))
        r.check_ranges(r.compare(pairs, question)[0])


def test_a_peer_that_only_asks_back_is_refused() -> None:
    asking = r.Reconciliation(r.Pairs(numbers({one: 1 for one in range(100)})))
    with pytest.raises(ManifestError, match="question again"):
        asking.take(asking.question)


def test_a_peer_that_answers_what_was_not_asked_is_refused() -> None:
    ours = numbers({one: 1 for one in range(1000)})
    asking = r.Reconciliation(r.Pairs(ours))
    first = sorted(ours)[20]
    # A part of one range differs, so the next question is about it alone.
    assert first < asking.question[0].upper
    asking.take((r.Range(first, FINGERPRINT),))
    assert asking.question[-1].upper == first
    with pytest.raises(ManifestError, match="not asked"):
        asking.take((r.Range(first), r.Range(r.LAST_KEY, FINGERPRINT)))


def test_a_peer_that_never_ends_is_left_after_the_rounds() -> None:
    asking, number = r.Reconciliation(r.Pairs({})), 0
    while asking.question:
        # One more pair each time, and always something left behind it.
        number += 1
        pair = r.Range(wide(number), pairs=((wide(number), wide(0)),))
        asking.take((pair, r.Range(r.LAST_KEY, FINGERPRINT)))
    assert (asking.rounds, asking.complete) == (r.ROUNDS_LIMIT, False)
    assert len(asking.differences) == r.ROUNDS_LIMIT
