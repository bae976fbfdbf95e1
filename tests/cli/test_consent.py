"""Consent at the command line: what is typed of its end, the file that is written and read, what is shown."""

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.cli.commands.card import card_lines
from p2pvoice.cli.consent import DAY, expiry, rows, words
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.consent import SIGNED_LIMIT
from p2pvoice.protocol.consent_statement import ConsentStatement, sign_statement, verify_statement
from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.ids import author_id

from .conftest import Command

AUTHOR = author_id(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw())
NOW = 1_790_000_000.5


@pytest.mark.parametrize(
    ("typed", "ends"),
    [
        ("2y", 1_790_000_000 + 730 * DAY),
        ("6mo", 1_790_000_000 + 180 * DAY),
        (" 4W ", 1_790_000_000 + 28 * DAY),
        ("10 d", 1_790_000_000 + 10 * DAY),
        ("2030-01-01", 1_893_456_000),
    ],
)
def test_ends(typed: str, ends: int) -> None:
    assert expiry(typed, NOW) == ends


@pytest.mark.parametrize(
    "typed", ["", "soon", "2", "0d", "-1y", "1.5y", "100000d", "2030-02-30", "01/02/2030"]
)
def test_no_ends(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        expiry(typed, NOW)
    assert "--expires" in caught.value.hint


def test_a_file_is_written_and_shown(p2pvoice: Command, running: Client, tmp_path: Path) -> None:
    file = tmp_path / "c.p2pv"
    own = running.status()["author"]
    sign = ["consent", "sign", "--author", AUTHOR, "--name", "Ada"]
    ran = p2pvoice(*sign, "--voice", "reader", "--scope", "singing", "--expires", "1d", "-o", str(file))
    assert (ran.code, ran.out) == (0, f"{file}\n"), ran.err
    assert f"--consent-file {file}" in ran.err
    said = verify_statement(file.read_bytes())
    assert (author_id(said.author), author_id(said.subject), said.slug) == (AUTHOR, own, "reader")
    assert (said.scope, said.references_may_travel) == (("singing",), False)
    assert said.expires is not None
    assert abs(said.expires - time.time() - DAY) < 60
    assert said.statement == words("Ada", AUTHOR, slug="reader", scope=("singing",), clips_may_travel=False)

    shown = p2pvoice("consent", "show", str(file), "--json").json
    assert (shown["subject"], shown["author"], shown["expired"]) == (own, AUTHOR, False)
    piped = p2pvoice(*sign, "--statement", "好", "--lang", "zh", "--clips-may-travel", "--json").json
    assert (piped["file"], piped["statement"], piped["language"]) == ("consent.p2pv", "好", "zh")
    assert piped["references_may_travel"] is True
    for wrong, code in (
        (["--author", "me"], 2),
        (["--author", own], 2),
        (["--lang", "zh"], 2),
        (["--expires", "soon"], 2),
        (["--expires", "2020-01-01"], 2),
        (["--scope", "war"], 2),
        (["--voice", "Not A Slug"], 5),
    ):
        ran = p2pvoice(*sign, *wrong, "-o", str(tmp_path / "no"))
        assert (ran.code, ran.out) == (code, ""), (wrong, ran.err)
    assert not (tmp_path / "no").exists()


def test_show_needs_no_daemon_and_believes_nothing(p2pvoice: Command, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    statement = ConsentStatement(
        author=public[::-1], subject=public, subject_name="Ada", statement="Yes.\x0aBut…", language="en",
        created=1, expires=1_700_000_000,
    )  # fmt: skip
    file = tmp_path / "consent"
    signed = sign_statement(statement, key)
    file.write_bytes(signed)
    ran = p2pvoice("consent", "show", str(file))
    assert (ran.code, "2023-11-14 22:13 UTC (EXPIRED)" in ran.out) == (0, True), ran.err
    assert "Yes. But…" in ran.out
    for data in (b"", signed[:-1], signed.replace(b"Ada", b"Eve"), bytes(SIGNED_LIMIT + 1)):
        file.write_bytes(data)
        ran = p2pvoice("consent", "show", str(file))
        assert (ran.code, ran.out) == (5, ""), data[:9]
    assert p2pvoice("consent", "show", str(tmp_path / "nothing")).code == 2


def test_a_file_that_is_too_large_is_not_sent(p2pvoice: Command, running: Client, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(SIGNED_LIMIT + 1))
    publish = ["publish", "x", "--license", "CC0-1.0", "--consent", "named", "--consent-file", str(file)]
    ran = p2pvoice(*publish)
    assert (ran.code, "no signed consent" in ran.err) == (2, True)
    assert list(running.home.uploads.iterdir()) == []


def test_what_is_shown_of_a_consent() -> None:
    consent = {
        "subject": "named", "subject_name": "Ada", "state": "signed", "signed": True,
        "signed_by": "did:key:z6MkX", "scope": ["singing"], "references_may_travel": True,
        "expires": 1_800_000_000,
        "signed_statement": {"statement": "Yes | no"},
    }  # fmt: skip
    voice = {"author": AUTHOR, "consent": consent}
    assert rows(voice) == [
        ("consent", "named (Ada): signed by did:key:z6MkX"),
        ("also allowed", "singing"),
        ("recordings", "travel with the voice"),
        ("expires", "2027-01-15 08:00 UTC"),
        ("in words", "Yes | no"),
    ]
    card = card_lines(voice)
    assert "| consent | named (Ada): signed by did:key:z6MkX |" in card
    assert "| in words | Yes \\| no |" in card
    changes = (
        ({"state": "expired"}, "named (Ada): EXPIRED, signed by did:key:z6MkX"),
        ({"signed": False}, "named (Ada): claimed by the author, not signed"),
        ({"subject": "self", "subject_name": "", "signed_by": AUTHOR}, "self: signed by the author"),
    )
    for change, line in changes:
        assert rows({"author": AUTHOR, "consent": consent | change})[0] == ("consent", line)
    assert rows({"author": AUTHOR}) == []
