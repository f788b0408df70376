"""Simulation on processes: as many workers as there are processors, or one for every site."""

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from openfl_like.data.policy import Sandbox
from openfl_like.errors import UsageError
from openfl_like.federation.events import EverybodyJoined, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.failure import FailedTaskError
from openfl_like.federation.supervision.restarts import Restarts
from openfl_like.federation.task import Assignment, Update
from openfl_like.plan.bundle import pack, unpack
from openfl_like.plan.digest import freeze
from openfl_like.processes.worker_client import WorkerEndedError, WorkerProcess, WorkerSettings, first_order
from openfl_like.runtimes.local import failed, in_time, too_late
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.sites import SimulatedSites, keeps_in_memory, refuse_workers
from openfl_like.store.removal import remove_tree
from openfl_like.tasks import TaskOwner
from openfl_like.tensors.manifest import manifest_path

log = logging.getLogger(__name__)
MOST_LOADED = 64
"""Of so many sites a shared worker keeps model and data."""


@dataclass(frozen=True, slots=True)
class WorkerNumbers:
    """How many workers there are, and of what.

    Attributes:
        at_once: How many work at the same time.
        most_loaded: Of how many sites a shared one keeps model and data.
    """

    at_once: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    most_loaded: int = MOST_LOADED


@dataclass(slots=True)
class _Slot:
    """A place for one worker process; a new one is started when the last one has ended.

    Attributes:
        most: Of so many sites it keeps model and data.
        worker: The process; None: there is none now.
        loaded: The sites that it has loaded; the one that has worked last is the last.
    """

    most: int = MOST_LOADED
    worker: WorkerProcess | None = None
    loaded: dict[str, None] = field(default_factory=dict)

    async def ready(self, site: str, settings: WorkerSettings) -> WorkerProcess:
        """Return the worker when it has loaded a site; raises as `WorkerProcess.start` does."""
        if self.worker is None:
            self.worker = await WorkerProcess.start(settings, lambda line: log.info("worker of %s: %s", site, line))
        elif site not in self.loaded:
            forget = list(self.loaded)[: max(0, len(self.loaded) + 1 - self.most)]
            for name in forget:
                del self.loaded[name]
            await self.worker.load(settings, forget)
        self.loaded.pop(site, None)
        self.loaded[site] = None
        return self.worker

    async def end(self) -> None:
        """End the worker; what it had loaded is loaded again when it is needed."""
        worker, self.worker = self.worker, None
        self.loaded.clear()
        if worker is not None:
            await worker.stop()


class ProcessRuntime:
    """Runs the sites' tasks in worker processes.

    Shared workers are as many as work at once. One loads a site when it is first given work of that site, and keeps
    model and data of those that it has worked for last. Otherwise every site has a worker of its own, which is started
    when the site is first asked, and kept with whatever the site keeps between rounds.

    A worker that dies over an assignment is replaced, and the assignment is performed again: to the same bytes, unless
    the code keeps something in memory that the platform does not know of.

    Args:
        sites: Names of the sites.
        settings: Says how the worker of a site is started.
        repository: Where models are found and updates go.
        numbers: How many workers there are.
        shared: Whether they are.
    """

    def __init__(
        self,
        sites: Iterable[str],
        settings: Callable[[str], WorkerSettings],
        repository: ModelRepository,
        numbers: WorkerNumbers,
        *,
        shared: bool,
    ) -> None:
        self._tried = next(iter(sites), None)
        self._settings = settings
        self._repository = repository
        self._turns = asyncio.Semaphore(numbers.at_once)
        self._idle = [_Slot(numbers.most_loaded) for _ in range(numbers.at_once)] if shared else None
        self._own: defaultdict[str, _Slot] = defaultdict(_Slot)
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
        slots = list(self._idle or ())
        try:
            if self._tried is not None:
                await self._load(slots[0] if slots else self._own[self._tried], self._tried)
            post(EverybodyJoined())
            yield
        finally:
            self._post = None
            await self._tasks.close()
            await asyncio.gather(*(slot.end() for slot in (*slots, *self._own.values())))

    async def _load(self, slot: _Slot, site: str) -> None:
        """Load the first site; a worker that is killed meanwhile is replaced, as any other."""
        restarts = Restarts()
        while True:
            try:
                await slot.ready(site, self._settings(site))
            except WorkerEndedError:
                await slot.end()
                if restarts.exhausted:
                    raise
            else:
                return
            await asyncio.sleep(restarts.next_pause_s())

    async def perform(self, *commands: Outward) -> None:
        """Give each assignment to a worker; a withdrawn one is still performed, and its result ignored."""
        for command in commands:
            if isinstance(command, SendAssignment):
                self._tasks.start(self._one(command.assignment))

    async def _one(self, assignment: Assignment) -> None:
        async with self._slot_for(assignment.collaborator) as slot:
            event = await self._performed(slot, assignment)
        if self._post is not None:
            self._post(event)

    @asynccontextmanager
    async def _slot_for(self, site: str) -> AsyncIterator[_Slot]:
        """Wait for a worker; of shared ones that are free, one that knows the site is the best."""
        if self._idle is None:
            async with self._turn_of_site[site], self._turns:  # a worker answers one question after the other
                yield self._own[site]
            return
        async with self._turns:
            slot = next((slot for slot in self._idle if site in slot.loaded), self._idle[0])
            self._idle.remove(slot)
            try:
                yield slot
            finally:
                self._idle.append(slot)

    async def _performed(self, slot: _Slot, assignment: Assignment) -> UpdateCommitted | TaskFailed:
        """Have an assignment performed; whatever goes wrong, the session waits for an answer."""
        restarts = Restarts()
        while True:
            try:
                return in_time(assignment, await self._try(slot, assignment))
            except TimeoutError as error:
                await slot.end()
                return failed(assignment, error) if assignment.deadline_s is None else too_late(assignment)
            except WorkerEndedError as error:
                await slot.end()
                if restarts.exhausted:
                    text = f"{error}; it ended {restarts.count + 1} times in a row"
                    return failed(assignment, FailedTaskError(text, replace(error.failure, message=text)))
                log.warning("round %d at '%s': %s; a new one", assignment.round, assignment.collaborator, error)
            except Exception as error:  # noqa: BLE001 (it becomes the site's reason)
                return failed(assignment, error)
            await asyncio.sleep(restarts.next_pause_s())

    async def _try(self, slot: _Slot, assignment: Assignment) -> Update:
        name = assignment.collaborator
        settings = self._settings(name)
        worker = await slot.ready(name, settings)
        model = self._repository.path(assignment.model) if assignment.model else None
        place = self._repository.spool_path(assignment)
        out = (settings.updates or place.parent) / place.name
        async with asyncio.timeout(assignment.deadline_s):
            update = await worker.perform(assignment, model, out)
        if update.digest and out != place:
            _move(out, place)
        return update


def process_runtime(
    sites: SimulatedSites, repository: ModelRepository, numbers: WorkerNumbers | None = None
) -> ProcessRuntime:
    """Return the runtime ``process`` for the sites of a simulation.

    Args:
        sites: Where tasks are performed.
        repository: Where models are found and updates go.
        numbers: How many workers there are; None: as the sites' wishes say, or as many as processors.

    Raises:
        UsageError: If a site has no shard.yaml: its data cannot be loaded in another process.
        BundleError: If its workers are confined and the workspace cannot be packed.
    """
    refuse_workers(sites, "each worker takes what the plan's collaborator.settings say", but_count=True)
    if numbers is None:
        numbers = WorkerNumbers() if sites.workers.count is None else WorkerNumbers(sites.workers.count)
    folder, frozen = _places(sites)
    if sites.sandbox:
        given = replace(sites, workspace=_as_it_travels(sites, folder))
        return ProcessRuntime(sites.files, partial(_confined, given, frozen), repository, numbers, shared=False)
    settings = partial(_settings, sites, frozen)
    if keeps_in_memory(sites.plan):
        return ProcessRuntime(sites.files, settings, repository, numbers, shared=False)
    return ProcessRuntime(
        sites.files, lambda name: replace(settings(name), site=name), repository, numbers, shared=True
    )


def _places(sites: SimulatedSites) -> tuple[Path, Path]:
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


def orders_of_sites(sites: SimulatedSites) -> Callable[[str], dict[str, object]]:
    """Return what gives the order with which a shared worker loads a site, wherever that worker is.

    Raises:
        UsageError: If a site has no shard.yaml.
    """
    _, frozen = _places(sites)

    def order(name: str) -> dict[str, object]:
        settings = replace(_settings(sites, frozen, name), site=name)
        return first_order(settings, settings.directory)

    return order


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
