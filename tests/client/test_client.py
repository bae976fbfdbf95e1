"""Both clients against real daemons: what they give and raise, and that what is dropped is cancelled."""

import gc
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from p2pvoice.node.client import AsyncClient, Client
from p2pvoice.protocol.errors import (
    DaemonUnavailableError,
    NotFoundError,
    UsageError,
)
from p2pvoice.protocol.label import read_label

from ..node.nodes import CHECKPOINTS, TEXT, Daemon, bring, eventually, install_encoder

Make = Callable[[], Daemon]

#: A text that the tiny voice takes minutes to speak where this takes seconds.
LONG = "這是一個很長的故事，說了很久還沒有說完。" * 400

#: Seconds within which the worker lets go of it.
SOON = 30.0

both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def idle(node: Daemon) -> bool:
    return bool(node.client.status()["worker"]["state"] == "idle")


def soon_idle(node: Daemon) -> None:
    """The worker has let go, long before it could have finished."""
    began = time.monotonic()
    eventually(lambda: idle(node))
    assert time.monotonic() - began < SOON


def busy(node: Daemon) -> bool:
    return bool(node.client.status()["worker"]["state"] == "busy")


def test_what_a_program_asks(node: Daemon) -> None:
    with Client(node.home) as client:
        assert client.status()["peer_id"] == node.peer_id
        (voice,) = client.voices()
        assert client.show("storyteller")["release"] == voice["release"]
        assert client.preview("storyteller")[:4] == b"RIFF"
        assert [one["slug"] for one in client.find("cantonese", timeout=0)] == ["storyteller"]
        assert list(client.find("language/en", text="nothing of that name", timeout=0)) == []
        assert [one["slug"] for one in client.drafts()] == [one["slug"] for one in node.client.drafts()]
        assert client.request("GET", "/v1/peers") == {"peers": []}
        assert "revoked" in client.request("GET", "/v1/voices/storyteller")
        assert client.work("POST", "/v1/gc", {"dry_run": True}).result()["dry_run"] is True


def test_a_text_becomes_one_file_or_pieces_of_one(node: Daemon) -> None:
    with Client(node.home) as client:
        whole = client.speak(TEXT, voice="storyteller", lang="yue", seed=1)
        label = read_label(whole)
        assert label is not None
        assert label.release == client.voices()[0]["release"]
        assert client.speak(TEXT, voice="storyteller", format="flac", seed=1)[:4] == b"fLaC"
        joined = b"".join(client.stream(TEXT, voice="storyteller", lang="yue", seed=1))
        label = read_label(joined)
        assert label is not None
        assert 0.8 < len(joined) / len(whole) < 1.2


def test_errors_are_those_of_the_tree(node: Daemon, tmp_path: Path) -> None:
    with Client(node.home) as client:
        with pytest.raises(NotFoundError) as caught:
            client.speak("Hello.", voice="nobody")
        assert caught.value.code == "not_found"
        with pytest.raises(NotFoundError):
            next(client.stream("Hello.", voice="nobody"))
        with pytest.raises(NotFoundError):
            client.fetch("nobody").result()
        with pytest.raises(UsageError):
            client.speak("Hello.")
        with pytest.raises(UsageError):
            client.speak("Hello.", voice="storyteller", draft="storyteller")
        with pytest.raises(UsageError):
            client.speak("Hello.", voice="storyteller", speed=9.0)
        with pytest.raises(UsageError):
            client.import_voice("x", sovits=tmp_path / "no", gpt="no", clip="no", text="", lang="").result()
    with pytest.raises(UsageError, match="closed"):
        client.status()
    with pytest.raises(DaemonUnavailableError):
        Client(tmp_path).status()


def test_a_voice_goes_from_files_to_another_node(daemons: Make, encoder: Path, clip: Path) -> None:
    a = daemons().start()
    install_encoder(a, encoder)
    files = {"sovits": CHECKPOINTS / "tiny_v2.pth", "gpt": CHECKPOINTS / "tiny_v2.ckpt", "clip": clip}
    with Client(a.home) as author:
        draft = author.import_voice("Storyteller", **files, text=TEXT, lang="yue").result()
        assert draft["draft"] == "storyteller"
        assert "event" not in draft
        work = author.publish(
            draft["draft"], license="CC-BY-4.0", consent="synthetic", tags=["cantonese"], description="…"
        )
        *_, last = work
        assert last["event"] == "result"
        with pytest.raises(DaemonUnavailableError):
            work.result()
    b = daemons().start(a)
    install_encoder(b, encoder)

    async def listen() -> None:
        async with AsyncClient(b.home) as reader:
            found = [one["release"] async for one in reader.find("cantonese", timeout=30, limit=1)]
            assert found == [last["release"]]
            events = [event["event"] async for event in reader.fetch(found[0])]
            assert events[-1] == "result"
            assert (await reader.fetch(found[0], seed=False).result())["release"] == found[0]
            assert (await reader.speak(TEXT, voice="storyteller"))[:4] == b"RIFF"
            assert (await reader.update("storyteller").result())["updated"] is not None
            assert (await reader.remove("storyteller"))["release"] == found[0]
            assert await reader.voices() == []

    anyio.run(listen, backend="trio")


@both
def test_the_same_without_waiting(node: Daemon, backend: str) -> None:
    async def main() -> None:
        async with AsyncClient(node.home) as client:
            found: dict[str, Any] = {}

            async def ask(name: str, work: Callable[[], Any]) -> None:
                found[name] = await work()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, "status", client.status)
                tasks.start_soon(ask, "voices", client.voices)
                tasks.start_soon(ask, "drafts", client.drafts)
                tasks.start_soon(ask, "preview", lambda: client.preview("storyteller"))
                tasks.start_soon(ask, "show", lambda: client.show("storyteller"))
                tasks.start_soon(ask, "speak", lambda: client.speak(TEXT, voice="storyteller", seed=1))
                tasks.start_soon(ask, "peers", lambda: client.request("GET", "/v1/peers"))
            assert found["status"]["peer_id"] == node.peer_id
            assert found["show"]["release"] == found["voices"][0]["release"]
            assert found["speak"][:4] == found["preview"][:4] == b"RIFF"
            assert found["peers"] == {"peers": []}
            assert [one["slug"] async for one in client.find("cantonese", timeout=0)] == ["storyteller"]
            pieces = [piece async for piece in client.stream(TEXT, voice="storyteller", seed=1)]
            assert 0.8 < len(b"".join(pieces)) / len(found["speak"]) < 1.2
            assert (await client.work("POST", "/v1/gc", {"dry_run": True}).result())["dry_run"]
            with pytest.raises(NotFoundError):
                await client.speak("Hello.", voice="nobody")
            with pytest.raises(NotFoundError):
                await anext(client.stream("Hello.", voice="nobody"))
            done = client.find("cantonese", timeout=0)
            await done.aclose()
            assert [one async for one in done] == []
        with pytest.raises(UsageError, match="closed"):
            await client.status()
        with pytest.raises(UsageError, match="closed"):
            await client.fetch("storyteller").result()

    anyio.run(main, backend=backend)


@both
@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_call_stops_the_daemon(node: Daemon, backend: str, streamed: bool) -> None:
    eventually(lambda: idle(node))

    async def main() -> None:
        async with AsyncClient(node.home) as client, anyio.create_task_group() as tasks:

            async def speak() -> None:
                if streamed:
                    async for _ in client.stream(LONG, voice="storyteller"):
                        pass
                else:
                    await client.speak(LONG, voice="storyteller")
                raise AssertionError("it was spoken to its end")

            tasks.start_soon(speak)
            await anyio.to_thread.run_sync(lambda: eventually(lambda: busy(node)))
            tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    soon_idle(node)


@both
def test_an_abandoned_search_is_cancelled(node: Daemon, backend: str) -> None:
    """A search holds its connection open for the five minutes that it may take."""
    # Connections of what was asked before may still be closing.
    eventually(lambda: searches(node) == 0)

    async def main() -> None:
        async with AsyncClient(node.home) as client:
            found = client.find("cantonese", timeout=300)
            async for _ in found:
                assert searches(node) == 1
                break
            # Dropped, not closed: as a program does that has found what it wanted.
            del found
            gc.collect()
            await anyio.to_thread.run_sync(lambda: eventually(lambda: searches(node) == 0))

    anyio.run(main, backend=backend)


def searches(node: Daemon) -> int:
    """Connections that are open at the daemon's socket."""
    mine = str(node.home / "rpc.sock")
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(mine) and line.split()[5] == "03" for line in lines)


def test_an_abandoned_stream_of_the_waiting_client_is_cancelled(node: Daemon) -> None:
    # Connections of what was asked before may still be closing.
    eventually(lambda: searches(node) == 0)
    with Client(node.home) as client:
        found = client.find("cantonese", timeout=300)
        next(found)
        assert searches(node) == 1
        del found
        gc.collect()
        eventually(lambda: searches(node) == 0)
        with client.fetch("storyteller") as work:
            next(work)
        with pytest.raises(StopIteration):
            next(work)


def test_closing_wakes_a_thread_that_waits(node: Daemon) -> None:
    eventually(lambda: idle(node))
    client, ended = Client(node.home), threading.Event()

    def speak() -> None:
        with pytest.raises(DaemonUnavailableError):
            client.speak(LONG, voice="storyteller")
        ended.set()

    thread = threading.Thread(target=speak)
    thread.start()
    eventually(lambda: busy(node))
    client.close()
    assert ended.wait(30)
    thread.join()
    soon_idle(node)


def test_a_daemon_that_dies_is_told(daemons: Make, encoder: Path, clip: Path) -> None:
    node = daemons().start()
    install_encoder(node, encoder)
    bring(node, clip)
    client = Client(node.home)
    pieces = client.stream(LONG, draft="storyteller")
    heard = threading.Event()

    def listen() -> None:
        with pytest.raises(DaemonUnavailableError):
            list(pieces)
        heard.set()

    thread = threading.Thread(target=listen)
    thread.start()
    eventually(lambda: busy(node))
    node.end(signal.SIGKILL)
    assert heard.wait(30)
    thread.join()
    with pytest.raises(DaemonUnavailableError):
        client.status()
