"""Power cuts: what the store does to its folder is recorded, and every state that a cut may leave is tried.

    python -m tests.crash.power --count 5000 [--seed 1]

The calls that change files (open, pwrite, ftruncate, fsync, rename, unlink) are recorded around the real
ones. A cut at some call may leave: of writes since their file's last sync any 512-byte sectors; of names
made, moved and deleted since their folder's last sync any, in order for each name; a file that moves between
folders may have both names, and never none. The index is SQLite's business: it is there as it was at the cut,
as it was some time before, or not at all. On each state the store is opened again as the daemon opens it, and
must hold every file that was acknowledged, give out no wrong byte, and let the unfinished work end well.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pvoice.node import garbage
from p2pvoice.node.store import Store
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.errors import CorruptError

#: What a disk writes at once, or not at all.
SECTOR = 512

INDEX = "index.sqlite"

#: The functions of the system that change files, as the store uses them.
PATCHED = ("open", "close", "pwrite", "ftruncate", "fsync", "fdatasync", "rename", "replace", "unlink")

#: Where the states are made: in memory, if that is to be had.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass
class Call:
    """One recorded call: its kind, paths within the folder, an inode's number, and what was written."""

    kind: str
    inode: int = 0
    name: str = ""
    to: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class Recording:
    """The calls of one run, what was acknowledged when, and the index as it was."""

    root: Path
    #: Kinds of calls that are not heard: what if the store did not make them?
    deaf: frozenset[str] = frozenset()
    calls: list[Call] = field(default_factory=list)
    kept: list[tuple[int, bytes, bool]] = field(default_factory=list)
    indexes: list[tuple[int, bytes]] = field(default_factory=list)
    _open: dict[int, tuple[int, str]] = field(default_factory=dict)
    _inodes: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    def acknowledge(self, digest: bytes, kept: bool) -> None:
        """From here on a file must survive (or, when it is being removed, need not)."""
        self.kept.append((len(self.calls), digest, kept))
        with contextlib.closing(sqlite3.connect(self.root / INDEX)) as live:
            self.indexes.append((len(self.calls), live.serialize()))

    def inside(self, path: Any) -> str | None:
        """The name of a path within the folder; None for others, and for SQLite's files."""
        text = os.fspath(path) if not isinstance(path, int) else ""
        name = os.path.relpath(text, self.root) if text and str(text).startswith(str(self.root)) else ""
        return None if not name or INDEX in name else name

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Record what this process does until the block ends."""
        real = {name: getattr(os, name) for name in PATCHED}

        def opened(path: Any, flags: int, *more: Any, **others: Any) -> int:
            name = self.inside(path)
            fresh = name is not None and flags & os.O_CREAT and not os.path.lexists(path)
            number = int(real["open"](path, flags, *more, **others))
            if name is not None:
                if fresh:
                    self._count += 1
                    self._inodes[name] = self._count
                    self.calls.append(Call("create", self._count, name))
                self._open[number] = (self._inodes.get(name, 0), name)
            return number

        def closed(number: int) -> None:
            self._open.pop(number, None)
            real["close"](number)

        def written(number: int, data: Any, offset: int) -> int:
            count = int(real["pwrite"](number, data, offset))
            if number in self._open:
                inode = self._open[number][0]
                self.calls.append(Call("write", inode, offset=offset, data=bytes(data[:count])))
            return count

        def resized(number: int, size: int) -> None:
            real["ftruncate"](number, size)
            if number in self._open:
                self.calls.append(Call("size", self._open[number][0], offset=size))

        def synced(number: int) -> None:
            # The disk beneath is not the one that is cut off: there is nothing to wait for.
            if number in self._open:
                inode, name = self._open[number]
                call = Call("sync", inode) if inode else Call("sync folder", name=name)
                self.calls += [] if call.kind in self.deaf else [call]

        def moved(source: Any, target: Any, **others: Any) -> None:
            real["rename"](source, target, **others)
            name, to = self.inside(source), self.inside(target)
            if name is not None and to is not None:
                inode = self._inodes.pop(name)
                self._inodes[to] = inode
                self.calls.append(Call("move", inode, name, to))

        def removed(path: Any, **others: Any) -> None:
            real["unlink"](path, **others)
            name = self.inside(path)
            if name is not None:
                self.calls.append(Call("remove", self._inodes.pop(name), name))

        fakes: dict[str, Callable[..., Any]] = {
            "open": opened, "close": closed, "pwrite": written, "ftruncate": resized, "fsync": synced,
            "fdatasync": synced, "rename": moved, "replace": moved, "unlink": removed,
        }  # fmt: skip
        for name, fake in fakes.items():
            setattr(os, name, fake)
        try:
            yield
        finally:
            for name, call in real.items():
                setattr(os, name, call)


@dataclass
class _Inode:
    lasting: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)

    def after(self, chance: random.Random) -> bytes:
        """The contents after a cut: of each unsynced write some sectors, of each change of size yes or no."""
        data = bytearray(self.lasting)
        for call in self.pending:
            if call.kind == "size":
                if chance.random() < 0.5:
                    data = data[: call.offset].ljust(call.offset, b"\0")
                continue
            whole = chance.random()
            for start in range(0, len(call.data), SECTOR):
                if whole < 0.3 or (whole < 0.8 and chance.random() < 0.5):
                    _put(data, call.offset + start, call.data[start : start + SECTOR])
        return bytes(data)

    def sync(self) -> None:
        for call in self.pending:
            if call.kind == "size":
                self.lasting = self.lasting[: call.offset].ljust(call.offset, b"\0")
            else:
                _put(self.lasting, call.offset, call.data)
        self.pending.clear()


def _put(data: bytearray, offset: int, piece: bytes) -> None:
    if len(data) < offset + len(piece):
        data.extend(bytes(offset + len(piece) - len(data)))
    data[offset : offset + len(piece)] = piece


@dataclass
class _Name:
    """A change of one name: now it means an inode, or (0) nothing. ``partner``: the other half of a move."""

    name: str
    inode: int
    partner: "_Name | None" = None


def crash(recording: Recording, cut: int, chance: random.Random, place: Path) -> None:
    """Make in ``place`` one of the states that a cut after ``cut`` calls can leave."""
    inodes: dict[int, _Inode] = {}
    lasting: dict[str, int] = {}
    pending: dict[str, list[_Name]] = {}

    def change(name: str, inode: int, partner: _Name | None = None) -> _Name:
        made = _Name(name, inode, partner)
        pending.setdefault(os.path.dirname(name), []).append(made)
        return made

    def settle(folder: str) -> None:
        for one in pending.pop(folder, []):
            _rename(lasting, one)

    for call in recording.calls[:cut]:
        match call.kind:
            case "create":
                inodes[call.inode] = _Inode()
                change(call.name, call.inode)
            case "write" | "size":
                inodes[call.inode].pending.append(call)
            case "sync":
                inodes[call.inode].sync()
            case "sync folder":
                settle(call.name)
            case "move":
                change(call.name, 0, change(call.to, call.inode))
            case "remove":
                change(call.name, 0)
    state = dict(lasting)
    done: set[int] = set()
    for changes in pending.values():
        # Of each name the changes that happened are a beginning of those that were made.
        ends = {one.name: 0 for one in changes}
        for name in ends:
            ends[name] = chance.randint(0, sum(one.name == name for one in changes))
        for one in changes:
            if ends[one.name]:
                ends[one.name] -= 1
                done.add(id(one))
    for changes in pending.values():
        for one in changes:
            if one.partner is not None and id(one) in done:
                # A name does not go before the file has its other one.
                done.add(id(one.partner))
    for changes in pending.values():
        for one in changes:
            if id(one) in done:
                _rename(state, one)
    for folder in ("files", "partial"):
        (place / folder).mkdir(parents=True)
    for name, inode in state.items():
        (place / name).write_bytes(inodes[inode].after(chance))
    older = [data for at, data in recording.indexes if at <= cut]
    kind = chance.randrange(3)
    if kind and older:
        chosen = older[-1] if kind == 1 else chance.choice(older)
        (place / INDEX).write_bytes(chosen)


def _rename(names: dict[str, int], one: _Name) -> None:
    if one.inode:
        names[one.name] = one.inode
    else:
        names.pop(one.name, None)


# -- what the store is made to do ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Thing:
    """A file with its chunks, of odd sizes that share sectors."""

    data: bytes
    chunks: tuple[Chunk, ...]

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    def piece(self, number: int) -> bytes:
        start = sum(chunk.size for chunk in self.chunks[:number])
        return self.data[start : start + self.chunks[number].size]


def make_thing(chance: random.Random, like: Thing | None = None) -> Thing:
    """A file of 3 to 12 chunks; some of them those of another file."""
    pieces = [chance.randbytes(chance.randint(1, 1500)) for _ in range(chance.randint(3, 12))]
    if like is not None:
        for number in range(0, min(len(pieces), len(like.chunks)), 2):
            pieces[number] = like.piece(number)
    return Thing(b"".join(pieces), tuple(Chunk(len(p), hashlib.sha256(p).digest()) for p in pieces))


def work(recording: Recording, chance: random.Random, scratch: Path) -> list[Thing]:
    """Add, fetch, damage, repair and remove files; everything that happened to the folder is recorded."""
    things: list[Thing] = []
    with recording.patched():
        store = Store(recording.root)
        for _ in range(4):
            thing = make_thing(chance, chance.choice(things) if things else None)
            things.append(thing)
            if chance.random() < 0.4:
                source = scratch / "source"
                source.write_bytes(thing.data)
                store.add_file(source, thing.chunks)
            else:
                _fetch(store, thing, chance)
            recording.acknowledge(thing.digest, True)
            if chance.random() < 0.4:
                store.inspection.set_aside(thing.digest)
                _fetch(store, thing, chance)
                recording.acknowledge(thing.digest, True)
            if chance.random() < 0.25:
                recording.acknowledge(thing.digest, False)
                garbage.remove(store, [thing.digest])
        last = make_thing(chance, things[0])
        things.append(last)
        _fetch(store, last, chance, leave=True)
        store.close()
    return things


def _fetch(store: Store, thing: Thing, chance: random.Random, *, leave: bool = False) -> None:
    partial = store.open_partial(thing.digest, thing.chunks)
    store.copy_known(thing.digest)
    missing = partial.missing()
    chance.shuffle(missing)
    for number in missing[: len(missing) // 2]:
        partial.write(number, thing.piece(number))
    store.close_partial(thing.digest)
    partial = store.open_partial(thing.digest, thing.chunks)
    if not leave:
        for number in partial.missing():
            partial.write(number, thing.piece(number))
        store.finish(thing.digest)


def check(place: Path, things: list[Thing], must: set[bytes]) -> None:
    """Open what a cut left as a daemon does, and hold it against the rules."""
    store = Store(place)
    try:
        store.inspection.forget_missing()
        by_digest = {thing.digest: thing for thing in things}
        for digest in store.inspection.unindexed():
            right = store.inspection.ensure_indexed(digest, by_digest[digest].chunks)
            assert right, "a whole file has wrong bytes"
        for digest in must:
            assert store.has(digest), "an acknowledged file was lost"
        for thing in things:
            if store.has(thing.digest):
                assert store.path(thing.digest).read_bytes() == thing.data, "a whole file has wrong bytes"
            for number in range(len(thing.chunks)):
                with contextlib.suppress(CorruptError):
                    served = store.read_chunk(thing.digest, number)
                    assert served is None or served == thing.piece(number), "wrong bytes were served"
                    if store.has(thing.digest):
                        assert served is not None, "a whole file is not served"
        for thing in things:
            if not store.has(thing.digest):
                partial = store.open_partial(thing.digest, thing.chunks)
                store.copy_known(thing.digest)
                for number in partial.missing():
                    partial.write(number, thing.piece(number))
                assert store.finish(thing.digest).read_bytes() == thing.data
        garbage.collect(store, {thing.digest for thing in things})
        assert os.listdir(place / "partial") == [], "something was left in partial/"
    finally:
        store.close()


def run(count: int, seed: int, *, states: int = 50, deaf: frozenset[str] = frozenset()) -> tuple[int, int]:
    """Try ``count`` states, so many of each recorded run; how many were tried, and of how many calls."""
    tried = calls = 0
    while tried < count:
        chance = random.Random(f"{seed} {tried}")
        with tempfile.TemporaryDirectory(prefix="p2pv-", dir=MEMORY) as folder:
            recording = Recording(Path(folder) / "store", deaf)
            things = work(recording, chance, Path(folder))
            calls += len(recording.calls)
            for _ in range(min(states, count - tried)):
                cut = chance.randint(0, len(recording.calls))
                must: dict[bytes, bool] = {digest: kept for at, digest, kept in recording.kept if at <= cut}
                # A repair takes a damaged file out of service: it need not be there until it is made anew.
                wanted = {digest for digest, kept in must.items() if kept}
                wanted -= _being_repaired(recording, cut)
                place = Path(folder) / "after"
                crash(recording, cut, chance, place)
                try:
                    check(place, things, wanted)
                except AssertionError as error:
                    raise AssertionError(f"seed {seed}, state {tried}, cut {cut}: {error}") from error
                shutil.rmtree(place)
                tried += 1
    return tried, calls


def _being_repaired(recording: Recording, cut: int) -> set[bytes]:
    aside: set[bytes] = set()
    for call in recording.calls[:cut]:
        if call.kind == "move" and call.to.endswith(".damaged"):
            aside.add(bytes.fromhex(os.path.basename(call.name)))
    for at, digest, kept in recording.kept:
        made = [
            number
            for number, call in enumerate(recording.calls[:cut])
            if call.kind == "move" and call.to == f"files/{digest.hex()}"
        ]
        gone = [
            number
            for number, call in enumerate(recording.calls[:cut])
            if call.kind == "move" and call.name == f"files/{digest.hex()}"
        ]
        if kept and at <= cut and digest in aside and made and gone and made[-1] > gone[-1] and at > made[-1]:
            aside.discard(digest)
    return aside


def main() -> None:
    """The whole campaign."""
    parser = argparse.ArgumentParser(description="Power cuts at random moments of the store's writes.")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tried, calls = run(options.count, options.seed)
    print(f"tried {tried} states after power cuts in {calls} recorded calls, lost: 0, wrong bytes served: 0")


if __name__ == "__main__":
    main()
