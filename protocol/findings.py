"""What a check of a node found, in a form that daemon and command line share.

Only the row: what is checked stands in node/checkup.py and cli/checkup.py. Follows specs/doctor.md.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One row: what was checked, how it stands, what was found, and what to do (empty when nothing is)."""

    check: str
    state: State
    finding: str
    todo: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The row as `--json` and the RPC show it."""
        return asdict(self)
