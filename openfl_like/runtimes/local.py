"""Simulation in this process: one site after the other, in the order in which they were asked."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

from openfl_like.errors import FederationError
from openfl_like.federation.components import build_encoding
from openfl_like.federation.events import (
    EverybodyJoined,
    SendAssignment,
    TaskFailed,
    UpdateCommitted,
)
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind, failure_of
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.frameworks.perform import Performer, UpdateInMemory
from openfl_like.frameworks.runner import Shard
from openfl_like.frameworks.shared_runner import MOST_LOADED, ComparedPerformer, LoadedSites, SitePerformers
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.sites import SimulatedSites, keeps_in_memory, refuse_workers
from openfl_like.runtimes.updates_in_memory import MOST_BYTES
from openfl_like.store.site_files import algorithm_state
from openfl_like.tasks import SerialThread, TaskOwner, background

LOADING_S, WRITING_S = 600.0, 5.0
"""What a site may take besides its task: to load model and data the first time, and later to write its update."""
TURN_S = 0.02
"""So long the thread performs one assignment after the other before it hands the results over, and takes new ones."""

log = logging.getLogger(__name__)


class Performs(Protocol):
    """What a site does with an assignment; `frameworks.perform.Performer` is one."""

    def perform(self, assignment: Assignment, model: Path | None, out: Path) -> Update:
        """Perform the tasks; raises TaskError naming the task and the exception."""


_Event: TypeAlias = UpdateCommitted | TaskFailed


@dataclass(frozen=True, slots=True)
class _Late:
    """A task that is over its time and may be at work still."""

    assignment: Assignment
    performing: "asyncio.Future[None]"


@dataclass(slots=True)
class _Turn:
    """Assignments that the thread performs in a row: a hop for each would cost more than a small task.

    Attributes:
        one: Performs an assignment.
        waiting: What is to be performed; what the turn has no time for stays in it.
        is_ready: Whether the site of an assignment has loaded model and data.
        loads: Whether one that has not may follow others; a turn that begins with one has the time for it.
        in_a_row: Makes what those that follow and are ready are performed in.
        begun: What was begun, in order.
        events: What came of it; of the last one nothing as long as it is at work.
    """

    one: Callable[[Assignment], _Event]
    waiting: deque[Assignment]
    is_ready: Callable[[Assignment], bool]
    loads: bool
    in_a_row: Callable[[], AbstractContextManager[None]]
    begun: list[Assignment] = field(default_factory=list)
    events: list[_Event] = field(default_factory=list)

    def run(self) -> None:
        """Perform at least one assignment."""
        ends = time.monotonic() + TURN_S
        self._perform_next()
        while self._has_time(ends) and (self._next_is_ready() or self.loads):
            if not self._next_is_ready():
                self._perform_next()
                continue
            with self.in_a_row():
                while self._has_time(ends) and self._next_is_ready():
                    self._perform_next()

    def _has_time(self, ends: float) -> bool:
        return bool(self.waiting) and time.monotonic() < ends

    def _next_is_ready(self) -> bool:
        return bool(self.waiting) and self.is_ready(self.waiting[0])

    def _perform_next(self) -> None:
        self.begun.append(self.waiting.popleft())
        self.events.append(self.one(self.begun[-1]))


class LocalRuntime:
    """Runs every site's tasks in one thread of this process; a site's performer is made when it is first needed.

    A task that does not end cannot be ended here: it fails by its deadline, and so does what has to wait for it.

    Args:
        sites: Names of the sites.
        make: Makes the performer of a site.
        repository: Where models are found and updates go.
        writing_s: What a task may take besides its deadline, to write its update.
        loaded: What is kept of the sites; None: model and data of all.
        examine: Is called with the site and whatever goes wrong, where it went wrong; then no task has a deadline,
            because whoever examines takes their time. None: nobody does.
    """

    def __init__(
        self,
        sites: Iterable[str],
        make: Callable[[str], Performs],
        repository: ModelRepository,
        writing_s: float = WRITING_S,
        loaded: "LoadedSites[Performs] | None" = None,
        examine: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self._tried = next(iter(sites), None)
        self._make = make
        self._repository = repository
        self._loaded = loaded if loaded is not None else LoadedSites[Performs](None)
        self._orders: asyncio.Queue[Assignment] = asyncio.Queue()
        self._writing_s = writing_s
        self._late: _Late | None = None
        self._examine = examine

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """Let every site join, and perform their tasks; the performers are let go with the block.

        Raises:
            TaskError: If the workspace's code cannot be loaded, which the first site tries at once.
        """
        tasks, thread = TaskOwner(), SerialThread("tasks of the sites")
        try:
            if self._tried is not None:
                await thread.run(partial(self._try, self._tried))
            async with background(self._work(tasks, thread, post)):
                post(EverybodyJoined())
                yield
        finally:
            await tasks.close()
            thread.close()
            self._loaded.clear()

    async def perform(self, *commands: Outward) -> None:
        """Queue assignments; a withdrawn one is still performed, and its result ignored by the experiment."""
        for command in commands:
            if isinstance(command, SendAssignment):
                self._orders.put_nowait(command.assignment)

    async def _work(self, tasks: TaskOwner, thread: SerialThread, post: Post) -> None:
        waiting: deque[Assignment] = deque()
        while True:
            if not waiting:
                waiting.append(await self._orders.get())
            while not self._orders.empty():
                waiting.append(self._orders.get_nowait())
            if not await self._thread_is_free(waiting[0]):
                assignment = waiting.popleft()
                post(failed(assignment, FailedTaskError(*_held_up(assignment, self._late))))
                continue
            patience_s = self._patience_s(waiting[0])
            first_loads = not self._is_ready(waiting[0])
            turn = _Turn(self._one, waiting, self._is_ready, first_loads, self._loaded.in_a_row)
            performing = tasks.start(thread.run(turn.run))
            if await _over(performing, patience_s):
                performing.result()
                post(*turn.events)
            else:
                *others, late = list(turn.begun)
                self._late = _Late(late, performing)
                post(*turn.events[: len(others)], too_late(late))

    async def _thread_is_free(self, assignment: Assignment) -> bool:
        """Wait for a task that is over its time; for as long as the next one may take, since that waits meanwhile."""
        return self._late is None or await _over(self._late.performing, assignment.deadline_s)

    def _patience_s(self, assignment: Assignment) -> float | None:
        """How long to wait for a task that does not say itself that it took too long: it may never end."""
        if assignment.deadline_s is None or self._examine is not None:
            return None
        return assignment.deadline_s + (self._writing_s if self._is_ready(assignment) else LOADING_S)

    def _is_ready(self, assignment: Assignment) -> bool:
        """Whether the site has loaded model and data."""
        return assignment.collaborator in self._loaded

    def _performer(self, site: str) -> Performs:
        return self._loaded.of(site, lambda: self._make(site))

    def _try(self, site: str) -> None:
        try:
            self._performer(site)
        except Exception as error:
            if self._examine is not None:
                self._examine(site, error)
            raise

    def _one(self, assignment: Assignment) -> _Event:
        out = self._repository.spool_path(assignment)
        try:
            performer = self._performer(assignment.collaborator)
            model = self._repository.path(assignment.model) if assignment.model else None
            update = performer.perform(assignment, model, out)
            return in_time(assignment, update) if self._examine is None else UpdateCommitted(update)
        except Exception as error:  # noqa: BLE001 (the edge of a site: any failure becomes its reason, or all would wait)
            if self._examine is not None:
                self._examine(assignment.collaborator, error)
            return failed(assignment, error)


def failed(assignment: Assignment, error: Exception) -> TaskFailed:
    """Return the event that an assignment failed; a defect of ours is logged in full."""
    if not isinstance(error, FederationError | OSError):
        log.error("round %d at '%s' failed", assignment.round, assignment.collaborator, exc_info=error)
    failure = failure_of(error)
    if not (failure.task or failure.step):
        failure = replace(failure, task=assignment.tasks[0].name if assignment.tasks else assignment.phase.value)
    return TaskFailed(assignment.round, assignment.phase, assignment.collaborator, failure)


def in_time(assignment: Assignment, update: Update) -> UpdateCommitted | TaskFailed:
    """Return the event that an update is there, or that it took longer than its assignment allows."""
    if assignment.deadline_s is None or update.duration_s <= assignment.deadline_s:
        return UpdateCommitted(update)
    return too_late(assignment)


def _held_up(assignment: Assignment, late: "_Late | None") -> tuple[str, Failure]:
    """What an assignment fails with whose turn does not come."""
    who = f"the task of site '{late.assignment.collaborator}' in round {late.assignment.round}" if late else "a task"
    text = f"{who} does not end, and all sites work in one process (--runtime process has several)"
    return text, Failure(FailureKind.WORKER, text, step=f"waiting for its turn in round {assignment.round}")


async def _over(performing: "asyncio.Future[None]", limit_s: float | None) -> bool:
    """Wait for a task, and say whether it is over; it goes on if not."""
    done, _ = await asyncio.wait({performing}, timeout=limit_s)
    return bool(done)


def too_late(assignment: Assignment) -> TaskFailed:
    """Return the event that a task took longer than its assignment allows."""
    text = f"it took longer than {assignment.deadline_s:g} s"
    return failed(assignment, FailedTaskError(text, Failure(FailureKind.DEADLINE, text)))


@dataclass(frozen=True, slots=True)
class _HandsOver:
    """Performs a site's tasks in this process: models are open once for all sites, small updates stay in memory.

    Attributes:
        performer: Of the site.
        repository: Where models are found and updates go.
        plain: Whether updates are not encoded.
        noted: Is told how large the model is.
    """

    performer: Performer | ComparedPerformer
    repository: ModelRepository
    plain: bool
    noted: Callable[[int], None]

    def perform(self, assignment: Assignment, model: Path | None, out: Path) -> Update:
        """See `Performs`."""
        opened = self.repository.opened(assignment.model) if model is not None else None
        if opened is not None:
            self.noted(opened.size_bytes)
        small = opened is not None and opened.size_bytes <= MOST_BYTES
        if not (self.plain and small and assignment.phase is Phase.TRAIN):
            return self.performer.perform(assignment, opened, out)
        place = UpdateInMemory()
        update = self.performer.perform(assignment, opened, place)
        if place.content is not None:
            self.repository.in_memory.keep(update, place.content)
        return update


def local_runtime(sites: SimulatedSites, repository: ModelRepository) -> LocalRuntime:
    """Return the runtime ``local`` for the sites of a simulation: one after the other, in this process."""
    refuse_workers(sites, "it works in this process")
    plain = build_encoding(sites.plan) is None

    def performer(shard: Shard, state: Path) -> Performer:
        made = Performer(sites.plan, shard, sites.workspace, sites.device, state)
        progress, show = made.progress, sites.progress
        if show is not None:
            progress.tell = lambda told: show(TaskProgressed.of(progress.site, told))
        return made

    performers = SitePerformers(performer)
    loaded = LoadedSites[Performs](None if keeps_in_memory(sites.plan) else MOST_LOADED, performers.in_a_row)

    def noted(model_bytes: int) -> None:
        if not performers.shared:
            loaded.bound(model_bytes)

    def make(name: str) -> Performs:
        performer = performers.make(sites.shards[name], algorithm_state(sites.folder(name)))
        return _HandsOver(performer, repository, plain, noted)

    return LocalRuntime(sites.shards, make, repository, loaded=loaded, examine=sites.examine)
