"""The peer book and the two keys: what is remembered, for how long, and how it is stored."""

import stat
from pathlib import Path

import pytest

from p2pvoice.node.identity import AUTHOR_FILE, PEER_FILE, load_or_create
from p2pvoice.node.peers import (
    ADDRESS_LENGTH,
    ADDRESS_LIMIT,
    BOOK_LIMIT,
    PEER_LIMIT,
    SHUN_SECONDS,
    Fault,
    PeerBook,
)
from p2pvoice.protocol.errors import CorruptError, PolicyError


class Clock:
    """A clock that stands until it is moved."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_liar_is_shunned_for_hours_hanger_for_minutes_absentee_not_at_all() -> None:
    clock = Clock()
    book = PeerBook(clock)
    for fault in Fault:
        book.drop(fault.name, fault, "x")
    assert SHUN_SECONDS[Fault.WRONG_BYTES] >= 3600 > SHUN_SECONDS[Fault.HUNG] > 0
    for fault in Fault:
        assert book.is_shunned(fault.name) == (SHUN_SECONDS[fault] > 0)
    clock.now += SHUN_SECONDS[Fault.WRONG_BYTES] - 1
    assert book.is_shunned(Fault.WRONG_BYTES.name)
    assert not book.is_shunned(Fault.HUNG.name)
    clock.now += 1
    assert not book.is_shunned(Fault.WRONG_BYTES.name)


def test_best_first_leaves_the_shunned_out() -> None:
    book = PeerBook()
    book.reward("good", 5)
    book.drop("weak", Fault.LEFT)
    book.drop("liar", Fault.WRONG_BYTES)
    assert book.best_first(["weak", "new", "liar", "good"]) == ["good", "new", "weak"]


def test_row_tells_why_and_when() -> None:
    clock = Clock()
    book = PeerBook(clock)
    book.seen("p", ["/ip4/192.0.2.1/tcp/1"])
    book.connected("p", "inbound")
    book.count("p", received=5, sent=7)
    book.drop("p", Fault.WRONG_BYTES, "chunk 3 of gpt.safetensors")
    (row,) = book.rows()
    assert row["dropped"] == {"reason": "served wrong bytes: chunk 3 of gpt.safetensors", "at": clock.now}
    assert (row["bytes_in"], row["bytes_out"], row["connected"], row["direction"]) == (5, 7, True, "inbound")
    assert row["score"] < 0
    book.disconnected("p")
    assert not book.rows()[0]["connected"]


def test_book_survives_a_restart_but_connections_do_not(tmp_path: Path) -> None:
    clock = Clock()
    book = PeerBook(clock)
    book.seen("p", ["/ip4/192.0.2.1/tcp/1"])
    book.connected("p", "outbound")
    book.drop("p", Fault.WRONG_BYTES, "chunk 3")
    book.save(tmp_path / "peers.json")
    again = PeerBook(clock)
    again.load(tmp_path / "peers.json")
    assert again.is_shunned("p")
    (row,), (before,) = again.rows(), book.rows()
    assert row == before | {"connected": False}
    assert [p.name for p in tmp_path.iterdir()] == ["peers.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"peers": [{}]}', '{"peers": [{"id": 1, "dropped": 5}]}'])
def test_damaged_book_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "peers.json").write_text(text)
    book = PeerBook()
    book.load(tmp_path / "peers.json")
    book.load(tmp_path / "missing.json")
    assert len(book) == 0


def test_book_is_bounded_and_keeps_who_matters() -> None:
    clock = Clock()
    book = PeerBook(clock)
    book.drop("liar", Fault.WRONG_BYTES)
    book.connected("here", "inbound")
    for number in range(PEER_LIMIT - 2):
        clock.now += 1
        book.seen(f"p{number}", [f"/ip4/192.0.2.1/tcp/{n}" for n in range(ADDRESS_LIMIT + 1)])
    assert len(book) == PEER_LIMIT
    assert len(book.entry("p0").addresses) == ADDRESS_LIMIT
    book.seen("one more")
    assert len(book) == PEER_LIMIT
    assert book.is_shunned("liar")
    assert book.entry("here").connected


def test_keys_are_two_private_and_stay_the_same(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    first, second = load_or_create(keys), load_or_create(keys)
    assert first.author_public == second.author_public
    assert first.peer_seed == second.peer_seed
    assert first.author.private_bytes_raw() != first.peer_seed
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(f.stat().st_mode) for f in keys.iterdir()} == {0o600}
    assert sorted(f.name for f in keys.iterdir()) == [AUTHOR_FILE, PEER_FILE]
    assert "key" not in repr(first).lower().replace("identity", "")


def test_open_folder_is_closed_and_open_key_refused(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o755)
    load_or_create(keys)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    (keys / AUTHOR_FILE).chmod(0o640)
    with pytest.raises(PolicyError, match="can be read by other users") as caught:
        load_or_create(keys)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("size", [0, 31, 33])
def test_damaged_key_is_never_replaced(tmp_path: Path, size: int) -> None:
    load_or_create(tmp_path / "keys")
    path = tmp_path / "keys" / PEER_FILE
    path.write_bytes(b"x" * size)
    with pytest.raises(CorruptError):
        load_or_create(tmp_path / "keys")
    assert path.read_bytes() == b"x" * size


def test_book_that_would_be_too_long_keeps_the_liars(tmp_path: Path) -> None:
    """Each stranger brings the longest addresses and texts that are kept; liars came before them."""
    clock = Clock()
    book = PeerBook(clock)
    for number in range(100):
        book.drop(f"liar-{number}", Fault.WRONG_BYTES, "\U0001f600" * 200)
    for number in range(PEER_LIMIT - 100):
        clock.now += 1
        addresses = [f"/dns4/{n}{'x' * (ADDRESS_LENGTH - 7)}" for n in range(ADDRESS_LIMIT)]
        book.seen(f"stranger-{number}", addresses)
        book.drop(f"stranger-{number}", Fault.LEFT, "\U0001f600" * 200)
    path = tmp_path / "peers.json"
    book.save(path)
    assert BOOK_LIMIT - 10_000 < path.stat().st_size <= BOOK_LIMIT
    again = PeerBook(clock)
    again.load(path)
    assert len(again) < PEER_LIMIT
    assert all(again.is_shunned(f"liar-{number}") for number in range(100))


def test_address_is_remembered_up_to_its_limit() -> None:
    book = PeerBook()
    book.seen("p", ["a" * ADDRESS_LENGTH, "b" * (ADDRESS_LENGTH + 1)])
    assert book.entry("p").addresses == ["a" * ADDRESS_LENGTH]
