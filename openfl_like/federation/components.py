"""Build the exchangeable parts that a plan names."""

from dataclasses import replace
from typing import cast

from openfl_like.errors import PlanError
from openfl_like.federation.context import ExperimentContext
from openfl_like.federation.control.decision import Controller
from openfl_like.federation.failure import FailedPartError
from openfl_like.federation.participation.assignment import Assigner
from openfl_like.federation.participation.needs import needs_of, refuse_unmet
from openfl_like.federation.participation.selection import SelectionView, Selector
from openfl_like.federation.participation.work import WorkPolicy, WorkView
from openfl_like.federation.parts.source import REGISTERED, PartSource, build_component, of_workspace
from openfl_like.federation.state import ExperimentState
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Component
from openfl_like.tensors.compression import Compression
from openfl_like.tensors.encoded import Encoding
from openfl_like.tensors.lossless import Lossless


def build_context(plan: Plan, state: ExperimentState, parts: PartSource = REGISTERED) -> ExperimentContext:
    """Build all parts of a plan that an experiment asks, around its state.

    Raises:
        PlanError: If one cannot be built; so do all functions here.
        FailedPartError: If it is one of the workspace that fails; so do all functions here that take ``parts``.
    """
    selector, evaluation_selector = build_selector(plan, parts), build_evaluation_selector(plan, parts)
    return ExperimentContext(
        plan=plan,
        selector=selector,
        evaluation_selector=evaluation_selector,
        needs=needs_of(selector, evaluation_selector),
        assigner=build_assigner(plan, parts),
        work=build_work(plan, parts),
        controllers=build_controllers(plan, parts),
        state=state,
    )


def build_selector(plan: Plan, parts: PartSource = REGISTERED) -> Selector:
    """Build the selector of those who train."""
    return _selector(plan.selector, "selector", parts)


def build_evaluation_selector(plan: Plan, parts: PartSource = REGISTERED) -> Selector:
    """Build the selector of those who evaluate."""
    return _selector(plan.evaluation_selector, "evaluation_selector", parts)


def check_needs(plan: Plan, *, simulated: bool, parts: PartSource | None = None) -> None:
    """Refuse a plan whose selectors go by what nobody will tell: see `refuse_unmet`.

    Args:
        plan: The plan.
        simulated: Whether its sites are simulated.
        parts: Builds its selectors; None: where code of the workspace does not run, so that only those with a short
            name are looked at.
    """
    named = {"selector": plan.selector, "evaluation_selector": plan.evaluation_selector}
    known = {key: part for key, part in named.items() if parts is not None or not of_workspace("selector", part)}
    selectors = {key: _selector(part, key, parts or REGISTERED) for key, part in known.items()}
    refuse_unmet(plan, selectors, simulated=simulated)


def _selector(component: Component, place: str, parts: PartSource) -> Selector:
    """Build a selector, and ask it once: one that a package brings may be of another version."""
    selector = cast("Selector", parts.build("selector", component, place))
    try:
        view = SelectionView.of(selector.eligible(("site-1",)))
        selector.select(replace(view, count=selector.wanted(view)))
    except FailedPartError:
        raise
    except Exception as error:  # (whatever the code of a package raises)
        text = f"the selector '{component.template}' cannot be asked for a cohort: {type(error).__name__}: {error}"
        raise PlanError(text, place=f"{place}.template", cure="bring it to the Protocol Selector") from error
    return selector


def build_work(plan: Plan, parts: PartSource = REGISTERED) -> WorkPolicy:
    """Build the plan's policy for how much sites train, and ask it once: a package may bring one."""
    policy = cast("WorkPolicy", parts.build("work", plan.work, "work"))
    try:
        dict(policy.assign(WorkView(("site-1",), 0, 0, 1, plan.aggregator.settings.rounds)))
    except FailedPartError:
        raise
    except Exception as error:  # (whatever the code of a package raises)
        text = f"the policy '{plan.work.template}' cannot be asked for work: {type(error).__name__}: {error}"
        raise PlanError(text, place="work.template", cure="bring it to the Protocol WorkPolicy") from error
    return policy


def build_controllers(plan: Plan, parts: PartSource = REGISTERED) -> tuple[Controller, ...]:
    """Build the plan's controllers, in order."""
    named = enumerate(plan.controllers)
    return tuple(cast("Controller", parts.build("controller", part, f"controllers[{at}]")) for at, part in named)


def build_assigner(plan: Plan, parts: PartSource = REGISTERED) -> Assigner:
    """Build the plan's assigner and have it look at the plan's tasks once."""
    assigner = cast("Assigner", parts.build("assigner", plan.assigner, "assigner"))
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
