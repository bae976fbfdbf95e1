"""The logs of voices: the chains of operations that this node keeps, in its database.

What becomes of an operation is protocol/chain.py's to say, asked with the two links of the chain that it
needs; a transaction holds the question and what follows from it. Operations get in verified, and none that
lies too far in the future. Not for looking into a log
(reading.py), for what it adds up to (states.py), nor for which voices have one
(lines.py). All methods block. Follows specs/community.md and specs/operations.md.
"""

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.node.community.reading import LogReader
from p2pvoice.node.community.room import TurnedAway, make_room, make_room_among_voices
from p2pvoice.node.database import Database
from p2pvoice.protocol.acts import Act
from p2pvoice.protocol.chain import START, Link, Verdict, judge
from p2pvoice.protocol.envelope import public_key_of
from p2pvoice.protocol.errors import ConflictError, ManifestError, UsageError
from p2pvoice.protocol.ids import Digest
from p2pvoice.protocol.operations import AHEAD, Operation, Signed, VoiceName, reread_operation, sign_operation

AHEAD_MARGIN = 60 * 1000
"""Milliseconds by which what is signed here stays below the limit of the future, whatever others signed."""

LOST_LIMIT = 1_024
"""Operations of the user's own that wait to be signed again."""


@dataclass(frozen=True)
class Taken:
    """What became of operations that came in: verdicts in their order, and what this cost others.

    ``lost`` are operations of the user's own that had to make room for others of the same key, or that lost
    their place to what is here.
    """

    verdicts: tuple[Verdict, ...]
    lost: tuple[Signed, ...] = ()

    @property
    def kept(self) -> int:
        """How many joined."""
        return sum(verdict.kept for verdict in self.verdicts)


class Logs(LogReader):
    """The tables ``logs``, ``chains`` and ``operations`` of the node's database (schema.py)."""

    def __init__(
        self,
        database: Database,
        trusted_of: Callable[[VoiceName], Collection[bytes]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(database)
        self._trusted_of = trusted_of
        self._clock = clock
        #: Chains that were forgotten lately and are not taken again for now.
        self.turned_away = TurnedAway(clock)

    # -- taking in ---------------------------------------------------------------------------------------

    def take(self, voice: VoiceName, batch: Sequence[Signed], own: Collection[bytes] = ()) -> Taken:
        """Let verified operations on one voice join their chains, as far as they may; in one transaction.

        What is of a signer who was turned away, or lies too far in the future, is refused. ``own`` are the
        user's keys. ValueError for an operation on another voice.
        """
        trusted = self._trusted_of(voice)
        verdicts: list[Verdict] = []
        lost: list[Signed] = []
        # What the network says can be had again after a power cut.
        with self._database.write(lasting=False) as connection:
            log = self._log(connection, voice)
            for new in batch:
                if new.operation.voice != voice:
                    raise ValueError("the operation is about another voice")
                signer = new.operation.signer
                if signer not in trusted and self.turned_away.holds(voice, signer):
                    verdicts.append(Verdict.REFUSED)
                    continue
                verdict, replaced = self._join(connection, log, new)
                verdicts.append(verdict)
                if signer in own:
                    lost += replaced
            if any(verdict.kept for verdict in verdicts):
                gone = self._settle(connection, log, voice, trusted)
                verdicts = [
                    Verdict.REFUSED if verdict.kept and new.operation.signer in gone else verdict
                    for verdict, new in zip(verdicts, batch, strict=True)
                ]
            for one in lost:
                connection.execute(
                    "INSERT OR IGNORE INTO lost_operations(id, log, data) SELECT ?,?,?"
                    " WHERE (SELECT count(*) FROM lost_operations) < ?",
                    (one.id, log, one.data, LOST_LIMIT),
                )
        return Taken(tuple(verdicts), tuple(lost))

    def append(
        self, voice: VoiceName, act: Act, key: Ed25519PrivateKey, *, line: Iterable[VoiceName] = ()
    ) -> Signed:
        """Sign an act as the next operation of a key's chain and keep it, on disk when this returns.

        Its time is later than all that is here of the voice, ``line`` naming the other logs that belong to
        it. UsageError for an act beyond its bounds, ConflictError when the signer's quota is used up.
        """
        signer, now = public_key_of(key), int(self._clock() * 1000)
        with self._database.write() as connection:
            log = self._log(connection, voice)
            chain = connection.execute(
                "SELECT * FROM chains WHERE log=? AND signer=?", (log, signer)
            ).fetchone()
            seq, previous = (chain["length"] + 1, bytes(chain["head"])) if chain is not None else (1, None)
            latest = max(self._latest(connection, name) for name in {voice, *line})
            moment = min(max(now, latest + 1), now + AHEAD - AHEAD_MARGIN)
            if chain is not None:
                moment = max(moment, chain["time"] + 1)
            try:
                signed = sign_operation(Operation(voice, signer, seq, previous, moment, act), key)
            except ManifestError as error:
                if chain is not None and "place of an operation" in error.message:
                    raise _full() from error
                raise UsageError(error.message) from error
            verdict, _ = self._join(connection, log, signed)
            if verdict is not Verdict.JOINS:
                raise _full()
            self._settle(connection, log, voice, self._trusted_of(voice))
        return signed

    def _join(self, connection: sqlite3.Connection, log: int, new: Signed) -> tuple[Verdict, list[Signed]]:
        operation = new.operation
        if operation.time > self._clock() * 1000 + AHEAD:
            return Verdict.REFUSED, []
        row = connection.execute(
            "SELECT id FROM chains WHERE log=? AND signer=?", (log, operation.signer)
        ).fetchone()
        chain = row["id"] if row is not None else 0
        before = START if operation.seq == 1 else _link(connection, chain, operation.seq - 1)
        held = _link(connection, chain, operation.seq)
        verdict = judge(new, before, held)
        if verdict is Verdict.LOSES:
            return verdict, [new]
        if not verdict.kept:
            return verdict, []
        assert before is not None
        replaced: list[Signed] = []
        if verdict is Verdict.REPLACES:
            rows = connection.execute(
                "SELECT data FROM operations WHERE chain=? AND seq>=? ORDER BY seq", (chain, operation.seq)
            )
            replaced = [reread_operation(bytes(row["data"])) for row in rows]
            connection.execute("DELETE FROM operations WHERE chain=? AND seq>=?", (chain, operation.seq))
        total = before.total + len(new.data)
        facts = (operation.seq, total, new.id, operation.time)
        if row is None:
            inserted = connection.execute(
                "INSERT INTO chains(length, bytes, head, time, log, signer) VALUES (?,?,?,?,?,?)",
                (*facts, log, operation.signer),
            )
            chain = int(inserted.lastrowid or 0)
        else:
            connection.execute(
                "UPDATE chains SET length=?, bytes=?, head=?, time=? WHERE id=?", (*facts, chain)
            )
        connection.execute(
            "INSERT INTO operations(chain, seq, id, time, total, target, data) VALUES (?,?,?,?,?,?,?)",
            (chain, operation.seq, new.id, operation.time, total, _answered(operation.act), new.data),
        )
        return verdict, replaced

    def _settle(
        self, connection: sqlite3.Connection, log: int, voice: VoiceName, trusted: Collection[bytes]
    ) -> set[bytes]:
        """After something joined: note that the log changed, and make room. Whose chains of it are gone."""
        connection.execute("UPDATE logs SET version=version+1 WHERE id=?", (log,))
        gone = [(voice, one) for one in make_room(connection, log, trusted)]
        gone += make_room_among_voices(connection, self._trusted_of)
        for name, one in gone:
            self.turned_away.add(name, one.signer)
        others = {name for name, _ in gone} - {voice}
        connection.executemany(
            "UPDATE logs SET version=version+1 WHERE author=? AND slug=?", [tuple(name) for name in others]
        )
        return {one.signer for name, one in gone if name == voice}

    def _log(self, connection: sqlite3.Connection, voice: VoiceName) -> int:
        row = connection.execute(
            "SELECT id FROM logs WHERE author=? AND slug=?", (voice.author, voice.slug)
        ).fetchone()
        if row is not None:
            return int(row["id"])
        # A log that is dropped and comes again must not have a version that somebody still remembers.
        made = connection.execute(
            "INSERT INTO logs(author, slug, version) VALUES (?,?,?)",
            (voice.author, voice.slug, int(self._clock() * 1000)),
        )
        return int(made.lastrowid or 0)

    def _latest(self, connection: sqlite3.Connection, voice: VoiceName) -> int:
        row = connection.execute(
            "SELECT max(c.time) FROM chains c JOIN logs l ON l.id=c.log WHERE l.author=? AND l.slug=?",
            (voice.author, voice.slug),
        ).fetchone()
        return int(row[0] or 0)

    # -- what the user did -------------------------------------------------------------------------------

    def asked(self, voice: VoiceName) -> None:
        """The user asked about a voice: its log is kept for a while."""
        with self._database.write(lasting=False) as connection:
            log = self._log(connection, voice)
            connection.execute("UPDATE logs SET asked=? WHERE id=?", (int(self._clock()), log))

    def told(self, voice: VoiceName, signer: bytes, length: int) -> None:
        """Somebody else holds the first ``length`` operations of a chain of the user's."""
        with self._database.write(lasting=False) as connection:
            connection.execute(
                "UPDATE chains SET told=max(told, ?) WHERE signer=? AND log="
                "(SELECT id FROM logs WHERE author=? AND slug=?)",
                (length, signer, voice.author, voice.slug),
            )

    def settled(self, one: Signed) -> None:
        """A lost operation was signed again, or need not be."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM lost_operations WHERE id=?", (one.id,))

    def drop(self, voice: VoiceName) -> None:
        """Forget a voice's log altogether."""
        with self._database.write() as connection:
            row = connection.execute(
                "SELECT id FROM logs WHERE author=? AND slug=?", (voice.author, voice.slug)
            ).fetchone()
            if row is None:
                return
            connection.execute(
                "DELETE FROM operations WHERE chain IN (SELECT id FROM chains WHERE log=?)", (row["id"],)
            )
            connection.execute("DELETE FROM chains WHERE log=?", (row["id"],))
            connection.execute("DELETE FROM lost_operations WHERE log=?", (row["id"],))
            connection.execute("DELETE FROM logs WHERE id=?", (row["id"],))


def _link(connection: sqlite3.Connection, chain: int, seq: int) -> Link | None:
    row = connection.execute(
        "SELECT id, time, total FROM operations WHERE chain=? AND seq=?", (chain, seq)
    ).fetchone()
    return Link(bytes(row["id"]), row["time"], row["total"]) if row is not None else None


def _answered(act: Act) -> Digest | None:
    """What an act answers: whoever signed that has been noticed by the signer of this."""
    target: Digest | None = getattr(act, "target", None)
    return target


def _full() -> ConflictError:
    return ConflictError(
        "this key has used up what it may say about this voice",
        hint="comments can be edited or retracted; nothing more can be added",
    )
