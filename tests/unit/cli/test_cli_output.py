"""Tables for people and JSON for programs."""

import json
from pathlib import Path

import pytest

from openfl_like.cli.output import emit, emit_line, shown

NO_NUMBER = {
    "range": (float("-inf"), float("inf")),
    "metrics": {"loss": float("nan"), "accuracy": 0.5},
    "at": Path("x"),
}


def refuse(word: str) -> float:
    pytest.fail(f"{word} is not JSON")


@pytest.mark.parametrize("write", [lambda value: emit(value, as_json=True), emit_line], ids=["document", "line"])
def test_json_is_json_even_where_a_number_is_none(write: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(write)
    write(NO_NUMBER)
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert json.loads(text, parse_constant=refuse) == {
        "range": [None, None],
        "metrics": {"loss": None, "accuracy": 0.5},
        "at": "x",
    }


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
    assert json.loads(capsys.readouterr().out) == []


def test_one_thing_is_a_row_per_key(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"id": "e1", "status": ""}, as_json=False)
    assert capsys.readouterr().out == "id      e1\nstatus\n"
