"""What this node's user says of voices: checked against what is known, signed, and kept.

One act at a time, so that nobody's own chain forks within one node. An act that would change nothing is not
signed. What lost its place to another operation of the same key is signed again here. Not for telling others
(telling.py) nor for what acts exist (protocol/acts.py). Follows specs/community.md, "Acting".
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import trio

from p2pvoice.node.community.checking import check_act
from p2pvoice.node.community.lines import Line, Lines
from p2pvoice.node.community.log import Logs
from p2pvoice.node.community.states import States
from p2pvoice.node.identity import Identity
from p2pvoice.protocol.acts import Act, Star, Unstar
from p2pvoice.protocol.errors import KeyLockedError, P2PVoiceError
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.operations import Signed, VoiceName


@dataclass(frozen=True)
class Acted:
    """What became of an act: the signed operation, or why there was nothing to do."""

    line: Line
    signed: Signed | None
    nothing: str = ""


class Acting:
    """Signs with the node's author key."""

    def __init__(
        self,
        logs: Logs,
        lines: Lines,
        states: States,
        identity: Identity,
        disk: trio.CapacityLimiter,
    ) -> None:
        self._logs = logs
        self._lines = lines
        self._states = states
        self._identity = identity
        self._disk = disk
        self._lock = trio.Lock()

    async def act(self, voice: VoiceName, act: Act) -> Acted:
        """Check an act on a voice, sign it and keep it; it is on disk when this returns.

        With a target the operation joins the log in which the target is, which may be that of a former key
        of the author's; else that of the latest key with which the voice was published. Raises what
        ``check_act`` and ``Logs.append`` raise, KeyLockedError while the author key is locked, and
        RevokedError for a voice that was revoked. Not to be cancelled half-way.
        """
        with trio.CancelScope(shield=True):
            async with self._lock:
                return await trio.to_thread.run_sync(self._act, voice, act, limiter=self._disk)

    def _act(self, voice: VoiceName, act: Act) -> Acted:
        line = self._lines.of_voice(voice)
        stone = self._lines.revoked(line)
        if stone is not None:
            raise stone.error()
        nothing = check_act(act, self._states.of(line), self._identity.author_public, line.owners)
        if nothing:
            return Acted(line, None, nothing)
        key = self._key()
        place = self._place(line, voice, getattr(act, "target", None))
        return Acted(line, self._logs.append(place, act, key, line=line.voices))

    def _key(self) -> Any:
        try:
            return self._identity.author
        except KeyLockedError as error:
            raise KeyLockedError(
                "the author key is locked, and what you say is signed with it", hint="p2pvoice key unlock"
            ) from error

    def _place(self, line: Line, voice: VoiceName, target: Digest | None) -> VoiceName:
        if target is not None:
            for name, digest in self._logs.named(target, target):
                if digest == target and name in line.voices:
                    return name
        # Whoever comes to the voice from now on comes by its author's present key.
        return self._lines.newest(line) or voice

    async def sign_again(self) -> list[Signed]:
        """Sign the user's operations again that lost their place; what was signed. Waits for an unlocked key.

        What the chain says by now in the same words is not said twice, and of stars the last one stands.
        """
        with trio.CancelScope(shield=True):
            async with self._lock:
                return await trio.to_thread.run_sync(self._sign_again, limiter=self._disk)

    def _sign_again(self) -> list[Signed]:
        signed: list[Signed] = []
        if self._identity.locked:
            return signed
        renamed: dict[Digest, Digest] = {}
        for voice, lost in self._logs.lost():
            operation, again = lost.operation, None
            if operation.signer == self._identity.author_public:
                act = operation.act
                target = getattr(act, "target", None)
                if target in renamed:
                    act = cast(Act, replace(cast(Any, act), target=renamed[target]))
                try:
                    if not self._is_said(voice, lost, act):
                        again = self._logs.append(voice, act, self._identity.author)
                except P2PVoiceError:
                    # There is no place left for it in the chain: it stays lost.
                    again = None
            if again is not None:
                renamed[lost.id] = again.id
                signed.append(again)
            self._logs.settled(lost)
        return signed

    def _is_said(self, voice: VoiceName, lost: Signed, act: Act) -> bool:
        said = [one for one in self._logs.operations(voice) if one.operation.signer == lost.operation.signer]
        if isinstance(act, Star | Unstar):
            return any(
                isinstance(one.operation.act, Star | Unstar) and one.operation.time > lost.operation.time
                for one in said
            )
        return any(one.operation.act == act for one in said)
