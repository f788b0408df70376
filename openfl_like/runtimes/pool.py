"""Simulation on workers that somebody else has started: any of them performs what is next, for whatever site."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from openfl_like.errors import UsageError
from openfl_like.federation.events import EverybodyJoined, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind
from openfl_like.federation.supervision.restarts import Restarts
from openfl_like.federation.task import Assignment
from openfl_like.processes.worker import Worker, assignment_to_json
from openfl_like.processes.worker_answers import read_update
from openfl_like.processes.worker_client import value_of
from openfl_like.runtimes.local import LOADING_S, failed, in_time, too_late
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.process import MOST_LOADED, orders_of_sites
from openfl_like.runtimes.sites import SimulatedSites, keeps_in_memory
from openfl_like.tasks import TaskOwner

Order = Mapping[str, object]


class WorkerLostError(Exception):
    """A worker ended over an order; another one may carry it out."""


class Workers(Protocol):
    """Workers of one run, each with a `SiteWorker`; they carry out an order at a time."""

    def running(self) -> AbstractAsyncContextManager[int]:
        """Have them at hand while the block is open, and give their number."""

    async def answer(self, first: Order, order: Order | None) -> dict[str, Any]:
        """Have a worker that is free do what `SiteWorker.answer` says.

        It is called as often at the same time as there are workers.

        Raises:
            WorkerLostError: If the worker ended.
        """
        ...


class SiteWorker:
    """A worker for whatever site; its orders and answers are those of a worker process.

    Args:
        place: Where it is, for messages.
    """

    def __init__(self, place: str) -> None:
        self._worker = Worker()
        self._place = place
        self._loaded: dict[str, Order] = {}

    def answer(self, first: Order, order: Order | None) -> dict[str, object]:
        """Load the site of an order if it is not, and carry the order out; without one, tell what was loaded.

        Args:
            first: The order with which the site is loaded.
            order: What is to be done.
        """
        site, plan = str(first["site"]), Path(str(first["plan"]))
        if order is None or self._loaded.get(site) != first:
            if not plan.exists():
                unseen = f"{self._place} does not see {plan}"
                told = f"{unseen} (name a --directory on a file system that all hosts share)"
                return {"error": {"code": UsageError.code, "reason": told}}
            Path(str(first["folder"])).mkdir(parents=True, exist_ok=True)
            forget = list(self._loaded)[: max(0, len(self._loaded) + 1 - MOST_LOADED)]
            for name in forget:
                del self._loaded[name]
            answer = self._worker.answer({**first, "forget": forget})
            if order is None or "error" in answer:
                return answer
        self._loaded.pop(site, None)
        self._loaded[site] = first
        return self._worker.answer(order)


class PoolRuntime:
    """Runs the sites' tasks on such workers; each keeps model and data of the sites that it has worked for last.

    A task that does not end cannot be ended: it fails ten minutes after its deadline, and its worker stays busy. One
    whose worker is lost is performed by another, three times in a row.

    Args:
        sites: Names of the sites.
        first: Returns the order with which a worker loads a site.
        repository: Where models are found and updates go; on a file system that all hosts share.
        workers: Who works.
    """

    def __init__(
        self, sites: Iterable[str], first: Callable[[str], Order], repository: ModelRepository, workers: Workers
    ) -> None:
        self._tried, self._first = next(iter(sites), None), first
        self._repository, self._workers = repository, workers
        self._turns = asyncio.Semaphore(1)
        self._tasks = TaskOwner()
        self._post: Post | None = None

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """Let every site join, and have their tasks performed.

        Raises:
            TaskError: If the workspace's code cannot be loaded, which the first site tries at once.
            ShardError: If the first site's data cannot be loaded.
            UsageError: If a worker does not see the record.
        """
        self._post = post
        async with self._workers.running() as count:
            self._turns = asyncio.Semaphore(count)  # of who waits for a worker no time of its task runs
            try:
                if self._tried is not None:
                    await self._load(self._tried)
                post(EverybodyJoined())
                yield
            finally:
                self._post = None
                await self._tasks.close()

    async def _load(self, site: str) -> None:
        """Have a worker load the first site; one that is lost over it is replaced."""
        restarts = Restarts()
        while True:
            try:
                answer = await self._workers.answer(self._first(site), None)
            except WorkerLostError as error:
                if restarts.exhausted:
                    text = f"{error}; it ended {restarts.count + 1} times in a row"
                    raise FailedTaskError(text, Failure(FailureKind.WORKER, text, site=site)) from error
            else:
                value_of(answer, lambda told: told)
                return
            await asyncio.sleep(restarts.next_pause_s())

    async def perform(self, *commands: Outward) -> None:
        """Hand out each assignment; a withdrawn one is still performed, and its result ignored."""
        for command in commands:
            if isinstance(command, SendAssignment):
                self._tasks.start(self._one(command.assignment))

    async def _one(self, assignment: Assignment) -> None:
        async with self._turns:
            event = await self._performed(assignment)
        if self._post is not None:
            self._post(event)

    async def _performed(self, assignment: Assignment) -> UpdateCommitted | TaskFailed:
        restarts = Restarts()
        while True:
            try:
                return await self._tried_once(assignment)
            except WorkerLostError as error:
                if restarts.exhausted:
                    text = f"{error}; it ended {restarts.count + 1} times in a row"
                    return failed(assignment, FailedTaskError(text, Failure(FailureKind.WORKER, text)))
                await asyncio.sleep(restarts.next_pause_s())
            except TimeoutError as error:
                return failed(assignment, error) if assignment.deadline_s is None else too_late(assignment)
            except Exception as error:  # noqa: BLE001 (whatever it is, the session waits for an answer)
                return failed(assignment, error)

    async def _tried_once(self, assignment: Assignment) -> UpdateCommitted | TaskFailed:
        model = self._repository.path(assignment.model).absolute() if assignment.model else ""
        order = {
            "assignment": assignment_to_json(assignment),
            "model": str(model),
            "out": str(self._repository.spool_path(assignment).absolute()),
        }
        # the worker may have to load the site first; how long the task itself took, the update says
        async with asyncio.timeout(None if assignment.deadline_s is None else assignment.deadline_s + LOADING_S):
            answer = await self._workers.answer(self._first(assignment.collaborator), order)
        return in_time(assignment, value_of(answer, lambda told: read_update(told["update"], assignment)))


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
            "the plan has sites keep state in memory between rounds (opt_treatment or compression), and with the "
            f"runtime '{name}' any worker works for any site",
            cure="use --runtime process",
        )
    return PoolRuntime(sites.files, orders_of_sites(sites), repository, workers)
