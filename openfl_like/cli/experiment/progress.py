"""Following an experiment on a screen: lines for people with a bar on a terminal, or JSON lines."""

import atexit
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from openfl_like.cli.experiment.sentences import RoundLines, colour, in_virtual_time, sentence
from openfl_like.cli.output.colours import BAD, GOOD, ODD
from openfl_like.cli.output.console import clock, emit_line, put, read_together, terminal
from openfl_like.cli.output.lent import OWN
from openfl_like.cli.output.table import GAP, broken
from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    CollaboratorAway,
    ExperimentBegun,
    ExperimentEnded,
    RoundFinished,
    UpdateReceived,
    fields_of,
)
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.federation.round_control import RoundControlled
from openfl_like.federation.status import Status
from openfl_like.federation.task import DevicesWorked, UpdatePartial
from openfl_like.printable import printable_line

if TYPE_CHECKING:
    from openfl_like.federation.parties import ExperimentSummary

NOTES = {"killed": BAD, "restarted": ODD, "back": GOOD, "not_batched": ODD}
"""Styles of what happens around an experiment, by kind."""
RATED = 10
"""Rounds over which the time that a round takes is told."""
MOST_TASK = 24
"""Characters of a task's name in the bar."""
WHOLE_S = 100
"""From here on, seconds have no fractions."""


class Bar:
    """A bar at the bottom of a terminal: rounds done, time of a round, time to go; the lines scroll above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        # (what sites say of their tasks is no markup)
        columns = (
            TextColumn("rounds"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._progress = Progress(*columns, console=terminal(OWN.out), transient=True)
        self._task = self._progress.add_task("", total=None)
        self._rounds: int | None = 0
        self._working: dict[str, TaskProgressed] = {}
        self._pace = ""
        self._seconds: deque[float] = deque(maxlen=RATED)
        self._virtual = False

    @property
    def description(self) -> str:
        """What stands beside it."""
        return self._progress.tasks[self._task].description

    def line(self, text: str, style: str) -> None:
        """Print a line above the bar."""
        screen = self._progress.console
        screen.print(broken(text, screen.width, GAP), style=style, markup=False, highlight=False)

    def event(self, told: Announcement) -> None:
        """Move the bar on; it is there from the start of the experiment to its end."""
        match told:
            case ExperimentBegun(rounds=rounds):
                self._rounds = rounds
                self._virtual = in_virtual_time(told)
                self._progress.update(self._task, total=rounds)
                atexit.register(self._progress.stop)  # Ctrl-C must not leave a terminal without its cursor
                self._progress.start()
            case RoundFinished(number, seconds=seconds):
                if number and not self._virtual:  # how long a round takes here is not in its record
                    self._seconds.append(seconds)
                left = None if self._rounds is None else self._rounds - number
                self._working = {}
                self._pace = pace(self._seconds, left)
                self._progress.update(self._task, completed=number, description=self._pace)
            case TaskProgressed(collaborator=site):
                self._working[site] = told
                self._progress.update(self._task, description=within(tuple(self._working.values())))
            case (
                UpdateReceived(collaborator=site)
                | CollaboratorAbsent(collaborator=site)
                | CollaboratorAway(collaborator=site)
            ):
                self._working.pop(site, None)
                told_of = within(tuple(self._working.values())) if self._working else self._pace
                self._progress.update(self._task, description=told_of)
            case ExperimentEnded():
                self._progress.stop()
            case _:
                pass


def within(working: Sequence[TaskProgressed]) -> str:
    """Return how far sites are with their tasks: of several, how many there are and who is furthest behind.

    Args:
        working: The newest progress of each; at least one.
    """
    last = min(working, key=lambda told: (told.share or 0.0, told.collaborator))
    who = f"last of {len(working)}: {last.collaborator}" if len(working) > 1 else last.collaborator
    parts = [
        f"{who} {printable_line(last.task)[:MOST_TASK]} "
        + (f"{last.batches} batches" if last.share is None else f"{last.share:.0%}")
    ]
    if last.elapsed_s > 0:
        rate = last.batches / last.elapsed_s
        parts.append(f"{rate:.0f} batches/s" if rate >= WHOLE_S else f"{rate:.3g} batches/s")
    if last.left_s is not None:
        parts.append(f"{length(last.left_s)} left")
    return ", ".join(parts)


def length(seconds: float) -> str:
    """Return a time as seconds, or minutes and seconds, or hours."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def pace(seconds: Sequence[float], left: int | None) -> str:
    """Return how long a round takes and how long those that are left will take; nothing before the first is done.

    Args:
        seconds: Of the last rounds.
        left: How many rounds are left; None: nobody knows.
    """
    if not seconds:
        return ""
    mean = sum(seconds) / len(seconds)
    each = f"{mean:.0f}" if mean >= WHOLE_S else f"{mean:.3g}"
    if left is None:
        return f"{each} s a round"
    return f"{each} s a round, {length(mean * left)} to go"


class Screen:
    """Shows events as they come.

    Args:
        as_json: One JSON line per event instead.
        show: Writes one line for people; by default to stdout, with a bar of the rounds on a terminal.
        bar: Whether there may be one.

    Attributes:
        end_was_seen: Whether whoever reads stderr has been told on stdout how the experiment ended, and why.
    """

    def __init__(self, *, as_json: bool, show: Callable[[str], None] | None = None, bar: bool = True) -> None:
        self._as_json = as_json
        self._show = show or put
        self._rounds = RoundLines()
        self.end_was_seen = False
        self._bar = Bar() if bar and show is None and not as_json and OWN.out.isatty() else None

    @property
    def has_bar(self) -> bool:
        """Whether there is a bar, which shows how far tasks are."""
        return self._bar is not None

    def event(self, event: Announced) -> None:
        """Show an event."""
        told = event.announcement
        if isinstance(told, TaskProgressed):
            if self._bar is not None:
                self._bar.event(told)
            return
        if self._as_json:
            emit_line({"sequence": event.sequence, "time": event.time, "kind": event.kind, "fields": fields_of(told)})
        else:
            for text in self._lines(event):
                self._line(text, colour(told))
        if self._bar is not None:
            self._bar.event(told)

    def _lines(self, event: Announced) -> list[str]:
        told = event.announcement
        match told:
            case RoundFinished():
                return self._rounds.finished(told, event.time)
            case DevicesWorked():
                self._rounds.worked(told)
            case UpdatePartial() | RoundControlled():
                return self._rounds.within(told)
            case CollaboratorAdmitted() | CollaboratorAway() if self._rounds.virtual:
                return []
            case CollaboratorAbsent():
                return self._rounds.absent(told)
            case ExperimentBegun():
                self._rounds.begin(told)
            case ExperimentEnded():
                self.end_was_seen = self._show is put and read_together()
                return [*self._rounds.ended(), self._rounds.end(told)]
            case _:
                pass
        text = sentence(told)
        return [text] if text else []

    def note(self, kind: str, text: str, fields: Mapping[str, object]) -> None:
        """Show what happens around the experiment: the text, or a JSON line with the kind and the fields."""
        if self._as_json:
            emit_line({"kind": kind, **fields})
        else:
            self._line(f"==> {text}", NOTES.get(kind, ""))

    def summary(self, summary: "ExperimentSummary") -> None:
        """Show where the experiment stands."""
        if self._as_json:
            emit_line({"kind": "summary", **asdict(summary)})
        elif summary.waiting is not None and summary.status is Status.QUEUED:  # later, its history says so
            self._line(f"{summary.waiting}, since {clock(summary.submitted_at)}", "")

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

    def _line(self, text: str, style: str) -> None:
        text = printable_line(text)
        if self._bar is not None:
            self._bar.line(text, style)
        else:
            self._show(text)
