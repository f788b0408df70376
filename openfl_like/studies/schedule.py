"""Which runs are performed when, by which worker; decisions wait until all that they depend on is known."""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from openfl_like.errors import DamagedError, TaskError
from openfl_like.processes.child import Child, describe_exit, spawn
from openfl_like.studies.folder import StudyFolder
from openfl_like.studies.halving import decide, rungs
from openfl_like.studies.perform import RunOrder
from openfl_like.studies.results import RunState, StudyRunResult
from openfl_like.studies.study import Configuration, RunnableStudy, StudyRun
from openfl_like.studies.worker import ENDED, ROUND, order_line, told_from
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)


class StudyListener(Protocol):
    """Who is told how a study goes on."""

    def run_started(self, run: StudyRun) -> None:
        """A worker performs it from now on."""

    def round_finished(self, run: StudyRun, number: int) -> None:
        """A run has finished a round; one that goes on tells of those that it had finished before, too."""

    def run_ended(self, run: StudyRun, result: StudyRunResult) -> None:
        """A run has ended, or pauses."""

    def stopped(self, configurations: Sequence[Configuration], rung: int) -> None:
        """Configurations do not go on after a round."""


@dataclass(frozen=True, slots=True)
class RunShare:
    """Which of a study's runs one of several machines performs: each ``of``-th one from ``number`` on, from 1."""

    number: int = 1
    of: int = 1

    def runs(self, runs: Sequence[StudyRun]) -> list[StudyRun]:
        """Return the runs that are in it."""
        return [run for place, run in enumerate(runs) if place % self.of == self.number - 1]


class StudySchedule:
    """Runs a study to its end.

    Args:
        runnable: The study.
        folder: Where it is kept; runs that have a result there are not repeated, those that were interrupted go on.
        command: Starts a worker.
        listener: Is told how it goes on.
    """

    def __init__(
        self, runnable: RunnableStudy, folder: StudyFolder, command: Sequence[str], listener: StudyListener
    ) -> None:
        self._runnable = runnable
        self._study = runnable.study
        self._folder = folder
        self._command = command
        self._listener = listener
        self._results = folder.results(self._study)
        self._check_results()

    def _check_results(self) -> None:
        for run in self._study.runs:
            result = self._results.get(run.id)
            if result is not None and result.plan_digest not in {run.plan_digest, ""}:
                place = str(self._folder.run(run.id))
                raise DamagedError("this is the result of another plan", place=place, cure="remove this folder")

    async def run(self, workers: int, share: RunShare = RunShare()) -> dict[str, StudyRunResult]:
        """Run what is left, and return what came of all runs that have ended, by their ids.

        Args:
            workers: How many runs are performed at once.
            share: Which of the runs.

        Raises:
            UsageError: If no run has the metric by which configurations are stopped.
        """
        self._folder.write_rows(self._study, self._results)
        alive = self._study.configurations
        rule = self._study.halving
        async with _workers(self._command, min(workers, len(self._study.runs))) as ready:
            for rung in rungs(rule, min(one.rounds for one in alive)):
                await self._perform(self._unfinished(alive, share, rung), ready, rung)
                if self._was_killed(alive):
                    return self._results  # it goes on next time: what is not known cannot be decided
                assert rule is not None  # noqa: S101 (there are no rungs without it)
                decision = decide(self._study, rule, alive, self._results, rung)
                self._stop(decision.stopped, rung)
                alive = decision.going_on
            await self._perform(self._unfinished(alive, share, 0), ready, 0)
        self._folder.write_rows(self._study, self._results)
        return self._results

    def _unfinished(self, alive: Sequence[Configuration], share: RunShare, rung: int) -> deque[StudyRun]:
        numbers = {configuration.number for configuration in alive}
        runs = [run for run in share.runs(self._study.runs) if run.configuration in numbers]
        return deque(run for run in runs if not self._is_there(self._results.get(run.id), rung))

    def _is_there(self, result: StudyRunResult | None, rung: int) -> bool:
        """Whether a run has come as far as it is to, or will not come further."""
        if result is None or result.state is RunState.KILLED:
            return False
        return result.state.settled or (rung > 0 and result.rounds >= rung)

    def _was_killed(self, alive: Sequence[Configuration]) -> bool:
        """Whether a run of these configurations did not come as far as it was to."""
        runs = (run for configuration in alive for run in self._study.runs_of(configuration))
        return any(run.id not in self._results or self._results[run.id].state is RunState.KILLED for run in runs)

    def _stop(self, configurations: Sequence[Configuration], rung: int) -> None:
        told = list[Configuration]()
        for configuration in configurations:
            for run in self._study.runs_of(configuration):
                result = self._results.get(run.id)
                if result is None or result.state is not RunState.PAUSED:  # one that its plan has ended is complete
                    continue
                self._results[run.id] = result.until(rung)
                self._folder.write_result(self._results[run.id])
                self._folder.add_rows(self._study, run, self._results[run.id])
                if configuration not in told:
                    told.append(configuration)
        if told:
            self._listener.stopped(told, rung)

    async def _perform(self, runs: deque[StudyRun], ready: deque["_RunWorker"], rung: int) -> None:
        """Have runs performed, the first ones first."""
        owner = TaskOwner()
        try:
            tasks = [owner.start(self._take(runs, worker, rung)) for worker in list(ready)[: len(runs)]]
            await asyncio.gather(*tasks)
        finally:
            await owner.close()

    async def _take(self, runs: deque[StudyRun], worker: "_RunWorker", rung: int) -> None:
        while runs:
            await self._one(runs.popleft(), worker, rung)

    async def _one(self, run: StudyRun, worker: "_RunWorker", rung: int) -> None:
        folder = self._folder
        folder.prepare(run.id, self._runnable.plans[run.id])
        self._listener.run_started(run)
        order = RunOrder(
            run.id,
            folder.plan(run.id).resolve(),
            self._runnable.workspace.resolve(),
            folder.record(run.id).resolve(),
            folder.log(run.id).resolve(),
            rung,
        )
        death = await worker.perform(order, lambda number: self._listener.round_finished(run, number))
        result = folder.result(run)
        if death or result is None:
            result = self._died(run, death or "it left no result", result)
            folder.write_result(result)
        self._results[run.id] = result
        folder.add_rows(self._study, run, result)
        self._listener.run_ended(run, result)

    def _died(self, run: StudyRun, how: str, before: StudyRunResult | None) -> StudyRunResult:
        """Return the result of a run whose process did not come to its end."""
        cause = f"its process ended before it did: {how}; {self._folder.log(run.id)} has what it wrote last"
        known = before or StudyRunResult(run.id, run.plan_digest, RunState.KILLED)
        return replace(known, state=RunState.KILLED, code=TaskError.code, cause=cause)


class _RunWorker:
    """A worker process, started when it is first needed, and again when it has died.

    Args:
        command: Starts it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._child: Child | None = None

    async def perform(self, order: RunOrder, tell: "_Tell") -> str:
        """Have it perform a run; return how its process died, or nothing if it came to its end.

        Args:
            order: The run.
            tell: Is told each finished round.
        """
        if self._child is None:
            self._child = await spawn(self._command, on_line=log.warning, environment=_environment())
        child = self._child
        assert child.process.stdin is not None  # noqa: S101 (always piped)
        with contextlib.suppress(ConnectionError):  # its end shows when it is read from
            child.process.stdin.write(order_line(order))
            await child.process.stdin.drain()
        while line := await child.line():
            match told_from(line):
                case (what, number) if what == ROUND:
                    tell(number)
                case (what, code) if what == ENDED:
                    return "" if code == 0 else describe_exit(code)
                case _:
                    log.debug("a worker wrote: %s", line)
        self._child = None
        return describe_exit(await child.stop(grace_s=0.0))

    async def close(self) -> None:
        """End it, with the run that it performs."""
        child, self._child = self._child, None
        if child is not None:
            await child.stop(grace_s=0.0)


class _Tell(Protocol):
    def __call__(self, number: int, /) -> None: ...


@contextlib.asynccontextmanager
async def _workers(command: Sequence[str], count: int) -> AsyncIterator[deque[_RunWorker]]:
    """Give so many workers; all have ended when the block has."""
    workers = deque(_RunWorker(command) for _ in range(count))
    try:
        yield workers
    finally:
        for worker in workers:
            await worker.close()


def _environment() -> dict[str, str]:
    """Return the environment of a worker: that in which `fx simulate` would run."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def processors() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
