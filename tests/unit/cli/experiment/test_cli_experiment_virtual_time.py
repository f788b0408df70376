"""What people read of a simulation in virtual time: devices are counted, sites are named only where code has failed."""

from dataclasses import asdict

import pytest

from openfl_like.cli.experiment.outcome import raise_unless_finished
from openfl_like.cli.experiment.progress import Screen
from openfl_like.cli.output.console import hours, joules
from openfl_like.cli.simulated import tell_result
from openfl_like.errors import ExperimentDegradedError
from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    CollaboratorAway,
    ExperimentBegun,
    ExperimentEnded,
    RoundFinished,
)
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import OF_DEVICES, Failure, FailureKind
from openfl_like.federation.parties import Outcome, PublishedVersion
from openfl_like.federation.status import Status
from openfl_like.federation.task import DevicesWorked, Phase
from openfl_like.plan.digest import frozen_values
from openfl_like.plan.load import load_plan
from openfl_like.plan.workspace import plan_path
from openfl_like.services.devices.simulated import VirtualTotals
from openfl_like.services.simulation import SimulationResult

DONE = "2 of 2 rounds are done"
LATE = Failure(FailureKind.DEADLINE, "sent no update within 60 s", round=1, site="bern")
BOOM = Failure(FailureKind.TASK, "boom", "ValueError", task="train", round=2, site="zug")


def lines(*told: tuple[float, Announcement]) -> list[str]:
    shown: list[str] = []
    screen = Screen(as_json=False, show=shown.append)
    for number, (time, item) in enumerate(told, 1):
        screen.event(Announced(number, time, item))
    return shown


def test_a_round_has_its_virtual_time_and_counts_devices() -> None:
    plan = frozen_values(load_plan(plan_path("digits_devices")))
    ends = ExperimentEnded(Status.FINISHED, DONE, 2, {"bern": LATE, "zug": BOOM})
    names = ("bern", "chur", "zug")
    assert lines(
        (0.0, ExperimentBegun("e-1", rounds=2, plan=plan)),
        (0.0, CollaboratorAdmitted("bern")),
        (5.0, CollaboratorAway("bern", "its device is away")),
        (60.0, CollaboratorAbsent(1, Phase.TRAIN, "bern", "sent no update", LATE)),
        (4000.0, DevicesWorked(1, {"bern": 1500.0, "zug": 250.0}, {})),
        (4000.0, RoundFinished(1, "m1", {"accuracy": 0.5}, best=True, selected=names, contributors=("zug",))),
        (5000.0, CollaboratorAbsent(2, Phase.TRAIN, "zug", str(BOOM), BOOM)),
        (90061.0, RoundFinished(2, "m2", {"accuracy": 0.25}, selected=names, contributors=("bern", "chur"))),
        (90061.0, ends),
    ) == [
        "experiment e-1 started: 2 rounds",
        "round 1   1:06:40  accuracy 0.5000  1 of 3 devices  1.75 kJ",
        "round 2: zug is absent: failed in task 'train': ValueError: boom",
        "round 2  25:01:01  accuracy 0.2500  2 of 3 devices",
        "the best model is that of round 1: accuracy 0.5000",
        f"FINISHED (DEGRADED): {DONE}; without zug: round 2: {BOOM}; 1 device missed a round",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00:00"), (59.6, "0:01:00"), (3599.0, "0:59:59"), (360000.0, "100:00:00")]
)
def test_hours_are_as_long_as_they_are(seconds: float, text: str) -> None:
    assert hours(seconds) == text


def test_joules_have_the_unit_that_fits() -> None:
    assert [joules(energy) for energy in (0.0, 12.34, 1234.5, 2.5e6, 7e9)] == [
        "0 J", "12.3 J", "1.23 kJ", "2.5 MJ", "7 GJ",
    ]  # fmt: skip


TOTALS = VirtualTotals(7261.0, 4.2e6, 9, 2, 1)
VERSIONS = (PublishedVersion(ModelVersion(1, "aa", {"accuracy": 0.5}), "ab", 0.0),)


def result(failure: Failure | None, virtual: VirtualTotals | None = TOTALS) -> SimulationResult:
    shortfalls = {"bern": failure} if failure is not None else {}
    return SimulationResult(Outcome(Status.FINISHED, DONE, shortfalls), VERSIONS, virtual)


def test_the_end_has_virtual_time_and_energy(capsys: pytest.CaptureFixture[str]) -> None:
    tell_result(result(LATE), had_ended=False, as_json=False)
    shown = capsys.readouterr().out
    for line in ("virtual time  2:01:01", "energy        4.2 MJ", "missed        9 late, 2 failed, 1 away"):
        assert line in shown
    tell_result(result(LATE), had_ended=False, as_json=True)
    assert '"virtual": {"seconds": 7261.0, "energy_j": 4200000.0, "late": 9,' in capsys.readouterr().out
    tell_result(result(None, None), had_ended=False, as_json=True)
    assert "virtual" not in capsys.readouterr().out
    assert set(asdict(TOTALS)) == {"seconds", "energy_j", "late", "failed", "unavailable"}


def test_who_has_too_few_devices_learns_which_keys_are_about_that(capsys: pytest.CaptureFixture[str]) -> None:
    failed = Outcome(Status.FAILED, "30 of 40 collaborators joined within 60 s", {})
    tell_result(SimulationResult(failed, (), TOTALS), had_ended=False, as_json=False)
    assert "admission.min_collaborators says" in capsys.readouterr().err
    tell_result(SimulationResult(failed, ()), had_ended=False, as_json=False)
    assert capsys.readouterr().err == ""


def test_only_what_devices_were_to_do_is_no_failure() -> None:
    assert [kind for kind in FailureKind if result(Failure(kind)).as_simulated] == sorted(
        OF_DEVICES, key=list(FailureKind).index
    )
    assert not result(LATE, None).as_simulated
    assert not SimulationResult(Outcome(Status.FAILED, "no", {}), (), TOTALS).as_simulated


def test_no_more_than_ten_sites_are_named() -> None:
    missing = {f"site-{number:02}": LATE for number in range(1, 15)}
    with pytest.raises(ExperimentDegradedError, match=r"'site-10'.*; and 4 more") as caught:
        raise_unless_finished(Outcome(Status.FINISHED, DONE, missing))
    assert "site-11" not in str(caught.value)
    (line,) = lines((1.0, ExperimentEnded(Status.FINISHED, DONE, 2, missing)))
    assert ("site-10" in line, "site-11" in line, line.endswith("; and 4 more")) == (True, False, True)
