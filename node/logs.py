"""The daemon's log: one JSON object a line in <home>/daemon.log.

Not for the user's eyes on a terminal: what a user must know is an error with a hint. Follows specs/home.md.
"""

import json
import logging
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

#: Size in bytes at which the log is put aside as daemon.log.1, in place of the one before. Whatever peers
#: make us write, the two have at most twice this, and the longest record.
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


class Lines(logging.Formatter):
    """A record as a person reads it, when the daemon runs in the foreground."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {key: value for key, value in record.__dict__.items() if key not in _ORDINARY}
        told = "  ".join(
            f"{key} {' '.join(map(str, value)) if isinstance(value, list | tuple) else value}"
            for key, value in facts.items()
        )
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{clock} {level}{record.getMessage()}{'  ' + told if told else ''}"


def start_log(path: Path, *, foreground: bool = False, level: str = "info") -> None:
    """Send our own records and the libraries' warnings to the log file; in the foreground to stderr, too.

    ``level`` is the least of our own that are written: ``debug``, ``info``, ``warning`` or ``error``.
    """
    handler = RotatingFileHandler(path, maxBytes=ROTATE_AT, backupCount=1, encoding="utf-8")
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if foreground:
        terminal = logging.StreamHandler()
        terminal.setFormatter(Lines())
        root.addHandler(terminal)
    root.setLevel(logging.WARNING)
    logging.getLogger("p2pvoice").setLevel(level.upper())
    # A peer that hangs up is an ordinary event here, and libp2p reports each one several times over.
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
