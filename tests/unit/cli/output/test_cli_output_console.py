"""Tables for people and JSON for programs."""

import json
from pathlib import Path

import pytest

from openfl_like.cli.output.console import emit, emit_line, shown, tell

NO_NUMBER = {
    "range": (float("-inf"), float("inf")),
    "metrics": {"loss": float("nan"), "accuracy": 0.5},
    "at": Path("x"),
}


def refuse(word: str) -> float:
    pytest.fail(f"{word} is not JSON")


def test_json_is_json_even_where_a_number_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    emit(NO_NUMBER, as_json=True)
    emit_line(NO_NUMBER)
    document, line = (json.loads(text, parse_constant=refuse) for text in capsys.readouterr().out.splitlines())
    assert line == {"range": [None, None], "metrics": {"loss": None, "accuracy": 0.5}, "at": "x"}
    assert document == {"ok": True, "data": line}


def test_what_was_done_is_told_to_people_on_stderr_and_to_programs_on_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell("made it \x1b[2J", {"file": "x"}, as_json=False)
    assert capsys.readouterr() == ("", "made it \\x1b[2J\n")
    tell("made it", {"file": "x"}, as_json=True)
    assert capsys.readouterr() == ('{"ok": true, "data": {"file": "x"}}\n', "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (True, "yes"),
        (False, "no"),
        (None, ""),
        (["a", 1.0], "a, 1"),
        ({"loss": 0.5, "n": 3}, "loss 0.5, n 3"),
        (7, "7"),
    ],
)
def test_values_as_people_read_them(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_table_has_a_column_per_key(capsys: pytest.CaptureFixture[str]) -> None:
    emit([{"name": "bern", "online": True}, {"name": "zurich", "online": False}], as_json=False, title="envoys")
    assert capsys.readouterr().out == "envoys\nname    online\nbern    yes\nzurich  no\n"


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    emit([], as_json=False, title="envoys")
    assert capsys.readouterr().out == "envoys: none\n"
    emit([], as_json=True)
    assert json.loads(capsys.readouterr().out) == {"ok": True, "data": []}


def test_one_thing_is_a_row_per_key(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"id": "e1", "status": ""}, as_json=False)
    assert capsys.readouterr().out == "id      e1\nstatus\n"
