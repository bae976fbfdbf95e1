"""What an author may say, for whom, and what becomes of it: every subject with and without recordings."""

import pytest

from p2pvoice.node import consents
from p2pvoice.node.consents import Claim
from p2pvoice.node.identity import Identity, generate
from p2pvoice.protocol.consent import SUBJECTS, Licence
from p2pvoice.protocol.consent_statement import verify_statement
from p2pvoice.protocol.errors import ConsentError
from p2pvoice.protocol.ids import author_id

NOW = 1_790_000_000.0
FREE, NC = Licence("CC-BY-4.0"), Licence("CC-BY-NC-4.0")


@pytest.fixture(scope="module")
def author() -> Identity:
    return generate()


@pytest.mark.parametrize(
    ("subject", "asked", "travel"),
    [
        ("self", False, False),
        ("self", True, True),
        ("named", False, False),
        ("named", True, None),
        ("synthetic", False, True),
        ("synthetic", True, True),
        ("public-domain-corpus", False, False),
        ("public-domain-corpus", True, True),
        ("deceased-estate", False, False),
        ("deceased-estate", True, None),
    ],
)
def test_whose_recordings_travel(author: Identity, subject: str, asked: bool, travel: bool | None) -> None:
    claim = Claim(subject, "Ada", permission=True, clips_may_travel=asked)
    if travel is None:
        with pytest.raises(ConsentError, match="that person's to say"):
            consents.declare(author, claim, FREE, "reader", NOW)
        return
    declared = consents.declare(author, claim, FREE, "reader", NOW)
    assert declared.references_may_travel is travel
    # The author's key signs for the author, and for nobody else.
    assert (declared.signed is not None) is (subject == "self")


@pytest.mark.parametrize(
    ("licence", "scope"), [(FREE, ("commercial",)), (NC, ()), (Licence("LicenseRef-x"), ())]
)
def test_the_own_voice_is_signed_for_what_the_licence_says(
    author: Identity, licence: Licence, scope: tuple[str, ...]
) -> None:
    declared = consents.declare(author, Claim("self", permission=True), licence, "reader", NOW)
    assert declared.signed is not None
    said = verify_statement(declared.signed)
    assert (said.subject, said.author) == (author.author_public, author.author_public)
    assert (said.slug, said.scope, said.created) == ("reader", scope, int(NOW))
    assert said.statement == consents.OWN_WORDS


@pytest.mark.parametrize("subject", SUBJECTS)
def test_nothing_is_declared_or_signed_without_permission(author: Identity, subject: str) -> None:
    with pytest.raises(ConsentError, match="private"):
        consents.declare(author, Claim(subject, "Ada"), FREE, "reader", NOW)


def test_another_person_permits_until_the_end(author: Identity) -> None:
    person = generate()
    wanted = consents.Permission(
        author_id(author.author_public), "Ada", "Yes.", "en", scope=("commercial",), expires=1 << 39
    )
    signed = consents.sign(person, wanted)
    for subject in consents.SIGNED_FOR:
        declared = consents.declare(author, Claim(subject, signed=signed), FREE, "reader", (1 << 39) - 1)
        assert (declared.subject_name, declared.scope, declared.expires) == ("Ada", ("commercial",), 1 << 39)
        with pytest.raises(ConsentError, match="expired"):
            consents.declare(author, Claim(subject, signed=signed), FREE, "reader", 1 << 39)
    with pytest.raises(ConsentError, match="for the author"):
        consents.declare(person, Claim("named", signed=signed), FREE, "reader", NOW)
