"""What of a home the two worker processes may see.

A worker reads; what it makes goes into a scratch folder of its own, and the daemon moves it to its place. So
a stranger's voice that got the better of the speaking worker finds nothing to change: no draft, no base, no
other voice. Only a training writes elsewhere, into its own work folder. Not for how a room is entered: see
sandbox/room.py. Follows specs/sandbox.md.
"""

from pathlib import Path

from p2pvoice.node.config import Config
from p2pvoice.node.paths import Home
from p2pvoice.node.sandbox.room import Room


def speaking_room(home: Home, config: Config) -> Room:
    """What speaking, importing, admitting and measuring need."""
    return _room(home, config, (home.uploads,))


def training_room(home: Home, config: Config) -> Room:
    """What training and telling stability need; a training's own work folder comes with its request."""
    return _room(home, config, (home.trainings,))


def _room(home: Home, config: Config, more: tuple[Path, ...]) -> Room:
    # Releases are folders of links into the store. Its index, and what is being fetched, stay out of sight.
    reads = (home.voices, home.store / "files", home.bases, home.drafts, *more)
    return Room(
        config.worker.sandbox,
        reads=tuple(str(path.resolve()) for path in reads),
        hidden=(str(home.root), str(Path.home())),
    )
