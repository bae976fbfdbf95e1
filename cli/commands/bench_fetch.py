"""`p2pvoice bench fetch`: what a fetch takes between two daemons, beside what others take for the same."""

from typing import Any

import click

from p2pvoice.cli.output import Output, json_option, size

RIVALS = ("libtorrent", "js", "stock")


@click.command()
@click.option(
    "--mib", type=click.IntRange(8, 1024), default=512, show_default=True, help="Size of the file, in MiB."
)
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Fetches by each contestant."
)
@click.option(
    "--against",
    multiple=True,
    type=click.Choice(RIVALS),
    help="libtorrent (from PyPI), js (js-libp2p; Node and npm), stock (our daemons on libp2p's wire).",
)
@click.option("--deltas", is_flag=True, help="Fetch the step from one release to the next.")
@json_option
@click.pass_obj
def fetch(output: Output, mib: int, rounds: int, against: tuple[str, ...], deltas: bool) -> None:
    """Fetch made-up weights between two daemons of a temporary home each, on loopback.

    Counted are time and CPU from the request until every byte is verified and on disk; the check of the
    tensors that follows is told of by itself. With --against others move the same file in the same run.
    """
    from p2pvoice.cli.fetch_bench import compare

    found = compare(mib, rounds, against, deltas, lambda text: output.note(f"{text} …"))
    if output.as_json:
        output.document(found)
        return
    machine = f"{found['cores']} cores, load {found['load']:.1f}"
    output.line(f"{mib} MiB, {rounds} rounds, {machine}; least / median")
    columns = ["contestant", ">CPU-s/GB", ">fetching", ">serving", ">MB/s"]
    columns += [">own CPU", ">goal", ">own time", ">memory"]
    output.table(columns, rows(found))
    for line in remarks(found):
        output.line(line)


def rows(found: dict[str, Any]) -> list[list[str]]:
    """A row for each contestant: least and median, and ours as a share of it."""
    made = []
    for name, one in found["summary"].items():
        own = name == "own"
        made.append(
            [
                name,
                _pair(one["cpu_per_gb"], 2),
                _pair(one["fetching_per_gb"], 2),
                _pair(one["serving_per_gb"], 2),
                _pair([1000 / seconds for seconds in one["wall_per_gb"]], 0),
                "" if own else _pair(one["own_cpu_per_gb_ratio"], 2),
                "" if own or "goal" not in one else f"{one['goal']:.2f}",
                "" if own else _pair(one["own_wall_per_gb_ratio"], 2),
                size(one["peak"]),
            ]
        )
    return made


def remarks(found: dict[str, Any]) -> list[str]:
    """What the table does not say."""
    own = [run for run in found["runs"] if run["contestant"] == "own"]
    sent = own[0]["wire"]
    lines = [
        f"own: {size(sent)} were sent for {size(own[0]['size'])};"
        f" the check afterwards took {min(run['admission'] for run in own):.1f} s,"
        f" {min(run['admission_cpu'] + run['workers_cpu'] for run in own):.1f} CPU-s (daemon and worker)",
        "CPU-s/GB is of the busier side; memory is the fetching process's largest resident size, of daemons"
        f" over their whole life (goal: {size(found['memory_goal'])})",
    ]
    lines += [f"{name}: {_plain(told)}" for name, told in found["settings"].items()]
    return [*lines, *(f"{name}: not compared: {why}" for name, why in found["skipped"].items())]


def _plain(told: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in told.items() if not isinstance(value, list | tuple))


def _pair(values: list[float], digits: int) -> str:
    return f"{values[0]:.{digits}f} / {values[1]:.{digits}f}"
