"""Build the validators, the aggregation rule and the server optimizer that a plan names."""

from typing import cast

from openfl_like import registry
from openfl_like.aggregation.algorithms import ServerAlgorithm
from openfl_like.aggregation.engine import Recipe
from openfl_like.aggregation.guarded import guarded_numbers
from openfl_like.aggregation.rules import (
    AggregationRule,
    BlockRule,
    GramRule,
    LinearRule,
    PassRule,
    WeightedAverage,
)
from openfl_like.aggregation.server_optimizers import NoServerOptimizer, ServerOptimizer
from openfl_like.aggregation.tensor_rules import TensorChoice
from openfl_like.aggregation.validation.compared import ComparingValidator
from openfl_like.aggregation.validators import Validator
from openfl_like.errors import PlanError
from openfl_like.federation.parts.source import REGISTERED, PartSource, WorkspaceParts, name_of, of_workspace
from openfl_like.plan.schema import Plan, TensorRule
from openfl_like.plan.section import Component


def build_validators(
    plan: Plan, parts: PartSource = REGISTERED
) -> tuple[tuple[Validator, ...], tuple[ComparingValidator, ...]]:
    """Build the plan's validators: those that look at one update at a time, and those that compare; each in order.

    Raises:
        PlanError: If one cannot be built, or does not go with the plan's mode; so do all functions here.
        FailedPartError: If it is one of the workspace that fails; so do all functions here.
    """
    made = [_built(parts, "validator", part, f"validator[{index}]") for index, part in enumerate(plan.validator)]
    comparing = tuple(part for part in made if isinstance(part, ComparingValidator))
    single = tuple(cast("Validator", part) for part in made if not isinstance(part, ComparingValidator))
    if comparing and plan.mode.settings is not None:
        told = "a validator compares updates, and with the mode buffered these start from different models"
        raise PlanError(told, place="validator", cure="leave it out")
    return single, comparing


def _built(parts: PartSource, kind: str, component: Component, place: str) -> object:
    """Build a part; one of the workspace that runs in this process is looked at, as a referee looks at others."""
    part = parts.build(kind, component, place)
    here = isinstance(parts, WorkspaceParts) and of_workspace(kind, component)
    return guarded_numbers(kind, name_of(kind, component), part) if here else part


def build_recipe(plan: Plan, parts: PartSource = REGISTERED) -> Recipe:
    """Build the plan's aggregation rule, its server optimizer, and the server half of its algorithm."""
    rule = cast("AggregationRule", _built(parts, "aggregation", plan.aggregation, "aggregation"))
    chosen = _built(parts, "server_optimizer", plan.server_optimizer, "server_optimizer")
    optimizer = None if isinstance(chosen, NoServerOptimizer) else cast("ServerOptimizer", chosen)
    choices = tuple(_build_choice(index, part, parts) for index, part in enumerate(plan.aggregation.rules))
    algorithm = build_server_algorithm(plan, parts)
    if algorithm is not None:
        _check_together(plan, rule, optimizer, algorithm)
    return Recipe(rule, optimizer, algorithm, choices)


def _check_together(
    plan: Plan, rule: AggregationRule, optimizer: ServerOptimizer | None, algorithm: ServerAlgorithm
) -> None:
    """Look at what `plan.checks` cannot know of an algorithm of the workspace."""
    name = plan.algorithm.server or plan.algorithm.template
    if algorithm.averages and not isinstance(rule, WeightedAverage):
        told = f"the algorithm '{name}' is a weighted average of updates, and no other rule can be had with it"
        raise PlanError(told, place="aggregation.template", cure="write fedavg, or leave aggregation out")
    if algorithm.averages and any(not part.stays for part in plan.aggregation.rules):
        told = f"the algorithm '{name}' is a weighted average of updates, and no other rule can be had with it"
        raise PlanError(told, place="aggregation.rules", cure="write local, or leave these rules out")
    if algorithm.slots and optimizer is not None:
        told = f"the algorithm '{name}' steps the global model itself"
        raise PlanError(told, place="server_optimizer.template", cure="write none, or leave server_optimizer out")


def _build_choice(index: int, part: TensorRule, parts: PartSource) -> TensorChoice:
    if part.stays:
        return TensorChoice(part.match, None)
    place = f"aggregation.rules[{index}].rule"
    rule = _built(parts, "aggregation", part.rule, place)
    if isinstance(rule, PassRule | GramRule) or not isinstance(rule, BlockRule | LinearRule):
        message = f"{part.rule.template} looks at whole updates, and cannot be the rule of some tensors"
        raise PlanError(message, place=f"{place}.template")
    return TensorChoice(part.match, rule)


def build_server_algorithm(plan: Plan, parts: PartSource = REGISTERED) -> ServerAlgorithm | None:
    """Build the server half of the plan's algorithm, with the same settings; None: it has none."""
    half = Component(template=plan.algorithm.server or plan.algorithm.template, settings=plan.algorithm.settings)
    if plan.algorithm.server is None and half.template not in registry.names("server_algorithm"):
        return None
    return cast("ServerAlgorithm", _built(parts, "server_algorithm", half, "algorithm"))
