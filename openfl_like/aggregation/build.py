"""Build the validators, the aggregation rule and the server optimizer that a plan names."""

from typing import cast

from openfl_like import registry
from openfl_like.aggregation.algorithms import ServerAlgorithm
from openfl_like.aggregation.engine import Recipe
from openfl_like.aggregation.rules import AggregationRule, BlockRule, GramRule, LinearRule, PassRule
from openfl_like.aggregation.server_optimizers import NoServerOptimizer, ServerOptimizer
from openfl_like.aggregation.tensor_rules import TensorChoice
from openfl_like.aggregation.validation.compared import ComparingValidator
from openfl_like.aggregation.validators import Validator
from openfl_like.errors import PlanError
from openfl_like.federation.components import build_component
from openfl_like.plan.schema import Plan, TensorRule


def build_validators(plan: Plan) -> tuple[tuple[Validator, ...], tuple[ComparingValidator, ...]]:
    """Build the plan's validators: those that look at one update at a time, and those that compare; each in order."""
    parts = [build_component("validator", part, f"validator[{index}]") for index, part in enumerate(plan.validator)]
    comparing = tuple(part for part in parts if isinstance(part, ComparingValidator))
    single = tuple(cast("Validator", part) for part in parts if not isinstance(part, ComparingValidator))
    return single, comparing


def build_recipe(plan: Plan) -> Recipe:
    """Build the plan's aggregation rule, its server optimizer, and the server half of its algorithm."""
    rule = cast("AggregationRule", build_component("aggregation", plan.aggregation, "aggregation"))
    chosen = build_component("server_optimizer", plan.server_optimizer, "server_optimizer")
    optimizer = None if isinstance(chosen, NoServerOptimizer) else cast("ServerOptimizer", chosen)
    choices = tuple(_build_choice(index, part) for index, part in enumerate(plan.aggregation.rules))
    return Recipe(rule, optimizer, build_server_algorithm(plan), choices)


def _build_choice(index: int, part: TensorRule) -> TensorChoice:
    if part.stays:
        return TensorChoice(part.match, None)
    place = f"aggregation.rules[{index}].rule"
    rule = build_component("aggregation", part.rule, place)
    if isinstance(rule, PassRule | GramRule) or not isinstance(rule, BlockRule | LinearRule):
        message = f"{part.rule.template} looks at whole updates, and cannot be the rule of some tensors"
        raise PlanError(message, place=f"{place}.template")
    return TensorChoice(part.match, rule)


def build_server_algorithm(plan: Plan) -> ServerAlgorithm | None:
    """Build the server half of the plan's algorithm; None: it has none."""
    if plan.algorithm.template not in registry.names("server_algorithm"):
        return None
    return cast("ServerAlgorithm", build_component("server_algorithm", plan.algorithm, "algorithm"))
