"""Plans that train nothing: given models are evaluated at every site, which makes a matrix of sites and models."""

import re
from collections.abc import Sequence

from pydantic import ValidationError

from openfl_like.errors import PlanError
from openfl_like.plan.mistakes import explain, refuse
from openfl_like.plan.names import NAME_PATTERN
from openfl_like.plan.schema import FILE, Plan, Task

FOLDER = "given_models"
_NAME = re.compile(NAME_PATTERN)


def place_of(model: str) -> str:
    """Where a given model is in the workspace."""
    return f"{FOLDER}/{model}.safetensors"


def evaluation_of(plan: Plan, models: Sequence[str]) -> Plan:
    """Make a plan of one round in which every site evaluates the given models with the plan's own validations.

    The tasks are named after the models; with several validations, after the model and the validation. Validations that
    differ only in whose model they look at are one here. Optimizers do not matter, and their state is not asked for.
    The first model is the experiment's own, so that nobody has to make one.

    Args:
        plan: A plan whose workspace, data loader, admission and participation are meant.
        models: Their names.

    Raises:
        PlanError: If the plan has no validation, or a name is wrong or there twice.
    """
    validations = _validations(plan)
    if not validations:
        raise PlanError(
            "the plan has no task that evaluates", place=plan.name, cure="add one with the function validate"
        )
    wrong = [name for name in models if not _NAME.fullmatch(name)]
    if wrong or not models or len(set(models)) != len(models):
        cure = "up to 63 of a-z, 0-9, - and _, each name once"
        raise PlanError(
            f"the models need names: {', '.join(wrong or models) or 'there is none'}", place="models", cure=cure
        )
    tasks = {
        name if len(validations) == 1 else f"{name}-{task}": {
            "function": validation.function,
            "trains": False,
            "metrics": [choice.model_dump() for choice in validation.metrics],
            "kwargs": {**validation.arguments, "apply": f"{FILE}{place_of(name)}"},
        }
        for name in models
        for task, validation in validations.items()
    }
    kept = {"seed", "workspace", "collaborator", "task_runner", "data_loader", "admission", "participation", "deadline"}
    values = {
        **plan.with_reset_optimizer().model_dump(include=kept),
        "name": f"{plan.name[:52]}-evaluation",
        "aggregator": {"settings": {"rounds_to_train": 1, "init_state_path": place_of(models[0])}},
        "tasks": tasks,
        "network": plan.network.model_dump(),
    }
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        raise refuse(plan.name, explain(error, Plan), {}, PlanError) from error


def _validations(plan: Plan) -> dict[str, Task]:
    """The plan's validations by name, those of the same function and arguments only once."""
    found: dict[str, Task] = {}
    for name, task in plan.tasks.items():
        known = any(_same(task, other) for other in found.values())
        if not task.is_training and not task.of_file and not known:
            found[name] = task
    return found


def _same(one: Task, other: Task) -> bool:
    """Whether two validations differ at most in the model that they look at."""
    return (one.function, one.arguments, one.metrics) == (other.function, other.arguments, other.metrics)
