"""A voice's own clips: of its own speech, heard anew, with the weights untouched and no original left."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from p2pvoice.protocol.errors import SynthesisError
from p2pvoice.sovits import convert, own_clips, voicefile
from p2pvoice.sovits.audio import read_clip
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.hearing import listener
from p2pvoice.sovits.measure.embed import similarity, speaker_embedding
from p2pvoice.sovits.packaged import packaged_voice
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.training import bundle

from . import bench

ALIKE = 0.8
"""The cosine that `tests/bench/own_clips.py` printed was 0.89 and 0.90 for two seeds."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    came = packaged_voice()
    out = tmp_path_factory.mktemp("voice") / "original"
    convert.import_voice(came.sovits, came.gpt, came.clip, came.text, came.lang, out, Bases())
    return out


@pytest.fixture
def loaded(original: Path) -> tuple[voicefile.Bundle, Voice]:
    return voicefile.load_bundle(original), Voice.load(original, Bases())


def test_the_clip_is_the_voice_and_not_the_recording(
    original: Path, loaded: tuple[voicefile.Bundle, Voice], tmp_path: Path
) -> None:
    clips = own_clips.speak(*loaded, Bases())
    assert [(clip.text, clip.lang) for clip in clips] == [(own_clips.TEXTS["en"][0], "en")]
    low, high = own_clips.SECONDS
    assert low <= len(clips[0].samples) / clips[0].rate <= high
    out = tmp_path / "own"
    made = own_clips.write(out, loaded[0], clips)
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        "reference/0.safetensors",
        "reference/0.wav",
        "voice.json",
    ]
    before = voicefile.read_voice(original)
    assert (made.sovits, made.gpt, made.bases) == (before.sovits, before.gpt, before.bases)
    assert before.references[0].text not in (out / "voice.json").read_text("utf-8")
    for name in (voicefile.SOVITS_NAME, voicefile.GPT_NAME):
        (out / name).symlink_to(original / name)
    assert voicefile.load_bundle(out).voice == made
    spoken = list(Voice.load(out, Bases()).speak(SpeakText("Where is the library?", "en", seed=1)))
    assert all(np.isfinite(part).all() for part in spoken)


@pytest.mark.skipif(importlib.util.find_spec("resemblyzer") is None, reason="resemblyzer is not installed")
def test_the_clip_sounds_like_the_recording(loaded: tuple[voicefile.Bundle, Voice]) -> None:
    clips = own_clips.speak(*loaded, Bases())
    centre = speaker_embedding(*read_clip(packaged_voice().clip))
    assert similarity(centre, speaker_embedding(clips[0].samples, clips[0].rate)) > ALIKE


@pytest.mark.parametrize(("name", "value"), [("CODES_LIMIT", 3), ("SECONDS", (0.1, 0.2))])
def test_a_voice_that_says_nothing_of_use_is_an_error(
    loaded: tuple[voicefile.Bundle, Voice], monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """Every sentence of the voice is too long, for a limit that is put that low."""
    monkeypatch.setattr(own_clips, name, value)
    monkeypatch.setattr(own_clips, "ATTEMPTS", 2)
    with pytest.raises(SynthesisError) as caught:
        own_clips.speak(*loaded, Bases())
    assert "--clips-may-travel" in caught.value.hint


def test_it_can_be_stopped(loaded: tuple[voicefile.Bundle, Voice]) -> None:
    class Stop(Exception):
        pass

    calls = 0

    def tell(done: int, of: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise Stop

    with pytest.raises(Stop):
        own_clips.speak(*loaded, Bases(), tell=tell)


def test_every_sentence_is_short_enough_for_a_transcript() -> None:
    for lang, texts in own_clips.TEXTS.items():
        assert lang in voicefile.LANGUAGES
        for said in texts:
            assert voicefile.check_text(said) == said
    # Voices of the other two languages prompt themselves in one of these.
    assert set(own_clips.TEXTS) == {"en", "yue", "zh"}


def test_clips_of_a_pro_voice_bring_speaker_vectors_of_their_own(tmp_path: Path) -> None:
    """A release without recordings must not carry the voiceprint of one either."""
    folder, bases = bench.voice(tmp_path, "v2Pro")
    loaded = voicefile.load_bundle(folder)
    made = loaded.voice
    named, installed = made.bases, Bases([bases])
    hearing = listener(
        made.version, loaded.sovits, made.sovits_config(), named.content, installed, named.speaker
    )
    spoken = [
        bundle.Candidate(*read_clip(bench.clip(tmp_path / f"{seconds}.wav", seconds)), "你好", "zh", "")
        for seconds in (3.2, 5.0)
    ]
    own = own_clips.write(tmp_path / "own", loaded, bundle.encode(spoken, hearing))
    assert own.bases == made.bases
    for name in (voicefile.SOVITS_NAME, voicefile.GPT_NAME):
        (tmp_path / "own" / name).symlink_to(folder / name)
    again = voicefile.load_bundle(tmp_path / "own")
    assert len(again.speakers) == 2
    assert not any(torch.equal(new, old) for new in again.speakers for old in loaded.speakers)
