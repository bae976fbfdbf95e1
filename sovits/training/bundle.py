"""The bundle of a trained voice: the new weights, and reference clips chosen from what it was trained on.

Written in the very form that import writes, so that speaking, publishing and fetching know no difference. Not
for the manifest, which is the node's. Follows specs/training-data.md, and specs/bundle.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import torch
from torch import Tensor

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits import convert, voicefile
from p2pvoice.sovits.audio import Samples
from p2pvoice.sovits.checkpoint import Checkpoint
from p2pvoice.sovits.hearing import Listener
from p2pvoice.sovits.measure import pitch
from p2pvoice.sovits.reference import EncodedClip
from p2pvoice.sovits.voicefile import Bundle, VoiceFile

from . import clips, defects
from .prepare import Piece, read_piece
from .slicing import mix_loudness

REFERENCES: Final = 3
"""Reference clips of a trained voice, the best first."""
REFERENCE_SECONDS: Final = (3.1, 9.9)
"""Length of a reference clip: within the bundle's bounds, whatever a sample rate rounds."""
BEST_SECONDS: Final = (4.0, 8.0)
"""A shorter reference tells less of the voice, a longer one makes every sentence slower."""
JOIN_SECONDS: Final = 0.3
"""Silence between two short clips that are joined to a reference."""


@dataclass(frozen=True)
class Candidate:
    """A stretch of speech that may serve as a reference."""

    samples: Samples
    rate: int
    text: str
    lang: str
    name: str

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def choose(folder: Path, pieces: Sequence[Piece], count: int = REFERENCES) -> list[Candidate]:
    """The best ``count`` references among prepared pieces, the best first; short ones are joined if need be.

    Raises UsageError when there is none of 3 to 10 seconds.
    """
    usable = [piece for piece in pieces if _fits(piece.seconds, piece.text)]
    candidates = [_candidate(folder, piece) for piece in usable]
    if not candidates:
        candidates = _joined(folder, pieces)
    if not candidates:
        raise UsageError(
            "no clip can serve as the voice's reference: none lasts 3 to 10 s with its own text",
            hint="cut one clean sentence of 3 to 10 s into a clip of its own",
        )
    scores = _scores(candidates)
    best = sorted(range(len(candidates)), key=lambda i: -scores[i])
    return [candidates[i] for i in best[:count]]


def _fits(seconds: float, said: str) -> bool:
    low, high = REFERENCE_SECONDS
    return low <= seconds <= high and 0 < len(said) <= voicefile.TEXT_LIMIT and said.isprintable()


def _candidate(folder: Path, piece: Piece) -> Candidate:
    samples, rate = read_piece(folder, piece)
    return Candidate(mix_loudness(samples), rate, piece.text, piece.lang, piece.name)


def _joined(folder: Path, pieces: Sequence[Piece]) -> list[Candidate]:
    """Neighbours that are too short alone, joined until they last long enough."""
    found: list[Candidate] = []
    parts: list[Candidate] = []
    for piece in pieces:
        if piece.seconds >= REFERENCE_SECONDS[0]:
            continue
        part = _candidate(folder, piece)
        if parts and parts[0].rate != part.rate:
            parts = []
        parts.append(part)
        gap = np.zeros(round(JOIN_SECONDS * part.rate), np.float32)
        samples = np.concatenate([x for p in parts for x in (p.samples, gap)][:-1])
        said = (" " if part.lang == "en" else "").join(p.text for p in parts)
        if len(samples) / part.rate > REFERENCE_SECONDS[1]:
            parts = []
        elif _fits(len(samples) / part.rate, said):
            found.append(Candidate(samples, part.rate, said, part.lang, parts[0].name))
            parts = []
    return found


def _scores(candidates: Sequence[Candidate]) -> np.ndarray:
    """How good each would be: clean, of ordinary pace and pitch, of a good length, not cut in a sound."""
    heard = [defects.to_rate(c.samples, c.rate) for c in candidates]
    noise = np.array([defects.snr(samples) for samples in heard])
    active = np.array([max(defects.active_seconds(samples), 0.1) for samples in heard])
    pace = np.array([clips.phones_in(c.text, c.lang) for c in candidates]) / active
    height = np.array([_median_pitch(samples) for samples in heard])
    low, high = BEST_SECONDS
    off = np.array([max(low - c.seconds, c.seconds - high, 0.0) for c in candidates])
    cut = np.array([_edges(samples) for samples in heard])
    strange = np.abs(np.log(pace / np.median(pace))) * 4 + np.abs(height - np.median(height)) / 2
    return np.minimum(noise, 40.0) / 10 - strange - 0.4 * off - cut


def _median_pitch(samples: Samples) -> float:
    """In semitones; 0 where nothing is voiced."""
    track = pitch.track(samples, defects.RATE)
    voiced = track[track > defects.LOWEST_PITCH]
    return float(12 * np.log2(np.median(voiced))) if len(voiced) else 0.0


def _edges(samples: Samples) -> float:
    """1 for each end at which the clip is as loud as in its middle: there a sound was cut."""
    edge = defects.RATE // 25
    loud = np.sqrt(np.mean(samples**2))
    ends = (samples[:edge], samples[-edge:])
    return float(sum(np.sqrt(np.mean(end**2)) > 0.3 * loud for end in ends))


def write(
    out: Path,
    base: Bundle,
    sovits: Mapping[str, Tensor],
    gpt: Mapping[str, Tensor],
    references: Sequence[convert.Clip],
) -> VoiceFile:
    """Write the bundle ``out`` of new weights with a base's settings. Raises what `convert` raises."""
    voice = base.voice
    s2 = Checkpoint("s2", voice.version, dict(sovits), voice.sovits_config(), settings=voice.sovits)
    s1 = Checkpoint("s1", voice.version, dict(gpt), voice.gpt_config(), settings=voice.gpt)
    return convert.write_bundle(out, s2, s1, references)


def encode(chosen: Sequence[Candidate], hearing: Listener) -> list[convert.Clip]:
    """Reference clips as a voice hears them, of the samples as they will be stored."""
    clips = []
    for candidate in chosen:
        stored = np.round(np.clip(candidate.samples, -1.0, 1.0) * 32767) / np.float32(32768)
        samples, said, lang = stored.astype(np.float32), candidate.text, candidate.lang
        clips.append(
            convert.Clip(
                samples, candidate.rate, said, lang, hearing.clip(samples, candidate.rate, said, lang)
            )
        )
    return clips


def kept_references(folder: Path, base: Bundle) -> list[convert.Clip]:
    """The references of a base as they are, for a voice whose SoVITS network is the base's."""
    clips = []
    speakers = base.speakers or (None,) * len(base.spectrograms)
    for reference, spectrogram, speaker in zip(
        base.voice.references, base.spectrograms, speakers, strict=True
    ):
        samples, rate = soundfile.read(folder / reference.clip, dtype="float32")
        seconds = reference.milliseconds / 1000
        encoded = EncodedClip(torch.tensor(reference.codes), spectrogram, seconds, speaker)
        clips.append(convert.Clip(samples, rate, reference.text, reference.lang, encoded))
    return clips


def changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Any]:
    """How much of a weight file is the same as the base's, as stored: bytes, share, tensors changed."""
    same = total = 0
    changed: list[str] = []
    for name, tensor in after.items():
        old, size = before.get(name), tensor.numel() * 2
        total += size
        if old is not None and torch.equal(old.half(), tensor.detach().cpu().half()):
            same += size
        else:
            changed.append(name)
    return {
        "bytes": total,
        "same_bytes": same,
        "same_share": round(same / max(total, 1), 4),
        "changed": changed,
    }


def layers(changed: Sequence[str]) -> list[str]:
    """The parts of the networks that these tensors belong to, two names deep, each once."""
    found: dict[str, None] = {}
    for name in changed:
        parts = name.split(".")
        depth = (
            4 if parts[:3] == ["model", "h", "layers"] else 3 if len(parts) > 3 and parts[2].isdigit() else 2
        )
        found[".".join(parts[: min(depth, len(parts) - 1)])] = None
    return list(found)
