"""js-libp2p at our relay, and we at js-libp2p's: places, vouchers and calls. `pytest -m interop`.

Follows specs/reach.md, "Relay".
"""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ..node.conftest import daemons
from ..node.nodes import Daemon, eventually
from .test_js import Scripts, scripts

__all__ = ["daemons", "scripts"]

pytestmark = pytest.mark.interop


@contextlib.contextmanager
def relay_script(scripts: Scripts, *words: str) -> Iterator[Callable[[], Any]]:
    """Run relay.mjs; what is given reads its next line."""
    script = subprocess.Popen(
        ["node", "relay.mjs", *words],
        cwd=scripts.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def line() -> Any:
        assert script.stdout is not None
        found = script.stdout.readline()
        if not found:
            raise AssertionError(script.communicate()[1])
        return json.loads(found)

    try:
        yield line
    finally:
        _, errors = script.communicate(timeout=60)
        assert (script.returncode, errors) == (0, "")


def test_js_takes_a_place_at_our_relay_and_is_called(scripts: Scripts, daemons: Callable[[], Daemon]) -> None:
    relay, caller = daemons(), daemons()
    (relay.home / "config.toml").write_text('[network]\nrelay = "server"\n')
    relay.start()
    with relay_script(scripts, "client", relay.addresses[0]) as line:
        assert line() == {"voucher": relay.peer_id, "type": "0302", "ours": True, "same": True}
        there = line()
        address = next(one for one in there["addresses"] if "/p2p-circuit" in one)
        assert relay.peer_id in address
        caller.start()
        caller.client.connect(address)
        rows = {row["id"]: row["link"] for row in caller.client.peers()}
        assert rows[there["peer"]] == "relayed"
        assert relay.client.status()["relay"]["serves"]["circuits"] == 1


def test_we_take_a_place_at_the_relay_of_js(scripts: Scripts, daemons: Callable[[], Daemon]) -> None:
    with relay_script(scripts, "server") as line:
        there = line()
        node, caller = daemons().start(), daemons().start()
        node.client.connect(there["addresses"][0])
        # Its voucher was checked: with a wrong one there would be no place.
        assert eventually(lambda: node.client.status()["relay"]["relays"]) == [there["peer"]]
        address = eventually(
            lambda: next((one for one in node.client.status()["addresses"] if "/p2p-circuit" in one), "")
        )
        caller.client.connect(address)
        rows = {row["id"]: row["link"] for row in caller.client.peers()}
        assert rows[node.peer_id] == "relayed"
