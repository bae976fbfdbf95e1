"""How people's words are printed: who said what, when, and what is folded.

For every command that shows comments, issues, proposals or a log. A stranger's text is printed line by line
without control characters, so that it can neither drive the terminal nor pass for our own lines: it is
indented. Follows specs/cli.md and specs/community.md.
"""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import click

from p2pvoice.cli.output import Output, date, printable, short_author

Row = Mapping[str, Any]

SHORT_OPERATION = 10
"""Characters of an operation's id that are shown: "op" and eight letters, which every command accepts."""

INDENT = "    "
"""What precedes somebody's words."""


def short_operation(operation: Any) -> str:
    """The beginning of an operation's id."""
    return str(operation or "")[:SHORT_OPERATION]


def who(row: Row) -> str:
    """The signer: *you*, the user's own name for a followed key, or a key marked unknown."""
    fingerprint = short_author(str(row.get("signer", "")))
    marks = ["you"] if row.get("yours") else []
    if not marks and row.get("followed"):
        marks = ["followed"]
    if row.get("owner"):
        marks.append("author")
    name = "" if row.get("yours") else printable(str(row.get("author_name") or ""))
    return f"{name} {fingerprint} ({', '.join(marks) or 'unknown'})".strip()


def headline(row: Row, *more: str) -> str:
    """One line on who said it and when."""
    edited = "edited" if row.get("edited") else ""
    parts = [short_operation(row.get("operation")), who(row), date(row.get("time")) or "", edited, *more]
    return "  ".join(part for part in parts if part)


def words(text: str, indent: str = INDENT) -> list[str]:
    """Somebody's words as indented lines."""
    return [textwrap.indent(printable(line), indent).rstrip() for line in text.split("\n")] if text else []


def thread(output: Output, rows: Iterable[Row], *, everything: bool) -> None:
    """Comments below each other, answers further in; what is folded is counted at the end."""
    rows = list(rows)
    for row in rows:
        if not (everything or row.get("shown")):
            continue
        depth = min(int(row.get("depth", 0)), 8)
        margin = INDENT * depth
        output.line(margin + click.style(headline(row), bold=bool(row.get("counted"))))
        said = ["(retracted)"] if row.get("retracted") else words(str(row.get("text", "")), "")
        for line in said:
            output.line(margin + INDENT + line)
    if not everything:
        fold(output, rows, "comment")


def fold(output: Output, rows: Iterable[Row], what: str) -> None:
    """Tell how much is not shown, and of how many people."""
    hidden = [row for row in rows if not row.get("shown") and not row.get("retracted")]
    if hidden:
        signers = len({row.get("signer") for row in hidden})
        output.note(f"and {count(len(hidden), what)} by {count(signers, 'other')}; --all shows them")


def count(number: int, what: str) -> str:
    """A number with its noun."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def told(output: Output, answer: Row) -> None:
    """Whom an act has reached."""
    peers = int(answer.get("told", 0))
    if peers:
        output.note(f"told {count(peers, 'peer')}")
    else:
        output.note("no peer that holds the voice was reached: it is told as soon as one is")


def totals_line(answer: Row) -> str:
    """Stars and what else there is, those of others beside them."""
    parts = []
    ours, others = answer.get("totals") or {}, answer.get("others") or {}
    for key, noun in (
        ("stars", "star"),
        ("comments", "comment"),
        ("issues_open", "open issue"),
        ("proposals_open", "open proposal"),
    ):
        mine, theirs = int(ours.get(key, 0)), int(others.get(key, 0))
        if mine or theirs:
            parts.append(count(mine, noun) + (f" (and {theirs} by others)" if theirs else ""))
    return ", ".join(parts) or "nothing was said of it yet"


def figures_line(voice: Row) -> str:
    """What the summary of an installed voice tells of it; "" while nothing was said."""
    totals = {key: voice.get(key, 0) for key in ("stars", "comments", "issues_open", "proposals_open")}
    others = {"stars": voice.get("stars_others", 0)}
    return (
        totals_line({"totals": totals, "others": others}) if any([*totals.values(), *others.values()]) else ""
    )
