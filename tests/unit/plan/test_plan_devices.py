"""The plan's ``simulation.devices``: how it is written, its digest, and its mistakes, each with place and cure."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from openfl_like.plan.checks import check_plan, mistakes_in
from openfl_like.plan.digest import freeze, plan_digest, plan_text, thaw
from openfl_like.plan.load import load_plan
from openfl_like.plan.mistakes import dotted
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import plan_path

LOGNORMAL = {"template": "lognormal", "settings": {"median": 20, "sigma": 1}}


def with_devices(plan: Plan, **section: Any) -> Plan:  # noqa: ANN401 - whatever a plan may hold
    return Plan.model_validate(plan.model_dump() | {"simulation": {"devices": {"speed": 10, **section}}})


def test_the_digests_of_plans_without_devices_stay(plan: Plan) -> None:
    assert b"simulation" not in freeze(plan)
    assert b"devices" not in freeze(load_plan(plan_path("digits_dirichlet")))
    assert plan_digest(with_devices(plan)) != plan_digest(plan)


def test_a_number_is_written_as_a_number_and_a_generator_as_a_component(plan: Plan, tmp_path: Path) -> None:
    section = {"failures": 0.1, "network": {"latency_s": LOGNORMAL}}
    written = with_devices(plan, **section)
    frozen = json.loads(freeze(written))["simulation"]
    assert set(frozen) == {"devices"}
    assert (frozen["devices"]["speed"], frozen["devices"]["failures"]) == (10, 0.1)
    assert frozen["devices"]["network"]["latency_s"] == LOGNORMAL
    long = {"template": "constant", "settings": {"value": 0.1}}
    assert plan_digest(with_devices(plan, **section | {"failures": long})) == plan_digest(written)
    assert thaw(freeze(written)) == written
    (tmp_path / "plan.yaml").write_text(plan_text(written))
    assert plan_digest(load_plan(tmp_path / "plan.yaml")) == plan_digest(written)


def test_devices_that_make_sense_have_no_mistakes(plan: Plan) -> None:
    day = {"template": "sine", "settings": {"mean": 0.5, "amplitude": 0.5, "period_s": 86400}}
    check_plan(
        with_devices(
            plan,
            speed=LOGNORMAL,
            failures=day,
            network={"up_bytes_per_s": {"template": "pareto", "settings": {"least": 1, "alpha": 1}}},
            availability={"template": "bernoulli", "settings": {"probability": day, "every_s": 60}},
        )
    )
    check_plan(with_devices(plan, availability="always"))
    check_plan(load_plan(plan_path("digits_devices")))


SINE = {"template": "sine", "settings": {"mean": 1, "amplitude": 2, "period_s": 60}}


@pytest.mark.parametrize(
    ("section", "place", "problem", "cure"),
    [
        ({"speed": -3}, "speed", "must be more than 0, and is -3", "give it other numbers"),
        ({"speed": 0}, "speed", "must be more than 0, and is 0", "give it other numbers"),
        ({"speed": SINE}, "speed", "must be more than 0, and may be -1", "give it other numbers"),
        ({"speed": "lognorml"}, "speed.template", "there is no generator named 'lognorml'", "did you mean"),
        (
            {"speed": {"template": "lognormal", "settings": {"median": 1, "sigma": 1, "sgma": 2}}},
            "speed.settings.sgma", "unknown key", "did you mean 'sigma'?",
        ),
        (
            {"speed": {"template": "lognormal", "settings": {"median": -1, "sigma": 2}}},
            "speed.settings.median", "must be more than 0, not -1", "",
        ),
        (
            {"speed": {"template": "trace", "settings": {"points": [[0, 5], [90, 4]], "repeat_s": 60}}},
            "speed.settings", "the trace has a number for 90 s, and it begins anew after 60 s (repeat_s)", "",
        ),
        (
            {"speed": {"template": "pareto", "settings": {"least": 1, "alpha": 0.001}}},
            "speed", "larger than any number", "give it other numbers",
        ),
        (
            {"network": {"latency_s": {"template": "lognormal", "settings": {"median": 1, "sigma": 1000}}}},
            "network.latency_s", "larger than any number", "give it other numbers",
        ),
        ({"network": {"up_bytes_per_s": 0}}, "network.up_bytes_per_s", "must be more than 0, and is 0", ""),
        ({"network": {"latency_s": -1}}, "network.latency_s", "must not be less than 0, and is -1", ""),
        ({"power": {"idle_w": SINE}}, "power.idle_w", "must not be less than 0, and may be -1", ""),
        ({"failures": 1.5}, "failures", "must not be more than 1, and is 1.5", ""),
        ({"availability": "markof"}, "availability.template", "there is no availability named 'markof'", "'markov'?"),
        (
            {"availability": {"template": "bernoulli", "settings": {"probability": 7}}},
            "availability.settings.probability", "must not be more than 1, and is 7", "",
        ),
        (
            {"availability": {"template": "bernoulli", "settings": {"probability": "sin"}}},
            "availability.settings.probability.template", "there is no generator named 'sin'", "did you mean 'sine'?",
        ),
        (
            {"availability": {"template": "trace", "settings": {"points": [[0, 1], [5, 2]]}}},
            "availability", "must not be more than 1, and may be 2", "",
        ),
        ({"unit": "steps"}, "unit", "it is not said how many samples a step has", "data_loader.settings.batch_size"),
    ],
)  # fmt: skip
def test_every_mistake_has_its_place_and_its_cure(
    plan: Plan, section: dict[str, Any], place: str, problem: str, cure: str
) -> None:
    bare = plan.model_copy(update={"data_loader": plan.data_loader.model_copy(update={"settings": {}})})
    (found,) = mistakes_in(with_devices(bare, **section))
    assert dotted(found.path) == f"simulation.devices.{place}"
    assert problem in found.problem
    assert cure in found.cure


@pytest.mark.parametrize("value", [True, [1, 2], None])
def test_what_is_neither_number_nor_generator_is_refused(plan: Plan, value: object) -> None:
    with pytest.raises(ValidationError, match="must be a number, or a generator"):
        with_devices(plan, speed=value)


@pytest.mark.parametrize(
    ("part", "place", "problem"),
    [
        ({"deadline": {"train_s": 5}}, "deadline.train_s", "simulated devices stop at a batch"),
        ({"work": {"template": "static", "settings": {"epochs": 2}}}, "work.template", "how long work takes them"),
    ],
)
def test_where_devices_count_batches_it_is_said_what_one_is(
    plan: Plan, part: dict[str, Any], place: str, problem: str
) -> None:
    values = plan.model_dump(mode="json") | {"simulation": {"devices": {"speed": 2}}} | part
    sized = Plan.model_validate(values | {"data_loader": {"template": "numpy", "settings": {"batch_size": 4}}})
    bare = Plan.model_validate(values | {"data_loader": {"template": "numpy"}})
    assert list(mistakes_in(sized)) == []
    (mistake,) = mistakes_in(bare)
    assert (dotted(mistake.path), problem in mistake.problem) == (place, True)
    assert mistake.cure == "write data_loader.settings.batch_size"
