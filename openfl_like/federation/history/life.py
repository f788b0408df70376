"""What an experiment's events say of how it stands: who is there, who is awaited, what was lost."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from openfl_like.federation.events import Notice
from openfl_like.federation.parties import EventRecord

SURPLUS = (Notice.UPDATE_SURPLUS, Notice.EXPERIMENT_RESUMED)
"""The kinds of announcements that `surplus_of` learns from."""


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

    waiting: EventRecord | None = None
    started: EventRecord | None = None
    joined: set[str] = field(default_factory=set)
    left: dict[str, EventRecord] = field(default_factory=dict)
    returned: set[str] = field(default_factory=set)
    absences: list[EventRecord] = field(default_factory=list)
    round: EventRecord | None = None
    pending: dict[str, EventRecord] = field(default_factory=dict)
    lost: list[EventRecord] = field(default_factory=list)
    restarts: int = 0
    without: bool = False
    ended: EventRecord | None = None

    def take(self, event: EventRecord) -> None:
        """Learns from an event."""
        learn = _LEARN.get(event.kind)
        if learn is not None:
            learn(self, event)


def of(event: EventRecord) -> Mapping[str, Any]:
    """The fields of an event, whose types its kind says."""
    return cast("Mapping[str, Any]", event.fields)


def last_run(events: Iterable[EventRecord]) -> LastRun:
    """Reads a history from its last beginning on."""
    found = LastRun()
    for event in events:
        if event.kind == Notice.EXPERIMENT_RESUMED:
            found = LastRun()
        found.take(event)
    return found


def _waiting(life: LastRun, event: EventRecord) -> None:
    life.waiting = event


def _started(life: LastRun, event: EventRecord) -> None:
    life.started, life.without = event, False
    life.joined.clear()


def _lost(life: LastRun, event: EventRecord) -> None:
    life.without = True
    life.restarts += 1
    life.lost.append(event)


def _joined(life: LastRun, event: EventRecord) -> None:
    name = of(event)["collaborator"]
    life.joined.add(name)
    if life.left.pop(name, None) is not None:
        life.returned.add(name)


def _left(life: LastRun, event: EventRecord) -> None:
    name = of(event)["collaborator"]
    life.joined.discard(name)
    life.left.setdefault(name, event)


def _absent(life: LastRun, event: EventRecord) -> None:
    life.absences.append(event)
    life.pending.pop(of(event)["collaborator"], None)


def _round_started(life: LastRun, event: EventRecord) -> None:
    life.round = event
    life.pending.clear()


def _assigned(life: LastRun, event: EventRecord) -> None:
    life.pending.setdefault(of(event)["collaborator"], event)


def _answered(life: LastRun, event: EventRecord) -> None:
    life.pending.pop(of(event)["collaborator"], None)


def _finished(life: LastRun, event: EventRecord) -> None:
    life.round = event
    life.pending.clear()
    life.lost.clear()


def _ended(life: LastRun, event: EventRecord) -> None:
    life.ended = event


_LEARN: dict[str, Callable[[LastRun, EventRecord], None]] = {
    Notice.EXPERIMENT_WAITING: _waiting,
    Notice.EXPERIMENT_STARTED: _started,
    Notice.AGGREGATOR_LOST: _lost,
    Notice.COLLABORATOR_JOINED: _joined,
    Notice.COLLABORATOR_LEFT: _left,
    Notice.COLLABORATOR_ABSENT: _absent,
    Notice.ROUND_STARTED: _round_started,
    Notice.ASSIGNMENT_SENT: _assigned,
    Notice.UPDATE_RECEIVED: _answered,
    Notice.ROUND_FINISHED: _finished,
    Notice.EXPERIMENT_ENDED: _ended,
}


def surplus_of(history: Iterable[EventRecord]) -> dict[str, dict[str, int]]:
    """Adds up what a history tells: collaborator -> standing -> how many updates, in all rounds.

    Of a round the last word counts; one that was open when its experiment ended is counted anew when it is resumed.

    Args:
        history: Its announcements in order; those of `SURPLUS` are enough.
    """
    last: dict[tuple[int, int, str, str], int] = {}
    life = 0
    for event in history:
        if event.kind == Notice.EXPERIMENT_RESUMED:
            life += 1
        elif event.kind == Notice.UPDATE_SURPLUS:
            fields = event.fields
            key = life, int(str(fields["round"])), str(fields["collaborator"]), str(fields["standing"])
            last[key] = int(str(fields["count"]))
    sums: dict[str, dict[str, int]] = {}
    for (_, _, name, kind), count in sorted(last.items()):
        counts = sums.setdefault(name, {})
        counts[kind] = counts.get(kind, 0) + count
    return {name: dict(sorted(sums[name].items())) for name in sorted(sums)}
