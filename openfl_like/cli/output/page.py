"""A report as one HTML page, which needs nothing but itself, and as Markdown beside its figures."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openfl_like.drawing.placed import PageFigure

_MARKED = re.compile(r"([\\`*_{}\[\]<>#|~])")
_ON_ONE_PAGE = 25
"""So many rows are not parted where a page ends."""
_CSS = """
body { font: 16px/1.5 Georgia, 'Times New Roman', serif; color: #111; background: #fff; max-width: 52rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
figure { margin: 1.8rem 0; } figure img { width: 100%; height: auto; max-width: var(--wide); }
figure.whole { break-inside: avoid; } figcaption { font-size: .9rem; margin: .3rem 0 .6rem; }
.rows figcaption { break-after: avoid; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem;
  border-top: 1.5px solid #111; border-bottom: 1.5px solid #111; }
thead { border-bottom: 1px solid #111; display: table-header-group; } tr { break-inside: avoid; }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th { font-weight: normal; font-style: italic; } .w { text-align: left; }
.bad { border-left: 4px solid #bd1f01; padding-left: .8rem; }
.odd { border-left: 4px solid #aaa; padding-left: .8rem; } code { font-size: .85em; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem; } dd { margin: 0; }
pre { font-size: .8rem; line-height: 1.35; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } .scroll { overflow: visible; }
  table { font-size: 8.5pt; } th, td { padding: .1rem .4rem; } @page { margin: 2cm; } }
"""


DataCell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its text, and whether it stands out."""

    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table of a report.

    Attributes:
        name: Of its file, without suffix.
        caption: What it shows.
        columns: The heading.
        rows: The cells.
        words: How many columns, from the left, are words; the others are numbers.
        data: The same for programs, a mapping for each row; empty where another table has it.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int = 1
    data: tuple[Mapping[str, DataCell], ...] = ()


@dataclass(frozen=True, slots=True)
class ReportPage:
    """A report without its form.

    Attributes:
        title: What it is about.
        summary: What was run, in a few sentences.
        warnings: What is not as it should be.
        remarks: What somebody should know who reads it.
        figures: In their order.
        tables: In their order.
        facts: What somebody needs to do it again: name -> value.
        plan: The plan as YAML; empty: a report of several.
    """

    title: str
    summary: tuple[str, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]
    figures: tuple[PageFigure, ...]
    tables: tuple[ReportTable, ...]
    facts: tuple[tuple[str, str], ...]
    plan: str = ""


def html_of(page: ReportPage) -> str:
    """Write a page; every text is escaped."""
    told = html.escape
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{told(page.title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>",
        f"<h1>{told(page.title)}</h1>",
        *(f"<p>{told(sentence)}</p>" for sentence in page.summary),
        *(f'<p class="bad">{told(warning)}</p>' for warning in page.warnings),
        *(f'<p class="odd">{told(remark)}</p>' for remark in page.remarks),
        *(_figure(number, figure) for number, figure in enumerate(page.figures, 1)),
        *(_table(number, table) for number, table in enumerate(page.tables, 1)),
        "<h2>To do it again</h2>\n<dl>",
        *(f"<dt>{told(name)}</dt><dd><code>{told(value)}</code></dd>" for name, value in page.facts),
        "</dl>",
        f"<h2>The plan</h2>\n<pre>{told(page.plan)}</pre>" if page.plan else "",
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _figure(number: int, figure: PageFigure) -> str:
    data = base64.b64encode(figure.svg).decode()
    caption = html.escape(figure.caption)
    picture = f'<img alt="{caption}" style="--wide: {figure.width_px}px" src="data:image/svg+xml;base64,{data}">'
    return f'<figure class="whole">{picture}\n<figcaption><b>Figure {number}.</b> {caption}</figcaption></figure>'


def _table(number: int, table: ReportTable) -> str:
    heading = "".join(
        f"<th{' class=w' if place < table.words else ''}>{html.escape(name)}</th>"
        for place, name in enumerate(table.columns)
    )
    rows = "\n".join(
        f"<tr>{''.join(_cell(cell, place < table.words) for place, cell in enumerate(row))}</tr>" for row in table.rows
    )
    caption = f"<figcaption><b>Table {number}.</b> {html.escape(table.caption)}</figcaption>"
    whole = " whole" if len(table.rows) <= _ON_ONE_PAGE else ""
    body = f"<table>\n<thead><tr>{heading}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
    return f'<figure class="rows{whole}">{caption}\n<div class="scroll">{body}</div></figure>'


def _cell(cell: Cell, word: bool) -> str:  # noqa: FBT001 (of which column it is)
    text = html.escape(cell.text)
    return f"<td{' class=w' if word else ''}>{f'<b>{text}</b>' if cell.strong else text}</td>"


def markdown_of(page: ReportPage) -> str:
    """Write a report as Markdown; its figures are files beside it."""
    lines = [f"# {_plain(page.title)}", ""]
    for sentence in page.summary:
        lines += [_plain(sentence), ""]
    for warning in (*page.warnings, *page.remarks):
        lines += [f"> {_plain(warning)}", ""]
    for number, figure in enumerate(page.figures, 1):
        lines += [f"![Figure {number}]({figure.name}.svg)", "", f"**Figure {number}.** {_plain(figure.caption)}", ""]
    for number, table in enumerate(page.tables, 1):
        lines += [f"**Table {number}.** {_plain(table.caption)}", "", *_markdown_rows(table), ""]
    lines += ["## To do it again", ""]
    lines += [f"- {_plain(name)}: {_plain(value)}" for name, value in page.facts]
    if page.plan:
        lines += ["", "## The plan", "", *(f"    {line}" for line in page.plan.splitlines())]
    return "\n".join(lines) + "\n"


def _markdown_rows(table: ReportTable) -> Sequence[str]:
    rule = ["---" if place < table.words else "--:" for place in range(len(table.columns))]
    rows = [[_strong(cell) for cell in row] for row in table.rows]
    return [f"| {' | '.join(row)} |" for row in ([_plain(name) for name in table.columns], rule, *rows)]


def _strong(cell: Cell) -> str:
    return f"**{_plain(cell.text)}**" if cell.strong and cell.text else _plain(cell.text)


def _plain(text: str) -> str:
    """Return a text in which nothing has a meaning to Markdown or HTML."""
    return _MARKED.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;")
