"""Bases as releases: what the manifest of a shared base holds, and what it is looked for by.

A base is a network that voices lean on: a content encoder, a BERT, a speaker network. Its manifest says that
it is no voice, and holds nothing else that a voice's would. Not for the files themselves: admission has the
worker look at those. Follows specs/bases.md, "Bases as releases".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from p2pvoice.protocol.consent import LICENSES, NO_VOICE
from p2pvoice.protocol.errors import ManifestError, PolicyError
from p2pvoice.protocol.ids import RELEASE_ID_PREFIX, parse_release_id, raw_cid

if TYPE_CHECKING:
    from p2pvoice.protocol.manifest import Manifest

BASE_FAMILY: Final = "base"
"""The family whose releases are bases."""

BASE_FORMAT: Final = 3
"""The oldest format whose readers know bases: older ones would take one for a voice."""

BASE_KINDS: Final = ("hubert", "bert", "speaker")
"""What a shared base can be."""

ROLE_KINDS: Final = {"content": "hubert", "bert": "bert", "speaker": "speaker"}
"""The role in which a voice needs a base -> its kind."""

VOCABULARY: Final = "vocab.txt"
"""The file beside a BERT's weights."""

BASE_RATE: Final = 16_000
"""What stands as the sample rate of every base, in Hz: those that hear anything hear this."""

BASE_LANGUAGE: Final = "und"
"""What stands as the language of every base."""

MODEL_LIMIT: Final = 2 << 30
"""Bytes of a base's weights; the largest published one has 650 MB."""

VOCABULARY_LIMIT: Final = 4 << 20
"""Bytes of a base's vocabulary."""

LICENSE_TEXT_LIMIT: Final = 64 * 1024
"""Bytes of a licence's text that travels with a base."""

_SLUG_TAIL = 12


@dataclass(frozen=True)
class BaseIds:
    """The two ids of a base: of all its files, and of its weights alone."""

    bundle: str
    content: str


def model_path(kind: str) -> str:
    """Where the weights of a base lie in its bundle."""
    return f"{kind}.safetensors"


def base_paths(kind: str) -> tuple[str, ...]:
    """Every file of a base of a kind."""
    return (model_path(kind), VOCABULARY) if kind == "bert" else (model_path(kind),)


def base_slug(kind: str, content: str) -> str:
    """The slug under which everybody publishes this base: it cannot be mistaken for a voice's name."""
    return f"base-{kind}-{content[-_SLUG_TAIL:]}"


def base_ids(manifest: "Manifest") -> BaseIds:
    """The ids of the base in a manifest of the family ``base``."""
    file = manifest.file(model_path(manifest.engine.version))
    assert file is not None
    return BaseIds(manifest.bundle_id, raw_cid(file.digest))


def finding_tags(ids: BaseIds, kind: str) -> tuple[str, ...]:
    """The tags under which a base is announced and asked for; they follow from its files."""
    return (kind_tag(kind), content_tag(ids.content), bundle_tag(ids.bundle))


def kind_tag(kind: str) -> str:
    """The tag that every base of a kind has."""
    return f"base/{kind}"


def content_tag(content: str) -> str:
    """The tag of every base with these weights."""
    return f"base/{content}"


def bundle_tag(bundle: str) -> str:
    """The tag of the base with these files. UsageError for what is no bundle id."""
    parse_release_id(bundle)
    return "bundle/" + bundle.removeprefix(RELEASE_ID_PREFIX)


def asks_for_bases(tags: Iterable[str]) -> bool:
    """Whether a query with these tags is one for bases; without such a tag it is one for voices."""
    return any(tag.startswith(("base/", "bundle/")) for tag in tags)


def require_shareable(license: str, *, known: str = "") -> str:
    """The licence of a base itself when it lets anybody pass the base on, as it is stored here.

    ``known`` is the licence that was looked at, where one was. Raises PolicyError.
    """
    if not license:
        raise PolicyError("nobody said under which licence this base stands, so it is not shared")
    if known and license != known:
        raise PolicyError(f"this base stands under {known}, not under {license}")
    if license.startswith("LicenseRef-"):
        raise PolicyError(f"whether {license} allows sharing only its text can tell, so it is not shared")
    if license not in LICENSES:
        raise PolicyError(f"the licence {license} is not known here, so the base is not shared")
    if "-ND-" in license:
        raise PolicyError(f"{license} allows no changed copies, and what is stored here is one")
    return license


def check_base(manifest: "Manifest") -> None:
    """ManifestError unless a manifest of this family is that of a base and says nothing of a voice."""
    kind = manifest.engine.version
    if kind not in BASE_KINDS:
        raise ManifestError(f"{kind!r} is no kind of base")
    if manifest.min_reader < BASE_FORMAT:
        raise ManifestError(f"a base needs readers of format {BASE_FORMAT}")
    if manifest.consent.subject != NO_VOICE:
        raise ManifestError("a base is nobody's voice, and its manifest says so")
    if sorted(file.path for file in manifest.files) != sorted(base_paths(kind)):
        raise ManifestError(f"a {kind} consists of {' and '.join(base_paths(kind))}, and of nothing else")
    for file in manifest.files:
        limit = VOCABULARY_LIMIT if file.path == VOCABULARY else MODEL_LIMIT
        if file.size > limit:
            raise ManifestError(f"{file.path} of a base has at most {limit} bytes")
    engine = manifest.engine
    if (engine.sample_rate, dict(engine.bases), dict(engine.pins)) != (BASE_RATE, {}, {}):
        raise ManifestError("a base needs no other base and has no sample rate of its own")
    if manifest.languages != (BASE_LANGUAGE,):
        raise ManifestError("a base speaks no language")
    if manifest.references or manifest.parents or manifest.training is not None or manifest.measured:
        raise ManifestError("the manifest of a base says something of a voice")
    if manifest.slug != base_slug(kind, base_ids(manifest).content):
        raise ManifestError("the slug of a base follows from its files")
    text = manifest.license_text
    if text is None:
        return
    if not isinstance(text, bytes) or not 1 <= len(text) <= LICENSE_TEXT_LIMIT:
        raise ManifestError(f"the text of a licence has 1 to {LICENSE_TEXT_LIMIT} bytes")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError("the text of the licence is not UTF-8") from error
