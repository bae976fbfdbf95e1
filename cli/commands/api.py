"""`api`: the port for programs made for OpenAI's or GPT-SoVITS's API. See specs/api.md and specs/cli.md."""

from typing import Any

import click

from p2pvoice.cli.output import Output, json_option
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import UsageError


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def api(ctx: click.Context) -> None:
    """Let programs made for OpenAI's or GPT-SoVITS's API speak with your voices.

    Without a command: whether the port is open, its addresses and its token. It listens on this machine only;
    whoever has the token, or the capability URL with the token in it, may speak.
    """
    if ctx.invoked_subcommand is None:
        show(ctx.obj, Client().api())


@api.command("on")
@click.option("--port", type=click.IntRange(0, 65_535), help="Where to listen (default: 9880; 0 picks one).")
@click.option(
    "--origin",
    multiple=True,
    metavar="URL",
    help="A web page that may use the port, such as http://127.0.0.1:8000; repeatable.",
)
@click.option("--voice", metavar="VOICE", help="Who speaks when a program names no voice of yours.")
@json_option
@click.pass_obj
def on(output: Output, port: int | None, origin: tuple[str, ...], voice: str | None) -> None:
    """Open the port, or change what is given of it, until the daemon stops."""
    show(output, Client().open_api(port=port, origins=list(origin) or None, voice=voice))


@api.command("off")
@json_option
@click.pass_obj
def off(output: Output) -> None:
    """Close the port."""
    found = Client().close_api()
    if output.as_json:
        output.document(found)
    else:
        output.line("the port is closed" if found["closed"] else "the port was not open")


@api.command("token")
@click.option("--new", is_flag=True, help="Make another token; the old one is dead at once.")
@json_option
@click.pass_obj
def token(output: Output, new: bool) -> None:
    """Print the token."""
    client = Client()
    found = client.renew_api_token() if new else client.api()
    if output.as_json:
        output.document(found)
        return
    if found["on"]:
        output.line(found["token"])
    elif new:
        output.note("the old token is dead; the port is closed")
    else:
        raise UsageError("the port is closed", hint="p2pvoice api on")


def show(output: Output, found: dict[str, Any]) -> None:
    """The addresses, for a person or a program."""
    if output.as_json:
        output.document(found)
        return
    if not found["on"]:
        output.line("the port is closed" + (f": {found['problem']}" if found["problem"] else ""))
        output.hint("p2pvoice api on")
        return
    output.pairs(
        [
            ("OpenAI", found["openai"]),
            ("GPT-SoVITS", found["url"]),
            ("token", found["token"]),
            ("without a header", found["capability_url"]),
            ("web pages", found["origins"]),
            ("voice", found["voice"]),
        ]
    )
    output.note("whoever has the token may speak with your voices: share neither it nor the last address")
