"""`demo`: the command around `p2pvoice.cli.demo`. Follows specs/cli.md."""

from pathlib import Path

import click

from p2pvoice.cli.output import Output, json_option


@click.command()
@click.option(
    "--into",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=Path(),
    help="Where the audio files go (default: the current folder).",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    help="Keep the three nodes' homes and logs in this folder, to look into them afterwards.",
)
@json_option
@click.pass_obj
def demo(output: Output, into: Path, keep: Path | None) -> None:
    """Run the whole path between three nodes on this machine.

    Starts three real daemons on loopback with temporary homes, publishes the voice that comes with p2pvoice
    from one, finds, fetches and updates it on another, hands it on to the third after the first has gone,
    and speaks Cantonese, Mandarin and English there. Nothing is left running and nothing touches your home.
    """
    from p2pvoice.cli.demo import run

    run(output, into, keep)
