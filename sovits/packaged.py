"""The voice that comes with the package: where its files lie, for whoever imports it like any other.

It is kept as a user would bring a voice: upstream's two weight files and a clip, with the clip's text and
language beside it. Not for making it; see starter. Follows specs/starter.md, "Pack".
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from p2pvoice import sovits
from p2pvoice.protocol.errors import NotFoundError

FOLDER: Final = Path(sovits.__file__).parent / "data" / "starter"
"""Where the package keeps it."""


@dataclass(frozen=True)
class Packaged:
    """Two weight files, a clip of the speaker, what it says and in which language."""

    sovits: Path
    gpt: Path
    clip: Path
    text: str
    lang: str


def packaged_voice() -> Packaged:
    """The files of the voice that comes along. NotFoundError where the package was built without it."""
    said, weights = FOLDER / "reference.json", [sorted(FOLDER.glob(p)) for p in ("*.pth", "*.ckpt")]
    if not said.is_file() or not all(weights):
        raise NotFoundError("this installation comes without a voice", hint="p2pvoice import --help")
    clip = json.loads(said.read_text("utf-8"))
    (voice, *_), (gpt, *_) = weights
    return Packaged(voice, gpt, FOLDER / clip["clip"], clip["text"], clip["lang"])
