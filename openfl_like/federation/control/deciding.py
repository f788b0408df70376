"""Asking the plan's controllers before a round."""

import json
import math
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import asdict, replace
from typing import cast

from pydantic import JsonValue

from openfl_like.errors import PlanError
from openfl_like.federation.control.decision import (
    Control,
    Controller,
    ControlView,
    Decision,
    EndExperiment,
    SetArgument,
    SkipSite,
    WeighSite,
)
from openfl_like.federation.failure import MAX_NAME, FailedPartError, bounded
from openfl_like.federation.round_control import ControlMemory, RoundControl
from openfl_like.plan.schema import Plan

MOST_BYTES, MOST_BYTES_OF_SITE = 1 << 16, 256
"""Of what a controller decides for a round, written as JSON: in all, and for each member more."""
MOST_VALUE_BYTES = 1 << 14
"""Of an argument's value, written as JSON: it goes to every site in every round."""


def decide(
    plan: Plan, controllers: Iterable[Controller], view: ControlView, memories: MutableMapping[int, ControlMemory]
) -> RoundControl:
    """Ask all controllers what is to be done in a round that is about to begin.

    Args:
        plan: The plan, which names them.
        controllers: In the plan's order.
        view: What they see, but for their own states.
        memories: Place -> what a controller remembers; kept up here. One that has been asked for this round before,
            since the round begins anew, is shown what it was shown then.

    Raises:
        PlanError: If a controller cannot be asked, or decides what cannot be done.
    """
    found = list[Decision]()
    for place, controller in enumerate(controllers):
        known = memories.get(place)
        before = cast("JsonValue", _shown(known, view.round))
        where = f"controllers[{place}]"
        try:
            answer: Control = controller.decide(replace(view, state=before))
            json.dumps([answer.state, [asdict(decision) for decision in answer.decisions]], allow_nan=False)
        except FailedPartError:
            raise
        except Exception as error:  # (whatever the code of a package raises)
            text = f"the controller '{plan.controllers[place].template}' failed: {type(error).__name__}: {error}"
            raise PlanError(text, place=where, cure="mend it, or leave it out") from error
        _check(answer.decisions, plan.tasks, view.members, where)
        memories[place] = ControlMemory(view.round, before, answer.state)
        found += answer.decisions
    return _together(found)


def _shown(known: ControlMemory | None, number: int) -> object:
    """Return the state that a controller is shown before a round."""
    if known is None:
        return None
    return known.before if known.round == number else known.after


def _check(decisions: Sequence[Decision], tasks: Mapping[str, object], members: Sequence[str], where: str) -> None:
    _check_size(decisions, len(members), where)
    known = {*members}
    for decision in decisions:
        match decision:
            case WeighSite(site) | SkipSite(site) if site not in known:
                text = f"it decides about '{bounded(str(site)[:MAX_NAME])}', which is not a site of the experiment"
                raise PlanError(text, place=where, cure="decide about members of the view")
            case WeighSite(site, factor) if not (math.isfinite(factor) and factor > 0):
                text = f"the weight of site '{site}' would be multiplied by {factor:g}"
                raise PlanError(text, place=where, cure="a factor is above 0; skip a site that is not to count")
            case SetArgument(task) if task not in tasks:
                raise PlanError(f"there is no task '{task}'", place=where, cure="name a task of the plan")
            case _:
                pass


def _check_size(decisions: Sequence[Decision], members: int, where: str) -> None:
    for decision in decisions:
        if isinstance(decision, SetArgument) and (size := len(json.dumps(decision.value))) > MOST_VALUE_BYTES:
            name = bounded(str(decision.argument)[:MAX_NAME])
            text = f"the value of the argument '{name}' has {size:,} bytes, the limit is {MOST_VALUE_BYTES:,}"
            raise PlanError(text, place=where, cure="have the task make what is large itself")
    size, most = (
        len(json.dumps([asdict(decision) for decision in decisions])),
        MOST_BYTES + members * MOST_BYTES_OF_SITE,
    )
    if size > most:
        text = f"what it decides for a round has {size:,} bytes, the limit is {most:,}"
        raise PlanError(text, place=where, cure="decide once about a site, and give short reasons")


def _together(decisions: Iterable[Decision]) -> RoundControl:
    skipped: dict[str, str] = {}
    weights: dict[str, float] = {}
    arguments: dict[str, dict[str, JsonValue]] = {}
    ended = ""
    for decision in decisions:
        match decision:
            case EndExperiment(reason):
                ended = ended or reason
            case SkipSite(site, reason):
                skipped[site] = reason
            case WeighSite(site, factor):
                weights[site] = weights.get(site, 1.0) * factor
            case SetArgument(task, argument, value):
                arguments.setdefault(task, {})[argument] = value
    return RoundControl(skipped, weights, arguments, ended)
