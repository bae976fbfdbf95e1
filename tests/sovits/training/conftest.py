"""Speech for the tests of training: real sentences, spoken by the voice that comes with the package."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from p2pvoice import sovits
from p2pvoice.sovits import convert
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.synthesize import SpeakText, Voice

FOLDER = Path(sovits.__file__).parent / "data" / "bootstrap"
RATE = 16_000
Speak = Callable[[str], np.ndarray]


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the packaged voice."""
    said = json.loads((FOLDER / "reference.json").read_text("utf-8"))
    out = tmp_path_factory.mktemp("base") / "voice"
    files = FOLDER / "bootstrap.pth", FOLDER / "bootstrap.ckpt"
    convert.import_voice(*files, FOLDER / said["clip"], said["text"], said["lang"], out, Bases())
    return out


@pytest.fixture(scope="session")
def speak(bootstrap: Path) -> Speak:
    """An English sentence -> samples at 16 kHz, the same every time."""
    voice = Voice.load(bootstrap, Bases(), "cpu")
    kept: dict[str, np.ndarray] = {}

    def say(text: str) -> np.ndarray:
        if text not in kept:
            pieces = voice.speak(SpeakText(text, "en", seed=len(text), split="cut0"))
            kept[text] = np.concatenate(list(pieces))
        return kept[text]

    return say


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


@pytest.fixture(scope="session")
def recording(speak: Speak) -> tuple[np.ndarray, list[float]]:
    """All sentences with 0.4 s of pause after each -> samples at 16 kHz, and when each sentence begins."""
    gap = np.zeros(RATE * 4 // 10, np.float32)
    parts, starts, at = [], [], 0.0
    for sentence in SENTENCES:
        said = speak(sentence)
        starts.append(at)
        parts += [said, gap]
        at += (len(said) + len(gap)) / RATE
    return np.concatenate(parts), starts


@pytest.fixture(scope="session")
def speech(recording: tuple[np.ndarray, list[float]]) -> np.ndarray:
    """Eleven seconds of it."""
    return recording[0][: 11 * RATE]
