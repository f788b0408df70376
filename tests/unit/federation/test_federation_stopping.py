import pytest

from openfl_like.federation.events import ModelVersion
from openfl_like.federation.stopping import kept_rounds, metrics_missing, stop_reason
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


def test_the_time_that_rounds_took_ends_an_experiment_without_a_limit_of_rounds() -> None:
    asked = plan({"any": [{"wall_s": 90}]})
    settings = asked.aggregator.settings.model_copy(update={"rounds_to_train": "unlimited"})
    unlimited = asked.model_copy(update={"aggregator": asked.aggregator.model_copy(update={"settings": settings})})
    history = versions(*[("loss",)] * 500)
    assert stop_reason(unlimited, history, 89.5) == ""
    assert stop_reason(unlimited, history, 91.25) == "the rounds took 91.25 s, 90 s were planned"
    assert stop_reason(asked, history, 0.0) == "500 of 10 rounds are done"


def test_all_versions_may_be_kept() -> None:
    asked = plan()
    everything = asked.model_copy(update={"model_store": asked.model_store.model_copy(update={"keep": "all"})})
    history = versions(*[("loss",)] * 20)
    assert kept_rounds(everything, history) == set(range(21))
    assert kept_rounds(asked, history) == {16, 17, 18, 19, 20}
