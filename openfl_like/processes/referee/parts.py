"""Parts of a round that the workspace brings, in referees: one for decisions, one for numbers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openfl_like.aggregation.guarded import slots_of
from openfl_like.aggregation.validation.compared import Looks
from openfl_like.federation.failure import part_failed
from openfl_like.federation.participation.needs import Needs
from openfl_like.federation.parts.guards import guarded
from openfl_like.federation.parts.source import build_component, name_of, of_workspace
from openfl_like.plan.section import Component
from openfl_like.processes.referee.client import Referee
from openfl_like.processes.referee.decisions import RemoteAssigner, RemoteController, RemoteSelector, RemoteWork
from openfl_like.processes.referee.limits import USUAL, RefereeLimits
from openfl_like.processes.referee.numbers import (
    RemoteBlockRule,
    RemoteComparingValidator,
    RemoteGramRule,
    RemoteLinearRule,
    RemotePassRule,
    RemoteServerAlgorithm,
    RemoteServerOptimizer,
    RemoteValidator,
)
from openfl_like.processes.referee.remote import RemotePart

DECISIONS_IN_A_ROW = 2.0
"""Times what one decision may take, all may that follow each other."""
Facts = Mapping[str, Any]
_DECIDES = frozenset({"selector", "assigner", "work", "controller"})


class RefereeParts:
    """Short names, and ``module:attr`` of a workspace in processes that are confined.

    What the whole Aggregator waits for has a referee of its own, so that it never waits for one that computes.

    Args:
        workspace: Where its modules are.
        limits: What each referee may take.
    """

    def __init__(self, workspace: Path, limits: RefereeLimits = USUAL) -> None:
        self.decisions = Referee(workspace, limits, limits.decision_s, DECISIONS_IN_A_ROW * limits.decision_s)
        self.numbers = Referee(workspace, limits, limits.block_s)

    def build(self, kind: str, component: Component, place: str) -> object:
        """Build a part; see `federation.parts.source.PartSource`.

        Raises:
            FailedPartError: If it is one of the workspace that cannot be built, whyever.
            SandboxError: If the kernel cannot confine a referee.
        """
        if not of_workspace(kind, component):
            return build_component(kind, component, place)
        referee, name = self.decisions if kind in _DECIDES else self.numbers, name_of(kind, component)
        number, facts = referee.build(name, kind, component.template, component.settings, place)
        part = RemotePart(referee, name, ("part", number))
        try:
            return guarded(kind, name, _MADE[kind](part, facts, component.template))
        except (ValueError, LookupError, TypeError) as mistake:
            raise part_failed(name, f"is not what one must be: {mistake}") from mistake

    def close(self) -> None:
        """End the referees."""
        self.decisions.close()
        self.numbers.close()


def _remembers(facts: Facts) -> bool:
    return facts.get("remembers") is True


def _rule(part: RemotePart, facts: Facts, _: str) -> object:
    match facts["ways"][0]:
        case "factors":
            return RemoteLinearRule(part)
        case "begin":
            return RemotePassRule(part, slots_of(facts["slots"]))
        case "gram_factors":
            return RemoteGramRule(part)
        case "reduce":
            return RemoteBlockRule(part)
        case other:
            raise ValueError(f"there is no rule with '{other}'")


def _validator(part: RemotePart, facts: Facts, template: str) -> object:
    looks = facts["looks"]
    return RemoteValidator(part) if looks is None else RemoteComparingValidator(part, Looks(looks), template)


_MADE: Mapping[str, Callable[[RemotePart, Facts, str], object]] = {
    "selector": lambda part, facts, _: RemoteSelector(part, _remembers(facts), frozenset(map(Needs, facts["needs"]))),
    "assigner": lambda part, _facts, _: RemoteAssigner(part),
    "work": lambda part, facts, _: RemoteWork(part, _remembers(facts)),
    "controller": lambda part, facts, _: RemoteController(part, _remembers(facts)),
    "validator": _validator,
    "aggregation": _rule,
    "server_optimizer": lambda part, facts, _: RemoteServerOptimizer(part, slots_of(facts["slots"])),
    "server_algorithm": lambda part, facts, _: RemoteServerAlgorithm(
        part, slots_of(facts["slots"]), facts.get("averages") is True, facts.get("sums") is True
    ),
}
