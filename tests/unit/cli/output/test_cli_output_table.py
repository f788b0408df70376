"""Tables on terminals: whole at any width, coloured only where somebody can see it."""

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.cli.output.console import emit, put, say
from openfl_like.cli.output.table import on_terminal

ROWS = [
    {"experiment": "heart_disease-1a2b3c4d", "status": "FAILED", "reason": "site 'bern': ValueError: no data at all"},
    {"experiment": "digits-9f8e7d6c", "status": "FINISHED (DEGRADED)", "reason": ""},
]
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=30)
sentences = st.lists(words, max_size=6).map(" ".join)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "40")  # a terminal that is called dumb has its size only of both


def printed(show: Callable[[], None], stream: io.StringIO | None = None) -> str:
    """What is printed on a terminal, or on another stream."""
    stream = stream or Terminal()
    with redirect_stdout(stream), redirect_stderr(stream):
        show()
    return stream.getvalue()


def show_rows() -> None:
    emit(ROWS, as_json=False, title="experiments")


@given(st.lists(st.tuples(words, sentences, sentences), min_size=1, max_size=5), st.integers(20, 200))
def test_nothing_of_a_table_is_lost_and_nothing_is_wider_than_the_terminal(
    cells: list[tuple[str, ...]], width: int
) -> None:
    columns = ("id", "state", "reason")
    lines = [line for found in on_terminal(columns, cells, width) for line in found.plain.split("\n")]
    assert all(len(line) <= width or len(line.split()) <= 2 for line in lines)  # an id or a word is never broken
    text = " ".join(" ".join(lines).split())
    for row in cells:
        assert all(cell in text for cell in row)


def test_ids_are_whole_and_states_have_a_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = printed(show_rows)
    assert all(row["experiment"] in text for row in ROWS)
    assert "\x1b[1;38;5;196mFAILED" in text
    assert text.count("\n") == 4  # the title, the heading and two rows


def test_what_has_no_room_stands_below_its_row_and_all_rows_look_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert printed(show_rows).splitlines() == [
        "experiments",
        "experiment              status",
        "heart_disease-1a2b3c4d  FAILED",
        "  reason: site 'bern': ValueError: no data at all",
        "digits-9f8e7d6c         FINISHED (DEGRADED)",
    ]


def test_headings_are_broken_between_words_so_that_more_columns_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    def show() -> None:
        emit([{"round": 1, "validate accuracy": 0.5, "train loss": 0.25}], as_json=False)

    whole = printed(show).splitlines()
    monkeypatch.setenv("COLUMNS", "24")
    broken = printed(show).splitlines()
    assert whole == ["round  validate accuracy  train loss", "1      0.5000             0.2500"]
    assert broken == ["round  validate  train", "       accuracy  loss", "1      0.5000    0.2500"]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colour_gets_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    def show() -> None:
        show_rows()
        put("FAILED", style="bold red1")
        say("Error [E501]: it FAILED", style="bold red1")

    text = printed(show)
    assert "38;5" not in text
    assert text.count("FAILED") == 3


def test_lines_hang_on_a_terminal_and_are_whole_elsewhere() -> None:
    text = f"cause: {'word ' * 12}end"
    first, second = printed(lambda: put(text, hang=7)).splitlines()
    assert len(first) <= 60
    assert second.startswith("       word")
    assert printed(lambda: put(text, style="bold", hang=7), io.StringIO()) == f"{text}\n"
