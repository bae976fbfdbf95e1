"""`daemon run|start|stop|status|install|uninstall`: this node's daemon. Follows specs/cli.md."""

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from p2pvoice.cli import daemon as process
from p2pvoice.cli import service
from p2pvoice.cli.commands.network import status, wyoming_line
from p2pvoice.cli.output import Output, json_option
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import ConflictError, DaemonUnavailableError


@click.group()
def daemon() -> None:
    """Run, start, stop or ask about this node's daemon."""


def addresses(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where a daemon listens, whom it meets first, and which doors it opens."""
    function = click.option(
        "--wyoming-network",
        multiple=True,
        metavar="CIDR",
        help="Who may connect to --wyoming; needed when it is not on loopback; repeatable.",
    )(function)
    function = click.option(
        "--wyoming",
        is_flag=False,
        flag_value="",
        metavar="[HOST:PORT]",
        help="Speak for Home Assistant; 127.0.0.1:10200 when no address is given.",
    )(function)
    function = click.option(
        "--bootstrap",
        multiple=True,
        metavar="MULTIADDR",
        help="A node to meet first, ending in /p2p/PEER; repeatable.",
    )(function)
    return click.option(
        "--listen",
        multiple=True,
        metavar="MULTIADDR",
        help="Where to listen, such as /ip4/0.0.0.0/tcp/4001; repeatable.",
    )(function)


def api_port(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option that opens the compatible APIs with the daemon."""
    return click.option(
        "--api",
        is_flag=False,
        flag_value=-1,
        type=click.IntRange(-1, 65_535),
        metavar="[PORT]",
        help="Open the OpenAI and GPT-SoVITS APIs on loopback (default port: 9880; 0 picks one).",
    )(function)


def rates(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that limit how fast chunks leave and come."""
    for option, what in (("--down", "receive"), ("--up", "send")):
        help_text = f"Most to {what} a second, such as 2MB; 0 for no limit. Peers on the LAN are not limited."
        function = click.option(option, metavar="RATE", help=help_text)(function)
    return function


@daemon.command("run")
@addresses
@api_port
@rates
def run(listen: tuple[str, ...], bootstrap: tuple[str, ...], **doors: Any) -> None:
    """Run the daemon in the foreground until Ctrl-C; its log goes to stderr."""
    line = [*process.command(listen, bootstrap, process.doors(**doors)), "--foreground"]
    sys.stdout.flush()
    # The daemon takes this process's place: its signals, its exit code and its log are the terminal's own.
    os.execv(line[0], line)


@daemon.command("start")
@addresses
@api_port
@rates
@json_option
@click.pass_obj
def start(output: Output, listen: tuple[str, ...], bootstrap: tuple[str, ...], **doors: Any) -> None:
    """Start the daemon in the background and wait until it answers."""
    client = Client()
    try:
        state = client.status()
    except DaemonUnavailableError:
        pass
    else:
        raise ConflictError(f"a daemon already runs on {client.home.root}", hint="p2pvoice daemon status")
    child = process.spawn(client, listen, bootstrap, doors=process.doors(**doors))
    try:
        state = process.wait_ready(client, child)
    except BaseException:
        process.end(child)
        raise
    state.setdefault("pid", child.pid)
    opened = client.api() if doors.get("api") is not None else {}
    if output.as_json:
        output.document(
            {key: state.get(key) for key in ("pid", "peer_id", "author", "addresses", "version", "wyoming")}
            | {"home": str(client.home.root), "log": str(client.home.log)}
            | ({"api": opened} if opened else {})
        )
        return
    output.pairs(
        [
            ("process", state["pid"]),
            ("peer id", state.get("peer_id")),
            ("addresses", state.get("addresses")),
            ("wyoming", wyoming_line(state.get("wyoming"))),
            ("api", opened.get("url")),
        ]
    )
    if opened:
        output.note(opened["problem"] or "p2pvoice api shows the addresses and the token that programs need")
    output.note(f"log: {client.home.log}")
    output.hint("p2pvoice find --tag cantonese")


@daemon.command("stop")
@json_option
@click.pass_obj
def stop(output: Output) -> None:
    """Stop the daemon and wait until it is gone."""
    pid = process.stop(Client())
    if output.as_json:
        output.document({"stopped": True, "pid": pid})
    else:
        output.line(f"stopped (process {pid})")


@daemon.command("install")
@addresses
@rates
@click.option("--print", "only_print", is_flag=True, help="Print the unit and write nothing.")
@json_option
@click.pass_obj
def install(
    output: Output, listen: tuple[str, ...], bootstrap: tuple[str, ...], only_print: bool, **doors: Any
) -> None:
    """Write a systemd user unit that runs this node's daemon, and say how to turn it on."""
    home = Client().home.root
    text = service.unit(home, listen, bootstrap, process.doors(**doors))
    if only_print:
        if output.as_json:
            output.document({"unit": text})
        else:
            output.line(text.rstrip("\n"))
        return
    path = service.install(text)
    if output.as_json:
        output.document({"installed": str(path), "home": str(home)})
        return
    output.line(f"installed {path}")
    output.hint(f"systemctl --user daemon-reload && systemctl --user enable --now {service.NAME}")
    output.note("to run without a login: loginctl enable-linger")


@daemon.command("uninstall")
@json_option
@click.pass_obj
def uninstall(output: Output) -> None:
    """Remove the systemd user unit; a daemon that runs goes on until it is stopped."""
    path = service.uninstall()
    if output.as_json:
        output.document({"uninstalled": str(path)})
        return
    output.line(f"removed {path}")
    output.hint(f"systemctl --user disable --now {service.NAME}; systemctl --user daemon-reload")


daemon.add_command(status)
