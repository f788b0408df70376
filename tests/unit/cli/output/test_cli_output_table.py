"""Tables on terminals: whole at any width, coloured only where somebody can see it."""

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from openfl_like.cli.output.console import emit, put, say
from openfl_like.cli.output.table import GAP, PROSE, blocks, fitting, wrapped

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
    widths = fitting(columns, cells, width)
    if widths is None:
        lines = "\n".join(blocks(columns, cells))
        assert all(cell in lines for row in cells for cell in row)
        return
    assert sum(widths) + GAP * 2 <= width
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(wrapped(columns, cells, widths))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= width
    for identity, state, reason in cells:
        assert identity in text
        assert all(word in text for word in state.split())
        assert all(word in text for word in reason.split() if len(word) <= PROSE["reason"])


def test_ids_are_whole_and_states_have_a_colour() -> None:
    text = printed(show_rows)
    assert all(row["experiment"] in text for row in ROWS)
    assert "\x1b[1;38;5;196mFAILED" in text
    assert "FINISHED (DEGRADED)" not in text  # the cell is wrapped between its words
    assert "FINISHED" in text


def test_a_terminal_that_is_too_narrow_gets_a_block_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = printed(show_rows)
    assert "experiment  heart_disease-1a2b3c4d\nstatus      FAILED\n" in text
    assert "\n\nexperiment  digits-9f8e7d6c\n" in text


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
