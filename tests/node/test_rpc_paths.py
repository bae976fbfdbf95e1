"""No path that a caller names is ever opened: every endpoint, every text it reads, with names that are paths.

A daemon runs in this process and an audit hook sees each file that the interpreter opens, links, renames or
removes; whatever a request brings about has to lie in the daemon's home. The names of the fields are read out
of the endpoints' own source, so that a new endpoint or field is walked without a word here.
"""

import inspect
import os
import re
import sys
import sysconfig
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

from p2pvoice.node.parts import Parts
from p2pvoice.node.rpc.app import build_app
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import P2PVoiceError

from .faces import daemon_here

#: What stands for a file of the caller's choice; OUTSIDE and LINK are made by the test. None is the system's:
#: where the check fails, an upload of that name is removed.
NAMES = (
    "../../OUTSIDE",
    "/OUTSIDE",
    "OUTSIDE",
    "file:///OUTSIDE",
    "LINK",
    "..",
    "a\0b",
    "~/x",
    "\ud800",
    "C:\\x",
)

#: So many of these names, the first ones, are tried in each field alone as well.
ALONE = 3

#: An upload that is not there.
UPLOAD = "0" * 32

#: What stands in the other fields while one is bad.
GOOD = {
    "name": "x", "slug": "x", "draft": "x", "text": "x", "lang": "yue", "license": "CC-BY-4.0",
    "consent": "self", "format": "wav", "kind": "", "only": "all", "sovits": UPLOAD, "gpt": UPLOAD,
    "clip": UPLOAD,
}  # fmt: skip

#: Where the endpoints stand.
RPC = "p2pvoice.node.rpc."

#: What the endpoints of each module read.
KNOWN: dict[str, dict[str, set[str]]] = {}

#: Audit events whose first argument is a path.
EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.listdir", "os.scandir", "os.link",
          "os.symlink", "shutil.rmtree", "shutil.move", "os.chmod", "os.truncate", "os.utime"}  # fmt: skip

#: Endpoints that are not walked: one that ends the daemon, two that need seconds of a worker, and one that
#: answers with plain text.
LEFT_OUT = {"/v1/shutdown", "/v1/drafts/bundled", "/v1/doctor", "/metrics"}

_seen: list[tuple[str, str]] | None = None
_lock = threading.Lock()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        _seen is not None
        and event in EVENTS
        and arguments
        and isinstance(arguments[0], str | bytes | os.PathLike)
    ):
        with _lock:
            _seen.append((event, os.fsdecode(arguments[0])))


@contextmanager
def watched() -> Iterator[list[tuple[str, str]]]:
    """Every path touched meanwhile. A hook cannot be taken away again, so it is switched."""
    global _seen
    if not getattr(watched, "hooked", False):
        sys.addaudithook(_hook)
        watched.hooked = True  # type: ignore[attr-defined]
    _seen = found = []
    try:
        yield found
    finally:
        _seen = None


def fields(module: Any) -> dict[str, set[str]]:
    """The names that the endpoints of a module read from a body, by the function that reads them."""
    found: dict[str, set[str]] = {}
    pattern = r'\b(texts?|flag|quantity|count|get)\(\s*(?:body|value|row|wanted)?,?\s*"(\w+)"'
    for kind, name in re.findall(pattern, inspect.getsource(module)):
        found.setdefault(kind, set()).add(name)
    return found


def bodies(known: dict[str, set[str]], name: str, *, alone: bool) -> Iterator[dict[str, Any]]:
    """Bodies with a bad name in every field at once; ``alone``: then in each, beside good ones."""
    texts = sorted(known.get("text", ()))
    rest: dict[str, Any] = {key: [name] for key in known.get("texts", ())}
    rest |= dict.fromkeys(known.get("flag", ()), True)
    rest |= {"clips": [{"name": name, "upload": name}], "files": {name: UPLOAD, "config.json": name}}
    rest |= {"a": {"voice": name}, "b": {"draft": name}}
    yield rest | dict.fromkeys(texts, name)
    for one in texts if alone else ():
        yield {key: word for key, word in GOOD.items() if key in texts} | rest | {one: name}


def paths(route: str, name: str) -> Iterator[str]:
    """The route with a bad name in the place of its parameter, alone and before each action."""
    if "{" not in route:
        yield route
        return
    try:
        named = quote(name, safe="")
    except UnicodeEncodeError:
        named = "%ED%A0%80"
    for action in ("", "/preview", "/fetch", "/update", "/revoke", "/resume", "/stop", "/add", "/remove",
                   "/edit", "/publish", "/evaluate", "/merge", "/propose", "/diff", "/" + named):  # fmt: skip
        yield re.sub(r"\{.*\}", named, route) + action


def touch_all(client: Client, parts: Parts, names: list[str]) -> Mapping[str, int]:
    """Ask everything with every name; how often each error came back."""
    counted: dict[str, int] = {}

    def ask(call: Any) -> None:
        try:
            call()
            code = "ok"
        except P2PVoiceError as error:
            code = error.code
        counted[code] = counted.get(code, 0) + 1

    app: Any = build_app(parts)
    for route in app.inner.inner.routes:
        if route.path in LEFT_OUT:
            continue
        held = [cell.cell_contents for cell in route.endpoint.__closure__]
        (unbound,) = (value for value in held if callable(value))
        known = KNOWN[unbound.__module__]
        for method in route.methods - {"HEAD"}:
            for name in names:
                text = name.encode("utf-8", "replace").decode()
                query = {"tag": text, "text": text, "limit": "1", "timeout": "0", "path": text}
                for path in paths(route.path, name):
                    if method in ("GET", "DELETE"):
                        ask(partial(client.json, method, path, query={} if "{" in route.path else query))
                        continue
                    for body in bodies(known, name, alone=name in names[:ALONE]):
                        ask(partial(client.json, method, path, body))
    return counted


async def test_no_path_of_a_callers_is_opened(caplog: pytest.LogCaptureFixture) -> None:
    async with daemon_here() as parts:
        root = parts.home.root
        outside = root.parent / "outside"
        outside.mkdir()
        secret = outside / "draft.json"
        secret.write_text("a secret")
        # Whoever can make links in a home is its user; still a name that is one must lead nowhere.
        for folder in (parts.home.uploads, parts.home.trainings, parts.home.voices):
            (folder / "LINK").symlink_to(outside)
        names = [name.replace("OUTSIDE", str(secret).lstrip("/")) for name in NAMES]
        client = Client(root, timeout=60)
        KNOWN.update({name: fields(module) for name, module in sys.modules.items() if name.startswith(RPC)})
        with watched() as touched:
            counted = await trio.to_thread.run_sync(touch_all, client, parts, names)
        assert counted.get("bug", 0) == 0, counted
        assert not [record for record in caplog.records if record.name == "p2pvoice.rpc"]
        assert sum(counted.values()) > 1_000
        assert secret.read_text() == "a secret"
        assert list(outside.iterdir()) == [secret]
        assert {"sovits", "clip_name", "draft"} <= KNOWN["p2pvoice.node.rpc.making"]["text"]
        assert {"voice", "upload"} <= KNOWN["p2pvoice.node.rpc.measuring"]["text"]
        foreign = {(event, path) for event, path in touched if not _ours(path, root)}
        assert not foreign
        assert any("uploads" in path for _, path in touched)


def _ours(path: str, root: Path) -> bool:
    """Whether a path lies in the home, after following links, or is Python's own."""
    real = os.path.realpath(path) if "\0" not in path else path
    allowed = (str(root.resolve()), sysconfig.get_paths()["stdlib"], sys.prefix, sys.base_prefix)
    return (
        real.startswith(allowed) or "site-packages" in real or real.startswith(("/proc/", "/dev/", "/sys/"))
    )
