"""`import --from-gpt-sovits`: voices and bases from where GPT-SoVITS keeps them.

What was found is shown before anything is done; what is missing is asked for. Follows specs/importing.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from p2pvoice.cli.commands.fetch import follow
from p2pvoice.cli.installation import BASES, LATER, Found, Installation, Weights, scan
from p2pvoice.cli.output import Output, size
from p2pvoice.cli.progress import Progress
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import NotFoundError, UsageError

BASE_FILES = (".json", ".safetensors", ".bin", ".txt", ".ckpt")
"""File types of a base that are sent, never scripts."""

NEEDED = {"hubert": "hears the reference clips", "speaker": "hears who speaks, for v2Pro and v2ProPlus"}
"""Bases without which an import may stop, and what each is for."""


@dataclass(frozen=True)
class Given:
    """What the user said, which goes before what was found."""

    name: str = ""
    slug: str = ""
    voice: str = ""
    """Which of the found voices."""
    every: bool = False
    sovits: Path | None = None
    gpt: Path | None = None
    clips: Sequence[tuple[Path, str, str]] = ()
    parents: Sequence[str] = ()
    """Voices that the weights were tuned from."""


def bring(output: Output, client: Client, root: Path, given: Given) -> list[dict[str, Any]]:
    """Show what lies in ``root``; import the voice that was chosen, or every one that nothing is missing of.

    Returns the results of the imports, none when nothing was chosen.
    """
    found = scan(root)
    if not found.voices:
        raise NotFoundError(
            f"{root} holds no weight files",
            hint="name the folder that holds SoVITS_weights… and GPT_weights…, or a .pth and a .ckpt file",
        )
    chosen = choose(found, given)
    if not chosen:
        tell(output, root, found)
        return []
    installed = {str(row.get("kind")) for row in client.bases()}
    for kind, folder in found.bases.items():
        if kind not in installed:
            add_base(output, client, folder)
    lacking = [kind for kind in NEEDED if kind not in installed | set(found.bases)]
    for kind in lacking:
        where = f"p2pvoice base add PATH/TO/{BASES[kind]}"
        output.note(f"note: {BASES[kind]} is not here; it {NEEDED[kind]}: {where}")
    return [send_one(output, client, root, voice, given) for voice in chosen]


def choose(found: Installation, given: Given) -> list[Found]:
    """The voices that are meant, completed by what the user gave.

    Raises NotFoundError for a name that is not there, UsageError when something is missing of the voice.
    """
    if given.every:
        ready = [voice for voice in found.voices if not voice.missing]
        if not ready:
            raise UsageError(
                "something is missing of every voice here", hint="p2pvoice import --from-gpt-sovits DIR"
            )
        return ready
    if not given.voice:
        return []
    named = [voice for voice in found.voices if voice.name == given.voice]
    if not named:
        raise NotFoundError(
            f"there is no voice {given.voice!r} here",
            hint="--voice " + " or --voice ".join(voice.name for voice in found.voices[:8]),
        )
    if len(named) > 1:
        raise UsageError(
            f"several voices are called {given.voice!r} here", hint="import one with --sovits and --gpt"
        )
    voice = named[0]
    if voice.version in LATER:
        raise UsageError(
            f"{voice.name} is a {voice.version} voice; importing it comes later",
            hint="versions that can be imported now: v1 v2 v2Pro v2ProPlus",
        )
    missing = [
        what
        for what in voice.missing
        if not (given.gpt and what.startswith("no GPT file")) and not (given.clips and "--ref" in what)
    ]
    if missing:
        raise UsageError(f"{voice.name}: {missing[0].partition(': give ')[0]}", hint=_give(missing[0]))
    sovits = replace(voice.sovits, path=given.sovits) if given.sovits else voice.sovits
    gpt = Weights(given.gpt, voice.name, (0, 0), "") if given.gpt else voice.gpt
    return [replace(voice, sovits=sovits, gpt=gpt, missing=[])]


def _give(missing: str) -> str:
    options = missing.partition(": give ")[2]
    return f"add {options}" if options else "p2pvoice import --help"


def tell(output: Output, root: Path, found: Installation) -> None:
    """What was found, as a table or a document, and what to type next."""
    if output.as_json:
        output.document(
            {
                "voices": [row(root, voice) for voice in found.voices],
                "bases": {kind: str(folder) for kind, folder in found.bases.items()},
            }
        )
        return
    output.table(
        ["~NAME", "VERSION", "SOVITS", "GPT", ">CLIPS", "~MISSING"],
        [
            [
                voice.name,
                voice.version or "?",
                voice.sovits.path.name,
                voice.gpt.path.name if voice.gpt else "-",
                str(len(voice.clips)),
                "; ".join(voice.missing),
            ]
            for voice in found.voices
        ],
    )
    for kind, folder in found.bases.items():
        output.note(f"base {kind}: {folder.relative_to(root)}")
    ready = next((voice for voice in found.voices if not voice.missing), found.voices[0])
    output.hint(f"p2pvoice import --from-gpt-sovits {root} --voice {ready.name}   (or --all)")


def row(root: Path, voice: Found) -> dict[str, Any]:
    """A found voice as a document."""
    return {
        "name": voice.name,
        "version": voice.version,
        "sovits": str(voice.sovits.path.relative_to(root)),
        "gpt": str(voice.gpt.path.relative_to(root)) if voice.gpt else None,
        "others": voice.others,
        "list": voice.source,
        "clips": [
            {
                "clip": str(clip.path.relative_to(root)),
                "text": clip.text,
                "lang": clip.lang,
                "seconds": round(clip.seconds, 2),
            }
            for clip in voice.clips
        ],
        "missing": list(voice.missing),
    }


def add_base(output: Output, client: Client, folder: Path) -> None:
    """Install one of the pretrained models that lie beside."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in BASE_FILES)
    with Progress(output) as progress:
        uploads = {path.name: client.upload(path, progress=progress.sending(path)) for path in files}
    follow(output, client.add_base(folder.name, uploads))
    output.note(f"installed the base {folder.name}")


def send_one(output: Output, client: Client, root: Path, voice: Found, given: Given) -> dict[str, Any]:
    """Import one voice and say what it was made of."""
    from p2pvoice.cli.commands.publish import send

    assert voice.gpt is not None
    clips = list(given.clips) or [(clip.path, clip.text, clip.lang) for clip in voice.clips]
    files = [voice.sovits.path.name, voice.gpt.path.name, *(path.name for path, _, _ in clips)]
    output.note(f"{voice.name}: {', '.join(files)}")
    if voice.others:
        output.note(f"{voice.others} weight files of it that were trained less stay where they are")
    if not given.clips:
        output.note(f"the words of its clips are those of {voice.source}")
    name = given.name or voice.name
    pair = (voice.sovits.path, voice.gpt.path)
    result = dict(send(output, client, name, given.slug, *pair, clips, given.parents))
    if not output.as_json:
        output.line(str(result.get("draft", name)))
        if result.get("bytes"):
            output.note(f"draft of {size(int(result['bytes']))}")
    return result
