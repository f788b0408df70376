"""One experiment at the Director, played event by event, and written down as what was said."""

import json
import re
from dataclasses import fields

from openfl_like.federation.announcements import (
    AggregatorLost,
    Announced,
    Announcement,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentQueued,
    ExperimentWaiting,
    fields_of,
)
from openfl_like.federation.events import Announce
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.parties import Outcome
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.experiment_run import ExperimentRun
from openfl_like.federation.supervision.run_events import AggregatorExited, AggregatorListening, Recovered, RunEvent
from openfl_like.plan.schema import Admission

WELL = AggregatorExited(Failure(FailureKind.AGGREGATOR, "exit code 0", exit_code=0))
FINISHED = ExperimentEnded(Status.FINISHED, "1 of 1 rounds is done", 1)
KINDS = (ExperimentWaiting, AggregatorLost)  # what a Director announces in a run


def describe(value: object) -> str:
    """Return what an event or a command says: its class in words, and all that it holds."""
    held = {item.name: text(getattr(value, item.name)) for item in fields(value)}  # type: ignore[arg-type]  # of any dataclass
    told = "; ".join(f"{name} {said}" if len(held) > 1 else said for name, said in held.items() if said)
    words = re.sub("(?<=[a-z])(?=[A-Z])", " ", type(value).__name__).lower()
    return f"{words}: {told}" if told else words


def text(value: object) -> str:
    if isinstance(value, KINDS):
        return announced(value)
    match value:
        case Failure():
            said = f"[{value.kind} {value.site or '-'}] {value}"
        case Outcome():
            said = ", ".join(filter(None, [f"{value.status} {value.reason}", text(value.failure), value.cancelled_by]))
        case Admission():
            said = json.dumps(value.model_dump(exclude_defaults=True))
        case frozenset() | tuple():
            said = ", ".join(" ".join(item) if isinstance(item, tuple) else item for item in sorted(value))
        case _:
            said = "" if value is None else value.decode() if isinstance(value, bytes) else str(value)
    return said


def announced(announcement: Announcement) -> str:
    told = {name: value for name, value in fields_of(announcement).items() if value not in ("", None, {}, ())}
    return f"{announcement.kind} {json.dumps(told)}"


class Play:
    """Feeds a run, and writes down what is said; what the Director announces is learned at once."""

    def __init__(self) -> None:
        self.run = ExperimentRun()
        self.lines: list[str] = []
        self._sequence = 0

    def record(self, *announcements: Announcement) -> None:
        for announcement in announcements:
            self.lines.append(f"= {announced(announcement)}")
            self._learn(announcement)

    def happen(self, *events: RunEvent) -> None:
        for event in events:
            self.lines.append(f"> {describe(event)}")
            for command in self.run.handle(event):
                self.lines.append(f"    {describe(command)}")
                if isinstance(command, Announce):
                    self._learn(command.announcement)

    def _learn(self, announcement: Announcement) -> None:
        self._sequence += 1
        self.run.learn(Announced(self._sequence, 1.0, announcement))

    def start(self, names: str = "abc", **admission: object) -> None:
        """Every envoy is there, and an Aggregator is started."""
        wanted = Admission.model_validate({"collaborators": tuple(names), **admission})
        self.record(ExperimentQueued("ada"))
        self.happen(Recovered(wanted, frozenset(), tuple(names)))

    def listen(self, names: str = "abc", **admission: object) -> None:
        self.start(names, **admission)
        self.happen(AggregatorListening())
        self.record(ExperimentBegun("exp-1", expected=tuple(names)))

    def end(self, ended: ExperimentEnded = FINISHED) -> None:
        self.record(ended)
        self.happen(WELL)
