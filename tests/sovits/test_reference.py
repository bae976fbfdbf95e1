"""Reference clips: what is read, what is refused, what comes out."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from p2pvoice.protocol.errors import NotFoundError, RefusedError, UsageError, VoiceNotLoadableError
from p2pvoice.sovits import audio, reference
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.hubert import Hubert, HubertSettings
from p2pvoice.sovits.vits import SoVits

from . import bench, numbers


@pytest.fixture(scope="module")
def sovits() -> SoVits:
    checkpoint = read_checkpoint(numbers.beside("checkpoints/good/tiny_v2.pth"))
    return SoVits.from_tensors(checkpoint.tensors, checkpoint.config)


def encoder(width: int = 48) -> Hubert:
    torch.manual_seed(7)
    settings = HubertSettings(
        conv_dims=(8,) * 7,
        width=width,
        heads=2,
        layers=1,
        feed_forward=16,
        position_kernel=8,
        position_groups=2,
    )
    return Hubert(settings).eval()


@pytest.mark.parametrize("samples", [reference.SHORTEST, reference.LONGEST])
def test_clips_of_three_and_ten_seconds_are_taken(tmp_path: Path, sovits: SoVits, samples: int) -> None:
    path = bench.clip(tmp_path / "clip.wav", samples / 16000, rate=16000)
    made = reference.encode_clip(path, encoder(), sovits)
    frames = encoder().settings.frames(samples + reference.SILENCE)
    assert made.seconds == samples / 16000
    assert made.codes.shape == (frames // 2,)
    assert int(made.codes.max()) < 64
    assert made.spectrogram.shape == (704, samples // 320)
    assert torch.isfinite(made.spectrogram).all()


@pytest.mark.parametrize("samples", [reference.SHORTEST - 1, reference.LONGEST + 1])
def test_a_sample_less_or_more_is_refused(tmp_path: Path, sovits: SoVits, samples: int) -> None:
    path = bench.clip(tmp_path / "clip.wav", samples / 16000, rate=16000)
    with pytest.raises(UsageError, match="3 to 10"):
        reference.encode_clip(path, encoder(), sovits)


def test_any_rate_and_channels_give_the_same_shapes(tmp_path: Path, sovits: SoVits) -> None:
    path = bench.clip(tmp_path / "clip.wav", 4.0, rate=44100, channels=2)
    made = reference.encode_clip(path, encoder(), sovits)
    assert made.spectrogram.shape == (704, 200)
    assert made.codes.shape == (encoder().settings.frames(64000 + reference.SILENCE) // 2,)


def test_the_encoder_must_be_the_one_of_the_voice(sovits: SoVits) -> None:
    with pytest.raises(VoiceNotLoadableError, match="48"):
        reference.prompt_codes(np.zeros(48000, np.float32), encoder(64), sovits)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_forms_of_audio(form: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.full((24000, 2), 0.25), 24000, format=form)
    file.seek(0)
    samples, rate = audio.read_clip(file)
    assert (samples.dtype, samples.ndim, rate) == (np.float32, 1, 24000)
    assert len(samples) >= 24000
    assert float(np.median(samples)) == pytest.approx(0.25, abs=0.02)


def test_channels_are_averaged() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.stack([np.full(9000, 0.5), np.zeros(9000)], axis=1), 16000, format="WAV")
    file.seek(0)
    np.testing.assert_allclose(audio.read_clip(file)[0], 0.25, atol=1e-4)


def wav(samples: int = 16000, rate: int = 16000, channels: int = 1, *, value: float = 0.1) -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, np.full((samples, channels), value), rate, format="WAV", subtype="FLOAT")
    file.seek(0)
    return file


def test_seconds_are_bounded() -> None:
    limit = int(audio.CLIP_SECONDS_LIMIT * 8000)
    assert len(audio.read_clip(wav(limit, 8000))[0]) == limit
    for samples in (0, limit + 1):
        with pytest.raises(UsageError):
            audio.read_clip(wav(samples, 8000))


@pytest.mark.parametrize("rate", [audio.RATE_RANGE[0], audio.RATE_RANGE[-1]])
def test_rates_are_bounded(rate: int) -> None:
    assert audio.read_clip(wav(100, rate))[1] == rate
    outside = rate - 1 if rate == audio.RATE_RANGE[0] else rate + 1
    with pytest.raises(UsageError):
        audio.read_clip(wav(100, outside))


def test_channels_are_bounded() -> None:
    audio.read_clip(wav(channels=audio.CHANNEL_LIMIT))
    with pytest.raises(UsageError):
        audio.read_clip(wav(channels=audio.CHANNEL_LIMIT + 1))


def test_bytes_are_bounded_before_the_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "big.wav"
    with path.open("wb") as file:
        file.truncate(audio.CLIP_BYTES_LIMIT + 1)
    with pytest.raises(UsageError, match="larger"):
        audio.read_clip(path)
    with path.open("wb") as file:
        file.truncate(audio.CLIP_BYTES_LIMIT)
    with pytest.raises(UsageError, match="no audio"):
        audio.read_clip(path)


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        audio.read_clip(wav(value=float("nan")))
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(UsageError, match="no audio"):
        audio.read_clip(tmp_path / "text.wav")
    with pytest.raises(NotFoundError):
        audio.read_clip(tmp_path / "nothing.wav")
