"""The label that says a sound is synthetic, in the file's own metadata: WAV, FLAC, MP3, Ogg Opus and Vorbis.

For writing and reading exactly one AIGC label per file (seven keys, GB 45438-2025 annex E), with our own text
beside it: release, voice, licence and time. It works on the bytes of whole files and is read back after every
writing, because writers fail silently. It stands before the sound, so the beginning of a file is enough, to
label a stream and to read it. Not a watermark: whoever wants to can remove it, so its absence proves nothing.
Containers are in wav.py, flac.py, mp3.py and ogg.py. Follows specs/label.md.
"""

import calendar
import json
import re
import time
from dataclasses import dataclass, replace
from typing import Any

from p2pvoice.protocol import flac, mp3, ogg, wav
from p2pvoice.protocol.consent import LICENSE_LENGTH
from p2pvoice.protocol.errors import BugError, ManifestError, UsageError
from p2pvoice.protocol.fields import check_text
from p2pvoice.protocol.ids import parse_release_id
from p2pvoice.protocol.manifest import NAME_LENGTH

VALUE_LENGTH = 256
"""Characters of one value of the label."""

TEXT_LIMIT = 8 * 1024
"""Bytes of a label, or of our own text, that are parsed."""

CREATED_LIMIT = 253_402_300_800
"""Seconds since 1970 up to the end of the year 9999, where the written form of a time ends."""

_VALUE = re.compile(r"[!-~]*")
_FORBIDDEN = ('"', "\\")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_TIME_FORM = "%Y-%m-%dT%H:%M:%SZ"
# Key of the label -> field of Label, in the order the standard gives.
_KEYS = {
    "Label": "mark",
    "ContentProducer": "producer",
    "ProduceID": "produce_id",
    "ReservedCode1": "reserved1",
    "ContentPropagator": "propagator",
    "PropagateID": "propagate_id",
    "ReservedCode2": "reserved2",
}


@dataclass(frozen=True)
class Label:
    """What a file says of itself. The first seven fields are the standard's, the others our own.

    ``mark`` is 1 for synthetic, 2 for possibly and 3 for suspected. ``reserved1`` could hold a signature that
    ties a clip to a node; files written here leave it empty. ``created`` is in seconds since 1970.
    """

    produce_id: str
    producer: str
    propagator: str = ""
    propagate_id: str = ""
    mark: str = "1"
    reserved1: str = ""
    reserved2: str = ""
    release: str | None = None
    voice: str = ""
    license: str = ""
    created: int | None = None

    def __post_init__(self) -> None:
        for key, name in _KEYS.items():
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) > VALUE_LENGTH or not _VALUE.fullmatch(value):
                raise ManifestError(
                    f"{key} is not up to {VALUE_LENGTH} printable ASCII characters without space"
                )
            if any(character in value for character in _FORBIDDEN):
                raise ManifestError(f"{key} contains a quotation mark or a backslash")
        if self.mark not in ("1", "2", "3"):
            raise ManifestError("the label is none of 1, 2 and 3")
        if self.release is not None:
            try:
                parse_release_id(self.release)
            except UsageError as error:
                raise ManifestError(error.message) from error
        check_text(self.voice, "the voice's name", NAME_LENGTH)
        check_text(self.license, "the licence", LICENSE_LENGTH)
        if self.created is not None and not (type(self.created) is int and 0 < self.created < CREATED_LIMIT):
            raise ManifestError("the time of creation is out of range")


def label_wav(data: bytes, label: Label) -> bytes:
    """The WAV file with this label and no other, before its samples. UsageError when it is no WAV file."""
    return _checked(wav.rewrite(data, _aigc_text(label), _own_text(label)), label)


def wav_stream_beginning(rate: int, label: Label) -> bytes:
    """The beginning of a WAV stream of 16-bit mono samples that carries this label; the samples follow it."""
    return _checked(wav.stream_beginning(rate, _aigc_text(label), _own_text(label)), label)


def label_flac(data: bytes, label: Label) -> bytes:
    """The FLAC file with this label and no other. UsageError when it is no FLAC file."""
    return _checked(flac.rewrite(data, _aigc_text(label), _own_text(label)), label)


def label_mp3(data: bytes, label: Label) -> bytes:
    """The MP3 file with this label and no other; of no bytes, the tag that sound can be sent behind.

    UsageError when it is no MP3 file, or has a tag older than ID3v2.3.
    """
    return _checked(mp3.rewrite(data, _aigc_text(label), _own_text(label)), label)


def label_ogg(data: bytes, label: Label) -> bytes:
    """The Ogg file, or its beginning up to the sound, with this label and no other.

    UsageError when it holds neither Opus nor Vorbis as its one stream.
    """
    return _checked(ogg.rewrite(data, _aigc_text(label), _own_text(label)), label)


def read_label(data: bytes) -> Label | None:
    """The label of a WAV, FLAC, MP3 or Ogg file, or None when it has none; the samples may be cut off.

    Raises ManifestError for a malformed label, a malformed container, and more than one label.
    """
    if wav.is_wav(data):
        labels, own = wav.texts(data)
    elif flac.is_flac(data):
        labels, own = flac.texts(data)
    elif mp3.is_mp3(data):
        labels, own = mp3.texts(data)
    elif ogg.is_ogg(data):
        labels, own = ogg.texts(data)
    else:
        return None
    if not labels:
        return None
    if len(labels) > 1 or len(own) > 1:
        raise ManifestError("the file carries more than one label")
    values = _parse(labels[0], "the label")
    if "Label" not in values:
        raise ManifestError("the label does not say whether the sound is synthetic")
    fields = {name: values.get(key, "") for key, name in _KEYS.items()}
    label = Label(**fields)
    return _with_own(label, _parse(own[0], "the text beside the label")) if own else label


def _aigc_text(label: Label) -> bytes:
    if label.reserved1:
        raise UsageError("ReservedCode1 stays empty: it would tie the clip to whoever made it")
    values = {key: getattr(label, name) for key, name in _KEYS.items()}
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def _own_text(label: Label) -> bytes:
    values = {"release": label.release or "", "voice": label.voice, "license": label.license}
    if label.created is not None:
        values["created"] = time.strftime(_TIME_FORM, time.gmtime(label.created))
    kept = {key: value for key, value in values.items() if value}
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode("utf-8") if kept else b""


def _checked(data: bytes, label: Label) -> bytes:
    if read_label(data) != label:
        raise BugError("the label that was written does not read back")
    return data


def _parse(text: bytes, what: str) -> dict[str, Any]:
    if len(text) > TEXT_LIMIT:
        raise ManifestError(f"{what} has more than {TEXT_LIMIT} bytes")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ManifestError(f"{what} has the same key twice")
        return dict(pairs)

    try:
        values = json.loads(text.rstrip(b"\0 \r\n").decode("utf-8"), object_pairs_hook=unique)
    except ManifestError:
        raise
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{what} is not valid JSON") from error
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ManifestError(f"{what} is not a JSON object of texts")
    return values


def _with_own(label: Label, values: dict[str, Any]) -> Label:
    created = None
    if "created" in values:
        try:
            if not _TIME.fullmatch(values["created"]):
                raise ValueError
            created = calendar.timegm(time.strptime(values["created"], _TIME_FORM))
        except ValueError as error:
            raise ManifestError("the time beside the label is malformed") from error
    return replace(
        label,
        release=values.get("release") or None,
        voice=values.get("voice", ""),
        license=values.get("license", ""),
        created=created,
    )
