"""`limit`: how fast chunks may leave and come, in the daemon that runs. Follows specs/mirror.md, "Limits"."""

from typing import Any

import click

from p2pvoice.cli.output import Output, json_option, size
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.amounts import parse_rate


@click.command()
@click.option("--up", metavar="RATE", help="Most to send a second, such as 2MB; 0 for no limit.")
@click.option("--down", metavar="RATE", help="Most to receive a second.")
@json_option
@click.pass_obj
def limit(output: Output, up: str | None, down: str | None) -> None:
    """Show how fast chunks may leave and come, and do, or change it.

    A change holds until the daemon stops; `[network] up` and `down` in config.toml hold for good. Bytes, not
    bits. Peers on the LAN are not limited, unless config.toml says `limit_lan = true`.
    """
    client = Client()
    if up is None and down is None:
        found = client.limits()
    else:
        found = client.set_limits(
            up=parse_rate(up) if up is not None else None,
            down=parse_rate(down) if down is not None else None,
        )
    if output.as_json:
        output.document(found)
        return
    output.pairs([("up", rate_line(found, "up")), ("down", rate_line(found, "down"))])
    if found.get("lan"):
        output.note("peers on the LAN are limited, too")


def rate_line(limits: dict[str, Any], direction: str) -> str:
    """A limit and the current rate in words."""
    most, now = int(limits.get(direction, 0)), float(limits.get(f"{direction}_now", 0))
    return f"{f'at most {size(most)}/s' if most else 'no limit'}, now {size(now)}/s"
