"""What some selectors go by that not every experiment has: what devices draw, what they are, how updates differ."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from openfl_like.errors import PlanError
from openfl_like.federation.participation.selection import Selector
from openfl_like.plan.schema import Plan


class Needs(StrEnum):
    """What a selector goes by, as its attribute ``needs`` says.

    Attributes:
        ENERGY: The joules of a training; only simulated devices whose power is known tell them.
        MACHINE: What a site's machine has, `MachineFacts`; only sites of a federation tell it.
        ORDER: In which order the sites were ready first.
        UPDATES: A sketch of each update, less the model that it was trained from.
        WEIGHTS: A sketch of each trained model.
    """

    ENERGY = "energy"
    MACHINE = "machine"
    ORDER = "order"
    UPDATES = "updates"
    WEIGHTS = "weights"


def needs_of(*parts: Selector) -> frozenset[str]:
    """Return what some selectors go by."""
    return frozenset(str(need) for part in parts for need in getattr(part, "needs", ()))


def refuse_unmet(plan: Plan, selectors: Mapping[str, Selector], *, simulated: bool) -> None:
    """Refuse a plan whose selectors go by what nobody will tell.

    Args:
        plan: The plan.
        selectors: Key of the plan -> its selector, as far as they are built.
        simulated: Whether its sites are simulated.

    Raises:
        PlanError: Naming the selector.
    """
    for key, selector in selectors.items():
        template = plan.selector.template if key == "selector" else plan.evaluation_selector.template
        for problem, cure in _unmet(plan, needs_of(selector), simulated=simulated):
            raise PlanError(f"'{template}' {problem}", place=f"{key}.template", cure=cure)
    if needs_of(*selectors.values()) >= {Needs.UPDATES, Needs.WEIGHTS}:
        told = "the selector and the evaluation selector compare updates, one by what training does, the other by where"
        told = f"{told} it ends: of each update there is one sketch, which cannot be both"
        raise PlanError(told, place="evaluation_selector.settings.by", cure="give both the same 'by'")


def _unmet(plan: Plan, needs: frozenset[str], *, simulated: bool) -> Iterator[tuple[str, str]]:
    devices = plan.simulation.devices
    if Needs.ENERGY in needs and not simulated:
        told = "goes by the energy that devices draw, which nobody measures in a federation"
        yield told, "use best_speed or limited_time, or simulate the plan (fx simulate)"
    elif Needs.ENERGY in needs and (
        devices is None or (devices.power.computing_w is None and devices.power.sending_w is None)
    ):
        told = "goes by the energy that devices draw, and the plan does not say what that is"
        yield told, "write simulation.devices.power, or use another selector"
    if Needs.MACHINE in needs and simulated:
        yield "goes by what sites tell of their machines, and simulated sites have none", "use another selector"
    if needs & {Needs.UPDATES, Needs.WEIGHTS} and not any(task.is_training for task in plan.tasks.values()):
        yield "compares updates, and no task of the plan trains, so that there are none", "use the selector random"
