import pytest

from p2pvoice.protocol import consent as c
from p2pvoice.protocol.errors import ConsentError, ManifestError, RefusedError


def test_known_licences_in_any_case() -> None:
    for name in c.LICENSES:
        assert c.Licence.parse(name).spdx == name
        assert c.Licence.parse(f" {name.lower()} ").spdx == name
        assert c.check_license_shape(name) == name
    assert c.Licence.parse("LicenseRef-OpenRAIL-M").spdx == "LicenseRef-OpenRAIL-M"


@pytest.mark.parametrize(
    "text", ["", " ", "free", "CC BY 4.0", "LicenseRef-", "LicenseRef-a b", "MIT OR Apache-2.0"]
)
def test_other_licences_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ConsentError) as caught:
        c.Licence.parse(text)
    assert "--license" in caught.value.hint


def test_licence_length() -> None:
    longest = "LicenseRef-" + "x" * (c.LICENSE_LENGTH - 11)
    assert c.Licence.parse(longest).spdx == longest
    with pytest.raises(ConsentError):
        c.Licence.parse(longest + "x")
    assert c.check_license_shape("x" * c.LICENSE_LENGTH)
    with pytest.raises(ManifestError):
        c.check_license_shape("x" * (c.LICENSE_LENGTH + 1))


def test_the_shape_of_a_licence_in_a_manifest() -> None:
    for missing in ("", None):
        with pytest.raises(ConsentError):
            c.check_license_shape(missing)
    for bad in ("a b", "-x", 7, b"MIT", "MIT\n"):
        with pytest.raises(ManifestError):
            c.check_license_shape(bad)


def test_commercial_use() -> None:
    assert c.Licence("CC-BY-4.0").commercial
    assert c.Licence("CC-BY-NC-4.0").commercial is False
    assert c.Licence("LicenseRef-x").commercial is None


def test_every_subject_round_trips() -> None:
    for subject in c.SUBJECTS:
        declaration = c.ConsentDeclaration(
            subject,
            True,
            subject_name="陈大文" if subject == "named" else "",
            references_may_travel=False,
            scope=("commercial", "singing"),
            statement="I agree.\nReally.",
            data_sources=("recorded at home",),
            expires=1_900_000_000,
            extra={"later": 1},
        )
        assert c.ConsentDeclaration.from_map(declaration.to_map()) == declaration
        declaration.require_permission()


def test_missing_declarations() -> None:
    for missing in (None, {}):
        with pytest.raises(ConsentError):
            c.ConsentDeclaration.from_map(missing)
    with pytest.raises(ConsentError, match="takes one of") as caught:
        raise_hint("nobody")
    assert "self" in caught.value.hint
    with pytest.raises(ConsentError, match="name"):
        c.ConsentDeclaration("named", True)
    with pytest.raises(ConsentError, match="private"):
        c.ConsentDeclaration("self", False).require_permission()


def raise_hint(subject: str) -> None:
    """Raise what a wrong subject raises, with its hint in the message."""
    try:
        c.ConsentDeclaration(subject, True)
    except ConsentError as error:
        raise ConsentError(error.hint, hint=error.hint) from error


@pytest.mark.parametrize(
    "change",
    [
        {"ai_voice_permission": 1},
        {"references_may_travel": "yes"},
        {"subject": 7},
        {"scope": ["war"]},
        {"scope": ["singing", "singing"]},
        {"scope": "singing"},
        {"statement": 7},
        {"data_sources": [""]},
        {"data_sources": [1]},
        {"expires": 0},
        {"expires": 1 << 40},
        {"expires": True},
        {"expires": None},
        {"subject_name": "a\nb"},
    ],
)
def test_malformed_declarations(change: dict[str, object]) -> None:
    body = c.ConsentDeclaration("self", True).to_map()
    with pytest.raises(RefusedError):
        c.ConsentDeclaration.from_map(body | change)


LIMITS = [
    ("statement", lambda n: "s" * n, c.STATEMENT_LENGTH),
    ("subject_name", lambda n: "n" * n, c.SUBJECT_NAME_LENGTH),
    ("data_sources", lambda n: ("x",) * n, c.DATA_SOURCES_LIMIT),
    ("data_sources", lambda n: ("x" * n,), c.DATA_SOURCE_LENGTH),
    ("expires", lambda n: n, (1 << 40) - 1),
]


@pytest.mark.parametrize(("field", "make", "limit"), LIMITS)
def test_limits(field, make, limit) -> None:
    good = c.ConsentDeclaration("self", True, **{field: make(limit)})
    assert c.ConsentDeclaration.from_map(good.to_map()) == good
    with pytest.raises(ManifestError):
        c.ConsentDeclaration("self", True, **{field: make(limit + 1)})
