"""`open`: this node's page in the user's browser. Follows specs/cli.md and specs/page.md."""

import os
import sys

import click

from p2pvoice.cli.output import Output, json_option
from p2pvoice.node.rpc.client import Client


@click.command("open")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--new", is_flag=True, help="Give the page another address; the old one is dead.")
@click.option("--close", is_flag=True, help="Close the page.")
@json_option
@click.pass_obj
def open_page(output: Output, no_browser: bool, new: bool, close: bool) -> None:
    """Open this node's page in your browser.

    Whoever has the address may use the page, so it is for nobody but you. It is open until the daemon stops.
    """
    client = Client()
    if close:
        found = client.close_page()
        if output.as_json:
            output.document(found)
        else:
            output.line("the page is closed" if found["closed"] else "the page was not open")
        return
    url = str(client.open_page(new=new)["url"])
    started = not no_browser and not output.as_json and has_desktop() and show(url)
    if output.as_json:
        output.document({"url": url})
        return
    output.line(url)
    if started:
        output.note("it was opened in your browser")
    output.hint("p2pvoice open --close   (the address is a key to this node: share it with nobody)")


def has_desktop() -> bool:
    """Whether there is a screen for a browser with a window: a text browser would take the terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(url: str) -> bool:
    """Ask the user's browser to show an address; whether one was found."""
    # Costs 20 ms of import, paid by those who have a browser.
    import webbrowser

    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
