"""Daemons are killed with SIGKILL at random moments of publish, fetch, update, rm and gc: nothing is lost.

    python -m tests.crash.kills --count 100 [--seed 4]

Three real daemons on loopback: one that gives, one that publishes and is killed, one that fetches and is
killed. The moments are drawn over the span that each operation was measured to take, half of them over its
later part (after the worker has spoken or the first bytes have come), where the disk is written. After every
kill the daemon starts again and invariants.py reads its disk; every fifth time the interrupted operation is
repeated and must complete. Prints, for each operation and in all: kills tried, operations that the kill cut
off (refused), operations that had ended, and what was lost.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pvoice.protocol.errors import DaemonUnavailableError, NotFoundError

from ..node.nodes import Daemon, bring, install_encoder, large_gpt, publish
from . import invariants

#: How many kills of a hundred hit which operation.
SHARES = {"publish": 30, "fetch": 25, "update": 20, "rm": 10, "gc": 15}

#: One kill in so many is followed by the same operation, which must complete.
REPEAT = 5

Events = Iterator[dict[str, Any]]


def late(event: dict[str, Any]) -> bool:
    """Whether an event says that the disk is about to be written."""
    return event.get("step") == "signing" or "have" in event


@dataclass
class Campaign:
    """The daemons, and what they have acknowledged so far."""

    giver: Daemon
    author: Daemon
    taker: Daemon
    chance: random.Random
    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    repeated: Counter[str] = field(default_factory=Counter)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    published: tuple[int, str] = (0, "")
    newest: str = ""
    drafts: list[str] = field(default_factory=list)

    # -- the operations ----------------------------------------------------------------------------------

    def publish(self) -> Events:
        body = {"draft": "storyteller", "tags": ["yue"], "license": "CC-BY-4.0", "consent": "self"}
        return self.author.client.publish(body | {"ai_voice_permission": True})

    def fetch(self) -> Events:
        return self.taker.client.fetch(self.newest)

    def update(self) -> Events:
        return self.taker.client.update("gift")

    def gc(self) -> Events:
        return self.taker.client.gc()

    def rm(self) -> Events:
        yield {"event": "result", **self.taker.client.remove(self.newest)}

    # -- before each -------------------------------------------------------------------------------------

    def ready(self, operation: str) -> None:
        """Bring about what the operation needs to have something to do."""
        installed = {voice["release"] for voice in self.taker.client.voices()}
        if operation == "fetch" and self.newest in installed:
            self.taker.client.remove(self.newest)
        if operation == "update":
            if not installed:
                list(self.fetch())
            if self.newest in installed or not installed:
                self.give()
        if operation == "rm" and self.newest not in installed:
            list(self.fetch())
        if operation == "gc":
            store = self.taker.home / "store"
            for _ in range(200):
                name = self.chance.randbytes(32).hex()
                (store / "files" / name).write_bytes(b"of no release")
                (store / "partial" / f"{name[::-1]}.part").write_bytes(b"nor this")

    def give(self) -> None:
        """The giver publishes once more."""
        self.newest = publish(self.giver, "gift")["release"]

    # -- one kill ----------------------------------------------------------------------------------------

    def measure(self, operation: str) -> None:
        """Run the operation to its end, to know how long it takes: in all, and until it gets late."""
        self.ready(operation)
        started = time.monotonic()
        lately = 0.0
        for event in getattr(self, operation)():
            if late(event) and not lately:
                lately = time.monotonic() - started
            self.note(operation, event)
        self.spans[operation] = (time.monotonic() - started, lately)

    def note(self, operation: str, event: dict[str, Any]) -> None:
        """Remember what was acknowledged."""
        if operation == "publish" and event["event"] == "result":
            self.published = (self.published[0] + 1, event["release"])

    def kill(self, operation: str) -> None:
        """One kill in the middle of an operation, the start after it, and the checks."""
        victim = self.author if operation == "publish" else self.taker
        self.ready(operation)
        before = invariants.read(victim.home)
        span, lately = self.spans[operation]
        anchored = bool(lately) and self.chance.random() < 0.5
        delay = self.chance.uniform(0, (span - lately) if anchored else span)
        assert victim.process is not None
        process, timer = victim.process, threading.Event()

        def strike() -> None:
            timer.wait()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)

        striker = threading.Thread(target=strike)
        striker.start()
        have, result = 0, None
        if not anchored:
            timer.set()
        with contextlib.suppress(DaemonUnavailableError):
            for event in getattr(self, operation)():
                have = max(have, int(event.get("have", 0)))
                if late(event):
                    timer.set()
                if event["event"] == "result":
                    result = event
        timer.set()
        striker.join()
        assert victim.end(signal.SIGKILL) == -signal.SIGKILL
        self.tried[operation] += 1
        self.refused[operation] += result is None
        victim.start(*([self.giver] if self.giver not in (self.author, victim) else []))
        self.compare(operation, before, invariants.check(victim.home), have, result)
        if self.tried[operation] % REPEAT == 0:
            self.repeat(operation)

    def compare(
        self,
        operation: str,
        before: invariants.Snapshot,
        after: invariants.Snapshot,
        have: int,
        result: dict[str, Any] | None,
    ) -> None:
        """Whether the home is as it was before the operation or as it is after it, and nothing between."""
        if operation == "publish":
            ((sequence, release),) = after.heads.values()
            assert sequence >= self.published[0], "an acknowledged publication was lost"
            assert release in after.installed, "the head names what is not installed"
            if result is not None:
                assert result["release"] == release
            assert sequence <= self.published[0] + 1
            self.published = (sequence, release)
            assert [draft["draft"] for draft in self.author.client.drafts()] == ["storyteller"]
        elif operation in ("fetch", "update"):
            assert len(after.installed) <= 1
            assert set(after.installed) <= set(before.installed) | {self.newest}
            if before.installed:
                assert after.installed, "an installed voice was lost"
            if result is not None:
                assert self.newest in after.installed
            wanted = (after.installed | after.begun).get(self.newest)
            if have and wanted is not None:
                held = invariants.held_bytes(self.taker.home, wanted)
                assert held >= have, f"{have} bytes were told to be here, {held} are"
            assert not have or wanted is not None, "what was fetched is not kept"
        elif operation == "rm":
            if result is not None:
                assert self.newest not in after.installed
        else:
            assert set(after.installed) == set(before.installed)

    def repeat(self, operation: str) -> None:
        """The same operation again: it completes."""
        if operation == "rm":
            with contextlib.suppress(NotFoundError):
                self.taker.client.remove(self.newest)
        else:
            events = list(getattr(self, operation)())
            assert events[-1]["event"] == "result"
            self.note(operation, events[-1])
        victim = self.author if operation == "publish" else self.taker
        found = invariants.read(victim.home)
        if operation in ("fetch", "update"):
            assert list(found.installed) == [self.newest]
        if operation == "rm":
            assert self.newest not in found.installed
        self.repeated[operation] += 1


@contextlib.contextmanager
def prepared(
    make: Callable[[], Daemon], encoder: Path, clip: Path, work: Path, seed: int, *, feed: int = 20_000
) -> Iterator[Campaign]:
    """The three daemons of a campaign, running, with their voices."""
    giver = make().start()
    author, taker = make().start(), make().start(giver)
    gpt = large_gpt(work / "gpt.ckpt", feed=feed, seed=1)
    for daemon in (giver, author):
        install_encoder(daemon, encoder)
    bring(giver, clip, gpt=gpt, name="gift")
    bring(author, clip)
    campaign = Campaign(giver, author, taker, random.Random(seed))
    campaign.give()
    yield campaign


def plan_of(count: int, chance: random.Random) -> list[str]:
    """So many operations, mixed by their shares."""
    whole = sum(SHARES.values())
    plan = [name for name, share in SHARES.items() for _ in range(max(1, round(share * count / whole)))]
    chance.shuffle(plan)
    return plan


def run(campaign: Campaign, plan: list[str], tell: Callable[[str], None] = print) -> None:
    """Kill each of the operations once; AssertionError for anything lost."""
    kinds = [name for name in SHARES if name in plan]
    for operation in kinds:
        campaign.measure(operation)
        span, lately = campaign.spans[operation]
        tell(f"{operation}: {span:.2f} s, of which the last {span - lately:.2f} s write")
    for number, operation in enumerate(plan, 1):
        try:
            campaign.kill(operation)
        except AssertionError as error:
            raise AssertionError(f"kill {number} of {len(plan)}, {operation}: {error}") from error
    for operation in kinds:
        tell(
            f"{operation}: tried {campaign.tried[operation]}, refused {campaign.refused[operation]}, "
            f"repeated {campaign.repeated[operation]}, lost: 0"
        )
    tell(f"tried {campaign.tried.total()} kills, refused {campaign.refused.total()}, lost: 0")


def main() -> None:
    """The whole campaign, with files of its own."""
    from ..node.conftest import make_clip, make_encoder

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    made: list[Daemon] = []

    def make() -> Daemon:
        made.append(Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))))
        return made[-1]

    with tempfile.TemporaryDirectory(prefix="p2pv-") as folder:
        encoder = Path(folder) / "encoder"
        encoder.mkdir()
        make_encoder(encoder)
        clip = make_clip(Path(folder) / "clip.wav")
        try:
            with prepared(make, encoder, clip, Path(folder), options.seed) as campaign:
                run(campaign, plan_of(options.count, campaign.chance), lambda line: print(line, flush=True))
        finally:
            for daemon in made:
                if daemon.process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        daemon.end(signal.SIGKILL)
                shutil.rmtree(daemon.home, ignore_errors=True)


if __name__ == "__main__":
    main()
