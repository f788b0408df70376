"""Simulation on workers that each work for any site; tasks that take little are given several at once."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeAlias

from openfl_like.data.parts import MadeFiles
from openfl_like.errors import TensorError, UsageError
from openfl_like.federation.devices.placement import within
from openfl_like.federation.events import EverybodyJoined, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind
from openfl_like.federation.supervision.restarts import Restarts
from openfl_like.federation.task import Assignment, Update
from openfl_like.frameworks.shared_runner import MOST_LOADED
from openfl_like.plan.digest import freeze
from openfl_like.processes.batch import Answer, Batch, Setting, SiteOrder
from openfl_like.processes.worker_answers import read_update
from openfl_like.processes.worker_client import value_of
from openfl_like.runtimes.local import failed, in_time, too_late
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.sites import SimulatedSites, keeps_in_memory
from openfl_like.tasks import TaskOwner
from openfl_like.tensors.memory import TensorMemory

log = logging.getLogger(__name__)
BATCH_S = 0.02
"""So long a worker is about busy with what it is given at once."""
MOST_AT_ONCE = 64
"""So many orders it is given at most."""

_Event: TypeAlias = UpdateCommitted | TaskFailed


class WorkerLostError(Exception):
    """A worker ended over its orders; another one may carry them out.

    Args:
        text: What happened to it.
        failure: The same as values, where more is known than that it ended.
    """

    def __init__(self, text: str, failure: Failure | None = None) -> None:
        super().__init__(text)
        self.failure = failure


class Workers(Protocol):
    """Workers of one run, each with a `processes.site_worker.SiteWorker`; they carry out one batch at a time."""

    def running(self) -> AbstractAsyncContextManager[int]:
        """Have them at hand while the block is open, and give their number."""

    async def answers(self, worker: int, batch: Batch, limit_s: float | None) -> Sequence[Answer]:
        """Have a worker carry out orders; one that is lost, or over its time, is another one the next time.

        Args:
            worker: Which, from 0; one that is given a site's tasks again may have model and data in memory still.
            batch: The orders.
            limit_s: What one of them may take, once model and data are loaded; None: there is no limit.

        Raises:
            WorkerLostError: If the worker ended.
            TimeoutError: If it took longer.
        """
        ...


@dataclass(slots=True)
class _Backlog:
    """Assignments that wait for a worker; one that has worked for a site before is the best for it.

    Attributes:
        workers: How many workers there are.
    """

    workers: int
    _home: dict[str, int] = field(default_factory=dict)
    _of_anybody: deque[Assignment] = field(default_factory=deque)
    _of_worker: list[deque[Assignment]] = field(default_factory=list)
    _mean_s: float | None = None

    def __post_init__(self) -> None:
        self._of_worker = [deque() for _ in range(self.workers)]

    def __len__(self) -> int:
        return len(self._of_anybody) + sum(map(len, self._of_worker))

    def add(self, assignment: Assignment) -> None:
        """Have an assignment wait."""
        home = self._home.get(assignment.collaborator)
        (self._of_anybody if home is None else self._of_worker[home]).append(assignment)

    def took(self, seconds: float, orders: int) -> None:
        """Note what a batch took."""
        self._mean_s = seconds / orders

    def take(self, worker: int) -> list[Assignment]:
        """Return what a worker performs next, and take it away: fewer at the end, so that all are busy until then."""
        longest = max(range(self.workers), key=lambda each: len(self._of_worker[each]))
        others = self._of_worker[longest] if not self._of_anybody else self._of_anybody
        fair = math.ceil(len(self) / (2 * self.workers))
        many = 1 if self._mean_s is None else max(1, min(fair, MOST_AT_ONCE, int(BATCH_S / max(self._mean_s, 1e-9))))
        own, taken = self._of_worker[worker], list[Assignment]()
        while len(taken) < many and (own or others):
            taken.append(own.popleft() if own else others.popleft())
            self._home.pop(taken[-1].collaborator, None)
            self._home[taken[-1].collaborator] = worker
        while len(self._home) > MOST_LOADED * self.workers:  # workers have forgotten them, too
            self._home.pop(next(iter(self._home)))
        return taken


class PoolRuntime:
    """Runs the sites' tasks on such workers; each keeps model and data of the sites that it has worked for last.

    An assignment whose worker is lost is performed by another, three times in a row. When that, or a time out, happens
    to several that were given at once, each is performed on its own again: one of them is to blame, and only that one.

    Args:
        sites: Names of the sites.
        shard: Returns the shard.yaml of a site; empty: the plan has it made.
        setting: What the sites have in common.
        repository: Where models are found and updates go; on a file system that all hosts share.
        workers: Who works.
    """

    def __init__(
        self,
        sites: Iterable[str],
        shard: Callable[[str], str],
        setting: Setting,
        repository: ModelRepository,
        workers: Workers,
    ) -> None:
        self._first, self._shard, self._setting = next(iter(sites), None), shard, setting
        self._repository, self._workers = repository, workers
        self._backlog = _Backlog(0)
        self._more = asyncio.Condition()
        self._tasks = TaskOwner()

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """Let every site join, and have their tasks performed.

        Raises:
            TaskError: If the workspace's code cannot be loaded, which the first site tries at once.
            ShardError: If the first site's data cannot be loaded.
            UsageError: If a worker does not see the record.
        """
        async with self._workers.running() as count:
            self._backlog = _Backlog(count)
            try:
                if self._first is not None:
                    await self._load(self._first)
                for worker in range(count):
                    self._tasks.start(self._work(worker, post))
                post(EverybodyJoined())
                yield
            finally:
                await self._tasks.close()

    async def _load(self, site: str) -> None:
        """Have a worker load the first site; one that is lost over it is replaced."""
        restarts = Restarts()
        batch = Batch(self._setting, (SiteOrder(site, self._shard(site)),))
        while True:
            try:
                [answer] = await self._workers.answers(0, batch, None)
            except WorkerLostError as error:
                if restarts.exhausted:
                    raise _given_up(error, restarts, site) from error
            else:
                value_of(answer.told, lambda told: told)
                return
            await asyncio.sleep(restarts.next_pause_s())

    async def perform(self, *commands: Outward) -> None:
        """Have each assignment wait for a worker; a withdrawn one is still performed, and its result ignored."""
        async with self._more:
            for command in commands:
                if isinstance(command, SendAssignment):
                    self._backlog.add(command.assignment)
            self._more.notify_all()

    async def _work(self, worker: int, post: Post) -> None:
        """Keep a worker busy: what waits for one has not begun, so no time of its task runs."""
        clock = asyncio.get_running_loop()
        while True:
            async with self._more:
                await self._more.wait_for(lambda: len(self._backlog))
                taken = self._backlog.take(worker)
            began = clock.time()
            if len(taken) == 1 or not await self._together(worker, taken, post):
                for assignment in taken:
                    post(await self._alone(worker, assignment))
            self._backlog.took(clock.time() - began, len(taken))

    async def _together(self, worker: int, taken: Sequence[Assignment], post: Post) -> bool:
        """Have several performed at once, and say whether that went well; if not, nothing was posted."""
        try:
            events = await self._tried(worker, taken)
        except Exception as error:  # noqa: BLE001 (whatever it is, each is tried on its own, and told of)
            log.info("%d tasks that were given at once are performed one by one: %s", len(taken), error)
            return False
        post(*events)
        return True

    async def _alone(self, worker: int, assignment: Assignment) -> _Event:
        restarts = Restarts()
        while True:
            try:
                [event] = await self._tried(worker, [assignment])
            except WorkerLostError as error:
                if restarts.exhausted:
                    return failed(assignment, _given_up(error, restarts))
            except TimeoutError as error:
                return failed(assignment, error) if assignment.deadline_s is None else too_late(assignment)
            except Exception as error:  # noqa: BLE001 (whatever it is, the session waits for an answer)
                return failed(assignment, error)
            else:
                return event
            log.warning("round %d at '%s': its worker ended; another one", assignment.round, assignment.collaborator)
            await asyncio.sleep(restarts.next_pause_s())

    async def _tried(self, worker: int, taken: Sequence[Assignment]) -> list[_Event]:
        """Have assignments performed together.

        Raises:
            WorkerLostError: If the worker ended.
            TimeoutError: If one of them took longer than it may.
        """
        limits = [each.deadline_s for each in taken if each.deadline_s is not None]
        batch = Batch(self._setting, self._orders_for(taken))
        answers = await self._workers.answers(worker, batch, min(limits, default=None))
        return [self._event(assignment, answer) for assignment, answer in zip(taken, answers, strict=True)]

    def _orders_for(self, taken: Sequence[Assignment]) -> tuple[SiteOrder, ...]:
        models = {digest: self._repository.path(digest) for digest in {each.model for each in taken} if digest}
        paths = {digest: str(path.absolute()) for digest, path in models.items()}  # mostly one for all
        return tuple(
            SiteOrder(
                assignment.collaborator,
                self._shard(assignment.collaborator),
                assignment,
                paths.get(assignment.model, ""),
                str(self._repository.spool_path(assignment).absolute()),
            )
            for assignment in taken
        )

    def _event(self, assignment: Assignment, answer: Answer) -> _Event:
        try:
            update = value_of(answer.told, lambda told: read_update(told["update"], assignment))
            if answer.content is not None:
                self._repository.in_memory.keep(update, _content(answer.content, update))
        except Exception as error:  # noqa: BLE001 (submitted code ran where it comes from)
            return failed(assignment, error)
        return in_time(assignment, update)


def _content(content: bytes, update: Update) -> TensorMemory:
    model = TensorMemory(content)
    if model.digest != update.digest:
        raise TensorError("the worker's update is not what the worker says of it")
    return model


def _given_up(error: WorkerLostError, restarts: Restarts, site: str = "") -> FailedTaskError:
    text = f"{error}; it ended {restarts.count + 1} times in a row"
    failure = error.failure if error.failure is not None else Failure(FailureKind.WORKER, text)
    return FailedTaskError(text, replace(failure, message=text, site=site or failure.site))


def pool_runtime(sites: SimulatedSites, repository: ModelRepository, workers: Workers, name: str) -> PoolRuntime:
    """Return a runtime of workers for the sites of a simulation.

    Args:
        sites: Where tasks are performed.
        repository: Where models are found and updates go.
        workers: Who works.
        name: What the runtime is called.

    Raises:
        UsageError: If a site has no shard.yaml, or the plan has sites keep state in the memory of a worker: any worker
            may perform any site's tasks.
    """
    if sites.sandbox:
        raise UsageError("--sandbox: a worker works for many sites", cure="add --runtime process instead")
    if keeps_in_memory(sites.plan):
        raise UsageError(
            "the plan has sites keep what compression leaves out in memory between rounds, and with the "
            f"runtime '{name}' any worker works for any site",
            cure="use --runtime process",
        )
    folder, frozen = worker_places(sites)
    setting = Setting(
        str(frozen.resolve()),
        str(sites.workspace.resolve()),
        str(folder.resolve()),
        within(sites.device, sites.plan.collaborator.settings.device),
    )
    made = isinstance(sites.files, MadeFiles)
    return PoolRuntime(
        sites.files, lambda site: "" if made else str(sites.files[site].resolve()), setting, repository, workers
    )


def worker_places(sites: SimulatedSites) -> tuple[Path, Path]:
    """Make the folder of the workers, and the plan in it.

    Raises:
        UsageError: If a site has no shard.yaml.
    """
    if len(sites.shards) > len(sites.files):
        absent = sorted(sites.shards.keys() - sites.files.keys())
        raise UsageError(f"the sites {', '.join(absent)} have no shard.yaml that a process of their own could load")
    folder = sites.directory / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    frozen = folder / "plan.json"
    frozen.write_bytes(freeze(sites.plan))
    return folder, frozen
