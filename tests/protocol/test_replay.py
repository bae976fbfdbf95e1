"""What operations add up to: each rule by itself, then random histories that must end alike everywhere."""

import itertools
import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pvoice.protocol.acts import (
    LABELS_LIMIT,
    Act,
    Close,
    Comment,
    Edit,
    Issue,
    Label,
    Merge,
    Proposal,
    Reopen,
    Retract,
    Review,
    Star,
    Unknown,
    Unstar,
)
from p2pvoice.protocol.chain import Verdict
from p2pvoice.protocol.ids import digest_of
from p2pvoice.protocol.operations import Operation, Signed
from p2pvoice.protocol.replay import ReviewState, Totals, VoiceState, replay, totals

from . import histories
from .histories import OWNERS, PUBLIC, VOICE

OWNER, SUCCESSOR, ANNE, BEN, CLEO = PUBLIC[:5]
RELEASE, BASE, OTHER = (digest_of(word) for word in (b"release", b"base", b"other"))


class Said:
    """Operations at rising times; replay knows nothing of chains, so every one is its signer's first."""

    def __init__(self) -> None:
        self.all: list[Signed] = []

    def by(self, signer: bytes, act: Act, time: int | None = None) -> bytes:
        moment = len(self.all) + 1 if time is None else time
        operation = Operation(VOICE, signer, 1, None, moment, act)
        self.all.append(Signed(digest_of(operation.payload), operation, operation.payload))
        return self.all[-1].id

    @property
    def state(self) -> VoiceState:
        return replay(self.all, OWNERS)


@pytest.fixture
def said() -> Said:
    return Said()


def test_nothing_said() -> None:
    assert replay([], OWNERS) == VoiceState()
    assert totals(VoiceState(), lambda one: True) == Totals()


def test_the_last_star_of_a_signer_counts(said: Said) -> None:
    said.by(ANNE, Star())
    said.by(BEN, Star())
    said.by(CLEO, Unstar())
    said.by(ANNE, Star())
    assert list(said.state.stars.items()) == [(ANNE, 1), (BEN, 2)]
    said.by(ANNE, Unstar())
    assert list(said.state.stars.items()) == [(BEN, 2)]
    said.by(ANNE, Star())
    assert list(said.state.stars.items()) == [(BEN, 2), (ANNE, 6)]


def test_the_time_decides_and_not_the_order_of_arrival(said: Said) -> None:
    said.by(ANNE, Unstar(), time=9)
    said.by(ANNE, Star(), time=5)
    assert said.state.stars == {}


def test_of_two_at_one_time_the_smaller_id_comes_first() -> None:
    for act in (Issue("a"), Issue("b")):
        said = Said()
        target = said.by(ANNE, act, time=1)
        said.by(ANNE, Close(target, "anne"), time=2)
        said.by(OWNER, Close(target, "owner"), time=2)
        last = max(said.all[1:], key=lambda one: one.id)
        assert said.state.issues[target].reason == last.operation.act.text


def test_comments_answer_what_they_name_here_or_not(said: Said) -> None:
    one = said.by(ANNE, Comment("first"))
    two = said.by(BEN, Comment("second", one))
    far = said.by(BEN, Comment("third", OTHER))
    assert [post.target for post in said.state.comments.values()] == [None, one, OTHER]
    assert list(said.state.comments) == [one, two, far]
    post = said.state.comments[one]
    assert (post.signer, post.time, post.text, post.edited, post.retracted) == (ANNE, 1, "first", None, False)


@pytest.mark.parametrize("other", [BEN, OWNER])
def test_only_its_signer_edits_or_retracts(said: Said, other: bytes) -> None:
    made = [said.by(ANNE, act) for act in (Comment("a"), Issue("a", "a"), Proposal(RELEASE, BASE, "a"))]
    before = said.state
    for target in made:
        said.by(other, Edit(target, "b", "b"))
        said.by(other, Retract(target))
    assert said.state == before


def test_an_edit_gives_new_words_and_keeps_the_rest(said: Said) -> None:
    comment, issue = said.by(ANNE, Comment("a")), said.by(ANNE, Issue("a", "a"))
    proposal = said.by(ANNE, Proposal(RELEASE, BASE, "a"))
    said.by(ANNE, Edit(comment, "b", "ignored"))
    said.by(ANNE, Edit(issue, "b"))
    said.by(ANNE, Edit(proposal, "b"))
    state = said.state
    assert (state.comments[comment].text, state.comments[comment].edited) == ("b", 4)
    assert (state.issues[issue].title, state.issues[issue].text, state.issues[issue].edited) == ("a", "b", 5)
    assert (state.proposals[proposal].text, state.proposals[proposal].edited) == ("b", 6)
    assert (state.proposals[proposal].release, state.proposals[proposal].time) == (RELEASE, 3)
    said.by(ANNE, Edit(issue, "", "c"))
    assert (said.state.issues[issue].title, said.state.issues[issue].text) == ("c", "")
    # Only an issue can be left without words: it has a title.
    said.by(ANNE, Edit(comment, ""))
    said.by(ANNE, Edit(proposal, ""))
    assert (said.state.comments[comment].text, said.state.proposals[proposal].text) == ("b", "b")


def test_what_is_retracted_stays_hidden(said: Said) -> None:
    comment, issue = said.by(ANNE, Comment("a")), said.by(ANNE, Issue("a", "a"))
    proposal = said.by(ANNE, Proposal(RELEASE, BASE, "a"))
    said.by(OWNER, Label(issue, ("bug",)))
    for target in (comment, issue, proposal):
        said.by(ANNE, Retract(target))
    hidden = said.state
    post, at, offer = hidden.comments[comment], hidden.issues[issue], hidden.proposals[proposal]
    assert (post.text, post.retracted) == ("", True)
    assert (at.title, at.text, at.labels, at.retracted) == ("", "", (), True)
    assert (offer.text, offer.state, offer.retracted) == ("", "withdrawn", True)
    for target in (comment, issue, proposal):
        said.by(ANNE, Edit(target, "again", "again"))
        said.by(ANNE, Reopen(target))
        said.by(OWNER, Label(target, ("bug",)))
        said.by(OWNER, Close(target, "closed"))
    assert said.state == hidden


@pytest.mark.parametrize(("signer", "may"), [(ANNE, True), (OWNER, True), (SUCCESSOR, True), (BEN, False)])
def test_who_may_close_reopen_and_label_an_issue(said: Said, signer: bytes, may: bool) -> None:
    issue = said.by(ANNE, Issue("a"))
    said.by(signer, Label(issue, ("bug", "late")))
    said.by(signer, Close(issue, "done"))
    state = said.state.issues[issue]
    assert state.labels == (("bug", "late") if may else ())
    assert (state.closed, state.reason) == (((signer, 3), "done") if may else (None, ""))
    said.by(ANNE, Close(issue, "anne"))
    said.by(signer, Reopen(issue))
    state = said.state.issues[issue]
    assert (state.closed is None, state.reason) == ((True, "") if may else (False, "anne"))


def test_labels_are_put_on_and_taken_off(said: Said) -> None:
    issue = said.by(ANNE, Issue("a"))
    said.by(OWNER, Label(issue, ("one", "two"), ()))
    said.by(ANNE, Label(issue, ("two", "three"), ("one",)))
    assert said.state.issues[issue].labels == ("two", "three")
    said.by(OWNER, Label(issue, ("two",), ("two",)))
    assert said.state.issues[issue].labels == ("three", "two")
    said.by(OWNER, Label(issue, tuple(map(str, range(LABELS_LIMIT)))))
    assert said.state.issues[issue].labels == ("three", "two", *map(str, range(LABELS_LIMIT - 2)))


def test_a_proposal_is_withdrawn_and_offered_again_by_its_signer_only(said: Said) -> None:
    proposal = said.by(ANNE, Proposal(RELEASE, BASE, "a"))
    for other in (BEN, OWNER):
        said.by(other, Close(proposal))
        assert said.state.proposals[proposal].state == "open"
    said.by(ANNE, Close(proposal))
    for other in (BEN, OWNER):
        said.by(other, Reopen(proposal))
        assert said.state.proposals[proposal].state == "withdrawn"
    said.by(OWNER, Review(proposal, "accept"))
    assert said.state.proposals[proposal].state == "withdrawn"
    said.by(ANNE, Reopen(proposal))
    assert said.state.proposals[proposal].state == "open"


def test_the_owners_review_decides_and_others_advise(said: Said) -> None:
    proposal = said.by(ANNE, Proposal(RELEASE, BASE, "a"))
    said.by(BEN, Review(proposal, "reject", "no"))
    assert said.state.proposals[proposal].state == "open"
    said.by(OWNER, Review(proposal, "accept"))
    assert said.state.proposals[proposal].state == "accepted"
    said.by(SUCCESSOR, Review(proposal, "reject"))
    assert said.state.proposals[proposal].state == "rejected"
    # A proposal that was rejected cannot be withdrawn or offered again; it can be accepted after all.
    said.by(ANNE, Close(proposal))
    said.by(ANNE, Reopen(proposal))
    assert said.state.proposals[proposal].state == "rejected"
    said.by(OWNER, Review(proposal, "accept", "after all"))
    said.by(BEN, Review(proposal, "accept", "yes"))
    state = said.state.proposals[proposal]
    assert state.state == "accepted"
    assert state.reviews == (
        ReviewState(SUCCESSOR, 4, "reject", ""),
        ReviewState(OWNER, 7, "accept", "after all"),
        ReviewState(BEN, 8, "accept", "yes"),
    )


def test_a_merge_is_the_owners_and_final(said: Said) -> None:
    proposal = said.by(ANNE, Proposal(RELEASE, BASE, "a"))
    for other in (ANNE, BEN):
        said.by(other, Merge(proposal, OTHER, "take"))
        assert said.state.proposals[proposal].merged is None
    said.by(OWNER, Merge(proposal, OTHER, "layers"))
    merged = said.state.proposals[proposal]
    assert (merged.state, merged.merged, merged.text) == ("merged", (OTHER, "layers"), "a")
    said.by(OWNER, Merge(proposal, BASE, "take"))
    said.by(ANNE, Close(proposal))
    said.by(ANNE, Reopen(proposal))
    said.by(ANNE, Retract(proposal))
    said.by(ANNE, Edit(proposal, "b"))
    assert said.state.proposals[proposal] == merged
    said.by(OWNER, Review(proposal, "reject"))
    assert said.state.proposals[proposal].state == "merged"


def test_what_names_nothing_or_another_kind_changes_nothing(said: Said) -> None:
    comment, issue = said.by(ANNE, Comment("a")), said.by(ANNE, Issue("a"))
    star = said.by(ANNE, Star())
    before = said.state
    for signer, target in itertools.product((ANNE, OWNER), (comment, star, OTHER)):
        said.by(signer, Label(target, ("bug",)))
        said.by(signer, Close(target))
        said.by(signer, Reopen(target))
    for target in (comment, issue, star, OTHER):
        said.by(OWNER, Review(target, "accept"))
        said.by(OWNER, Merge(target, RELEASE, "take"))
    for target in (star, OTHER):
        said.by(ANNE, Edit(target, "b"))
        said.by(ANNE, Retract(target))
    assert said.state == before


def test_what_acts_before_its_target_does_nothing(said: Said) -> None:
    issue = said.by(ANNE, Issue("a"), time=5)
    said.by(ANNE, Close(issue), time=4)
    assert said.state.issues[issue].closed is None


def test_an_unknown_act_changes_nothing(said: Said) -> None:
    said.by(OWNER, Unknown("wave", {"target": OTHER}))
    assert said.state == VoiceState()


def test_totals_count_whom_one_follows(said: Said) -> None:
    for signer in (OWNER, ANNE, BEN):
        said.by(signer, Star())
    for signer in (ANNE, BEN):
        open_, closed, hidden = (said.by(signer, Issue(word)) for word in ("a", "b", "c"))
        said.by(OWNER, Close(closed))
        said.by(signer, Retract(hidden))
        said.by(signer, Comment("a", open_))
        said.by(signer, Retract(said.by(signer, Comment("a"))))
        states = [said.by(signer, Proposal(RELEASE, BASE, word)) for word in "abcdef"]
        said.by(OWNER, Review(states[0], "accept"))
        said.by(OWNER, Review(states[1], "reject"))
        said.by(signer, Close(states[2]))
        said.by(signer, Retract(states[3]))
        said.by(OWNER, Merge(states[4], RELEASE, "take"))
    said.by(CLEO, Comment("only words"))
    said.by(CLEO, Unstar())
    assert totals(said.state, {OWNER, ANNE}.__contains__) == Totals(2, 1, 1, 2, 2, 5, 2)
    assert totals(said.state, lambda one: True) == Totals(3, 3, 2, 4, 4, 10, 4)
    assert totals(said.state, {CLEO}.__contains__) == Totals(comments=1, signers=1)


def test_the_order_of_arrival_changes_nothing(said: Said) -> None:
    issue = said.by(ANNE, Issue("a"))
    said.by(OWNER, Close(issue, "b"))
    said.by(ANNE, Reopen(issue))
    said.by(OWNER, Label(issue, ("bug",)))

    def states() -> Iterable[VoiceState]:
        return (replay(order, OWNERS) for order in itertools.permutations(said.all))

    assert all(state == said.state for state in states())
    assert said.state.issues[issue].closed is None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_random_histories_end_alike_on_every_node(rnd: random.Random) -> None:
    histories.run(rnd)


def test_longer_histories_end_alike_on_every_node() -> None:
    # The histories above are drawn small; these are of full length, and reach every verdict.
    counts: Counter[str] = Counter()
    for number in range(240):
        counts += histories.run(random.Random(f"default {number}")).counts
    for reached in (*(verdict.value for verdict in Verdict), "ahead", "histories with a fork"):
        assert counts[reached] > 50, reached
