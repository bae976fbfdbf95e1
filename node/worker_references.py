"""The worker's operation that gives a voice reference clips of its own, spoken by itself.

Which bundle that is for, and whether it is needed, is the node's to say. Follows specs/worker.md and
specs/consent.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pvoice.node.worker import Worker


def own_clips(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Speak a clip for each reference of a bundle; write them and their voice.json to a new folder."""
    from p2pvoice.node.worker import bases_in
    from p2pvoice.sovits import own_clips as own
    from p2pvoice.sovits.voicefile import load_bundle

    folder, bases = Path(arguments["folder"]), arguments["bases"]
    voice = worker.voice(str(arguments["key"]), folder, bases)
    loaded, told = load_bundle(folder), -1

    def tell(done: int, of: int) -> None:
        nonlocal told
        worker.check()
        if done != told:
            told = done
            worker.progress("clips", done / of)

    clips = own.speak(loaded, voice, bases_in(bases), tell=tell)
    made = own.write(Path(arguments["out"]), loaded, clips)
    return {"references": [{"lang": one.lang, "milliseconds": one.milliseconds} for one in made.references]}
