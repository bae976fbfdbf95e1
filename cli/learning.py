"""How far a training has come, on stderr: stage, step, losses, held-out error and time to go.

One line that is rewritten on a terminal; anywhere else a line for each stage, look at held-out data, and
tenth of a stage. Nothing with `--json` or `--quiet`. Follows specs/cli.md.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import click

from p2pvoice.cli.output import Output, printable, seconds

Event = Mapping[str, Any]

STAGES = {
    "read": "reading the clips",
    "check": "checking the clips",
    "features": "listening to the clips",
    "teacher": "the voice reads sentences",
    "sovits": "learning how it sounds",
    "lite": "learning how it sounds",
    "gpt": "learning how it speaks",
    "write": "writing the voice",
    "judge": "judging it, before and after",
    "listen": "listening",
    "describe": "describing the speaker",
    "stability": "speaking, on many devices",
    "base": "unpacking the voice to start from",
    "similarity": "comparing speakers",
    "speak": "speaking the test sentences",
}
"""The worker's stages in words; a stage that is not here is shown as it is named."""

BAR_WIDTH = 20
"""Columns of a bar."""

TENTHS = 10
"""Lines that one stage may take where there is no terminal, beside its looks at held-out data."""

LOSSES = 3
"""Losses that one line has room for: the largest ones."""


class Learning:
    """Shows a training's progress until it is closed; a context manager, so that no bar stays behind."""

    def __init__(self, output: Output) -> None:
        self._silent = output.as_json or output.quiet
        self._terminal = sys.stderr.isatty() and not self._silent
        self._live: Any = None
        self._stage = ""
        self._told = -1
        self._held_out: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def follow(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pass the events on, showing those that are progress."""
        for event in events:
            if event.get("event") == "progress" and "step" in event:
                self.show(event)
            yield event

    def show(self, event: Event) -> None:
        """Show one progress event."""
        if self._silent:
            return
        stage = str(event.get("stage", ""))
        looked = event.get("held_out") is not None
        if looked:
            self._held_out = float(event["held_out"])
        begins = stage != self._stage
        if begins:
            self._stage, self._told = stage, -1
            self._held_out = float(event["held_out"]) if looked else None
        line = describe(event, self._held_out)
        if self._terminal:
            self._rewrite(line)
            return
        step, steps = int(event.get("step") or 0), int(event.get("steps") or 0)
        tenth = step * TENTHS // steps if steps else 0
        if begins or looked or tenth > self._told:
            self._told = max(self._told, tenth)
            click.echo(line, err=True)

    def _rewrite(self, line: str) -> None:
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, auto_refresh=False)
            self._live.start()
        from rich.text import Text

        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)


def describe(event: Event, held_out: float | None) -> str:
    """One progress event as a line."""
    stage = str(event.get("stage", ""))
    step, steps = int(event.get("step") or 0), int(event.get("steps") or 0)
    parts = [STAGES.get(stage, printable(stage))]
    if steps:
        filled = min(BAR_WIDTH, step * BAR_WIDTH // steps)
        parts[0] += f"  {'█' * filled}{'░' * (BAR_WIDTH - filled)} {step}/{steps}"
    elif step:
        parts[0] += f"  step {step}"
    losses = {name: value for name, value in (event.get("losses") or {}).items() if value is not None}
    if losses:
        shown = sorted(losses.items(), key=lambda pair: -abs(pair[1]))[:LOSSES]
        parts.append(" ".join(f"{printable(name)} {value:.3g}" for name, value in shown))
    if held_out is not None:
        parts.append(f"held-out {held_out:.4g}")
    left = event.get("seconds_left")
    if left:
        parts.append(f"{seconds(float(left))} to go")
    return "  ".join(parts)
