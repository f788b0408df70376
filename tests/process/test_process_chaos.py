"""The harness itself: a few faults that the platform survives, told as they should be, with nothing left behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pace import limit

from openfl_like.plan.workspace import plan_path

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


PATIENT = ("--end-s", str(limit(45)))


def run(module: str, *arguments: str) -> tuple[int, dict[str, object], str]:
    command = [sys.executable, "-m", f"openfl_like.testing.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(280), check=False)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.mark.long
def test_broken_lines_change_nothing_that_is_checked(tmp_path: Path) -> None:
    code, line, words = run(
        "faults.chaos", "--seed", "4", "--faults", "4", "--mix", "lines", "--keep", str(tmp_path / "run")
    )
    assert code == 0, words
    assert (line["faults_landed"], line["invariant_breaks"], line["digests_equal"]) == (4, 0, True)
    assert (tmp_path / "run" / "history.jsonl").exists()


def test_a_point_that_somebody_ran_into_is_survived_and_one_that_nobody_ran_into_proves_nothing(tmp_path: Path) -> None:
    points = ("director.submit.row.after", "director.roster.joined", "director.cancel.asked", "store.migrate.inside")
    code, line, words = run("faults.failpoint_suite", *points, *PATIENT, "--keep", str(tmp_path / "a"))
    assert code == 0, words
    assert (line["landed"], line["missed"], line["broken"]) == (4, [], [])


@pytest.mark.long
def test_what_takes_longer_is_survived() -> None:
    code, line, words = run(
        "faults.failpoint_suite", *PATIENT, "--action", "delay", "aggregator.drained", "worker.loaded"
    )
    assert code == 0, words
    assert line["landed"] == 2


@pytest.mark.long
@pytest.mark.parametrize(
    "plan", [(), pytest.param(("--plan", str(plan_path("digits_scaffold"))), marks=pytest.mark.torch)]
)
def test_a_plan_has_the_same_bytes_whoever_is_killed(plan: tuple[str, ...]) -> None:
    code, line, words = run("faults.determinism", "--runs", "2", "--seed", "3", *plan)
    assert code == 0, words
    assert (line["landed"], line["identical"], line["others"]) == (2, 2, 0)


def test_workers_that_misbehave_end_their_experiments_with_a_cause(request: pytest.FixtureRequest) -> None:
    seed = str(request.config.getoption("sample") or 1)
    code, line, words = run("misbehaviour", "--runs", "4", "--seed", seed)
    assert code == 0, words
    assert (line["breaches"], line["misbehaviour"]) == (0, int(seed))
