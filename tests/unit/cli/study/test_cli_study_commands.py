"""What ``fx study`` prints, and how it ends."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openfl_like.cli.main import fx
from openfl_like.cli.study.progress import Pace, StudyScreen
from openfl_like.cli.study.running import raise_unless_fine
from openfl_like.cli.study.sentences import common_places, spread_text, state_text
from openfl_like.errors import StudyError
from openfl_like.services.daemon.lock import only_one
from openfl_like.studies.folder import StudyFolder
from openfl_like.studies.results import RunState, StudyRunResult
from openfl_like.studies.summary import Spread, summaries
from tests.unit.studies.made_studies import finished, made_study, results_of

STUDY = made_study(repetitions=2)
VALUES = {1: [0.51234, 0.52], 2: [0.4, 0.4], 3: [0.8]}


def fx_study(*words: str) -> Result:
    return CliRunner().invoke(fx, ["study", *words])


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    kept = StudyFolder(tmp_path / "skew.study")
    kept.directory.mkdir()
    kept.take(STUDY)
    results = results_of(STUDY, VALUES)
    results["c2-r2"] = replace(results["c2-r2"], state=RunState.FAILED, code="E501", cause="site 'a': no", rows=())
    for result in results.values():
        kept.write_result(result)
    kept.record("c4-r1").mkdir(parents=True)
    return kept


def test_a_study_is_shown_in_80_columns(folder: StudyFolder) -> None:
    with only_one(folder.directory, "fx study run"):
        lines = fx_study("show", str(folder.directory)).output.splitlines()
    assert lines == [
        "skew: accuracy, more is better",
        "no  method  alpha  accuracy         n  state",
        "1   A       0.1    0.5162 ± 0.0054  2  done",
        "2   A       10     0.4              1  failed 1/2 [E501], done 1/2",
        "3   B       0.1    0.8              1  done 1/2, waiting 1/2",
        "4   B       10                      0  running 1/2, waiting 1/2",
        "best: method B, alpha 0.1, accuracy 0.8",
        "failed: c2-r2 [E501]: site 'a': no",
    ]
    assert max(map(len, lines)) <= 80


def test_a_study_is_shown_to_programs(folder: StudyFolder) -> None:
    data = json.loads(fx_study("show", str(folder.directory), "--json").output)["data"]
    assert (data["name"], data["digest"]) == ("skew", STUDY.digest)
    assert data["configurations"][0]["mean"] == pytest.approx(0.51617)
    assert [run["state"] for run in data["configurations"][3]["runs"]] == ["waiting", "waiting"]  # nobody is at work
    assert data["problems"][0] | {"kind": "failed", "runs": ["c2-r2"], "code": "E501"} == data["problems"][0]


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    result = fx_study("show", str(tmp_path))
    assert result.exception is not None
    assert "there is no study" in str(result.exception)


@pytest.mark.parametrize("share", ["0/2", "3/2", "1", "a/b", "1/2000", "-1/2"])
def test_a_share_is_one_of_several(share: str) -> None:
    result = fx_study("run", "digits_skew", f"--share={share}")
    assert result.exit_code == 2
    assert "is not K/N, such as 1/2 for the first of two shares" in result.output


def test_a_study_that_is_not_there_has_a_suggestion() -> None:
    result = fx_study("run", "digits_skw")
    assert "did you mean 'digits_skew'?" in str(result.exception)


def test_the_end_of_a_study_is_an_error_where_something_is_wrong() -> None:
    results = results_of(STUDY, {number: [0.5, 0.6] for number in (1, 2, 3, 4)})
    raise_unless_fine(STUDY, results)
    results["c1-r1"] = replace(results["c1-r1"], state=RunState.FAILED, code="E501", cause="no")
    with pytest.raises(StudyError, match="1 of 8 runs are not as they should be: failed: c1-r1"):
        raise_unless_fine(STUDY, results, explain=True)


@pytest.mark.parametrize(
    ("spread", "text"),
    [
        (None, ""),
        (Spread(1, 0.51234, None), "0.5123"),
        (Spread(3, 0.51234, 0.0123), "0.512 ± 0.012"),
        (Spread(3, 0.5, 0.0), "0.5000 ± 0.0000"),
        (Spread(3, 1234.5, 321.0), "1234 ± 3.2e+02"),
        (Spread(3, 0.5, 1e-12), "0.500000 ± 0.000000"),
    ],
)
def test_how_a_spread_is_written(spread: Spread | None, text: str) -> None:
    assert spread_text(spread) == text


def test_a_column_has_the_decimals_of_most() -> None:
    assert common_places([Spread(2, 1, 0.01), Spread(2, 1, 0.011), Spread(2, 1, 0.5), None]) == 3
    assert common_places([Spread(1, 1, None)]) is None


def test_the_states_of_a_configuration() -> None:
    runs = STUDY.runs
    results = {
        runs[0].id: finished(runs[0], [0.1], state=RunState.KILLED, code="E503"),
        runs[1].id: finished(runs[1], [0.1, 0.2, 0.3]).until(2),
        runs[2].id: finished(runs[2], [0.1], state=RunState.PAUSED),
    }
    first, second, *_ = summaries(STUDY, results)
    assert state_text(first, 0) == "killed 1/2 [E503], stopped early after round 2"
    assert state_text(second, 0) == "waiting"


def test_pace_is_told_when_it_is_known() -> None:
    times: Iterator[float] = iter([0.0, 1.0, 10.0, 20.0, 30.0])
    pace = Pace(5, lambda: next(times))
    assert pace.text(6, 100) == ""
    assert pace.text(25, 4025) == ", 2 rounds/s, 33:20 min to go"
    assert pace.text(25, 100_025) == ", 1 rounds/s, 27:46:40 h to go"
    assert pace.text(100, 100) == ""


def test_progress_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    run = STUDY.runs[0]
    result: StudyRunResult = finished(run, [0.25, 0.5])
    for as_json in (False, True):
        screen = StudyScreen(STUDY, STUDY.runs, {}, as_json=as_json)
        screen.run_started(run)
        screen.round_finished(run, 1)
        screen.run_ended(run, result)
        screen.stopped(STUDY.configurations[1:2], 2)
        screen.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "c1-r1  method A, alpha 0.1, seed 7: finished  accuracy 0.5",
        "stopped early after round 2: method A, alpha 10",
    ]
    told = [json.loads(line) for line in lines[2:]]
    assert [one["kind"] for one in told] == ["run_started", "round_finished", "run_ended", "stopped"]
    assert told[2] | {"run": "c1-r1", "state": "finished", "sha256": "sha-c1-r1"} == told[2]
