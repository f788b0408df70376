"""What the main commands look like on terminals of 80 and 120 columns; docs/screens has it, for whoever changes it."""

import io
import os
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress

import pytest
from screens import BEGIN, SHOWN, Federation

from openfl_like.api import federation as api
from openfl_like.cli import status as cli_status
from openfl_like.errors import ExperimentDegradedError
from tests.docs.documents import DOCS

SCREENS = DOCS / "screens"
WRITES = bool(os.environ.get("OPENFL_LIKE_GOLDEN"))
TIMES = {r"\d{4}-\d\d-\d\d": "2026-11-29", r"\d\d:\d\d:\d\d": "10:00:00"}
"""Whatever tells the time is as wide at any time."""


class Terminal(io.StringIO):
    """A terminal without colours, on which nothing moves."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def federation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "Federation", Federation)
    monkeypatch.setattr(cli_status, "_own_warnings", lambda _: ())
    monkeypatch.setattr("time.time", lambda: BEGIN + 3600)  # what ended within a day must not depend on today's date
    for name, value in {"TERM": "dumb", "LINES": "40", "FX_DIRECTOR": "director:50050", "FX_CERTIFICATES": "c"}.items():
        monkeypatch.setenv(name, value)


def shown(show: Callable[[], None]) -> str:
    screen = Terminal()
    with redirect_stdout(screen), redirect_stderr(screen), suppress(ExperimentDegradedError):
        show()
    text = screen.getvalue()
    for pattern, time in TIMES.items():
        text = re.sub(pattern, time, text)
    return "\n".join(line.rstrip() for line in text.split("\n"))


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", SHOWN)
def test_a_screen_is_as_it_was_agreed(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    golden = SCREENS / f"{name}-{columns}.txt"
    text = shown(SHOWN[name])
    if WRITES:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert golden.read_text() == text


def test_every_screen_is_shown_by_somebody() -> None:
    assert {path.stem.rsplit("-", 1)[0] for path in SCREENS.glob("*.txt")} == set(SHOWN)
