"""How far a long operation has come: a bar on a terminal, a few milestone lines anywhere else.

The daemon's streams say `{"event": "progress", …}`; this turns them into something to look at, on stderr.
It never writes data. With `--json` or `--quiet` it shows nothing. Follows specs/cli.md.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from p2pvoice.cli.output import Output, size

Event = Mapping[str, Any]

MILESTONES = 4
"""Lines that one file or step may take where there is no terminal: every 25 %, and the end."""


BAR_WIDTH = 24
"""Columns of a bar."""

STAGES = {
    "read": "reading the files",
    "listen": "listening to the clip",
    "convert": "converting",
    "check": "checking every number",
    "load": "loading the voice",
    "compare": "comparing tensors",
    "merge": "merging tensors",
    "samples": "speaking the same sentences",
    "judge": "measuring what was said",
    "clips": "speaking clips in the place of the recordings",
}
"""The worker's stages in words; a stage that is not here is shown as it is named."""


class Progress:
    """Shows progress events until it is closed; a context manager, so that a bar never stays behind."""

    def __init__(self, output: Output) -> None:
        self._silent = output.as_json or output.quiet
        self._terminal = sys.stderr.isatty() and not self._silent
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._told: dict[str, int] = {}
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def follow(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pass the events on, showing those that are progress."""
        for event in events:
            if event.get("event") == "progress":
                self.show(event)
            yield event

    def show(self, event: Event) -> None:
        """Show one progress event: a step, and how much of how much if it says so."""
        if self._silent:
            return
        # A fetch counts over all its files, whichever it is at: that is one bar, not one a file.
        label = str(event.get("step") or event.get("stage") or ("fetching" if "file" in event else "working"))
        label = STAGES.get(label, label)
        have, total = event.get("have"), event.get("total")
        counted = isinstance(have, (int, float)) and isinstance(total, (int, float)) and total > 0
        if self._terminal:
            self._bar(label, have if counted else None, total if counted else None)
        else:
            self._milestone(label, have if counted else None, total if counted else None)

    def sending(self, path: Path) -> Callable[[int], None]:
        """A callback for an upload of this file: it is told how many bytes went."""
        total = path.stat().st_size
        return lambda sent: self.show({"step": f"sending {path.name}", "have": sent, "total": total})

    def _bar(self, label: str, have: Any, total: Any) -> None:
        if self._bars is None:
            from rich import progress
            from rich.console import Console

            self._bars = progress.Progress(
                progress.SpinnerColumn(finished_text=" "),
                progress.TextColumn("{task.description}", markup=False),
                progress.TextColumn("{task.fields[amount]}", markup=False),
                progress.TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bars.start()
        bar = amount = ""
        if total:
            filled = int(have * BAR_WIDTH // total)
            bar, amount = "█" * filled + "░" * (BAR_WIDTH - filled), f"{size(have)} of {size(total)}"
        elif self._tasks and label not in self._tasks:
            # A step without figures begins when the one before it has ended.
            for task in self._tasks.values():
                self._bars.update(task, completed=1, total=1)
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=None, amount="")
        self._bars.update(
            self._tasks[label],
            amount=f"{bar} {amount}",
            total=1 if total == have and total else None,
            completed=1 if total == have and total else 0,
        )

    def _milestone(self, label: str, have: Any, total: Any) -> None:
        if total is None:
            if label not in self._told:
                self._told[label] = MILESTONES
                click.echo(label, err=True)
            return
        reached = int(have * MILESTONES // total)
        line = f"{label}: {size(have)} of {size(total)}"
        if reached > self._told.get(label, -1):
            self._told[label] = reached
            if line != self._last:
                click.echo(line, err=True)
            self._last = line
