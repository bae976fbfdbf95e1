"""Issues of a voice: `issue open`, `list`, `show`, `close`, `reopen`, `label`.

Follows specs/cli.md and specs/community.md.
"""

from typing import Any

import click

from p2pvoice.cli.commands.community import everything_option, offline_option, said
from p2pvoice.cli.output import Output, date, json_option, printable
from p2pvoice.cli.said import fold, headline, short_operation, thread, who, words
from p2pvoice.cli.voices import VOICE
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.errors import NotFoundError, UsageError

OPERATION = click.argument("operation", metavar="OP")
message_option = click.option("-m", "--message", default="", help="The text.")


@click.group()
def issue() -> None:
    """Open, list, show, label and close issues of a voice. OP is an issue's id or its beginning."""


@issue.command("open")
@VOICE
@click.argument("title")
@message_option
@json_option
@click.pass_obj
def open_issue(output: Output, voice: str, title: str, message: str) -> None:
    """Open an issue: something is wrong with the voice, or could be better."""
    said(output, Client().act(voice, "issue", title=title, text=message))


@issue.command("list")
@VOICE
@click.option("--closed", is_flag=True, help="Also those that are closed.")
@everything_option
@offline_option
@json_option
@click.pass_obj
def list_issues(output: Output, voice: str, closed: bool, everything: bool, offline: bool) -> None:
    """List the open issues of a voice, the newest first."""
    found = Client().said(voice, "issues", sync=not offline)
    if output.as_json:
        output.document(found)
        return
    rows = [row for row in found["issues"] if closed or row["state"] == "open"]
    shown = [row for row in rows if everything or row["shown"]]
    if shown:
        output.table(
            ["OP", "STATE", "~TITLE", "~LABELS", ">COMMENTS", "BY", "OPENED"],
            [
                [
                    short_operation(row["operation"]),
                    row["state"],
                    row["title"],
                    " ".join(row["labels"]),
                    str(row["comments"]),
                    who(row),
                    date(row["time"]) or "",
                ]
                for row in shown
            ],
        )
    else:
        output.note("no open issues" if not closed else "no issues")
    if not everything:
        fold(output, rows, "issue")
    done = sum(row["state"] == "closed" for row in found["issues"])
    if done and not closed:
        output.note(f"{done} closed; --closed shows them")
    if not found["issues"]:
        output.hint(f'p2pvoice issue open {voice} "…"')


@issue.command("show")
@OPERATION
@everything_option
@json_option
@click.pass_obj
def show_issue(output: Output, operation: str, everything: bool) -> None:
    """Show an issue and what was said about it."""
    found = Client().operation(operation)
    if "issue" not in found:
        raise NotFoundError(f"{operation} is no issue", hint="p2pvoice issue list VOICE")
    if output.as_json:
        output.document(found)
        return
    row: dict[str, Any] = found["issue"]
    output.line(click.style(printable(row["title"]) or "(retracted)", bold=True))
    output.line(headline(row, row["state"], " ".join(printable(label) for label in row["labels"])))
    for line in words(row["text"]):
        output.line(line)
    if row["closed"]:
        output.line(f"closed by {who(row['closed'])}  {date(row['closed']['time']) or ''}")
        for line in words(row["closed"]["reason"]):
            output.line(line)
    if found["comments"]:
        output.line("")
        thread(output, found["comments"], everything=everything)
    output.hint(f'p2pvoice comment --reply {short_operation(row["operation"])} "…"')


@issue.command("close")
@OPERATION
@message_option
@json_option
@click.pass_obj
def close_issue(output: Output, operation: str, message: str) -> None:
    """Close an issue: the voice's author and who opened it can."""
    said(output, Client().act_on(operation, "close", text=message))


@issue.command("reopen")
@OPERATION
@message_option
@json_option
@click.pass_obj
def reopen_issue(output: Output, operation: str, message: str) -> None:
    """Open a closed issue again."""
    said(output, Client().act_on(operation, "reopen", text=message))


@issue.command("label", context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@OPERATION
@click.argument("labels", nargs=-1, metavar="+LABEL -LABEL…")
@json_option
@click.pass_obj
def label_issue(output: Output, operation: str, labels: tuple[str, ...]) -> None:
    """Put labels on an issue and take others off: `issue label OP +bug -question`."""
    wrong = [label for label in labels if label[:1] not in "+-" or len(label) < 2]
    if wrong or not labels:
        raise UsageError(
            "say +LABEL to put one on and -LABEL to take one off", hint="p2pvoice issue label OP +bug"
        )
    add = [label[1:] for label in labels if label[0] == "+"]
    remove = [label[1:] for label in labels if label[0] == "-"]
    said(output, Client().act_on(operation, "label", add=add, remove=remove))
