"""Pronunciation dictionaries on this machine: the user's in the home, and those of drafts and voices.

Edits of the user's file keep its comments and its order (user_words.py); a draft's is written anew.
Readings are checked by the worker, which knows the sounds; the form is checked here. Follows
specs/pronunciation.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio

from p2pvoice.node import loadable
from p2pvoice.node.drafts import Draft
from p2pvoice.node.durable import replace_file, sync_folder
from p2pvoice.node.parts import Parts
from p2pvoice.node.references import draft_key
from p2pvoice.protocol import pronunciation
from p2pvoice.protocol.errors import NotFoundError, RefusedError, UsageError
from p2pvoice.protocol.pronunciation import Entry

#: Characters of a text that is shown as it is read.
SHOWN_LIMIT = 2_000


def voice_text(folder: Path) -> str:
    """The dictionary in a bundle's folder, within its bounds; empty without one. Blocks."""
    try:
        with (folder / pronunciation.VOICE_NAME).open("rb") as file:
            data = file.read(pronunciation.VOICE_BYTES + 1)
    except FileNotFoundError:
        return ""
    text = pronunciation.text_of(data, size=pronunciation.VOICE_BYTES)
    pronunciation.parse(text, entries=pronunciation.VOICE_ENTRIES)
    return text


async def listed(parts: Parts, voice: str) -> dict[str, Any]:
    """The entries of a dictionary: the user's, or that of a draft or an installed voice."""
    if not voice:
        text = await trio.to_thread.run_sync(parts.words.text, limiter=parts.disk)
        return _shown("", text, editable=True)
    draft, folder, _ = await _voice(parts, voice)
    text = await trio.to_thread.run_sync(voice_text, folder, limiter=parts.disk)
    return _shown(voice, text, editable=draft is not None)


async def add(parts: Parts, entries: Sequence[Entry], voice: str) -> dict[str, Any]:
    """Add entries to the user's dictionary or a draft's, all or none; those of the same words are replaced.

    Raises UsageError for a reading that has no sounds, or for more than a dictionary holds.
    """
    rows = [[one.lang, one.word, one.reading] for one in entries]
    made = await parts.engine.call("check_words", {"entries": rows})
    kept = [Entry(*row) for row in made["entries"]]
    before, after = await _edit(parts, voice, partial(pronunciation.put, entries=kept))
    keys = {one.key for one in pronunciation.parse(before)}
    wanted = {one.key: one for one in kept}
    return {
        "voice": voice,
        "added": [_row(one) for key, one in wanted.items() if key not in keys],
        "replaced": [_row(one) for key, one in wanted.items() if key in keys],
        "entries": len(pronunciation.parse(after)),
    }


async def remove(parts: Parts, lang: str, word: str, voice: str) -> dict[str, Any]:
    """Remove a word; NotFoundError when the dictionary does not have it."""
    before, after = await _edit(parts, voice, lambda text: pronunciation.remove(text, lang, word))
    left = {one.key for one in pronunciation.parse(after)}
    gone = [_row(one) for one in pronunciation.parse(before) if one.key not in left]
    return {"voice": voice, "removed": gone, "entries": len(left)}


async def test(
    parts: Parts, text: str, lang: str, voice: str, *, upstream: bool, plain: bool
) -> dict[str, Any]:
    """How a text is read, with the user's dictionary unless ``plain``, and with a voice's."""
    if len(text) > SHOWN_LIMIT:
        raise UsageError(f"at most {SHOWN_LIMIT} characters are shown as they are read")
    folder = (await _voice(parts, voice))[1] if voice else None
    user = "" if plain else await trio.to_thread.run_sync(parts.words.text, limiter=parts.disk)
    arguments = {
        "text": text,
        "lang": lang,
        "folder": None if folder is None else str(folder),
        "words": user,
        "upstream": upstream,
        "plain": plain,
    }
    return await parts.engine.call("read_text", arguments)


async def _voice(parts: Parts, name: str) -> tuple[Draft | None, Path, str]:
    """A draft of this name, else the installed voice; with what keeps it loaded in the worker."""
    try:
        draft = await trio.to_thread.run_sync(parts.drafts.get, name, limiter=parts.disk)
    except NotFoundError:
        voice = await loadable.installed(parts, name)
        return None, voice.folder, voice.key
    return draft, draft.bundle, draft_key(draft)


async def _edit(parts: Parts, voice: str, change: Callable[[str], str]) -> tuple[str, str]:
    """Change a dictionary; its text before and after."""
    if not voice:
        async with parts.words.editing:
            return await trio.to_thread.run_sync(parts.words.edit, change, limiter=parts.disk)
    async with parts.drafting:
        draft, _, key = await _voice(parts, voice)
        if draft is None:
            raise RefusedError(
                f"{voice} is a release, which never changes",
                hint="change the draft it was published of, or a fork: p2pvoice fork VOICE --name NAME",
            )
        texts = await trio.to_thread.run_sync(_edit_draft, draft, change, limiter=parts.disk)
    # What is loaded has the dictionary of before.
    for loaded in (key, f"{key} own"):
        await parts.engine.call("forget", {"key": loaded})
    return texts


def _edit_draft(draft: Draft, change: Callable[[str], str]) -> tuple[str, str]:
    before = voice_text(draft.bundle)
    # Comments of a stranger's file go, and what is left is in order: the same entries are the same file.
    entries = pronunciation.parse(change(before), entries=pronunciation.USER_ENTRIES)
    after = pronunciation.encode(entries)
    if len(entries) > pronunciation.VOICE_ENTRIES or len(after.encode()) > pronunciation.VOICE_BYTES:
        raise UsageError(
            f"a voice's dictionary holds {pronunciation.VOICE_ENTRIES} entries and "
            f"{pronunciation.VOICE_BYTES} bytes"
        )
    place = draft.bundle / pronunciation.VOICE_NAME
    if after:
        # Beside the bundle first: what a crash leaves in it would be published. A fork's file is a second
        # name of one in the store, which is never written to.
        growing = draft.folder / pronunciation.VOICE_NAME
        replace_file(growing, after.encode())
        growing.replace(place)
    else:
        place.unlink(missing_ok=True)
    sync_folder(draft.bundle)
    return before, after


def _shown(voice: str, text: str, *, editable: bool) -> dict[str, Any]:
    entries: Iterable[Entry] = pronunciation.parse(text)
    return {"voice": voice, "editable": editable, "entries": [_row(one) for one in entries]}


def _row(one: Entry) -> Mapping[str, str]:
    return {"lang": one.lang, "word": one.word, "reading": one.reading}
