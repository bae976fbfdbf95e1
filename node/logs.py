"""The daemon's log: one JSON object a line in <home>/daemon.log.

Not for the user's eyes on a terminal: what a user must know is an error with a hint. Follows specs/home.md.
"""

import json
import logging
import time
from pathlib import Path

#: Size in bytes at which the log of earlier runs is put aside when a daemon starts.
ROTATE_AT = 4 << 20

#: What every record has; anything else was given by the caller and is worth writing.
_ORDINARY = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class JsonLines(logging.Formatter):
    """A record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "from": record.name.removeprefix("p2pvoice."),
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _ORDINARY}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def start_log(path: Path) -> None:
    """Send our own records, and the warnings of libraries, to the log file."""
    if path.exists() and path.stat().st_size > ROTATE_AT:
        path.replace(path.with_name(path.name + ".1"))
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("p2pvoice").setLevel(logging.INFO)
    # A peer that hangs up is an ordinary event here, and libp2p reports each one several times over.
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
