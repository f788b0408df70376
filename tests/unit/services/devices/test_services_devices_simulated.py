"""Traces of simulated devices in files of the workspace."""

from pathlib import Path
from typing import Any

import pytest

from openfl_like.errors import FederationError, PlanError, SettingsError, UsageError
from openfl_like.federation.announcements import Announced
from openfl_like.federation.task import DevicesWorked
from openfl_like.plan.schema import Plan
from openfl_like.services.devices.simulated import VirtualTotals, devices_of

NAMES = ("bern", "zug")
TRACE = {"template": "trace", "settings": {"file": "speeds.csv"}}


def plan_with(**section: Any) -> Plan:  # noqa: ANN401 - whatever a plan may hold
    values: dict[str, object] = {
        "name": "demo",
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "numpy"},
        "tasks": {"train": {"function": "train"}},
        "simulation": {"devices": {"speed": TRACE, **section}},
    }
    return Plan.model_validate(values)


def test_a_plan_without_devices_has_none(tmp_path: Path) -> None:
    assert (
        devices_of(
            plan_with().model_copy(update={"simulation": Plan.model_fields["simulation"].default}), tmp_path, NAMES
        )
        is None
    )


def test_a_trace_is_read_for_all_or_for_each(tmp_path: Path) -> None:
    (tmp_path / "speeds.csv").write_text("time_s,value\n0,5\n60,2\n")
    found = devices_of(plan_with(), tmp_path, NAMES)
    assert found is not None
    assert [found.profile("bern", 1, now).speed for now in (0.0, 61.0)] == [5, 2]
    (tmp_path / "speeds.csv").write_text("device,time_s,value\nbern,0,5\nzug,0,7\nbern,60,2\n")
    found = devices_of(plan_with(), tmp_path, NAMES)
    assert found is not None
    assert [found.profile(name, 1, 61.0).speed for name in NAMES] == [2, 7]


def test_a_probability_may_be_a_trace_too(tmp_path: Path) -> None:
    (tmp_path / "speeds.csv").write_text("time_s,value\n0,1\n60,0\n")
    section = {"availability": {"template": "bernoulli", "settings": {"probability": TRACE, "every_s": 30}}}
    found = devices_of(plan_with(speed=5, **section), tmp_path, NAMES)
    assert found is not None
    spans = found.spans("bern")
    assert [next(spans).there for _ in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        (None, SettingsError, "cannot be read: No such file"),
        ("time,value\n0,5\n", SettingsError, "has the columns time_s, value, and device"),
        ("time_s,value\n0,fast\n", SettingsError, "must be finite numbers"),
        ("time_s,value\n0\n", SettingsError, "must be finite numbers"),
        ("time_s,value\n", PlanError, "must begin at 0 s"),
        ("time_s,value\n3,5\n", PlanError, "must begin at 0 s"),
        ("time_s,value\n0,-5\n", PlanError, "simulation.devices.speed: must be more than 0, and is -5"),
        ("time_s,value\n0,nan\n", SettingsError, "must be finite numbers"),
        ("device,time_s,value\nbern,0,5\n", UsageError, "the trace of speed has nothing of zug"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(
    tmp_path: Path, text: str | None, kind: type[FederationError], told: str
) -> None:
    if text is not None:
        (tmp_path / "speeds.csv").write_text(text)
    with pytest.raises(kind) as caught:
        devices_of(plan_with(), tmp_path, NAMES)
    assert told in " ".join((str(caught.value), *getattr(caught.value, "problems", ())))
    assert caught.value.place


def test_totals_are_sums_over_rounds() -> None:
    rounds = [
        DevicesWorked(1, {"bern": 2.0, "zug": 3.5}, {}, late=("bern",), failed=("zug",), unavailable=("a", "b")),
        DevicesWorked(2, {"bern": 1.0}, {}, late=("bern",)),
    ]
    history = [Announced(number, 5.0, told) for number, told in enumerate(rounds, 1)]
    assert VirtualTotals.of(9.0, history) == VirtualTotals(9.0, 6.5, 2, 1, 2)
