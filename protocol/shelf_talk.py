"""Both sides of a conversation between two keepers, without a network or a disk.

:func:`talk` and :func:`hint` are the side that asks, :func:`answer` the other one. Each is a generator: it
yields a step, whoever drives it does the step and sends the result in. Steps are to ask the peer something,
to read voices from the disk, to verify voices that came, and to put on the disk what the keeper has taken.
Errors of a step are thrown in and end the talk; what was taken by then stays. Follows specs/shelves.md,
"Talking".
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from p2pvoice.protocol.errors import ManifestError, NotFoundError
from p2pvoice.protocol.reconcile import Difference, Pair, Reconciliation
from p2pvoice.protocol.reconcile import answer as answer_ranges
from p2pvoice.protocol.shelf import Arc, Card, Shelf, Verdict, epoch_in
from p2pvoice.protocol.shelf_entry import ENTRIES_LIMIT, REVOCATIONS_LIMIT, Entry
from p2pvoice.protocol.shelf_keeper import Keeper
from p2pvoice.protocol.shelf_messages import (
    PAIRS_TOUCHED,
    ComparedShelf,
    CompareShelf,
    Entries,
    GetEntries,
    Open,
    Opened,
    Opening,
    ShelfReply,
    ShelfRequest,
    Shelves,
    TellEntries,
    Took,
    Touch,
    Wanted,
)

ROUNDS = 48
"""Questions about the ranges of one shelf in one talk."""

DIFFERENCES = 8_192
"""Differences of one shelf after which a talk looks for no more."""

TALK_BYTES = 24 * 1024 * 1024
"""Signed bytes of voices taken in one talk, and of voices told."""


@dataclass(frozen=True)
class Ask:
    """Send the request to the peer; its answer is wanted."""

    request: ShelfRequest


@dataclass(frozen=True)
class Read:
    """Read the voices with these keys from the disk, in order, as many as ``ENTRIES_BYTES`` allow.

    Wanted: a list of (key, entry or None), the longest beginning of ``keys`` that fits; None stands for
    what is not to be given out (any more). The epochs of the entries are filled in here.
    """

    keys: tuple[bytes, ...]


@dataclass(frozen=True)
class Check:
    """Verify voices that came. Wanted: :class:`Checked`, or thrown in: SignatureError, ManifestError."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Store:
    """Put voices on the disk, and take others off the shelves there. Nothing is wanted."""

    kept: tuple[tuple[Card, Entry], ...]
    dropped: tuple[Card, ...]


@dataclass(frozen=True)
class Checked:
    """Voices as verified: a card for each entry, None for one that is in order and yet not taken here.

    ``revocations`` are the records of those among them that were revoked.
    """

    cards: tuple[Card | None, ...]
    revocations: tuple[bytes, ...] = ()


Step: TypeAlias = Ask | Read | Check | Store

Talk: TypeAlias = Generator[Step, Any, "Outcome"]
"""The asking side of a conversation; sends in what a step wants."""


@dataclass
class Outcome:
    """What a talk came to: voices taken and told, and revocations that the peer showed, not verified."""

    taken: int = 0
    told: int = 0
    renewed: int = 0
    revocations: tuple[bytes, ...] = ()
    to_revoke: tuple[bytes, ...] = ()
    """Records of what the peer offers and was revoked, for the peer to hear of."""


class _Budget:
    def __init__(self) -> None:
        self.take = TALK_BYTES
        self.tell = TALK_BYTES


def talk(keeper: Keeper, peer: str, tags: Sequence[str], now: float) -> Talk:
    """Compare the shelves of these tags with a peer's, take what is missing here and tell what is there."""
    outcome, budget = Outcome(), _Budget()
    asked = []
    for tag in tags:
        shelf = keeper.shelf(tag)
        if shelf is not None:
            asked.append(Opening(tag, shelf.arc, shelf.pairs().fingerprint()))
    if not asked:
        return outcome
    answer: Shelves = yield Ask(Open(tuple(asked)))
    if len(answer.shelves) != len(asked):
        raise ManifestError("the peer answered about other shelves than were asked about")
    for opening, opened in zip(asked, answer.shelves, strict=True):
        if opened is None:
            keeper.peers.lacks(peer, opening.tag)
            continue
        keeper.peers.met(peer, opening.tag, opened.arc, now)
        keeper.peers.providers(opening.tag, opened.others)
    for opening, opened in zip(asked, answer.shelves, strict=True):
        if opened is not None and keeper.shelf(opening.tag) is not None:
            yield from _settle(keeper, peer, opening.tag, opened, now, outcome, budget)
    return outcome


def hint(keeper: Keeper, peer: str, tag: str, pairs: Sequence[Pair], now: float) -> Talk:
    """Tell a peer that there is news, and of the news what it lacks."""
    outcome = Outcome()
    yield from _push(keeper, peer, tag, pairs, now, outcome, _Budget())
    return outcome


def answer(keeper: Keeper, peer: str, request: ShelfRequest, now: float) -> Generator[Step, Any, ShelfReply]:
    """What the side that is asked does and says. NotFoundError about a tag that is not kept here."""
    match request:
        case Open(shelves):
            return Shelves(tuple([_opened(keeper, peer, one, now) for one in shelves]))
        case CompareShelf(tag, arc, ranges):
            return ComparedShelf(answer_ranges(_required(keeper, tag).pairs(arc), ranges))
        case GetEntries(tag, keys):
            held = _required(keeper, tag).values
            read = yield Read(tuple(key for key in keys if key in held))
            if not read and any(key in held for key in keys):
                return Entries((), 0)
            found = dict(read)
            looked = 0
            for key in keys:
                if key in held and key not in found:
                    break
                looked += 1
            return Entries(_dated(keeper, [(key, found.get(key)) for key in keys[:looked]]), looked)
        case Touch(tag, pairs):
            _required(keeper, tag)
            records = dict.fromkeys(keeper.revocation(key, value) for key, value in pairs)
            revocations = tuple(record for record in records if record is not None)
            return Wanted(tuple(keeper.touched(peer, tag, pairs, now)), revocations[:REVOCATIONS_LIMIT])
        case TellEntries(tag, entries):
            _required(keeper, tag)
            cards, revocations = yield from _take(keeper, peer, tag, entries, now)
            kept = [card for card in cards if card.key in keeper.cards]
            return Took(len(kept), revocations[:REVOCATIONS_LIMIT])


def _opened(keeper: Keeper, peer: str, asked: Opening, now: float) -> Opened | None:
    shelf = keeper.shelf(asked.tag)
    if shelf is None:
        return None
    # Whoever compares a shelf keeps one.
    keeper.peers.met(peer, asked.tag, asked.arc, now)
    same = shelf.pairs(asked.arc).fingerprint() == asked.fingerprint
    others = tuple(keeper.peers.others(asked.tag, peer, asked.arc))
    return Opened(same, shelf.arc, len(shelf), others)


def _settle(
    keeper: Keeper, peer: str, tag: str, opened: Opened, now: float, outcome: Outcome, budget: _Budget
) -> Generator[Step, Any, None]:
    differences: tuple[Difference, ...] = ()
    complete = True
    if not opened.same:
        differences, complete = yield from _compare(keeper, tag, opened.arc)
    plan = keeper.plan(peer, tag, differences, opened.arc, now)
    outcome.to_revoke = (*outcome.to_revoke, *plan.revoked)[:REVOCATIONS_LIMIT]
    promised = {one.key: one.theirs for one in differences if one.theirs is not None}
    left = list(plan.pull)
    while left and budget.take > 0:
        wanted = tuple(left[:ENTRIES_LIMIT])
        came: Entries = yield Ask(GetEntries(tag, wanted))
        if not came.looked:
            break
        if came.looked > len(wanted):
            raise ManifestError("the peer looked up more voices than were asked for")
        budget.take -= sum(one.size for one in came.entries)
        looked, left = wanted[: came.looked], left[came.looked :]
        cards, revocations = yield from _take(keeper, peer, tag, came.entries, now, looked)
        outcome.to_revoke = (*outcome.to_revoke, *revocations)[:REVOCATIONS_LIMIT]
        outcome.taken += sum(card.key in keeper.cards for card in cards)
        for key in looked:
            held = keeper.cards.get(key)
            if held is None or held.value < promised[key]:
                keeper.broke(peer, key, promised[key], now)
    yield from _push(keeper, peer, tag, plan.push, now, outcome, budget)
    if plan.more or left or not complete:
        keeper.peers.again(peer, tag, now)


def _compare(
    keeper: Keeper, tag: str, theirs: Arc
) -> Generator[Step, Any, tuple[tuple[Difference, ...], bool]]:
    """What differs where both arcs overlap, and whether all of it was looked at."""
    shelf = _required(keeper, tag)
    ours = shelf.arc
    reconciliation = Reconciliation(shelf.pairs(theirs))
    while reconciliation.question and reconciliation.rounds < ROUNDS:
        if len(reconciliation.differences) >= DIFFERENCES:
            break
        said: ComparedShelf = yield Ask(CompareShelf(tag, ours, reconciliation.question))
        reconciliation.take(said.ranges)
    return reconciliation.differences, reconciliation.complete


def _push(
    keeper: Keeper,
    peer: str,
    tag: str,
    pairs: Sequence[Pair],
    now: float,
    outcome: Outcome,
    budget: _Budget,
) -> Generator[Step, Any, None]:
    for at in range(0, len(pairs), PAIRS_TOUCHED):
        some = tuple(pairs[at : at + PAIRS_TOUCHED])
        wanted: Wanted = yield Ask(Touch(tag, some))
        if any(index >= len(some) for index in wanted.indexes):
            raise ManifestError("the peer wants voices that were not named")
        keeper.told(peer, tag, some, now)
        outcome.revocations = (*outcome.revocations, *wanted.revocations)[:REVOCATIONS_LIMIT]
        left = [some[index][0] for index in wanted.indexes]
        while left and budget.tell > 0:
            read = yield Read(tuple(left[:ENTRIES_LIMIT]))
            if not read:
                break
            left = left[len(read) :]
            entries = _dated(keeper, read)
            if not entries:
                continue
            budget.tell -= sum(entry.size for entry in entries)
            took: Took = yield Ask(TellEntries(tag, entries))
            if took.kept > len(entries):
                raise ManifestError("the peer kept more voices than it was told of")
            outcome.told += took.kept
            outcome.revocations = (*outcome.revocations, *took.revocations)[:REVOCATIONS_LIMIT]


def _take(
    keeper: Keeper,
    peer: str,
    tag: str,
    entries: Sequence[Entry],
    now: float,
    asked: Iterable[bytes] | None = None,
) -> Generator[Step, Any, tuple[list[Card], tuple[bytes, ...]]]:
    """Verify voices and put them on the shelves; the cards of those that are in order, and revocations.

    ManifestError for a voice that does not carry the tag, and for one that was not ``asked`` for.
    """
    if not entries:
        return [], ()
    checked: Checked = yield Check(tuple(entries))
    allowed = None if asked is None else set(asked)
    cards, kept, dropped = [], [], []
    for card, entry in zip(checked.cards, entries, strict=True):
        if card is None:
            continue
        if tag not in card.tags:
            raise ManifestError("the peer put a voice on a shelf whose tag it does not carry")
        if allowed is not None and card.key not in allowed:
            raise ManifestError("the peer sent another voice than was asked for")
        cards.append(card)
        verdict = keeper.judge(peer, tag, card.key, card.value, now)
        if verdict is Verdict.RENEWED:
            keeper.renew(card.key, card.value, now)
        if verdict is not Verdict.WANTED:
            continue
        change = keeper.put(card, now, peer)
        dropped += [gone for gone in change.dropped if gone.key != card.key]
        if change.kept:
            kept.append((card, entry))
    if kept or dropped:
        yield Store(tuple(kept), tuple(dropped))
    return cards, checked.revocations


def _dated(keeper: Keeper, read: Iterable[tuple[bytes, Entry | None]]) -> tuple[Entry, ...]:
    """Entries with the epochs that stand on their cards."""
    return tuple(
        replace(entry, epoch=epoch_in(keeper.cards[key].value))
        for key, entry in read
        if entry is not None and key in keeper.cards
    )


def _required(keeper: Keeper, tag: str) -> Shelf:
    shelf = keeper.shelf(tag)
    if shelf is None:
        raise NotFoundError("this shelf is not kept here")
    return shelf
