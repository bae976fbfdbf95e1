"""The store: files by hash, partial files that survive, local copies, garbage collection, a full disk."""

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pvoice.node import garbage
from p2pvoice.node.blocks import plan_file
from p2pvoice.node.store import Store
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.errors import (
    ChunkMismatchError,
    CorruptError,
    IntegrityError,
    NotFoundError,
    QuotaError,
)

PIECE = 4096


def _random(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def _pieces(data: bytes, piece: int = PIECE) -> list[bytes]:
    return [data[start : start + piece] for start in range(0, len(data), piece)]


def _chunks(data: bytes, piece: int = PIECE) -> tuple[Chunk, ...]:
    return tuple(Chunk(len(part), hashlib.sha256(part).digest()) for part in _pieces(data, piece))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


def _add(store: Store, tmp_path: Path, data: bytes) -> bytes:
    source = tmp_path / "source"
    source.write_bytes(data)
    digest, chunks = plan_file(source, [len(part) for part in _pieces(data)])
    assert chunks == _chunks(data)
    assert store.add_file(source, chunks) == digest
    return digest


def test_file_is_named_by_its_hash_and_read_by_chunks(store: Store, tmp_path: Path) -> None:
    data = _random(10 * PIECE + 7)
    digest = _add(store, tmp_path, data)
    assert digest == hashlib.sha256(data).digest()
    assert store.path(digest).name == digest.hex()
    assert [store.read_chunk(digest, index) for index in range(11)] == _pieces(data)
    assert store.read_chunk(digest, 11) is None
    assert store.chunks(digest) == _chunks(data)


def test_unknown_file_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.path(bytes(32))
    assert store.read_chunk(bytes(32), 0) is None


def test_file_is_fetched_in_any_order_and_becomes_whole_once(store: Store) -> None:
    data = _random(9 * PIECE + 1)
    digest, parts = hashlib.sha256(data).digest(), _pieces(data)
    partial = store.open_partial(digest, _chunks(data))
    order = list(range(len(parts)))
    random.Random(3).shuffle(order)
    for index in order:
        assert not store.has(digest)
        assert partial.write(index, parts[index])
        assert not partial.write(index, parts[index])
    store.finish(digest)
    assert store.path(digest).read_bytes() == data


def test_partial_file_goes_on_where_it_was_left(tmp_path: Path) -> None:
    data = _random(8 * PIECE)
    digest, parts, chunks = hashlib.sha256(data).digest(), _pieces(data), _chunks(data)
    first = Store(tmp_path / "store")
    partial = first.open_partial(digest, chunks)
    for index in (0, 3, 7):
        partial.write(index, parts[index])
    first.close()
    second = Store(tmp_path / "store")
    partial = second.open_partial(digest, chunks)
    assert partial.missing() == [1, 2, 4, 5, 6]
    assert partial.read(3) == parts[3]
    assert partial.read(1) is None
    second.close()


def test_bits_of_another_chunk_list_are_not_believed(tmp_path: Path) -> None:
    data = _random(8 * PIECE)
    digest = hashlib.sha256(data).digest()
    first = Store(tmp_path / "store")
    first.open_partial(digest, _chunks(data)).write(0, data[:PIECE])
    first.close()
    second = Store(tmp_path / "store")
    partial = second.open_partial(digest, _chunks(data, 2 * PIECE))
    assert partial.missing() == [0, 1, 2, 3]
    second.close()


def test_wrong_chunk_is_refused_and_changes_nothing(store: Store) -> None:
    data = _random(2 * PIECE)
    partial = store.open_partial(hashlib.sha256(data).digest(), _chunks(data))
    for wrong in (data[:PIECE][::-1], data[: PIECE - 1], b""):
        with pytest.raises(ChunkMismatchError):
            partial.write(0, wrong)
    assert partial.missing() == [0, 1]


def test_file_whose_chunks_are_right_and_hash_is_wrong_is_refused(store: Store) -> None:
    data = _random(2 * PIECE)
    wrong = hashlib.sha256(b"something else").digest()
    partial = store.open_partial(wrong, _chunks(data))
    for index, part in enumerate(_pieces(data)):
        partial.write(index, part)
    with pytest.raises(IntegrityError):
        store.finish(wrong)
    assert not store.has(wrong)
    assert store.open_partial(wrong, _chunks(data)).missing() == [0, 1]


def test_chunks_another_file_has_are_copied_and_not_fetched(store: Store, tmp_path: Path) -> None:
    old = _random(10 * PIECE)
    _add(store, tmp_path, old)
    new = old[: 4 * PIECE] + _random(PIECE, 9) + old[5 * PIECE :]
    digest = hashlib.sha256(new).digest()
    partial = store.open_partial(digest, _chunks(new))
    assert store.copy_known(digest) == 9 * PIECE
    assert partial.missing() == [4]


def damage(path: Path, at: int) -> None:
    """Change four bytes of a stored file."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(4)
        file.seek(at)
        file.write(bytes(byte ^ 0xFF for byte in old))


def test_damaged_source_is_not_copied_and_set_aside(store: Store, tmp_path: Path) -> None:
    data = _random(3 * PIECE)
    digest = _add(store, tmp_path, data)
    damage(store.path(digest), PIECE + 5)
    other = _random(PIECE, 4) + data
    partial = store.open_partial(hashlib.sha256(other).digest(), _chunks(other))
    assert store.copy_known(hashlib.sha256(other).digest()) < 3 * PIECE
    assert 2 in partial.missing()
    assert not store.has(digest)
    assert store.read_chunk(digest, 0) is None


def test_damaged_chunk_is_not_served_and_its_file_is_made_anew(store: Store, tmp_path: Path) -> None:
    data, chunks = _random(5 * PIECE + 3), _chunks(_random(5 * PIECE + 3))
    digest = _add(store, tmp_path, data)
    path = store.path(digest)
    damage(path, 2 * PIECE + 5)
    mapped = path.open("rb")
    assert store.inspection.check(digest, chunks, range(6)) == [2]
    assert store.read_chunk(digest, 1) == data[PIECE : 2 * PIECE]
    with pytest.raises(CorruptError):
        store.read_chunk(digest, 2)
    assert not store.has(digest)
    assert store.read_chunk(digest, 1) is None
    assert store.inspection.check(digest, chunks, range(6)) == [2]
    partial = store.open_partial(digest, chunks)
    assert store.copy_known(digest) == len(data) - PIECE
    assert partial.missing() == [2]
    partial.write(2, data[2 * PIECE : 3 * PIECE])
    assert store.finish(digest).read_bytes() == data
    assert store.read_chunk(digest, 2) == data[2 * PIECE : 3 * PIECE]
    # Whoever had the damaged file open still sees the bytes that it had: it was not written to.
    assert mapped.read() != data
    mapped.close()
    assert os.listdir(tmp_path / "store" / "partial") == []


@pytest.mark.parametrize("more", [b"", b"x"], ids=["shorter", "longer"])
def test_file_of_another_length_is_damaged(store: Store, tmp_path: Path, more: bytes) -> None:
    data = _random(2 * PIECE)
    digest = _add(store, tmp_path, data)
    store.path(digest).chmod(0o600)
    store.path(digest).write_bytes(data + more if more else data[:-1])
    assert store.inspection.check(digest, _chunks(data), range(2)) == ([] if more else [1])
    assert not store.layout.has_size(digest, len(data))


def test_whole_file_without_an_index_is_indexed_when_it_is_right(tmp_path: Path) -> None:
    data = _random(3 * PIECE)
    store = Store(tmp_path / "store")
    digest = _add(store, tmp_path, data)
    store.index.drop(digest)
    assert store.inspection.unindexed() == [digest]
    wrong = _chunks(_random(3 * PIECE, 9))
    with pytest.raises(IntegrityError):
        store.inspection.ensure_indexed(digest, wrong)
    assert store.inspection.ensure_indexed(digest, _chunks(data))
    assert store.read_chunk(digest, 2) == data[2 * PIECE :]
    store.index.drop(digest)
    damage(store.path(digest), 0)
    assert not store.inspection.ensure_indexed(digest, _chunks(data))
    assert not store.has(digest)
    store.close()


def test_damaged_index_is_built_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digest = _add(store, tmp_path, _random(3 * PIECE))
    store.close()
    (tmp_path / "store" / "index.sqlite").write_bytes(b"rotten" * 1000)
    store = Store(tmp_path / "store")
    assert store.has(digest)
    assert store.inspection.unindexed() == [digest]
    store.close()


def test_index_forgets_what_is_not_on_disk(store: Store, tmp_path: Path) -> None:
    digest = _add(store, tmp_path, _random(PIECE))
    store.path(digest).unlink()
    assert store.inspection.forget_missing() == 1
    assert store.index.files() == set()


def test_old_bits_do_not_speak_of_a_new_partial_file(tmp_path: Path) -> None:
    data, parts = _random(4 * PIECE), _pieces(_random(4 * PIECE))
    digest, chunks = hashlib.sha256(data).digest(), _chunks(data)
    store = Store(tmp_path / "store")
    store.open_partial(digest, chunks).write(0, parts[0])
    store.close()
    (tmp_path / "store" / "partial" / f"{digest.hex()}.part").unlink()
    for _ in range(2):
        # The second start meets the empty file that the first one made.
        store = Store(tmp_path / "store")
        assert store.open_partial(digest, chunks).missing() == [0, 1, 2, 3]
        store.close()


def test_chunk_that_changed_in_a_partial_file_is_missing_again(tmp_path: Path) -> None:
    data, parts = _random(4 * PIECE), _pieces(_random(4 * PIECE))
    digest, chunks = hashlib.sha256(data).digest(), _chunks(data)
    part = tmp_path / "store" / "partial" / f"{digest.hex()}.part"
    store = Store(tmp_path / "store")
    partial = store.open_partial(digest, chunks)
    for index, piece in enumerate(parts):
        partial.write(index, piece)
    store.close()
    damage(part, 1 * PIECE)
    store = Store(tmp_path / "store")
    partial = store.open_partial(digest, chunks)
    assert partial.missing() == [1]
    # What follows the gap is read for the hash of the whole when the gap is filled.
    damage(part, 3 * PIECE)
    partial.write(1, parts[1])
    with pytest.raises(CorruptError):
        store.finish(digest)
    assert partial.missing() == [3]
    partial.write(3, parts[3])
    damage(part, 2 * PIECE)
    assert partial.read(2) is None
    partial.write(2, parts[2])
    assert store.finish(digest).read_bytes() == data
    # What changes after its turn is found whenever it is read, as in any whole file.
    damage(store.path(digest), PIECE)
    with pytest.raises(CorruptError):
        store.read_chunk(digest, 1)
    store.close()


def test_collection_keeps_what_is_wanted_and_what_is_being_fetched(store: Store, tmp_path: Path) -> None:
    wanted, unwanted = _add(store, tmp_path, _random(PIECE, 1)), _add(store, tmp_path, _random(PIECE, 2))
    growing = _random(PIECE, 3)
    store.open_partial(hashlib.sha256(growing).digest(), _chunks(growing)).write(0, growing)
    would = garbage.collect(store, {wanted}, dry_run=True)
    assert [(one.kind, one.digest) for one in would] == [("file", unwanted)]
    assert store.has(unwanted)
    with store.holding([unwanted]) as hold:
        hold(unwanted)
        assert garbage.collect(store, {wanted}) == []
        assert garbage.remove(store, [unwanted]) == 0
    assert garbage.collect(store, {wanted}) == would
    assert sum(one.bytes for one in would) >= PIECE
    assert store.has(wanted)
    assert not store.has(unwanted)
    assert store.read_chunk(unwanted, 0) is None
    store.finish(hashlib.sha256(growing).digest())


def test_quota_counts_allocated_blocks(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", quota=10 * PIECE)
    _add(store, tmp_path, _random(6 * PIECE))
    assert store.layout.usage().files == 1
    room = 10 * PIECE - store.layout.usage().bytes
    fits, over = _random(room, 5), _random(room + 1, 6)
    with pytest.raises(QuotaError):
        store.open_partial(hashlib.sha256(over).digest(), _chunks(over))
    store.open_partial(hashlib.sha256(fits).digest(), _chunks(fits))
    # Nothing of it was written yet, so it occupies nothing.
    assert store.layout.usage().bytes <= 7 * PIECE
    store.close()


def test_unfinished_additions_are_cleaned_at_the_start(tmp_path: Path) -> None:
    Store(tmp_path / "store").close()
    left = tmp_path / "store" / "partial" / "add-1-2-gpt.safetensors"
    left.write_bytes(b"half")
    Store(tmp_path / "store").close()
    assert not left.exists()


FILL = """
import hashlib, resource, signal, sys
from pathlib import Path
from p2pvoice.node.store import Store
from p2pvoice.protocol.chunks import Chunk
from p2pvoice.protocol.errors import DiskFullError
data = Path(sys.argv[2]).read_bytes()
parts = [data[start : start + 65536] for start in range(0, len(data), 65536)]
chunks = [Chunk(len(part), hashlib.sha256(part).digest()) for part in parts]
store = Store(Path(sys.argv[1]))
partial = store.open_partial(hashlib.sha256(data).digest(), chunks)
if sys.argv[3] == "limit":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536 * 5, 65536 * 5))
done = 0
try:
    for index, part in enumerate(parts):
        done += partial.write(index, part)
except DiskFullError as error:
    assert error.exit_code == 1 and error.hint
    print(done)
"""


def _until_full(store: Path, data: bytes, tmp_path: Path, how: str) -> int:
    source = tmp_path / "data"
    source.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(store), str(source), how], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_full_disk_is_its_own_error_and_keeps_what_came(tmp_path: Path) -> None:
    """The file-size limit stands in for the disk's end: the kernel refuses the write in the same place."""
    data = _random(10 * 65536)
    store = tmp_path / "store"
    written = _until_full(store, data, tmp_path, "limit")
    assert written == 5
    again = Store(store)
    digest, chunks = hashlib.sha256(data).digest(), _chunks(data, 65536)
    partial = again.open_partial(digest, chunks)
    assert partial.missing() == [5, 6, 7, 8, 9]
    for index in partial.missing():
        partial.write(index, data[index * 65536 : (index + 1) * 65536])
    assert again.finish(digest).read_bytes() == data
    again.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where the tests may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_truly_full_disk_keeps_what_came(small_disk: Path, tmp_path: Path) -> None:
    data = _random(2 * 1024 * 1024)
    written = _until_full(small_disk / "store", data, tmp_path, "disk")
    assert 0 < written < 32
    again = Store(small_disk / "store")
    partial = again.open_partial(hashlib.sha256(data).digest(), _chunks(data, 65536))
    assert partial.missing() == list(range(written, 32))
    assert partial.read(written - 1) == data[(written - 1) * 65536 : written * 65536]
    again.close()


def test_killed_writer_never_leaves_a_bit_without_its_data(tmp_path: Path) -> None:
    """A process is killed between two chunks again and again; every bit it left must be true."""
    code = (
        FILL.split("done = 0")[0]
        + "import os\n"
        + "for index, part in enumerate(parts):\n"
        + "    partial.write(index, part)\n"
        + "    if index == int(sys.argv[4]): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    data = _random(6 * 65536)
    source = tmp_path / "data"
    source.write_bytes(data)
    digest, chunks = hashlib.sha256(data).digest(), _chunks(data, 65536)
    for index in range(5):
        ended = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "store"), str(source), "-", str(index)]
        )
        assert ended.returncode == -9
        store = Store(tmp_path / "store")
        partial = store.open_partial(digest, chunks)
        for held in set(range(6)) - set(partial.missing()):
            assert partial.read(held) == data[held * 65536 : (held + 1) * 65536]
        assert partial.missing() == list(range(index + 1, 6))
        store.close()
    assert os.listdir(tmp_path / "store" / "files") == []


def test_the_index_knows_at_once_what_was_written_and_dropped(store: Store, tmp_path: Path) -> None:
    data = _random(4 * PIECE)
    digest = _add(store, tmp_path, data)
    first = store.index.locate(digest, 3)
    assert first is not None
    assert first.start == 3 * PIECE
    assert store.index.locate(digest, 4) is None
    assert store.index.locate(digest, -1) is None
    store.index.put(digest, _chunks(data, 2 * PIECE))
    assert store.index.locate(digest, 3) is None
    second = store.index.locate(digest, 1)
    assert second is not None
    assert second.start == 2 * PIECE
    store.index.drop(digest)
    assert store.index.locate(digest, 0) is None


def test_several_chunks_are_kept_with_one_sync_and_hashed_in_turn(store: Store) -> None:
    data = _random(6 * PIECE)
    digest, parts = hashlib.sha256(data).digest(), _pieces(data)
    partial = store.open_partial(digest, _chunks(data))
    assert partial.write_many([(3, parts[3]), (1, parts[1])], checked=True) == 2 * PIECE
    assert partial.write_many([(1, parts[1]), (0, parts[0]), (2, parts[2])], checked=True) == 2 * PIECE
    # One that was not checked is compared, and passed over when it is another's bytes.
    assert partial.write_many([(4, parts[5]), (5, parts[5])]) == PIECE
    assert partial.have_bytes() == 5 * PIECE
    assert partial.write(4, parts[4])
    assert partial.digest() == digest
    assert store.finish(digest).read_bytes() == data
