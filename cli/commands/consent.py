"""`consent sign` and `consent show`: what a person says, signed with their own key, as a file for the author.

Signing asks the person's own daemon, which holds the key; showing reads the file here, without a daemon.
Follows specs/cli.md and specs/consent.md.
"""

import base64
import time
from pathlib import Path
from typing import Any

import click

from p2pvoice.cli.consent import expiry, words
from p2pvoice.cli.files import write_output
from p2pvoice.cli.output import Output, date, json_option, short_author
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.consent import SCOPES, SIGNED_LIMIT
from p2pvoice.protocol.consent_statement import verify_statement
from p2pvoice.protocol.errors import UsageError
from p2pvoice.protocol.ids import parse_author_id


@click.group()
def consent() -> None:
    """Sign a consent to an AI voice of yours, or show one."""


@consent.command()
@click.option("--author", required=True, help="Who may publish the voice: did:key:… of their `status`.")
@click.option("--name", required=True, help="Your name, as it will be published.")
@click.option("--voice", metavar="SLUG", help="Limit it to one voice of the author's.")
@click.option(
    "--scope", "scope", multiple=True, type=click.Choice(SCOPES), help="A use to allow beyond the ordinary."
)
@click.option("--clips-may-travel", is_flag=True, help="Let recordings of you be published with the voice.")
@click.option("--source", "sources", multiple=True, help="A recording that may be used; repeat for more.")
@click.option("--expires", metavar="2y|DATE", help="When it ends: a length of time (d, w, mo, y) or a date.")
@click.option("--statement", help="What you say, in your own words.")
@click.option("--lang", default="en", show_default=True, help="The language of your own words.")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("consent.p2pv"),
    show_default=True,
    help="Where to write it; - for stdout.",
)
@json_option
@click.pass_obj
def sign(
    output: Output,
    author: str,
    name: str,
    voice: str | None,
    scope: tuple[str, ...],
    clips_may_travel: bool,
    sources: tuple[str, ...],
    expires: str | None,
    statement: str | None,
    lang: str,
    target: Path,
) -> None:
    """Permit an author to publish an AI voice of yours.

    Run this on your own node: its author key signs, and whoever has that key can withdraw the consent. Give
    the file to the author. What you say in it is published with the voice.
    """
    parse_author_id(author)
    if not statement and lang != "en":
        raise UsageError("the words that are put in here are English", hint=f'--lang {lang} --statement "…"')
    said = statement or words(name, author, slug=voice, scope=scope, clips_may_travel=clips_may_travel)
    made = Client().sign_consent(
        {
            "author": author,
            "name": name,
            "slug": voice,
            "scope": list(scope),
            "clips_may_travel": clips_may_travel,
            "data_sources": list(sources),
            "statement": said,
            "language": lang,
            "expires": expiry(expires, time.time()) if expires else None,
        }
    )
    write_output(target, base64.b64decode(made.pop("consent")))
    if str(target) == "-":
        return
    if output.as_json:
        output.document({"file": str(target), **made})
        return
    output.line(str(target))
    output.note(f"signed by {made['subject']}: {made['statement']}")
    output.note(f"give the file to the author ({short_author(author)}); it is of use to nobody else")
    output.hint(f"p2pvoice publish DRAFT --consent named --consent-file {target}   (on the author's node)")


@consent.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def show(output: Output, file: Path) -> None:
    """Verify a consent in a FILE and show what it permits."""
    with file.open("rb") as opened:
        data = opened.read(SIGNED_LIMIT + 1)
    statement = verify_statement(data)
    expired = statement.expires is not None and statement.expires <= time.time()
    if output.as_json:
        output.document({"file": str(file), "expired": expired, **statement.facts()})
        return
    output.pairs(lines(statement.facts(), expired=expired))


def lines(said: dict[str, Any], *, expired: bool) -> list[tuple[str, Any]]:
    """A statement as aligned lines."""
    ends = date(said["expires"]) or "never"
    return [
        ("subject", said["subject_name"]),
        ("signed by", said["subject"]),
        ("author", said["author"]),
        ("voice", said["slug"] or "any of this author's"),
        ("AI voice", "permitted" if said["ai_voice_permission"] else "NOT permitted"),
        ("also allowed", " ".join(said["scope"]) or "nothing"),
        ("recordings", "may travel" if said["references_may_travel"] else "must not travel"),
        ("sources", said["data_sources"]),
        ("created", date(said["created"])),
        ("expires", f"{ends}{' (EXPIRED)' if expired else ''}"),
        ("in words", said["statement"]),
        ("language", said["language"]),
    ]
