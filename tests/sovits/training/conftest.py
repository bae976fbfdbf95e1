"""Speech for the tests of training: eight sentences, recorded, so that no new weights change them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from p2pvoice.sovits import convert
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.packaged import packaged_voice

RATE = 16_000
Speak = Callable[[str], np.ndarray]

SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background, and wait until it is dry.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Four hours of steady work faced us, but nobody complained.",
    "The source of the huge river is the clear spring.",
    "A pot of tea helps to pass the evening.",
    "The salt breeze came across from the sea.",
)
STARTS = (0.0, 2.92, 7.24, 10.04, 13.04, 17.24, 20.24, 22.88)
"""Seconds at which each sentence of the recording begins; the speaker is synthetic."""
GAP = 0.4
"""Seconds of pause after each sentence."""


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the packaged voice."""
    out = tmp_path_factory.mktemp("base") / "voice"
    came = packaged_voice()
    convert.import_voice(came.sovits, came.gpt, came.clip, came.text, came.lang, out, Bases())
    return out


@pytest.fixture(scope="session")
def recording() -> tuple[np.ndarray, list[float]]:
    """All sentences, each with its pause -> samples at 16 kHz, and when each sentence begins."""
    samples, rate = soundfile.read(Path(__file__).parent / "recording.flac", dtype="float32")
    assert rate == RATE
    return samples, list(STARTS)


@pytest.fixture(scope="session")
def speak(recording: tuple[np.ndarray, list[float]]) -> Speak:
    """One of the sentences -> samples at 16 kHz."""

    def say(text: str) -> np.ndarray:
        number = SENTENCES.index(text)
        ends = [*STARTS, len(recording[0]) / RATE][number + 1] - GAP
        return recording[0][round(STARTS[number] * RATE) : round(ends * RATE)]

    return say


@pytest.fixture(scope="session")
def speech(recording: tuple[np.ndarray, list[float]]) -> np.ndarray:
    """Eleven seconds of it."""
    return recording[0][: 11 * RATE]
