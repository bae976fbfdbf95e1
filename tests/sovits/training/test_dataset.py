"""Examples as a base hears them, kept under the hash of what went in; and what is held out of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits import text
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.training import dataset
from p2pvoice.sovits.training.dataset import Example, Extractor

from .conftest import RATE, SENTENCES


def test_an_example_covers_the_same_time_in_audio_and_codes(starter: Path, speech, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    extractor = Extractor(starter, Bases(), tmp_path)
    made = extractor.example("one", SENTENCES[0], "en", speech[: 3 * RATE + 77], RATE)
    assert len(made.audio) == len(made.codes) * 24_000 // 25
    assert len(made.codes) == 75
    assert made.phones.tolist() == text.phonemize(SENTENCES[0], "en").ids
    assert made.bert is None
    assert made.f0 is not None
    assert len(made.f0) == 4 * len(made.codes)
    assert (made.f0 > 0).mean() > 0.3
    assert (made.audio.dtype, made.codes.dtype, made.phones.dtype) == (np.float32, np.int64, np.int64)
    assert 0.5 < np.abs(made.audio).max() <= 1.0
    # Another process reads the very same numbers back, without hearing anything.
    again = Extractor(starter, Bases(), tmp_path)
    kept = again.example("one", SENTENCES[0], "en", speech[: 3 * RATE + 77], RATE)
    assert again._listener is None
    assert np.array_equal(kept.audio, made.audio)
    assert np.array_equal(kept.codes, made.codes)


def test_whatever_goes_in_is_part_of_the_key(starter: Path, speech, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    extractor = Extractor(starter, Bases(), tmp_path)
    sound = speech[:RATE]
    keys = {
        extractor._key("Yes.", "en", sound, RATE),
        extractor._key("No.", "en", sound, RATE),
        extractor._key("Yes.", "zh", sound, RATE),
        extractor._key("Yes.", "en", sound, 2 * RATE),
        extractor._key("Yes.", "en", np.nextafter(sound, 1, dtype=np.float32), RATE),
    }
    assert len(keys) == 5


def test_a_piece_is_refused_for_its_length_before_it_is_heard(starter: Path, tmp_path: Path) -> None:
    extractor = Extractor(starter, Bases(), tmp_path)
    silent = np.zeros(round(dataset.SECONDS_LIMIT * RATE) + 1, np.float32)
    with pytest.raises(UsageError, match="54 s"):
        extractor.example("long", "Text.", "en", silent, RATE)
    found, left_out = dataset.extract(
        extractor, [("long", "Text.", "en", lambda: (silent, RATE))], lambda *_: None
    )
    assert (found, list(left_out)) == ([], ["long"])


def plain(index: int, codes: int = 100) -> Example:
    numbers = np.arange(codes)
    return Example(
        f"e{index}", "", "en", np.repeat(numbers, 40).astype(np.float32), np.arange(9), numbers, None,
        np.repeat(numbers, 4).astype(np.float32),
    )  # fmt: skip


@pytest.mark.parametrize(("count", "aside"), [(5, [2]), (9, [4]), (10, [5]), (25, [5, 15])])
def test_whole_examples_are_held_out(count: int, aside: list[int]) -> None:
    examples = [plain(i) for i in range(count)]
    found = dataset.split(examples, cut_tails=True)
    assert [e.name for e in found.held_out] == [f"e{i}" for i in aside]
    assert len(found.train) == count - len(aside)
    assert not {e.name for e in found.train} & {e.name for e in found.held_out}


def test_of_a_few_examples_the_ends_are_held_out() -> None:
    found = dataset.split([plain(0), plain(1, 400), plain(2, 30)], cut_tails=True)
    assert found.method == "tails"
    for head, tail in zip(found.train, found.held_out, strict=True):
        whole = len(head.codes) + len(tail.codes)
        assert np.array_equal(np.concatenate([head.codes, tail.codes]), np.arange(whole))
        for part in (head, tail):
            assert len(part.audio) == 40 * len(part.codes)
            assert part.f0 is not None
            assert len(part.f0) == 4 * len(part.codes)
            assert part.audio[0] == part.codes[0]
    assert [len(e.codes) for e in found.held_out] == [25, 40, 15]
    kept = dataset.split([plain(0), plain(1)], cut_tails=False)
    assert kept.train == kept.held_out
    assert kept.method == "none"


def test_examples_are_frozen() -> None:
    assert replace(plain(0), name="other").name == "other"
