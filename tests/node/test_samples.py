"""Samples: by their ids, within their number, bytes and time, and gone with the daemon that made them."""

from pathlib import Path

import pytest

from p2pvoice.node import samples
from p2pvoice.node.judging import SENTENCE_LENGTH, SENTENCES, SENTENCES_LIMIT, sentences_for
from p2pvoice.node.samples import Samples
from p2pvoice.protocol.errors import NotFoundError, UsageError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Samples:
    return Samples(tmp_path / "samples", clock=clock)


def gone(kept: Samples, name: str) -> bool:
    try:
        kept.get(name)
    except NotFoundError:
        return True
    return False


def test_the_oldest_makes_room_when_there_are_too_many(kept: Samples, tmp_path: Path) -> None:
    names = [kept.add(b"x") for _ in range(samples.COUNT_LIMIT)]
    assert len(set(names)) == samples.COUNT_LIMIT
    assert not gone(kept, names[0])
    names.append(kept.add(b"y"))
    assert gone(kept, names[0])
    assert not gone(kept, names[1])
    assert len(list((tmp_path / "samples").iterdir())) == samples.COUNT_LIMIT


def test_the_oldest_makes_room_when_they_are_too_large(
    kept: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "BYTES_LIMIT", 100)
    first, second = kept.add(bytes(60)), kept.add(bytes(40))
    assert not gone(kept, first)
    third = kept.add(bytes(1))
    assert gone(kept, first)
    assert not gone(kept, second)
    assert kept.get(third) == bytes(1)


def test_each_lives_for_its_time(kept: Samples, clock: Clock, tmp_path: Path) -> None:
    name = kept.add(b"x")
    clock.now += samples.LIFETIME - 1
    assert kept.get(name) == b"x"
    clock.now += 1
    assert gone(kept, name)
    assert list((tmp_path / "samples").iterdir()) == []


def test_they_go_with_the_daemon_that_made_them(kept: Samples, tmp_path: Path) -> None:
    name = kept.add(b"x")
    assert gone(Samples(tmp_path / "samples"), name)
    assert list((tmp_path / "samples").iterdir()) == []


def test_sentences_to_compare_by() -> None:
    assert sentences_for(["yue", "en", "zh"]) == [
        *((said, "yue") for said in SENTENCES["yue"]),
        *((said, "en") for said in SENTENCES["en"]),
    ]
    assert {lang for _, lang in sentences_for(["ja"])} == {"en"}
    assert sentences_for(["yue"], ["hi"], "en") == [("hi", "en")]
    assert len(sentences_for(["yue"], ["x"] * SENTENCES_LIMIT)) == SENTENCES_LIMIT
    assert sentences_for(["yue"], ["x" * SENTENCE_LENGTH])
    for wrong in (["x"] * (SENTENCES_LIMIT + 1), ["x" * (SENTENCE_LENGTH + 1)], [" "]):
        with pytest.raises(UsageError):
            sentences_for(["yue"], wrong)
    assert all(len(said) <= SENTENCE_LENGTH for texts in SENTENCES.values() for said in texts)
