"""The manifest of a release: what a voice is, whose it is, and the chunks of every file.

For building, signing, reading and verifying releases. A manifest cannot be built without a licence and a
consent declaration, nor with anything out of bounds. Map keys that this version does not know are kept and
signed over. Not for judging the files themselves; that is admission. Follows specs/manifest.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.chunks import CHUNKS_LIMIT, Chunk
from p2pvoice.protocol.consent import ConsentDeclaration, Licence, check_license_shape
from p2pvoice.protocol.envelope import ENVELOPE_OVERHEAD, Envelope, open_envelope, public_key_of, seal
from p2pvoice.protocol.errors import ConsentError, ManifestError, SignatureError, UsageError
from p2pvoice.protocol.fields import KEY_LENGTH, Fields, check_text
from p2pvoice.protocol.ids import (
    DIGEST_SIZE,
    PUBLIC_KEY_SIZE,
    Digest,
    bundle_id,
    check_slug,
    parse_release_id,
    release_id,
)
from p2pvoice.protocol.tags import TAGS_LIMIT, canonical_tag, check_tag

MANIFEST_LIMIT = 256 * 1024
"""Bytes of a manifest's payload."""

RELEASE_LIMIT = MANIFEST_LIMIT + ENVELOPE_OVERHEAD
"""Bytes of a signed release, as it is stored and sent."""

FORMAT = 1
"""The format this version writes, and the newest one it reads."""

FORMAT_LIMIT = 1000
"""Formats a manifest may claim to be written in."""

NAME_LENGTH = 80
"""Characters of a voice's display name."""

DESCRIPTION_LENGTH = 4000
"""Characters of a description."""

FILES_LIMIT = 64
"""Files of one release."""

LANGUAGES_LIMIT = 16
"""Languages of one voice."""

BASES_LIMIT = 8
"""Bases of one voice."""

REFERENCES_LIMIT = 32
"""Reference clips of one voice."""

REFERENCE_MILLISECONDS = 60_000
"""Length of one reference clip."""

PARENTS_LIMIT = 16
"""Releases one release may come from."""

MANIFEST_ITEMS = 32_000
"""Values in a manifest; the chunk list at its longest takes 18 000."""

TIME_LIMIT = 1 << 40
"""Times are seconds since 1970, below this."""

SAMPLE_RATES = (8_000, 192_000)
"""Lowest and highest sample rate of a voice, in Hz."""

KIND = "manifest"
"""The kind of a release's envelope."""

PARENT_KINDS = ("revision-of", "forked-from", "fine-tuned-from", "merged-from", "distilled-from")
"""How a release can come from another one."""

VOICE_FAMILY = "gpt-sovits"
"""The family whose releases are voices; other families are bases."""

VOICE_FILES = (
    "gpt.safetensors",
    "sovits.safetensors",
    "voice.json",
    "preview.wav",
    "reference/0.safetensors",
)
"""Files without which a voice cannot be heard or cannot speak."""

FILE_PATH = re.compile(
    r"(?:gpt|sovits|encoder|hubert|bert|speaker|vocoder)\.safetensors"
    r"|(?:voice|config|tokenizer|vocab)\.json|vocab\.txt|preview\.(?:wav|flac)|card\.md|licence\.txt"
    r"|reference/(?:0|[1-9][0-9]?)\.(?:wav|flac|safetensors)"
)
"""Every path a file of a release can have. Closed, so that no path of a stranger ever means another place."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,2}")
_NAMED_BASE = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_FAMILY = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,15}")
_KNOWN = {
    "v", "min_reader", "author", "slug", "name", "created", "description", "license", "consent", "languages",
    "tags", "files", "engine", "references", "parents",
}  # fmt: skip


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
class Engine:
    """What speaks the voice: model family and version, sample rate in Hz, and the bases it needs.

    ``bases`` maps a role (content, bert) to a release or bundle id, or to the plain name of a well-known
    base.
    """

    family: str
    version: str
    sample_rate: int
    bases: Mapping[str, str] = field(default_factory=dict, hash=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_pattern(self.family, _FAMILY, "the family of an engine")
        _check_pattern(self.version, _VERSION, "the version of an engine")
        _check_number(self.sample_rate, *SAMPLE_RATES, "the sample rate")
        if len(self.bases) > BASES_LIMIT:
            raise ManifestError(f"more than {BASES_LIMIT} bases")
        for role, base in self.bases.items():
            _check_pattern(role, _NAMED_BASE, "the role of a base")
            _check_pattern(base, _NAMED_BASE, "a base")

    def to_map(self) -> dict[str, Any]:
        """The engine as it stands in a manifest."""
        body = dict(self.extra)
        body.update(family=self.family, version=self.version, sample_rate=self.sample_rate)
        body["bases"] = dict(self.bases)
        return body

    @classmethod
    def from_map(cls, value: object) -> "Engine":
        """Read an engine out of a decoded manifest."""
        fields = Fields(value, "the engine")
        bases = fields.any("bases")
        if not isinstance(bases, dict):
            raise ManifestError("the bases of an engine are not a map")
        return cls(
            fields.text("family"),
            fields.text("version"),
            fields.number("sample_rate"),
            bases,
            fields.rest(),
        )


@dataclass(frozen=True)
class ReferenceInfo:
    """What a listener may know of a reference clip before fetching it: language and length."""

    lang: str
    milliseconds: int
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_pattern(self.lang, _LANGUAGE, "the language of a reference")
        _check_number(self.milliseconds, 1, REFERENCE_MILLISECONDS, "the length of a reference")

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


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything an author says of one release.

    ``created`` is in seconds since 1970. ``format`` is what the writer writes, ``min_reader`` the oldest
    format a reader must know to read it rightly.
    """

    author: bytes
    slug: str
    name: str
    created: int
    license: str
    consent: ConsentDeclaration
    languages: tuple[str, ...]
    files: tuple[FileEntry, ...]
    engine: Engine
    description: str = ""
    tags: tuple[str, ...] = ()
    references: tuple[ReferenceInfo, ...] = ()
    parents: tuple[Parent, ...] = ()
    format: int = FORMAT
    min_reader: int = FORMAT
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_license_shape(self.license)
        if not isinstance(self.consent, ConsentDeclaration):
            raise ConsentError("a voice is published only with a declaration of consent")
        self.consent.require_permission()
        if not isinstance(self.author, bytes) or len(self.author) != PUBLIC_KEY_SIZE:
            raise ManifestError("the author of a release is a 32-byte public key")
        try:
            check_slug(self.slug)
        except UsageError as error:
            raise ManifestError(error.message) from error
        check_text(self.name, "the name", NAME_LENGTH, minimum=1)
        check_text(self.description, "the description", DESCRIPTION_LENGTH, lines=True)
        _check_number(self.created, 1, TIME_LIMIT - 1, "the time of creation")
        _check_number(self.format, 1, FORMAT_LIMIT, "the format")
        _check_number(self.min_reader, 1, FORMAT, "min_reader")
        _check_set(self.languages, 1, LANGUAGES_LIMIT, "languages")
        for language in self.languages:
            _check_pattern(language, _LANGUAGE, "a language")
        _check_set(self.tags, 0, TAGS_LIMIT, "tags")
        for tag in self.tags:
            check_tag(tag)
        _check_set([file.path for file in self.files], 1, FILES_LIMIT, "files")
        if sum(len(file.chunks) for file in self.files) > CHUNKS_LIMIT:
            raise ManifestError(f"the files have more than {CHUNKS_LIMIT} chunks together")
        _check_count(self.references, REFERENCES_LIMIT, "references")
        _check_set([parent.release for parent in self.parents], 0, PARENTS_LIMIT, "parents")
        for key in self.extra:
            if key in _KNOWN or not 1 <= len(key) <= KEY_LENGTH:
                raise ManifestError(f"{key[:KEY_LENGTH]!r} cannot be an additional key of a manifest")
        if len(self.payload()) > MANIFEST_LIMIT:
            raise ManifestError(f"a manifest has at most {MANIFEST_LIMIT} bytes")

    def payload(self) -> bytes:
        """The bytes that are signed and whose digest is the release id."""
        return self._payload

    @cached_property
    def _payload(self) -> bytes:
        body = dict(self.extra)
        body.update(
            v=self.format,
            min_reader=self.min_reader,
            author=self.author,
            slug=self.slug,
            name=self.name,
            created=self.created,
            description=self.description,
            license=self.license,
            consent=self.consent.to_map(),
            languages=list(self.languages),
            tags=list(self.tags),
            files=[file.to_map() for file in self.files],
            engine=self.engine.to_map(),
            references=[reference.to_map() for reference in self.references],
            parents=[parent.to_map() for parent in self.parents],
        )
        return encode(body)

    @property
    def bundle_id(self) -> str:
        """The id of the files alone: equal for whoever publishes the same bytes."""
        return bundle_id((file.path, file.size, file.digest) for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def file(self, path: str) -> FileEntry | None:
        """The file at a path of the bundle, if there is one."""
        return next((file for file in self.files if file.path == path), None)

    def require_complete(self) -> None:
        """ManifestError unless a voice lists every file it needs to be heard and to speak."""
        if self.engine.family == VOICE_FAMILY:
            for path in VOICE_FILES:
                if self.file(path) is None:
                    raise ManifestError(f"the voice lacks {path}")


def decode_manifest(payload: bytes) -> Manifest:
    """Read a manifest that came from anywhere.

    Raises ManifestError for anything out of form or bounds and ConsentError when the licence or the consent
    declaration is missing. Every field of format 1 must be there, so encoding the result again gives the same
    bytes; the id of a release is nevertheless always taken from the bytes received.
    """
    fields = Fields(
        decode(payload, limit=MANIFEST_LIMIT, max_items=MANIFEST_ITEMS),
        "the manifest",
    )
    written_by = fields.number("v")
    min_reader = fields.number("min_reader")
    if min_reader > FORMAT:
        raise ManifestError(
            f"the release needs a reader of format {min_reader}, this is format {FORMAT}",
            hint="a newer version of p2pvoice can read it",
        )
    return Manifest(
        author=fields.blob("author", PUBLIC_KEY_SIZE),
        slug=fields.text("slug"),
        name=fields.text("name"),
        created=fields.number("created"),
        description=fields.text("description"),
        license=check_license_shape(fields.any("license", None)),
        consent=ConsentDeclaration.from_map(fields.any("consent", None)),
        languages=fields.texts("languages", LANGUAGES_LIMIT),
        tags=fields.texts("tags", TAGS_LIMIT),
        files=tuple(FileEntry.from_map(row) for row in fields.items("files", FILES_LIMIT)),
        engine=Engine.from_map(fields.any("engine")),
        references=tuple(ReferenceInfo.from_map(row) for row in fields.items("references", REFERENCES_LIMIT)),
        parents=tuple(Parent.from_map(row) for row in fields.items("parents", PARENTS_LIMIT)),
        format=written_by,
        min_reader=min_reader,
        extra=fields.rest(),
    )


@dataclass(frozen=True)
class Release:
    """A verified release: its id, its manifest, and the signed envelope as it was received."""

    id: str
    manifest: Manifest
    envelope: Envelope


def sign_manifest(manifest: Manifest, key: Ed25519PrivateKey) -> Release:
    """Publishable form of a manifest, signed by its author.

    Stricter than reading: the licence is one we know and every tag is in canonical form. Raises ConsentError,
    ManifestError, or SignatureError when the key is not the author's.
    """
    if public_key_of(key) != manifest.author:
        raise SignatureError("the manifest names another author than the key that signs it")
    known = Licence.parse(manifest.license).spdx
    if known != manifest.license:
        raise ConsentError(f"the licence {manifest.license!r} is spelled {known!r}")
    for tag in manifest.tags:
        if canonical_tag(tag) != tag:
            raise ManifestError(f"the tag {tag!r} is not in canonical form, {canonical_tag(tag)!r}")
    payload = manifest.payload()
    return Release(release_id(payload), manifest, seal(KIND, payload, key))


def verify_release(data: bytes) -> Release:
    """Verify a release that came from anywhere: form, bounds, signature, and that the author signed it."""
    envelope = open_envelope(data, kind=KIND, limit=MANIFEST_LIMIT)
    manifest = decode_manifest(envelope.payload)
    if manifest.author != envelope.author:
        raise SignatureError("the release is signed by another key than its author's")
    return Release(release_id(envelope.payload), manifest, envelope)


def _check_pattern(value: object, pattern: re.Pattern[str], what: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ManifestError(f"{what} is malformed: {str(value)[:40]!r}")


def _check_number(value: object, low: int, high: int, what: str) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ManifestError(f"{what} is not an integer from {low} to {high}")


def _check_count(values: tuple[Any, ...], limit: int, what: str) -> None:
    if len(values) > limit:
        raise ManifestError(f"{len(values)} {what}; at most {limit} are allowed")


def _check_set(values: Any, low: int, high: int, what: str) -> None:
    if not low <= len(values) <= high:
        raise ManifestError(f"{len(values)} {what}; {low} to {high} are allowed")
    if len(set(values)) != len(values):
        raise ManifestError(f"the {what} name something twice")
