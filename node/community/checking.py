"""Whether an act makes sense before it is signed: what it is aimed at is there, and its signer may do it.

What replay would pass over without a word is a clear error here, because nothing that was signed can be
called back. Pure. Follows specs/community.md, "Acting" and specs/operations.md, "Acts".
"""

from collections.abc import Collection

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
    Unstar,
)
from p2pvoice.protocol.errors import ConflictError, NotFoundError, PolicyError, UsageError
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.operations import operation_id
from p2pvoice.protocol.replay import IssueState, Post, ProposalState, VoiceState

_Thing = Post | IssueState | ProposalState


def check_act(act: Act, state: VoiceState, me: bytes, owners: Collection[bytes]) -> str:
    """Why the act would change nothing, in words for the user; "" when it changes something.

    Raises NotFoundError for a target that is not there, PolicyError for what the signer ``me`` may not do,
    ConflictError for what the state forbids, and UsageError for what makes no sense.
    """
    match act:
        case Star():
            return "you have starred it already" if me in state.stars else ""
        case Unstar():
            return "" if me in state.stars else "you have not starred it"
        case Comment(_, target):
            if target is not None:
                _standing(_find(state, target))
        case Issue() | Proposal():
            return ""
        case Edit():
            return _edit(act, _mine(_find(state, act.target), me, "edit"))
        case Retract(target):
            thing = _mine(_find(state, target), me, "retract")
            if isinstance(thing, ProposalState) and thing.merged is not None:
                raise ConflictError("the proposal was merged: its words stay with the voice")
            return "it is retracted already" if thing.retracted else ""
        case Label():
            return _label(act, _issue(state, act.target, me, owners))
        case Close() | Reopen():
            return _close(act, state, me, owners)
        case Review(target, verdict, text):
            return _review(_proposal(state, target), me, verdict, text)
        case Merge(target):
            if me not in owners:
                raise PolicyError("only the voice's author merges a proposal")
            if _proposal(state, target).merged is not None:
                raise ConflictError("the proposal was merged already")
    return ""


def find_thing(state: VoiceState, target: Digest) -> _Thing | None:
    """The comment, issue or proposal of an id."""
    return state.comments.get(target) or state.issues.get(target) or state.proposals.get(target)


def kind_of(thing: _Thing) -> str:
    """What a thing is called."""
    names = {Post: "comment", IssueState: "issue", ProposalState: "proposal"}
    return names[type(thing)]


def _find(state: VoiceState, target: Digest) -> _Thing:
    thing = find_thing(state, target)
    if thing is None:
        raise NotFoundError(
            f"{operation_id(target)[:10]} is no comment, issue or proposal on this voice",
            hint="p2pvoice log VOICE",
        )
    return thing


def _standing(thing: _Thing) -> None:
    if thing.retracted:
        raise ConflictError(f"the {kind_of(thing)} was retracted by its author")


def _mine(thing: _Thing, me: bytes, verb: str) -> _Thing:
    if thing.signer != me:
        raise PolicyError(
            f"only who wrote a {kind_of(thing)} can {verb} it, and this key did not",
            hint="p2pvoice comment VOICE TEXT --reply OP   (to answer it)",
        )
    return thing


def _edit(act: Edit, thing: _Thing) -> str:
    _standing(thing)
    if act.title is not None and not isinstance(thing, IssueState):
        raise UsageError(f"a {kind_of(thing)} has no title")
    if not act.text and not isinstance(thing, IssueState):
        raise UsageError(
            f"a {kind_of(thing)} has a text", hint="p2pvoice comment --retract OP   (to take it back)"
        )
    same_title = not isinstance(thing, IssueState) or act.title in (None, thing.title)
    return "that is what it says already" if act.text == thing.text and same_title else ""


def _issue(state: VoiceState, target: Digest, me: bytes, owners: Collection[bytes]) -> IssueState:
    issue = _find(state, target)
    if not isinstance(issue, IssueState):
        raise UsageError(f"{operation_id(target)[:10]} is a {kind_of(issue)}, not an issue")
    if issue.signer != me and me not in owners:
        raise PolicyError(
            "only the voice's author and who opened an issue can label, close or reopen it",
            hint="p2pvoice comment VOICE TEXT --reply OP   (to say that it should be)",
        )
    _standing(issue)
    return issue


def _label(act: Label, issue: IssueState) -> str:
    after = [label for label in issue.labels if label not in act.remove]
    after += [label for label in act.add if label not in after]
    if len(after) > LABELS_LIMIT:
        raise ConflictError(f"an issue has at most {LABELS_LIMIT} labels", hint="remove one: -LABEL")
    return "its labels are these already" if tuple(after) == issue.labels else ""


def _close(act: Close | Reopen, state: VoiceState, me: bytes, owners: Collection[bytes]) -> str:
    thing = _find(state, act.target)
    closing = isinstance(act, Close)
    if isinstance(thing, ProposalState):
        _mine(thing, me, "withdraw")
        _standing(thing)
        if thing.state in ("merged", "rejected"):
            raise ConflictError(f"the proposal was {thing.state}")
        if closing:
            return "it is withdrawn already" if thing.state == "withdrawn" else ""
        return "" if thing.state == "withdrawn" else "it is open already"
    issue = _issue(state, act.target, me, owners)
    if closing:
        return "it is closed already" if issue.closed is not None else ""
    return "it is open already" if issue.closed is None else ""


def _proposal(state: VoiceState, target: Digest) -> ProposalState:
    proposal = _find(state, target)
    if not isinstance(proposal, ProposalState):
        raise UsageError(f"{operation_id(target)[:10]} is a {kind_of(proposal)}, not a proposal")
    return proposal


def _review(proposal: ProposalState, me: bytes, verdict: str, text: str) -> str:
    _standing(proposal)
    if proposal.state in ("merged", "withdrawn"):
        raise ConflictError(f"the proposal was {proposal.state}")
    same = any((one.signer, one.verdict, one.text) == (me, verdict, text) for one in proposal.reviews)
    return "you have said so already" if same else ""
