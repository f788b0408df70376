"""Simulation on processes: every site has a worker of its own, and as many work at once as there are processors."""

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from openfl_like.data.policy import Sandbox
from openfl_like.errors import UsageError
from openfl_like.federation.events import CollaboratorJoined, SendAssignment
from openfl_like.federation.task import Assignment
from openfl_like.plan.bundle import pack, unpack
from openfl_like.plan.digest import freeze
from openfl_like.processes.worker_client import WorkerEndedError, WorkerProcess, WorkerSettings
from openfl_like.runtimes.local import failed, in_time, too_late
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.sites import SimulatedSites
from openfl_like.store.removal import remove_tree
from openfl_like.tasks import TaskOwner
from openfl_like.tensors.manifest import manifest_path

log = logging.getLogger(__name__)


class ProcessRuntime:
    """Runs every site's tasks in a worker process of the site's own.

    A worker is started when its site is first asked, and kept: it holds the model, the data and whatever the site keeps
    between rounds.

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
        self._sites = sorted(sites)
        self._settings = cache(settings)
        self._repository = repository
        self._turns = asyncio.Semaphore(at_once)
        self._sites_turn: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # a worker answers one at a time
        self._workers: dict[str, WorkerProcess] = {}
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
            for name in self._sites[:1]:
                await self._worker(name)
            post(*(CollaboratorJoined(name) for name in self._sites))
            yield
        finally:
            self._post = None
            await self._tasks.close()
            await asyncio.gather(*(worker.stop() for worker in self._workers.values()))
            self._workers.clear()

    async def perform(self, *commands: Outward) -> None:
        """Give each assignment to its site; a withdrawn one is still performed, and its result ignored."""
        for command in commands:
            if isinstance(command, SendAssignment):
                self._tasks.start(self._one(command.assignment))

    async def _one(self, assignment: Assignment) -> None:
        name = assignment.collaborator
        async with self._sites_turn[name], self._turns:
            try:
                worker = await self._worker(name)
                model = self._repository.path(assignment.model) if assignment.model else None
                place = self._repository.spool_path(assignment)
                out = (self._settings(name).updates or place.parent) / place.name
                async with asyncio.timeout(assignment.deadline_s):
                    update = await worker.perform(assignment, model, out)
                if update.digest:
                    _move(out, place)
                event = in_time(assignment, update)
            except TimeoutError:
                await self._workers.pop(name).stop()
                event = too_late(assignment)
            except Exception as error:  # noqa: BLE001 (whatever it is, the session waits for an answer)
                if isinstance(error, WorkerEndedError):
                    self._workers.pop(name, None)
                event = failed(assignment, error)
        if self._post is not None:
            self._post(event)

    async def _worker(self, name: str) -> WorkerProcess:
        if name not in self._workers:
            self._workers[name] = await WorkerProcess.start(
                self._settings(name), lambda line: log.info("worker of %s: %s", name, line)
            )
        return self._workers[name]


def process_runtime(sites: SimulatedSites, repository: ModelRepository) -> ProcessRuntime:
    """Return the runtime ``process`` for the sites of a simulation.

    Raises:
        UsageError: If a site has no shard.yaml: its data cannot be loaded in another process.
        BundleError: If its workers are confined and the workspace cannot be packed.
    """
    absent = sorted(sites.shards.keys() - sites.files.keys())
    if absent:
        raise UsageError(f"the sites {', '.join(absent)} have no shard.yaml that a process of their own could load")
    folder = sites.directory / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    frozen = folder / "plan.json"
    frozen.write_bytes(freeze(sites.plan))
    given = replace(sites, workspace=_as_it_travels(sites, folder)) if sites.sandbox else sites
    return ProcessRuntime(sites.files, partial(_settings, given, frozen), repository, os.cpu_count() or 1)


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
    updates = plan.parent / ".updates" / name
    updates.mkdir(parents=True, exist_ok=True)
    return WorkerSettings(
        shard=sites.files[name],
        directory=folder,
        owner=folder,
        plan=plan,
        workspace=sites.workspace,
        threads=wishes.threads,
        device=sites.device,
        wish=wishes.device,
        models=sites.directory / "models",
        updates=updates,
        sandbox=Sandbox.BEST if sites.sandbox else Sandbox.OFF,
    )
