"""Sound that is made while a sentence is drawn: the same speech, in time, without a seam."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from p2pvoice.sovits import packaged, streaming
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.convert import import_voice
from p2pvoice.sovits.heeding import heed, heeding
from p2pvoice.sovits.lite.windows import LiteWindows
from p2pvoice.sovits.sizes import SoVitsSettings, generator_reach
from p2pvoice.sovits.streaming import FIRST_CODES, GROWTH, KNEE, Audio, FrameNoise, Pieces, within
from p2pvoice.sovits.synthesize import SpeakText, Voice
from p2pvoice.sovits.utterance import Place, Utterance
from p2pvoice.sovits.vits import SoVits
from p2pvoice.sovits.windows import SoVitsWindows, flow_reach

from . import bench

TEXT = "It was a bright cold day in April, and the clocks were striking. He walked on. Nobody saw him."
STARTER = SpeakText(TEXT, "en", seed=3, stream=True)
TINY = SpeakText("今日天氣好好", "yue", seed=3, top_k=65, temperature=10.0, stream=True)

NEVER = 10**6
"""So many codes ahead that a sentence is decoded whole."""


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    out = tmp_path_factory.mktemp("starter") / "voice"
    files = packaged.packaged_voice()
    import_voice(files.sovits, files.gpt, files.clip, files.text, files.lang, out, Bases())
    return Voice.load(out, Bases(), "cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    bundle, bases = bench.voice(tmp_path_factory.mktemp("tiny"))
    return Voice.load(bundle, Bases([bases]), device="cpu")


@pytest.fixture(params=["starter", "tiny"])
def spoken(request: pytest.FixtureRequest) -> tuple[Voice, SpeakText]:
    return request.getfixturevalue(request.param), STARTER if request.param == "starter" else TINY


def said(voice: Voice, request: SpeakText) -> tuple[list[Audio], list[int]]:
    """The pieces and the codes of a request."""
    codes: list[int] = []
    return list(voice.speak(request, on_code=codes.append)), codes


class Sentence:
    """The codes of one sentence, drawn once and decoded in any pieces."""

    def __init__(self, voice: Voice, request: SpeakText) -> None:
        self.voice = voice
        _, self.codes = said(voice, replace(request, split="cut0"))
        self.phones = voice.read(request.text, request.lang).phones
        self.style = voice.style([request.reference])

    def windows(self, *, speed: float = 1.0, seed: int = 1) -> LiteWindows | SoVitsWindows:
        make = SoVitsWindows if isinstance(self.voice.sovits, SoVits) else LiteWindows
        noise = torch.Generator().manual_seed(seed)
        return make(self.voice.sovits, self.phones, self.style, speed=speed, noise_scale=0.5, generator=noise)

    def pieces(self, *, speed: float = 1.0, ahead: int | None = None, seed: int = 1) -> list[Audio]:
        windows = self.windows(speed=speed, seed=seed)
        windows.ahead = windows.ahead if ahead is None else ahead
        pieces = Pieces(windows, speed)
        made = [piece for code in self.codes if (piece := pieces.add(code)) is not None]
        return [*made, pieces.end()]


@pytest.fixture(scope="module")
def sentences(starter: Voice, tiny: Voice) -> dict[str, Sentence]:
    return {"starter": Sentence(starter, STARTER), "tiny": Sentence(tiny, TINY)}


@pytest.fixture(params=["starter", "tiny"])
def sentence(request: pytest.FixtureRequest, sentences: dict[str, Sentence]) -> Sentence:
    return sentences[request.param]


def distance(ours: Audio, theirs: Audio) -> float:
    """Root mean square of the difference, relative to the sound."""
    return float(np.sqrt(np.mean((ours - theirs) ** 2)) / np.std(theirs))


# -- the same speech -----------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["cut0", "cut4"])
def test_a_seed_says_the_same_codes_streamed_or_not(starter: Voice, split: str) -> None:
    request = replace(STARTER, split=split)
    streamed, codes = said(starter, request)
    whole, same = said(starter, replace(request, stream=False))
    assert codes == same
    assert sum(map(len, streamed)) == sum(map(len, whole))
    assert len(streamed) > len(whole)
    # Only the noise is another draw: the envelopes of both go up and down together.
    ours, theirs = (
        np.sqrt(np.convolve(np.concatenate(pieces) ** 2, np.ones(480), "same")[::480] + 1e-9)
        for pieces in (streamed, whole)
    )
    assert np.corrcoef(np.log(ours), np.log(theirs))[0, 1] > 0.97


def test_a_seed_gives_the_same_sound_again(spoken: tuple[Voice, SpeakText]) -> None:
    voice, request = spoken
    first, again, other = (np.concatenate(said(voice, replace(request, seed=seed))[0]) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)


@pytest.mark.parametrize("speed", [0.25, 0.7, 1.0, 1.3, 2.0, 4.0])
def test_pieces_are_the_sentence_with_the_same_noise(sentence: Sentence, speed: float) -> None:
    pieces = sentence.pieces(speed=speed)
    assert len(pieces) >= 2
    (whole,) = sentence.pieces(speed=speed, ahead=NEVER)
    made = np.concatenate(pieces)
    frames = int(2 * len(sentence.codes) / speed) + (speed != 1.0)
    assert len(made) == len(whole) == frames * sentence.windows().hop
    assert distance(made, whole) < 0.01
    # The noise is most of why two draws differ, so a window that drew anew would be seen.
    assert distance(np.concatenate(sentence.pieces(speed=speed, seed=2)), whole) > 0.05


def test_one_window_over_all_is_the_decoder_itself(sentence: Sentence) -> None:
    (whole,) = sentence.pieces(ahead=NEVER)
    network, frames = sentence.voice.sovits, 2 * len(sentence.codes)
    codes = torch.tensor([sentence.codes])
    with torch.inference_mode():
        if isinstance(network, SoVits):
            noise = FrameNoise(network.settings.inter_channels, torch.Generator().manual_seed(1))
            made = network.decode(
                codes, sentence.phones, sentence.style, noise=noise.window(0, frames), noise_scale=0.5
            )
        else:
            width, hop = network.settings.inter_channels, network.settings.hop_length
            noise = FrameNoise(width + hop, torch.Generator().manual_seed(1))
            drawn = noise.window(0, frames)
            mean, _ = network.prior(codes, sentence.phones, sentence.style)
            latent = mean + drawn[:, :width] * 0.05
            made = network.dec(latent, sentence.style, drawn[:, width:].mT.flatten(1))
    np.testing.assert_allclose(within(made[0, 0].numpy()), whole, atol=1e-6)


# -- in time -------------------------------------------------------------------------------------------


def test_the_first_sound_comes_long_before_the_last_code(
    starter: Voice, sentences: dict[str, Sentence]
) -> None:
    """Time to the first sound over the whole, in codes: what a fast or a slow machine both count."""
    drawn, heard = 0, []

    def count(_: int) -> None:
        nonlocal drawn
        drawn += 1

    utterance = Utterance(starter, STARTER)
    while utterance.place is not None:
        utterance.say(lambda piece: heard.append((drawn, len(piece))), on_code=count)
    first, length = heard[0]
    assert first == FIRST_CODES + sentences["starter"].windows().ahead
    assert length == FIRST_CODES * 960
    assert first < drawn / 4
    # Each later piece is there before what was handed out until then has been heard, as long as a code
    # takes at most two thirds of the time in which it sounds.
    sound = length
    for at, length in heard[1:-1]:
        assert at - first <= GROWTH * sound / 960
        sound += length


def test_sound_goes_out_before_the_next_sentence_is_read(
    starter: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    read = starter.read

    def note(*arguments: object) -> object:
        events.append("read")
        return read(*arguments)  # type: ignore[arg-type]

    said(starter, replace(STARTER, text="Good evening."))  # The prompt is read once, before.
    monkeypatch.setattr(starter, "read", note)
    utterance = Utterance(starter, replace(STARTER, split="cut4"))
    while utterance.place is not None:
        utterance.say(lambda piece: events.append("silence" if not piece.any() else "sound"))
    reads = [i for i, event in enumerate(events) if event == "read"]
    assert len(reads) == 3
    # The pause stands where it belongs, and all of a sentence is out before the next one is looked at.
    assert [events[i - 1] for i in reads[1:]] == ["silence", "silence"]
    assert events[-1] == "sound"


def test_pauses_are_as_long_as_asked_for(starter: Voice) -> None:
    request = replace(STARTER, split="cut4", pause=0.5)
    pieces, _ = said(starter, request)
    silences = [piece for piece in pieces if not piece.any()]
    assert [len(piece) for piece in silences] == [12_000, 12_000]


# -- without a seam ------------------------------------------------------------------------------------


class Steps:
    """Windows that disagree as much as they can: each one says another constant."""

    ahead, hop = 3, 480

    def __init__(self) -> None:
        self.told = 0

    def decode(self, codes: list[int], first: int, last: int, *, whole: bool) -> Tensor:
        self.told += 1
        return torch.full(((last - first) * self.hop,), 0.5 * (-1) ** self.told)


def test_pieces_that_disagree_are_led_over_within_a_frame() -> None:
    pieces = Pieces(Steps(), 1.0)
    made = [piece for code in range(60) if (piece := pieces.add(code)) is not None] + [pieces.end()]
    sound = np.concatenate(made)
    assert len(sound) == 120 * Steps.hop
    assert np.abs(np.diff(sound)).max() <= 1.01 / Steps.hop
    for join in np.cumsum([len(piece) for piece in made])[:-1]:
        assert abs(sound[join - 1] + sound[join + Steps.hop]) < 1e-6
        # Gains that add up to one: half-way stands the mean.
        assert abs(sound[join + Steps.hop // 2]) < 1 / Steps.hop


def clicks(sound: Audio, joins: list[int], hop: int) -> tuple[float, float, float]:
    """How far joins stand out from what lies within a frame around: jump, slope, and spectral flux.

    Each is the largest ratio of what is found at a join to the largest around it.
    """
    found = []
    for order in (1, 2):
        change = np.abs(np.diff(sound, order))
        ratios = []
        for join in joins:
            around = np.concatenate([change[join - hop : join - 4], change[join + 4 : join + hop]])
            ratios.append(change[join - 3 : join + 2].max() / around.max())
        found.append(max(ratios))
    width, step = 128, 32
    rows = np.lib.stride_tricks.sliding_window_view(sound, width)[::step] * np.hanning(width)
    spectra = np.abs(np.fft.rfft(rows))[:, width // 4 :]  # A click is heard where speech is not: high up.
    flux = np.maximum(np.diff(spectra, axis=0), 0).sum(1)
    ratios = []
    for join in joins:
        at, reach = (join - width // 2) // step, 3 * hop // step
        around = np.concatenate([flux[at - reach : at - 4], flux[at + 5 : at + reach]])
        ratios.append(flux[at - 3 : at + 4].max() / around.max())
    return found[0], found[1], max(ratios)


@pytest.mark.parametrize("ahead", [None, 2, 8])
@pytest.mark.parametrize("seed", [1, 2])
def test_joins_do_not_click(
    sentence: Sentence, seed: int, ahead: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where pieces see too little ahead to agree: blended they must still not be heard."""
    monkeypatch.setattr(streaming, "LARGEST_CODES", FIRST_CODES)
    made = sentence.pieces(ahead=ahead, seed=seed)
    joins = [int(end) for end in np.cumsum([len(piece) for piece in made])[:-1]]
    hop = sentence.windows().hop
    assert len(joins) >= 3
    (whole,) = sentence.pieces(ahead=NEVER, seed=seed)
    for ours, theirs in zip(clicks(np.concatenate(made), joins, hop), clicks(whole, joins, hop), strict=True):
        # Nothing stands out: no more than the same places of the whole sentence, or than their neighbours.
        assert ours < max(1.2, 1.2 * theirs)


def test_loud_sound_is_bent_and_quiet_sound_is_left_alone() -> None:
    quiet = np.linspace(-KNEE, KNEE, 1001, dtype=np.float32)
    assert within(quiet) is quiet
    loud = np.linspace(-3, 3, 100_001, dtype=np.float32)
    bent = within(loud)
    assert np.abs(bent).max() <= 1.0
    assert (np.diff(bent) >= 0).all()
    assert np.diff(bent).max() <= np.diff(loud).max() * 1.01
    np.testing.assert_array_equal(bent[np.abs(loud) <= KNEE], loud[np.abs(loud) <= KNEE])


def test_how_far_the_published_networks_see() -> None:
    """The reach is computed from the sizes; what lies beyond must change nothing, what lies within does."""
    settings = SoVitsSettings(
        inter_channels=8, upsample_initial=32, hidden_channels=8, gin_channels=8, mrte_channels=8
    )
    assert generator_reach(SoVitsSettings()) == 12
    assert flow_reach(SoVitsSettings()) == 32
    torch.manual_seed(1)
    network = SoVits(settings).eval().double()
    for parameter in network.dec.parameters():
        parameter.data.normal_(0.0, 0.3)
    style = torch.randn(1, 8, 1, dtype=torch.float64)
    z = torch.randn(1, 8, 60, dtype=torch.float64)
    other = z.clone()
    other[..., 30] += 1.0
    with torch.inference_mode():
        changed = (network.dec(z, style) - network.dec(other, style))[0, 0].abs().view(60, -1).amax(1)
    reach = generator_reach(settings)
    assert (changed[: 30 - reach] == 0).all()
    assert (changed[30 + reach + 1 :] == 0).all()
    assert changed[30 - reach + 2] > 0


# -- turns ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_put_away_between_sentences_goes_on_as_if_nothing_had_been(
    starter: Voice, tiny: Voice, stream: bool
) -> None:
    request = replace(STARTER, split="cut4", stream=stream)
    alone, _ = said(starter, request)
    heard: list[Audio] = []
    place: Place | None = None
    while True:
        utterance = Utterance(starter, request, place)
        utterance.say(heard.append)
        place = utterance.place
        said(tiny, replace(TINY, seed=len(heard)))
        torch.rand(5)
        if place is None:
            break
    np.testing.assert_array_equal(np.concatenate(heard), np.concatenate(alone))


# -- stopping ------------------------------------------------------------------------------------------


class Enough(Exception):
    pass


@pytest.mark.parametrize("stream", [False, True])
def test_work_stops_between_layers_and_leaves_the_voice_as_it_was(
    spoken: tuple[Voice, SpeakText], stream: bool
) -> None:
    voice, request = spoken
    request = replace(request, stream=stream)
    before = np.concatenate(said(voice, request)[0])

    def stopping_at(limit: int) -> tuple[Callable[[], None], list[int]]:
        asked = [0]

        def check() -> None:
            asked[0] += 1
            if asked[0] == limit:
                raise Enough

        return check, asked

    check, asked = stopping_at(0)
    utterance = Utterance(voice, request)
    at_codes: list[int] = []
    utterance.say(lambda _: None, on_code=lambda _: at_codes.append(asked[0]), check=check)
    # It asks while the sentence is read and while it is decoded; stepping through codes is checked per code.
    assert at_codes[0] >= 2
    assert asked[0] - at_codes[-1] > 10
    for limit in (1, at_codes[0], asked[0] - 5):
        check, _ = stopping_at(limit)
        with pytest.raises(Enough):
            Utterance(voice, request).say(lambda _: None, check=check)
    np.testing.assert_array_equal(np.concatenate(said(voice, request)[0]), before)
    networks = [network for network in (voice.sovits, voice.gpt) if isinstance(network, torch.nn.Module)]
    assert not any(module._forward_pre_hooks for network in networks for module in network.modules())


def test_what_is_no_module_heeds_by_itself() -> None:
    def check() -> None:
        raise Enough

    heed()  # Nobody wants to stop.
    with heeding(check, "no module"):
        with pytest.raises(Enough):
            heed()
        with heeding(None), pytest.raises(Enough):
            heed()
    heed()


def test_the_noise_of_a_sentence_follows_from_the_request_alone(starter: Voice) -> None:
    """Pinned: another machine need not give the same samples, but the noise's seed must not drift."""
    state = torch.Generator().manual_seed(3).get_state().numpy().tobytes()
    assert len(state) == 5056
    seed = int.from_bytes(hashlib.sha256(state).digest()[:8], "big") % (1 << 63)
    noise = FrameNoise(4, torch.Generator().manual_seed(seed))
    whole = noise.window(0, 6)
    again = FrameNoise(4, torch.Generator().manual_seed(seed))
    np.testing.assert_array_equal(
        torch.cat([again.window(0, 2), again.window(2, 6)], dim=-1).numpy(), whole.numpy()
    )
