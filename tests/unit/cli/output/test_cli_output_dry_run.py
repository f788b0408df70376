"""How a dry run is told."""

import json
from dataclasses import replace

import pytest

from openfl_like.authoring.dry_run.findings import (
    DryRunFinding,
    DryRunReport,
    FindingKind,
    Findings,
    Forecast,
    Severity,
    TriedKind,
)
from openfl_like.authoring.estimate import Figure
from openfl_like.cli.output.dry_run import show_report
from openfl_like.cli.output.dry_run_sentences import seconds, size, told
from openfl_like.errors import DryRunError
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.task import Phase

TRIED = TriedKind(("bern", "ulm"), 4, "float32[4]", "int64[]", 3, {"train": 48, "validate": 20}, {"train": 400})
FORECAST = Forecast(2.0, 0.5, 0.1, 2.6, 26.0, 10, 60_000_000, 48, 400, "bern")
NAMES = (
    "model",
    "update",
    "memory_aggregator",
    "to_sites_per_round",
    "from_sites_per_round",
    "disk_aggregator",
    "disk_site",
)
FIGURES = tuple(Figure(name, 1500, "exact", "…") for name in NAMES)
FINE = DryRunReport("scores", "d1", 4, (TRIED,), 2, evened=False, findings=(), forecast=FORECAST, figures=FIGURES)


def failed(task: str = "") -> Failure:
    return Failure(FailureKind.TASK, "no such column", "KeyError", "src/scores.py", 41, task=task)


@pytest.mark.parametrize("kind", FindingKind)
def test_every_finding_has_words_and_a_cure(kind: FindingKind) -> None:
    bare, full = (
        DryRunFinding(kind),
        DryRunFinding(
            kind, ("bern", "ulm"), Phase.TRAIN, 1, "train", "deadline.train_s", "src/scores.py", 41, "torch", 3.0, 5.0,
            "s", "it said so", failed(task="train"), ("one", "two"),
        ),
    )  # fmt: skip
    for one in (bare, replace(bare, found=1, wanted=2), full):
        words = told(one)
        assert len(words.what) > 10
        assert len(words.cure) > 10
    where = told(full).where
    assert where == "deadline.train_s; src/scores.py:41; round 1, train, task 'train'; sites bern, ulm"


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        ("ValueError", "'tried' above"),
        ("FileNotFoundError", "include: in the plan"),
        ("ModuleNotFoundError", "fx workspace lock"),
        ("", "docs/frameworks.md"),
    ],
)
def test_the_cure_goes_by_what_was_raised(error: str, cure: str) -> None:
    one = DryRunFinding(FindingKind.TASK_FAILED, failure=replace(failed(), error=error))
    assert cure in told(one).cure


def test_a_line_that_raises_in_both_phases_is_one_finding() -> None:
    findings = Findings()
    for phase, site in ((Phase.TRAIN, "ulm"), (Phase.EVALUATE, "ulm"), (Phase.TRAIN, "bern")):
        findings.add(DryRunFinding(FindingKind.TASK_FAILED, (site,), phase, 1, failure=failed()))
    findings.add(DryRunFinding(FindingKind.SITE_BUSY, ("zug",)), DryRunFinding(FindingKind.NO_SAMPLES, ("ulm",)))
    assert [(one.kind, one.sites) for one in findings.sorted()] == [
        (FindingKind.TASK_FAILED, ("ulm", "bern")),
        (FindingKind.NO_SAMPLES, ("ulm",)),
        (FindingKind.SITE_BUSY, ("zug",)),
    ]


def test_a_report_without_mistakes_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_report(FINE, as_json=False) == 0
    out = capsys.readouterr().out
    assert "bern, ulm and 2 more: samples float32[4], targets int64[] of 3 classes" in out
    assert "scaled to the 400 of the slowest site (bern)" in out
    assert "a round        2.6 s: train 2 s, evaluate 500 ms, combine 100 ms" in out
    assert out.endswith("nothing would go wrong, as far as invented data can show\n")


@pytest.mark.parametrize(
    ("scaled_to", "words"), [(0, "no site tells how many samples it has"), (48, "no site has more")]
)
def test_it_is_said_what_times_are_for(scaled_to: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_report(replace(FINE, forecast=replace(FORECAST, scaled_to=scaled_to), evened=True), as_json=False)
    assert words in capsys.readouterr().out


def test_kinds_of_sites_have_times_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    quick = replace(TRIED, sites=("zug",), count=1, seconds={Phase.TRAIN: 0.5, Phase.EVALUATE: 0.1})
    slow = replace(TRIED, seconds={Phase.TRAIN: 90.0})
    show_report(replace(FINE, tried=(quick, slow)), as_json=False)
    assert (
        "by site        zug: train 500 ms, evaluate 100 ms; bern, ulm and 2 more: train 90 s" in capsys.readouterr().out
    )
    show_report(replace(FINE, tried=(quick,)), as_json=False)
    assert "by site" not in capsys.readouterr().out


def test_a_report_with_a_mistake_ends_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    bad = DryRunFinding(FindingKind.NOT_TRAINED, ("bern",), Phase.TRAIN, 1)
    odd = DryRunFinding(FindingKind.METRIC_NOT_FINITE, name="auc", said="no number (NaN)", other=Severity.WARNING)
    with pytest.raises(DryRunError, match="1 thing would go wrong"):
        show_report(replace(FINE, findings=(bad, odd), forecast=None), as_json=False)
    out = capsys.readouterr().out
    assert "error    training has changed nothing" in out
    assert "at: round 1, train; site bern" in out
    assert "warning  the metric 'auc' is no number (NaN)" in out
    assert show_report(replace(FINE, findings=(odd,)), as_json=False) == 0
    assert "1 thing to look at first" in capsys.readouterr().out


def test_programs_get_one_document_and_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    bad = DryRunFinding(FindingKind.TASK_FAILED, ("bern",), Phase.TRAIN, 1, "train", failure=failed(task="train"))
    assert show_report(replace(FINE, findings=(bad,)), as_json=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    data = document["data"]
    assert (data["passed"], data["code"], data["forecast"]["round_s"]) == (False, "E510", 2.6)
    (found,) = data["findings"]
    assert (found["kind"], found["severity"], found["failure"]["line"]) == ("task_failed", "error", 41)
    assert found["message"] == "the task 'train' raised KeyError: no such column"
    assert show_report(FINE, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["data"]["code"] == ""


def test_sizes_and_times_are_told_in_units_that_people_read() -> None:
    assert [size(value) for value in (10, 1500, 2_500_000, 3e9, 12.5e9)] == [
        "10 bytes", "1.5 kB", "2.5 MB", "3 GB", "12.5 GB",
    ]  # fmt: skip
    assert [seconds(value) for value in (0.0012, 0.5, 2, 90, 300, 7200, 36_000)] == [
        "1.2 ms", "500 ms", "2 s", "90 s", "5 min", "2 h", "10 h",
    ]  # fmt: skip
