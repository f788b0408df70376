"""Tables for people: nothing of a row is cut, however narrow the terminal is."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from openfl_like.cli.output.colours import colour_of

if TYPE_CHECKING:
    from rich.table import Table

Cells = Sequence[Sequence[str]]
GAP = 2
"""Blanks between two columns."""


def narrowest(columns: Sequence[str], cells: Cells) -> int:
    """Return how wide a table is whose cells are wrapped between words as often as can be."""
    return sum(_longest_words(columns, cells)) + GAP * (len(columns) - 1)


def plain(columns: Sequence[str], cells: Cells) -> Iterator[str]:
    """Give a line for the heading and one for each row."""
    widths = [max(len(column), *(len(row[place]) for row in cells)) for place, column in enumerate(columns)]
    for row in [columns, *cells]:
        yield (" " * GAP).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def blocks(columns: Sequence[str], cells: Cells) -> Iterator[str]:
    """Give a block of lines for each row, one for each value that it has."""
    width = max(map(len, columns))
    for place, row in enumerate(cells):
        if place:
            yield ""
        for column, cell in zip(columns, row, strict=True):
            if cell:
                yield f"{column:<{width}}  {cell}"


def wrapped(columns: Sequence[str], cells: Cells) -> "Table":
    """Return a table for a terminal: cells are wrapped between words where it is too narrow; states have colours."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for column, width in zip(columns, _longest_words(columns, cells), strict=True):
        table.add_column(column, min_width=width, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=colour_of(cell)) for cell in row))
    return table


def _longest_words(columns: Sequence[str], cells: Cells) -> list[int]:
    return [
        max(len(word) for text in (column, *(row[place] for row in cells)) for word in text.split() or [""])
        for place, column in enumerate(columns)
    ]
