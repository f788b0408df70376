"""The plan's mode: its factors, what it wants, and what does not go with it."""

from typing import Any

import pytest
from pydantic import ValidationError

from openfl_like.plan.checks import mistakes_in
from openfl_like.plan.digest import freeze, frozen_values, thaw
from openfl_like.plan.mode import Mode, Staleness
from openfl_like.plan.schema import Plan

BOTH: dict[str, Any] = {"buffer": 10, "concurrency": 50}
BUFFERED = {"template": "buffered", "settings": BOTH}


def plan_of(**parts: object) -> Plan:
    basis: dict[str, object] = {
        "name": "demo",
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
    }
    return Plan.model_validate(basis | parts)


@pytest.mark.parametrize(
    ("values", "factors"),
    [
        ({}, [1, 2**-0.5, 0.5]),
        ({"template": "polynomial", "settings": {"a": 1}}, [1, 1 / 2, 1 / 4]),
        ({"template": "hinge", "settings": {"a": 1, "b": 1}}, [1, 1, 1 / 3]),
        ({"template": "constant"}, [1, 1, 1]),
    ],
)
def test_an_update_counts_less_the_staler_it_is(values: dict[str, Any], factors: list[float]) -> None:
    staleness = Staleness.model_validate(values)
    assert [staleness.factor(late) for late in (0, 1, 3)] == pytest.approx(factors)


@pytest.mark.parametrize(
    "values",
    [
        {"template": "buffered"},
        {"template": "synchronous", "settings": {"buffer": 1, "concurrency": 1}},
        {"template": "buffered", "settings": {"buffer": 0, "concurrency": 1}},
        {"template": "buffered", "settings": {"buffer": 1}},
        {"template": "buffered", "settings": {**BOTH, "staleness": {"settings": {"b": 3}}}},
        {"template": "asynchronous"},
    ],
)
def test_a_mode_that_is_not_said_whole_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Mode.model_validate(values)


def test_a_frozen_plan_has_the_mode_only_where_it_is_not_the_usual_one() -> None:
    assert "mode" not in frozen_values(plan_of())
    plan = plan_of(mode=BUFFERED)
    assert thaw(freeze(plan)).mode == plan.mode


def test_what_goes_with_the_mode_is_no_mistake() -> None:
    parts = {"aggregation": {"template": "median"}, "server_optimizer": {"template": "fedadam"}}
    assert mistakes_in(plan_of(mode=BUFFERED, **parts)) == []
    assert mistakes_in(plan_of(mode=BUFFERED, algorithm={"template": "fedprox", "settings": {"mu": 0.1}})) == []


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"selector": {"template": "random", "settings": {"count": 2}}}, ("selector", "template")),
        ({"algorithm": {"template": "scaffold"}}, ("algorithm", "template")),
        ({"algorithm": {"template": "src.pull:Pull"}}, ("algorithm", "template")),
        ({"validator": [{"template": "schema"}, {"template": "norm"}]}, ("validator", 1, "template")),
        (
            {"collaborator": {"settings": {"opt_treatment": "CONTINUE_GLOBAL"}}},
            ("collaborator", "settings", "opt_treatment"),
        ),
        ({"model_store": {"accepted_margin": 0.1}}, ("model_store", "accepted_margin")),
        ({"tasks": {"validate": {"function": "validate"}}}, ("mode", "template")),
    ],
)
def test_what_does_not_go_with_it_is_refused_with_a_cure(parts: dict[str, Any], place: tuple[object, ...]) -> None:
    assert place not in [mistake.path for mistake in mistakes_in(plan_of(**parts))]
    (found,) = [each for each in mistakes_in(plan_of(mode=BUFFERED, **parts)) if each.path == place]
    assert found.cure
