"""What a round will take, from the steps that were done on invented data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openfl_like.authoring.dry_run.findings import Forecast
from openfl_like.authoring.dry_run.kinds import SiteKind
from openfl_like.authoring.dry_run.rounds import StepsDone
from openfl_like.federation.components import build_selector
from openfl_like.federation.participation.selection import expected_cohort
from openfl_like.federation.parts.source import REGISTERED, PartSource
from openfl_like.federation.task import Phase
from openfl_like.plan.schema import Plan

_KIND_OF_PHASE = {Phase.TRAIN: "train", Phase.EVALUATE: "validate"}


@dataclass(frozen=True, slots=True)
class ExpectedCost:
    """What a kind of site will need.

    Attributes:
        kind: Which.
        measured: Phase -> seconds that it took on the samples that were invented, the quickest time.
        seconds: Phase -> seconds that it will take the largest of these sites.
        worker_bytes: Memory of the worker there: what was measured, and the samples that were not invented.
    """

    kind: SiteKind
    measured: Mapping[Phase, float]
    seconds: Mapping[Phase, float]
    worker_bytes: int


def expected_of(kinds: Sequence[SiteKind], steps: StepsDone) -> list[ExpectedCost]:
    """Return what each kind of site that was tried will need.

    Args:
        kinds: Those that were tried.
        steps: What was done.
    """
    found = []
    for kind in kinds:
        measured = {
            phase: min(steps.seconds[kind.name, phase]) for phase in _KIND_OF_PHASE if _done(kind, phase, steps)
        }
        seconds = {phase: value * _larger(kind, phase) for phase, value in measured.items()}
        if measured:
            found.append(ExpectedCost(kind, measured, seconds, steps.peak_bytes + _further_bytes(kind)))
    return found


def _done(kind: SiteKind, phase: Phase, steps: StepsDone) -> bool:
    return (kind.name, phase) in steps.seconds


def most_of(kind: SiteKind, name: str) -> int:
    """Return the most samples that one of these sites has; 0: none tells."""
    return max((site.data.counts.get(name, 0) for site in kind.sites if site.data is not None), default=0)


def _largest(kind: SiteKind, name: str) -> str:
    """Return which of these sites has the most samples."""
    return max(kind.sites, key=lambda site: 0 if site.data is None else site.data.counts.get(name, 0)).name


def _larger(kind: SiteKind, phase: Phase) -> float:
    """How many times more samples the largest of these sites has than were invented."""
    name = _KIND_OF_PHASE[phase]
    return max(1.0, most_of(kind, name) / kind.invented[name])


def _further_bytes(kind: SiteKind) -> int:
    each = kind.data.samples.size_bytes + kind.data.targets.size_bytes
    return each * sum(max(0, most_of(kind, name) - count) for name, count in kind.invented.items())


def forecast_of(
    plan: Plan, expected: Sequence[ExpectedCost], steps: StepsDone, sites: int, parts: PartSource = REGISTERED
) -> Forecast | None:
    """Return what a round and all rounds will take; None if no round was completed.

    Args:
        plan: The plan.
        expected: What each kind of site will need.
        steps: What was done.
        sites: How many sites there are.
        parts: Builds its selector.
    """
    if not steps.rounds or not expected:
        return None
    phase = Phase.TRAIN if any(Phase.TRAIN in one.seconds for one in expected) else Phase.EVALUATE
    slowest = max(expected, key=lambda one: one.seconds.get(phase, 0.0))
    train_s, evaluate_s = (
        max((one.seconds.get(each, 0.0) for one in expected), default=0.0) for each in (Phase.TRAIN, Phase.EVALUATE)
    )
    cohort = expected_cohort(build_selector(plan, parts), sites)
    combine_s = min(steps.combine_s, default=0.0) * (max(cohort, 1) / steps.combined if steps.combined else 1.0)
    round_s = math.fsum((train_s, evaluate_s, combine_s))
    rounds = plan.aggregator.settings.rounds
    name = _KIND_OF_PHASE[phase]
    return Forecast(
        train_s=train_s,
        evaluate_s=evaluate_s,
        combine_s=combine_s,
        round_s=round_s,
        total_s=None if rounds is None else round_s * rounds,
        rounds=rounds,
        worker_bytes=max(one.worker_bytes for one in expected),
        measured_samples=slowest.kind.invented[name],
        scaled_to=most_of(slowest.kind, name),
        slowest=_largest(slowest.kind, name),
    )
