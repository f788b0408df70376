"""Tables for people: nothing of a row is cut, however narrow the terminal is."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from openfl_like.cli.output.colours import colour_of

if TYPE_CHECKING:
    from rich.table import Table

Cells = Sequence[Sequence[str]]
GAP = 2
"""Blanks between two columns."""
PROSE = {"reason": 16}
"""Columns of sentences -> how wide they are at least: in them a long word may be broken, an id never is elsewhere."""

READABLE = 32
"""So wide a column of sentences stays while others have more room than they need."""


def fitting(columns: Sequence[str], cells: Cells, width: int) -> list[int] | None:
    """Return the widths of the columns of a table that is not wider than that; None if it would break an id.

    Columns of sentences give way first, then the widest.
    """
    widths = [max(len(column), *(len(row[place]) for row in cells)) for place, column in enumerate(columns)]
    least = [_least(column, [row[place] for row in cells]) for place, column in enumerate(columns)]
    room = width - GAP * (len(columns) - 1)
    while sum(widths) > room:
        loose = [place for place, least_width in enumerate(least) if widths[place] > least_width]
        if not loose:
            return None
        gives_way = max(loose, key=lambda place: (columns[place] in PROSE and widths[place] > READABLE, widths[place]))
        widths[gives_way] -= 1
    return _tightened(columns, cells, widths)


def _tightened(columns: Sequence[str], cells: Cells, widths: Sequence[int]) -> list[int]:
    """Give what wrapped cells leave free to the last column: sentences are there."""
    used = [
        max(
            len(line) for text in (columns[place], *(row[place] for row in cells)) for line in wrap(text, width) or [""]
        )
        for place, width in enumerate(widths)
    ]
    return [*used[:-1], widths[-1] + sum(widths[:-1]) - sum(used[:-1])]


def _least(column: str, texts: Sequence[str]) -> int:
    """How narrow a column can be."""
    longest = max(len(word) for text in (column, *texts) for word in text.split() or [""])
    return min(longest, PROSE.get(column, longest))


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


def wrapped(columns: Sequence[str], cells: Cells, widths: Sequence[int]) -> "Table":
    """Return a table for a terminal, with cells wrapped between words; states have colours."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=colour_of(cell)) for cell in row))
    return table
