"""Every fault of a clip is named, on real speech that was spoilt on purpose; clean speech has none."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from p2pvoice.sovits.training import clips, defects
from p2pvoice.sovits.training.clips import Recording

from .conftest import RATE, SENTENCES


def clip(samples: np.ndarray, rate: int = RATE, name: str = "a.wav") -> Recording:
    return Recording(name, samples.astype(np.float32), rate, rate)


def codes(samples: np.ndarray, rate: int = RATE) -> list[tuple[str, bool]]:
    return [(fault.code, fault.refuses) for fault in clips.faults(clip(samples, rate))]


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def chords(count: int) -> np.ndarray:
    """Four chords of three notes with harmonics, one a second."""
    time = np.arange(count) / RATE
    notes = np.array([(220, 277.2, 329.6), (196, 246.9, 293.7), (174.6, 220, 261.6), (246.9, 311.1, 370)])
    now = notes[(time.astype(int)) % 4].T  # [3, n]
    sound = sum((np.sin(2 * np.pi * k * now * time) / k).sum(0) for k in range(1, 5))
    sound = sound * np.exp(-(time % 1.0))
    return sound / level(sound)


def test_clean_speech_has_no_fault(speech: np.ndarray) -> None:
    samples = speech
    assert codes(samples) == []
    assert codes(samples * np.float32(0.05)) == []
    assert codes(soxr.resample(samples, RATE, 44_100), 44_100) == []


def test_noise_is_noted_and_then_refused(speech: np.ndarray) -> None:
    samples = speech
    noise = np.random.default_rng(1).standard_normal(len(samples)) * level(samples)
    assert codes(samples + noise * 10 ** (-35 / 20)) == []
    assert codes(samples + noise * 10 ** (-12 / 20)) == [("noise", False)]
    assert codes(samples + noise * 10 ** (0 / 20)) == [("noise", True)]


def test_clipping_is_seen_even_after_it_was_made_softer(speech: np.ndarray) -> None:
    samples = speech
    peak = np.abs(samples).max()
    for gain, refuses in ((2.0, False), (8.0, True)):
        cut = np.clip(samples * gain, -peak, peak)
        assert codes(cut) == [("clipping", refuses)]
        assert codes(soxr.resample(cut * 0.3, RATE, 22_050), 22_050) == [("clipping", refuses)]


@pytest.mark.parametrize("below", [6, 18])
def test_music_under_the_voice_is_told_from_noise(speech: np.ndarray, below: int) -> None:
    samples = speech
    assert codes(samples + chords(len(samples)) * level(samples) * 10 ** (-below / 20)) == [("music", True)]


def test_two_speakers_are_told_by_their_pitch(speech: np.ndarray) -> None:
    samples = speech
    other = soxr.resample(samples, RATE, round(RATE / 1.5))  # a voice seven semitones up
    both = np.concatenate([samples, other])
    assert codes(both) == [("two_speakers", True)]


def test_silence_short_and_narrow_clips_are_refused(speech: np.ndarray) -> None:
    samples = speech
    two = round(clips.TOO_SHORT_SECONDS * RATE)
    assert codes(samples[:two]) == [("too_short", True)]
    assert "too_short" not in dict(codes(samples[: two + 160]))
    assert codes(np.zeros(5 * RATE)) == [("silence", True)]
    assert codes(np.random.default_rng(0).standard_normal(5 * RATE) * 1e-4) == [("silence", True)]
    assert codes(np.concatenate([samples[RATE // 2 : RATE], np.zeros(5 * RATE)])) == [("silence", True)]
    assert codes(soxr.resample(samples, RATE, 8000), 8000) == [("low_rate", True)]
    telephone = soxr.resample(soxr.resample(samples, RATE, 8000), 8000, 32_000)
    assert codes(telephone, 32_000) == [("low_rate", True)]


def test_copies_are_found_through_another_level_and_format(speech: np.ndarray, tmp_path: Path) -> None:
    samples = speech[: 5 * RATE]
    path = tmp_path / "copy.ogg"
    soundfile.write(path, soxr.resample(samples * 0.4, RATE, 24_000), 24_000)
    copy = clips.read(path, "copy.ogg")
    assert isinstance(copy, Recording)
    other = clip(speech[5 * RATE : 10 * RATE], name="b.wav")
    found = clips.duplicates([clip(samples), other, copy])
    assert list(found) == [2]
    assert "'a.wav'" in found[2].message


def test_what_cannot_be_read_is_a_fault_and_no_error(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF and so on")
    found = clips.read(path, "a.wav")
    assert isinstance(found, clips.Fault)
    assert (found.code, found.refuses) == ("unreadable", True)
    assert clips.read(tmp_path / "none.wav", "none.wav").code == "unreadable"  # type: ignore[union-attr]
    soundfile.write(path, np.zeros(100), 4000)
    assert clips.read(path, "a.wav").code == "unreadable"  # type: ignore[union-attr]


def test_a_recording_is_refused_for_its_length_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    seconds = clips.RECORDING_SECONDS_LIMIT
    soundfile.write(path, np.zeros(round(seconds * 8000), np.int16), 8000)
    assert isinstance(clips.read(path, "long.flac"), Recording)
    soundfile.write(path, np.zeros(round(seconds * 8000) + 1, np.int16), 8000)
    assert clips.read(path, "long.flac").code == "too_long"  # type: ignore[union-attr]


def test_channels_and_high_rates_come_down_to_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([np.full(96_000, 0.5), np.zeros(96_000)], axis=1), 96_000)
    found = clips.read(path, "a.wav")
    assert isinstance(found, Recording)
    assert (found.rate, found.source_rate, round(found.seconds, 2)) == (48_000, 96_000, 1.0)
    assert np.allclose(found.samples[1000:-1000], 0.25, atol=1e-3)


def test_a_transcript_must_be_that_of_the_sound(speak) -> None:  # type: ignore[no-untyped-def]
    said = speak(SENTENCES[1])

    def faults(text: str, lang: str = "en") -> list[str]:
        return [fault.code for fault in clips.text_faults(text, lang, said, RATE)]

    assert faults(SENTENCES[1]) == []
    assert faults("  ") == ["no_transcript"]
    assert faults("...", "zh") == ["no_transcript"]
    assert faults("Glue it.") == ["text_too_short"]
    assert faults(" ".join(SENTENCES)) == ["text_too_long"]
    assert faults("我们昨天在河边走了很久很久。") == ["wrong_language"]
    assert faults(SENTENCES[1], "yue") == ["wrong_language"]
    assert faults("我哋尋日喺河邊行咗好耐。", "zh") == ["wrong_language"]
    assert faults("我哋尋日喺河邊行咗好耐。", "yue") == []


def test_every_fault_has_a_known_code_and_says_what_to_do(speech: np.ndarray) -> None:
    samples = speech
    found = [
        *clips.faults(clip(samples[:RATE])),
        *clips.faults(clip(samples * 0)),
        *clips.faults(clip(samples, 8000)),
        *clips.faults(clip(samples + chords(len(samples)) * level(samples) * 0.3)),
        *clips.text_faults("", "en", samples, RATE),
        *clips.text_faults("Yes, well.", "en", samples, RATE),
    ]
    assert len(found) >= 6
    for fault in found:
        assert fault.code in clips.REASONS
        assert fault.message
        assert fault.hint
        assert "\n" not in fault.message + fault.hint


def test_measurements_do_not_depend_on_level(speech: np.ndarray) -> None:
    samples = speech
    for measure in (defects.snr, defects.steady_tones, defects.clipped_share, defects.two_pitches):
        assert measure(samples * np.float32(0.1)) == pytest.approx(measure(samples), abs=0.05)
