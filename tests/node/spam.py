"""Floods of validly signed operations on one voice, and what is left of honest people's words after them.

For test_community_room.py and for tests/bench/spam.py, which runs it at full size. The honest ones: the
author, somebody followed, a stranger whom the author has answered, and strangers who came before the flood.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from p2pvoice.node.community.reading import LogReader
from p2pvoice.node.identity import generate
from p2pvoice.protocol.acts import Comment, Issue, Star
from p2pvoice.protocol.operations import CHAIN_LIMIT, Signed, VoiceName

from .community_parts import Desk, Writer, interleaved

EARLY = 40
"""Strangers who said something before the flood."""


@dataclass(frozen=True)
class Honest:
    """Who said something honest, and what."""

    author: Writer
    followed: Writer
    answered: Writer
    early: list[Writer]

    @property
    def said(self) -> list[Signed]:
        return interleaved([self.author, self.followed, self.answered, *self.early])

    def visible(self, desk: Desk, voice: VoiceName) -> int:
        """How many of the honest operations are still in the log."""
        kept = {one.id for one in LogReader(desk.database).operations(voice)}
        return sum(one.id in kept for one in self.said)


def settle(desk: Desk) -> tuple[VoiceName, Honest]:
    """A voice with honest words on it, all of them taken in."""
    owner = generate()
    voice = VoiceName(owner.author_public, "storyteller")
    author, followed, answered = Writer(voice, key=owner.author), Writer(voice), Writer(voice)
    desk.following.follow(followed.author)
    early = [Writer(voice) for _ in range(EARLY)]
    for number, writer in enumerate(early):
        writer.say(Star())
        writer.say(Comment(f"{number} likes it"))
    followed.say(Star())
    question = answered.say(Issue("It hums", "At the end of sentences."))
    author.say(Comment("So it does.", question.id))
    honest = Honest(author, followed, answered, early)
    desk.take(honest.said)
    assert honest.visible(desk, voice) == len(honest.said)
    return voice, honest


def flood(voice: VoiceName, count: int, keys: int, *, text: str = "buy at once") -> Iterator[list[Signed]]:
    """``count`` spam operations by so many keys, in batches as they would come from peers."""
    per_key = min(-(-count // keys), CHAIN_LIMIT)
    batch: list[Signed] = []
    sent = 0
    for number in range(keys):
        writer = Writer(voice)
        for place in range(per_key):
            if sent == count:
                break
            batch.append(writer.say(Comment(f"{text} {number} {place}")))
            sent += 1
            if len(batch) == 64:
                yield batch
                batch = []
    # One key may not say more than its chain holds; what it signs beyond that is refused, again and again.
    while sent < count:
        batch.append(writer.said[sent % len(writer.said)])
        sent += 1
        if len(batch) == 64:
            yield batch
            batch = []
    if batch:
        yield batch
