"""Plans that evaluate given models, and the matrix that comes of them."""

import pytest

from openfl_like.errors import PlanError
from openfl_like.federation.metrics import matrix_of, round_metrics
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.checks import mistakes_in
from openfl_like.plan.evaluation import evaluation_of, place_of
from openfl_like.plan.schema import Plan, Task

VALUES: dict[str, object] = {
    "name": "demo",
    "seed": 5,
    "task_runner": {"template": "src.model:Runner", "settings": {"lr": 0.1}},
    "data_loader": {"template": "src.model:Loader"},
    "tasks": {"train": {"function": "train"}, "validate": {"function": "validate", "kwargs": {"batches": 3}}},
    "admission": {"collaborators": ["a", "b"]},
    "stop": {"any": [{"patience": 3}]},
    "compression_pipeline": {"template": "quantise"},
    "selector": {"template": "random", "settings": {"count": 1}},
}
PLAN = Plan.model_validate(VALUES)


def test_a_plan_becomes_one_that_evaluates_only() -> None:
    made = evaluation_of(PLAN, ["all", "a-alone"])
    assert mistakes_in(made) == []
    assert made.name == "demo-evaluation"
    assert made.tasks == {
        "all": Task(function="validate", kwargs={"batches": 3, "apply": "file:given_models/all.safetensors"}),
        "a-alone": Task(function="validate", kwargs={"batches": 3, "apply": "file:given_models/a-alone.safetensors"}),
    }
    assert made.aggregator.settings.init_state_path == place_of("all")
    assert made.aggregator.settings.rounds_to_train == 1
    same = ("seed", "task_runner", "data_loader", "admission", "collaborator", "deadline")
    assert all(getattr(made, key) == getattr(PLAN, key) for key in same)


def test_several_validations_are_all_made() -> None:
    tasks = {**PLAN.tasks, "extra": Task(function="validate", kwargs={"apply": "local"})}
    made = evaluation_of(PLAN.model_copy(update={"tasks": tasks}), ["x", "y"])
    assert list(made.tasks) == ["x-validate", "x-extra", "y-validate", "y-extra"]


def test_one_validation_of_two_models_is_made_once() -> None:
    tasks = {**PLAN.tasks, "own": Task(function="validate", kwargs={"batches": 3, "apply": "local"})}
    assert list(evaluation_of(PLAN.model_copy(update={"tasks": tasks}), ["x", "y"]).tasks) == ["x", "y"]


def test_no_site_is_asked_for_the_state_of_an_optimizer() -> None:
    settings = PLAN.collaborator.settings.model_copy(update={"opt_treatment": "CONTINUE_GLOBAL"})
    shared = PLAN.model_copy(update={"collaborator": PLAN.collaborator.model_copy(update={"settings": settings})})
    assert evaluation_of(shared, ["x"]).collaborator.settings.opt_treatment == "RESET"


@pytest.mark.parametrize("names", [[], ["A"], ["../x"], ["x", "x"], ["x" * 64]])
def test_models_need_names(names: list[str]) -> None:
    with pytest.raises(PlanError, match="need names"):
        evaluation_of(PLAN, names)


def test_a_plan_without_validation_evaluates_nothing() -> None:
    with pytest.raises(PlanError, match="no task that evaluates"):
        evaluation_of(PLAN.model_copy(update={"tasks": {"train": Task(function="train")}}), ["x"])


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (Task(function="validate", kwargs={"apply": "file:../secret"}), "not a file that a bundle can hold"),
        (Task(function="validate", kwargs={"apply": "file:/etc/passwd"}), "not a file that a bundle can hold"),
        (Task(function="validate", kwargs={"apply": "file:"}), "not a file that a bundle can hold"),
        (Task(function="validate", kwargs={"apply": "file:save/x.safetensors"}), "not a file that a bundle can hold"),
        (Task(function="train", kwargs={"apply": "file:x.safetensors"}), "a task that trains"),
        (Task(function="validate", kwargs={"apply": "elsewhere"}), "global, local, personal or file:PATH"),
    ],
)
def test_a_wrong_model_of_a_task_is_a_mistake(task: Task, told: str) -> None:
    (mistake,) = mistakes_in(PLAN.model_copy(update={"tasks": {"t": task}}))
    assert told in mistake.problem


def answer(name: str, samples: int, **metrics: dict[str, float]) -> Update:
    return Update(1, Phase.EVALUATE, name, "", samples, metrics)


def test_the_matrix_has_a_row_for_each_site_and_a_column_for_each_model() -> None:
    tasks = {**evaluation_of(PLAN, ["x", "y"]).tasks, "validate": Task(function="validate")}
    updates = {
        "b": answer("b", 3, x={"accuracy": 1.0}, y={"accuracy": 0.5}, validate={"accuracy": 0.25}),
        "a": answer("a", 1, x={"accuracy": 0.0}, y={"accuracy": 0.5}, validate={"accuracy": 0.25}),
        "c": answer("c", 1, validate={"accuracy": 0.25}),
    }
    assert matrix_of(tasks, updates) == {
        "a": {"x": {"accuracy": 0.0}, "y": {"accuracy": 0.5}},
        "b": {"x": {"accuracy": 1.0}, "y": {"accuracy": 0.5}},
    }
    assert list(matrix_of(tasks, updates)) == ["a", "b"]
    assert round_metrics(tasks, {}, updates) == {"accuracy": 0.25, "accuracy@x": 0.75, "accuracy@y": 0.5}
    assert matrix_of(PLAN.tasks, updates) == {}
