"""Random histories of a voice, and what must hold of each: ``python -m tests.protocol.histories --count N``.

A history has several signers, some on two devices with one key, some in bad faith, on several nodes. Devices
act on what their node holds, with clocks that are wrong; operations are lost, doubled and overtaken; nodes
reconcile in between, not always to the end, and a node that was not there comes last. Then every node
reconciles twice with one of them, over the bytes of the protocol, and :func:`check_history` holds them to the
same log, the same state and the same totals, and to oracles that do not use the code under test. Used by
test_replay.py with few histories, and alone with many. Follows specs/operations.md.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol import acts, operations
from p2pvoice.protocol.chain import ChainExchange, Log, Verdict
from p2pvoice.protocol.conversation import (
    TOLD_LIMIT,
    ChainReply,
    GetChain,
    Reconcile,
    Reconciled,
    TellOperations,
)
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.messages import decode_message, encode_message
from p2pvoice.protocol.operations import Operation, Signed, VoiceName, sign_operation, verify_operation
from p2pvoice.protocol.reconcile import Pairs, Reconciliation, answer
from p2pvoice.protocol.replay import replay, totals

from . import oracles

#: Milliseconds since 1970 at which every history begins.
BEGINNING = 1_790_000_000_000

#: Small quotas (operations, signed bytes) of signers and of the owner, so that histories reach them.
QUOTAS = ((1024, 512 * 1024, 16_384, 8 << 20), (6, 512 * 1024, 9, 8 << 20), (1024, 1700, 16_384, 2600))

KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(1, 9)]
PUBLIC = [key.public_key().public_bytes_raw() for key in KEYS]
VOICE = VoiceName(PUBLIC[0], "storyteller")

#: The author's keys: the one that names the voice, and its successor.
OWNERS = (PUBLIC[0], PUBLIC[1])


@dataclass
class Node:
    """Somebody's computer: the log it holds, and what it could not take yet, when it keeps such things."""

    log: Log = field(default_factory=lambda: Log(VOICE))
    patient: bool = False
    waiting: list[Signed] = field(default_factory=list)


@dataclass(frozen=True)
class Device:
    """A signer at a node. ``skew`` is what its clock is wrong by, in milliseconds."""

    key: int
    node: int
    skew: int
    honest: bool


@dataclass
class History:
    """What happened: every operation that was signed, what its signer had seen, and the nodes at the end."""

    nodes: list[Node]
    devices: list[Device]
    signed: list[Signed] = field(default_factory=list)
    seen: dict[Digest, frozenset[Digest]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    read: dict[bytes, Signed] = field(default_factory=dict)
    now: int = BEGINNING

    def take(self, log: Log, one: Signed) -> Verdict:
        """Add to a log what is not too far ahead of the clock; else it is as if it were early."""
        if one.operation.time > self.now + operations.AHEAD:
            self.counts["ahead"] += 1
            return Verdict.EARLY
        verdict = log.add(one)
        self.counts[verdict.value] += 1
        return verdict

    def receive(self, node: Node, one: Signed) -> None:
        """An operation arrives at a node by itself."""
        if not self.take(node.log, one).kept and node.patient:
            node.waiting.append(one)
        while any([self.take(node.log, earlier).kept for earlier in node.waiting]):
            pass

    def verified(self, data: bytes) -> Signed:
        """The operation in these bytes, verified when it is met first."""
        if data not in self.read:
            self.read[data] = verify_operation(data)
        return self.read[data]


@contextmanager
def quotas(choice: tuple[int, int, int, int]) -> Iterator[None]:
    names = ("CHAIN_LIMIT", "CHAIN_BYTES", "OWNER_CHAIN_LIMIT", "OWNER_CHAIN_BYTES")
    with patch.multiple(operations, **dict(zip(names, choice, strict=True))):
        yield


def make_history(rnd: random.Random) -> History:
    """A history out of a source of chance; call it, and check it, inside :func:`quotas`."""
    nodes = [Node(patient=rnd.random() < 0.5) for _ in range(rnd.randint(2, 4))]
    devices = []
    for key in range(rnd.randint(2, 6)):
        honest = rnd.random() < 0.8
        for _ in range(2 if rnd.random() < 0.4 else 1):
            skew = rnd.choice((0, 0, rnd.randint(-3_600_000, operations.AHEAD)))
            devices.append(Device(key, rnd.randrange(len(nodes)), skew, honest))
    history, flying = History(nodes, devices), []
    for _ in range(rnd.randint(1, 60)):
        history.now += rnd.choice((0, 1, rnd.randint(2, 600_000)))
        step = rnd.random()
        if step < 0.6:
            made = _act(history, rnd.choice(devices), rnd)
            if made is not None:
                flying += [(node, made) for node in nodes for _ in range(rnd.choice((0, 1, 1, 2)))]
        if step < 0.85 and flying:
            for _ in range(rnd.randint(1, 4)):
                node, one = flying[rnd.randrange(len(flying))]
                history.receive(node, one)
            del flying[rnd.randrange(len(flying))]
        elif step > 0.9:
            a, b = rnd.sample(nodes, 2)
            reconcile(history, a.log, b.log, patience=rnd.choice((1, 3, 100)))
    # Long after the last of it, everybody is there at once.
    history.now += 10**9
    nodes.append(Node())
    hub = rnd.choice(nodes)
    for _ in range(2):
        for node in rnd.sample(nodes, len(nodes)):
            if node is not hub:
                asker, asked = rnd.sample((node.log, hub.log), 2)
                reconcile(history, asker, asked)
    return history


def _act(history: History, device: Device, rnd: random.Random) -> Signed | None:
    log = history.nodes[device.node].log
    chain = list(log.chains().get(PUBLIC[device.key], ()))
    here = log.operations()
    moment = max(history.now + device.skew, here[-1].operation.time + 1 if here else 1)
    honest = device.honest or rnd.random() < 0.6
    if not honest:
        # Another operation in the place of one of their own, or a date as far back as the chain allows, or
        # further, where nobody takes it, or so far ahead that nobody takes it yet.
        if chain and rnd.random() < 0.6:
            del chain[rnd.randrange(len(chain)) :]
        earliest = chain[-1].operation.time + 1 if chain else 1
        ahead = history.now + rnd.randint(1, 3 * operations.AHEAD)
        moment = rnd.choice((moment, earliest, max(1, earliest - 1), ahead))
    previous = chain[-1].id if chain else None
    count, size = operations.CHAIN_LIMIT, operations.CHAIN_BYTES
    if PUBLIC[device.key] == VOICE.author:
        count, size = operations.OWNER_CHAIN_LIMIT, operations.OWNER_CHAIN_BYTES
    if len(chain) >= count or (honest and sum(len(one.data) for one in chain) + 1000 > size):
        return None
    act = _random_act(rnd, here)
    made = sign_operation(
        Operation(VOICE, PUBLIC[device.key], len(chain) + 1, previous, moment, act), KEYS[device.key]
    )
    verdict = log.add(made)
    if honest:
        assert verdict.kept, verdict
        history.seen[made.id] = frozenset(one.id for one in here)
    history.signed.append(made)
    history.counts["signed"] += 1
    history.counts[verdict.value] += 1
    history.counts[acts.name_of(act)] += 1
    return made


def _random_act(rnd: random.Random, here: list[Signed]) -> acts.Act:
    """Any act, mostly on something that is there and that it can be done to."""
    posts = acts.Comment | acts.Issue | acts.Proposal
    fitting = [one for one in here if isinstance(one.operation.act, posts)]
    target, word = rnd.randbytes(32), rnd.choice(("one", "two", "三", ""))
    if here and rnd.random() < 0.9:
        target = rnd.choice(fitting if fitting and rnd.random() < 0.9 else here).id
    labels = tuple(rnd.sample(("bug", "voice", "錯", "later"), rnd.randint(0, 3)))
    makers: tuple[Callable[[], acts.Act], ...] = (
        acts.Star, acts.Star, acts.Unstar,
        lambda: acts.Comment("text"), lambda: acts.Comment("text", target),
        lambda: acts.Edit(target, word), lambda: acts.Edit(target, word, "title"),
        lambda: acts.Retract(target),
        lambda: acts.Issue("title", word), lambda: acts.Issue("title"),
        lambda: acts.Label(target, labels, labels[:1]),
        lambda: acts.Close(target, word), lambda: acts.Reopen(target),
        lambda: acts.Proposal(rnd.randbytes(32), rnd.randbytes(32), "text"),
        lambda: acts.Proposal(rnd.randbytes(32), rnd.randbytes(32), "other"),
        lambda: acts.Review(target, "accept"), lambda: acts.Review(target, "reject", word),
        lambda: acts.Merge(target, rnd.randbytes(32), rnd.choice(acts.MODES)),
        lambda: acts.Unknown("wave", {"at": target}), lambda: acts.Unknown("review", {"verdict": "later"}),
    )  # fmt: skip
    return rnd.choice(makers)()


def reconcile(history: History, asker: Log, asked: Log, patience: int = 10**6) -> None:
    """One node reconciles with another over the bytes of the protocol; ``patience`` bounds its questions."""
    there = Pairs(asked.heads())
    asking = Reconciliation(Pairs(asker.heads()))
    while asking.question and patience > 0:
        question = decode_message(encode_message(Reconcile(VOICE, asking.question)), Reconcile)
        reply = decode_message(encode_message(Reconciled(answer(there, question.ranges))), Reconciled)
        asking.take(reply.ranges)
        patience -= 1
    for one in asking.differences:
        if patience > 0:
            patience = _exchange(history, asker, asked, one.key, patience)


def _exchange(history: History, asker: Log, asked: Log, signer: bytes, patience: int) -> int:
    exchange = ChainExchange(asker.points(signer))
    while exchange.points is not None and patience > 0:
        patience -= 1
        question = encode_message(GetChain(VOICE, signer, exchange.points, limit=3))
        asking = decode_message(question, GetChain)
        chain = asked.chains().get(signer, ())
        records = asked.after(signer, asking.points)[: asking.limit]
        sent = encode_message(ChainReply(tuple(one.data for one in records), len(chain)))
        reply = decode_message(sent, ChainReply)
        got = [history.verified(data) for data in reply.records]
        exchange.take([(one, history.take(asker, one)) for one in got], reply.length)
    # What the other side lacks, in its turn.
    missing = [one.data for one in asker.chains().get(signer, ())[exchange.common :]]
    while missing and patience > 0:
        patience -= 1
        told = decode_message(encode_message(TellOperations(tuple(missing[:TOLD_LIMIT]))), TellOperations)
        for data in told.records:
            history.take(asked, history.verified(data))
        del missing[:TOLD_LIMIT]
    return patience


def check_history(history: History, rnd: random.Random) -> None:
    """AssertionError unless everything holds that must hold at the end of a history."""
    logs = [node.log for node in history.nodes]
    first = logs[0]
    for log in logs[1:]:
        assert log.heads() == first.heads()
        assert log.operations() == first.operations()
    oracles.check_against_the_least(history.signed, first)
    oracles.check_one_by_one(history.signed, first, rnd)
    for signer, chain in first.chains().items():
        oracles.check_chain(signer, chain)
    oracles.check_seen(history.seen, first)
    states = [replay(rnd.sample(log.operations(), len(log.operations())), OWNERS) for log in logs]
    for state in states[1:]:
        assert state == states[0]
        assert oracles.orders(state) == oracles.orders(states[0])
    oracles.check_state(first, states[0], OWNERS)
    followed = {*rnd.sample(PUBLIC, 2), *OWNERS}
    assert len({totals(state, followed.__contains__) for state in states}) == 1
    shown, others = (
        totals(states[0], counted) for counted in (followed.__contains__, lambda one: one not in followed)
    )
    assert shown.stars + others.stars == len(states[0].stars)
    history.counts["operations in the logs"] += len(first.operations())
    history.counts["histories with a fork"] += _forked(history.signed)


def _forked(signed: Iterable[Signed]) -> bool:
    places = Counter((one.operation.signer, one.operation.seq) for one in signed)
    return any(count > 1 for count in places.values())


def run(rnd: random.Random) -> History:
    """One history, made and checked."""
    with quotas(rnd.choice(QUOTAS)):
        history = make_history(rnd)
        check_history(history, rnd)
    return history


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.protocol.histories", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="histories")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    start, counts = time.monotonic(), Counter[str]()
    for number in range(options.count):
        try:
            counts += run(random.Random(f"{options.seed} {number}")).counts
        except BaseException:
            print(f"history {number} of seed {options.seed} fails")
            raise
        counts["histories"] += 1
    print(
        "{histories} histories (seed {seed}), {histories with a fork} with forks: {signed} operations, "
        "{operations in the logs} in the logs at the end. On the way {joins} joined, {replaces} replaced "
        "another, {loses} lost, {early} came early, {ahead} ahead of time, {known} again, {refused} were "
        "refused. Every node ended alike; {seconds:.0f} s".format(
            **counts, seed=options.seed, seconds=time.monotonic() - start
        )
    )


if __name__ == "__main__":
    main()
