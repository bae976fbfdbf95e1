"""A full disk at every write: the n-th write fails, for every n, until the whole work passes.

    python -m tests.crash.full_disk

The store and the drafts work in a folder where room is given out by a counter: each call that takes room on a
disk (open for creation, pwrite, ftruncate, rename, mkdir, write of a file) is let through n times and then
answered with ENOSPC, as a full disk does, until room is made. Each time the work must end with DiskFullError,
what was acknowledged must be there, and the same work must complete afterwards. For SQLite's own writes the
size of the database is limited page by page. Real daemons on a real small disk are tests/node/test_full.py's.
"""

import builtins
import contextlib
import errno
import io
import os
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2pvoice.node.catalog import Catalog
from p2pvoice.node.drafts import Drafts
from p2pvoice.node.rpc.errors import to_error
from p2pvoice.node.schema import open_database
from p2pvoice.node.store import Store
from p2pvoice.protocol.errors import DiskFullError

from . import power
from .old_catalog import NOW, VOICES, release_of


class Disk:
    """A disk that is full after ``room`` more calls that need some."""

    def __init__(self, root: Path, room: int) -> None:
        self.root, self.room, self.asked = root, room, 0

    def take(self, path: Any) -> None:
        """Raise ENOSPC when nothing is left."""
        if not str(path).startswith(str(self.root)):
            return
        self.asked += 1
        if self.asked > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Until the block ends, every call of this process that needs room asks first."""
        names = ("open", "pwrite", "ftruncate", "rename", "replace", "mkdir", "symlink")
        real = {name: getattr(os, name) for name in names}
        places: dict[int, str] = {}

        def opened(path: Any, flags: int, *more: Any, **others: Any) -> int:
            if flags & os.O_CREAT and not os.path.lexists(path):
                self.take(path)
            number = int(real["open"](path, flags, *more, **others))
            places[number] = os.fspath(path)
            return number

        def written(number: int, data: Any, offset: int) -> int:
            self.take(places.get(number, ""))
            return int(real["pwrite"](number, data, offset))

        def resized(number: int, size: int) -> None:
            self.take(places.get(number, ""))
            real["ftruncate"](number, size)

        def named(call: Callable[..., Any], place: int) -> Callable[..., Any]:
            def asking(*arguments: Any, **others: Any) -> Any:
                self.take(arguments[place])
                return call(*arguments, **others)

            return asking

        def io_open(file: Any, mode: str = "r", *more: Any, **others: Any) -> Any:
            if "w" in mode or "x" in mode or "a" in mode:
                self.take(file)
                return _Writer(real_open(file, mode, *more, **others), self, file)
            return real_open(file, mode, *more, **others)

        real_open = io.open
        fakes: dict[str, Callable[..., Any]] = {
            "open": opened, "pwrite": written, "ftruncate": resized, "mkdir": named(real["mkdir"], 0),
            "rename": named(real["rename"], 1), "replace": named(real["replace"], 1),
            "symlink": named(real["symlink"], 1),
        }  # fmt: skip
        for name, fake in fakes.items():
            setattr(os, name, fake)
        io.open = builtins.open = io_open  # type: ignore[assignment]
        try:
            yield
        finally:
            for name, call in real.items():
                setattr(os, name, call)
            io.open = builtins.open = real_open


class _Writer:
    """A file opened for writing whose every write needs room."""

    def __init__(self, file: Any, disk: Disk, path: Any) -> None:
        self._file, self._disk, self._path = file, disk, path

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        self._disk.take(self._path)
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def until_it_passes(name: str, make: Callable[[Path], Callable[[], None]]) -> tuple[int, int]:
    """Run the work on a disk with room for 0, 1, 2, … calls; how often it was tried, and refused.

    ``make`` prepares a folder and gives the work, which checks itself and can be done again.
    """
    tried = refused = 0
    while True:
        with tempfile.TemporaryDirectory(prefix="p2pv-", dir=power.MEMORY) as folder:
            root = Path(folder) / "disk"
            root.mkdir()
            work = make(root)
            tried += 1
            disk = Disk(root, tried - 1)
            failure = _failure(disk, work)
            if failure is None:
                return tried, refused
            known = to_error(failure)
            assert isinstance(known, DiskFullError), f"{name}, write {tried}: {failure!r}"
            assert known.hint
            refused += 1
            work()


def _failure(disk: Disk, work: Callable[[], None]) -> Exception | None:
    try:
        with disk.patched():
            work()
    except Exception as error:
        return error
    return None


def add_file(root: Path) -> Callable[[], None]:
    """A file is put into the store, as publishing does."""
    thing = power.make_thing(random.Random(1))
    source = root.parent / "source"
    source.write_bytes(thing.data)

    def work() -> None:
        with contextlib.closing(Store(root / "store")) as store:
            if not (store.has(thing.digest) and store.inspection.ensure_indexed(thing.digest, thing.chunks)):
                store.add_file(source, thing.chunks)
            _holds(store, thing)

    return work


def fetch(root: Path) -> Callable[[], None]:
    """A file grows chunk by chunk, as fetching and updating do; what was told to be here stays."""
    chance = random.Random(2)
    old = power.make_thing(chance)
    thing = power.make_thing(chance, old)
    source = root.parent / "source"
    source.write_bytes(old.data)
    with contextlib.closing(Store(root / "store")) as store:
        store.add_file(source, old.chunks)
    kept: set[int] = set()

    def work() -> None:
        with contextlib.closing(Store(root / "store")) as store:
            _holds(store, old)
            if store.has(thing.digest) and store.inspection.ensure_indexed(thing.digest, thing.chunks):
                _holds(store, thing)
                return
            partial = store.open_partial(thing.digest, thing.chunks)
            assert not kept & set(partial.missing()), "a chunk that was kept is gone"
            store.copy_known(thing.digest)
            for number in partial.missing():
                partial.write(number, thing.piece(number))
                kept.add(number)
            store.finish(thing.digest)
            _holds(store, thing)

    return work


def repair(root: Path) -> Callable[[], None]:
    """A damaged file is made anew."""
    thing = power.make_thing(random.Random(3))
    source = root.parent / "source"
    source.write_bytes(thing.data)
    with contextlib.closing(Store(root / "store")) as store:
        store.add_file(source, thing.chunks)
        store.path(thing.digest).chmod(0o600)
        store.path(thing.digest).write_bytes(b"?" + thing.data[1:])

    def work() -> None:
        with contextlib.closing(Store(root / "store")) as store:
            if store.has(thing.digest) and not store.inspection.check(thing.digest, thing.chunks, [0]):
                return
            store.inspection.set_aside(thing.digest)
            partial = store.open_partial(thing.digest, thing.chunks)
            store.copy_known(thing.digest)
            assert not set(partial.missing()) - {0}
            for number in partial.missing():
                partial.write(number, thing.piece(number))
            store.finish(thing.digest)
            _holds(store, thing)

    return work


def draft(root: Path) -> Callable[[], None]:
    """A draft takes the place of one by its name, as importing and training do: one is always there."""
    (root / "drafts").mkdir()
    first = Drafts(root / "drafts")

    def make(drafts: Drafts, content: str) -> None:
        slug, bundle = drafts.begin("Storyteller", None)
        try:
            bundle.mkdir()
            (bundle / "voice.json").write_text(content)
            drafts.finish("Storyteller", slug, {"languages": ["yue"]})
        finally:
            drafts.abandon(slug)

    make(first, "old")

    def work() -> None:
        drafts = Drafts(root / "drafts")
        drafts.clean()
        assert (drafts.get("storyteller").bundle / "voice.json").read_text() in ("old", "new")
        make(drafts, "new")
        assert (drafts.get("storyteller").bundle / "voice.json").read_text() == "new"
        drafts.note(drafts.get("storyteller"), {"tags": ["yue"]})
        assert [path.name for path in (root / "drafts").iterdir()] == ["storyteller"]

    return work


def _holds(store: Store, thing: power.Thing) -> None:
    assert store.path(thing.digest).read_bytes() == thing.data
    numbers = range(len(thing.chunks))
    assert [store.read_chunk(thing.digest, n) for n in numbers] == [thing.piece(n) for n in numbers]


def database() -> tuple[int, int]:
    """The catalog, when its file may grow to n pages, for every n from those it has to those it needs."""
    tried = refused = 0
    with tempfile.TemporaryDirectory(prefix="p2pv-", dir=power.MEMORY) as folder:
        path = Path(folder) / "catalog.sqlite"
        opened = open_database(path)
        catalog = Catalog(opened, clock=lambda: NOW)
        voices = [replace(voice, created=voice.created + n) for n in range(20) for voice in VOICES]
        releases = [release_of(voice) for voice in voices]
        pages = int(opened.rows("PRAGMA page_count")[0][0])
        done: set[str] = set()
        for room in range(400):
            opened.rows(f"PRAGMA max_page_count={pages + room}")
            tried += 1
            try:
                for release in releases:
                    if release.id not in done:
                        catalog.add_release(release.envelope.to_bytes())
                        done.add(release.id)
                        catalog.install(release, seed=True)
            except DiskFullError:
                refused += 1
                assert {one.id for one in releases if catalog.release(one.id)} == done
                continue
            break
        opened.close()
        with contextlib.closing(sqlite3.connect(path)) as checked:
            assert checked.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert done == {release.id for release in releases}
    return tried, refused


WORKS = {"add": add_file, "fetch": fetch, "repair": repair, "draft": draft}


def run(tell: Callable[[str], None] = print) -> tuple[int, int]:
    """Every work at every write; tells of each, and returns how many were tried and refused."""
    tried = refused = 0
    for name, make in WORKS.items():
        one, other = until_it_passes(name, make)
        tell(f"{name}: tried {one}, refused {other}, lost: 0")
        tried, refused = tried + one, refused + other
    one, other = database()
    tell(f"catalog: tried {one}, refused {other}, lost: 0")
    tell(f"tried {tried + one}, refused {refused + other}, lost: 0")
    return tried + one, refused + other


if __name__ == "__main__":
    run()
