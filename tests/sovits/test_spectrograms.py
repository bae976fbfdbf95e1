"""Spectrograms, rates and loudness equal the golden numbers."""

import pytest
import torch

from p2pvoice.sovits import audio

from . import numbers


@pytest.fixture(scope="module")
def g():  # type: ignore[no-untyped-def]
    return numbers.arrays("spectrograms")


def test_linear_spectrogram(g) -> None:  # type: ignore[no-untyped-def]
    ours = audio.linear_spectrogram(g["in_wav"][None], 2048, 640)
    # The Fourier transforms of different processors sum float32 in different orders: 4e-6 has been seen.
    assert numbers.relative_error(ours, g["out_linear_2048_640_32k"]) < 2e-5


@pytest.mark.parametrize(
    ("name", "filter_length", "hop", "rate", "bands"),
    [
        ("mel128_from_linear", 2048, 640, 32000, 128),
        ("mel128_direct", 2048, 640, 32000, 128),
        ("mel100_v3_24k", 1024, 256, 24000, 100),
        ("mel100_v4_32k", 1280, 320, 32000, 100),
    ],
)
def test_mel_spectrograms(g, name: str, filter_length: int, hop: int, rate: int, bands: int) -> None:  # type: ignore[no-untyped-def]
    magnitudes = audio.linear_spectrogram(g["in_wav"][None], filter_length, hop)
    assert numbers.relative_error(audio.log_mel(magnitudes, rate, bands), g[f"out_{name}"]) < 5e-5


@pytest.mark.parametrize(
    ("rate", "wanted"), [(44100, 32000), (32000, 16000), (48000, 32000), (22050, 32000), (44100, 24000)]
)
def test_sinc_resampling(g, rate: int, wanted: int) -> None:  # type: ignore[no-untyped-def]
    ours = audio.resample_sinc(g["in_wav"].numpy(), rate, wanted)
    # torchaudio's releases round the phases of the filter differently; that is a hundred times below hearing.
    assert numbers.relative_error(ours, g[f"out_torchaudio_resample_{rate}_{wanted}"]) < 2e-4


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (32000, 16000)])
def test_soxr_resampling(g, rate: int, wanted: int) -> None:  # type: ignore[no-untyped-def]
    ours = audio.resample_soxr(g["in_wav"].numpy(), rate, wanted)
    assert numbers.relative_error(ours, g[f"out_librosa_soxr_hq_{rate}_{wanted}"]) < 1e-6


def test_equal_rates_touch_nothing(g) -> None:  # type: ignore[no-untyped-def]
    samples = g["in_wav"].numpy()
    assert audio.resample_sinc(samples, 32000, 32000) is samples
    assert audio.resample_soxr(samples, 16000, 16000) is samples


def test_a_loud_clip_is_tamed(g) -> None:  # type: ignore[no-untyped-def]
    samples = g["in_wav"].numpy()
    loud = samples * (float(g["in_loud_wav_peak"]) / abs(samples).max())
    assert abs(audio.tame_peak(loud)).max() == pytest.approx(float(g["out_volume_clamped_peak"]), abs=1e-6)
    assert abs(audio.tame_peak(loud * 3.0)).max() == pytest.approx(
        float(g["in_loud_wav_peak"]) * 1.5, rel=1e-5
    )
    quiet = samples / abs(samples).max()
    assert audio.tame_peak(quiet) is quiet


def test_the_golden_reference_spectrogram_comes_from_its_clip() -> None:
    g = numbers.arrays("sovits_v2")
    ours = audio.linear_spectrogram(g["in_ref_wav"][None], 2048, 640)
    torch.testing.assert_close(ours, g["in_refer_spec"], rtol=1e-4, atol=1e-5)
