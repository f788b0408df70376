import pytest

from openfl_like.federation.events import ModelVersion
from openfl_like.federation.stopping import metrics_missing
from openfl_like.plan.schema import Plan

TRAINS = {"train": {"function": "train"}, "validate": {"function": "validate"}}


def plan(stop: dict[str, object] | None = None, tasks: object = None, **best: str) -> Plan:
    return Plan.model_validate(
        {
            "name": "demo",
            "task_runner": {"template": "a:B"},
            "data_loader": {"template": "numpy"},
            "tasks": tasks or TRAINS,
            "stop": stop or {},
            "model_store": {"best": best},
        }
    )


def versions(*metrics: tuple[str, ...]) -> list[ModelVersion]:
    """The initial model and one version for each of these."""
    trained = [ModelVersion(number, "m", dict.fromkeys(names, 0.5)) for number, names in enumerate(metrics, 1)]
    return [ModelVersion(0, "m"), *trained]


@pytest.mark.parametrize(
    ("rounds", "missing"),
    [
        ([], {}),
        ([("loss",)], {}),
        ([()], {"loss": ("model_store.best.metric",)}),
        ([(), ()], {}),
        ([(), ("loss",)], {}),
        ([("loss",), ()], {"loss": ("model_store.best.metric",)}),
        ([("loss",), (), ("loss",), ()], {"loss": ("model_store.best.metric",)}),
    ],
)
def test_a_metric_is_missing_once_until_it_was_there_again(
    rounds: list[tuple[str, ...]], missing: dict[str, tuple[str, ...]]
) -> None:
    assert metrics_missing(plan(), versions(*rounds)) == missing


def test_every_key_that_goes_by_a_metric_is_named() -> None:
    stop: dict[str, object] = {
        "any": [{"patience": 2}, {"metric": "auc", "min": 0.9}, {"rounds": 3}],
        "all": [{"loss_max": 0.1}, {"metric": "auc", "max": 1.0}],
    }
    assert metrics_missing(plan(stop, metric="accuracy"), versions(("other",))) == {
        "accuracy": ("model_store.best.metric", "stop.any[0].patience"),
        "auc": ("stop.any[1].metric", "stop.all[1].metric"),
        "loss": ("stop.all[0].loss_max",),
    }


def test_a_plan_that_trains_nothing_goes_by_no_metric() -> None:
    assert metrics_missing(plan(tasks={"look": {"function": "validate"}}), versions(())) == {}


@pytest.mark.parametrize(
    ("metric", "mode"),
    [("loss", "min"), ("train.loss", "min"), ("accuracy", "max"), ("check.auc", "max"), ("rmse", None)],
)
def test_what_is_better_is_known_of_the_metrics_that_everybody_knows(metric: str, mode: str | None) -> None:
    assert plan(metric=metric).model_store.best.mode == mode
    assert plan(metric=metric, mode="max").model_store.best.mode == "max"
