"""Speech that is heard while it is made, and several voices at once, through a real daemon and its worker."""

import io
import shutil
import tempfile
import threading
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
import trio
import trio.testing

from p2pvoice.node.backlog import Backlog
from p2pvoice.node.config import WorkerConfig
from p2pvoice.node.engine import Engine
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import (
    DaemonUnavailableError,
    NotFoundError,
    SynthesisError,
    UnsupportedLanguageError,
    UsageError,
)
from p2pvoice.protocol.label import read_label
from p2pvoice.sovits import packaged
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.convert import import_voice

from .conftest import make_clip, make_encoder
from .nodes import Daemon, bring, eventually, install_encoder, refusal

SENTENCE = "It was a bright cold day in April, and the clocks were striking. "
BOOK = (SENTENCE + "\n") * 40
"""A text with a turn for each of its lines."""

HOT = {"top_k": 65, "temperature": 2.0}
"""Random weights seldom end a sentence by themselves; draws from all codes do."""


@dataclass(frozen=True)
class House:
    """One daemon with two drafts: the starter and the tiny golden voice."""

    daemon: Daemon
    client: Client

    def asked(self, draft: str, text: str, **more: object) -> dict[str, object]:
        body = {"draft": draft, "text": text, "lang": "en", "seed": 5, **more}
        return body if draft == "starter" else {**body, "lang": "yue", **HOT}

    def heard(self, body: dict[str, object]) -> bytes:
        with self.client.speak_stream(body) as sound:
            return b"".join(sound)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    home = Path(tempfile.mkdtemp(prefix="p2pv-"))
    daemon = Daemon(home).start()
    try:
        client = daemon.client
        list(client.import_bundled("starter"))
        (folder / "encoder").mkdir()
        install_encoder(daemon, make_encoder(folder / "encoder"))
        bring(daemon, make_clip(folder / "clip.wav"), name="tiny")
        yield House(daemon, client)
    finally:
        daemon.end()
        shutil.rmtree(home, ignore_errors=True)


# -- the stream ----------------------------------------------------------------------------------------


def test_a_stream_is_a_labelled_wav_that_players_read(house: House) -> None:
    body = house.asked("starter", SENTENCE * 3)
    with house.client.speak_stream({**body, "format": "wav"}) as sound:
        assert sound.headers["content-type"] == "audio/wav"
        assert sound.headers["x-aigc-label"] == "1"
        assert sound.headers["transfer-encoding"] == "chunked"
        assert sound.rate == 24_000
        pieces = list(sound)
    # Sound came in pieces, the first of them with the label in it.
    assert len(pieces) > 2
    label = read_label(pieces[0])
    assert label is not None
    assert label.mark == "1"
    assert label.produce_id
    stream = b"".join(pieces)
    pcm = house.heard({**body, "format": "pcm"})
    assert stream.endswith(pcm)
    assert read_label(stream) == label
    read, rate = soundfile.read(io.BytesIO(stream), dtype="int16")
    assert rate == 24_000
    assert read.tobytes() == pcm
    with wave.open(io.BytesIO(stream)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert file.readframes(file.getnframes()) == pcm
    # As long as the file of the same seed, and no louder or softer.
    whole = house.client.speak(body)
    filed, _ = soundfile.read(io.BytesIO(whole.data), dtype="int16")
    assert len(filed) == len(read)
    loud = [float(numpy.sqrt(numpy.mean(one.astype(float) ** 2))) for one in (filed, read)]
    assert loud[1] == pytest.approx(loud[0], rel=0.1)


def test_sound_comes_while_the_rest_is_being_made(house: House) -> None:
    with house.client.speak_stream(house.asked("starter", BOOK, format="pcm")) as sound:
        assert next(iter(sound))
        assert house.client.status()["worker"]["state"] == "busy"


def test_what_fails_before_the_first_sound_is_answered(house: House) -> None:
    def stream(**changed: object) -> Callable[[], Any]:
        return lambda: house.heard({**house.asked("starter", SENTENCE), **changed})

    assert isinstance(refusal(stream(format="flac")), UsageError)
    assert isinstance(refusal(stream(lang="xx")), UnsupportedLanguageError | UsageError)
    assert isinstance(refusal(stream(draft="nobody")), NotFoundError)
    assert isinstance(refusal(stream(reference=7)), UsageError)
    assert isinstance(
        refusal(lambda: house.client.json("POST", "/v1/speak", {**house.asked("starter", "x"), "stream": 1})),
        UsageError,
    )


UNSPEAKABLE = "ⴰⴱⴳⴷⴻⴼ ⵀⵉⵊ."
"""Letters of a script that no front end reads."""


def test_what_fails_later_breaks_off_and_is_noticed(house: House) -> None:
    assert isinstance(refusal(lambda: house.heard(house.asked("starter", UNSPEAKABLE))), SynthesisError)
    heard: list[bytes] = []
    body = house.asked("starter", SENTENCE + "\n" + UNSPEAKABLE)
    with house.client.speak_stream(body) as sound, pytest.raises(DaemonUnavailableError):
        heard.extend(sound)
    # All that could be said was sent, and its beginning is a labelled file.
    assert read_label(b"".join(heard)) is not None
    assert len(b"".join(heard)) > 24_000
    assert house.heard(house.asked("starter", SENTENCE))


def test_a_caller_that_hangs_up_leaves_the_worker_free(house: House) -> None:
    house.heard(house.asked("starter", SENTENCE))
    before = house.client.status()["worker"]
    with house.client.speak_stream(house.asked("starter", BOOK, format="pcm")) as sound:
        next(iter(sound))
        began = time.monotonic()
    eventually(lambda: house.client.status()["worker"]["state"] == "idle")
    # The bound is for a machine under load; tests/bench/streaming.py prints what an idle one takes.
    assert time.monotonic() - began < 5
    after = house.client.status()["worker"]
    assert (after["pid"], after["starts"]) == (before["pid"], before["starts"])


# -- many at once --------------------------------------------------------------------------------------


def test_two_voices_at_once_sound_as_each_does_alone(house: House) -> None:
    bodies = [
        house.asked("starter", (SENTENCE + "\n") * 3, format="pcm"),
        house.asked("tiny", "今日天氣好好。\n聽日會落雨。\n", format="pcm"),
        house.asked("starter", "The old man walked on.\nNobody saw him.", format="pcm", seed=6),
    ]
    alone = [house.heard(body) for body in bodies]
    files = [house.client.speak({**body, "format": "flac"}) for body in bodies]
    together: dict[int, bytes] = {}
    filed: dict[int, Any] = {}

    def hear(number: int) -> None:
        together[number] = house.heard(bodies[number])

    def write(number: int) -> None:
        filed[number] = house.client.speak({**bodies[number], "format": "flac"})

    threads = [threading.Thread(target=act, args=(i,)) for i in range(3) for act in (hear, write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(3)] == alone
    for i in range(3):
        ours, theirs = (
            soundfile.read(io.BytesIO(one[i].data), dtype="int16")[0].tobytes() for one in (filed, files)
        )
        assert ours == theirs


@pytest.mark.parametrize("listening", [True, False])
def test_a_short_request_does_not_wait_for_a_book(house: House, listening: bool) -> None:
    """Nor for a listener who has stopped listening and still holds the line."""
    done = threading.Event()
    stop = threading.Event()
    began = threading.Event()

    def read_on() -> None:
        with house.client.speak_stream(house.asked("starter", BOOK, format="pcm")) as sound:
            for _ in sound:
                began.set()
                if stop.is_set():
                    return
                if not listening:
                    stop.wait()
                    return
        done.set()

    thread = threading.Thread(target=read_on)
    thread.start()
    try:
        assert began.wait(60)
        assert house.heard(house.asked("starter", "Good evening.", format="pcm"))
        assert not done.is_set()
    finally:
        stop.set()
        thread.join()


async def test_a_backlog_keeps_order_and_makes_its_maker_wait() -> None:
    backlog = Backlog()
    for piece in (b"aaa", b"bb", b"c"):
        backlog.put(piece)
    waited = trio.Event()

    async def shrink() -> None:
        await backlog.shrink(2)
        waited.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shrink)
        await trio.testing.wait_all_tasks_blocked()
        assert await backlog.take() == b"aaa"
        await trio.testing.wait_all_tasks_blocked()
        assert not waited.is_set()  # Three bytes wait: one past the limit.
        assert await backlog.take() == b"bb"
        await waited.wait()
    backlog.close()
    assert await backlog.take() == b"c"
    assert await backlog.take() is None


async def test_a_request_that_was_let_in_is_not_turned_away_between_its_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pvoice.node.engine.WAITING_LIMIT", 0)
    with trio.fail_after(60):
        async with engine_here(tmp_path) as engine:
            with pytest.raises(SynthesisError, match="waiting"):
                await engine.call("ping", {})
            assert await engine.call("ping", {}, again=True) == {"voices": [], "torch": False}


# -- memory --------------------------------------------------------------------------------------------


@asynccontextmanager
async def engine_here(folder: Path, **settings: float) -> AsyncIterator[Engine]:
    engine = Engine(WorkerConfig(**settings), folder / "log")  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run)
        yield engine
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("memory") / "voice"
    voice = packaged.packaged_voice()
    import_voice(voice.sovits, voice.gpt, voice.clip, voice.text, voice.lang, out, Bases())
    return out


def asks(bundle: Path, key: str, text: str = "Hi.") -> dict[str, Any]:
    options = {"seed": 1, "stream": True}
    return {"key": key, "folder": str(bundle), "bases": [], "text": text, "lang": "en", "options": options}


LOADED = 21 << 20
"""Bytes on disk of the starter; in memory its weights take twice as many."""


async def test_fifty_loads_take_no_more_memory_than_a_few(bundle: Path, tmp_path: Path) -> None:
    with trio.fail_after(500):
        async with engine_here(tmp_path) as engine:
            taken = []
            for number in range(50):
                await engine.call("speak", asks(bundle, f"voice {number}"))
                taken.append(engine.rss())
            assert len((await engine.call("ping", {}))["voices"]) == 2
            # Fifty voices would be two gigabytes; this is less than one of them.
            assert max(taken[10:]) - max(taken[:10]) < LOADED
            # What is removed is dropped, and its memory is the system's again.
            before = engine.rss()
            for number in (48, 49):
                engine.forget(f"voice {number}")
            # Each is dropped in a turn of its own, the first before this ping, the second after it.
            await trio.testing.wait_all_tasks_blocked()
            await engine.call("ping", {})
            await trio.testing.wait_all_tasks_blocked()
            assert (await engine.call("ping", {}))["voices"] == []
            assert before - engine.rss() > LOADED
            assert engine.starts == 1


async def test_forgetting_starts_no_worker(tmp_path: Path) -> None:
    async with engine_here(tmp_path) as engine:
        engine.forget("nothing")
        await trio.testing.wait_all_tasks_blocked()
        assert (engine.state, engine.starts) == ("stopped", 0)


async def test_an_idle_worker_ends_and_takes_its_memory_along(bundle: Path, tmp_path: Path) -> None:
    with trio.fail_after(120):
        async with engine_here(tmp_path, idle_seconds=0.05) as engine:
            await engine.call("speak", asks(bundle, "voice"))
            process = engine._process
            assert process is not None
            await process.wait()
            assert (engine.state, engine.rss()) == ("stopped", 0)


async def test_a_removed_draft_leaves_the_worker(house: House) -> None:
    client = house.client
    await trio.to_thread.run_sync(lambda: list(client.import_bundled("Brief")))
    await trio.to_thread.run_sync(lambda: house.heard({**house.asked("starter", "Hi."), "draft": "brief"}))
    before = client.status()["worker"]["rss"]
    client.remove_draft("brief")
    await trio.to_thread.run_sync(
        lambda: eventually(lambda: before - client.status()["worker"]["rss"] > LOADED)
    )


# -- stopping ------------------------------------------------------------------------------------------


async def test_a_cancelled_request_ends_in_the_worker(bundle: Path, tmp_path: Path) -> None:
    with trio.fail_after(120):
        async with engine_here(tmp_path) as engine:
            await engine.call("speak", asks(bundle, "voice"))
            took = []
            for _ in range(5):
                heard = trio.Event()

                async def hear(_: bytes, heard: trio.Event = heard) -> None:
                    heard.set()

                async with trio.open_nursery() as nursery:

                    async def speak(hear: Any = hear) -> None:
                        await engine.call("speak", asks(bundle, "voice", SENTENCE * 4), on_piece=hear)

                    nursery.start_soon(speak)
                    await heard.wait()
                    began = trio.current_time()
                    nursery.cancel_scope.cancel()
                took.append(trio.current_time() - began)
            # An idle machine takes some tens of milliseconds; the best of some holds under load, too.
            assert min(took) < 1.0
            assert engine.starts == 1
