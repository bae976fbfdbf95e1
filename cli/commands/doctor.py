"""`doctor`: check this node, and say what to do about each finding. Follows specs/doctor.md."""

import contextlib
from collections import Counter
from collections.abc import Iterator

import click

from p2pvoice.cli.checkup import local
from p2pvoice.cli.output import Output, json_option, printable
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import DaemonUnavailableError
from p2pvoice.protocol.findings import Finding

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}

NAME_WIDTH = 10
"""Columns of the longest check's name."""


@click.command()
@json_option
@click.pass_obj
def doctor(output: Output) -> int:
    """Check this node and this machine, and say what to do about each finding.

    Works without a daemon as far as it can. The exit code is 0 unless something fails; a warning is none.
    """
    states: Counter[str] = Counter({"ok": 0, "warn": 0, "fail": 0})
    for found in findings(Client()):
        states[found.state] += 1
        if output.as_json:
            output.document({"event": "check", **found.to_dict()})
        else:
            show(output, found)
    if output.as_json:
        output.document({"event": "result", **states})
    elif states["warn"] or states["fail"]:
        output.note(f"{states['fail']} wrong, {states['warn']} to look at")
    return 1 if states["fail"] else 0


def findings(client: Client) -> Iterator[Finding]:
    """Our own half, then the daemon's if it answers."""
    running = True
    for found in local(client):
        running = found.check != "daemon" or found.state == "ok"
        yield found
    if running:
        # Whether it runs was said already; one that ends meanwhile ends the list.
        with contextlib.suppress(DaemonUnavailableError):
            for event in client.doctor():
                if event["event"] == "check":
                    yield Finding(**{name: event[name] for name in ("check", "state", "finding", "todo")})


def show(output: Output, found: Finding) -> None:
    """One row, and what to do below it."""
    state = click.style(f"{found.state:4}", fg=COLOURS[found.state])
    output.line(f"{state}  {found.check:{NAME_WIDTH}}  {printable(found.finding)}")
    if found.todo:
        output.line(f"      {'':{NAME_WIDTH}}  → {printable(found.todo)}")
