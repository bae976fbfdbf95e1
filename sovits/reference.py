"""A reference clip becomes what speaking needs of it: codes, a spectrogram, for Pro a speaker vector.

Done once, when a voice is imported; a listener gets the result and needs none of the networks that listened.
The codes depend on the voice's own SoVITS weights. Not for the transcript of the clip: see text. Follows
specs/reference-audio.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from p2pvoice.protocol.errors import UsageError, VoiceNotLoadableError
from p2pvoice.sovits import audio, filterbank, hubert
from p2pvoice.sovits.audio import Samples
from p2pvoice.sovits.hubert import Hubert
from p2pvoice.sovits.speaker import SpeakerNetwork
from p2pvoice.sovits.vits import SoVits

SHORTEST, LONGEST = 48_000, 160_000
"""Samples at 16 kHz of a usable clip: 3 to 10 seconds, both ends included."""
SILENCE = 9_600
"""Zeros at 16 kHz that the content encoder hears after the clip. The published pipeline counts 0.3 s at
32 kHz, so it is 0.6 s here; the models were made that way."""


@dataclass(frozen=True)
class EncodedClip:
    """What is kept of a clip: ``codes`` [N] at 25 a second, ``spectrogram`` [ref_bins, T] at 50 a second.

    ``speaker`` is the speaker vector [speaker_dim] of a Pro voice, else None.
    """

    codes: Tensor
    spectrogram: Tensor
    seconds: float
    speaker: Tensor | None = None


@torch.inference_mode()
def encode_clip(
    source: Path | BinaryIO, encoder: Hubert, sovits: SoVits, speaker: SpeakerNetwork | None = None
) -> EncodedClip:
    """Read and encode one clip. Raises UsageError for a clip that is unreadable, too short or too long."""
    samples, rate = audio.read_clip(source)
    return encode_samples(samples, rate, encoder, sovits, speaker)


def check_seconds(seconds: float) -> None:
    """UsageError unless a reference clip lasts 3 to 10 seconds."""
    if not SHORTEST <= round(seconds * hubert.SAMPLE_RATE) <= LONGEST:
        raise UsageError(
            f"the reference clip lasts {seconds:.2f} s; it must last 3 to 10 s",
            hint="cut out one clean sentence of 3 to 10 seconds",
        )


@torch.inference_mode()
def encode_samples(
    samples: Samples, rate: int, encoder: Hubert, sovits: SoVits, speaker: SpeakerNetwork | None = None
) -> EncodedClip:
    """The same of samples that were read already; a Pro voice needs the speaker network."""
    speech = audio.resample_soxr(samples, rate, hubert.SAMPLE_RATE)
    check_seconds(len(speech) / hubert.SAMPLE_RATE)
    codes = prompt_codes(speech, encoder, sovits)
    spectrogram = reference_spectrogram(samples, rate, sovits)
    vector = speaker_vector(samples, rate, speaker, sovits) if sovits.settings.speaker_dim else None
    return EncodedClip(codes, spectrogram, len(speech) / hubert.SAMPLE_RATE, vector)


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
    tamed = _tamed(samples, rate, sovits)
    spectrogram = audio.linear_spectrogram(torch.from_numpy(tamed)[None], s.filter_length, s.hop_length)
    return spectrogram[0, : s.ref_bins]


def speaker_vector(samples: Samples, rate: int, network: SpeakerNetwork | None, sovits: SoVits) -> Tensor:
    """A clip at any rate -> the speaker vector [speaker_dim] of a Pro voice.

    Raises VoiceNotLoadableError when the network is missing or gives vectors of another width.
    """
    wanted, given = sovits.settings.speaker_dim, network.settings.vector if network is not None else 0
    if network is None or given != wanted:
        raise VoiceNotLoadableError(
            f"this voice wants speaker vectors of {wanted} numbers; the network gives {given or 'none'}",
            hint="install the network it was made with: p2pvoice base add PATH/TO/sv",
        )
    # Twice resampled, as in the published pipeline: what the style encoder hears is heard here as well.
    tamed = _tamed(samples, rate, sovits)
    speech = audio.resample_sinc(tamed, sovits.settings.sample_rate, filterbank.SAMPLE_RATE)
    return network.vector(torch.from_numpy(speech))


def _tamed(samples: Samples, rate: int, sovits: SoVits) -> Samples:
    return audio.tame_peak(audio.resample_sinc(samples, rate, sovits.settings.sample_rate))
