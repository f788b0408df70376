"""The metrics that tasks of a plan name."""

import json
from typing import Any

import pytest

from openfl_like.plan.checks import mistakes_in
from openfl_like.plan.digest import freeze, plan_digest, thaw
from openfl_like.plan.evaluation import evaluation_of
from openfl_like.plan.schema import Plan


def plan(metrics: list[object] | None, **sections: Any) -> Plan:  # noqa: ANN401 - any section
    task = {"function": "validate"} | ({} if metrics is None else {"metrics": metrics})
    values = {
        "name": "measured",
        "task_runner": {"template": "src.model:Model"},
        "data_loader": {"template": "numpy"},
        "tasks": {"train": {"function": "train"}, "validate": task},
        **sections,
    }
    return Plan.model_validate(values)


@pytest.mark.parametrize(
    ("metric", "mode"),
    [("f1_macro", "max"), ("validate.mse", "min"), ("train.top_k_accuracy", "max"), ("loss", "min"), ("own", None)],
)
def test_the_mode_of_the_best_comes_with_the_metric(metric: str, mode: str | None) -> None:
    made = plan(None, model_store={"best": {"metric": metric}})
    assert made.model_store.best.mode == mode
    assert any("it is not said whether more or less" in each.problem for each in mistakes_in(made)) is (mode is None)


def test_a_mode_that_is_given_holds() -> None:
    assert plan(None, model_store={"best": {"metric": "mse", "mode": "max"}}).model_store.best.mode == "max"


def test_a_plan_without_metrics_has_the_digest_that_it_always_had() -> None:
    assert plan_digest(plan(None)) == plan_digest(plan([]))
    assert "metrics" not in json.loads(freeze(plan(None)))["tasks"]["validate"]


def test_metrics_are_a_part_of_the_digest_and_come_back() -> None:
    made = plan(["f1_macro", {"template": "src.own:Metric", "name": "own", "settings": {"a": 1}}])
    assert thaw(freeze(made)).tasks == made.tasks
    assert plan_digest(made) != plan_digest(plan(None))
    assert [choice.published for choice in made.tasks["validate"].metrics] == ["f1_macro", "own"]


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        (["f1_makro"], "there is no metric named 'f1_makro'"),
        (["mse", "mse"], "there are two metrics 'mse'"),
        (["loss"], "the loss is measured without being named"),
        ([{"template": "top_k_accuracy", "settings": {"k": 0}}], "must be at least 1"),
        ([{"template": "mse", "settings": {"k": 1}}], "k"),
        (["a b:c"], "is not a registered name"),
    ],
)
def test_what_cannot_be_measured_is_refused(metrics: list[object], told: str) -> None:
    (found,) = mistakes_in(plan(metrics))
    assert found.path[:3] == ("tasks", "validate", "metrics")
    assert told in found.problem or told in str(found.path)


def test_an_evaluation_measures_what_the_plan_s_own_does() -> None:
    made = evaluation_of(plan(["mae"]), ["a"])
    assert [choice.template for choice in made.tasks["a"].metrics] == ["mae"]
