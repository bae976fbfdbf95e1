"""One's own node: what it does now, whom it knows, what it keeps, its key, its limits, and a check-up.

The figures are those of `GET /v1/status` and `GET /v1/peers`; the script asks for this page again every few
seconds and puts new figures where they changed, so that words and figures come from one place. Follows
specs/page-making.md, "One's own node".
"""

import os
import time
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from p2pvoice.node.checkup_reach import reach
from p2pvoice.node.keys import facts as key_facts
from p2pvoice.node.page import shown
from p2pvoice.node.page.mark import mark_of
from p2pvoice.node.page.view import View
from p2pvoice.node.parts import VERSION
from p2pvoice.node.process import resident_bytes
from p2pvoice.node.voices import disk

if TYPE_CHECKING:
    from p2pvoice.node.parts import Parts

PEERS_LIMIT = 100
"""Peers that the page shows, connected ones first."""

VOICES_LIMIT = 500
"""Installed voices that the page shows."""

REACHES = ("loopback", "private", "public")
"""Where an address can be dialed from, the nearest first."""


async def page(parts: "Parts", request: Request, view: View) -> Response:
    """Everything about the node that its user may want to see."""

    def look() -> dict[str, Any]:
        usage = parts.store.layout.usage()
        known, installed = parts.catalog.counts()
        held = parts.catalog.installed_voices()
        rows = []
        for one in held[:VOICES_LIMIT]:
            release = parts.catalog.release(one.release)
            if release is not None:
                manifest = release.manifest
                size = sum(file.size for file in manifest.files)
                rows.append(
                    {
                        "release": release.id,
                        "name": manifest.name,
                        "url": view.voice(release.id),
                        "size": view.words.size(size),
                        "bytes": size,
                    }
                )
        return {
            "voices": sorted(rows, key=lambda row: -row["bytes"]),
            "disk": _disk(parts, view, usage.bytes),
            "key": _key(parts, view),
            "authors": [
                {
                    "name": one.name,
                    "fingerprint": shown.fingerprint(one.author),
                    "url": view.author(one.author),
                }
                for one in parts.following.all()
            ],
            "now": _now(parts, view, known, installed, sum(one.seed for one in held)),
        }

    return view.render(
        "node.html",
        **await disk(parts, look),
        peers=[_peer(view, row) for row in parts.network.peer_rows()[:PEERS_LIMIT]],
        addresses=parts.network.addresses(),
        settings=_settings(parts, view),
    )


def _now(parts: "Parts", view: View, known: int, installed: int, serving: int) -> list[tuple[str, str]]:
    """What changes all the time: a name and a figure each."""
    t = view.words
    memory = sum(
        resident_bytes(pid)
        for pid in (os.getpid(), parts.engine.pid, parts.training_engine.pid)
        if pid is not None
    )
    _, sent, _ = parts.network.traffic()
    return [
        (t("node.connected"), str(parts.network.connected_count())),
        (t("node.known"), str(known)),
        (t("node.installed"), str(installed)),
        (t("node.serving"), str(serving)),
        (t("node.sent"), t.size(sent)),
        (t("node.worker"), t("worker." + parts.engine.state)),
        (t("node.training"), parts.trainer.current or t("node.training.none")),
        (t("node.memory"), t.size(memory)),
        (t("node.uptime"), t.length(time.monotonic() - parts.started)),
    ]


def _disk(parts: "Parts", view: View, used: int) -> dict[str, Any]:
    t, quota = view.words, parts.config.quota_bytes
    return {
        "quota": quota,
        "used": used,
        "says": t("node.disk.of", used=t.size(used), quota=t.size(quota))
        if quota
        else t("node.disk.free", used=t.size(used)),
    }


def _key(parts: "Parts", view: View) -> dict[str, Any]:
    found = key_facts(parts)
    state = "locked" if found["locked"] else "open" if found["passphrase"] else "plain"
    whole = parts.author.removeprefix("did:key:")
    return {
        "id": parts.author,
        "url": view.author(parts.author),
        "mark": mark_of(parts.author),
        "groups": [whole[start : start + shown.GROUP] for start in range(0, len(whole), shown.GROUP)],
        "state": view.words("node.key." + state),
        "locked": found["locked"],
        "former": [shown.fingerprint(author) for author in found["former"]],
    }


def _peer(view: View, row: dict[str, Any]) -> dict[str, Any]:
    t = view.words
    reaches = [reach(address) for address in row["addresses"]]
    # The furthest of its addresses says most: every node has a loopback one as well.
    kind = max((one for one in reaches if one in REACHES), key=REACHES.index, default="")
    if row["link"] == "relayed":
        kind = "relayed"
    shunned = row["shunned_until"] is not None and row["shunned_until"] > time.time()
    state = "shunned" if shunned else "connected" if row["connected"] else "away"
    way = {"inbound": t("link.in"), "outbound": t("link.out")}.get(row["direction"], "")
    return {
        "id": row["id"],
        "state": state,
        "says": t("peer." + state),
        "link": t("list.sep").join(filter(None, (t("link." + kind) if kind else "", way))),
        "got": t.size(row["bytes_in"]),
        "sent": t.size(row["bytes_out"]),
        "score": f"{row['score']:g}",
        "dropped": (row["dropped"] or {}).get("reason", ""),
    }


def _settings(parts: "Parts", view: View) -> list[tuple[str, str]]:
    """The settings in force: a name and a value each."""
    t, config = view.words, parts.config
    sandbox = parts.engine.sandbox or parts.training_engine.sandbox
    return [
        (t("set.version"), VERSION),
        (t("set.home"), str(parts.home.root)),
        (t("set.listen"), t("list.sep").join(config.listen)),
        (t("set.bootstrap"), t("list.sep").join(config.bootstrap) or t("set.none")),
        (t("set.quota"), t.size(config.quota_bytes) if config.quota_bytes else t("set.quota.none")),
        (t("set.sandbox"), config.worker.sandbox),
        (t("set.sandbox.now"), str(sandbox["sandbox"]) if sandbox else t("set.sandbox.unknown")),
        (t("set.worker.idle"), t.length(config.worker.idle_seconds)),
        (t("set.worker.voices"), str(config.worker.voices)),
        (t("set.worker.threads"), str(config.worker.threads or t("set.auto"))),
        (t("set.training.threads"), str(config.training.threads or t("set.auto"))),
        (t("set.log"), config.log_level),
    ]
