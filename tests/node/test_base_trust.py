"""Reasons to believe in a base that nobody named by its id."""

import pytest

from p2pvoice.node.base_licences import KNOWN
from p2pvoice.node.base_trust import Trust
from p2pvoice.protocol.base import base_ids
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release

from .forged import entry, signed


def base(kind: str) -> Release:
    """A base of one byte, with a vocabulary where its kind has one."""
    files = [entry(f"{kind}.safetensors", b"w", sizes=[1])]
    return signed(kind, [*files, entry("vocab.txt", b"v")] if kind == "bert" else files)


@pytest.mark.parametrize("kind", ["hubert", "bert", "speaker"])
def test_there_is_a_reason_or_there_is_none(kind: str) -> None:
    release = base(kind)
    ids, author = base_ids(release.manifest), author_id(release.manifest.author)
    assert Trust((), (), ()).why(release) == ""
    assert Trust((), (), ()).known == tuple(KNOWN)
    assert "pinned" in Trust({ids.bundle}, (), ()).why(release)
    assert "known to this program" in Trust((), (), (), {ids.bundle}).why(release)
    assert "follow" in Trust((), (), {author}).why(release)
    # The weights of a BERT say nothing of the vocabulary that came with them.
    for reasons in (Trust((), {ids.content}, ()), Trust((), (), (), {ids.content})):
        assert bool(reasons.why(release)) is (kind != "bert")
