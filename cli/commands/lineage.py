"""Where voices come from: `fork` makes one's own of a voice, `lineage` draws the graph of releases.

Follows specs/cli.md and specs/lineage.md.
"""

from pathlib import Path

import click

from p2pvoice.cli.commands.fetch import follow
from p2pvoice.cli.files import write_output
from p2pvoice.cli.output import Output, json_option, short_author, short_id, size
from p2pvoice.cli.tree import draw
from p2pvoice.cli.voices import VOICE, bare_tags, handle
from p2pvoice.node.rpc.client import Client
from p2pvoice.protocol.lineage import read_graph
from p2pvoice.protocol.lineage_svg import lineage_svg


@click.command()
@VOICE
@click.option("--name", required=True, help="A name for the draft and the voice.")
@click.option("--slug", help="The voice's name in references; made from the name when left out.")
@json_option
@click.pass_obj
def fork(output: Output, voice: str, name: str, slug: str | None) -> None:
    """Fork VOICE into a draft of your own that remembers where it came from.

    VOICE is fetched first when it is not here. The draft shares every chunk with it and proposes its
    licence, tags and description; `publish` refuses to loosen what VOICE forbids. A person's consent is for
    one author: whoever forks such a voice asks that person for another one.
    """
    result = follow(output, Client().fork(voice, name, slug=slug or ""))
    if output.as_json:
        return
    draft = str(result.get("draft", name))
    output.line(draft)
    author = short_author(str(result.get("parent_author", "")))
    output.note(
        f"forked from {handle({'release': result.get('parent')})} by {author}: "
        f"{size(result.get('bytes', 0))}, sharing every chunk"
    )
    proposed = f"proposed as its parent's: licence {result.get('license')}"
    if result.get("tags"):
        proposed += f", tags {bare_tags(result['tags'])}"
    if result.get("consent_inherited"):
        output.note(f"{proposed}, consent {result.get('consent')}")
        output.hint(f"p2pvoice publish {draft}")
    else:
        output.note(proposed)
        own = f"--consent {result.get('consent')}"
        output.hint(
            f"p2pvoice publish {draft} {own if result.get('own') else '--consent named --consent-file FILE'}"
        )


@click.command()
@VOICE
@click.option(
    "--svg",
    "picture",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the graph as an SVG picture; - for stdout.",
)
@click.option("--fetch", is_flag=True, help="Ask the network for ancestors that are not known here.")
@json_option
@click.pass_obj
def lineage(output: Output, voice: str, picture: Path | None, fetch: bool) -> None:
    """Draw the lineage of VOICE: what it was made from, and what is known to be made from it.

    Releases are listed with their authors and dates, each child above its parents, and with the kind of every
    connection: revision, forked, tuned, merged, distilled.
    """
    document = Client().lineage(voice, fetch=fetch)
    graph = read_graph(document)
    if picture is not None:
        write_output(picture, lineage_svg(graph).encode())
    if output.as_json:
        if str(picture) != "-":
            output.document(document)
        return
    if picture is not None:
        if str(picture) != "-":
            output.line(str(picture))
        return
    for line in draw(graph):
        output.line(line)
    if graph.truncated:
        output.note("more is known than is shown")
    unknown = [node for node in graph.nodes if not node.known and not node.revoked]
    if unknown and not fetch:
        output.hint(f"p2pvoice lineage {short_id(graph.focus)} --fetch   (asks peers for what is not known)")
