"""What an experiment's events say of how it stands: who is there, who is awaited, what was lost."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from openfl_like.federation.announcements import (
    AggregatorLost,
    Announced,
    AssignmentSent,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    CollaboratorAway,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentResumed,
    ExperimentWaiting,
    RoundFinished,
    RoundStarted,
    UpdateReceived,
    UpdateSurplus,
)
from openfl_like.federation.unmeasured import MetricMissing

SURPLUS = (UpdateSurplus.kind, ExperimentResumed.kind)
"""The kinds of announcements that `surplus_of` learns from."""


What = TypeVar("What")


@dataclass(frozen=True, slots=True)
class Occurrence(Generic[What]):
    """What was told, and where in the history."""

    sequence: int
    time: float
    what: What


@dataclass(slots=True)
class LastRun:
    """The events since an experiment was submitted, or resumed for the last time, as far as they tell how it stands.

    Attributes:
        waiting: The Director waits for envoys.
        started: The newest Aggregator has begun.
        joined: Collaborators that are connected.
        left: Collaborators that are not any more -> when they left.
        returned: Collaborators that left and came back.
        absences: Answers that nobody waits for any more.
        round: The open or last round; None: none was begun.
        pending: Collaborators whose answer is awaited -> their assignment.
        lost: Ends of Aggregators since the last finished round.
        restarts: How many Aggregators were lost in all.
        without: Whether there is no Aggregator now, since the last one was lost.
        ended: The end.
    """

    waiting: Occurrence[ExperimentWaiting] | None = None
    started: Occurrence[ExperimentBegun] | None = None
    joined: set[str] = field(default_factory=set)
    left: dict[str, Occurrence[CollaboratorAway]] = field(default_factory=dict)
    returned: set[str] = field(default_factory=set)
    absences: list[Occurrence[CollaboratorAbsent]] = field(default_factory=list)
    round: Occurrence[RoundStarted | RoundFinished] | None = None
    pending: dict[str, Occurrence[AssignmentSent]] = field(default_factory=dict)
    lost: list[Occurrence[AggregatorLost]] = field(default_factory=list)
    restarts: int = 0
    without: bool = False
    ended: Occurrence[ExperimentEnded] | None = None

    def take(self, event: Announced) -> None:
        """Learn from an event."""
        told = event.announcement
        match told:
            case ExperimentWaiting():
                self.waiting = Occurrence(event.sequence, event.time, told)
            case ExperimentBegun():
                self.started, self.without = Occurrence(event.sequence, event.time, told), False
                self.joined.clear()
            case AggregatorLost():
                self.lost.append(Occurrence(event.sequence, event.time, told))
                self.without = True
                self.restarts += 1
            case ExperimentEnded():
                self.ended = Occurrence(event.sequence, event.time, told)
            case RoundStarted() | RoundFinished():
                self._take_round(Occurrence(event.sequence, event.time, told))
            case _:
                self._take_site(event)

    def _take_round(self, told: "Occurrence[RoundStarted | RoundFinished]") -> None:
        self.round = told
        self.pending.clear()
        if isinstance(told.what, RoundFinished):
            self.lost.clear()

    def _take_site(self, event: Announced) -> None:
        told = event.announcement
        match told:
            case CollaboratorAdmitted(name):
                self.joined.add(name)
                if self.left.pop(name, None) is not None:
                    self.returned.add(name)
            case CollaboratorAway(name):
                self.joined.discard(name)
                if told.revoked or name not in self.left:  # a connection that was lost may be what it was seen by first
                    self.left[name] = Occurrence(event.sequence, event.time, told)
            case CollaboratorAbsent(collaborator=name):
                self.absences.append(Occurrence(event.sequence, event.time, told))
                self.pending.pop(name, None)
            case AssignmentSent(collaborator=name):
                self.pending.setdefault(name, Occurrence(event.sequence, event.time, told))
            case UpdateReceived(collaborator=name):
                self.pending.pop(name, None)
            case _:
                pass


def last_run(history: Iterable[Announced]) -> LastRun:
    """Read a history from its last beginning on."""
    run = LastRun()
    for event in history:
        if isinstance(event.announcement, ExperimentResumed):
            run = LastRun()
        run.take(event)
    return run


def metrics_missing_since(history: Iterable[Announced]) -> tuple[MetricMissing, ...]:
    """Return the metrics that the plan goes by and that no round has had since it was told that they are missing.

    Args:
        history: From the first event on: what was told before an experiment was resumed is not told again.
    """
    missing: dict[str, MetricMissing] = {}
    for event in history:
        match event.announcement:
            case MetricMissing(metric=metric) as told:
                missing[metric] = told
            case RoundFinished(metrics=metrics):
                missing = {name: told for name, told in missing.items() if name not in metrics}
            case _:
                pass
    return tuple(missing.values())


def surplus_of(history: Iterable[Announced]) -> dict[str, dict[str, int]]:
    """Add up what a history tells: collaborator -> standing -> how many updates, in all rounds.

    Of a round the last word counts; one that was open when its experiment ended is counted anew when it is resumed.

    Args:
        history: Its announcements in order; those of `SURPLUS` are enough.
    """
    last: dict[tuple[int, int, str, str], int] = {}
    life = 0
    for event in history:
        match event.announcement:
            case ExperimentResumed():
                life += 1
            case UpdateSurplus(number, name, standing, count):
                last[life, number, name, standing.value] = count
            case _:
                pass
    sums: dict[str, dict[str, int]] = {}
    for (_, _, name, kind), count in sorted(last.items()):
        counts = sums.setdefault(name, {})
        counts[kind] = counts.get(kind, 0) + count
    return {name: dict(sorted(sums[name].items())) for name in sorted(sums)}


def end_of_former_life(events: Iterable[Announced]) -> int:
    """Return the sequence number of the last event before an experiment was resumed the last time; 0: it never was."""
    resumed = (event.sequence for event in events if isinstance(event.announcement, ExperimentResumed))
    return max(resumed, default=1) - 1
