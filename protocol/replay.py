"""Replay: what the operations on a voice add up to, the same on every node that holds the same ones.

For folding a voice's log into its state, and for counting what one reader wants to see of it. Pure: no clock,
no order of arrival, nobody followed enters the state. What a signer may not do, and what refers to something
that is not there, changes nothing. Not for whether an operation belongs to its chain (chain.py). Follows
specs/operations.md.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from p2pvoice.protocol.acts import (
    LABELS_LIMIT,
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
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.operations import Signed


@dataclass(frozen=True)
class Post:
    """Words of one signer: a comment. ``time`` and ``edited`` are in milliseconds since 1970.

    ``target`` is what it answers, whether that is here or not; retracted words are empty.
    """

    id: Digest
    signer: bytes
    time: int
    text: str
    target: Digest | None = None
    edited: int | None = None
    retracted: bool = False


@dataclass(frozen=True)
class IssueState:
    """An issue as it stands. ``closed`` says who closed it and when; None while it is open."""

    id: Digest
    signer: bytes
    time: int
    title: str
    text: str
    labels: tuple[str, ...] = ()
    closed: tuple[bytes, int] | None = None
    reason: str = ""
    edited: int | None = None
    retracted: bool = False


@dataclass(frozen=True)
class ReviewState:
    """The last review of one signer."""

    signer: bytes
    time: int
    verdict: str
    text: str


@dataclass(frozen=True)
class ProposalState:
    """A proposal as it stands: ``open``, ``accepted``, ``rejected``, ``withdrawn`` or ``merged``.

    ``merged`` is the release that it became, with the mode.
    """

    id: Digest
    signer: bytes
    time: int
    release: Digest
    base: Digest
    text: str
    state: str = "open"
    reviews: tuple[ReviewState, ...] = ()
    merged: tuple[Digest, str] | None = None
    edited: int | None = None
    retracted: bool = False


@dataclass(frozen=True)
class VoiceState:
    """What is said of a voice. Everything is in the order of its time."""

    stars: dict[bytes, int] = field(default_factory=dict)
    comments: dict[Digest, Post] = field(default_factory=dict)
    issues: dict[Digest, IssueState] = field(default_factory=dict)
    proposals: dict[Digest, ProposalState] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """How much is said of a voice by a number of signers."""

    stars: int = 0
    comments: int = 0
    issues_open: int = 0
    issues: int = 0
    proposals_open: int = 0
    proposals: int = 0
    signers: int = 0


def replay(operations: Iterable[Signed], owners: Collection[bytes]) -> VoiceState:
    """The state of a voice; ``owners`` are its author's keys. The order of ``operations`` does not matter."""
    state = VoiceState()
    for one in sorted(operations, key=lambda one: one.order):
        _apply(state, one, one.operation.signer in owners)
    return state


def totals(state: VoiceState, counted: Callable[[bytes], bool]) -> Totals:
    """The figures of those signers that are ``counted``."""
    stars = [signer for signer in state.stars if counted(signer)]
    comments = [one for one in state.comments.values() if counted(one.signer) and not one.retracted]
    issues = [one for one in state.issues.values() if counted(one.signer) and not one.retracted]
    proposals = [one for one in state.proposals.values() if counted(one.signer) and not one.retracted]
    signers = {*stars, *(one.signer for said in (comments, issues, proposals) for one in said)}
    return Totals(
        stars=len(stars),
        comments=len(comments),
        issues_open=sum(one.closed is None for one in issues),
        issues=len(issues),
        proposals_open=sum(one.state in ("open", "accepted") for one in proposals),
        proposals=len(proposals),
        signers=len(signers),
    )


def _apply(state: VoiceState, one: Signed, owner: bool) -> None:
    signer, time = one.operation.signer, one.operation.time
    match one.operation.act:
        case Star():
            # A second star says nothing new: the first one's time stays, and the order with it.
            state.stars.setdefault(signer, time)
        case Unstar():
            state.stars.pop(signer, None)
        case Comment(text, target):
            state.comments[one.id] = Post(one.id, signer, time, text, target)
        case Issue(title, text):
            state.issues[one.id] = IssueState(one.id, signer, time, title, text)
        case Proposal(release, base, text):
            state.proposals[one.id] = ProposalState(one.id, signer, time, release, base, text)
        case Edit():
            _edit(state, one.operation.act, signer, time)
        case Retract(target):
            _retract(state, target, signer)
        case Label() | Close() | Reopen():
            _issue(state, one.operation.act, signer, time, owner)
        case Review():
            _review(state, one.operation.act, signer, time, owner)
        case Merge(target, release, mode):
            proposal = state.proposals.get(target)
            if owner and proposal is not None and proposal.merged is None:
                state.proposals[target] = replace(proposal, state="merged", merged=(release, mode))
        case Unknown():
            pass


def _edit(state: VoiceState, act: Edit, signer: bytes, time: int) -> None:
    post = state.comments.get(act.target)
    if post is not None and post.signer == signer and not post.retracted and act.text:
        state.comments[act.target] = replace(post, text=act.text, edited=time)
    issue = state.issues.get(act.target)
    if issue is not None and issue.signer == signer and not issue.retracted:
        title = act.title if act.title is not None else issue.title
        state.issues[act.target] = replace(issue, title=title, text=act.text, edited=time)
    # What was merged is part of the voice's history: its words stay.
    proposal = state.proposals.get(act.target)
    if proposal is None or proposal.signer != signer or proposal.retracted or proposal.merged is not None:
        return
    if act.text:
        state.proposals[act.target] = replace(proposal, text=act.text, edited=time)


def _retract(state: VoiceState, target: Digest, signer: bytes) -> None:
    post = state.comments.get(target)
    if post is not None and post.signer == signer:
        state.comments[target] = replace(post, text="", retracted=True)
    issue = state.issues.get(target)
    if issue is not None and issue.signer == signer:
        state.issues[target] = replace(issue, title="", text="", labels=(), retracted=True)
    proposal = state.proposals.get(target)
    if proposal is not None and proposal.signer == signer and proposal.merged is None:
        state.proposals[target] = replace(proposal, text="", state="withdrawn", retracted=True)


def _issue(state: VoiceState, act: Label | Close | Reopen, signer: bytes, time: int, owner: bool) -> None:
    issue = state.issues.get(act.target)
    if issue is not None and (owner or issue.signer == signer) and not issue.retracted:
        match act:
            case Label(_, add, remove):
                labels = [label for label in issue.labels if label not in remove]
                labels += [label for label in add if label not in labels]
                state.issues[act.target] = replace(issue, labels=tuple(labels[:LABELS_LIMIT]))
            case Close(_, text):
                state.issues[act.target] = replace(issue, closed=(signer, time), reason=text)
            case Reopen():
                state.issues[act.target] = replace(issue, closed=None, reason="")
    proposal = state.proposals.get(act.target)
    if proposal is not None and proposal.signer == signer and not proposal.retracted:
        match act:
            case Close() if proposal.state in ("open", "accepted"):
                state.proposals[act.target] = replace(proposal, state="withdrawn")
            case Reopen() if proposal.state == "withdrawn":
                state.proposals[act.target] = replace(proposal, state="open")


def _review(state: VoiceState, act: Review, signer: bytes, time: int, owner: bool) -> None:
    proposal = state.proposals.get(act.target)
    if proposal is None:
        return
    said = ReviewState(signer, time, act.verdict, act.text)
    reviews = (*(one for one in proposal.reviews if one.signer != signer), said)
    verdict = proposal.state
    if owner and verdict in ("open", "accepted", "rejected"):
        verdict = {"accept": "accepted", "reject": "rejected"}[act.verdict]
    state.proposals[act.target] = replace(proposal, reviews=reviews, state=verdict)
