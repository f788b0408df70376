"""Why an experiment is as it is: the first cause of its failure, or what it waits for, decided from its history."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from openfl_like.federation.announcements import (
    Announced,
    CollaboratorAbsent,
    CollaboratorAway,
    RoundFinished,
    RoundStarted,
)
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.life import LastRun, Occurrence, last_run, metrics_missing_since
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.federation.unmeasured import MetricMissing


class Condition(StrEnum):
    """How an experiment is."""

    FINE = "fine"
    WAITS = "waits"
    FAILED = "failed"
    DEGRADED = "degraded"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Cause:
    """What went wrong first.

    Attributes:
        message: What was said of it.
        error: Class of the exception; empty if there was none.
        site: Where; empty: at the Director.
        phase: ``director``, ``aggregator``, ``admission``, ``environment``, ``initialise``, ``train``, ``evaluate`` or
            ``aggregate``.
        round: In which round; None: before the first one.
        time: When, in seconds since the epoch.
        sequence: The event that tells of it; 0: the end of the experiment tells of it.
        file: File of the workspace in which the exception was raised; empty if none is known.
        line: Its line.
        kind: What sort of failure it was; None: only words are known of it.
        task: The task of the plan that was performed; empty: none, the site was loading its data, say.
        call: Where no line of the workspace is known: the line of the platform's own training loop that raised.
        samples: Dtype and shape of the samples at hand; empty: it was not over a batch.
        targets: Dtype and shape of their targets.
    """

    message: str
    error: str = ""
    site: str = ""
    phase: str = ""
    round: int | None = None
    time: float = 0.0
    sequence: int = 0
    file: str = ""
    line: int = 0
    kind: FailureKind | None = None
    task: str = ""
    call: str = ""
    samples: str = ""
    targets: str = ""

    @property
    def failure(self) -> Failure:
        """What went wrong as its site told it, without when and where that was."""
        return Failure(
            self.kind or FailureKind.TOLD, self.message, self.error, self.file, self.line,
            call=self.call, samples=self.samples, targets=self.targets,
        )  # fmt: skip

    @property
    def place(self) -> str:
        """Site, round and phase in words."""
        parts = [f"site '{self.site}'" if self.site else "", self.phase]
        parts += [f"round {self.round}"] if self.round is not None else []
        return ", ".join(part for part in parts if part)

    def __str__(self) -> str:
        said = self.failure.said
        return f"{self.place}: {said}" if self.place else said


@dataclass(frozen=True, slots=True)
class Why:
    """How an experiment is, and why.

    Attributes:
        verdict: In one word.
        sentence: In one sentence.
        cause: What went wrong first, if anything did that was not mended.
        waits_for: Sites, experiments or other things that it waits for.
        since: Since when it waits, in seconds since the epoch; 0: unknown.
        mended: What went wrong and does not matter any more.
        missing_metrics: What the plan goes by, and no site reports.
    """

    verdict: Condition
    sentence: str
    cause: Cause | None = None
    waits_for: tuple[str, ...] = ()
    since: float = 0.0
    mended: tuple[str, ...] = field(default=())
    missing_metrics: tuple[MetricMissing, ...] = ()


def explain(
    summary: ExperimentSummary, events: Iterable[Announced], ahead: Sequence[str] = (), problems: Sequence[str] = ()
) -> Why:
    """Say why an experiment is as it is.

    Args:
        summary: Where it stands.
        events: Its whole history.
        ahead: The experiments whose turn comes before its own.
        problems: What the Director lacks.
    """
    told = tuple(events)
    missing = metrics_missing_since(told)
    found = replace(_explained(summary, last_run(told), ahead, problems), missing_metrics=missing)
    if found.verdict is Condition.FINE and missing:
        names = ", ".join(f"'{item.metric}'" for item in missing)
        return replace(found, sentence=f"{summary.reason}, but its plan goes by {names}, which no site reports")
    return found


def _explained(summary: ExperimentSummary, life: LastRun, ahead: Sequence[str], problems: Sequence[str]) -> Why:
    match summary.status:
        case Status.FAILED:
            cause = _cause_of_end(summary, life)
            return Why(Condition.FAILED, f"it FAILED: {cause}", cause, mended=_mended(life))
        case Status.CANCELLED:
            return Why(Condition.CANCELLED, f"nothing went wrong: {summary.reason}", mended=_mended(life))
        case Status.FINISHED if summary.degraded:
            cause = _first_loss(life, summary.shortfalls) or _never_came(summary, life)
            return Why(Condition.DEGRADED, f"it FINISHED without everybody: {cause}", cause, mended=_mended(life))
        case Status.FINISHED:
            return Why(Condition.FINE, f"nothing went wrong: {summary.reason}", mended=_mended(life))
        case _:
            return _waits(summary, life, ahead, problems)


# ---- what went wrong


def _cause_of_end(summary: ExperimentSummary, life: LastRun) -> Cause:
    """Which failure was the first: the one that the end names, or that from which it followed."""
    end = life.ended.what if life.ended is not None else None
    failure = end.failure if end is not None and end.failure is not None else summary.failure
    if failure is None or failure.kind is FailureKind.QUORUM:
        first = _first_of_the_round(life, failure)
        if first is not None:
            return first
    if failure is not None and failure.kind is FailureKind.AGGREGATOR:
        return _first_death(failure, life, summary)
    if failure is None:  # 0.1.0 wrote only words
        return Cause(summary.reason, time=summary.ended_at)
    if failure.kind is FailureKind.TOO_FEW and (since := life.waiting or life.started) is not None:
        return _cause(failure, since.time, since.sequence)
    return _cause(failure, summary.ended_at)


def _first_of_the_round(life: LastRun, failure: Failure | None) -> Cause | None:
    """The first absence of the round that could not be made, or whoever had left before it began."""
    number = failure.round if failure is not None else _open_round(life)
    if number is None:
        return None
    absences = [event for event in life.absences if event.what.round == number]
    if absences:
        return _absence(absences[0], life)
    if life.left:
        name, event = min(life.left.items(), key=lambda item: item[1].sequence)
        return _leaving(name, event, number)
    return None


def _open_round(life: LastRun) -> int | None:
    return life.round.what.round if life.round is not None and isinstance(life.round.what, RoundStarted) else None


def _first_death(failure: Failure, life: LastRun, summary: ExperimentSummary) -> Cause:
    """The first of the deaths of Aggregators in a row: the others followed from it."""
    number = life.round.what.round if life.round is not None else None
    if not life.lost:
        return _cause(replace(failure, round=number), summary.ended_at)
    first = life.lost[0]
    told = first.what.failure or Failure(FailureKind.TOLD, first.what.reason)
    return replace(_cause(replace(told, round=number), first.time, first.sequence), phase="aggregator")


_PHASES = {
    FailureKind.ORDER: "admission",
    FailureKind.NOT_JOINED: "admission",
    FailureKind.TOO_FEW: "admission",
    FailureKind.ENVIRONMENT: "environment",
    FailureKind.SELECTION: "aggregator",
    FailureKind.CONTROL: "aggregator",
    FailureKind.PART: "aggregator",
    FailureKind.COMBINE: "aggregate",
    FailureKind.AGGREGATOR: "aggregator",
    FailureKind.DIRECTOR: "director",
}


_TOLD_WITH_ITS_KIND = frozenset({FailureKind.LEFT, FailureKind.REFUSED})


def _cause(failure: Failure, time: float, sequence: int = 0) -> Cause:
    phase = failure.phase.value if failure.phase is not None else _PHASES.get(failure.kind, "")
    message = str(failure) if failure.kind in _TOLD_WITH_ITS_KIND else failure.message
    return Cause(
        message, failure.error, failure.site, phase, failure.round, time, sequence, failure.file, failure.line,
        None if failure.kind is FailureKind.TOLD else failure.kind, failure.task,
        failure.call, failure.samples, failure.targets,
    )  # fmt: skip


def _first_loss(life: LastRun, sites: Collection[str] | None = None) -> Cause | None:
    """The first answer without which a round was made, of these sites if some are named."""
    for event in life.absences:
        trains = event.what.phase is not Phase.CROSS_EVALUATE  # without a score a round is made, too
        if trains and event.what.round and (sites is None or event.what.collaborator in sites):
            return _absence(event, life)
    return None


def _never_came(summary: ExperimentSummary, life: LastRun) -> Cause:
    when = life.started.time if life.started is not None else summary.started_at
    for site, failure in summary.shortfalls.items():
        return Cause(
            str(failure), site=site, phase="admission", round=failure.round, time=when, kind=FailureKind.MISSING
        )
    return Cause(summary.reason, phase="admission", time=when)


def _absence(event: Occurrence[CollaboratorAbsent], life: LastRun) -> Cause:
    told = event.what
    failure = told.failure or Failure(FailureKind.TOLD, told.reason)
    placed = replace(failure, site=told.collaborator, phase=told.phase, round=told.round)
    before = life.left.get(told.collaborator)
    if before is not None and before.sequence < event.sequence:
        if failure.kind is FailureKind.LEFT:
            return _leaving(told.collaborator, before, told.round, told.phase)
        if failure.kind is FailureKind.NOT_BACK:
            return _cause(placed, before.time, before.sequence)
    return _cause(placed, event.time, event.sequence)


def _leaving(name: str, event: Occurrence[CollaboratorAway], number: int, phase: Phase | None = None) -> Cause:
    kind = FailureKind.REVOKED if event.what.revoked else FailureKind.LEFT
    failure = Failure(kind, event.what.reason, phase=phase, round=number, site=name)
    return _cause(failure, event.time, event.sequence)


def _mended(life: LastRun) -> tuple[str, ...]:
    often = "once" if life.restarts == 1 else f"{life.restarts} times"
    found = [f"the aggregator was lost and started again {often}"] if life.restarts else []
    if life.returned:
        names = ", ".join(f"'{name}'" for name in sorted(life.returned))
        found.append(f"{'site' if len(life.returned) == 1 else 'sites'} {names} left and came back")
    if life.round is not None and life.round.what.round:
        first = [event.what for event in life.absences if not event.what.round]
        found += [f"site '{one.collaborator}' could not make the initial model: {one.reason}" for one in first]
    return tuple(found)


# ---- what it waits for


def _waits(summary: ExperimentSummary, life: LastRun, ahead: Sequence[str], problems: Sequence[str]) -> Why:
    text, names, since = _awaited(summary, life, ahead)
    if problems:
        text, names = f"it waits for the Director: {'; '.join(problems)}", tuple(problems)
    return Why(Condition.WAITS, text, _first_loss(life), names, since, _mended(life))


def _awaited(summary: ExperimentSummary, life: LastRun, ahead: Sequence[str]) -> tuple[str, tuple[str, ...], float]:
    if summary.status is Status.QUEUED:
        return _awaited_turn(summary, ahead)
    if life.without:
        return "its Aggregator was lost and is started again", ("aggregator",), life.lost[-1].time if life.lost else 0.0
    if life.started is None:
        return _awaited_envoys(summary, life)
    if life.round is None:
        missing = tuple(sorted(set(life.started.what.expected) - life.joined))
        text = f"it waits for collaborators to join: {', '.join(missing) or 'any'}"
        return text, missing, life.started.time
    return _awaited_answers(life, life.round)


def _awaited_turn(summary: ExperimentSummary, ahead: Sequence[str]) -> tuple[str, tuple[str, ...], float]:
    waiting, names = summary.waiting, tuple(ahead)
    if waiting is not None and waiting.site:
        names = (waiting.experiment,) if waiting.experiment else ()
    turn = f"its turn comes after {', '.join(ahead)}" if ahead else "its turn comes now"
    return f"it is queued: {turn}" if waiting is None else f"it {waiting}", names, summary.submitted_at


def _awaited_envoys(summary: ExperimentSummary, life: LastRun) -> tuple[str, tuple[str, ...], float]:
    if life.waiting is None:
        return "its Aggregator is being started", ("aggregator",), summary.started_at
    waiting = life.waiting.what
    missing, more = waiting.missing, waiting.needed - len(waiting.online)
    if summary.waiting is not None:  # some may have come since
        missing, more = summary.waiting.envoys, summary.waiting.more
    who = ", ".join(missing) or f"{more} more"
    return f"it waits up to {waiting.timeout_s:g} s for envoys: {who}", missing, life.waiting.time


def _awaited_answers(
    life: LastRun, current: Occurrence[RoundStarted | RoundFinished]
) -> tuple[str, tuple[str, ...], float]:
    number = current.what.round
    if life.pending:
        names = tuple(sorted(life.pending))
        oldest = min(life.pending.values(), key=lambda event: event.sequence)
        away = [name for name in names if name in life.left]
        text = f"round {number}, {oldest.what.phase}: it waits for the answers of {', '.join(names)}"
        return text + (f" (not connected: {', '.join(away)})" if away else ""), names, oldest.time
    return f"round {number}: it runs, and waits for no site", (), current.time


def excerpt(lines: Sequence[str], cause: Cause, most: int = 20) -> list[str]:
    """Return the lines of a site's log that belong to a cause: those up to the last that quotes it, or the last ones.

    Args:
        lines: The log.
        cause: What went wrong.
        most: How many lines to give.
    """
    quote = (cause.message or cause.error)[:60].strip()
    end = next((number for number in range(len(lines), 0, -1) if quote and quote in lines[number - 1]), len(lines))
    return list(lines[max(0, end - most) : end])
