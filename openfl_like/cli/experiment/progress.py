"""Following an experiment on a screen: lines for people with a bar on a terminal, or JSON lines."""

import atexit
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from openfl_like.cli.output.console import emit_line, put, shown
from openfl_like.printable import printable_line

if TYPE_CHECKING:
    from openfl_like.federation.parties import EventRecord, ExperimentSummary

Fields = Mapping[str, Any]


def _started(fields: Fields) -> str:
    if fields.get("resumed"):
        return "the experiment goes on from its last committed step"
    return f"experiment {fields.get('experiment', '')} started".replace("  ", " ")


def _queued(fields: Fields) -> str:
    return f"queued for {fields['owner']}"


def _imported(fields: Fields) -> str:
    return f"imported by {fields['by']}, from {fields['owner']} of the federation {fields['federation']}"


def _resumed(fields: Fields) -> str:
    return f"resumed by {fields['by']}"


def _waiting(fields: Fields) -> str:
    missing = ", ".join(fields["missing"]) or f"{fields['needed'] - len(fields['online'])} more"
    return f"waiting up to {fields['timeout_s']:g} s for envoys: {missing}"


def _joined(fields: Fields) -> str:
    return f"{fields['collaborator']} joined"


def _left(fields: Fields) -> str:
    return f"{fields['collaborator']} left: {fields.get('reason', '')}"


def _absent(fields: Fields) -> str:
    return f"round {fields['round']}: {fields['collaborator']} is absent: {fields['reason']}"


def _lost(fields: Fields) -> str:
    where = f"round {fields['round']}: the stored update of {fields['collaborator']}"
    return f"{where} is damaged; it is asked for again"


def _surplus(fields: Fields) -> str:
    many = f" ({fields['count']} times)" if fields["count"] > 1 else ""
    what = f"sent an update that cannot count: {fields['standing']}{many}"
    return f"round {fields['round']}: {fields['collaborator']} {what}"


def _plain_metrics(fields: Fields) -> list[tuple[str, float]]:
    """The metrics of the global model; those of single tasks (``train.loss``) are in the record."""
    metrics: Mapping[str, float] = fields["metrics"]
    plain = [(name, value) for name, value in sorted(metrics.items()) if "." not in name]
    return plain or sorted(metrics.items())


def _round(fields: Fields) -> str:
    metrics = "  ".join(f"{name} {shown(value)}" for name, value in _plain_metrics(fields))
    sites = ", ".join(fields["contributors"] or fields.get("evaluators", ()))
    absent = "".join(f"; without {name} ({reason})" for name, reason in fields["absent"].items())
    unevaluated: Mapping[str, str] = fields.get("unevaluated", {})
    absent += "".join(f"; not evaluated by {n} ({r})" for n, r in unevaluated.items() if n not in fields["absent"])
    best = "  best so far" if fields.get("best") else ""
    seconds = float(fields.get("seconds") or 0.0)
    return f"round {fields['round']:>3}  {seconds:6.2f} s  {metrics}{best}  [{sites}{absent}]"


def _ended(fields: Fields) -> str:
    shortfalls: Mapping[str, str] = fields.get("shortfalls", {})
    degraded = " (DEGRADED)" if shortfalls and fields["status"] == "FINISHED" else ""
    sites = "".join(f"; without {name}: {reason}" for name, reason in shortfalls.items())
    return f"{fields['status']}{degraded}: {fields['reason']}{sites}"


def _aggregator_lost(fields: Fields) -> str:
    return f"{fields['reason']}; restart {fields['restart']}"


LINES: dict[str, Callable[[Fields], str]] = {
    "experiment_queued": _queued,
    "experiment_imported": _imported,
    "experiment_resumed": _resumed,
    "experiment_waiting": _waiting,
    "experiment_started": _started,
    "aggregator_lost": _aggregator_lost,
    "collaborator_joined": _joined,
    "collaborator_left": _left,
    "collaborator_absent": _absent,
    "update_lost": _lost,
    "update_surplus": _surplus,
    "round_finished": _round,
    "experiment_ended": _ended,
}


def line_of(event: "EventRecord") -> str:
    """Gives the line that people see for an event; empty for those they need not see."""
    write = LINES.get(event.kind)
    return write(event.fields) if write else ""


COLOURS = {
    "aggregator_lost": "yellow",
    "collaborator_absent": "yellow",
    "collaborator_left": "yellow",
    "experiment_ended": "green",
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
        """Prints a line above the bar."""
        self._progress.console.print(text, style=COLOURS.get(kind), markup=False, highlight=kind == "round_finished")

    def event(self, kind: str, fields: Fields) -> None:
        """Moves the bar on; it is there from the start of the experiment to its end."""
        if kind == "experiment_started":
            self._progress.update(self._task, total=int(fields["rounds"]), description="rounds")
            self._progress.start()
        elif kind == "round_finished":
            self._progress.update(self._task, completed=int(fields["round"]))
        elif kind == "experiment_ended":
            self._progress.stop()


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

    def event(self, event: "EventRecord") -> None:
        """Shows an event."""
        text = "" if self._as_json else line_of(event)
        if self._as_json:
            emit_line({"sequence": event.sequence, "time": event.time, "kind": event.kind, "fields": event.fields})
        elif text:
            self._line(event.kind, text)
        if self._bar is not None:
            self._bar.event(event.kind, event.fields)

    def note(self, kind: str, text: str, fields: Fields) -> None:
        """Shows what happens around the experiment: the text, or a JSON line with the kind and the fields."""
        if self._as_json:
            emit_line({"kind": kind, **fields})
        else:
            self._line(kind, f"==> {text}")

    def summary(self, summary: "ExperimentSummary") -> None:
        """Shows where the experiment stands."""
        if self._as_json:
            emit_line({"kind": "summary", **asdict(summary)})

    def follow(self, items: Iterable[Any]) -> "ExperimentSummary | None":
        """Shows everything a watcher gets and gives the last summary."""
        last = None
        for item in items:
            last = self.item(item) or last
        return last

    def item(self, item: "EventRecord | ExperimentSummary") -> "ExperimentSummary | None":
        """Shows one thing that a watcher gets, and gives it back if it is a summary."""
        from openfl_like.federation.parties import EventRecord

        if isinstance(item, EventRecord):
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
