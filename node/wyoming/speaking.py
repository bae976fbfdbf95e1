"""What the installed voices are to Home Assistant: how they are listed, which one is meant, how one speaks.

The only file here that knows the daemon's parts. Not for the protocol: see session.py. Follows
specs/wyoming.md, "Voices and languages".
"""

import time
from collections.abc import Mapping
from typing import Any

import trio

from p2pvoice.node import loadable, speech
from p2pvoice.node.loadable import LoadableVoice
from p2pvoice.node.parts import VERSION, Parts
from p2pvoice.node.wyoming.languages import as_text, by_text, language_of, name_of, spoken_by, told_as
from p2pvoice.protocol.consent_state import require_current
from p2pvoice.protocol.errors import (
    ConsentError,
    NotFoundError,
    P2PVoiceError,
    UnsupportedLanguageError,
    UsageError,
)
from p2pvoice.protocol.ids import author_id
from p2pvoice.protocol.manifest import Release

#: Voices that are listed, one for each language of each installed voice.
VOICES_LIMIT = 200

#: Longest reference to a voice, in characters.
REF_LIMIT = 256

#: Whom the program is from. Clients demand an address beside the name; there is none to give.
ATTRIBUTION = {"name": "p2pvoice", "url": ""}


class House:
    """The voices of one daemon, as the connections see them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def info(self) -> dict[str, Any]:
        """The data of an ``info`` event."""
        voices = [
            {
                "name": f"{author_id(release.manifest.author)}/{release.manifest.slug}@{language}",
                "description": f"{release.manifest.name} ({name_of(language)})",
                "attribution": {
                    "name": author_id(release.manifest.author),
                    "url": f"p2pvoice:{release.id}",
                },
                "installed": True,
                "version": release.id,
                "languages": told_as(language),
                "speakers": None,
            }
            for release in await self._releases()
            for language in _languages(release)
        ]
        program = {
            "name": "p2pvoice",
            "description": "Voices of GPT-SoVITS, from a peer-to-peer network",
            "attribution": ATTRIBUTION,
            "installed": True,
            "version": VERSION,
            "voices": voices[:VOICES_LIMIT],
            "supports_synthesize_streaming": True,
        }
        kinds: dict[str, Any] = {name: [] for name in ("asr", "handle", "intent", "wake", "mic", "snd")}
        return kinds | {"tts": [program]}

    async def choose(self, wanted: Mapping[str, Any]) -> tuple[LoadableVoice, str]:
        """The voice that a request names, and the language it is to speak, as the worker calls it.

        Raises UsageError, NotFoundError, UnsupportedLanguageError, and what ``loadable.installed`` raises.
        """
        name, language = _text(wanted, "name"), _text(wanted, "language")
        if not name:
            return await self._choose_by_language(language)
        ref, _, tag = name.rpartition("@")
        if not ref:
            ref, tag = name, language
        voice = await loadable.installed(self._parts, ref)
        if not tag:
            return voice, by_text(voice.language)
        return voice, as_text(_speaks(voice, language_of(tag)))

    async def _choose_by_language(self, tag: str) -> tuple[LoadableVoice, str]:
        language = language_of(tag) if tag else ""
        releases = await self._releases()
        able = [one for one in releases if not language or language in _languages(one)]
        # False sorts before True: those whose own language it is come first, each kind in its order.
        able.sort(key=lambda one: language not in one.manifest.languages if language else False)
        if not able:
            what = f"no installed voice speaks {name_of(language)}" if releases else "no voice is installed"
            raise NotFoundError(what, hint="p2pvoice find, then p2pvoice fetch")
        voice = await loadable.installed(self._parts, able[0].id)
        return voice, as_text(language) if language else by_text(voice.language)

    async def speak(self, voice: LoadableVoice, text: str, language: str, listener: speech.Listener) -> None:
        """Speak to a listener; cancelling it cancels the synthesis."""
        await speech.stream(self._parts, voice, text, language, listener)

    async def _releases(self) -> list[Release]:
        """The installed voices that may speak now, in the order in which they came."""
        catalog = self._parts.catalog

        def look() -> list[Release]:
            found = (catalog.release(held.release) for held in catalog.installed())
            return [release for release in found if release is not None and _may_speak(release)]

        return await trio.to_thread.run_sync(look, limiter=self._parts.disk)


def _languages(release: Release) -> tuple[str, ...]:
    return spoken_by(release.manifest.engine.version, release.manifest.languages)


def _may_speak(release: Release) -> bool:
    try:
        require_current(release.manifest, time.time())
    except ConsentError:
        return False
    return True


def _speaks(voice: LoadableVoice, language: str) -> str:
    """The language itself; UnsupportedLanguageError when the voice does not speak it."""
    able = _languages(voice.release) if voice.release is not None else voice.languages
    if language not in able:
        raise UnsupportedLanguageError(
            f"this voice does not speak {name_of(language)}", hint="languages: " + " ".join(able)
        )
    return language


def _text(wanted: Mapping[str, Any], name: str) -> str:
    value = wanted.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > REF_LIMIT:
        raise UsageError(f"the {name} of a voice is a text of at most {REF_LIMIT} characters")
    return value


def as_event(error: P2PVoiceError) -> dict[str, str]:
    """The data of an ``error`` event."""
    return {"text": f"{error.message} ({error.hint})" if error.hint else error.message, "code": error.code}
