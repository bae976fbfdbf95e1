"""A voice described: language, suggestions, proposals, and the whole of it with the seed's own example."""

import json

import numpy as np
import pytest

from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.provenance import Measured
from p2pvoice.protocol.tags import canonical_tag
from p2pvoice.sovits import audio as clips
from p2pvoice.sovits.measure import describe, gender_age, language, proposals

from .sounds import BUNDLED, add_noise, speech_like


@pytest.mark.parametrize(
    ("text", "lang", "least"),
    [
        ("今日天氣好好，我哋一齊去公園啦。", "yue", 0.8),
        ("佢每朝六點起身跑步。", "yue", 0.6),
        ("今天天气很好，我们一起去公园吧。", "zh", 0.8),
        ("春天來了，花都開了。", "zh", 0.8),
        ("The cat sat on the mat, and it was happy.", "en", 0.6),
        ("Das ist nicht der Weg, den ich mit dir gehe.", "de", 0.6),
        ("Bonjour, je suis dans la rue et il pleut.", "fr", 0.3),
        ("これはペンです。", "ja", 0.8),
        ("안녕하세요", "ko", 0.8),
    ],
)
def test_the_language_of_a_text(text: str, lang: str, least: float) -> None:
    found = language.of_text(text)
    assert found is not None
    assert found.lang == lang
    assert found.confidence >= least


def test_what_both_languages_write_is_claimed_with_little_confidence() -> None:
    found = language.of_text("請問")
    assert found is not None
    assert found.confidence <= 0.5
    assert language.of_text("12, 34!") is None


@pytest.mark.parametrize(
    ("pitch", "spacing", "gender", "age"),
    [
        (105.0, 1010.0, "male", None),
        (125.0, None, "male", None),
        (210.0, 1190.0, "female", None),
        (190.0, 1160.0, "female", None),
        (290.0, 1400.0, None, "child"),
    ],
)
def test_gender_and_children_are_suggested_by_pitch_and_tract(
    pitch: float, spacing: float | None, gender: str | None, age: str | None
) -> None:
    found, years = gender_age.suggest(gender_age.Heard(pitch, spacing))
    if gender:
        assert found.value == gender
        assert found.confidence > 0.75
        assert years.value in ("young", "middle-aged")
        assert years.confidence <= 0.6
    else:
        assert found.confidence <= 0.6
        assert years.value == age
    for one in (found, years):
        assert sum(one.chances.values()) == pytest.approx(1, abs=0.6)
        assert 0 <= one.confidence <= 0.95


def test_rough_and_slow_voices_are_heard_as_older() -> None:
    young = gender_age.suggest(gender_age.Heard(115, 1020, 0.011, 0.08, 16, 5.6))[1]
    old = gender_age.suggest(gender_age.Heard(130, 1020, 0.032, 0.15, 7, 3.6))[1]
    assert young.value == "young"
    assert old.value == "elderly"
    assert old.chances["elderly"] > 3 * young.chances["elderly"]


SEED = {
    "language": ("yue", 0.9),
    "gender": ("male", 0.9),
    "age": ("middle-aged", 0.45),
    "hoarseness": (0.6, 0.5),
    "breathiness": (0.2, 0.4),
    "pitch_median": (118.0, 0.9),
}


def test_the_seeds_own_example_comes_out() -> None:
    made = proposals.propose(SEED, ["style/narration"])
    assert proposals.sentence(made, "zh") == "中年男性，粤语母语，略带沙哑，叙事风格"
    assert (
        proposals.sentence(made, "en")
        == "middle-aged male, native Cantonese, slightly husky, narration style"
    )
    assert [one.tag for one in made] == [
        "age/middle-aged", "gender/male", "language/yue", "timbre/husky", "style/narration",
    ]  # fmt: skip
    assert all(canonical_tag(one.tag) == one.tag for one in made)
    assert [one.to_confirm for one in made] == [True, True, True, True, False]


def test_the_author_decides_and_emotion_is_never_guessed() -> None:
    made = proposals.propose(SEED, ["gender/androgynous", "timbre/warm"])
    tags = [one.tag for one in made]
    assert "gender/male" not in tags
    assert "gender/androgynous" in tags
    assert {"timbre/warm", "timbre/husky"} <= set(tags)
    assert not any(tag.startswith(("emotion/", "style/")) for tag in tags)


def test_what_is_unsure_is_not_proposed() -> None:
    weak = {name: (value, 0.2) for name, (value, _) in SEED.items()}
    assert proposals.propose(weak) == ()
    assert proposals.propose(SEED | {"hoarseness": (0.49, 0.9)}) == tuple(
        one for one in proposals.propose(SEED) if one.tag != "timbre/husky"
    )
    assert "timbre/deep" in [one.tag for one in proposals.propose(SEED | {"pitch_median": (90.0, 0.9)})]


def test_the_bundled_clip_is_described() -> None:
    samples, rate = clips.read_clip(BUNDLED)
    text = "We walked along the river in the morning, and the light was clear."
    said = describe.describe(
        [describe.Clip(samples, rate, text, "en")],
        author_tags=["style/narration"],
        training_seconds=60.0,
        networks=False,
    )
    assert said["pitch_median"].value == pytest.approx(193, rel=0.02)
    assert said["loudness"].value == pytest.approx(-23.2, abs=0.1)
    assert said["speech_rate"].method == "syllables of the transcript"
    assert said["training_seconds"].value == 60
    assert said["gender"].value == "female"
    assert said["gender"].to_confirm
    assert said.words["en"].endswith("female, native English, narration style")
    plain = json.loads(json.dumps(said.to_json(), ensure_ascii=False))
    rows = [Measured.from_map(row) for row in plain["measured"]]
    assert len({row.field for row in rows}) == len(rows)
    assert not any("mos" in row.field and not row.field.startswith("dnsmos_") for row in rows)
    assert {"language/en", "gender/female", "style/narration"} <= set(plain["tags"])


def test_several_clips_are_one_voice_and_noise_lowers_the_confidence() -> None:
    sound = speech_like(seconds=4.0, rate=16_000, seed=3)[0]
    noisy = add_noise(sound, 12, np.random.default_rng(0))
    clean, dirty = (
        describe.describe([describe.Clip(one, 16_000), describe.Clip(one[::2], 8_000)], networks=False)
        for one in (sound, noisy)
    )
    assert clean["seconds"].value == pytest.approx(8)
    assert clean["clips"].value == 2
    assert clean["pitch_median"].value == pytest.approx(124, rel=0.1)
    assert dirty["hnr"].confidence < clean["hnr"].confidence
    assert dirty["snr"].value < clean["snr"].value
    assert any(note.startswith("language") for note in clean.notes)
    assert "language" not in clean


def test_bounds() -> None:
    clip = describe.Clip(np.zeros(16_000, np.float32), 16_000)
    with pytest.raises(UsageError, match="1 to 200"):
        describe.describe([])
    with pytest.raises(UsageError, match="1 to 200"):
        describe.describe([clip] * (describe.CLIPS_LIMIT + 1))
    with pytest.raises(UsageError, match="too little voice"):
        describe.describe([clip])
    longest = np.broadcast_to(np.float32(0), (round(describe.SECONDS_LIMIT * 4000) + 1,))
    with pytest.raises(UsageError, match="1200"):
        describe.describe([describe.Clip(longest, 4000)])


@pytest.mark.parametrize(
    ("value", "told"),
    [(11550.4, "11550"), (999.96, "1000"), (0.23917, "0.2392"), (-22.974, "-22.97"), (3, "3")],
)
def test_figures_are_told_without_exponents(value: float, told: str) -> None:
    assert describe.four_digits(value) == told
