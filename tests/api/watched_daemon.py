"""A daemon that writes down each path it opens; test_paths.py runs it in the place of the real one.

python watched_daemon.py RECORD --home HOME …
"""

import os
import sys

from p2pvoice.node import daemon


def record(path: str) -> None:
    """Begin to write down what this process opens, one path a line."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.listdir"):
            os.write(descriptor, (event + " " + repr(arguments[:2]) + "\n").encode("utf-8", "replace"))

    sys.addaudithook(note)


if __name__ == "__main__":
    record(sys.argv[1])
    raise SystemExit(daemon.main(sys.argv[2:]))
