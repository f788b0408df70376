"""Successive halving: after so many rounds only the best part of the configurations goes on.

K. Jamieson and A. Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization",
arXiv:1502.07943, in its form with one bracket. All configurations come to a rung before it is decided there, so that
which of them go on depends neither on how many run at once nor on which of them is quicker.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openfl_like.errors import UsageError
from openfl_like.studies.results import RunState, StudyRunResult
from openfl_like.studies.study import Configuration, HalvingRule, StudyDesign


@dataclass(frozen=True, slots=True)
class Decision:
    """Which configurations go on after a rung, and which do not."""

    going_on: tuple[Configuration, ...]
    stopped: tuple[Configuration, ...]


def rungs(rule: HalvingRule | None, rounds: int) -> list[int]:
    """Return the rounds after which it is decided: first, first x factor, … as long as more rounds come."""
    found: list[int] = []
    last = rule.first if rule is not None else rounds
    while rule is not None and last < rounds:
        found.append(last)
        last *= rule.factor
    return found


def decide(
    study: StudyDesign,
    rule: HalvingRule,
    alive: Sequence[Configuration],
    results: Mapping[str, StudyRunResult],
    rung: int,
) -> Decision:
    """Keep the best of the configurations, one in ``factor``, rounded up; of equal ones those that come first.

    What counts is the mean of the metric over the repetitions after the rung's round. A configuration of which a run
    has failed does not go on.

    Args:
        study: The study.
        rule: Its rule.
        alive: Those that have come to this rung.
        results: What came of their runs, by their ids.
        rung: After which round it is decided.

    Raises:
        UsageError: If no run has the metric.
    """
    ranked: list[tuple[float, int]] = []
    for configuration in alive:
        values = [_value(results.get(run.id), study.metric, rung) for run in study.runs_of(configuration)]
        known = [value for value in values if value is not None]
        if known and len(known) == len(values):
            mean = math.fsum(known) / len(known)
            ranked.append((-mean if study.mode == "max" else mean, configuration.number))
    if not ranked:
        reported = sorted({name for result in results.values() for row in result.rows for name in row.metrics})
        told = f"no configuration has '{study.metric}' after round {rung}, by which early_stop decides"
        cure = (
            f"name one of the metrics that the runs report: {', '.join(reported)}" if reported else "see why runs fail"
        )
        raise UsageError(told, place=study.name, cure=cure)
    kept = {number for _, number in sorted(ranked)[: math.ceil(len(alive) / rule.factor)]}
    return Decision(
        tuple(one for one in alive if one.number in kept), tuple(one for one in alive if one.number not in kept)
    )


def _value(result: StudyRunResult | None, metric: str, rung: int) -> float | None:
    if result is None or result.state in {RunState.FAILED, RunState.KILLED}:
        return None
    return result.value(metric, rung)
