"""A report's page: nothing in it is markup but ours, and it needs nothing but itself."""

import re
from html.parser import HTMLParser

from openfl_like.cli.output.page import Cell, ReportPage, ReportTable, html_of, markdown_of
from openfl_like.drawing.placed import PageFigure

HOSTILE = '<script>alert("x")</script> & | * _ ` [a](b)'


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def page() -> ReportPage:
    table = ReportTable("t", HOSTILE, (HOSTILE, "n"), ((Cell(HOSTILE, strong=True), Cell("3")), (Cell(""), Cell("4"))))
    figure = PageFigure("curves", HOSTILE, b"<svg/>", 400)
    return ReportPage(HOSTILE, (HOSTILE,), (HOSTILE,), (HOSTILE,), (figure,), (table,), ((HOSTILE, HOSTILE),))


def test_every_text_of_a_page_is_escaped() -> None:
    seen = Seen()
    seen.feed(html_of(page()))
    assert "script" not in seen.tags
    assert seen.text.count(HOSTILE) == 11
    assert seen.tags.count("table") == 1


def test_a_page_needs_nothing_but_itself() -> None:
    text = html_of(page())
    seen = Seen()
    seen.feed(text)
    assert len(seen.sources) == 1
    assert seen.sources[0].startswith("data:image/svg+xml;base64,")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://", text)


def test_markdown_has_no_markup_of_others() -> None:
    lines = markdown_of(page()).splitlines()
    assert not any(re.search(r"(?<!\\)<", line) for line in lines)
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 4
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert "![Figure 1](curves.svg)" in lines
