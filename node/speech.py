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
from p2pvoice.node.backlog import Backlog
from p2pvoice.node.engine import OnProgress
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import VERSION, Parts
from p2pvoice.protocol.errors import BugError, UsageError
from p2pvoice.protocol.label import Label, label_flac, label_wav, read_label
from p2pvoice.protocol.manifest import Release

#: Bytes of PCM one request may produce: an hour and a half at 48 kHz.
PCM_LIMIT = 512 << 20

#: Bytes of PCM that may wait for a slow listener when the next turn begins: ten seconds at 32 kHz.
LEAD_BYTES = 640_000

#: Bytes of PCM that may wait at all. A minute at 96 kHz is 11.5 MB, and no sentence is longer.
BACKLOG_LIMIT = 16 << 20

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

    Sound comes before a sentence is whole unless the options say ``stream: False``. The user's pronunciation
    dictionary counts, unless ``own_words`` is false: then it sounds as for others. A text is spoken in turns
    of a sentence or so, between which the worker serves others; at most a turn and LEAD_BYTES are made ahead
    of a slow listener. Raises UsageError for a text that becomes longer than PCM_LIMIT, and whatever the
    synthesis or the listener raises; the former may happen after the first pieces, once they are heard.
    """
    words = await trio.to_thread.run_sync(parts.words.text, limiter=parts.disk) if own_words else ""
    bases = await trio.to_thread.run_sync(base_needs.folders, parts, voice.release, limiter=parts.disk)
    turns = _Turns(parts, voice, text, lang, {"stream": True, **(options or {})}, words, bases)
    backlog = Backlog()
    failure: Exception | None = None
    label, begun = new_label(voice.release), False

    async def make() -> None:
        nonlocal failure
        try:
            await turns.run(backlog, on_progress)
        except Exception as error:
            failure = error
        finally:
            backlog.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        try:
            while (pcm := await backlog.take()) is not None:
                if not begun:
                    begun = True
                    await listener.begin(turns.rate, label)
                await listener.take(pcm)
        except Exception as error:
            failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return Heard(turns.samples / turns.rate, tuple(dict.fromkeys(turns.notices)))


class _Turns:
    """A text on its way through the worker, a turn at a time."""

    def __init__(
        self,
        parts: Parts,
        voice: LoadableVoice,
        text: str,
        lang: str,
        options: Mapping[str, Any],
        words: str,
        bases: list[str],
    ) -> None:
        self._engine = parts.engine
        self._arguments = {
            "key": voice.key,
            "folder": str(voice.folder),
            "bases": bases,
            "text": text,
            "lang": lang,
            "options": dict(options),
            "words": words,
        }
        self.rate, self.samples = 0, 0
        self.notices: list[str] = []

    async def run(self, backlog: Backlog, on_progress: OnProgress | None) -> None:
        """Take turns until all is said."""
        spoken = 0

        async def hear(facts: Mapping[str, Any]) -> None:
            if "sample_rate" in facts:
                self.rate = int(facts["sample_rate"])
            elif on_progress is not None:
                await on_progress(facts)

        async def take(pcm: bytes) -> None:
            nonlocal spoken
            if not self.rate:
                raise BugError("the worker sent sound before it said what kind")
            spoken += len(pcm)
            if spoken > PCM_LIMIT:
                raise UsageError("the text is too long for one file")
            backlog.put(pcm)
            await backlog.shrink(BACKLOG_LIMIT)

        place: Mapping[str, Any] | None = None
        while True:
            made = await self._engine.call(
                "speak",
                {**self._arguments, "place": place},
                on_progress=hear,
                on_piece=take,
                again=place is not None,
            )
            self.samples += int(made["samples"])
            self.notices += made["notices"]
            place = made["place"]
            if place is None:
                return
            await backlog.shrink(LEAD_BYTES)


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
    whole = {"stream": False, **(options or {})}
    said = await stream(
        parts, voice, text, lang, heard, options=whole, on_progress=on_progress, own_words=own_words
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
