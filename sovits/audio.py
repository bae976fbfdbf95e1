"""Sound as the networks want it: reading a clip, sample rates, loudness, spectrograms.

Every function here is checked against the published numbers; changing one changes every voice. Not for
writing files, nor for the label they carry. Follows specs/reference-audio.md.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
import torch
import torchaudio.functional
from numpy.typing import NDArray
from torch import Tensor

from p2pvoice.protocol.errors import NotFoundError, RefusedError, UsageError

CLIP_BYTES_LIMIT = 64 << 20
"""Bytes of an audio file that is opened at all: ten seconds of 96 kHz stereo in 32 bits take 7.7 MB."""
CLIP_SECONDS_LIMIT = 60.0
"""Seconds of audio that are decoded at all; checked from the header, before memory is taken."""
CHANNEL_LIMIT = 8
"""Most channels of a clip."""
RATE_RANGE = range(8000, 192001)
"""Sample rates of clips that are read, in hertz."""
PEAK_LIMIT = 2.0
"""A clip that is louder than full scale is divided by its peak, but by no more than this."""
MAGNITUDE_FLOOR = 1e-8
"""Added under the root of a spectrogram's power, so that silence has a gradient."""
MEL_FLOOR = 1e-5
"""Least value whose logarithm a mel spectrogram takes."""

Samples = NDArray[np.float32]


def read_clip(source: Path | BinaryIO) -> tuple[Samples, int]:
    """Read a WAV, FLAC, MP3, Ogg or Opus clip -> mono samples and their rate.

    Raises NotFoundError, or UsageError when it is no audio, too long, or out of bounds in any other way.
    """
    if isinstance(source, Path):
        if not source.is_file():
            raise NotFoundError(f"there is no file {source}", hint="check the path of the clip")
        if source.stat().st_size > CLIP_BYTES_LIMIT:
            raise UsageError(
                f"the clip is larger than {CLIP_BYTES_LIMIT >> 20} MB", hint="cut out 3 to 10 seconds"
            )
    try:
        with soundfile.SoundFile(source) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if rate not in RATE_RANGE or file.channels > CHANNEL_LIMIT:
                raise UsageError(f"cannot use a clip of {rate} Hz with {file.channels} channels")
            if not 0 < seconds <= CLIP_SECONDS_LIMIT:
                raise UsageError(f"the clip lasts {seconds:.1f} s", hint="cut out 3 to 10 seconds")
            samples = file.read(frames=file.frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise UsageError(
            f"this is no audio file that can be read: {error.error_string}",
            hint="give a wav, flac, mp3 or ogg file",
        ) from error
    if not np.isfinite(samples).all():
        raise RefusedError("the clip holds numbers that are no sound", hint="export the clip again")
    return samples.mean(axis=1), rate


def resample_soxr(samples: Samples, rate: int, wanted: int) -> Samples:
    """Change the rate as the content encoder's input is changed: soxr at its high quality."""
    if rate == wanted:
        return samples
    return np.asarray(soxr.resample(samples, rate, wanted, quality="HQ"), np.float32)


def resample_sinc(samples: Samples, rate: int, wanted: int) -> Samples:
    """Change the rate as the reference spectrogram's input is changed: a windowed sinc of width 6."""
    if rate == wanted:
        return samples
    return np.asarray(torchaudio.functional.resample(torch.from_numpy(samples), rate, wanted), np.float32)


def tame_peak(samples: Samples) -> Samples:
    """Bring a clip louder than full scale down; one that keeps to it is left alone."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples / np.float32(min(PEAK_LIMIT, peak)) if peak > 1.0 else samples


def linear_spectrogram(samples: Tensor, filter_length: int, hop_length: int) -> Tensor:
    """Samples [B, n] -> magnitudes [B, filter_length / 2 + 1, n / hop]; frames are centred on their hops."""
    edge = (filter_length - hop_length) // 2
    padded = torch.nn.functional.pad(samples, (edge, edge), mode="reflect")
    window = torch.hann_window(filter_length, device=samples.device)
    spectrum = torch.stft(
        padded, filter_length, hop_length, filter_length, window, center=False, return_complex=True
    )
    return (spectrum.real.square() + spectrum.imag.square() + MAGNITUDE_FLOOR).sqrt()


def log_mel(magnitudes: Tensor, sample_rate: int, bands: int) -> Tensor:
    """Magnitudes [B, bins, T] -> logarithms of [B, bands, T] bands on the Slaney scale, 0 Hz to the top."""
    filters = torchaudio.functional.melscale_fbanks(
        magnitudes.shape[1], 0.0, sample_rate / 2, bands, sample_rate, norm="slaney", mel_scale="slaney"
    ).to(magnitudes.device)  # [bins, bands]
    return (filters.T @ magnitudes).clamp(min=MEL_FLOOR).log()
