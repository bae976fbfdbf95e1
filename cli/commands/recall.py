"""Calling a voice back: `revoke`, and `revocations`, which lists what was.

Follows specs/cli.md and specs/recall.md.
"""

import sys
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.commands.fetch import follow
from p2pvoice.cli.commands.keys import ask, passphrase_file
from p2pvoice.cli.output import Output, date, json_option, short_author, short_id
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import PassphraseError, RevokedError, UsageError, from_dict

WARNING = (
    "A revocation cannot be taken back. Nodes that hear of it stop finding, fetching, speaking and serving "
    "the voice; copies whose nodes never hear of it stay."
)
"""What is said before a person confirms."""

PASSPHRASE = "Passphrase of your former key"
"""What is asked for when the key that signs was given up and lies sealed."""

BY = {"author": "its author", "subject": "the person whose voice it is"}
"""Who may revoke, in words."""


@click.command()
@click.argument("voice")
@click.option("--all", "whole", is_flag=True, help="Every release of the voice, also those to come.")
@click.option("--reason", default="", help="What others are told, in one line.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@passphrase_file
@json_option
@click.pass_obj
def revoke(
    output: Output, voice: str, whole: bool, reason: str, yes: bool, passphrase_file: Path | None
) -> None:
    """Call a release back, or with --all the whole voice.

    The author can, and so can the person whose key signed the consent. It cannot be taken back, and what
    others hold cannot be reached: nodes that hear of it stop, the rest go on. What was published under a
    former key is revoked with that one, which asks for its passphrase when it has one.
    """
    if not yes:
        confirm(output, voice, whole)
    client = Client()
    words = ask(passphrase_file, PASSPHRASE) if passphrase_file is not None else ""
    try:
        result = follow(output, client.revoke(voice, whole=whole, reason=reason, passphrase=words))
    except PassphraseError:
        # Which key signs only the daemon knows, so nobody is asked before it says that one is sealed.
        if words or not sys.stdin.isatty():
            raise
        words = ask(None, PASSPHRASE)
        result = follow(output, client.revoke(voice, whole=whole, reason=reason, passphrase=words))
    if output.as_json:
        return
    output.line(str(result.get("revoked", "")))
    what = "the whole voice " if whole else ""
    told = int(result.get("told", 0))
    output.note(f"revoked {what}{result.get('slug')}; told {told} peer{'s' if told != 1 else ''}")
    if result.get("announced") is False:
        output.note("the network has not heard of it yet: it is announced again as soon as a peer connects")
    output.note("a copy whose node never hears of it goes on")
    output.hint("p2pvoice revocations")


def confirm(output: Output, voice: str, whole: bool) -> None:
    """Ask the person at the terminal; UsageError where there is none."""
    command = f"p2pvoice revoke {voice}{' --all' if whole else ''} --yes"
    if output.as_json or not sys.stdin.isatty():
        raise UsageError("a revocation cannot be taken back: say --yes", hint=command)
    click.echo(WARNING, err=True)
    click.confirm(f"Revoke {'the whole voice of ' if whole else ''}{voice}?", abort=True, err=True)


@click.command()
@json_option
@click.pass_obj
def revocations(output: Output) -> None:
    """List what was revoked, as far as this node knows: by whom, when and why."""
    rows = Client().revocations()
    if output.as_json:
        output.document({"revocations": rows})
        return
    if not rows:
        output.note("nothing that this node knows of was revoked")
        return
    output.table(
        ["RELEASE", "~NAME", "AUTHOR", "REVOKED BY", "ON", "~REASON"],
        [
            [
                short_id(row["release"]) if row["release"] else "all",
                str(row["name"] or row["slug"]),
                short_author(row["author"]),
                "you" if row["own"] else f"{BY[row['by']]} {short_author(row['signer'])}",
                date(row["created"]) or "",
                row["reason"],
            ]
            for row in rows
        ],
    )


def show_revoked(output: Output, voice: dict[str, Any]) -> None:
    """The tombstone that `show` found, and then the error it stands for."""
    output.pairs(
        [
            ("name", voice.get("name")),
            ("release", voice.get("release")),
            ("author", voice.get("author")),
            ("slug", voice.get("slug")),
            ("revoked", "the whole voice" if voice.get("all") else "this release"),
            ("by", f"{BY.get(str(voice.get('by')), '')}, {voice.get('signer')}"),
            ("on", date(voice.get("created"))),
            ("reason", voice.get("reason")),
        ]
    )


def refuse_revoked(voice: dict[str, Any]) -> None:
    """RevokedError when what `show` answered is a tombstone."""
    revoked = voice.get("revoked")
    if revoked:
        raise from_dict(revoked) if revoked.get("code") == RevokedError.code else RevokedError()
