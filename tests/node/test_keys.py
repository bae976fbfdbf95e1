"""Author keys between real daemons: locked and unlocked, exported, imported, rotated, and who follows."""

import base64
import contextlib
import os
import pty
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.errors import ConflictError, CorruptError, KeyLockedError, PassphraseError, PolicyError
from p2pvoice.protocol.ids import author_id

from .nodes import Daemon, bring, install_encoder, publish, refusal

Make = Callable[[], Daemon]
WORDS = "correct horse battery"


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_locked_daemon_serves_and_does_not_sign(daemons: Make, encoder: Path, clip: Path) -> None:
    a = daemons().start()
    install_encoder(a, encoder)
    bring(a, clip)
    first = publish(a)
    author = a.client.key()["author"]
    assert a.client.key()["passphrase"] is False
    assert isinstance(refusal(lambda: a.client.change_key("lock")), ConflictError)
    assert a.client.change_key("passphrase", new=WORDS)["locked"] is False
    assert _mode(a.home / "keys" / "author.key") == 0o600
    assert a.end() == 0

    a.start()
    key = a.client.key()
    assert (key["author"], key["locked"]) == (author, True)
    b = daemons().start(a)
    *_, fetched = b.client.fetch(first["release"])
    assert set(fetched["peers"]) == {a.peer_id}
    error = refusal(lambda: publish(a))
    assert isinstance(error, KeyLockedError)
    assert error.hint == "p2pvoice key unlock"
    # The head that was signed before is put as it is; that it is not signed afresh is told.
    assert a.client.status()["key"] == {"locked": True, "heads_waiting": 1, "forks": []}
    wrong = refusal(lambda: a.client.change_key("unlock", passphrase=WORDS + "!"))
    assert isinstance(wrong, PassphraseError)
    assert isinstance(refusal(lambda: list(a.client.rotate_key(passphrase=WORDS))), KeyLockedError)
    assert a.client.change_key("unlock", passphrase=WORDS)["locked"] is False
    assert publish(a)["release"] != first["release"]
    assert a.client.change_key("lock")["locked"] is True
    assert isinstance(refusal(lambda: publish(a)), KeyLockedError)
    assert a.client.change_key("passphrase", passphrase=WORDS, remove=True)["passphrase"] is False
    assert (a.home / "keys" / "author.key").stat().st_size == 32


def test_key_goes_to_a_second_device(daemons: Make) -> None:
    a, b = daemons().start(), daemons().start()
    exported = a.client.change_key("export", new=WORDS)
    assert exported["author"] == a.client.key()["author"] != b.client.key()["author"]
    peer = b.client.key()["peer_id"]
    body = {"key": exported["key"]}
    assert isinstance(
        refusal(lambda: b.client.change_key("import", **body, passphrase="wrong")), PassphraseError
    )
    brought = b.client.change_key("import", **body, passphrase=WORDS)
    assert (brought["author"], brought["peer_id"]) == (exported["author"], peer)
    kept = Path(brought["kept"])
    assert (_mode(kept), kept.stat().st_size) == (0o600, 32)
    assert b.end() == 0
    b.start()
    assert (b.client.key()["author"], b.client.key()["locked"]) == (exported["author"], True)
    plain = a.client.change_key("export", plain=True)
    assert base64.b64decode(plain["key"]) == (a.home / "keys" / "author.key").read_bytes()


def test_followers_move_to_a_rotated_key(daemons: Make, encoder: Path, clip: Path) -> None:
    a = daemons().start()
    c = daemons().start(a)
    b = daemons().start(a)
    b.meet(c)
    install_encoder(a, encoder)
    bring(a, clip)
    first = publish(a, consent="self", clips_may_travel=True)
    old = first["author"]
    list(b.client.fetch(first["release"]))
    assert b.client.follow(old, "Mei")["name"] == "Mei"
    assert [(one["followed"], one["author_name"]) for one in b.client.voices()] == [(True, "Mei")]
    stranger = author_id(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert isinstance(refusal(lambda: b.client.follow(stranger, "М\u0435i")), ConflictError)

    refused = {"key": base64.b64encode(bytes(32)).decode()}
    assert isinstance(refusal(lambda: a.client.change_key("import", **refused)), ConflictError)
    *_, rotated = a.client.rotate_key(reason="a new machine")
    new = rotated["new"]
    assert (rotated["old"], rotated["announced"]) == (old, True)
    assert a.client.key()["author"] == new != old
    assert [one["slug"] for one in rotated["voices"]] == ["storyteller"]
    second = rotated["voices"][0]["release"]
    shown = a.client.show(second)
    assert shown["parents"][0] == {"release": first["release"], "kind": "revision-of"}
    assert (shown["own"], shown["sequence"]) == (True, 2)
    assert (shown["consent"]["state"], shown["consent"]["signed_by"]) == ("signed", new)
    assert [one["release"] for one in a.client.voices()] == [second]
    # The old key is gone from this home altogether: nothing that follows needs it.
    for kept in (a.home / "keys").glob("author-*.key"):
        assert _mode(kept) == 0o600
        kept.unlink()

    *told, updated = b.client.update("storyteller")
    assert (updated["updated"], updated["release"], updated["moved_to"]) == (True, second, new)
    assert updated["bytes_fetched"] == 0
    assert any(event["event"] == "warning" and new in event["message"] for event in told)
    assert [(one["release"], one["author_name"]) for one in b.client.voices()] == [(second, "Mei")]
    # The bare name means the voice under the new key, here and at its author's.
    for daemon in (a, b):
        assert daemon.client.show("storyteller")["release"] == second
    found = b.client.following()
    assert [(one["author"], one["name"], one["moved_from"]) for one in found["following"]] == [
        (new, "Mei", old)
    ]
    assert found["moved"] == []
    *_, again = b.client.update()
    assert again["updated"] == 0
    # What the old key published is still shown, with a word that it was given up.
    assert [one["code"] for one in b.client.show(first["release"])["warnings"]] == ["moved"]
    assert b.client.unfollow("Mei")["author"] == new
    assert a.end() == 0
    a.start()
    assert a.client.key()["author"] == new
    assert a.client.key()["former"] == [old]


def test_a_former_key_still_revokes(daemons: Make, encoder: Path, clip: Path) -> None:
    a = daemons().start()
    b = daemons().start(a)
    install_encoder(a, encoder)
    bring(a, clip)
    first = publish(a, consent="self", clips_may_travel=True)
    list(b.client.fetch(first["release"]))
    # The first key lies bare where it is kept, the second one sealed.
    *_, rotated = a.client.rotate_key()
    second = rotated["voices"][0]["release"]
    a.client.change_key("passphrase", new=WORDS)
    *_, rotated = a.client.rotate_key(passphrase=WORDS)
    third = rotated["voices"][0]["release"]
    a.client.change_key("passphrase", passphrase=WORDS, new=WORDS + " staple")

    *_, revoked = a.client.revoke(first["release"], reason="a bad take")
    assert (revoked["by"], revoked["signer"]) == ("author", first["author"])
    assert revoked["told"] == 1
    heard_of(b, first["release"])
    assert b.client.voices() == []
    # Another node revokes nothing with what it has, and is told as before that it has no say.
    error = refusal(lambda: list(b.client.revoke(third)))
    assert error.message.startswith("only its author can revoke")

    for words in ("", WORDS + " staple"):
        error = refusal(lambda words=words: list(a.client.revoke(second, passphrase=words)))
        assert isinstance(error, PassphraseError)
        assert error.hint.startswith(f"p2pvoice revoke {second} --passphrase-file FILE")
    sealed = next(path for path in (a.home / "keys").glob("author-*.key") if path.stat().st_size == 152)
    backup = sealed.rename(a.home / "backup.key")
    error = refusal(lambda: list(a.client.revoke(second, passphrase=WORDS)))
    assert isinstance(error, PolicyError)
    assert rotated["old"] in error.message
    assert str(sealed) in error.hint
    # A key under the name of another one signs nothing.
    shutil.copy(a.home / "keys" / "peer.key", sealed)
    assert isinstance(refusal(lambda: list(a.client.revoke(second))), CorruptError)
    backup.rename(sealed)
    command = [sys.executable, "-m", "p2pvoice.cli.main", "--home", str(a.home), "revoke", second, "--yes"]
    assert "revoked storyteller; told 1 peer" in typed(command)
    revoked = a.client.revocations()[0]
    assert (revoked["signer"], revoked["release"]) == (rotated["old"], second)

    # The voice as it is now stays as it was, under its name too, and goes on travelling.
    assert [one["release"] for one in a.client.voices()] == [third]
    assert a.client.show("storyteller")["release"] == third
    *_, fetched = b.client.fetch(third)
    assert fetched["release"] == third


def typed(command: list[str]) -> str:
    """Run a command on a terminal where the passphrase is typed when it is asked for; what it shows."""
    child, terminal = pty.fork()
    if not child:
        os.execv(command[0], command)
    shown, answered = b"", False
    # Reading from a terminal whose program has ended is an error.
    with os.fdopen(terminal, "r+b", buffering=0) as screen, contextlib.suppress(OSError):
        while piece := screen.read(4096):
            shown += piece
            if not answered and b"Passphrase of your former key" in shown:
                screen.write(WORDS.encode() + b"\n")
                answered = True
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    assert WORDS.encode() not in shown
    return shown.decode()


def heard_of(daemon: Daemon, release: str) -> None:
    """Wait until the daemon knows that a release was revoked."""
    end = time.monotonic() + 30
    while all(row["release"] != release for row in daemon.client.revocations()):
        assert time.monotonic() < end, daemon.log[-2000:]


def test_same_name_under_another_key_is_flagged(daemons: Make, encoder: Path, clip: Path) -> None:
    a = daemons().start()
    b = daemons().start(a)
    for daemon in (a, b):
        install_encoder(daemon, encoder)
    bring(a, clip, name="Storyteller")
    first = publish(a)
    bring(b, clip, name="Ѕtоrytеller")
    slug = b.client.drafts()[0]["slug"]
    second = publish(b, slug)
    warned = b.client.show(first["release"])["warnings"]
    assert [(one["code"], one["author"]) for one in warned] == [("lookalike", second["author"])]
    assert b.client.show(second["release"])["warnings"] == []
    b.client.follow(first["author"])
    assert b.client.show(first["release"])["warnings"] == []
    shutil.rmtree(b.home / "uploads", ignore_errors=True)
