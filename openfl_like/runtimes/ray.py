"""Simulation on Ray: actors perform what sites are asked for, on this machine or on a cluster that is there already.

A cluster is found as Ray's own tools find it, by the environment variable ``RAY_ADDRESS``; without it Ray is started on
this machine, and ended with the run. All hosts must see the workspace, the data of the sites and the record.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from openfl_like.errors import UsageError
from openfl_like.processes.batch import Answer, Batch
from openfl_like.processes.site_worker import SiteWorker
from openfl_like.runtimes.local import LOADING_S
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.pool import PoolRuntime, WorkerLostError, pool_runtime
from openfl_like.runtimes.sites import SimulatedSites, WorkerWishes

INSTALL = "pip install 'openfl_like[ray]'"
ADDRESS = "RAY_ADDRESS"
KNOCK_S = 5.0
NO_REPORTS = "RAY_USAGE_STATS_ENABLED"
GPU = "cuda:0"
"""The GPU of an actor as its process counts them: Ray shows it no other."""


class ActorWorker:
    """What an actor is made of."""

    def __init__(self) -> None:
        import ray

        self._worker = SiteWorker(f"the Ray worker on {ray.util.get_node_ip_address()}")

    def answers(self, batch: Batch) -> list[Answer]:
        """See `SiteWorker.answers`."""
        return self._worker.answers(batch)


class RayWorkers:
    """Actors as workers; one that is lost is replaced.

    Args:
        wishes: How many there are, and what each takes.
    """

    def __init__(self, wishes: WorkerWishes) -> None:
        self._wishes = wishes
        self._make: Callable[[], Any] | None = None
        self._actors: list[Any] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Start them, and Ray if there is no cluster; both end with the block.

        Raises:
            UsageError: If Ray is not installed, the cluster is not there, or it has no room for a worker.
        """
        ray = _ray()
        wishes = self._wishes
        ours = not ray.is_initialized()
        try:
            if ours:
                await asyncio.to_thread(_begin, ray)
            count = _count(ray, wishes)
            actor = ray.remote(num_cpus=wishes.cpus, num_gpus=wishes.gpus, max_restarts=0)(ActorWorker)
            self._make = actor.remote
            self._actors = [self._new() for _ in range(count)]
            yield count
        finally:
            for each in self._actors:
                ray.kill(each)
            self._actors = []
            if ours:
                await asyncio.to_thread(ray.shutdown)

    def _new(self) -> Any:  # noqa: ANN401 (an actor's handle: Ray has no type for it)
        if self._make is None:
            raise RuntimeError("the workers are not running")
        return self._make()

    async def answers(self, worker: int, batch: Batch, limit_s: float | None) -> Sequence[Answer]:
        """See `pool.Workers`; the actor may have to load the sites first, which is no part of a task's time."""
        from ray.exceptions import RayActorError

        actor = self._actors[worker]
        try:
            async with asyncio.timeout(None if limit_s is None else limit_s + LOADING_S):
                answers: Sequence[Answer] = await actor.answers.remote(batch)
                return answers
        except RayActorError as error:
            self._actors[worker] = self._new()
            raise WorkerLostError(f"the Ray worker ended: {type(error).__name__}") from error
        except TimeoutError:  # it may be at work for an hour
            _ray().kill(actor)
            self._actors[worker] = self._new()
            raise


def _ray() -> Any:  # noqa: ANN401 (a module)
    try:
        import ray
    except ImportError as error:
        raise UsageError("the package 'ray' is not installed", cure=INSTALL) from error
    return ray


def _begin(ray: Any) -> None:  # noqa: ANN401 (a module)
    """Connect to the cluster that the environment names, or start Ray here; nothing is reported to its makers."""
    os.environ.setdefault(NO_REPORTS, "0")
    address = os.environ.get(ADDRESS)
    try:
        _knock(address or "")
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            configure_logging=False,
            log_to_driver=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        where = f"no Ray cluster answers at {address}" if address else "Ray cannot be started here"
        raise UsageError(f"{where}: {error}", cure=f"start it with 'ray start', or correct {ADDRESS}") from error


def _knock(address: str) -> None:
    """See that somebody listens at HOST:PORT: Ray itself would try for minutes. Other forms are Ray's own.

    Raises:
        OSError: If nobody does.
    """
    host, _, port = address.rpartition(":")
    if host and "/" not in address and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()


def _count(ray: Any, wishes: WorkerWishes) -> int:  # noqa: ANN401 (a module)
    """How many workers there are: as many as are wished for, or as the cluster has room for.

    Raises:
        UsageError: If it has not: Ray would wait for it.
    """
    there = ray.cluster_resources()
    wanted = {"CPU": wishes.cpus, "GPU": wishes.gpus}
    room = min(int(there.get(what, 0.0) / share + 1e-9) for what, share in wanted.items() if share)
    count = wishes.count or room
    if not 1 <= count <= room:
        has = " and ".join(f"{there.get(what, 0.0):g} {what}" for what in wanted)
        needs = " and ".join(f"{share:g} {what}" for what, share in wanted.items() if share)
        raise UsageError(
            f"a worker takes {needs}, and Ray has {has}: there is room for {room} and not for {max(count, 1)}",
            cure="lower --workers, --worker-cpus or --worker-gpus",
        )
    return count


def ray_runtime(sites: SimulatedSites, repository: ModelRepository) -> PoolRuntime:
    """Return the runtime ``ray`` for the sites of a simulation.

    Raises:
        UsageError: As `pool.pool_runtime` does.
    """
    given = replace(sites, device=GPU) if sites.workers.gpus else sites
    return pool_runtime(given, repository, RayWorkers(sites.workers), "ray")
