"""Lists of voices: `collection new|edit|add|rm|show|list|publish|fetch|forget`.

A collection names releases and carries none; each voice keeps its own licence and consent. What a name means
is the daemon's to say. Follows specs/cli.md and specs/collections.md.
"""

from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.commands.fetch import follow
from p2pvoice.cli.commands.show import whose
from p2pvoice.cli.output import Output, date, json_option, printable, short_id, size
from p2pvoice.cli.voices import byline
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import P2PVoiceError, UsageError, from_dict

CARD_BYTES = 64 * 1024
"""Bytes of a card's file that are read; the card's own limit is checked by the daemon."""

NAME = click.argument("name")

VOICES = click.argument("voices", metavar="VOICE…", nargs=-1, required=True)

CARD = click.option(
    "--card",
    "card_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Markdown that says what the list is: whence, for what, how it was made.",
)

LICENSE = click.option(
    "--license", metavar="SPDX", help="Of the list itself (CC0-1.0 …); each voice keeps its own."
)


@click.group()
def collection() -> None:
    """Lists of voices with one card: an archive of a dialect, a set for research.

    NAME is a draft or a list that is kept here, or AUTHOR/SLUG.
    """


@collection.command()
@NAME
@click.option("--slug", help="The name in AUTHOR/SLUG; made of NAME otherwise.")
@CARD
@LICENSE
@json_option
@click.pass_obj
def new(output: Output, name: str, slug: str | None, card_file: Path | None, license: str | None) -> None:
    """Begin a list of your own; nobody sees it before it is published."""
    made = Client().new_collection(name, slug=slug or "", card=read_card(card_file), license=license or "")
    if output.as_json:
        output.document(made)
        return
    output.line(str(made["slug"]))
    output.hint(f"p2pvoice collection add {made['slug']} VOICE")


@collection.command()
@NAME
@click.option("--name", "new_name", help="Another display name; the slug stays.")
@CARD
@LICENSE
@json_option
@click.pass_obj
def edit(
    output: Output, name: str, new_name: str | None, card_file: Path | None, license: str | None
) -> None:
    """Change the name, the card or the licence of a list of your own."""
    body: dict[str, str] = {}
    if new_name is not None:
        body["name"] = new_name
    if card_file is not None:
        body["card"] = read_card(card_file)
    if license is not None:
        body["license"] = license
    if not body:
        raise UsageError("say what to change", hint="--name, --card or --license")
    changed(output, Client().change_collection(name, "edit", **body))


@collection.command()
@NAME
@VOICES
@click.option("--note", default="", help="What to say of these voices, in one line.")
@json_option
@click.pass_obj
def add(output: Output, name: str, voices: tuple[str, ...], note: str) -> None:
    """Add voices to a list of your own: each as the release that it is now."""
    changed(output, Client().change_collection(name, "add", voices=list(voices), note=note))


@collection.command()
@NAME
@VOICES
@json_option
@click.pass_obj
def rm(output: Output, name: str, voices: tuple[str, ...]) -> None:
    """Take voices out of a list of your own; the voices themselves stay."""
    changed(output, Client().change_collection(name, "remove", voices=list(voices)))


@collection.command()
@NAME
@json_option
@click.pass_obj
def show(output: Output, name: str) -> None:
    """Show a list: its card and its voices."""
    found = Client().collection(name)
    if output.as_json:
        output.document(found)
        return
    show_collection(output, found)
    if found["own"] and (found["pending"] or not found["published"]):
        output.hint(f"p2pvoice collection publish {found['slug']}")
    elif any(item["state"] != "here" for item in found["items"]):
        output.hint(f"p2pvoice collection fetch {found['author']}/{found['slug']}")
    elif found["items"]:
        output.hint(f"p2pvoice evaluate {found['slug']}")


@collection.command("list")
@json_option
@click.pass_obj
def list_collections(output: Output) -> None:
    """List your own lists and those you fetched."""
    rows = Client().collections()
    if output.as_json:
        output.document({"collections": rows})
        return
    if not rows:
        output.note("no collections yet")
        output.hint("p2pvoice collection new NAME")
        return
    output.table(
        ["SLUG", "~NAME", "AUTHOR", ">VOICES", "STATE"],
        [[row["slug"], row["name"], byline(row), str(row["voices"]), state_of(row)] for row in rows],
    )


@collection.command()
@NAME
@json_option
@click.pass_obj
def publish(output: Output, name: str) -> None:
    """Sign a list of your own and announce it. What is published is public, for ever.

    A changed list is published again in the same way, and takes the place of the one before.
    """
    result = follow(output, Client().publish_collection(name))
    if output.as_json:
        return
    output.line(f"{result['author']}/{result['slug']}")
    if not result["changed"]:
        output.note("nothing changed since it was published")
    output.note(f"list {result['sequence']}, {voices_of(result)}")
    if not result.get("announced"):
        output.note("the network has not heard of it yet: it is announced as soon as a peer connects")
    output.hint(f"p2pvoice collection fetch {result['author']}/{result['slug']}   (for others)")


@collection.command()
@click.argument("name", metavar="AUTHOR/SLUG")
@click.option("--voices/--no-voices", default=True, show_default=True, help="Fetch its voices, too.")
@click.option(
    "--seed/--no-seed", default=True, show_default=True, help="Offer the list and its voices to others."
)
@json_option
@click.pass_obj
def fetch(output: Output, name: str, voices: bool, seed: bool) -> None:
    """Fetch the newest list of that name, and its voices one after another.

    One that fails or was revoked does not stop the others. What came stays when you interrupt it; the same
    command goes on from there.
    """
    result = follow(output, Client().fetch_collection(name, voices=voices, seed=seed))
    failed = result.get("failed") or []
    if not output.as_json:
        output.line(f"{result['author']}/{result['slug']}")
        output.note(f"list {result['sequence']}, {voices_of(result)}")
        if voices:
            fetched, here = int(result["fetched"]), int(result["here"])
            output.note(f"{fetched} fetched ({size(result['bytes_fetched'])}), {here} here already")
            tell_failed(output, failed)
        output.hint(f"p2pvoice collection show {result['slug']}")
    raise_failed(failed, f"p2pvoice collection fetch {name}")


@collection.command()
@NAME
@json_option
@click.pass_obj
def forget(output: Output, name: str) -> None:
    """Forget a list, its draft too; its voices stay, and so does what others keep."""
    gone = Client().forget_collection(name)
    if output.as_json:
        output.document(gone)
        return
    output.line(f"{gone['author']}/{gone['slug']}")
    if gone["own"] and gone["published"]:
        output.note("what others fetched stays with them; an empty list, published, would have told them")


def changed(output: Output, found: dict[str, Any]) -> None:
    """What a change of a draft left."""
    if output.as_json:
        output.document(found)
        return
    output.line(str(found["slug"]))
    output.note(voices_of(found))
    output.hint(f"p2pvoice collection publish {found['slug']}")


def tell_failed(output: Output, failed: list[dict[str, Any]]) -> None:
    """The voices that did not come, and why."""
    for row in failed:
        error = row.get("error") or {}
        called = printable(str(row.get("name") or ""))
        message = printable(str(error.get("message", "")))
        output.note(f"{row['state']}: {short_id(row['release'])} {called}".rstrip() + f": {message}")


def raise_failed(failed: list[dict[str, Any]], again: str) -> None:
    """The error that a list ends with when some of it did not come; what was revoked is no failure."""
    errors = [from_dict(row["error"]) for row in failed if row["state"] != "revoked"]
    if errors:
        count = len(errors)
        first: P2PVoiceError = errors[0]
        raise type(first)(f"{count} voice{'s' if count != 1 else ''} did not come", hint=again)


def state_of(row: dict[str, Any]) -> str:
    """Where a list stands, in words."""
    if not row["published"]:
        return "draft"
    words = [f"list {row['sequence']}"]
    words += ["changed since"] if row["pending"] else []
    words += ["fork"] if row["fork"] else []
    words += ["not offered"] if not row["seed"] else []
    return ", ".join(words)


def voices_of(row: dict[str, Any]) -> str:
    """How many voices, in words."""
    count = int(row["voices"])
    return f"{count} voice{'s' if count != 1 else ''}"


def show_collection(output: Output, found: dict[str, Any]) -> None:
    """One list: facts, card, voices."""
    output.pairs(
        [
            ("name", found["name"]),
            ("author", f"{found['author']} ({whose(found)})"),
            ("slug", found["slug"]),
            ("state", state_of(found)),
            ("id", found["id"]),
            ("created", date(found["created"])),
            ("licence", f"{found['license']} (of the list)" if found["license"] else None),
        ]
    )
    if found["fork"]:
        output.note(f"warning: its author signed another list at this sequence, too: {found['fork']}")
    if found["moved_to"]:
        output.note(f"warning: its author gave this key up for {found['moved_to']}")
    if found["card"]:
        output.line()
        for line in found["card"].split("\n"):
            output.line(printable(line))
    if found["items"]:
        output.line()
        output.table(
            ["RELEASE", "~NAME", "AUTHOR", "LANG", "LICENCE", "STATE", "~NOTE"],
            [
                [
                    short_id(item["release"]),
                    str(item["name"] or ""),
                    byline(item) if item["author"] else "",
                    " ".join(item.get("languages", [])),
                    str(item.get("license", "")),
                    item["state"],
                    item["note"],
                ]
                for item in found["items"]
            ],
        )


def read_card(path: Path | None) -> str:
    """A card's text; UsageError for a file that is too large or no text."""
    if path is None:
        return ""
    with path.open("rb") as file:
        data = file.read(CARD_BYTES + 1)
    if len(data) > CARD_BYTES:
        raise UsageError(f"{path.name} is larger than {CARD_BYTES} bytes: too long for a card")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except UnicodeDecodeError:
        raise UsageError(f"{path.name} is not text in UTF-8") from None
