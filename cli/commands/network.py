"""What this node is doing and whom it talks to: `status`, `peers`, `connect`. Follows specs/cli.md."""

from typing import Any

import click

from p2pvoice.cli.output import Output, json_option, seconds, size
from p2pvoice.node.rpc.client import Client


@click.command()
@json_option
@click.pass_obj
def status(output: Output) -> None:
    """Show what the running daemon is doing."""
    state = Client().status()
    if output.as_json:
        output.document(state)
    else:
        show_status(output, state)


def show_status(output: Output, state: dict[str, Any]) -> None:
    """The status for a person; `daemon start` and `daemon status` end with it too."""
    disk, worker, dht, training = (state.get(name) or {} for name in ("disk", "worker", "dht", "training"))
    peers = state.get("peers", 0)
    memory = f", {size(worker['rss'])} of memory" if worker.get("rss") else ""
    output.pairs(
        [
            ("version", state.get("version")),
            ("running for", seconds(float(state.get("uptime", 0)))),
            ("process", state.get("pid")),
            ("home", state.get("home")),
            ("peer id", state.get("peer_id")),
            ("author", state.get("author")),
            ("addresses", state.get("addresses")),
            ("wyoming", wyoming_line(state.get("wyoming"))),
            ("lan", lan_line(state.get("lan"))),
            ("reach", reach_line(state.get("relay"))),
            ("peers", f"{len(peers) if isinstance(peers, list) else peers} connected"),
            ("limits", limits_line(state.get("limits"))),
            ("dht", ", ".join(f"{name} {value}" for name, value in dht.items())),
            ("shelves", shelves_line(state.get("shelves"))),
            ("key", key_line(state.get("key") or {})),
            ("following", moved_line(state.get("moved", 0))),
            ("voices", state.get("voices", 0)),
            ("serving", str(state["serving"]) if "serving" in state else None),
            ("disk", f"{size(disk.get('bytes', 0))} in {disk.get('files', 0)} files"),
            ("worker", f"{worker.get('state', 'not started')}{memory}"),
            ("training", training.get("current")),
            ("sandbox", f"speaking {_held(worker)}, training {_held(training)}"),
        ]
    )


def _held(worker: dict[str, Any]) -> str:
    """What holds a worker process, by its own word at its start."""
    said = worker.get("sandbox")
    return str(said["sandbox"]) if said else "not started"


def shelves_line(shelves: dict[str, Any] | None) -> str | None:
    """For how many tags this node answers, and with how many voices; None when it offers none."""
    if not shelves or not shelves.get("kept"):
        return None
    partial = f", {shelves['partial']} of them in part" if shelves.get("partial") else ""
    return f"{shelves['voices']} voices of {shelves['kept']} tags{partial}"


def lan_line(lan: dict[str, Any] | None) -> str | None:
    """What mDNS does; None while it is off."""
    if not lan:
        return None
    return lan.get("notice") or f"announced, {lan.get('heard', 0)} heard"


def reach_line(relay: dict[str, Any] | None) -> str | None:
    """Whether others can dial this node, and through which relays; None while nothing is known."""
    if not relay:
        return None
    known = {"open": "others can dial this node", "closed": "nobody outside can dial this node"}
    said = known.get((relay.get("reach") or {}).get("verdict", ""))
    places = [f"…{one[-6:]}" for one in relay.get("relays") or []]
    through = f"called through the relay {', '.join(places)}" if places else None
    return ", ".join(part for part in (said, through) if part) or None


def limits_line(limits: dict[str, Any] | None) -> str | None:
    """The limits on chunks; None where there are none."""
    if not limits or not (limits.get("up") or limits.get("down")):
        return None
    # Imported here because most calls have no limits to tell of.
    from p2pvoice.cli.commands.limit import rate_line

    return f"up {rate_line(limits, 'up')}; down {rate_line(limits, 'down')}"


def wyoming_line(door: dict[str, Any] | None) -> str | None:
    """Where Home Assistant may ask, and who may; None while nobody may."""
    if not door:
        return None
    line = f"{door['listen']} for {', '.join(door['networks'])}"
    if door.get("advertised"):
        line += ", advertised"
    return f"{line}; {door['notice']}" if door.get("notice") else line


def moved_line(moved: int) -> str | None:
    """That followed authors have new keys, until the user has seen which."""
    return f"{moved} with a new key: p2pvoice following" if moved else None


def key_line(key: dict[str, Any]) -> str | None:
    """What is to be known of the author key, when there is something."""
    if key.get("forks"):
        return "a second successor was signed with your key: p2pvoice key show"
    if not key.get("locked"):
        return None
    waiting = key.get("heads_waiting", 0)
    return "locked" + (f", {waiting} heads wait to be signed again: p2pvoice key unlock" if waiting else "")


@click.command()
@json_option
@click.pass_obj
def peers(output: Output) -> None:
    """List the peers this node knows, and why any was dropped."""
    rows = Client().peers()
    if output.as_json:
        output.document({"peers": rows})
        return
    if not rows:
        output.note("no peers yet")
        output.hint("p2pvoice connect /ip4/…/tcp/…/p2p/…   (an address that the other node's status shows)")
        return
    output.table(
        ["PEER", "STATE", "LINK", "VIA", ">RECEIVED", ">SENT", ">SCORE", "~DROPPED BECAUSE"],
        [
            [
                str(peer.get("id", "")),
                "connected" if peer.get("connected") else "away",
                str(peer.get("link") or ""),
                str(peer.get("direction") or ""),
                size(peer.get("bytes_in", 0)),
                size(peer.get("bytes_out", 0)),
                _score(peer.get("score")),
                str((peer.get("dropped") or {}).get("reason", "")),
            ]
            for peer in rows
        ],
    )


def _score(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else ""


@click.command()
@click.argument("multiaddr")
@json_option
@click.pass_obj
def connect(output: Output, multiaddr: str) -> None:
    """Connect to a peer by its multiaddress, such as /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…"""
    answer = Client().connect(multiaddr)
    if output.as_json:
        output.document(answer)
    else:
        output.line(f"connected to {answer.get('peer') or answer.get('id') or multiaddr}")
