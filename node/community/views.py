"""What is said of a voice, shaped for people: JSON for the RPC and for the daemon's page.

Every row names its signer, whether that is the user (``yours``) and whether the signer counts (``counted``);
``shown`` is true for what is unfolded by default: what counts, and what somebody who counts has answered.
Times are in seconds since 1970. Not for how it is printed. All functions block. Follows specs/community.md,
"What is shown".
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

from p2pvoice.node.community.lines import Line
from p2pvoice.node.community.reading import LogReader
from p2pvoice.node.community.standing import Standing
from p2pvoice.node.community.states import States
from p2pvoice.node.names import Names
from p2pvoice.protocol.acts import Edit, name_of
from p2pvoice.protocol.ids import Digest, author_id, cid_of
from p2pvoice.protocol.operations import Signed, operation_id
from p2pvoice.protocol.replay import IssueState, Post, ProposalState, VoiceState, totals

LOG_LIMIT = 500
"""Entries of a voice's log that are given at once, the newest ones."""

THREAD_LIMIT = 2_000
"""Comments that are given at once, the earliest ones."""


class Views:
    """Reads states for one user: who counts is that user's choice."""

    def __init__(
        self,
        logs: LogReader,
        states: States,
        standing: Standing,
        names: Names,
        own_keys: Callable[[], Collection[bytes]],
    ) -> None:
        self._logs = logs
        self._states = states
        self._standing = standing
        self._names = names
        self._own_keys = own_keys

    def look(self, line: Line) -> "View":
        """The view of one voice as it stands now."""
        return View(
            line,
            self._states.of(line),
            self._standing.on(line),
            self._own_keys(),
            self._names,
        )

    def figures(self, line: Line) -> dict[str, Any]:
        """What a row of `find`, `list` and `show` tells of a voice."""
        view = self.look(line)
        return {
            "stars": view.totals["stars"],
            "stars_others": view.others["stars"],
            "starred": view.starred,
            "comments": view.totals["comments"],
            "issues_open": view.totals["issues_open"],
            "proposals_open": view.totals["proposals_open"],
        }

    def log(self, line: Line, *, everything: bool) -> dict[str, Any]:
        """The log of a voice, newest first; others' operations only with ``everything``."""
        view = self.look(line)
        said = sorted(
            (one for voice in line.voices for one in self._logs.operations(voice)),
            key=lambda one: one.order,
            reverse=True,
        )
        chosen = [one for one in said if everything or one.operation.signer in view.counted]
        return view.facts() | {
            "entries": [view.entry(one) for one in chosen[:LOG_LIMIT]],
            "omitted": max(0, len(chosen) - LOG_LIMIT),
            "folded": len(said) - len(chosen),
        }


class View:
    """One voice's state, as one user sees it."""

    def __init__(
        self,
        line: Line,
        state: VoiceState,
        counted: Collection[bytes],
        own: Collection[bytes],
        names: Names,
    ) -> None:
        self.line = line
        self.state = state
        self.counted = counted
        self._own = own
        self._names = names
        self._signers: dict[bytes, dict[str, Any]] = {}
        self.totals = asdict(totals(state, lambda signer: signer in counted))
        self.others = asdict(totals(state, lambda signer: signer not in counted))

    @property
    def starred(self) -> bool:
        """Whether the user has starred the voice."""
        return any(key in self.state.stars for key in self._own)

    def facts(self) -> dict[str, Any]:
        """What every answer about a voice begins with."""
        return {
            "author": self.line.authors[-1],
            "slug": self.line.slug,
            "totals": self.totals,
            "others": self.others,
            "starred": self.starred,
        }

    def signer(self, key: bytes) -> dict[str, Any]:
        """Who somebody is to the user, for the row of what they said."""
        found = self._signers.get(key)
        if found is None:
            author = author_id(key)
            found = self._signers[key] = {
                "signer": author,
                **self._names.whose(author),
                "owner": key in self.line.owners,
                "yours": key in self._own,
                "counted": key in self.counted,
            }
        return found

    def comments(self) -> dict[str, Any]:
        """The comments on the voice itself as a thread: in reading order, each with its ``depth``."""
        return self.facts() | self._thread(None)

    def issues(self) -> dict[str, Any]:
        """Every issue that was not retracted, the newest first."""
        rows = [self._issue_row(one) for one in self.state.issues.values() if not one.retracted]
        return self.facts() | {"issues": rows[::-1]}

    def issue(self, issue: IssueState) -> dict[str, Any]:
        """One issue with the thread below it."""
        return self.facts() | {"issue": self._issue_row(issue)} | self._thread(issue.id)

    def proposals(self) -> dict[str, Any]:
        """Every proposal that was not retracted, the newest first."""
        rows = [self._proposal_row(one) for one in self.state.proposals.values() if not one.retracted]
        return self.facts() | {"proposals": rows[::-1]}

    def proposal(self, proposal: ProposalState) -> dict[str, Any]:
        """One proposal with the thread below it."""
        return self.facts() | {"proposal": self._proposal_row(proposal)} | self._thread(proposal.id)

    def comment(self, post: Post) -> dict[str, Any]:
        """One comment with the thread below it."""
        return self.facts() | {"comment": self._post_row(post, 0)} | self._thread(post.id)

    # -- rows --------------------------------------------------------------------------------------------

    def entry(self, one: Signed) -> dict[str, Any]:
        """One operation of the log; of words that were taken back only that they were there."""
        act, body = one.operation.act, dict(one.operation.act.body())
        target = body.get("target")
        about: Digest = act.target if isinstance(act, Edit) else one.id
        thing = (
            self.state.comments.get(about) or self.state.issues.get(about) or self.state.proposals.get(about)
        )
        hidden = thing is not None and thing.retracted
        row: dict[str, Any] = {
            "operation": operation_id(one.id),
            "act": name_of(act),
            "time": _seconds(one.operation.time),
            **self.signer(one.operation.signer),
            "target": operation_id(target) if isinstance(target, bytes) and len(target) == 32 else None,
            "retracted": hidden,
        }
        for key in ("title", "text", "verdict", "mode"):
            if isinstance(body.get(key), str):
                row[key] = "" if hidden and key in ("title", "text") else body[key]
        for key in ("release", "base"):
            if isinstance(body.get(key), bytes) and len(body[key]) == 32:
                row[key] = cid_of(body[key])
        for key in ("add", "remove"):
            if isinstance(body.get(key), list):
                row[key] = [label for label in body[key] if isinstance(label, str)]
        return row

    def _thread(self, root: Digest | None) -> dict[str, Any]:
        """What answers ``root``, and what answers that; without a root what stands on the voice itself.

        What answers something that is not here stands there, too, with the name of what it answers.
        """
        below: dict[Digest | None, list[Post]] = {}
        known = self.state.comments.keys() | self.state.issues.keys() | self.state.proposals.keys()
        for post in self.state.comments.values():
            below.setdefault(post.target if post.target in known else None, []).append(post)
        ordered: list[tuple[Post, int]] = []
        pending = [(post, 0) for post in reversed(below.get(root, []))]
        while pending:
            post, depth = pending.pop()
            ordered.append((post, depth))
            pending += [(answer, depth + 1) for answer in reversed(below.get(post.id, []))]
        # From the last to the first: whether anything below it counts is known before a post itself.
        shown: set[Digest] = set()
        for post, _ in reversed(ordered):
            counts = post.signer in self.counted and not post.retracted
            if counts or post.id in shown:
                shown.add(post.id)
                if post.target is not None:
                    shown.add(post.target)
        rows = [self._post_row(post, depth, shown=post.id in shown) for post, depth in ordered]
        return {"comments": rows[:THREAD_LIMIT], "comments_omitted": max(0, len(rows) - THREAD_LIMIT)}

    def _post_row(self, post: Post, depth: int, *, shown: bool = True) -> dict[str, Any]:
        return {
            **self._words(post),
            "text": post.text,
            "target": operation_id(post.target) if post.target is not None else None,
            "depth": depth,
            "shown": shown,
        }

    def _issue_row(self, issue: IssueState) -> dict[str, Any]:
        closed = None
        if issue.closed is not None:
            closer, time = issue.closed
            closed = {"time": _seconds(time), "reason": issue.reason, **self.signer(closer)}
        return {
            **self._words(issue),
            "title": issue.title,
            "text": issue.text,
            "labels": list(issue.labels),
            "state": "open" if closed is None else "closed",
            "closed": closed,
            "comments": self._answers(issue.id),
            "shown": issue.signer in self.counted or self._noticed(issue.id, issue.closed),
        }

    def _proposal_row(self, proposal: ProposalState) -> dict[str, Any]:
        merged = None
        if proposal.merged is not None:
            merged = {"release": cid_of(proposal.merged[0]), "mode": proposal.merged[1]}
        reviews = [
            {
                "verdict": one.verdict,
                "text": one.text,
                "time": _seconds(one.time),
                **self.signer(one.signer),
            }
            for one in proposal.reviews
        ]
        by_counted = any(one.signer in self.counted for one in proposal.reviews)
        return {
            **self._words(proposal),
            "text": proposal.text,
            "release": cid_of(proposal.release),
            "base": cid_of(proposal.base),
            "state": proposal.state,
            "reviews": reviews,
            "merged": merged,
            "comments": self._answers(proposal.id),
            "shown": proposal.signer in self.counted or by_counted or self._noticed(proposal.id, merged),
        }

    def _words(self, thing: Post | IssueState | ProposalState) -> dict[str, Any]:
        return {
            "operation": operation_id(thing.id),
            "time": _seconds(thing.time),
            "edited": _seconds(thing.edited) if thing.edited is not None else None,
            "retracted": thing.retracted,
            **self.signer(thing.signer),
        }

    def _answers(self, target: Digest) -> int:
        return self._answered[0][target]

    def _noticed(self, target: Digest, decided: object) -> bool:
        """Whether somebody who counts did something about it."""
        return decided is not None or target in self._answered[1]

    @cached_property
    def _answered(self) -> tuple[Counter[Digest | None], set[Digest | None]]:
        """How many comments answer each thing, and what was answered by somebody who counts."""
        posts = [one for one in self.state.comments.values() if not one.retracted]
        counting = {one.target for one in posts if one.signer in self.counted}
        return Counter(one.target for one in posts), counting


def folded(rows: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """How many rows are folded, and by how many signers."""
    hidden = [row for row in rows if not row["shown"]]
    return len(hidden), len({row["signer"] for row in hidden})


def _seconds(time: int) -> float:
    return round(time / 1000, 3)
