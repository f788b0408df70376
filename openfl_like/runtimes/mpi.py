"""Simulation over MPI: rank 0 runs the loop, the others perform what sites are asked for, on one host or several.

All ranks are started with the same command, ``mpiexec -n 4 fx simulate plan.yaml --runtime mpi``; `ranks` lets the
others work until rank 0 has ended. mpi4py's own executor hands out the work and carries what comes of it.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from typing import cast

from openfl_like.errors import UsageError
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind
from openfl_like.processes.batch import Answer, Batch
from openfl_like.processes.site_worker import SiteWorker
from openfl_like.runtimes.local import LOADING_S
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.pool import PoolRuntime, pool_runtime
from openfl_like.runtimes.sites import SimulatedSites, refuse_workers

INSTALL = "pip install 'openfl_like[mpi]', and start it with the mpiexec of that environment"
INTERRUPTED = 130


class OtherRanks:
    """The ranks other than 0 as workers; one whose task is over its time is busy until that ends.

    Args:
        executor: Hands out work to them.
        count: How many there are.
    """

    def __init__(self, executor: Executor, count: int) -> None:
        self._executor, self._count = executor, count
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Give their number; `ranks` has them at hand."""
        self._free = asyncio.Semaphore(self._count)
        yield self._count

    async def answers(self, worker: int, batch: Batch, limit_s: float | None) -> Sequence[Answer]:  # noqa: ARG002 (MPI says which is free)
        """See `pool.Workers`; when a rank is lost, MPI ends all.

        The rank may have to load the sites first; how long a task itself took, its update says.

        Raises:
            FailedTaskError: If no rank is free for as long as that: the tasks of others do not end.
        """
        limit = None if limit_s is None else limit_s + LOADING_S
        try:
            async with asyncio.timeout(limit):
                await self._free.acquire()
        except TimeoutError:
            text = "no rank is free: the tasks of other sites do not end"
            raise FailedTaskError(text, Failure(FailureKind.WORKER, text)) from None
        loop, work = asyncio.get_running_loop(), self._executor.submit(_answers, batch)

        def released(_: object) -> None:
            with suppress(RuntimeError):  # the run is over, and its loop with it
                loop.call_soon_threadsafe(self._free.release)

        work.add_done_callback(released)
        async with asyncio.timeout(limit):
            return await asyncio.wrap_future(work)


_RANKS: list[OtherRanks] = []
"""What hands out work, in rank 0, while `ranks` is open."""


@contextmanager
def ranks() -> Iterator[bool]:
    """Join the others of this MPI run; say whether this is rank 0. The others work first, until rank 0 has left.

    When rank 0 is interrupted, all ranks end at once: what it has recorded is on the disk by then.

    Raises:
        UsageError: If there is no MPI here, or no other rank.
    """
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPICommExecutor
    except (ImportError, RuntimeError) as error:
        raise UsageError(f"there is no MPI here: {error}", cure=INSTALL) from error
    if MPI.COMM_WORLD.size == 1:
        raise UsageError(
            "the runtime 'mpi' was started without other ranks, or with an mpiexec of another MPI",
            cure="mpiexec -n 3 fx simulate … --runtime mpi, with the mpiexec beside this fx",
        )
    if MPI.COMM_WORLD.rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 says when it is over
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as given:
        executor = cast("Executor | None", given)
        if executor is None:
            yield False
            return
        others = OtherRanks(executor, MPI.COMM_WORLD.size - 1)
        _RANKS.append(others)
        try:
            yield True
        except KeyboardInterrupt:  # the others may be at work for an hour, and cannot be asked to stop
            MPI.COMM_WORLD.Abort(INTERRUPTED)
        finally:
            _RANKS.remove(others)


@cache
def _worker() -> SiteWorker:
    from mpi4py import MPI

    return SiteWorker(f"rank {MPI.COMM_WORLD.rank} on {MPI.Get_processor_name()}")


def _answers(batch: Batch) -> list[Answer]:
    """Run in a rank other than 0."""
    return _worker().answers(batch)


def mpi_runtime(sites: SimulatedSites, repository: ModelRepository) -> PoolRuntime:
    """Return the runtime ``mpi`` for the sites of a simulation.

    Raises:
        UsageError: If this is not rank 0 of several, or as `pool.pool_runtime` does.
    """
    if not _RANKS:
        raise UsageError("the runtime 'mpi' runs within 'ranks' alone", cure="use fx simulate --runtime mpi")
    refuse_workers(sites, "mpiexec says how many ranks there are")
    return pool_runtime(sites, repository, _RANKS[0], "mpi")
