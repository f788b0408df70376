"""What sites and their code wrote is text in a spreadsheet, and numbers are numbers."""

import pytest

from openfl_like.cli.experiment.metrics import _print_csv
from openfl_like.cli.output.spreadsheet import print_csv
from openfl_like.federation.history.metrics import MetricRecord


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_text_that_would_be_calculated_has_a_quote_before_it(capsys: pytest.CaptureFixture[str], text: str) -> None:
    print_csv(["n", "text"], [{"n": 1, "text": text}])
    assert f"'{text}" in capsys.readouterr().out.replace("\r\n", "\n")


def test_numbers_and_other_texts_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_csv(["a", "b", "c", "d"], [{"a": -1, "b": -0.5, "c": None, "d": "a=-1", "left": "out"}])
    assert capsys.readouterr().out == "a,b,c,d\n-1,-0.5,,a=-1\n"


def test_names_of_metrics_are_of_others_too(capsys: pytest.CaptureFixture[str]) -> None:
    _print_csv([MetricRecord(1, "bern", "@train", "=A1", -0.25, 10)])
    assert capsys.readouterr().out.splitlines()[1] == "1,bern,'@train,'=A1,-0.25,10"
