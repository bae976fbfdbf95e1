"""`bench`: how fast this machine speaks, what an update costs, what a fetch takes.

See specs/speed.md, specs/delta.md and specs/exchange.md.
"""

import click

from p2pvoice.cli.commands.bench_delta import delta
from p2pvoice.cli.commands.bench_fetch import fetch
from p2pvoice.cli.commands.bench_speak import speak


@click.group()
def bench() -> None:
    """Measure on this machine, beside what others do."""


bench.add_command(speak)
bench.add_command(delta)
bench.add_command(fetch)
