"""Tags: closed facets with one key per meaning, and free tags beside them.

For turning what people type (粤语, 粵語, Cantonese, yue) into the one key that peers look up (language/yue),
and back into names to show. Not a translation service: free tags stay in the script they were typed in.
The words themselves are in vocabulary.py. Follows specs/tags.md.
"""

import difflib
import re
import unicodedata

from p2pvoice.protocol.errors import ManifestError, UsageError
from p2pvoice.protocol.vocabulary import FACETS

FREE_TAG_LENGTH = 32
"""Characters of a free tag, after normalisation."""

TAG_LENGTH = 64
"""Characters of a whole tag, facet and slash included, as it may appear in a manifest."""

TAGS_LIMIT = 16
"""Tags of one release: each costs its own announcement in the DHT."""

INPUT_LENGTH = 200
"""Characters of a typed tag that are looked at before anything is normalised."""

FREE_FACET = "tag"
"""The facet of free tags."""

_WELL_FORMED = re.compile(r"[a-z]{1,16}/[^\s/]+")

# Every spelling of every facet value, normalised, to its key.
_KEY_OF: dict[str, str] = {}
# The names of the facets themselves, so that 语言/粤语 works like language/yue.
_FACET_OF: dict[str, str] = {}


def normalise(text: str) -> str:
    """The form in which spellings are compared: NFKC, case folded, hyphens for spaces and underscores."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return re.sub(r"[\s_-]+", "-", folded).strip("-")


def canonical_tag(text: str) -> str:
    """The key of a tag as somebody typed it.

    ``cantonese``, ``粤语`` and ``language/粵語`` give ``language/yue``; an unknown word gives ``tag/<word>``.

    Raises UsageError for an unknown facet, for an unknown value of a facet, and for a free tag that is empty,
    too long or holds anything but letters, digits and hyphens.
    """
    if len(text) > INPUT_LENGTH:
        raise UsageError(f"a tag of {len(text)} characters is too long")
    if "/" in unicodedata.normalize("NFKC", text):
        facet_text, _, value_text = unicodedata.normalize("NFKC", text).partition("/")
        facet = _FACET_OF.get(normalise(facet_text))
        if facet is None:
            raise _unknown(text, f"unknown facet {facet_text.strip()[:40]!r}", normalise(value_text))
        if facet != FREE_FACET:
            value = normalise(value_text)
            key = f"{facet}/{value}"
            if value not in FACETS[facet]:
                key = _KEY_OF.get(value, "")
            if not key.startswith(facet + "/"):
                raise _unknown(text, f"unknown {facet} {value_text.strip()[:40]!r}", value, facet)
            return key
        text = value_text
    word = normalise(text)
    known = _KEY_OF.get(word)
    if known is not None:
        return known
    return f"{FREE_FACET}/{_check_free(word)}"


def check_tag(text: str) -> str:
    """The tag itself when a manifest may carry it; ManifestError otherwise.

    Looser than :func:`canonical_tag`: a release by a newer version may use facets and values not known here.
    """
    well_formed = len(text) <= TAG_LENGTH and _WELL_FORMED.fullmatch(text) is not None
    if not well_formed or text != unicodedata.normalize("NFKC", text).casefold() or not _printable(text):
        raise ManifestError(f"{text[:40]!r} is not a well-formed tag")
    return text


def tag_names(tag: str, lang: str = "en") -> tuple[str, ...]:
    """The names of a canonical tag to show in a language, the best one first; at least one.

    For ``zh`` these are the simplified and the traditional form; a free tag is its own name.
    """
    facet, _, value = tag.partition("/")
    names = FACETS.get(facet, {}).get(value)
    if names is None:
        return (value or tag,)
    return names.zh if lang.startswith(("zh", "yue")) else names.en


def known_tags() -> tuple[str, ...]:
    """Every facet value there is, as keys."""
    return tuple(f"{facet}/{value}" for facet, values in FACETS.items() for value in values)


def _check_free(word: str) -> str:
    if not word:
        raise UsageError("a tag is empty")
    if len(word) > FREE_TAG_LENGTH:
        raise UsageError(f"a free tag has at most {FREE_TAG_LENGTH} characters, this one has {len(word)}")
    for character in word:
        if character != "-" and unicodedata.category(character)[0] not in "LNM":
            raise UsageError(
                f"the tag {word!r} contains {character!r}",
                hint="a tag is made of letters, digits and hyphens",
            )
    return word


def _printable(text: str) -> bool:
    return all(unicodedata.category(character)[0] not in "CZ" for character in text)


def _unknown(text: str, problem: str, value: str, facet: str = "") -> UsageError:
    """The error for a tag nobody knows, with the nearest ones that exist as its hint."""
    spellings = [word for word, key in _KEY_OF.items() if key.startswith(facet)]
    close = difflib.get_close_matches(value, spellings, n=3, cutoff=0.6)
    keys = list(dict.fromkeys(_KEY_OF[word] for word in close))
    if not keys and facet:
        keys = [f"{facet}/{name}" for name in FACETS[facet]]
    hint = "did you mean " + ", ".join(keys[:8]) + "?" if keys else ""
    if not facet and not hint:
        hint = "facets: " + ", ".join(FACETS) + "; a word without a slash is a free tag"
    return UsageError(f"unknown tag {text.strip()[:80]!r}: {problem}", hint=hint)


def _fill() -> None:
    for facet, values in FACETS.items():
        for value, names in values.items():
            key = f"{facet}/{value}"
            for spelling in (value, *names.en, *names.zh, *names.also):
                taken = _KEY_OF.setdefault(normalise(spelling), key)
                if taken != key:
                    raise ValueError(f"{spelling!r} means both {taken} and {key}")
    facet_names = {
        "language": ("language", "lang", "语言", "語言"),
        "gender": ("gender", "sex", "性别", "性別"),
        "age": ("age", "年龄", "年齡"),
        "emotion": ("emotion", "mood", "情感", "情绪", "情緒"),
        "style": ("style", "风格", "風格"),
        "timbre": ("timbre", "音色"),
        FREE_FACET: ("tag", "标签", "標籤"),
    }
    for facet, spellings in facet_names.items():
        _FACET_OF.update({normalise(spelling): facet for spelling in spellings})


_fill()
