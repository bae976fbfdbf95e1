"""The world that the runs of tests/scale measure: which voices there are, who keeps them, and who dies.

Pure and seeded: every process computes the same plan from the same few numbers. Not for running anything
(hosts.py, simulation.py). Follows specs/scale.md, "The world".
"""

import random
from dataclasses import dataclass
from functools import cached_property

TAGS = 60
"""Different tags, one to a voice; the first has some 300 voices of 1,000, the last three."""

SKEW = 1.12
"""Exponent of Zipf's law: the tag of rank r has voices in proportion to 1 / r ** SKEW."""


def zipf(voices: int, tags: int = TAGS, skew: float = SKEW) -> list[int]:
    """How many voices each tag has, most first: at least three of each as long as they last, ``voices`` in
    all.
    """
    tags = min(tags, max(1, voices // 6))
    weights = [1 / rank**skew for rank in range(1, tags + 1)]
    counts = [max(3, int(voices * weight / sum(weights))) for weight in weights]
    counts[0] = max(3, counts[0] + voices - sum(counts))
    while sum(counts) > voices:
        counts[counts.index(max(counts))] -= 1
    return counts


@dataclass(frozen=True)
class Voice:
    """One voice: its number, its tags, and the hosts that keep it."""

    number: int
    tags: tuple[str, ...]
    keepers: tuple[int, ...]

    @property
    def slug(self) -> str:
        return f"voice-{self.number}"


@dataclass(frozen=True)
class Plan:
    """``hosts`` in groups of ``group``, one process each; ``dead`` groups, the last ones, are killed.

    ``created`` is when all voices say they were made, so that every process signs the same releases.
    """

    hosts: int
    voices: int
    group: int
    dead: int
    copies: int = 1
    seed: int = 7
    created: int = 1_700_000_000

    @property
    def groups(self) -> list[range]:
        return [range(n, min(n + self.group, self.hosts)) for n in range(0, self.hosts, self.group)]

    @property
    def killed(self) -> frozenset[int]:
        """Hosts of the groups that are killed. Numbers say nothing: peer ids and voices are drawn by
        chance.
        """
        gone = self.groups[len(self.groups) - self.dead :] if self.dead else []
        return frozenset(host for group in gone for host in group)

    @cached_property
    def all_voices(self) -> list[Voice]:
        chance = random.Random(self.seed)
        counts = zipf(self.voices)
        ranked = [f"tag/t{rank}" for rank, count in enumerate(counts, 1) for _ in range(count)]
        chance.shuffle(ranked)
        return [
            Voice(
                number,
                (tag,),
                tuple(chance.sample(range(self.hosts), min(self.copies, self.hosts))),
            )
            for number, tag in enumerate(ranked)
        ]

    def kept_by(self, host: int) -> list[Voice]:
        return [voice for voice in self.all_voices if host in voice.keepers]

    def wanted(self, tag: str, searcher: int, *, after: bool) -> set[str]:
        """Slugs that a search must find: voices under the tag that living hosts keep, the searcher's own
        aside.
        """
        gone = self.killed if after else frozenset()
        return {
            voice.slug
            for voice in self.all_voices
            if tag in voice.tags and searcher not in voice.keepers and set(voice.keepers) - gone
        }

    def keepers_of(self, tag: str, *, after: bool) -> int:
        """Living hosts that keep a voice with the tag."""
        gone = self.killed if after else frozenset()
        return len({k for voice in self.all_voices if tag in voice.tags for k in voice.keepers} - gone)
