"""The author key: `key show|passphrase|unlock|lock|export|import|rotate`.

A passphrase is asked for on the terminal without echo, or read from a file or from stdin (`-`): never from
an argument, which every other user of the machine could read. Follows specs/cli.md and specs/keys.md.
"""

import base64
import os
import sys
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.commands.fetch import follow
from p2pvoice.cli.output import Output, date, json_option, short_author
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import UsageError

FILE_LIMIT = 4096
"""Bytes that are read of a passphrase file or a key file."""

passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the key's passphrase from a file's first line; - for stdin.",
)
new_passphrase_file = click.option(
    "--new-passphrase-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the new passphrase from a file's first line; - for stdin.",
)


def ask(source: Path | None, what: str, *, twice: bool = False) -> str:
    """A passphrase from a file or the terminal. UsageError when there is neither."""
    if source is not None:
        if str(source) == "-":
            line = sys.stdin.buffer.readline(FILE_LIMIT)
        else:
            with source.open("rb") as file:
                line = file.readline(FILE_LIMIT)
        try:
            found = line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UsageError(f"{source} is not UTF-8 text") from error
        if not found:
            raise UsageError(f"{source} holds no passphrase in its first line")
        return found
    if not sys.stdin.isatty():
        raise UsageError(
            f"{what} is asked for on a terminal, and this is none",
            hint="--passphrase-file FILE or --new-passphrase-file FILE",
        )
    return str(click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))


def current(client: Client, source: Path | None) -> str:
    """The passphrase of this home's key; "" when it has none."""
    return ask(source, "Passphrase of the author key") if client.key()["passphrase"] else ""


def state(found: dict[str, Any]) -> str:
    """Whether the key is locked, in words."""
    if not found["passphrase"]:
        return "open, without a passphrase"
    return "locked" if found["locked"] else "unlocked, until it is locked or the daemon ends"


@click.group()
def key() -> None:
    """Show, lock, export, import or rotate your author key."""


@key.command("show")
@json_option
@click.pass_obj
def show(output: Output) -> None:
    """Show your author id and whether the key is locked."""
    found = Client().key()
    if output.as_json:
        output.document(found)
        return
    waiting = found["heads_waiting"]
    output.pairs(
        [
            ("author", found["author"]),
            ("fingerprint", short_author(found["author"])),
            ("peer id", found["peer_id"]),
            ("key", state(found)),
            ("waiting", f"{waiting} heads, valid until {date(found['heads_expire'])}" if waiting else None),
            ("before", found["former"]),
            ("fork", [f"{author} has a second successor" for author in found["forks"]]),
        ]
    )
    output.note("a lost key cannot be replaced: keep an exported copy on another disk")
    output.hint("p2pvoice key unlock" if found["locked"] else "p2pvoice key export FILE")


@key.command("passphrase")
@passphrase_file
@new_passphrase_file
@click.option("--remove", is_flag=True, help="Take the passphrase away: the key then lies bare on the disk.")
@json_option
@click.pass_obj
def passphrase(
    output: Output, passphrase_file: Path | None, new_passphrase_file: Path | None, remove: bool
) -> None:
    """Set, change or remove the passphrase of your author key."""
    client = Client()
    now = current(client, passphrase_file)
    new = "" if remove else ask(new_passphrase_file, "New passphrase", twice=True)
    tell(output, client.change_key("passphrase", passphrase=now, new=new, remove=remove))
    if not remove:
        output.note("after a restart the daemon cannot sign until: p2pvoice key unlock")


@key.command("unlock")
@passphrase_file
@json_option
@click.pass_obj
def unlock(output: Output, passphrase_file: Path | None) -> None:
    """Unlock your author key until it is locked or the daemon ends."""
    tell(output, Client().change_key("unlock", passphrase=ask(passphrase_file, "Passphrase")))


@key.command("lock")
@json_option
@click.pass_obj
def lock(output: Output) -> None:
    """Lock your author key: the daemon forgets it."""
    tell(output, Client().change_key("lock"))


def tell(output: Output, found: dict[str, Any]) -> None:
    """What became of the key."""
    if output.as_json:
        output.document(found)
    else:
        output.line(f"{short_author(found['author'])}: {state(found)}")


@key.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--plain", is_flag=True, help="Without a passphrase: whoever reads the file can sign as you.")
@passphrase_file
@new_passphrase_file
@json_option
@click.pass_obj
def export(
    output: Output, file: Path, plain: bool, passphrase_file: Path | None, new_passphrase_file: Path | None
) -> None:
    """Write your author key to FILE, sealed under a passphrase of its own.

    The peer key stays here: another device has its own.
    """
    if file.exists():
        raise UsageError(f"{file} exists already", hint="choose another name: keys are not overwritten")
    client = Client()
    now = current(client, passphrase_file)
    new = "" if plain else ask(new_passphrase_file, "Passphrase for the file", twice=True)
    answer = client.change_key("export", passphrase=now, new=new, plain=plain)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(base64.b64decode(answer["key"]))
        opened.flush()
        os.fsync(opened.fileno())
    if output.as_json:
        output.document({"author": answer["author"], "file": str(file), "sealed": not plain})
        return
    output.line(str(file))
    output.note("keep it where this disk's failure does not reach, and the passphrase somewhere else")
    output.hint(f"p2pvoice key import {file}   (on the other device)")


@key.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Even when this home has published under another key.")
@passphrase_file
@json_option
@click.pass_obj
def import_key(output: Output, file: Path, replace: bool, passphrase_file: Path | None) -> None:
    """Put an exported author key into this home; the key that was here is kept aside."""
    with file.open("rb") as opened:
        data = opened.read(FILE_LIMIT)
    sealed = data.startswith(b"p2pvkey\0")
    words = ask(passphrase_file, "Passphrase of the file") if sealed else ""
    answer = Client().change_key(
        "import", key=base64.b64encode(data[:300]).decode(), passphrase=words, replace=replace
    )
    if output.as_json:
        output.document(answer)
        return
    output.line(answer["author"])
    if answer["kept"]:
        output.note(f"the key that was here is kept in {answer['kept']}")
    output.hint("p2pvoice update   (so that a release published here counts on from the newest)")


@key.command("rotate")
@click.option("--reason", default="", help="A word to those who follow you; it is public.")
@passphrase_file
@json_option
@click.pass_obj
def rotate(output: Output, reason: str, passphrase_file: Path | None) -> None:
    """Give your author key up for a new one, and tell the network which.

    Your voices are published again under the new key. Export the new key afterwards.
    """
    client = Client()
    words = current(client, passphrase_file)
    result = follow(output, client.rotate_key(passphrase=words, reason=reason))
    if output.as_json:
        return
    output.line(result["new"])
    for voice in result["voices"]:
        output.note(f"{voice['slug']} is now {voice['release']}")
    if not result["announced"]:
        output.note("no peer has heard of it yet: the daemon announces it as soon as one is there")
    output.hint("p2pvoice key export FILE   (an older copy does not hold the new key)")
