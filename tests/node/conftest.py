"""Fixtures for tests with real daemons; what they are made of is in nodes.py."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy
import pytest
import soundfile
import torch

from p2pvoice.sovits.hubert import Hubert

from .nodes import ENCODER, Daemon


@pytest.fixture
def daemons() -> Iterator[Callable[[], Daemon]]:
    """Makes daemons that are not started yet; none outlives the test, none leaves a home behind."""
    made: list[Daemon] = []

    def make() -> Daemon:
        made.append(Daemon(Path(tempfile.mkdtemp(prefix="p2pv-"))))
        return made[-1]

    yield make
    for daemon in made:
        if daemon.process is not None:
            with suppress(ProcessLookupError):
                daemon.end()
        shutil.rmtree(daemon.home, ignore_errors=True)


def make_encoder(folder: Path) -> Path:
    """A content encoder as it would be downloaded, in a folder: config and weights."""
    torch.manual_seed(1)
    torch.save(Hubert(ENCODER).state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(ENCODER.to_config()))
    return folder


def make_clip(path: Path) -> Path:
    """Four seconds of something like a voice, in a new file."""
    time = numpy.arange(4 * 32_000) / 32_000
    sound = sum(numpy.sin(2 * numpy.pi * 140 * k * time) / k for k in range(1, 9))
    noise = numpy.random.default_rng(1).normal(size=time.size)
    soundfile.write(path, 0.1 * sound * (1 + 0.5 * numpy.sin(time * 20)) + 0.005 * noise, 32_000)
    return path


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A content encoder as it would be downloaded: config and weights."""
    return make_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of something like a voice."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.wav")
