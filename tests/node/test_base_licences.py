"""Licences of bases: the one known here is that of the file that ships, and what is kept is bounded."""

import hashlib
from pathlib import Path

import pytest

from p2pvoice import sovits
from p2pvoice.node import base_licences as licences
from p2pvoice.protocol.errors import ConsentError, UsageError
from p2pvoice.protocol.ids import raw_cid


def test_the_bundled_encoder_is_the_known_one() -> None:
    file = Path(sovits.__file__).parent / "data" / "bases" / "starter" / "model.safetensors"
    data = file.read_bytes()
    bundled = licences.bundled()
    assert (bundled["id"], bundled["size"]) == (raw_cid(hashlib.sha256(data).digest()), len(data))
    assert (bundled["license"], bundled["verified"]) == ("Apache-2.0", True)


def test_verified_means_known_here_and_not_said_otherwise() -> None:
    known = licences.BUNDLED["id"]
    for facts, expected in (
        ({"id": known}, ("Apache-2.0", True)),
        ({"id": known, "license": "Apache-2.0"}, ("Apache-2.0", True)),
        ({"id": known, "license": "MIT"}, ("MIT", False)),
        ({"id": "bafkreiother", "license": "MIT"}, ("MIT", False)),
        ({"id": "bafkreiother"}, ("", False)),
        ({}, ("", False)),
    ):
        found = licences.shown(facts)
        assert (found["license"], found["verified"]) == expected


def test_limits() -> None:
    longest = b"x" * licences.LICENCE_TEXT_LIMIT
    assert licences.checked("apache-2.0", longest) == ("Apache-2.0", longest.decode())
    assert licences.checked("", None) == ("", None)
    for text in (longest + b"x", b"\xff"):
        with pytest.raises(UsageError):
            licences.checked("MIT", text)
    with pytest.raises(ConsentError):
        licences.checked("free", None)
