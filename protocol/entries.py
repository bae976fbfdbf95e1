"""The parts of a manifest: files, engine, references and parents, each with its own bounds.

For building and reading one entry at a time; a part that exists is within its limits. What the parts mean
together is in manifest.py. Follows specs/manifest.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pvoice.protocol.chunks import CHUNKS_LIMIT, Chunk
from p2pvoice.protocol.errors import ManifestError, UsageError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.ids import DIGEST_SIZE, Digest, parse_raw_cid, parse_release_id

BASES_LIMIT = 8
"""Bases of one voice."""

REFERENCE_MILLISECONDS = 60_000
"""Length of one reference clip."""

SAMPLE_RATES = (8_000, 192_000)
"""Lowest and highest sample rate of a voice, in Hz."""

PARENT_KINDS = ("revision-of", "forked-from", "fine-tuned-from", "merged-from", "distilled-from")
"""How a release can come from another one."""

FILE_PATH = re.compile(
    r"(?:gpt|sovits|training|encoder|hubert|bert|speaker|vocoder)\.safetensors"
    r"|(?:voice|config|tokenizer|vocab)\.json|vocab\.txt|preview\.(?:wav|flac)|card\.md|licence\.txt|pronunciation\.txt"
    r"|reference/(?:0|[1-9][0-9]?)\.(?:wav|flac|safetensors)"
)
"""Every path a file of a release can have. Closed, so that no path of a stranger ever means another place."""

LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,2}")
"""The form of a language code."""

_NAMED_BASE = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_FAMILY = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,15}")


def check_path(path: object) -> str:
    """The path itself when a release may hold a file there."""
    if not isinstance(path, str) or not FILE_PATH.fullmatch(path):
        raise ManifestError(f"{str(path)[:60]!r} is not a file of a voice")
    return path


@dataclass(frozen=True)
class FileEntry:
    """A file of a release: its path in the bundle, its size in bytes, its digest and its chunks in order."""

    path: str
    size: int
    digest: Digest
    chunks: tuple[Chunk, ...]
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_path(self.path)
        if not isinstance(self.digest, bytes) or len(self.digest) != DIGEST_SIZE:
            raise ManifestError(f"the digest of {self.path} has not {DIGEST_SIZE} bytes")
        if not 1 <= len(self.chunks) <= CHUNKS_LIMIT:
            raise ManifestError(f"{self.path} has {len(self.chunks)} chunks; 1 to {CHUNKS_LIMIT} are allowed")
        if type(self.size) is not int or sum(chunk.size for chunk in self.chunks) != self.size:
            raise ManifestError(f"the chunks of {self.path} do not add up to its size")
        if len(self.chunks) == 1 and self.chunks[0].digest != self.digest:
            raise ManifestError(f"the only chunk of {self.path} has another digest than the file")

    def to_map(self) -> dict[str, Any]:
        """The entry as it stands in a manifest."""
        body = dict(self.extra)
        body.update(path=self.path, size=self.size, digest=self.digest)
        body["chunks"] = [[chunk.size, chunk.digest] for chunk in self.chunks]
        return body

    @classmethod
    def from_map(cls, value: object) -> "FileEntry":
        """Read an entry out of a decoded manifest."""
        fields = Fields(value, "a file entry")
        chunks = []
        for row in fields.items("chunks", CHUNKS_LIMIT):
            if not isinstance(row, list) or len(row) != 2:
                raise ManifestError("a chunk is a size and a digest")
            chunks.append(Chunk(row[0], row[1]))
        path, size = fields.text("path"), fields.number("size")
        return cls(path, size, fields.blob("digest", DIGEST_SIZE), tuple(chunks), fields.rest())


@dataclass(frozen=True)
class Pin:
    """The very base that a voice needs in some role: the id of its bundle, and that of its weights alone."""

    bundle: str
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        try:
            parse_release_id(self.bundle)
            parse_raw_cid(self.content)
        except UsageError as error:
            raise ManifestError("a base is pinned by its bundle id and its content id") from error

    def to_map(self) -> dict[str, Any]:
        """The pin as it stands in a manifest."""
        return dict(self.extra) | {"bundle": self.bundle, "content": self.content}

    @classmethod
    def from_map(cls, value: object) -> "Pin":
        """Read a pin out of a decoded manifest."""
        fields = Fields(value, "the pin of a base")
        return cls(fields.text("bundle"), fields.text("content"), fields.rest())


@dataclass(frozen=True)
class Engine:
    """What speaks the voice: model family and version, sample rate in Hz, and the bases it needs.

    ``bases`` maps a role (content, bert, speaker) to a release or bundle id, or to the plain name of a
    well-known base; ``pins`` says of some of these roles which base exactly it was.
    """

    family: str
    version: str
    sample_rate: int
    bases: Mapping[str, str] = field(default_factory=dict, hash=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    pins: Mapping[str, Pin] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_pattern(self.family, _FAMILY, "the family of an engine")
        check_pattern(self.version, _VERSION, "the version of an engine")
        check_number(self.sample_rate, *SAMPLE_RATES, "the sample rate")
        if len(self.bases) > BASES_LIMIT:
            raise ManifestError(f"more than {BASES_LIMIT} bases")
        for role, base in self.bases.items():
            check_pattern(role, _NAMED_BASE, "the role of a base")
            check_pattern(base, _NAMED_BASE, "a base")
        for role in self.pins:
            if role not in self.bases:
                raise ManifestError(f"{str(role)[:40]!r} is pinned, and not among the bases")

    def to_map(self) -> dict[str, Any]:
        """The engine as it stands in a manifest."""
        body = dict(self.extra)
        body.update(family=self.family, version=self.version, sample_rate=self.sample_rate)
        body["bases"] = dict(self.bases)
        # Absent when nothing is pinned, as in all releases before there were pins.
        if self.pins:
            body["pins"] = {role: pin.to_map() for role, pin in self.pins.items()}
        return body

    @classmethod
    def from_map(cls, value: object) -> "Engine":
        """Read an engine out of a decoded manifest."""
        fields = Fields(value, "the engine")
        bases = fields.any("bases")
        if not isinstance(bases, dict):
            raise ManifestError("the bases of an engine are not a map")
        pins = fields.any("pins", None)
        if pins is not None and (not isinstance(pins, dict) or not pins):
            raise ManifestError("the pins of an engine are a map, and absent when there are none")
        return cls(
            fields.text("family"),
            fields.text("version"),
            fields.number("sample_rate"),
            bases,
            fields.rest(),
            {role: Pin.from_map(pin) for role, pin in (pins or {}).items()},
        )


@dataclass(frozen=True)
class ReferenceInfo:
    """What a listener may know of a reference clip before fetching it: language and length."""

    lang: str
    milliseconds: int
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_pattern(self.lang, LANGUAGE, "the language of a reference")
        check_number(self.milliseconds, 1, REFERENCE_MILLISECONDS, "the length of a reference")

    def to_map(self) -> dict[str, Any]:
        """The reference as it stands in a manifest."""
        return dict(self.extra) | {"lang": self.lang, "milliseconds": self.milliseconds}

    @classmethod
    def from_map(cls, value: object) -> "ReferenceInfo":
        """Read a reference out of a decoded manifest."""
        fields = Fields(value, "a reference")
        return cls(fields.text("lang"), fields.number("milliseconds"), fields.rest())


@dataclass(frozen=True)
class Parent:
    """A release this one comes from, by its id, and how."""

    release: str
    kind: str
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        try:
            parse_release_id(self.release)
        except UsageError as error:
            raise ManifestError("a parent is named by its release id") from error
        if self.kind not in PARENT_KINDS:
            raise ManifestError(f"a release is {', '.join(PARENT_KINDS)} another one")

    def to_map(self) -> dict[str, Any]:
        """The parent as it stands in a manifest."""
        return dict(self.extra) | {"release": self.release, "kind": self.kind}

    @classmethod
    def from_map(cls, value: object) -> "Parent":
        """Read a parent out of a decoded manifest."""
        fields = Fields(value, "a parent")
        return cls(fields.text("release"), fields.text("kind"), fields.rest())


def check_pattern(value: object, pattern: re.Pattern[str], what: str) -> None:
    """ManifestError unless the value is text of this form."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ManifestError(f"{what} is malformed: {str(value)[:40]!r}")


def check_number(value: object, low: int, high: int, what: str) -> None:
    """ManifestError unless the value is an integer within these bounds; true and false are not."""
    if type(value) is not int or not low <= value <= high:
        raise ManifestError(f"{what} is not an integer from {low} to {high}")
