"""A reference clip becomes what speaking needs of it: prompt codes and a spectrogram.

Done once, when a voice is imported; a listener gets the result and needs no content encoder. The codes
depend on the voice's own SoVITS weights. Not for the transcript of the clip: see text. Follows
specs/reference-audio.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from p2pvoice.protocol.errors import UsageError, VoiceNotLoadableError
from p2pvoice.sovits import audio, hubert
from p2pvoice.sovits.audio import Samples
from p2pvoice.sovits.hubert import Hubert
from p2pvoice.sovits.vits import SoVits

SHORTEST, LONGEST = 48_000, 160_000
"""Samples at 16 kHz of a usable clip: 3 to 10 seconds, both ends included."""
SILENCE = 9_600
"""Zeros at 16 kHz that the content encoder hears after the clip. The published pipeline counts 0.3 s at
32 kHz, so it is 0.6 s here; the models were made that way."""


@dataclass(frozen=True)
class EncodedClip:
    """What is kept of a clip: ``codes`` [N] at 25 a second, ``spectrogram`` [ref_bins, T] at 50 a second."""

    codes: Tensor
    spectrogram: Tensor
    seconds: float


@torch.inference_mode()
def encode_clip(source: Path | BinaryIO, encoder: Hubert, sovits: SoVits) -> EncodedClip:
    """Read and encode one clip. Raises UsageError for a clip that is unreadable, too short or too long."""
    samples, rate = audio.read_clip(source)
    return encode_samples(samples, rate, encoder, sovits)


def check_seconds(seconds: float) -> None:
    """UsageError unless a reference clip lasts 3 to 10 seconds."""
    if not SHORTEST <= round(seconds * hubert.SAMPLE_RATE) <= LONGEST:
        raise UsageError(
            f"the reference clip lasts {seconds:.2f} s; it must last 3 to 10 s",
            hint="cut out one clean sentence of 3 to 10 seconds",
        )


@torch.inference_mode()
def encode_samples(samples: Samples, rate: int, encoder: Hubert, sovits: SoVits) -> EncodedClip:
    """The same of samples that were read already."""
    speech = audio.resample_soxr(samples, rate, hubert.SAMPLE_RATE)
    check_seconds(len(speech) / hubert.SAMPLE_RATE)
    codes = prompt_codes(speech, encoder, sovits)
    spectrogram = reference_spectrogram(samples, rate, sovits)
    return EncodedClip(codes, spectrogram, len(speech) / hubert.SAMPLE_RATE)


def prompt_codes(speech: Samples, encoder: Hubert, sovits: SoVits) -> Tensor:
    """Speech at 16 kHz -> the semantic codes [N] of it and the silence after it."""
    if encoder.settings.width != sovits.settings.ssl_dim:
        raise VoiceNotLoadableError(
            f"this voice wants content features of {sovits.settings.ssl_dim} numbers; "
            f"the encoder gives {encoder.settings.width}",
            hint="import it with the content encoder it was trained on",
        )
    padded = torch.nn.functional.pad(torch.from_numpy(speech), (0, SILENCE))
    features = encoder(padded[None].to(encoder.feature_projection.projection.weight.device))  # [1, T, width]
    return sovits.extract_codes(features.mT)[0].cpu()


def reference_spectrogram(samples: Samples, rate: int, sovits: SoVits) -> Tensor:
    """A clip at any rate -> the part of its linear spectrogram that the style encoder sees, [ref_bins, T]."""
    s = sovits.settings
    tamed = audio.tame_peak(audio.resample_sinc(samples, rate, s.sample_rate))
    spectrogram = audio.linear_spectrogram(torch.from_numpy(tamed)[None], s.filter_length, s.hop_length)
    return spectrogram[0, : s.ref_bins]
