"""How voices are written out for a person: the name to type, who made it, what to be warned of, the table.

Used by every command that shows a voice. Follows specs/cli.md.
"""

from collections.abc import Iterable
from typing import Any

import click

from p2pvoice.cli.output import (
    Output,
    printable,
    short_author,
    short_id,
    size,
)
from p2pvoice.node.rpc.client import Event

Summary = dict[str, Any]

VOICE = click.argument("voice")


def handle(voice: Summary) -> str:
    """The shortest thing to type that names this voice here: its slug beside the beginning of its author."""
    return short_id(str(voice.get("release", "")))


def byline(voice: Summary) -> str:
    """Who published it: *you*, or a key's fingerprint marked unknown until its owner is followed."""
    fingerprint = short_author(str(voice.get("author", "")))
    if voice.get("source") == "own" or voice.get("own"):
        return f"{fingerprint} (you)"
    if voice.get("followed"):
        # The name is the user's own for this key, so it is no claim; the key stands beside it all the same.
        return f"{voice.get('author_name') or ''} {fingerprint} (followed)".strip()
    return f"{fingerprint} (unknown)"


def warn(output: Output, voices: Iterable[Summary]) -> None:
    """Tell what to know before believing a name, on stderr."""
    for voice in voices:
        for one in voice.get("warnings") or ():
            message = printable(str(one.get("message", "")))
            output.note(f"warning: {handle(voice)} by {byline(voice)}: {message}")


def bare_tags(tags: Iterable[str]) -> str:
    """Tags as people say them: `language/yue` becomes `yue`."""
    return " ".join(tag.split("/", 1)[-1] for tag in tags)


def voice_table(output: Output, voices: list[Summary]) -> None:
    """The table of `find` and `list`."""
    output.table(
        ["RELEASE", "~NAME", "AUTHOR", "LANG", "~TAGS", ">SIZE", "HERE"],
        [
            [
                handle(voice),
                str(voice.get("name") or voice.get("slug", "")),
                byline(voice),
                " ".join(voice.get("languages", [])),
                bare_tags(voice.get("tags", [])),
                size(voice.get("size", 0)),
                here(voice),
            ]
            for voice in voices
        ],
    )


def here(voice: Summary) -> str:
    """Whether a voice is here, and what is to be known of that: pinned, for a mirror, not offered."""
    if not voice.get("installed"):
        return "no"
    said = [word for word in ("mirrored", "pinned") if voice.get(word)]
    if voice.get("seed") is False:
        said.append("not offered")
    return ", ".join(["yes", *said])


def voice_of(event: Event) -> Summary:
    """The summary that a `voice` event carries."""
    return {key: value for key, value in event.items() if key != "event"}
