"""A long text is divided over a long recording by the sounds that are heard in it."""

import numpy as np
import pytest

from p2pvoice.sovits.bases import BUNDLED, Bases, content_id
from p2pvoice.sovits.lite.content import ContentEncoder
from p2pvoice.sovits.training.aligning import PIECE_SECONDS, divide

from .conftest import RATE, SENTENCES


@pytest.fixture(scope="module")
def encoder() -> ContentEncoder:
    return Bases().content(content_id(BUNDLED / "starter"))


def test_every_piece_says_its_text(
    encoder: ContentEncoder, recording: tuple[np.ndarray, list[float]]
) -> None:
    samples, starts = recording
    pieces = divide(encoder, samples, RATE, " ".join(SENTENCES), "en")
    assert pieces is not None
    assert len(pieces) >= 4
    assert " ".join(piece.text for piece in pieces) == " ".join(SENTENCES)
    for piece in pieces:
        seconds = (piece.stretch.end - piece.stretch.start) / RATE
        assert PIECE_SECONDS[0] - 1.0 < seconds < PIECE_SECONDS[1] + 1.0
        begins = [i for i, sentence in enumerate(SENTENCES) if piece.text.startswith(sentence)]
        for number in begins:
            assert abs(piece.stretch.start / RATE - starts[number]) < 0.35


def test_a_text_of_something_else_is_noticed(
    encoder: ContentEncoder, recording: tuple[np.ndarray, list[float]]
) -> None:
    other = "Mashed potatoes and green beans are served with gravy on Thursdays. " * 4
    assert divide(encoder, recording[0], RATE, other, "en") is None
