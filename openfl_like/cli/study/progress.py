"""Following a study on a screen: a line for each run that has ended, a bar of all rounds with rate and time to go."""

import atexit
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from openfl_like.cli.output.colours import BAD, GOOD, ODD
from openfl_like.cli.output.console import emit_line, put, terminal
from openfl_like.cli.output.lent import OWN
from openfl_like.cli.output.table import GAP, broken
from openfl_like.printable import printable_line
from openfl_like.studies.results import RunState, StudyRunResult
from openfl_like.studies.study import Configuration, StudyDesign, StudyRun

_STYLES = {RunState.FINISHED: GOOD, RunState.FAILED: BAD, RunState.KILLED: BAD, RunState.STOPPED: ODD}
_SETTLE_S = 2.0
"""A rate over less time would be a guess."""


class StudyScreen:
    """Shows how a study goes on; a listener of its schedule.

    Args:
        study: The study.
        runs: Those that are performed here.
        results: What there is of them already.
        as_json: One JSON line for each thing instead.
    """

    def __init__(
        self, study: StudyDesign, runs: Sequence[StudyRun], results: Mapping[str, StudyRunResult], *, as_json: bool
    ) -> None:
        self._study = study
        self._as_json = as_json
        self._left = {run.id: study.configuration(run).rounds for run in runs}
        self._done = {name: results[name].rounds for name in self._left if name in results}
        for name, result in results.items():
            if result.state.settled and name in self._left:
                self._left[name] = self._done[name] = result.rounds
        self._bar: _Bar = _TerminalBar() if not as_json and OWN.out.isatty() else _NoBar()
        self._pace = Pace(sum(self._done.values()))
        self._runs_done = sum(result.state.settled for name, result in results.items() if name in self._left)
        self._show()

    def run_started(self, run: StudyRun) -> None:
        """Note it."""
        if self._as_json:
            emit_line({"kind": "run_started", "run": run.id})

    def round_finished(self, run: StudyRun, number: int) -> None:
        """Move the bar on."""
        if self._as_json:
            emit_line({"kind": "round_finished", "run": run.id, "round": number})
        self._done[run.id] = max(self._done.get(run.id, 0), number)
        self._show()

    def run_ended(self, run: StudyRun, result: StudyRunResult) -> None:
        """Tell how it ended; of a pause nothing is said."""
        if result.state.settled:
            self._runs_done += 1
            self._left[run.id] = self._done[run.id] = result.rounds
        self._show()
        if self._as_json:
            facts = {"rounds": result.rounds, "sha256": result.sha256, "code": result.code, "cause": result.cause}
            emit_line({"kind": "run_ended", "run": run.id, "state": result.state.value, **facts})
        elif result.state is not RunState.PAUSED:
            self._bar.line(self._sentence(run, result), _STYLES.get(result.state, ""))

    def stopped(self, configurations: Sequence[Configuration], rung: int) -> None:
        """Tell which do not go on."""
        numbers = {one.number for one in configurations}
        for run in self._study.runs:
            if run.configuration in numbers and run.id in self._left:
                self._left[run.id] = self._done[run.id] = min(self._done.get(run.id, 0), rung)
                self._runs_done += 1
        self._show()
        if self._as_json:
            emit_line({"kind": "stopped", "round": rung, "configurations": sorted(numbers)})
            return
        titles = "; ".join(one.title for one in configurations)
        self._bar.line(f"stopped early after round {rung}: {titles}", ODD)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _sentence(self, run: StudyRun, result: StudyRunResult) -> str:
        title = self._study.configuration(run).title
        value = result.value(self._study.metric)
        measured = f"  {self._study.metric} {value:.4g}" if value is not None else ""
        failed = f" [{result.code}]: {result.cause}" if result.code else ""
        return f"{run.id}  {title}, seed {run.seed}: {result.state.value}{failed}{'' if failed else measured}"

    def _show(self) -> None:
        total, done = sum(self._left.values()), sum(self._done.values())
        runs = f"{self._runs_done} of {len(self._left)} runs"
        self._bar.show(done, total, f"{runs}{self._pace.text(done, total)}")


class Pace:
    """How many rounds are done in a second, and how long those that are left will take.

    Args:
        before: Rounds that were done before.
        now: Gives seconds.
    """

    def __init__(self, before: int, now: Callable[[], float] = time.monotonic) -> None:
        self._before, self._now, self._began = before, now, now()

    def text(self, done: int, total: int) -> str:
        """Return it in words; nothing before it is known."""
        seconds, rounds = self._now() - self._began, done - self._before
        if seconds < _SETTLE_S or rounds <= 0 or done >= total:
            return ""
        rate = rounds / seconds
        minutes, rest = divmod(round((total - done) / rate), 60)
        hours, minutes = divmod(minutes, 60)
        left = f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
        return f", {rate:.3g} rounds/s, {left} to go"


class _Bar(Protocol):
    def show(self, done: int, total: int, text: str) -> None:
        """Move on."""

    def line(self, text: str, style: str) -> None:
        """Print a line above it."""

    def close(self) -> None:
        """Take it away."""


class _NoBar:
    def show(self, done: int, total: int, text: str) -> None:
        """Show nothing."""

    def line(self, text: str, style: str) -> None:
        """Print a line."""
        put(printable_line(text), style=style)

    def close(self) -> None:
        """There is nothing to take away."""


class _TerminalBar:
    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = TextColumn("rounds"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}")
        self._progress = Progress(*columns, console=terminal(OWN.out), transient=True)
        self._task = self._progress.add_task("", total=None)
        atexit.register(self._progress.stop)  # Ctrl-C must not leave a terminal without its cursor
        self._progress.start()

    def show(self, done: int, total: int, text: str) -> None:
        """Move on."""
        self._progress.update(self._task, completed=done, total=total, description=text)

    def line(self, text: str, style: str) -> None:
        """Print a line above it."""
        from rich.text import Text

        screen = self._progress.console
        screen.print(Text(broken(printable_line(text), screen.width, GAP), style=style))  # the bar keeps its colour

    def close(self) -> None:
        """Take it away."""
        self._progress.stop()
