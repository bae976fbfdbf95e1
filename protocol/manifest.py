"""The manifest of a release: what a voice is, whose it is, and the chunks of every file.

For building, signing, reading and verifying releases. A manifest cannot be built without a licence and a
consent declaration, nor with anything out of bounds. Map keys that this version does not know are kept and
signed over. Not for judging the files themselves; that is admission. Follows specs/manifest.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pvoice.protocol.base import BASE_FAMILY, asks_for_bases, base_ids, check_base, finding_tags
from p2pvoice.protocol.canonical import decode, encode
from p2pvoice.protocol.chunks import CHUNKS_LIMIT
from p2pvoice.protocol.consent import NO_VOICE, ConsentDeclaration, Licence, check_license_shape
from p2pvoice.protocol.consent_statement import check_commercial, check_signed
from p2pvoice.protocol.entries import (
    BASES_LIMIT,
    FILE_PATH,
    LANGUAGE,
    PARENT_KINDS,
    REFERENCE_MILLISECONDS,
    SAMPLE_RATES,
    Engine,
    FileEntry,
    Parent,
    Pin,
    ReferenceInfo,
    check_number,
    check_path,
    check_pattern,
)
from p2pvoice.protocol.envelope import ENVELOPE_OVERHEAD, Envelope, open_envelope, public_key_of, seal
from p2pvoice.protocol.errors import ConsentError, ManifestError, SignatureError, UsageError
from p2pvoice.protocol.fields import KEY_LENGTH, Fields, check_text
from p2pvoice.protocol.ids import (
    PUBLIC_KEY_SIZE,
    bundle_id,
    check_slug,
    release_id,
)
from p2pvoice.protocol.provenance import (
    ABSENT,
    MEASURED_LIMIT,
    Measured,
    TrainingRecord,
    read_measured,
    read_training,
)
from p2pvoice.protocol.tags import TAGS_LIMIT, canonical_tag, check_tag

__all__ = [
    "BASES_LIMIT",
    "DESCRIPTION_LENGTH",
    "FILES_LIMIT",
    "FILE_PATH",
    "FILE_SINCE",
    "FORMAT",
    "FORMAT_LIMIT",
    "KIND",
    "LANGUAGES_LIMIT",
    "MANIFEST_ITEMS",
    "MANIFEST_LIMIT",
    "MEASURED_LIMIT",
    "NAME_LENGTH",
    "PARENTS_LIMIT",
    "PARENT_KINDS",
    "REFERENCES_LIMIT",
    "REFERENCE_MILLISECONDS",
    "RELEASE_LIMIT",
    "SAMPLE_RATES",
    "TIME_LIMIT",
    "VOICE_FAMILY",
    "VOICE_FILES",
    "VOICE_FORMAT",
    "Engine",
    "FileEntry",
    "Manifest",
    "Measured",
    "Parent",
    "Pin",
    "ReferenceInfo",
    "Release",
    "TrainingRecord",
    "check_path",
    "decode_manifest",
    "reader_needed",
    "sign_manifest",
    "verify_release",
]

MANIFEST_LIMIT = 256 * 1024
"""Bytes of a manifest's payload."""

RELEASE_LIMIT = MANIFEST_LIMIT + ENVELOPE_OVERHEAD
"""Bytes of a signed release, as it is stored and sent."""

FORMAT = 3
"""The newest format this version reads, and the one in which it writes bases."""

VOICE_FORMAT = 2
"""The format in which voices are written, unless one of their files asks for a newer one."""

FILE_SINCE = {"training.safetensors": 2, "pronunciation.txt": 3}
"""Paths that came later than the first format: the oldest format whose readers know them."""

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

REFERENCES_LIMIT = 32
"""Reference clips of one voice."""

PARENTS_LIMIT = 16
"""Releases one release may come from."""

MANIFEST_ITEMS = 32_000
"""Values in a manifest; the chunk list at its longest takes 18 000."""

TIME_LIMIT = 1 << 40
"""Times are seconds since 1970, below this."""

KIND = "manifest"
"""The kind of a release's envelope."""

VOICE_FAMILY = "gpt-sovits"
"""The family whose releases are voices."""

VOICE_FILES = (
    "gpt.safetensors",
    "sovits.safetensors",
    "voice.json",
    "preview.wav",
    "reference/0.safetensors",
)
"""Files without which a voice cannot be heard or cannot speak."""

_KNOWN = {
    "v", "min_reader", "author", "slug", "name", "created", "description", "license", "consent", "languages",
    "tags", "files", "engine", "references", "parents", "training", "measured",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything an author says of one release.

    ``created`` is in seconds since 1970. ``format`` is what the writer writes, ``min_reader`` the oldest
    format a reader must know to read it rightly: :func:`reader_needed` says which. ``license_text`` is of
    bases alone.
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
    training: TrainingRecord | None = None
    measured: tuple[Measured, ...] = ()
    license_text: bytes | None = None
    format: int = VOICE_FORMAT
    min_reader: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_license_shape(self.license)
        if not isinstance(self.consent, ConsentDeclaration):
            raise ConsentError("a voice is published only with a declaration of consent")
        if not self.is_base:
            self.consent.require_permission()
        if not isinstance(self.author, bytes) or len(self.author) != PUBLIC_KEY_SIZE:
            raise ManifestError("the author of a release is a 32-byte public key")
        try:
            check_slug(self.slug)
        except UsageError as error:
            raise ManifestError(error.message) from error
        check_signed(self.consent, self.author, self.slug)
        check_text(self.name, "the name", NAME_LENGTH, minimum=1)
        check_text(self.description, "the description", DESCRIPTION_LENGTH, lines=True)
        check_number(self.created, 1, TIME_LIMIT - 1, "the time of creation")
        check_number(self.format, 1, FORMAT_LIMIT, "the format")
        check_number(self.min_reader, 1, FORMAT, "min_reader")
        _check_set(self.languages, 1, LANGUAGES_LIMIT, "languages")
        for language in self.languages:
            check_pattern(language, LANGUAGE, "a language")
        _check_set(self.tags, 0, TAGS_LIMIT, "tags")
        for tag in self.tags:
            check_tag(tag)
        _check_set([file.path for file in self.files], 1, FILES_LIMIT, "files")
        if sum(len(file.chunks) for file in self.files) > CHUNKS_LIMIT:
            raise ManifestError(f"the files have more than {CHUNKS_LIMIT} chunks together")
        _check_count(self.references, REFERENCES_LIMIT, "references")
        _check_set([parent.release for parent in self.parents], 0, PARENTS_LIMIT, "parents")
        _check_set([one.field for one in self.measured], 0, MEASURED_LIMIT, "measured fields")
        for key in self.extra:
            if key in _KNOWN or not 1 <= len(key) <= KEY_LENGTH:
                raise ManifestError(f"{key[:KEY_LENGTH]!r} cannot be an additional key of a manifest")
        if self.is_base:
            check_base(self)
        elif self.license_text is not None or self.consent.subject == NO_VOICE:
            raise ManifestError("the manifest of a voice says something of a base")
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
        # Absent when there is nothing to say: releases of format 1 keep their bytes.
        if self.training is not None:
            body["training"] = self.training.to_map()
        if self.measured:
            body["measured"] = [one.to_map() for one in self.measured]
        if self.license_text is not None:
            body["license_text"] = self.license_text
        return encode(body)

    @property
    def is_base(self) -> bool:
        """Whether this is a network that voices lean on, and no voice."""
        return self.engine.family == BASE_FAMILY

    @property
    def finding_tags(self) -> tuple[str, ...]:
        """The tags under which the release is announced and found: its own, and of a base those of its files.

        A tag of the latter kind that an author merely wrote counts for nothing.
        """
        own = tuple(tag for tag in self.tags if not asks_for_bases((tag,)))
        return (*own, *finding_tags(base_ids(self), self.engine.version)) if self.is_base else own

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


def reader_needed(paths: Iterable[str]) -> int:
    """The oldest format whose readers know all of these paths: a manifest's ``min_reader``."""
    return max((FILE_SINCE.get(path, 1) for path in paths), default=1)


def decode_manifest(payload: bytes) -> Manifest:
    """Read a manifest that came from anywhere.

    Raises ManifestError for anything out of form or bounds and ConsentError when the licence or the consent
    declaration is missing. Every field of format 1 must be there, so encoding the result again gives the same
    bytes; the id of a release is nevertheless always taken from the bytes received. What format 3 adds is
    read in bases only, and an unknown key elsewhere.
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
    engine = Engine.from_map(fields.any("engine"))
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
        engine=engine,
        references=tuple(ReferenceInfo.from_map(row) for row in fields.items("references", REFERENCES_LIMIT)),
        parents=tuple(Parent.from_map(row) for row in fields.items("parents", PARENTS_LIMIT)),
        training=read_training(fields.any("training", ABSENT)),
        measured=read_measured(fields.any("measured", ABSENT)),
        license_text=fields.optional_blob("license_text") if engine.family == BASE_FAMILY else None,
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

    Stricter than reading: the licence is one we know and gives away nothing that a signed consent does not
    allow, every tag is in canonical form, and readers too old for one of the files are told so. Raises
    ConsentError, ManifestError, or SignatureError when the key is not the author's.
    """
    if public_key_of(key) != manifest.author:
        raise SignatureError("the manifest names another author than the key that signs it")
    licence = Licence.parse(manifest.license)
    if licence.spdx != manifest.license:
        raise ConsentError(f"the licence {manifest.license!r} is spelled {licence.spdx!r}")
    check_commercial(licence, manifest.consent)
    for tag in manifest.tags:
        if canonical_tag(tag) != tag:
            raise ManifestError(f"the tag {tag!r} is not in canonical form, {canonical_tag(tag)!r}")
    needed = reader_needed(file.path for file in manifest.files)
    if manifest.min_reader < needed:
        raise ManifestError(f"a release with these files needs readers of format {needed}")
    payload = manifest.payload()
    return Release(release_id(payload), manifest, seal(KIND, payload, key))


def verify_release(data: bytes) -> Release:
    """Verify a release that came from anywhere: form, bounds, signature, and that the author signed it."""
    envelope = open_envelope(data, kind=KIND, limit=MANIFEST_LIMIT)
    manifest = decode_manifest(envelope.payload)
    if manifest.author != envelope.author:
        raise SignatureError("the release is signed by another key than its author's")
    return Release(release_id(envelope.payload), manifest, envelope)


def _check_count(values: tuple[Any, ...], limit: int, what: str) -> None:
    if len(values) > limit:
        raise ManifestError(f"{len(values)} {what}; at most {limit} are allowed")


def _check_set(values: Any, low: int, high: int, what: str) -> None:
    if not low <= len(values) <= high:
        raise ManifestError(f"{len(values)} {what}; {low} to {high} are allowed")
    if len(set(values)) != len(values):
        raise ManifestError(f"the {what} name something twice")
