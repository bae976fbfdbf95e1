"""Real daemons in network namespaces, and what the tests ask of them."""

import json
import subprocess
import sys

from ..node.nodes import PROGRAM, Daemon
from .spaces import Spaces


def start(daemon: Daemon, net: Spaces, where: str, *options: str, settings: str = "") -> Daemon:
    """Start a daemon in a namespace."""
    if settings:
        (daemon.home / "config.toml").write_text(settings)
    command = [*net.prefix(where), sys.executable, *PROGRAM, "--home", str(daemon.home), *options]
    daemon.process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert daemon.process.stdout is not None
    line = daemon.process.stdout.readline()
    if not line:
        raise AssertionError(f"the daemon did not start: {daemon.process.communicate()[1].decode()}")
    ready = json.loads(line)
    daemon.addresses, daemon.peer_id = ready["addresses"], ready["peer_id"]
    return daemon


def link(here: Daemon, there: Daemon) -> str:
    """The kind of link to a connected peer; "" while there is none."""
    rows = here.client.peers()
    return next((row["link"] for row in rows if row["id"] == there.peer_id and row["connected"]), "")


def relayed_address(daemon: Daemon) -> str:
    """The daemon's address at a relay; "" while it has none."""
    return next((a for a in daemon.client.status()["addresses"] if "p2p-circuit" in a), "")
