"""Simulation on processes of this machine: as many workers as there are processors, or one for every site."""

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from openfl_like.data.policy import Sandbox
from openfl_like.federation.events import EverybodyJoined, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.failure import FailedTaskError
from openfl_like.federation.supervision.restarts import Restarts
from openfl_like.federation.task import Assignment, Update
from openfl_like.plan.bundles.bundle import pack, unpack
from openfl_like.processes.batch import Answer, Batch
from openfl_like.processes.site_worker_client import SiteWorkerProcess
from openfl_like.processes.worker_channel import WorkerEndedError
from openfl_like.processes.worker_client import WorkerProcess, WorkerSettings
from openfl_like.runtimes.local import failed, in_time, too_late
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.pool import PoolRuntime, WorkerLostError, pool_runtime, worker_places
from openfl_like.runtimes.sites import SimulatedSites, keeps_in_memory, refuse_workers
from openfl_like.store.removal import remove_tree
from openfl_like.tasks import TaskOwner
from openfl_like.tensors.manifest import manifest_path

log = logging.getLogger(__name__)


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


class ProcessWorkers:
    """Processes of this machine as workers for any site; one is started when it is first needed.

    Args:
        count: How many there are.
        start: Starts one.
    """

    def __init__(self, count: int, start: Callable[[], Awaitable[SiteWorkerProcess]]) -> None:
        self._count, self._start = count, start
        self._workers: dict[int, SiteWorkerProcess] = {}
        self._loaded: defaultdict[int, set[str]] = defaultdict(set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Give their number; they end with the block."""
        try:
            yield self._count
        finally:
            await asyncio.gather(*map(self._end, list(self._workers)))

    async def answers(self, worker: int, batch: Batch, limit_s: float | None) -> Sequence[Answer]:
        """See `pool.Workers`; what one order may take begins when the site is loaded, which is done before."""
        try:
            if worker not in self._workers:
                self._workers[worker] = await self._start()
            process, sites = self._workers[worker], {order.site for order in batch.orders}
            if limit_s is not None and len(batch.orders) == 1 and not sites <= self._loaded[worker]:
                await process.answers(Batch(batch.setting, (replace(batch.orders[0], assignment=None),)))
            self._loaded[worker] |= sites
            async with asyncio.timeout(limit_s):
                return await process.answers(batch)
        except WorkerEndedError as error:
            await self._end(worker)
            raise WorkerLostError(error.message, error.failure) from error
        except (TimeoutError, asyncio.CancelledError):  # it is at work, and nobody waits for it
            await self._end(worker)
            raise

    async def _end(self, worker: int) -> None:
        """End a worker; what it had loaded is loaded again when it is needed."""
        process = self._workers.pop(worker, None)
        self._loaded.pop(worker, None)
        if process is not None:
            await process.stop()


class ProcessRuntime:
    """Runs the tasks of every site in a worker process of its own.

    It is started when the site is first asked, and kept with whatever the site keeps between rounds. A worker that dies
    over an assignment is replaced, and the assignment is performed again: to the same bytes, unless the code keeps
    something in memory that the platform does not know of.

    Args:
        sites: Names of the sites.
        settings: Says how the worker of a site is started.
        repository: Where models are found and updates go.
        at_once: How many work at the same time.
    """

    def __init__(
        self,
        sites: Iterable[str],
        settings: Callable[[str], WorkerSettings],
        repository: ModelRepository,
        at_once: int,
    ) -> None:
        self._tried = next(iter(sites), None)
        self._settings = settings
        self._repository = repository
        self._turns = asyncio.Semaphore(at_once)
        self._workers: dict[str, WorkerProcess] = {}
        self._turn_of_site: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks = TaskOwner()
        self._post: Post | None = None

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """Let every site join, and have their tasks performed; the workers end with the block.

        Raises:
            TaskError: If the workspace's code cannot be loaded, which the first site tries at once.
            ShardError: If the first site's data cannot be loaded.
        """
        self._post = post
        try:
            if self._tried is not None:
                await self._load(self._tried)
            post(EverybodyJoined())
            yield
        finally:
            self._post = None
            await self._tasks.close()
            await asyncio.gather(*map(self._end, list(self._workers)))

    async def _load(self, site: str) -> None:
        """Load the first site; a worker that is killed meanwhile is replaced, as any other."""
        restarts = Restarts()
        while True:
            try:
                await self._ready(site)
            except WorkerEndedError:
                await self._end(site)
                if restarts.exhausted:
                    raise
            else:
                return
            await asyncio.sleep(restarts.next_pause_s())

    async def _ready(self, site: str) -> WorkerProcess:
        """Return the site's worker when it has loaded model and data; raises as `WorkerProcess.start` does."""
        if site not in self._workers:
            told = lambda line: log.info("worker of %s: %s", site, line)  # noqa: E731 (one line for one argument)
            self._workers[site] = await WorkerProcess.start(self._settings(site), told)
        return self._workers[site]

    async def _end(self, site: str) -> None:
        worker = self._workers.pop(site, None)
        if worker is not None:
            await worker.stop()

    async def perform(self, *commands: Outward) -> None:
        """Give each assignment to a worker; a withdrawn one is still performed, and its result ignored."""
        for command in commands:
            if isinstance(command, SendAssignment):
                self._tasks.start(self._one(command.assignment))

    async def _one(self, assignment: Assignment) -> None:
        # a worker answers one question after the other
        async with self._turn_of_site[assignment.collaborator], self._turns:
            event = await self._performed(assignment)
        if self._post is not None:
            self._post(event)

    async def _performed(self, assignment: Assignment) -> UpdateCommitted | TaskFailed:
        """Have an assignment performed; whatever goes wrong, the session waits for an answer."""
        restarts = Restarts()
        while True:
            try:
                return in_time(assignment, await self._try(assignment))
            except TimeoutError as error:
                await self._end(assignment.collaborator)
                return failed(assignment, error) if assignment.deadline_s is None else too_late(assignment)
            except WorkerEndedError as error:
                await self._end(assignment.collaborator)
                if restarts.exhausted:
                    text = f"{error}; it ended {restarts.count + 1} times in a row"
                    return failed(assignment, FailedTaskError(text, replace(error.failure, message=text)))
                log.warning("round %d at '%s': %s; a new one", assignment.round, assignment.collaborator, error)
            except Exception as error:  # noqa: BLE001 (it becomes the site's reason)
                return failed(assignment, error)
            await asyncio.sleep(restarts.next_pause_s())

    async def _try(self, assignment: Assignment) -> Update:
        settings = self._settings(assignment.collaborator)
        worker = await self._ready(assignment.collaborator)
        model = self._repository.path(assignment.model) if assignment.model else None
        place = self._repository.spool_path(assignment)
        out = (settings.updates or place.parent) / place.name
        async with asyncio.timeout(assignment.deadline_s):
            update = await worker.perform(assignment, model, out)
        if update.digest and out != place:
            _move(out, place)
        return update


def process_runtime(sites: SimulatedSites, repository: ModelRepository) -> PoolRuntime | ProcessRuntime:
    """Return the runtime ``process`` for the sites of a simulation.

    Workers are as many as work at once, and any works for every site, unless a site's worker is confined or keeps
    something between rounds.

    Raises:
        UsageError: If a site has no shard.yaml: its data cannot be loaded in another process.
        BundleError: If its workers are confined and the workspace cannot be packed.
    """
    refuse_workers(sites, "each worker takes what the plan's collaborator.settings say", but_count=True)
    count, wishes = sites.workers.count or processors(), sites.plan.collaborator.settings
    if not (sites.sandbox or keeps_in_memory(sites.plan)):
        start = partial(SiteWorkerProcess.start, sites.directory / "workers", sites.device, wishes.threads)
        return pool_runtime(sites, repository, ProcessWorkers(count, start), "process")
    folder, frozen = worker_places(sites)
    settings = partial(_settings, sites, frozen)
    if sites.sandbox:
        settings = partial(_confined, replace(sites, workspace=_as_it_travels(sites, folder)), frozen)
    return ProcessRuntime(sites.files, settings, repository, count)


def _as_it_travels(sites: SimulatedSites, folder: Path) -> Path:
    """Make the workspace that a site would get: the one here also has the data of all simulated sites.

    Raises:
        BundleError: If it cannot be packed.
    """
    bundle, workspace = folder / ".bundle.tar", folder / ".workspace"  # no site is called so
    remove_tree(workspace)
    pack(sites.workspace, sites.plan, bundle)
    try:
        unpack(bundle, workspace)
    finally:
        bundle.unlink()
    return workspace


def _move(update: Path, place: Path) -> None:
    """Put an update and what is known of it into the spool, where no worker reaches it any more."""
    for origin, target in ((manifest_path(update), manifest_path(place)), (update, place)):
        if origin.exists():
            origin.replace(target)


def _settings(sites: SimulatedSites, plan: Path, name: str) -> WorkerSettings:
    wishes, folder = sites.plan.collaborator.settings, sites.folder(name)
    return WorkerSettings(
        shard=sites.files[name],
        directory=folder,
        owner=folder,
        plan=plan,
        workspace=sites.workspace,
        threads=wishes.threads,
        device=sites.device,
        wish=wishes.device,
        sandbox=Sandbox.OFF,
    )


def _confined(sites: SimulatedSites, plan: Path, name: str) -> WorkerSettings:
    """Return the same for a worker that confines itself; its updates are where no other one reaches them."""
    updates = plan.parent / ".updates" / name
    updates.mkdir(parents=True, exist_ok=True)
    models = sites.directory / "models"
    return replace(_settings(sites, plan, name), models=models, updates=updates, sandbox=Sandbox.BEST)
