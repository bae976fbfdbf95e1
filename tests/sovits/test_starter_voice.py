"""The voice that ships: it is imported by the usual path, without any other base, and speaks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from p2pvoice import sovits
from p2pvoice.sovits import convert
from p2pvoice.sovits.bases import BUNDLED, Bases, content_id
from p2pvoice.sovits.checkpoint import read_checkpoint
from p2pvoice.sovits.lite import units
from p2pvoice.sovits.lite.codebook import codebook
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.voicefile import VoiceFile

DATA = Path(sovits.__file__).parent / "data"
FOLDER = DATA / "starter"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, VoiceFile]:
    said = json.loads((FOLDER / "reference.json").read_text("utf-8"))
    out = tmp_path_factory.mktemp("bundled") / "voice"
    clip = FOLDER / said["clip"]
    files = FOLDER / "starter.pth", FOLDER / "starter.ckpt"
    return out, convert.import_voice(*files, clip, said["text"], said["lang"], out, Bases())


def test_what_ships_stays_small() -> None:
    shipped = [*FOLDER.iterdir(), *BUNDLED.rglob("*.safetensors")]
    assert sum(path.stat().st_size for path in shipped) <= 25_000_000
    card = (FOLDER / "MODEL_CARD.md").read_text("utf-8")
    assert "Apache-2.0" in card


def test_the_voice_names_the_encoder_that_ships_beside_it() -> None:
    assert read_checkpoint(FOLDER / "starter.pth").content_encoder == content_id(BUNDLED / "starter")


def test_the_reference_is_heard_as_codes_in_use(imported: tuple[Path, VoiceFile]) -> None:
    _, voice = imported
    codes = voice.references[0].codes
    assert max(codes) < units.USED
    # The prompt must end in a pause, or every sentence would begin inside a sound.
    assert all(units.entry_of(code)[0] == "sil" for code in codes[-3:])
    assert voice.bases.bert is None
    book = read_checkpoint(FOLDER / "starter.pth").tensors["quantizer.vq.layers.0._codebook.embed"].float()
    assert torch.equal(book, torch.from_numpy(codebook()))


@pytest.mark.parametrize(
    ("text", "lang"),
    [("It is a clear day.", "en"), ("今天天气很好。", "zh"), ("今日天氣好好。", "yue")],
)
def test_it_speaks_the_three_languages(imported: tuple[Path, VoiceFile], text: str, lang: str) -> None:
    voice = Voice.load(imported[0], Bases(), "cpu")
    audio = np.concatenate(list(voice.speak(SpeakText(text, lang, seed=3))))
    assert voice.sample_rate == 24_000
    assert 0.5 < len(audio) / voice.sample_rate < 6
    assert np.sqrt(np.mean(audio**2)) > 0.01
    again = np.concatenate(list(voice.speak(SpeakText(text, lang, seed=3))))
    assert np.array_equal(audio, again)
