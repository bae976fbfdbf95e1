"""The client is light: what a program pays for importing it."""

import json
import subprocess
import sys


def test_importing_it_loads_no_heavy_library() -> None:
    program = (
        "import json, sys; from p2pvoice.node.client import AsyncClient, Client; "
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd="/")
    assert ended.returncode == 0, ended.stderr
    loaded = set(json.loads(ended.stdout))
    assert "anyio" in loaded
    heavy = {"torch", "libp2p", "numpy", "trio", "starlette", "hypercorn", "soundfile", "msgspec", "sqlite3"}
    assert loaded & heavy == set()


def test_what_it_offers() -> None:
    from p2pvoice.node import client

    assert set(client.__all__) == {"AsyncClient", "AsyncStream", "AsyncWork", "Client", "Work"}
    offered = {
        *("close", "drafts", "fetch", "find", "import_bundled", "import_voice", "preview", "publish"),
        *("remove", "request", "show", "speak", "status", "stream", "update", "voices", "work"),
    }
    assert {name for name in vars(client.Client) if not name.startswith("_")} == offered
    assert {name for name in vars(client.AsyncClient) if not name.startswith("_")} == offered | {"aclose"}
