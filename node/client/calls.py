"""What the clients ask, said once: each function here is one call on the transport's client.

Both clients take their calls from here, the async one in a thread. Not for the user: see sync.py and
asynchronous.py. Follows specs/python-client.md and specs/rpc.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from p2pvoice.node.rpc.client import Client as Rpc
from p2pvoice.protocol.errors import UsageError

Event = dict[str, Any]


def speak_body(
    text: str, voice: str, draft: str, lang: str, format: str, options: Mapping[str, object]
) -> dict[str, object]:
    """The body of ``POST /v1/speak``. UsageError unless either a voice or a draft is named."""
    if bool(voice) == bool(draft):
        raise UsageError("name a voice or a draft", hint='client.speak("…", voice="storyteller")')
    named = {"voice": voice, "draft": draft, "lang": lang}
    given = {key: value for key, value in named.items() if value}
    return {"text": text, "format": format, **given, **options}


def voices_of(events: Iterator[Event]) -> Iterator[Event]:
    """The voices among the events of a search, without the word "event"."""
    for event in events:
        if event.get("event") == "voice":
            yield {key: value for key, value in event.items() if key != "event"}


def pieces(rpc: Rpc, body: Mapping[str, object]) -> Iterator[bytes]:
    """Sound while it is made."""
    return rpc.pieces("POST", "/v1/speak", {**body, "stream": True})


def brought(
    rpc: Rpc,
    name: str,
    sovits: Path | str,
    gpt: Path | str,
    clip: Path | str,
    text: str,
    lang: str,
    slug: str,
    parents: Sequence[str],
) -> Iterator[Event]:
    """Send the files of a voice, then import them."""
    files = [Path(one) for one in (sovits, gpt, clip)]
    uploads = [rpc.upload(path) for path in files]
    yield from rpc.import_voice(
        name=name,
        sovits=uploads[0],
        gpt=uploads[1],
        clip=uploads[2],
        clip_name=files[2].name,
        text=text,
        lang=lang,
        slug=slug,
        parents=parents,
    )


def publish_body(
    draft: str, license: str, consent: str, tags: Sequence[str], more: Mapping[str, object]
) -> dict[str, object]:
    """The body of ``POST /v1/publish``."""
    named = {"draft": draft, "license": license, "consent": consent, "tags": list(tags)}
    # One's own voice and a voice of nobody need no word of anybody else's, as on the command line.
    return named | {"ai_voice_permission": consent in ("self", "synthetic")} | dict(more)


def result_of(event: Event) -> Event:
    """The last event of a work, without the word "event"."""
    return {key: value for key, value in event.items() if key != "event"}
