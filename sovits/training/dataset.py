"""What training learns from: pieces of speech as samples, phones and codes, computed once and kept.

An extractor belongs to one base: its content encoder, codebook, rates and front end. Whatever it computes
lies in the work folder under the hash of what went in, so that resuming costs nothing. Not for choosing clips
(see prepare), nor for batches (see batches). Follows specs/training-data.md.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from p2pvoice.protocol.errors import SynthesisError, UsageError
from p2pvoice.sovits import bert, text, voicefile
from p2pvoice.sovits.audio import Samples, resample_soxr
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.declared import LITE
from p2pvoice.sovits.hearing import Listener, listener

from . import aligning, assigning
from .slicing import mix_loudness

FORMAT: Final = 1
"""Part of every key: features of another way of computing them are not used."""
CODE_RATE: Final = 25
PITCH_RATE: Final = 100
EXAMPLES_LIMIT: Final = 20_000
"""Pieces of one training."""
SECONDS_LIMIT: Final = 54.0
"""Longest piece, as in the published training."""
CACHE_BYTES_LIMIT: Final = 64 << 20
"""Bytes of one kept example: 54 s at 48 kHz take 5 MB, BERT features of 540 phones 1 MB."""
LOUD_PEAK, LOUD_MIX = 0.95, 0.5
"""The second mix of the published preparation: half of the piece brought to this peak, half as it was."""
HELD_OUT_SHARE: Final = 10
"""One example in so many is held out."""
TAIL_SECONDS: Final = 1.0
"""Least that is held out of the end of a single example."""


@dataclass(frozen=True)
class Example:
    """One piece of speech. Audio and codes cover the same time: ``len(audio) == len(codes) * rate / 25``."""

    name: str
    text: str
    lang: str
    audio: NDArray[np.float32]
    """[samples] at the model's rate"""
    phones: NDArray[np.int64]
    """[L]"""
    codes: NDArray[np.int64]
    """[N], 25 a second"""
    bert: NDArray[np.float32] | None
    """[1024, L]; None when the base has none or nothing of the text is Mandarin"""
    f0: NDArray[np.float32] | None
    """[100 a second] in Hz, 0 where unvoiced; lite only"""

    @property
    def seconds(self) -> float:
        return len(self.codes) / CODE_RATE


class Extractor:
    """Computes examples as one base hears them."""

    def __init__(self, base: Path, bases: Bases, cache: Path) -> None:
        """``base`` is a bundle's folder. Raises what loading it raises; nothing large is loaded yet."""
        self.bases, self.cache = bases, cache
        self.bundle = voicefile.load_bundle(base)
        self.voice = self.bundle.voice
        self.rate = self.voice.sovits.sample_rate
        self.identity = f"{FORMAT}|{self.voice.version}|{self.voice.bases.content}|{self._codebook_hash()}"
        self._listener: Listener | None = None
        self._bert: tuple[bert.Bert, bert.Characters] | None = None
        self._bert_sought = False
        cache.mkdir(parents=True, exist_ok=True)

    def example(self, name: str, said: str, lang: str, samples: Samples, rate: int) -> Example:
        """The example of one piece, from the cache when it was computed before.

        Raises UsageError for one that is too long, SynthesisError for a text that cannot be spoken,
        NotFoundError when the base's content encoder is not installed.
        """
        if len(samples) / rate > SECONDS_LIMIT:
            raise UsageError(
                f"{name} lasts {len(samples) / rate:.0f} s, more than {SECONDS_LIMIT:.0f}",
                hint="cut it where the speaker pauses",
            )
        path = self.cache / f"{self._key(said, lang, samples, rate)}.npz"
        if not path.is_file():
            self._keep(path, self._compute(said, lang, samples, rate))
        return _load(path, name, said, lang)

    def align(self, samples: Samples, rate: int, said: str, lang: str) -> list[assigning.Said] | None:
        """Divide a long text over a long recording; None when it cannot be told which part says what.

        A lite voice's content encoder hears where the sentences end; any other goes by pauses and lengths.
        """
        if self.voice.version == LITE and len(samples) <= rate * aligning.SECONDS_LIMIT:
            encoder = self.bases.content(self.voice.bases.content)
            return aligning.divide(encoder, samples, rate, said, lang)
        return assigning.assign(samples, rate, said, lang)

    def _key(self, said: str, lang: str, samples: Samples, rate: int) -> str:
        digest = hashlib.sha256(f"{self.identity}|{lang}|{rate}|{said}|".encode())
        digest.update(np.ascontiguousarray(samples, np.float32).tobytes())
        return digest.hexdigest()[:40]

    def _codebook_hash(self) -> str:
        """The tensors that codes depend on."""
        digest = hashlib.sha256()
        for name in sorted(self.bundle.sovits):
            if name.startswith(("ssl_proj.", "quantizer.")):
                digest.update(name.encode() + self.bundle.sovits[name].contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.inference_mode()
    def _compute(self, said: str, lang: str, samples: Samples, rate: int) -> dict[str, NDArray[Any]]:
        mixed = mix_loudness(mix_loudness(samples), LOUD_PEAK, LOUD_MIX)
        audio = np.clip(resample_soxr(mixed, rate, self.rate), -1.0, 1.0)
        spoken = text.phonemize(said, lang, self.voice.version)
        codes = self.listener().codes(mixed, rate, said, lang)
        per_code = self.rate // CODE_RATE
        count = min(len(codes), len(audio) // per_code)
        kept: dict[str, NDArray[Any]] = {
            "audio": np.round(audio[: count * per_code] * 32767).astype(np.int16),
            "phones": np.array(spoken.ids, np.int32),
            "codes": codes[:count].astype(np.int32),
        }
        f0 = self.listener().pitch(audio[: count * per_code], self.rate)
        if f0 is not None:
            kept["f0"] = f0[: count * PITCH_RATE // CODE_RATE].astype(np.float32)
        features = self._features(spoken)
        if features is not None:
            kept["bert"] = features.astype(np.float16)
        return kept

    def listener(self) -> Listener:
        """How the base hears, loaded on first use."""
        if self._listener is None:
            voice = self.voice
            self._listener = listener(
                voice.version, self.bundle.sovits, voice.sovits_config(), voice.bases.content, self.bases
            )
        return self._listener

    def _features(self, spoken: text.Phones) -> NDArray[np.float32] | None:
        """BERT features [1024, L]; None without an installed BERT, or when nothing is Mandarin."""
        mandarin = [part for part in spoken.parts if part.language == "zh" and part.word2ph is not None]
        if not mandarin or self.voice.bases.bert is None:
            return None
        if not self._bert_sought:
            self._bert, self._bert_sought = self.bases.bert(self.voice.bases.bert), True
        if self._bert is None:
            return None
        features = np.zeros((self._bert[0].settings.width, len(spoken.ids)), np.float32)
        for part in mandarin:
            assert part.word2ph is not None
            columns = slice(part.start, part.start + part.length)
            features[:, columns] = bert.phone_features(*self._bert, part.norm_text, part.word2ph).numpy()
        return features

    @staticmethod
    def _keep(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


def _load(path: Path, name: str, said: str, lang: str) -> Example:
    if path.stat().st_size > CACHE_BYTES_LIMIT:
        raise UsageError(f"{path.name} is larger than any example", hint=f"rm {path}")
    with np.load(path, allow_pickle=False) as kept:
        return Example(
            name,
            said,
            lang,
            kept["audio"].astype(np.float32) / 32767,
            kept["phones"].astype(np.int64),
            kept["codes"].astype(np.int64),
            kept["bert"].astype(np.float32) if "bert" in kept else None,
            kept["f0"].astype(np.float32) if "f0" in kept else None,
        )


@dataclass(frozen=True)
class Split:
    """What is trained on, and what is held out."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    method: str
    """``examples``: whole ones are held out; ``tails``: the ends of some; ``none``: too little for either."""


def split(examples: Sequence[Example], *, cut_tails: bool) -> Split:
    """Hold out one example in ten, the same every time; of fewer than five the ends, when these may be cut.

    A network that learns where a sentence ends must not be given cut ones: then ``cut_tails`` is False, and
    a handful of examples is both trained on and looked at.
    """
    if len(examples) >= HELD_OUT_SHARE // 2:
        # Those in the middle of each ten, so that one that begins or ends a recording is rarely taken.
        middle = min(HELD_OUT_SHARE, len(examples)) // 2
        aside = set(range(middle, len(examples), HELD_OUT_SHARE))
        return Split(
            tuple(e for i, e in enumerate(examples) if i not in aside),
            tuple(e for i, e in enumerate(examples) if i in aside),
            "examples",
        )
    if not cut_tails:
        return Split(tuple(examples), tuple(examples), "none")
    heads, tails = zip(*(_cut_tail(example) for example in examples), strict=True)
    return Split(heads, tails, "tails")


def _cut_tail(example: Example) -> tuple[Example, Example]:
    tail = max(round(TAIL_SECONDS * CODE_RATE), len(example.codes) // HELD_OUT_SHARE)
    at = max(len(example.codes) - tail, len(example.codes) // 2)
    return _part(example, 0, at), _part(example, at, len(example.codes))


def _part(example: Example, start: int, end: int) -> Example:
    per_code, per_pitch = len(example.audio) // len(example.codes), PITCH_RATE // CODE_RATE
    f0 = None if example.f0 is None else example.f0[start * per_pitch : end * per_pitch]
    return Example(
        example.name,
        example.text,
        example.lang,
        example.audio[start * per_code : end * per_code],
        example.phones,
        example.codes[start:end],
        example.bert,
        f0,
    )


def extract(
    extractor: Extractor,
    pieces: Sequence[tuple[str, str, str, Callable[[], tuple[Samples, int]]]],
    tell: Callable[[int, int], None],
) -> tuple[list[Example], dict[str, str]]:
    """The examples of pieces (name, text, language, reader), in order, and by name why others cannot be used.

    ``tell`` may raise to end the work.
    """
    if len(pieces) > EXAMPLES_LIMIT:
        raise UsageError(f"{len(pieces)} pieces are more than {EXAMPLES_LIMIT}", hint="train on fewer clips")
    examples, left_out = [], {}
    for done, (name, said, lang, read) in enumerate(pieces):
        tell(done, len(pieces))
        try:
            examples.append(extractor.example(name, said, lang, *read()))
        except (UsageError, SynthesisError) as error:
            left_out[name] = error.message
    return examples, left_out
