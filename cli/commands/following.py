"""Whom you follow: `follow`, `unfollow`, `following`. Follows specs/cli.md and specs/trust.md."""

import click

from p2pvoice.cli.output import Output, date, json_option, short_author
from p2pvoice.node.rpc.client import Client


@click.command("follow")
@click.argument("author")
@click.option("--name", help="Your own name for the author; only you see it.")
@json_option
@click.pass_obj
def follow_author(output: Output, author: str, name: str | None) -> None:
    """Follow an author: the key is then shown by your name for it, and moves with its owner.

    AUTHOR is an author id or an unambiguous beginning of one that is known here. Compare it with what the
    author gave you in another way: a name in the network proves nothing.
    """
    found = Client().follow(author, name)
    if output.as_json:
        output.document(found)
    else:
        output.line(f"following {called(found['name'], found['author'])}")


@click.command("unfollow")
@click.argument("author")
@json_option
@click.pass_obj
def unfollow(output: Output, author: str) -> None:
    """Unfollow an author, given as author id or by your name for it."""
    found = Client().unfollow(author)
    if output.as_json:
        output.document(found)
    else:
        output.line(f"no longer following {called(found['name'], found['author'])}")


@click.command("following")
@json_option
@click.pass_obj
def following(output: Output) -> None:
    """List the authors you follow; a new key of one is told of once."""
    client = Client()
    found = client.following()
    if output.as_json:
        output.document(found)
    else:
        if found["following"]:
            output.table(
                ["~NAME", "AUTHOR", "SINCE", "~NOTE"],
                [
                    [row["name"], row["author"], date(row["since"]) or "", note(row)]
                    for row in found["following"]
                ],
            )
        else:
            output.note("you follow nobody")
            output.hint("p2pvoice follow AUTHOR --name NAME")
        for move in found["moved"]:
            output.note(f"{called(move['name'], move['old'])} has a new key, {move['new']}")
    for move in found["moved"]:
        client.told_of_move(move["old"])


def note(row: dict[str, str]) -> str:
    """What happened to a followed key."""
    if row["fork"]:
        return f"named two successors; not believed: {short_author(row['fork'])}"
    return f"before: {short_author(row['moved_from'])}" if row["moved_from"] else ""


def called(name: str, author: str) -> str:
    """The user's name and the key."""
    return f"{name} {author}".strip()
