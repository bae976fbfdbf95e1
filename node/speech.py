"""From samples to a labelled audio file: what leaves the daemon always says that it was synthesised.

The worker makes samples; here they go to a listener as they come, or become a file that gets the AIGC label
of protocol/label.py with the release id beside it, and the label is read back before the file is let go.
Not for synthesis: see worker.py. Follows specs/rpc.md, "Speak".
"""

import io
import secrets
import struct
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from p2pvoice.node import base_needs
from p2pvoice.node.engine import OnProgress
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import VERSION, Parts
from p2pvoice.protocol.errors import BugError, UsageError
from p2pvoice.protocol.label import Label, label_flac, label_wav, read_label
from p2pvoice.protocol.manifest import Release

#: Bytes of PCM one request may produce: an hour and a half at 48 kHz.
PCM_LIMIT = 512 << 20

FORMATS = {"wav": "audio/wav", "flac": "audio/flac"}

#: Settings of one request that reach the synthesiser, with the range each may have.
OPTIONS: Mapping[str, tuple[type, float, float]] = {
    "seed": (int, -1, 2**63 - 1),
    "speed": (float, 0.25, 4.0),
    "top_k": (int, 1, 1024),
    "top_p": (float, 0.0, 1.0),
    "temperature": (float, 0.0, 2.0),
    "repetition_penalty": (float, 0.5, 5.0),
    "noise_scale": (float, 0.0, 2.0),
    "reference": (int, 0, 63),
}

#: How exactly a request may ask to be computed (specs/speed.md).
PRECISIONS = ("auto", "exact", "fast")

#: References whose styles one request may average with that of its own.
ALSO_LIMIT = 16


@dataclass(frozen=True)
class Speech:
    """A labelled audio file."""

    data: bytes
    format: str
    seconds: float
    label: Label
    #: What the user should know of it.
    notices: tuple[str, ...] = ()


def check_options(body: Mapping[str, Any]) -> dict[str, Any]:
    """The synthesis settings of a request; UsageError for one out of its range."""
    options: dict[str, Any] = {}
    for name, (kind, low, high) in OPTIONS.items():
        value = body.get(name)
        if value is None:
            continue
        fits = isinstance(value, int) if kind is int else isinstance(value, int | float)
        if isinstance(value, bool) or not fits:
            raise UsageError(f"{name} must be a number")
        if not low <= value <= high:
            raise UsageError(f"{name} must lie between {low:g} and {high:g}")
        options[name] = kind(value)
    precision = body.get("precision")
    if precision is not None:
        if precision not in PRECISIONS:
            raise UsageError("precision must be one of " + ", ".join(PRECISIONS))
        options["precision"] = precision
    also = body.get("also_references")
    if also is not None:
        _, low, high = OPTIONS["reference"]
        if not isinstance(also, list) or len(also) > ALSO_LIMIT:
            raise UsageError(f"also_references must list at most {ALSO_LIMIT} numbers")
        if not all(type(one) is int and low <= one <= high for one in also):
            raise UsageError(f"also_references must be whole numbers from {low:g} to {high:g}")
        options["also"] = also
    upstream = body.get("upstream_text")
    if upstream is not None:
        if not isinstance(upstream, bool):
            raise UsageError("upstream_text must be true or false")
        options["upstream_text"] = upstream
    return options


class Listener(Protocol):
    """Who hears speech while it is made."""

    async def begin(self, rate: int, label: Label) -> None:
        """Called once, before any sound: samples a second, and the label of what follows."""

    async def take(self, pcm: bytes) -> None:
        """Take some sound: 16-bit little-endian samples, mono. What this raises ends the synthesis."""


@dataclass(frozen=True)
class Heard:
    """What was spoken to a listener: its length in seconds, and what the user should know of it."""

    seconds: float
    notices: tuple[str, ...]


async def stream(
    parts: Parts,
    voice: LoadableVoice,
    text: str,
    lang: str,
    listener: Listener,
    *,
    options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    own_words: bool = True,
) -> Heard:
    """Speak a text to a listener, piece by piece as it is made. Cancelling it cancels the synthesis.

    The user's pronunciation dictionary counts, unless ``own_words`` is false: then it sounds as for others.
    The listener's pace is the worker's: while ``take`` waits, at most a few pieces are made ahead. Raises
    UsageError for a text that becomes longer than PCM_LIMIT, and whatever the synthesis raises; either may
    happen after the first pieces.
    """
    label, begun, spoken = new_label(voice.release), False, 0

    async def hear(facts: Mapping[str, Any]) -> None:
        nonlocal begun
        if "sample_rate" in facts:
            begun = True
            await listener.begin(int(facts["sample_rate"]), label)
        elif on_progress is not None:
            await on_progress(facts)

    async def take(pcm: bytes) -> None:
        nonlocal spoken
        if not begun:
            raise BugError("the worker sent sound before it said what kind")
        spoken += len(pcm)
        if spoken > PCM_LIMIT:
            raise UsageError("the text is too long for one file")
        await listener.take(pcm)

    bases = await trio.to_thread.run_sync(base_needs.folders, parts, voice.release, limiter=parts.disk)
    arguments = {
        "key": voice.key,
        "folder": str(voice.folder),
        "bases": bases,
        "text": text,
        "lang": lang,
        "options": dict(options or {}),
        "words": await trio.to_thread.run_sync(parts.words.text, limiter=parts.disk) if own_words else "",
    }
    made = await parts.engine.call("speak", arguments, on_progress=hear, on_piece=take)
    return Heard(int(made["samples"]) / int(made["sample_rate"]), tuple(made["notices"]))


class _Recording:
    """A listener that keeps all it hears."""

    def __init__(self) -> None:
        self.rate, self.pcm, self.label = 0, bytearray(), Label("", "")

    async def begin(self, rate: int, label: Label) -> None:
        self.rate, self.label = rate, label

    async def take(self, pcm: bytes) -> None:
        self.pcm.extend(pcm)


async def speak(
    parts: Parts,
    voice: LoadableVoice,
    text: str,
    lang: str,
    *,
    format: str = "wav",
    options: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    own_words: bool = True,
) -> Speech:
    """Speak a text into one file. Cancelling it cancels the synthesis.

    Raises UsageError for an unknown format, and whatever ``stream`` raises.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown audio format {format!r}", hint="formats: " + " ".join(FORMATS))
    heard = _Recording()
    said = await stream(
        parts, voice, text, lang, heard, options=options, on_progress=on_progress, own_words=own_words
    )

    def write() -> bytes:
        if format == "flac":
            return label_flac(flac_file(bytes(heard.pcm), heard.rate), heard.label)
        return label_wav(wav_file(bytes(heard.pcm), heard.rate), heard.label)

    data = await trio.to_thread.run_sync(write)
    found = read_label(data)
    if found is None or found.produce_id != heard.label.produce_id:
        raise BugError("the audio could not be labelled")
    return Speech(data, format, said.seconds, heard.label, said.notices)


def new_label(release: Release | None) -> Label:
    """A label for one new file. It says which release spoke, and nothing about this node."""
    manifest = release.manifest if release is not None else None
    return Label(
        produce_id=produce_id(),
        producer=f"p2pvoice/{VERSION}",
        release=release.id if release is not None else None,
        voice=manifest.name if manifest is not None else "",
        license=manifest.license if manifest is not None else "",
        created=int(time.time()),
    )


def produce_id() -> str:
    """A UUID of version 7: sortable by time, otherwise random."""
    stamp = int(time.time() * 1000).to_bytes(6, "big")
    raw = bytearray(stamp + secrets.token_bytes(10))
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return str(uuid.UUID(bytes=bytes(raw)))


def wav_file(pcm: bytes, rate: int) -> bytes:
    """Mono 16-bit samples as a WAV file."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(pcm)) + pcm
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def flac_file(pcm: bytes, rate: int) -> bytes:
    """Mono 16-bit samples as a FLAC file."""
    # Imported here: a daemon that nobody asks for FLAC does without numpy.
    import numpy
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, numpy.frombuffer(pcm, "<i2"), rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
