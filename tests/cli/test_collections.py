"""What the command line does with collections: cards out of files, how a fetch that lacks some ends."""

from pathlib import Path

import pytest

from p2pvoice.cli.commands.collections import CARD_BYTES, raise_failed, read_card, state_of
from p2pvoice.protocol.errors import NoPeersError, RevokedError, UsageError

from .conftest import Command


def test_a_card_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_bytes("\ufeff# 聲庫\r\n\r\nWords.\n\n".encode())
    assert read_card(path) == "# 聲庫\n\nWords."
    assert read_card(None) == ""
    path.write_bytes(b"x" * CARD_BYTES)
    assert len(read_card(path)) == CARD_BYTES
    path.write_bytes(b"x" * (CARD_BYTES + 1))
    with pytest.raises(UsageError, match="too long"):
        read_card(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        read_card(path)


def test_what_was_revoked_is_no_failure_and_the_rest_is_told() -> None:
    revoked = {"state": "revoked", "error": RevokedError().to_dict()}
    raise_failed([], "again")
    raise_failed([revoked], "again")
    away = {"state": "failed", "error": NoPeersError("nobody").to_dict()}
    with pytest.raises(NoPeersError, match="2 voices did not come") as caught:
        raise_failed([revoked, away, away], "again")
    assert caught.value.hint == "again"


def test_where_a_list_stands() -> None:
    row = {"published": True, "sequence": 2, "pending": True, "fork": "bagaqi", "seed": False}
    assert state_of(row) == "list 2, changed since, fork, not offered"
    assert state_of({"published": False}) == "draft"


def test_a_parquet_file_is_refused_before_anything_is_asked(p2pvoice: Command, tmp_path: Path) -> None:
    # A package of that name that cannot be imported stands for one that is not there.
    (tmp_path / "pandas.py").write_text("raise ImportError('no', name='pandas')")
    ran = p2pvoice("evaluate", "set", "-o", "out.parquet", PYTHONPATH=str(tmp_path))
    assert (ran.code, ran.out) == (2, "")
    assert "pip install 'p2pvoice[tables]'" in ran.err
    assert p2pvoice("evaluate", "set", "-o", "out.csv").code == 3
    assert p2pvoice("collection", "edit", "set").code == 2
