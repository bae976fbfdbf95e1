"""Which voice speaks: the names that lists show, and what a request's name means.

Names are looked up in the catalog and never on the disk. Not for loading: see ../loadable.py. Follows
specs/api.md, "Who speaks".
"""

from collections import Counter
from dataclasses import dataclass

import trio

from p2pvoice.node import loadable
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import Parts
from p2pvoice.protocol.errors import NotFoundError, UsageError

NAME_LIMIT = 256
"""Bytes of a voice's name in a request."""

NAMES_SHOWN = 20
"""Voices that an error lists."""

CANTONESE = "yue"


@dataclass(frozen=True)
class Row:
    """An installed voice as the lists show it: ``id`` and ``name`` are each unique among all rows."""

    id: str
    name: str
    release: str
    languages: tuple[str, ...]


async def rows(parts: Parts) -> list[Row]:
    """The installed voices, by their names."""

    def read() -> list[Row]:
        releases = [parts.catalog.release(held.release) for held in parts.catalog.installed()]
        found = [release for release in releases if release is not None]
        slugs = Counter(release.manifest.slug for release in found)
        names = Counter(release.manifest.name for release in found)
        made = []
        for release in found:
            said = release.manifest
            own = said.slug if slugs[said.slug] == 1 else release.id
            name = said.name if names[said.name] == 1 else own
            made.append(Row(own, name, release.id, said.languages))
        return sorted(made, key=lambda row: (row.name, row.id))

    return await trio.to_thread.run_sync(read, limiter=parts.disk)


async def named(parts: Parts, name: str) -> LoadableVoice:
    """The installed voice of a name; NotFoundError, which lists the voices, when there is none.

    Raises what ``loadable.installed`` raises for a voice that was revoked, is damaged, or may not speak.
    """
    if not name or len(name.encode("utf-8", "replace")) > NAME_LIMIT:
        raise UsageError(f"a voice's name has 1 to {NAME_LIMIT} bytes")
    known = await rows(parts)
    for row in known:
        if name in (row.id, row.name):
            return await loadable.installed(parts, row.release)
    try:
        return await loadable.installed(parts, name)
    except NotFoundError as error:
        raise NotFoundError(f"no voice {name!r} is installed here", hint=listed(known)) from error


async def unnamed(parts: Parts, default: str) -> LoadableVoice:
    """Who speaks when nobody is named: ``default``, else the only voice; UsageError when that is nobody."""
    if default:
        return await named(parts, default)
    known = await rows(parts)
    if len(known) == 1:
        return await loadable.installed(parts, known[0].release)
    raise UsageError("which voice is to speak?", hint=listed(known))


def listed(known: list[Row]) -> str:
    """What there is to choose from, in one line."""
    if not known:
        return "no voice is installed: p2pvoice find --tag …, p2pvoice fetch VOICE"
    shown = ", ".join(row.id for row in known[:NAMES_SHOWN])
    return f"voices: {shown}" + (", …" if len(known) > NAMES_SHOWN else "")


def language(voice: LoadableVoice) -> str:
    """The language of a text that names none: the text decides, and Chinese is the voice's own kind of it."""
    return "auto_yue" if voice.language == CANTONESE else "auto"
