"""The library's own client, used as Home Assistant uses it, against a real daemon."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info, SelectProgram
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from ..node.nodes import Daemon, eventually

#: A text that the tiny voice takes long to speak.
LONG = "這是一個很長的故事，說了很久還沒有說完。" * 200

#: Seconds that the library waits for an event; a busy machine needs many for the first.
PATIENCE = 120.0


def port(home: Daemon) -> int:
    return int(home.client.status()["wyoming"]["listen"].rpartition(":")[2])


def talk(home: Daemon, work: Callable[[AsyncTcpClient], Awaitable[Any]]) -> Any:
    """Run some asyncio with a connected client."""

    async def run() -> Any:
        async with AsyncTcpClient("127.0.0.1", port(home), read_timeout=PATIENCE) as client:
            return await work(client)

    return asyncio.run(run())


async def told(client: AsyncTcpClient) -> Event:
    """The next event; it must come."""
    found = await client.read_event()
    assert found is not None
    return found


async def heard(client: AsyncTcpClient) -> tuple[AudioStart, bytes]:
    """One audio-start with all its samples up to audio-stop."""
    start = AudioStart.from_event(await told(client))
    samples = bytearray()
    while not AudioStop.is_type((event := await told(client)).type):
        chunk = AudioChunk.from_event(event)
        assert (chunk.rate, chunk.width, chunk.channels) == (start.rate, 2, 1)
        assert chunk.timestamp == len(samples) // 2 * 1000 // start.rate
        samples += chunk.audio
    assert AudioStop.from_event(event).timestamp == len(samples) // 2 * 1000 // start.rate
    return start, bytes(samples)


def test_describe_tells_each_voice_in_each_language_it_speaks(home: Daemon) -> None:
    async def work(client: AsyncTcpClient) -> Info:
        await client.write_event(SelectProgram("p2pvoice").event())
        await client.write_event(Describe().event())
        return Info.from_event(await told(client))

    info = talk(home, work)
    (program,) = info.tts
    assert (program.name, program.installed) == ("p2pvoice", True)
    assert program.supports_synthesize_streaming
    assert program.version == home.client.status()["version"]
    assert program.attribution.name
    assert not info.asr
    (installed,) = home.client.voices()
    author = installed["author"]
    assert [voice.name for voice in program.voices] == [
        f"{author}/storyteller@{language}" for language in ("yue", "zh", "en")
    ]
    assert [voice.description for voice in program.voices] == [
        "Storyteller (Cantonese)",
        "Storyteller (Mandarin)",
        "Storyteller (English)",
    ]
    # Home Assistant has no yue: its Cantonese is zh-HK.
    tags = [["yue", "zh-HK"], ["zh", "zh-CN", "zh-TW"], ["en"]]
    assert [voice.languages for voice in program.voices] == tags
    assert all(voice.installed and voice.version == installed["release"] for voice in program.voices)


@pytest.mark.parametrize(
    "voice",
    [
        None,
        SynthesizeVoice(name="storyteller"),
        SynthesizeVoice(name="storyteller@yue"),
        SynthesizeVoice(name="storyteller@zh_HK"),
        SynthesizeVoice(language="zh-HK"),
        SynthesizeVoice(language="yue"),
        SynthesizeVoice(language="zh-CN"),
        SynthesizeVoice(language="en-US"),
    ],
)
def test_a_text_is_spoken(home: Daemon, voice: SynthesizeVoice | None) -> None:
    async def work(client: AsyncTcpClient) -> tuple[AudioStart, bytes, dict[str, Any]]:
        await client.write_event(Synthesize("今日天氣好好。", voice=voice).event())
        first = await told(client)
        start = AudioStart.from_event(first)
        samples = bytearray()
        while not AudioStop.is_type((event := await told(client)).type):
            samples += AudioChunk.from_event(event).audio
        return start, bytes(samples), first.data

    start, samples, data = talk(home, work)
    assert (start.rate, start.width, start.channels) == (32000, 2, 1)
    assert len(samples) > 2 * 3200
    assert len(set(samples)) > 10
    assert data["aigc"]["Label"] == "1"
    assert data["aigc"]["Release"] == home.client.voices()[0]["release"]


def test_the_names_that_are_told_are_understood(home: Daemon) -> None:
    async def work(client: AsyncTcpClient) -> None:
        await client.write_event(Describe().event())
        for voice in Info.from_event(await told(client)).tts[0].voices:
            await client.write_event(Synthesize("一二三。", voice=SynthesizeVoice(name=voice.name)).event())
            _, samples = await heard(client)
            assert samples

    talk(home, work)


def test_a_stream_speaks_each_sentence_when_it_is_whole(home: Daemon) -> None:
    async def work(client: AsyncTcpClient) -> None:
        voice = SynthesizeVoice(name="storyteller@yue")
        await client.write_event(SynthesizeStart(voice=voice).event())
        await client.write_event(SynthesizeChunk("今日天氣").event())
        await client.write_event(SynthesizeChunk("好好。聽日").event())
        # Nothing more is sent before the first sentence was heard.
        _, first = await heard(client)
        assert first
        await client.write_event(SynthesizeChunk("會落雨").event())
        # As Home Assistant does, for servers that know no streams.
        await client.write_event(Synthesize("今日天氣好好。聽日會落雨", voice=voice).event())
        await client.write_event(SynthesizeStop().event())
        _, second = await heard(client)
        assert second
        assert SynthesizeStopped.is_type((await told(client)).type)
        # The same connection takes the next one.
        await client.write_event(Synthesize("再嚟。").event())
        assert (await heard(client))[1]

    talk(home, work)


def test_a_stream_of_nothing_is_stopped_as_well(home: Daemon) -> None:
    async def work(client: AsyncTcpClient) -> None:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk(" … ").event())
        await client.write_event(SynthesizeStop().event())
        assert SynthesizeStopped.is_type((await told(client)).type)

    talk(home, work)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Synthesize("Hello.", voice=SynthesizeVoice(name="nobody")), "not_found"),
        (Synthesize("Hello.", voice=SynthesizeVoice(name="../../keys/author.key")), "not_found"),
        (Synthesize("Hello.", voice=SynthesizeVoice(name="storyteller@ja")), "unsupported_language"),
        (Synthesize("Hello.", voice=SynthesizeVoice(name="storyteller@../x")), "unsupported_language"),
        (Synthesize("Hello.", voice=SynthesizeVoice(language="fr")), "not_found"),
        (Synthesize("Hello.", voice=SynthesizeVoice(name="x" * 257)), "usage"),
        (Synthesize(" … "), "usage"),
        (Synthesize("<speak/>", text_format="ssml"), "usage"),
    ],
)
def test_what_cannot_be_spoken_is_said_and_ends_the_connection(
    home: Daemon, request_: Synthesize, code: str
) -> None:
    async def work(client: AsyncTcpClient) -> None:
        await client.write_event(request_.event())
        error = Error.from_event(await told(client))
        assert error.code == code
        assert error.text
        # Home Assistant would wait for audio-stop for ever.
        assert await client.read_event() is None

    talk(home, work)


def test_a_caller_that_hangs_up_stops_the_worker(home: Daemon) -> None:
    async def work(client: AsyncTcpClient) -> None:
        await client.write_event(Synthesize(LONG).event())
        assert AudioStart.is_type((await told(client)).type)
        await client.write_event(Ping("still there?").event())
        while not Pong.is_type((event := await told(client)).type):
            assert AudioChunk.is_type(event.type)
        assert Pong.from_event(event).text == "still there?"
        assert home.client.status()["worker"]["state"] == "busy"

    before = home.client.status()["worker"]["starts"]
    talk(home, work)
    eventually(lambda: home.client.status()["worker"]["state"] == "idle")
    status = home.client.status()
    assert status["wyoming"]["connections"] == 0
    # It let go by itself: the same process goes on.
    assert status["worker"]["starts"] == before
