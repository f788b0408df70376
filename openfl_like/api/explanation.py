"""Why an experiment is as it is, with what the Director has that bears on it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from openfl_like.api.client import AsyncFederation
from openfl_like.api.federation import Federation
from openfl_like.errors import NotFoundError
from openfl_like.federation.announcements import Announced
from openfl_like.federation.history.cause import Cause, Why, excerpt, explain
from openfl_like.federation.parties import ExperimentSummary, LogQuery, Series
from openfl_like.federation.status import Status

KEPT_LINES = 5000
"""Lines of a log among which the cause is looked for."""
BEFORE_S, AFTER_S = 600.0, 120.0
"""Of the site's machine, so much is shown around the moment at which it went wrong."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What belongs to a cause.

    Attributes:
        source: Whose log the lines are from: the site, or ``aggregator``.
        lines: The log up to what the cause quotes, or its last lines.
        machine: What the site's machine told around then; None if the cause is at no site, or the Director has been
            started again since.
    """

    source: str = ""
    lines: tuple[str, ...] = ()
    machine: Series | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer to the question why.

    Attributes:
        summary: Where the experiment stands.
        why: The answer.
        evidence: What bears it out, if something went wrong.
        problems: What the Director lacks, while the experiment has not ended.
        has_best: Whether one of its model versions is the best one.
    """

    summary: ExperimentSummary
    why: Why
    evidence: Evidence = Evidence()
    problems: tuple[str, ...] = ()
    has_best: bool = True


def explanation(federation: Federation, experiment: str) -> Explanation:
    """As `explanation_of`, blocking."""
    return federation.ask(lambda client: explanation_of(client, experiment))


async def explanation_of(federation: AsyncFederation, experiment: str) -> Explanation:
    """Say why an experiment FAILED, is DEGRADED, or waits.

    Raises:
        NotFoundError: If there is no such experiment.
    """
    record = await federation.experiments.get(experiment)
    summary = record.summary
    ahead: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    if not summary.status.ended:
        problems = (await federation.director.status()).problems
        ahead = _ahead(await federation.experiments.list(), summary)
    history = federation.experiments.watch(summary.id, stored=True)
    events = [item async for item in history if isinstance(item, Announced)]
    why = explain(summary, events, ahead, problems)
    evidence = Evidence() if why.cause is None else await _evidence(federation, summary.id, why.cause)
    has_best = any(item.version.best for item in record.versions)
    return Explanation(summary, why, evidence, problems, has_best)


def _ahead(experiments: Sequence[ExperimentSummary], summary: ExperimentSummary) -> tuple[str, ...]:
    """Return the ids of the experiments that one has to wait for.

    Args:
        experiments: All that there are, as they came.
        summary: The one that waits; where the Director says why, it waits for those that run: users take turns, so that
            one which came earlier may come later.
    """
    waiting = [item for item in experiments if not item.status.ended]
    place = next((number for number, item in enumerate(waiting) if item.id == summary.id), 0)
    running = [item.id for item in waiting if item.status is not Status.QUEUED]
    earlier = [item.id for item in waiting[:place] if item.status is Status.QUEUED and summary.waiting is None]
    return tuple(name for name in (*running, *earlier) if name != summary.id)


async def _evidence(federation: AsyncFederation, experiment: str, cause: Cause) -> Evidence:
    source = cause.site or "aggregator"
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        async for part in federation.experiments.logs(experiment, LogQuery(source)):
            kept.extend(part.lines)
    except NotFoundError:  # it has logged nothing
        kept.clear()
    return Evidence(source, tuple(excerpt(list(kept), cause)), await _machine(federation, cause))


async def _machine(federation: AsyncFederation, cause: Cause) -> Series | None:
    if not cause.site:
        return None
    try:
        history = (await federation.envoys.envoy(cause.site)).history
    except NotFoundError:  # the checkpoint of an experiment that ran elsewhere
        return None
    return next((found for series in history if (found := around(series, cause.time)) is not None), None)


def around(series: Series, moment: float) -> Series | None:
    """Return the part of a series that is about a moment; None if there is none.

    Args:
        series: Of a machine.
        moment: Seconds since the epoch.
    """
    first, last = moment - BEFORE_S - series.slot_s, moment + AFTER_S
    kept = [place for place, time in enumerate(series.times) if first < time <= last]
    if not kept:
        return None
    values = {name: tuple(numbers[place] for place in kept) for name, numbers in series.values.items()}
    told = {name: numbers for name, numbers in values.items() if any(number is not None for number in numbers)}
    return Series(series.slot_s, tuple(series.times[place] for place in kept), told)
