"""Messages of the exchange: what a peer has of a file, and its chunks.

Follows specs/messages.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from p2pvoice.protocol.checks import check_bytes
from p2pvoice.protocol.chunks import CHUNK_LIMIT, CHUNKS_LIMIT, Bitmap
from p2pvoice.protocol.codec import DELTA
from p2pvoice.protocol.entries import check_number
from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.fields import Fields
from p2pvoice.protocol.ids import DIGEST_SIZE, Digest
from p2pvoice.protocol.messages import REQUEST_LIMIT, SLACK

EXCHANGE = "/p2pvoice/exchange/1.0.0"
"""Stream protocol for chunks."""

WINDOW_LIMIT = 64
"""Chunks one Want may ask for."""

CODECS = ("raw", "zstd", DELTA)
"""How a chunk may be encoded on the wire; the last only when a base was named."""

PLAIN_CODECS = CODECS[:2]
"""How a chunk may be encoded without a base."""

BASES_LIMIT = 4
"""Files a want may name as bases for deltas."""


@dataclass(frozen=True)
class GetHave:
    """Ask which chunks of a file a peer has."""

    file: Digest
    TYPE: ClassVar[str] = "get-have"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    def __post_init__(self) -> None:
        check_bytes(self.file, DIGEST_SIZE, "a digest")

    def _body(self) -> dict[str, Any]:
        return {"file": self.file}

    @classmethod
    def _read(cls, fields: Fields) -> "GetHave":
        return cls(fields.blob("file", DIGEST_SIZE))


@dataclass(frozen=True)
class Have:
    """Which chunks of a file the peer has: a bitmap over ``count`` chunks."""

    count: int
    bits: bytes
    TYPE: ClassVar[str] = "have"
    LIMIT: ClassVar[int] = CHUNKS_LIMIT // 8 + SLACK

    def __post_init__(self) -> None:
        check_number(self.count, 0, CHUNKS_LIMIT, "the number of chunks")
        self.bitmap()

    def bitmap(self) -> Bitmap:
        """The chunks as a set of bits."""
        return Bitmap.from_bytes(self.bits, self.count)

    def _body(self) -> dict[str, Any]:
        return {"count": self.count, "bits": self.bits}

    @classmethod
    def _read(cls, fields: Fields) -> "Have":
        return cls(fields.number("count"), fields.blob("bits"))


@dataclass(frozen=True)
class Want:
    """Ask for ``count`` chunks of a file from index ``first`` on, in codecs the asker can decode.

    ``bases`` are whole files of the asker, cut into chunks of the same sizes: a chunk may come as a delta to
    the one with its index in any of them.
    """

    file: Digest
    first: int
    count: int = 1
    codecs: tuple[str, ...] = PLAIN_CODECS
    bases: tuple[Digest, ...] = ()
    TYPE: ClassVar[str] = "want"
    LIMIT: ClassVar[int] = REQUEST_LIMIT

    def __post_init__(self) -> None:
        check_bytes(self.file, DIGEST_SIZE, "a digest")
        check_number(self.first, 0, CHUNKS_LIMIT - 1, "the first chunk")
        check_number(self.count, 1, WINDOW_LIMIT, "the number of chunks wanted")
        if self.first + self.count > CHUNKS_LIMIT:
            raise ManifestError(f"a file has at most {CHUNKS_LIMIT} chunks")
        if not 1 <= len(self.codecs) <= 8 or not all(1 <= len(codec) <= 16 for codec in self.codecs):
            raise ManifestError("a want names 1 to 8 codecs")
        if len(self.bases) > BASES_LIMIT:
            raise ManifestError(f"a want names at most {BASES_LIMIT} bases")
        for base in self.bases:
            check_bytes(base, DIGEST_SIZE, "a digest")

    def _body(self) -> dict[str, Any]:
        body = {"file": self.file, "first": self.first, "count": self.count, "codecs": list(self.codecs)}
        return body | ({"bases": list(self.bases)} if self.bases else {})

    @classmethod
    def _read(cls, fields: Fields) -> "Want":
        file = fields.blob("file", DIGEST_SIZE)
        first, count = fields.number("first"), fields.number("count", 1)
        # Absent codecs mean the one that everybody decodes.
        codecs = fields.texts("codecs", 8, ()) or ("raw",)
        return cls(file, first, count, codecs, fields.blobs("bases", BASES_LIMIT, ()))


@dataclass(frozen=True)
class ChunkFrame:
    """Announces the chunk with this index of the file; its ``size`` encoded bytes follow, without a frame.

    ``base`` counts into the bases of the want, for a delta.
    """

    index: int
    codec: str
    size: int
    base: int = 0
    TYPE: ClassVar[str] = "chunk"
    LIMIT: ClassVar[int] = SLACK

    def __post_init__(self) -> None:
        check_number(self.index, 0, CHUNKS_LIMIT - 1, "the index of a chunk")
        # An encoding longer than the largest raw chunk would never be sent honestly.
        check_number(self.size, 1, CHUNK_LIMIT, "the encoded size of a chunk")
        if self.codec not in CODECS:
            raise ManifestError(f"unknown codec {self.codec[:20]!r}")
        check_number(self.base, 0, BASES_LIMIT - 1, "the base of a delta")

    def _body(self) -> dict[str, Any]:
        body = {"index": self.index, "codec": self.codec, "size": self.size}
        return body | ({"base": self.base} if self.base else {})

    @classmethod
    def _read(cls, fields: Fields) -> "ChunkFrame":
        index, codec, size = fields.number("index"), fields.text("codec"), fields.number("size")
        return cls(index, codec, size, fields.number("base", 0))
