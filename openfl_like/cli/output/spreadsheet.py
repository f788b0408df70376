"""Rows as CSV that a spreadsheet takes for what they are: no text of somebody else's is a formula there."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from openfl_like.printable import harmless_cell


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Print rows as CSV on stdout; what has no column is left out.

    Args:
        columns: The heading.
        rows: The values by column; numbers stay as they are, also negative ones.
    """
    import sys

    write_csv(sys.stdout, columns, rows)


def write_csv(file: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as CSV like `print_csv`; headings are as harmless as values."""
    import csv

    writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
    writer.writerow({name: harmless_cell(name) for name in columns})
    writer.writerows({name: harmless_cell(value) for name, value in row.items()} for row in rows)


def utc(seconds: float) -> str:
    """Return a time that spreadsheets take for one, in UTC to the millisecond; empty for 0."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if seconds else ""
