"""Tables for researchers: rows as CSV, or as Parquet where pandas and pyarrow are.

A file appears whole or not at all. Texts in CSV are made harmless: what a spreadsheet would take for a
formula gets an apostrophe, because names and notes are strangers' words. Follows specs/collections.md.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2pvoice.cli.files import write_output
from p2pvoice.protocol.errors import UsageError

Row = Mapping[str, Any]

FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""Beginnings of a text that some spreadsheet computes, or cuts off to find such a beginning."""

PARQUET = ".parquet"
"""The ending of a file that is written as Parquet; every other one is CSV."""

INSTALL = "pip install 'p2pvoice[tables]'"
"""The command that brings what Parquet needs."""


def check_target(target: Path) -> None:
    """UsageError for a Parquet file without what writes one; asked before hours of work, not after."""
    if target.suffix.lower() == PARQUET:
        _pandas()


def write_table(target: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows with these columns, in the form that the file's name says; ``-`` is CSV on stdout.

    Raises UsageError when Parquet's packages are missing, OSError when the file cannot be written.
    """
    if target.suffix.lower() == PARQUET:
        write_output(target, _parquet(columns, rows))
    else:
        write_output(target, csv_text(columns, rows).encode())


def csv_text(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """The rows as CSV (RFC 4180): a head line, empty cells for None, numbers with a point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(row.get(column)) for column in columns])
    return text.getvalue()


def cell(value: Any) -> Any:
    """A value as it may stand in CSV; only texts can be formulas, a negative number is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    text = str(value)
    return "'" + text if text.startswith(FORMULA) else text


def _parquet(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    pandas = _pandas()
    frame = pandas.DataFrame([[row.get(column) for column in columns] for row in rows], columns=list(columns))
    # Whole numbers with gaps stay whole numbers, instead of becoming floating-point ones.
    return bytes(frame.convert_dtypes().to_parquet(index=False, engine="pyarrow"))


def _pandas() -> Any:
    try:
        import pandas
        import pyarrow  # noqa: F401 - pandas writes with it
    except ImportError as error:
        raise UsageError(
            f"Parquet needs a package that is not installed: {error.name}",
            hint=f"{INSTALL}, or a file that ends in .csv",
        ) from error
    return pandas
