"""Build the exchangeable parts that a plan names."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from pydantic import ValidationError

from openfl_like.errors import FederationError, PlanError
from openfl_like.federation.context import ExperimentContext
from openfl_like.federation.control.decision import Controller
from openfl_like.federation.participation.assignment import Assigner
from openfl_like.federation.participation.needs import needs_of, refuse_unmet
from openfl_like.federation.participation.selection import SelectionView, Selector
from openfl_like.federation.participation.work import WorkPolicy, WorkView
from openfl_like.federation.state import ExperimentState
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Component
from openfl_like.registry import resolve
from openfl_like.tensors.compression import Compression
from openfl_like.tensors.encoded import Encoding
from openfl_like.tensors.lossless import Lossless


def build_context(plan: Plan, state: ExperimentState) -> ExperimentContext:
    """Build all parts of a plan that an experiment asks, around its state.

    Raises:
        PlanError: If one cannot be built; so do all functions here.
    """
    selector, evaluation_selector = build_selector(plan), build_evaluation_selector(plan)
    return ExperimentContext(
        plan=plan,
        selector=selector,
        evaluation_selector=evaluation_selector,
        needs=needs_of(selector, evaluation_selector),
        assigner=build_assigner(plan),
        work=build_work(plan),
        controllers=build_controllers(plan),
        state=state,
    )


def build_selector(plan: Plan) -> Selector:
    """Build the selector of those who train."""
    return _selector(plan.selector, "selector")


def build_evaluation_selector(plan: Plan) -> Selector:
    """Build the selector of those who evaluate."""
    return _selector(plan.evaluation_selector, "evaluation_selector")


def check_needs(plan: Plan, *, simulated: bool) -> None:
    """Refuse a plan whose selectors go by what nobody will tell: see `refuse_unmet`."""
    refuse_unmet(plan, build_selector(plan), build_evaluation_selector(plan), simulated=simulated)


def _selector(component: Component, place: str) -> Selector:
    """Build a selector, and ask it once: one that a package brings may be of another version."""
    selector = cast("Selector", build_component("selector", component, place))
    try:
        view = SelectionView.of(selector.eligible(("site-1",)))
        selector.select(replace(view, count=selector.wanted(view)))
    except Exception as error:  # (whatever the code of a package raises)
        text = f"the selector '{component.template}' cannot be asked for a cohort: {type(error).__name__}: {error}"
        raise PlanError(text, place=f"{place}.template", cure="bring it to the Protocol Selector") from error
    return selector


def build_work(plan: Plan) -> WorkPolicy:
    """Build the plan's policy for how much sites train, and ask it once: a package may bring one."""
    policy = cast("WorkPolicy", build_component("work", plan.work, "work"))
    try:
        dict(policy.assign(WorkView(("site-1",), 0, 0, 1, plan.aggregator.settings.rounds)))
    except Exception as error:  # (whatever the code of a package raises)
        text = f"the policy '{plan.work.template}' cannot be asked for work: {type(error).__name__}: {error}"
        raise PlanError(text, place="work.template", cure="bring it to the Protocol WorkPolicy") from error
    return policy


def build_controllers(plan: Plan) -> tuple[Controller, ...]:
    """Build the plan's controllers, in order."""
    parts = enumerate(plan.controllers)
    return tuple(cast("Controller", build_component("controller", part, f"controllers[{at}]")) for at, part in parts)


def build_assigner(plan: Plan) -> Assigner:
    """Build the plan's assigner and have it look at the plan's tasks once."""
    assigner = cast("Assigner", build_component("assigner", plan.assigner, "assigner"))
    assigner.deal((), tuple(plan.tasks), 0)
    return assigner


def build_encoding(plan: Plan) -> Encoding | None:
    """Build what the plan says about the encoding of updates; None: they are plain model files."""
    chosen = plan.collaborator.settings.delta_updates
    plain = plan.compression_pipeline.template == "none"
    compression = cast("Compression", build_component("compression", plan.compression_pipeline, "compression_pipeline"))
    delta = not plain if chosen is None else chosen
    packing = plan.compression_pipeline.lossless
    lossless = cast("Lossless", build_component("lossless", packing, "compression_pipeline.lossless"))
    if compression.needs_delta and not delta:
        message = f"{plan.compression_pipeline.template} compresses differences to the global model only"
        raise PlanError(message, place="collaborator.settings.delta_updates", cure="leave it out")
    packed = None if packing.template == "none" else lossless
    return None if plain and not delta and packed is None else Encoding(compression, delta, packed)


def build_component(kind: str, component: Component, place: str) -> object:
    """Build what one component of the plan names.

    Args:
        kind: As in the registry.
        component: Its template and settings.
        place: Where it stands in the plan.

    Raises:
        PlanError: If there is no such part or it refuses its settings.
    """
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
