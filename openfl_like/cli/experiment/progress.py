"""Following an experiment on a screen: lines for people with a bar on a terminal, or JSON lines."""

import atexit
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from openfl_like.cli.experiment.outcome import shortfall_text
from openfl_like.cli.output.console import emit_line, put, shown
from openfl_like.federation.announcements import (
    AggregatorLost,
    Announced,
    Announcement,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    CollaboratorAway,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentImported,
    ExperimentQueued,
    ExperimentResumed,
    ExperimentWaiting,
    MetricMissing,
    MetricsUndefined,
    ModelKept,
    RoundFinished,
    UpdateLost,
    UpdateSurplus,
    fields_of,
)
from openfl_like.federation.status import Status
from openfl_like.printable import printable_line

if TYPE_CHECKING:
    from openfl_like.federation.parties import ExperimentSummary


@singledispatch
def _line(_told: Announcement) -> str:
    return ""


@_line.register
def _(told: ExperimentQueued) -> str:
    return f"queued for {told.owner}"


@_line.register
def _(told: ExperimentImported) -> str:
    return f"imported by {told.by}, from {told.owner} of the federation {told.federation}"


@_line.register
def _(told: ExperimentResumed) -> str:
    return f"resumed by {told.by}"


@_line.register
def _(told: ExperimentWaiting) -> str:
    missing = ", ".join(told.missing) or f"{told.needed - len(told.online)} more"
    return f"waiting up to {told.timeout_s:g} s for envoys: {missing}"


@_line.register
def _(told: ExperimentBegun) -> str:
    if told.resumed:
        return "the experiment goes on from its last committed step"
    return f"experiment {told.experiment_id} started"


@_line.register
def _(told: AggregatorLost) -> str:
    return f"{told.reason}; restart {told.restart}"


@_line.register
def _(told: CollaboratorAdmitted) -> str:
    return f"{told.collaborator} joined"


@_line.register
def _(told: CollaboratorAway) -> str:
    return f"{told.collaborator} left: {told.reason}"


@_line.register
def _(told: CollaboratorAbsent) -> str:
    return f"round {told.round}: {told.collaborator} is absent: {told.reason}"


@_line.register
def _(told: UpdateLost) -> str:
    return f"round {told.round}: the stored update of {told.collaborator} is damaged; it is asked for again"


@_line.register
def _(told: UpdateSurplus) -> str:
    many = f" ({told.count} times)" if told.count > 1 else ""
    what = f"sent an update that cannot count: {told.standing.value}{many}"
    return f"round {told.round}: {told.collaborator} {what}"


@_line.register
def _(told: RoundFinished) -> str:
    metrics = "  ".join(f"{name} {shown(value)}" for name, value in _plain_metrics(told.metrics))
    sites = ", ".join(told.contributors or told.evaluators)
    absent = "".join(f"; without {name} ({failure})" for name, failure in told.absent.items())
    unmeasured = {name: failure for name, failure in told.unevaluated.items() if name not in told.absent}
    absent += "".join(f"; not evaluated by {name} ({failure})" for name, failure in unmeasured.items())
    best = "  best so far" if told.best else ""
    return f"round {told.round:>3}  {told.seconds:6.2f} s  {metrics}{best}  [{sites}{absent}]"


@_line.register
def _(told: MetricMissing) -> str:
    keys, names = ", ".join(told.wanted_by), ", ".join(told.reported) or "none"
    return f"round {told.round}: no site has reported the metric '{told.metric}' ({keys}); reported: {names}"


@_line.register
def _(told: MetricsUndefined) -> str:
    names = ", ".join(
        f"'{name}' of task '{task}' is {value}"
        for task, metrics in told.metrics.items()
        for name, value in metrics.items()
    )
    return f"round {told.round}: left out of what {told.collaborator} reports: {names}"


@_line.register
def _(told: ModelKept) -> str:
    return f"round {told.round}: no site had samples to train on; the model stays as it was"


@_line.register
def _(told: ExperimentEnded) -> str:
    degraded = " (DEGRADED)" if told.shortfalls and told.status is Status.FINISHED else ""
    sites = "".join(f"; without {name}: {shortfall_text(failure)}" for name, failure in told.shortfalls.items())
    return f"{told.status.value}{degraded}: {told.reason}{sites}"


def _plain_metrics(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """The metrics of the global model; those of single tasks (``train.loss``) are in the record."""
    plain = [(name, value) for name, value in sorted(metrics.items()) if "." not in name]
    return plain or sorted(metrics.items())


def line_of(event: Announced) -> str:
    """Return the line that people see for an event; empty for those they need not see."""
    return _line(event.announcement)


COLOURS = {
    "aggregator_lost": "yellow",
    "collaborator_absent": "yellow",
    "collaborator_left": "yellow",
    "experiment_ended": "green",
    "metric_missing": "yellow",
    "metrics_undefined": "yellow",
    "model_kept": "yellow",
    "killed": "bold red",
    "restarted": "yellow",
    "back": "green",
    "update_lost": "yellow",
    "update_surplus": "yellow",
}


class Bar:
    """A bar at the bottom of a terminal that says how many rounds are done; the lines scroll above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._progress = Progress(*columns, transient=True)
        self._task = self._progress.add_task("waiting", total=None)
        atexit.register(self._progress.stop)  # Ctrl-C must not leave a terminal without its cursor

    def line(self, kind: str, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, style=COLOURS.get(kind), markup=False, highlight=kind == "round_finished")

    def event(self, told: Announcement) -> None:
        """Move the bar on; it is there from the start of the experiment to its end."""
        match told:
            case ExperimentBegun(rounds=rounds):
                self._progress.update(self._task, total=rounds, description="rounds")
                self._progress.start()
            case RoundFinished(number):
                self._progress.update(self._task, completed=number)
            case ExperimentEnded():
                self._progress.stop()
            case _:
                pass


class Screen:
    """Shows events as they come.

    Args:
        as_json: One JSON line per event instead.
        show: Writes one line for people; by default to stdout, with a bar of the rounds on a terminal.
    """

    def __init__(self, *, as_json: bool, show: Callable[[str], None] | None = None) -> None:
        self._as_json = as_json
        self._show = show or put
        self._bar = Bar() if show is None and not as_json and sys.stdout.isatty() else None

    def event(self, event: Announced) -> None:
        """Show an event."""
        text = "" if self._as_json else line_of(event)
        if self._as_json:
            emit_line(
                {
                    "sequence": event.sequence,
                    "time": event.time,
                    "kind": event.kind,
                    "fields": fields_of(event.announcement),
                }
            )
        elif text:
            self._line(event.kind, text)
        if self._bar is not None:
            self._bar.event(event.announcement)

    def note(self, kind: str, text: str, fields: Mapping[str, object]) -> None:
        """Show what happens around the experiment: the text, or a JSON line with the kind and the fields."""
        if self._as_json:
            emit_line({"kind": kind, **fields})
        else:
            self._line(kind, f"==> {text}")

    def summary(self, summary: "ExperimentSummary") -> None:
        """Show where the experiment stands."""
        if self._as_json:
            emit_line({"kind": "summary", **asdict(summary)})

    def follow(self, items: Iterable[Any]) -> "ExperimentSummary | None":
        """Show everything a watcher gets and return the last summary."""
        last = None
        for item in items:
            last = self.item(item) or last
        return last

    def item(self, item: "Announced | ExperimentSummary") -> "ExperimentSummary | None":
        """Show one thing that a watcher gets, and return it back if it is a summary."""
        if isinstance(item, Announced):
            self.event(item)
            return None
        self.summary(item)
        return item

    def _line(self, kind: str, text: str) -> None:
        text = printable_line(text)
        if self._bar is not None:
            self._bar.line(kind, text)
        else:
            self._show(text)
