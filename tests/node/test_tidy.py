"""What a start puts in order: index, links, drafts, and files that nobody needs; and commits that last."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from p2pvoice.node import garbage, tidy
from p2pvoice.node.catalog import Catalog
from p2pvoice.node.database import Database
from p2pvoice.node.drafts import Drafts
from p2pvoice.node.paths import Home
from p2pvoice.node.schema import open_database
from p2pvoice.node.store import Store
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.manifest import Release, sign_manifest

from .test_catalog import KEYS, add, make_head, make_release
from .test_store import damage


@dataclass
class Place:
    """A home with its store and catalog."""

    home: Home
    store: Store
    catalog: Catalog

    def release(self, slug: str, content: bytes) -> Release:
        """A release whose one file is in the store."""
        made = add(self.catalog, make_release(slug=slug, content=content))
        source = self.home.root / "source"
        source.write_bytes(content)
        self.store.add_file(source, made.manifest.files[0].chunks)
        return made

    def start(self, *, new_catalog: bool = False) -> None:
        tidy.at_start(self.home, self.store, self.catalog, new_catalog=new_catalog)

    def stored(self) -> set[str]:
        return set(os.listdir(self.home.store / "files"))


def name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    home = Home.at(tmp_path)
    home.prepare()
    database = open_database(home.catalog)
    store = Store(home.store)
    yield Place(home, store, Catalog(database, clock=lambda: 1_790_000_000.0))
    store.close()
    database.close()


def test_files_that_are_needed_stay_and_others_go(place: Place) -> None:
    held, begun = place.release("held", b"held"), place.release("begun", b"begun")
    place.release("heard", b"heard of")
    place.catalog.install(held, seed=True)
    place.store.index.begin_fetch(begun.id, 1_789_000_000)
    needed = tidy.needed_files(place.store, place.catalog, now=1_790_000_000.0)
    assert {digest.hex() for digest in needed} == {name(b"held"), name(b"begun")}
    month = 1_789_000_000 + tidy.FETCH_KEPT
    assert len(tidy.needed_files(place.store, place.catalog, now=month)) == 2
    assert len(tidy.needed_files(place.store, place.catalog, now=month + 1)) == 1
    place.start(new_catalog=True)
    assert len(place.stored()) == 3
    place.start()
    assert place.stored() >= {name(b"held")}
    assert name(b"heard of") not in place.stored()


def test_beginnings_are_kept_at_a_start_however_old_and_without_a_note(place: Place) -> None:
    """The note of a begun fetch is in the index, which may be lost; gc alone decides about its beginnings."""
    made = [make_release(slug=slug, content=slug.encode()) for slug in ("old", "lost")]
    old, lost = (add(place.catalog, release) for release in made)
    place.store.index.begin_fetch(old.id, 1)
    beginnings = set()
    for release in (old, lost):
        entry = release.manifest.files[0]
        place.store.open_partial(entry.digest, entry.chunks)
        place.store.close_partial(entry.digest)
        beginnings |= {f"{entry.digest.hex()}.part", f"{entry.digest.hex()}.bits"}
    partial = place.home.store / "partial"
    (partial / f"{name(b'of nobody')}.part").write_bytes(b"x")
    for _ in range(2):
        place.start()
        assert set(os.listdir(partial)) == beginnings
    needed = tidy.needed_files(place.store, place.catalog)
    assert len(garbage.collect(place.store, needed, dry_run=True)) == 4
    place.store.index.begin_fetch(old.id, int(time.time()))
    needed = tidy.needed_files(place.store, place.catalog)
    assert {gone.digest for gone in garbage.collect(place.store, needed)} == {lost.manifest.files[0].digest}
    assert len(os.listdir(partial)) == 2


def test_file_without_an_index_is_indexed_and_a_damaged_one_set_aside(place: Place) -> None:
    right, wrong = place.release("right", b"right bytes"), place.release("wrong", b"wrong bytes")
    for release in (right, wrong):
        place.catalog.install(release, seed=True)
        place.store.index.drop(release.manifest.files[0].digest)
    damage(place.store.place(wrong.manifest.files[0].digest), 0)
    place.store.index.put(bytes(32), right.manifest.files[0].chunks)
    place.start()
    assert place.store.read_chunk(right.manifest.files[0].digest, 0) == b"right bytes"
    assert place.stored() == {name(b"right bytes")}
    assert place.store.index.files() == {right.manifest.files[0].digest}
    assert os.listdir(place.home.store / "partial") == [name(b"wrong bytes") + ".damaged"]


def test_strangers_chunk_list_does_not_make_a_right_file_look_damaged(place: Place) -> None:
    held = place.release("held", b"held")
    entry = held.manifest.files[0]
    lie = replace(entry, chunks=(Chunk(2, bytes(32)), Chunk(2, bytes(32))))
    liar = add(place.catalog, sign_manifest(replace(held.manifest, slug="liar", files=(lie,)), KEYS[0]))
    place.store.index.begin_fetch(liar.id, int(time.time()))
    place.store.index.drop(entry.digest)
    place.catalog.forget(held.id)
    place.start()
    assert place.stored() == {name(b"held")}
    assert place.store.index.files() == set()
    place.catalog.install(add(place.catalog, held), seed=True)
    place.start()
    assert place.store.read_chunk(entry.digest, 0) == b"held"


def test_folders_of_links_are_those_of_installed_voices(place: Place) -> None:
    held = place.release("held", b"held")
    place.catalog.install(held, seed=True)
    place.start()
    folder = place.home.voices / held.id
    assert (folder / "gpt.safetensors").read_bytes() == b"held"
    (folder / "gpt.safetensors").unlink()
    (folder / "gpt.safetensors").symlink_to("/somewhere/else")
    for left in (f".{held.id}", "removed"):
        (place.home.voices / left).mkdir()
        (place.home.voices / left / "x").symlink_to("/nowhere")
    place.start()
    assert os.listdir(place.home.voices) == [held.id]
    assert (folder / "gpt.safetensors").read_bytes() == b"held"
    shutil.rmtree(folder)
    place.start()
    assert (folder / "gpt.safetensors").read_bytes() == b"held"


def test_draft_that_was_being_replaced_is_put_back(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    _, bundle = drafts.begin("Storyteller", None)
    bundle.mkdir()
    drafts.finish("Storyteller", "storyteller", {})
    (tmp_path / "storyteller" / "publishing").mkdir()
    (tmp_path / "storyteller").rename(tmp_path / ".storyteller.old")
    drafts.begin("Storyteller", None)
    drafts.clean()
    assert [draft.slug for draft in drafts.all()] == ["storyteller"]
    assert os.listdir(tmp_path) == ["storyteller"]
    assert sorted(os.listdir(tmp_path / "storyteller")) == ["bundle", "draft.json"]


def test_draft_whose_removal_was_cut_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drafts = Drafts(tmp_path)
    _, bundle = drafts.begin("Storyteller", None)
    bundle.mkdir()
    (bundle / "gpt.safetensors").write_bytes(b"weights")
    draft = drafts.finish("Storyteller", "storyteller", {})
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        assert drafts.remove(draft) == 7
    assert drafts.all() == []
    drafts.clean()
    assert os.listdir(tmp_path) == []


def test_head_and_installation_come_together_or_not_at_all(place: Place) -> None:
    first, second = place.release("voice", b"1"), add(place.catalog, make_release(slug="voice", content=b"2"))
    place.catalog.install(first, seed=True, head=make_head(first, 2))
    with pytest.raises(Exception, match="old head"):
        place.catalog.install(second, seed=True, head=make_head(second, 1))
    assert [held.release for held in place.catalog.installed()] == [first.id]
    place.catalog.install(second, seed=True, head=make_head(second, 3))
    assert [held.release for held in place.catalog.installed()] == [second.id]


def test_commits_are_synced_unless_they_need_not_last(tmp_path: Path) -> None:
    """Told by the kernel: the calls that a process makes between two marks it writes."""
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    code = """
import os, sys
from pathlib import Path
from p2pvoice.node.database import Database
database = Database(Path(sys.argv[1]), [lambda c: c.execute("CREATE TABLE a(x)")])
for lasting in (True, False, True, False):
    os.write(2, b"mark")
    with database.write(lasting=lasting) as connection:
        connection.execute("INSERT INTO a VALUES (1)")
os.write(2, b"mark")
os._exit(0)
"""
    trace = tmp_path / "trace"
    line = ["strace", "-f", "-o", str(trace), "-e", "trace=write,fsync,fdatasync", sys.executable, "-c", code]
    done = subprocess.run([*line, str(tmp_path / "a.sqlite")], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"strace cannot trace here: {done.stderr.decode()[:200]}")
    spans = trace.read_text().split('"mark"')[1:-1]
    # The write-ahead log is opened, and its name synced, with the first.
    synced = ["sync(" in span for span in spans]
    assert synced == [True, False, True, False]


def test_level_of_syncing_follows_what_is_asked(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", [lambda c: c.execute("CREATE TABLE a(x)")])
    for lasting, level in ((True, 2), (False, 1), (True, 2)):
        with database.write(lasting=lasting) as connection:
            assert connection.execute("PRAGMA synchronous").fetchone()[0] == level
    database.close()
