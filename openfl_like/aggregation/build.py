"""Build the validators and the aggregation rule that a plan names."""

from typing import cast

from openfl_like.aggregation.rules import AggregationRule
from openfl_like.aggregation.validators import Validator
from openfl_like.federation.components import build_component
from openfl_like.plan.schema import Plan


def build_validators(plan: Plan) -> tuple[Validator, ...]:
    """Builds the plan's validators, in order."""
    parts = [build_component("validator", part, f"validator[{index}]") for index, part in enumerate(plan.validator)]
    return tuple(cast("Validator", part) for part in parts)


def build_rule(plan: Plan) -> AggregationRule:
    """Builds the plan's aggregation rule."""
    return cast("AggregationRule", build_component("aggregation", plan.aggregation, "aggregation"))
