import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from openfl_like.aggregation.build import build_recipe, build_validators
from openfl_like.aggregation.engine import Recipe
from openfl_like.aggregation.rules import WeightedAverage
from openfl_like.errors import PlanError
from openfl_like.federation.components import build_assigner, build_encoding, build_selector
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.metrics import round_metrics
from openfl_like.federation.participation.assignment import AllTasks, StaticGroups, calls_in_phase
from openfl_like.federation.participation.selection import (
    AllSelector,
    RandomSelector,
    SelectionView,
    Selector,
    share_of,
)
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.stopping import is_best, stop_reason
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.schema import Plan, Stop, StopRule, Task
from openfl_like.plan.section import Component
from openfl_like.tensors.lossless import Zstd

NAMES = st.lists(st.sampled_from("abcdefghij"), unique=True)
SELECTORS: list[Selector] = [
    AllSelector(exclude=("c",)),
    RandomSelector(fraction=0.5),
    RandomSelector(count=2, include=("a", "b", "d")),
]


def plan_with(**parts: object) -> Plan:
    basis = {
        "name": "demo",
        "task_runner": Component(template="src.model:Runner"),
        "data_loader": Component(template="src.model:Loader"),
        "tasks": {"train": Task(function="train")},
    }
    return Plan.model_validate(basis | parts)


def test_seeds_are_the_same_everywhere() -> None:
    assert derive_seed(7, 1, "a", "train") == 6478796916921896855


@given(st.lists(st.text() | st.integers(), min_size=1), st.lists(st.text() | st.integers(), min_size=1))
def test_streams_differ(left: list[str | int], right: list[str | int]) -> None:
    same = [(type(part), part) for part in left] == [(type(part), part) for part in right]
    assert (derive_seed(1, *left) == derive_seed(1, *right)) is same
    assert 0 <= derive_seed(1, *left) < 2**63


@pytest.mark.parametrize(
    ("fraction", "number", "share"), [(0.1, 30, 3), (0.5, 3, 2), (0.34, 3, 2), (1.0, 3, 3), (0.5, 0, 0), (1e-9, 5, 1)]
)
def test_fractions_are_rounded_up(fraction: float, number: int, share: int) -> None:
    assert share_of(fraction, number) == share


@pytest.mark.parametrize("selector", SELECTORS)
@given(names=NAMES, count=st.integers(0, 10), seed=st.integers(0, 2**63 - 1), order=st.randoms())
@settings(max_examples=30)
def test_selection_does_not_depend_on_order(
    selector: Selector, names: list[str], count: int, seed: int, order: object
) -> None:
    eligible = selector.eligible(names)
    assert eligible == selector.eligible(names[::-1])
    chosen = selector.select(SelectionView.of(eligible, count, seed))
    assert list(chosen) == sorted(set(chosen) & set(names))
    assert len(chosen) == min(count, len(eligible))


def test_random_selection_reaches_everybody() -> None:
    drawn = [RandomSelector(count=1).select(SelectionView.of("abc", 1, seed))[0] for seed in range(60)]
    assert {name: drawn.count(name) > 8 for name in "abc"} == {"a": True, "b": True, "c": True}


def test_include_and_exclude() -> None:
    selector = AllSelector(include=("a", "b", "z"), exclude=("b",))
    assert selector.eligible(["c", "b", "a"]) == ["a"]


@pytest.mark.parametrize(
    "values", [{}, {"fraction": 0.5, "count": 1}, {"fraction": 0}, {"fraction": 1.1}, {"count": 0}, {"part": 0.5}]
)
def test_wrong_settings_of_a_selector(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RandomSelector(**values)  # type: ignore[arg-type]  # the mistakes are the point


def test_groups_share_tasks_in_plan_order() -> None:
    assigner = StaticGroups(
        groups=[  # type: ignore[arg-type]  # as they come from YAML
            {"name": "all", "collaborators": ["a", "b"], "tasks": ["validate"]},
            {"name": "trainers", "collaborators": ["a"], "tasks": ["train"]},
        ]
    )
    tasks = ("train", "validate", "other")
    assert assigner.deal("abc", tasks, 0) == {"a": ("train", "validate"), "b": ("validate",), "c": ()}
    with pytest.raises(PlanError, match="'validate', which the plan does not have"):
        assigner.deal("c", ("train",), 0)


def test_phases_divide_the_tasks() -> None:
    tasks = {
        "before": Task(function="validate", kwargs={"apply": "local", "batches": 3}),
        "train": Task(function="train", kwargs={"epochs": 2}),
        "after": Task(function="validate"),
    }
    names = AllTasks().deal("a", tuple(tasks), 0)["a"]
    train = calls_in_phase(tasks, names, Phase.TRAIN)
    assert [(call.name, call.apply, call.arguments) for call in train] == [
        ("before", "local", {"batches": 3}),
        ("train", "global", {"epochs": 2}),
    ]
    assert [call.name for call in calls_in_phase(tasks, names, Phase.EVALUATE)] == ["after"]
    assert [call.name for call in calls_in_phase(tasks, ("before", "after"), Phase.TRAIN)] == []
    assert [call.name for call in calls_in_phase(tasks, ("before", "after"), Phase.EVALUATE)] == ["before", "after"]
    assert [call.function for call in calls_in_phase(tasks, names, Phase.INITIALISE)] == ["initialise"]


def version(number: int, *, best: bool = False, **metrics: float) -> ModelVersion:
    return ModelVersion(number, f"m{number}", metrics, best)


@pytest.mark.parametrize(
    ("stop", "history", "reason"),
    [
        (Stop(), [], ""),
        (Stop(), [version(9)], ""),
        (Stop(), [version(10)], "10 of 10 rounds are done"),
        (Stop(any=(StopRule(rounds=3),)), [version(2)], ""),
        (Stop(any=(StopRule(rounds=3),)), [version(3)], "3 rounds are done"),
        (Stop(any=(StopRule(metric="accuracy", min=0.9),)), [version(1, accuracy=0.89)], ""),
        (
            Stop(any=(StopRule(metric="accuracy", min=0.9),)),
            [version(1, accuracy=0.9)],
            "accuracy is 0.9, at least 0.9 was wanted",
        ),
        (Stop(any=(StopRule(metric="accuracy", min=0.9),)), [version(1, loss=1.0)], ""),
        (Stop(any=(StopRule(loss_max=0.1),)), [version(1, loss=0.2)], ""),
        (Stop(any=(StopRule(loss_max=0.1),)), [version(1, loss=0.05)], "loss is 0.05, at most 0.1 was wanted"),
        (Stop(any=(StopRule(patience=2),)), [version(1, best=True), version(2)], ""),
        (
            Stop(any=(StopRule(patience=2),)),
            [version(1, best=True), version(2), version(3)],
            "no better model for 2 rounds",
        ),
        (Stop(any=(StopRule(patience=2),)), [version(0), version(5)], ""),
        (Stop(all=(StopRule(rounds=3), StopRule(loss_max=0.1))), [version(4, loss=0.5)], ""),
        (
            Stop(all=(StopRule(rounds=3), StopRule(loss_max=0.1))),
            [version(4, loss=0.0)],
            "3 rounds are done and loss is 0, at most 0.1 was wanted",
        ),
    ],
)
def test_stop_rules(stop: Stop, history: list[ModelVersion], reason: str) -> None:
    assert stop_reason(plan_with(stop=stop), history) == reason


@pytest.mark.parametrize(
    ("mode", "value", "best"), [("max", 0.6, True), ("max", 0.5, False), ("min", 0.4, True), ("min", 0.5, False)]
)
def test_a_tie_keeps_the_earlier_version(mode: str, value: float, *, best: bool) -> None:
    plan = plan_with(model_store={"best": {"metric": "score", "mode": mode}})
    history = [version(0), version(1, best=True, score=0.5)]
    assert is_best(plan, history, {"score": value}) is best
    assert is_best(plan, [], {"score": value})
    assert not is_best(plan, history, {"other": value})


def answer(name: str, samples: int, metrics: dict[str, dict[str, float]]) -> Update:
    return Update(1, Phase.EVALUATE, name, "", samples, metrics)


def test_metrics_are_weighted_by_samples() -> None:
    tasks = {
        "train": Task(function="train"),
        "local": Task(function="validate", kwargs={"apply": "local"}),
        "validate": Task(function="validate"),
    }
    trained = {name: answer(name, n, {"train": {"loss": n / 10}}) for name, n in {"a": 10, "b": 30}.items()}
    evaluated = {
        "a": answer("a", 1, {"validate": {"accuracy": 0.0}, "local": {"accuracy": 1.0}, "unknown": {"x": 1.0}}),
        "b": answer("b", 3, {"validate": {"accuracy": 1.0, "extra": 5.0}}),
        "c": answer("c", 0, {"validate": {"accuracy": 1.7e308}}),
    }
    assert round_metrics(tasks, trained, evaluated) == {
        "accuracy": 0.75,
        "extra": 5.0,
        "local.accuracy": 1.0,
        "train.loss": 2.5,
    }


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**53)), min_size=1))
@settings(max_examples=40)
def test_a_mean_lies_between_the_values(pairs: list[tuple[float, int]]) -> None:
    tasks = {"v": Task(function="validate")}
    updates = {str(index): answer(str(index), n, {"v": {"m": value}}) for index, (value, n) in enumerate(pairs)}
    mean = round_metrics(tasks, {}, updates)["m"]
    assert min(value for value, _ in pairs) <= mean <= max(value for value, _ in pairs)


def test_parts_of_the_default_plan_can_be_built() -> None:
    plan = plan_with()
    assert build_selector(plan) == AllSelector()
    assert build_assigner(plan) == AllTasks()
    single, comparing = build_validators(plan)
    assert [type(part).__name__ for part in single] == ["SameSchema", "Finite"]
    assert comparing == ()
    assert build_recipe(plan) == Recipe(WeightedAverage())
    assert build_encoding(plan) is None


@pytest.mark.parametrize(
    ("template", "chosen", "delta"),
    [("none", True, True), ("float16", None, True), ("float16", False, False), ("quantise", None, True)],
)
def test_what_is_compressed_is_the_difference_unless_the_plan_says_no(
    template: str,
    chosen: bool | None,  # noqa: FBT001 - parameters
    delta: bool,  # noqa: FBT001 - parameters
) -> None:
    settings = {"settings": {"delta_updates": chosen}}
    encoding = build_encoding(plan_with(compression_pipeline={"template": template}, collaborator=settings))
    assert encoding is not None
    assert encoding.delta is delta


@pytest.mark.parametrize(("template", "delta"), [("none", False), ("top_k", True)])
def test_packing_does_not_change_whether_differences_are_sent(template: str, *, delta: bool) -> None:
    settings = {"fraction": 0.1} if template == "top_k" else {}
    packing = {"template": "zstd", "settings": {"level": 3}}
    pipeline = {"template": template, "settings": settings, "lossless": packing}
    encoding = build_encoding(plan_with(compression_pipeline=pipeline))
    assert encoding is not None
    assert encoding.delta is delta
    assert encoding.lossless == Zstd(level=3)


def build_everything(plan: Plan) -> None:
    for build in (build_selector, build_assigner, build_validators, build_recipe, build_encoding):
        build(plan)


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"selector": {"template": "randm"}}, "selector.template"),
        ({"selector": {"template": "random", "settings": {"fraction": 2}}}, "selector.settings.fraction"),
        ({"selector": {"template": "subprocess:Popen", "settings": {"args": ["false"]}}}, "selector.template"),
        ({"aggregation": {"template": "subprocess:Popen", "settings": {"args": ["false"]}}}, "aggregation.template"),
        ({"aggregation": {"template": "fedavg", "settings": {"wieghted": True}}}, "aggregation.settings.wieghted"),
        ({"validator": [{"template": "finite", "settings": {"x": 1}}]}, "validator[0].settings.x"),
        ({"compression_pipeline": {"template": "top_k"}}, "compression_pipeline.settings.fraction"),
        ({"compression_pipeline": {"lossless": {"template": "zip"}}}, "compression_pipeline.lossless.template"),
        (
            {
                "compression_pipeline": {"template": "quantise"},
                "collaborator": {"settings": {"delta_updates": False}},
            },
            "collaborator.settings.delta_updates",
        ),
        (
            {"assigner": {"template": "static", "settings": {"groups": [{"name": "g", "collaborators": []}]}}},
            "assigner.settings.groups.0.tasks",
        ),
    ],
)
def test_mistakes_in_parts_are_plan_errors(parts: dict[str, object], place: str) -> None:
    plan = plan_with(**parts)
    with pytest.raises(PlanError) as caught:
        build_everything(plan)
    assert place in str(caught.value)
