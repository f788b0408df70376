"""Tables for people: nothing of a row is cut, however narrow the terminal is."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, zip_longest
from textwrap import TextWrapper, wrap
from typing import TYPE_CHECKING

from openfl_like.cli.output.colours import colour_of

if TYPE_CHECKING:
    from rich.text import Text

Cells = Sequence[Sequence[str]]
GAP = 2
"""Blanks between two columns, and before what stands below a row."""


def plain(columns: Sequence[str], cells: Cells) -> Iterator[str]:
    """Give a line for the heading and one for each row."""
    widths = _widths(columns, cells)
    for row in [columns, *cells]:
        yield _line(row, widths)


def on_terminal(columns: Sequence[str], cells: Cells, width: int) -> "Iterator[Text]":
    """Give the lines of a table for a terminal so wide, with states in colour.

    As many columns as fit stand beside each other; no cell of them is broken, and headings only between words, where
    room is scarce. What has no room there stands below its row, with the column's name.
    """
    from rich.text import Text

    widths = _widths(columns, cells)
    if sum(widths) + GAP * (len(widths) - 1) > width:
        parts_of_headings = [max(column.split() or [""], key=len) for column in columns]
        widths = _widths(parts_of_headings, cells)
    beside = max(1, sum(end - GAP <= width for end in accumulate(size + GAP for size in widths)))
    widths = widths[:beside]
    parts = [wrap(column, size) for column, size in zip(columns, widths, strict=False)]
    for heading in zip_longest(*parts, fillvalue=""):
        yield Text(_line(heading, widths), style="bold")
    for row in cells:
        yield _row(row[:beside], widths)
        for column, cell in zip(columns[beside:], row[beside:], strict=True):
            if cell:
                indent = " " * GAP
                text = broken(f"{indent}{column}: {cell}", width, len(column) + 2 * GAP)
                yield Text(text, style=colour_of(cell))


def _widths(columns: Sequence[str], cells: Cells) -> list[int]:
    return [max(map(len, texts)) for texts in zip(columns, *cells, strict=True)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * GAP).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(row: Sequence[str], widths: Sequence[int]) -> "Text":
    from rich.text import Text

    line = Text()
    for cell, width in zip(row, widths, strict=True):
        line.append(cell, style=colour_of(cell)).append(" " * (width - len(cell) + GAP))
    line.rstrip()
    return line


def broken(text: str, width: int, hang: int) -> str:
    """Break the lines of a text between words, never within one; what goes on does so `hang` blanks to the right."""
    wrapper = TextWrapper(
        width, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False,
        replace_whitespace=False, drop_whitespace=True,
    )  # fmt: skip
    return "\n".join(part for line in text.split("\n") for part in wrapper.wrap(line) or [""])
