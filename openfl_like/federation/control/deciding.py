"""Asking the plan's controllers before a round."""

import json
import math
from collections.abc import Iterable, Mapping, MutableMapping
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
from openfl_like.federation.failure import FailedPartError
from openfl_like.federation.round_control import ControlMemory, RoundControl
from openfl_like.plan.schema import Plan


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
        _check(answer.decisions, plan.tasks, where)
        memories[place] = ControlMemory(view.round, before, answer.state)
        found += answer.decisions
    return _together(found)


def _shown(known: ControlMemory | None, number: int) -> object:
    """Return the state that a controller is shown before a round."""
    if known is None:
        return None
    return known.before if known.round == number else known.after


def _check(decisions: Iterable[Decision], tasks: Mapping[str, object], where: str) -> None:
    for decision in decisions:
        match decision:
            case WeighSite(site, factor) if not (math.isfinite(factor) and factor > 0):
                text = f"the weight of site '{site}' would be multiplied by {factor:g}"
                raise PlanError(text, place=where, cure="a factor is above 0; skip a site that is not to count")
            case SetArgument(task) if task not in tasks:
                raise PlanError(f"there is no task '{task}'", place=where, cure="name a task of the plan")
            case _:
                pass


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
