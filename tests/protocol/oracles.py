"""What must hold of a voice's log and state, told by other means than the code under test.

Each function takes the log in which a history ended and raises AssertionError where it is not what it should
be. Slow and plain on purpose. Used by histories.py. Follows specs/operations.md.
"""

import random
from collections import Counter
from collections.abc import Collection, Mapping

from p2pvoice.protocol import acts
from p2pvoice.protocol.chain import Log
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.operations import Signed
from p2pvoice.protocol.replay import VoiceState


def check_against_the_least(signed: list[Signed], log: Log) -> None:
    """Each chain is the least of all that was signed: step by step the smallest id that may follow."""
    for signer in {one.operation.signer for one in signed}:
        expected: list[Signed] = []
        while True:
            last = expected[-1] if expected else None
            size = sum(len(one.data) for one in expected)
            following = [
                one
                for one in signed
                if one.operation.signer == signer
                and one.operation.previous == (last.id if last else None)
                and one.operation.seq == len(expected) + 1
                and one.operation.time > (last.operation.time if last else 0)
                and size + len(one.data) <= one.operation.quota[1]
            ]
            if not following:
                break
            expected.append(min(following, key=lambda one: one.id))
        assert log.chains().get(signer, ()) == tuple(expected)


def check_one_by_one(signed: list[Signed], log: Log, rnd: random.Random) -> None:
    """All at once, and one by one in any order with retries, is the same."""
    at_once = Log(log.voice)
    joined = at_once.add_all(rnd.sample(signed, len(signed)))
    assert joined >= len(at_once.operations())
    assert at_once.add_all(signed) == 0
    single, waiting = Log(log.voice), rnd.sample(signed, len(signed))
    while any([single.add(one).kept for one in waiting]):
        rnd.shuffle(waiting)
    assert at_once.heads() == single.heads() == log.heads()


def check_chain(signer: bytes, chain: tuple[Signed, ...]) -> None:
    before, moment = None, 0
    for place, one in enumerate(chain, start=1):
        assert (one.operation.signer, one.operation.seq, one.operation.previous) == (signer, place, before)
        assert one.operation.time > moment
        before, moment = one.id, one.operation.time
    if chain:
        count, size = chain[0].operation.quota
        assert len(chain) <= count
        assert sum(len(one.data) for one in chain) <= size


def check_seen(seen: Mapping[Digest, frozenset[Digest]], log: Log) -> None:
    """What an honest signer had seen comes before what they said."""
    places = {one.id: place for place, one in enumerate(log.operations())}
    for one, others in seen.items():
        if one in places:
            assert all(places[other] < places[one] for other in others if other in places)


def check_state(log: Log, state: VoiceState, owners: Collection[bytes]) -> None:
    """Some of the state, told by other means: stars and words from single chains, closed issues, merges."""
    for signer, chain in log.chains().items():
        said = [one for one in chain if isinstance(one.operation.act, acts.Star | acts.Unstar)]
        assert (signer in state.stars) == (bool(said) and isinstance(said[-1].operation.act, acts.Star))
        for place, one in enumerate(chain):
            if not isinstance(one.operation.act, acts.Comment):
                continue
            text, hidden = one.operation.act.text, False
            for later in (other.operation.act for other in chain[place:]):
                if isinstance(later, acts.Retract) and later.target == one.id:
                    text, hidden = "", True
                if isinstance(later, acts.Edit) and later.target == one.id and later.text and not hidden:
                    text = later.text
            assert (state.comments[one.id].text, state.comments[one.id].retracted) == (text, hidden)
    said = log.operations()
    places = {one.id: place for place, one in enumerate(said)}
    for issue in state.issues.values():
        closed = None
        # What is dated back to before its target does nothing.
        for one in said[places[issue.id] :]:
            if one.operation.signer not in (issue.signer, *owners):
                continue
            match one.operation.act:
                case acts.Close(target) if target == issue.id:
                    closed = (one.operation.signer, one.operation.time)
                case acts.Reopen(target) if target == issue.id:
                    closed = None
                case acts.Retract(target) if target == issue.id and one.operation.signer == issue.signer:
                    break
        assert issue.closed == closed
    for proposal in state.proposals.values():
        if proposal.merged is not None:
            later = [one.operation for one in said[places[proposal.id] :] if one.operation.signer in owners]
            merges = [one.act for one in later if isinstance(one.act, acts.Merge)]
            first = next(act for act in merges if act.target == proposal.id)
            assert proposal.merged == (first.release, first.mode)
            assert proposal.state == "merged"
        said_last = Counter(one.signer for one in proposal.reviews)
        assert not said_last or max(said_last.values()) == 1


def orders(state: VoiceState) -> tuple[list[bytes], ...]:
    return tuple(list(part) for part in (state.stars, state.comments, state.issues, state.proposals))
