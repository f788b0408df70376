"""Builds the exchangeable parts that a plan names."""

from collections.abc import Callable
from typing import Any, cast

from pydantic import ValidationError

from openfl_like.errors import FederationError, PlanError
from openfl_like.federation.assignment import Assigner
from openfl_like.federation.rules import AggregationRule
from openfl_like.federation.selection import Selector
from openfl_like.federation.validation import Validator
from openfl_like.plan.schema import Component, Plan
from openfl_like.registry import resolve
from openfl_like.tensors.compression import Compression
from openfl_like.tensors.encoded import Encoding
from openfl_like.tensors.lossless import Lossless


def build_selector(plan: Plan) -> Selector:
    """Builds the plan's selector.

    Raises:
        PlanError: If there is no such selector or it refuses its settings; so do all functions here.
    """
    return cast("Selector", _build("selector", plan.selector, "selector"))


def build_assigner(plan: Plan) -> Assigner:
    """Builds the plan's assigner and has it look at the plan's tasks once."""
    assigner = cast("Assigner", _build("assigner", plan.assigner, "assigner"))
    assigner.deal((), tuple(plan.tasks), 0)
    return assigner


def build_validators(plan: Plan) -> tuple[Validator, ...]:
    """Builds the plan's validators, in order."""
    parts = [_build("validator", part, f"validator[{index}]") for index, part in enumerate(plan.validator)]
    return tuple(cast("Validator", part) for part in parts)


def build_rule(plan: Plan) -> AggregationRule:
    """Builds the plan's aggregation rule."""
    return cast("AggregationRule", _build("aggregation", plan.aggregation, "aggregation"))


def build_encoding(plan: Plan) -> Encoding | None:
    """Builds what the plan says about the encoding of updates; None: they are plain model files."""
    chosen = plan.collaborator.settings.delta_updates
    plain = plan.compression_pipeline.template == "none"
    compression = cast("Compression", _build("compression", plan.compression_pipeline, "compression_pipeline"))
    delta = not plain if chosen is None else chosen
    packing = plan.compression_pipeline.lossless
    lossless = cast("Lossless", _build("lossless", packing, "compression_pipeline.lossless"))
    if compression.needs_delta and not delta:
        message = f"{plan.compression_pipeline.template} compresses differences to the global model only"
        raise PlanError(message, place="collaborator.settings.delta_updates", cure="leave it out")
    packed = None if packing.template == "none" else lossless
    return None if plain and not delta and packed is None else Encoding(compression, delta, packed)


def _build(kind: str, component: Component, place: str) -> object:
    try:
        factory = cast("Callable[..., Any]", resolve(kind, component.template))
        part: object = factory(**component.settings)
    except FederationError as error:
        raise PlanError(error.message, place=f"{place}.template", cure=error.cure) from error
    except ValidationError as error:
        problems = tuple(_problem(place, dict(fault)) for fault in error.errors())
        raise PlanError(f"the settings of {component.template} are wrong", place=place, problems=problems) from error
    except TypeError as error:
        raise PlanError(f"{component.template} cannot be built: {error}", place=f"{place}.settings") from error
    return part


def _problem(place: str, fault: dict[str, Any]) -> str:
    path = ".".join(str(part) for part in (place, "settings", *fault["loc"]))
    return f"{path}: {fault['msg']}"
