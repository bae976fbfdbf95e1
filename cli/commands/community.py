"""What people say of a voice: `star`, `unstar`, `comment`, `log`; and `credits`, what an author has given.

Follows specs/cli.md and specs/community.md.
"""

from typing import Any

import click

from p2pvoice.cli.output import Output, date, json_option, printable, short_author, size
from p2pvoice.cli.said import (
    INDENT,
    count,
    headline,
    short_operation,
    thread,
    told,
    totals_line,
    words,
)
from p2pvoice.cli.voices import VOICE
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import UsageError

everything_option = click.option(
    "--all", "everything", is_flag=True, help="Also what others say: those whom you do not follow."
)
offline_option = click.option("--offline", is_flag=True, help="Only what is here; ask no peer.")

ALONE = "no peer that holds the voice was reached"
"""What is said when there may be more than is known here."""


@click.command()
@VOICE
@json_option
@click.pass_obj
def star(output: Output, voice: str) -> None:
    """Star a voice. Signed with your key and public; who follows you counts it."""
    _starred(output, Client().act(voice, "star"), "starred")


@click.command()
@VOICE
@json_option
@click.pass_obj
def unstar(output: Output, voice: str) -> None:
    """Take your star back."""
    _starred(output, Client().act(voice, "unstar"), "no longer starred:")


def _starred(output: Output, answer: dict[str, Any], verb: str) -> None:
    if output.as_json:
        output.document(answer)
        return
    if not answer["done"]:
        output.note(answer["nothing"])
    output.line(f"{verb if answer['done'] else 'as before:'} {answer['slug']}  {totals_line(answer)}")
    if answer["done"]:
        told(output, answer)


@click.command()
@click.argument("args", nargs=-1, metavar="[VOICE] [TEXT]")
@click.option("--reply", metavar="OP", help="Answer this comment, issue or proposal.")
@click.option("--edit", metavar="OP", help="Replace the text of what you wrote: comment --edit OP TEXT.")
@click.option("--retract", metavar="OP", help="Ask every reader to hide what you wrote.")
@everything_option
@offline_option
@json_option
@click.pass_obj
def comment(
    output: Output,
    args: tuple[str, ...],
    reply: str | None,
    edit: str | None,
    retract: str | None,
    everything: bool,
    offline: bool,
) -> None:
    """Comment on a voice, or without TEXT read what others say.

    What you say is signed and public, and stays in the log even when it is edited or retracted. OP is an
    operation's id or its beginning, as the thread shows it: `comment --reply OP TEXT` needs no VOICE.
    """
    client = Client()
    if sum(one is not None for one in (reply, edit, retract)) > 1:
        raise UsageError("one of --reply, --edit and --retract at a time", hint="p2pvoice comment --help")
    if retract is not None:
        _only(args, 0, "p2pvoice comment --retract OP")
        answer = client.act_on(retract, "retract")
    elif edit is not None:
        _only(args, 1, 'p2pvoice comment --edit OP "TEXT"')
        answer = client.act_on(edit, "edit", text=args[-1])
    elif reply is not None:
        if not 1 <= len(args) <= 2:
            raise UsageError("an answer needs a text", hint='p2pvoice comment VOICE "TEXT" --reply OP')
        answer = client.act_on(reply, "comment", text=args[-1])
    elif len(args) == 2:
        answer = client.act(args[0], "comment", text=args[1])
    elif len(args) == 1:
        found = client.said(args[0], "comments", sync=not offline)
        _read(output, found, args[0], everything=everything, offline=offline)
        return
    else:
        raise UsageError("say which voice, and what", hint='p2pvoice comment VOICE "TEXT"')
    said(output, answer)


def said(output: Output, answer: dict[str, Any]) -> None:
    """Print what became of an act: its operation, and whom it reached."""
    if output.as_json:
        output.document(answer)
        return
    if not answer["done"]:
        output.note(answer["nothing"])
        return
    output.line(short_operation(answer["operation"]))
    told(output, answer)


def _only(args: tuple[str, ...], number: int, usage: str) -> None:
    if len(args) != number:
        raise UsageError(
            "that takes an operation" + (" and a text" if number else " and no more"), hint=usage
        )


def _read(output: Output, found: dict[str, Any], voice: str, *, everything: bool, offline: bool) -> None:
    if output.as_json:
        output.document(found)
        return
    thread(output, found["comments"], everything=everything)
    if not found["comments"]:
        output.note(
            "no comments yet" if found["asked"] or offline else f"no comments are known here; {ALONE}"
        )
        output.hint(f'p2pvoice comment {voice} "…"')


@click.command()
@VOICE
@everything_option
@offline_option
@json_option
@click.pass_obj
def log(output: Output, voice: str, everything: bool, offline: bool) -> None:
    """Show what was said and done about a voice, the latest first.

    Peers that provide the voice are asked first. Shown is what its author says, those whom you follow, and
    you.
    """
    found = Client().said(voice, "log", everything=everything, sync=not offline)
    if output.as_json:
        output.document(found)
        return
    revoked = found.get("revoked")
    if revoked:
        output.line(f"revoked  {date(revoked.get('created')) or ''}  {printable(str(revoked['message']))}")
        return
    output.line(f"{found['slug']} by {short_author(found['author'])}  {totals_line(found)}")
    if not found["entries"] and not found["folded"] and not found["asked"] and not offline:
        output.note(ALONE)
    for row in found["entries"]:
        output.line("")
        output.line(headline(row, what(row)))
        for line in words(str(row.get("title") or "")) + words(str(row.get("text") or "")):
            output.line(line)
        if row.get("retracted"):
            output.line(INDENT + "(retracted)")
    if found["omitted"]:
        output.note(f"and {count(found['omitted'], 'earlier operation')}")
    if found["folded"]:
        output.note(f"and {count(found['folded'], 'operation')} by others; --all shows them")


def what(row: dict[str, Any]) -> str:
    """What an operation does, in a word or two."""
    parts = [printable(str(row["act"]))]
    if row.get("target"):
        parts.append(short_operation(row["target"]))
    parts += [str(row[key]) for key in ("verdict", "mode") if row.get(key)]
    parts += [f"+{printable(label)}" for label in row.get("add", ())]
    parts += [f"-{printable(label)}" for label in row.get("remove", ())]
    return " ".join(parts)


@click.command()
@click.argument("author", required=False, default="")
@json_option
@click.pass_obj
def credits(output: Output, author: str) -> None:
    """Count what an author has given, as far as this node can verify it; without AUTHOR, what you have.

    Voices by their signatures, merged proposals by the word of the voice's author, bytes by their hashes. It
    is this node's own count and no coin: another node, which knows more or less, counts otherwise.
    """
    found = Client().credits(author)
    if output.as_json:
        output.document(found)
        return
    merged, served = found["merged"], found["served"]
    rows: list[tuple[str, Any]] = [
        ("author", found["author"]),
        ("voices published", f"{found['voices']} ({count(found['releases'], 'release')})"),
        (
            "proposals merged",
            f"{merged['counted']} by authors you follow, {merged['others']} by others",
        ),
        ("kept here", count(found["mirrored"], "voice")),
        ("came here from", f"{count(served['peers'], 'peer')}, {size(served['bytes'])}"),
    ]
    if found["yours"]:
        all_of_them = found["served_by"]
        rows[-2:] = [
            ("mirrors kept", f"{count(found['mirrors'], 'voice')} of others"),
            ("served by", f"{count(all_of_them['peers'], 'peer')}, {size(all_of_them['bytes'])}"),
        ]
    output.pairs(rows)
