"""What the worker can load and speak with: an installed release, or a draft of the user's own.

One look-up for every face that lets somebody speak: the RPC and the compatible APIs. Not for speaking itself:
see speech.py. Follows specs/rpc.md, "Speak".
"""

from dataclasses import dataclass
from pathlib import Path

import trio

from p2pvoice.node import voices
from p2pvoice.node.admit import voice_folder
from p2pvoice.node.parts import Parts
from p2pvoice.node.references import as_it_is
from p2pvoice.protocol.manifest import Release


@dataclass(frozen=True)
class LoadableVoice:
    """A voice's files, what keeps it loaded in the worker, and what it speaks.

    ``release`` is None for a draft: what it says names no release.
    """

    key: str
    folder: Path
    languages: tuple[str, ...]
    release: Release | None = None

    @property
    def language(self) -> str:
        """The language of a text that names none."""
        return self.languages[0] if self.languages else "auto"


async def installed(parts: Parts, ref: str) -> LoadableVoice:
    """The installed voice a reference names; raises what ``voices.resolve_installed`` raises."""
    release = await voices.resolve_installed(parts, ref)
    return LoadableVoice(release.id, voice_folder(parts, release.id), release.manifest.languages, release)


async def draft(parts: Parts, name: str) -> LoadableVoice:
    """A draft as it is, recordings and all; NotFoundError when there is none."""
    own = as_it_is(await trio.to_thread.run_sync(parts.drafts.get, name, limiter=parts.disk))
    return LoadableVoice(own.key, own.folder, tuple(own.facts["languages"]))
