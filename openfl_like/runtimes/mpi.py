"""Simulation over MPI: rank 0 runs the loop, the others perform what sites are asked for, on one host or several.

All ranks are started with the same command, ``mpiexec -n 4 fx simulate plan.yaml --runtime mpi``; `ranks` lets the
others work until rank 0 has ended. mpi4py's own executor hands out the work and carries what comes of it.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from openfl_like.errors import UsageError
from openfl_like.federation.events import EverybodyJoined, SendAssignment, TaskFailed, UpdateCommitted
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

INSTALL = "pip install 'openfl_like[mpi]', and start it with the mpiexec of that environment"
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class OtherRanks:
    """The ranks other than 0.

    Attributes:
        executor: Hands out work to them.
        count: How many there are.
    """

    executor: Executor
    count: int


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


class _RankWorker:
    """The worker of a rank other than 0; its orders and answers are those of a worker process."""

    def __init__(self) -> None:
        self._worker = Worker()
        self._loaded: dict[str, None] = {}

    def answer(self, first: Mapping[str, Any], order: Mapping[str, Any] | None) -> dict[str, object]:
        """Load the site of an order if it is not, and carry the order out; without one, tell what was loaded."""
        site = first["site"]
        if order is None or site not in self._loaded:
            if not Path(first["plan"]).exists():
                return {"error": {"code": UsageError.code, "reason": _unseen(first["plan"])}}
            Path(first["folder"]).mkdir(parents=True, exist_ok=True)
            forget = list(self._loaded)[: max(0, len(self._loaded) + 1 - MOST_LOADED)]
            for name in forget:
                del self._loaded[name]
            answer = self._worker.answer({**first, "forget": forget})
            if order is None or "error" in answer:
                return answer
        self._loaded.pop(site, None)
        self._loaded[site] = None
        return self._worker.answer(order)


@cache
def _worker() -> _RankWorker:
    return _RankWorker()


def _answer(first: Mapping[str, Any], order: Mapping[str, Any] | None) -> dict[str, object]:
    """Run in a rank other than 0."""
    return _worker().answer(first, order)


def _unseen(path: str) -> str:
    from mpi4py import MPI

    rank = f"rank {MPI.COMM_WORLD.rank} on {MPI.Get_processor_name()}"
    return f"{rank} does not see {path} (name a --directory on a file system that all hosts share)"


class MpiRuntime:
    """Runs the sites' tasks in the other ranks; each keeps model and data of the sites that it has worked for last.

    A task that does not end cannot be ended: it fails ten minutes after its deadline, and its rank stays busy.

    Args:
        sites: Names of the sites.
        first: Returns the order with which a rank loads a site.
        repository: Where models are found and updates go; on a file system that all hosts share.
        ranks: Hands out work.
    """

    def __init__(
        self,
        sites: Iterable[str],
        first: Callable[[str], Mapping[str, object]],
        repository: ModelRepository,
        ranks: OtherRanks,
    ) -> None:
        self._tried, self._first = next(iter(sites), None), first
        self._repository, self._executor = repository, ranks.executor
        self._turns = asyncio.Semaphore(ranks.count)  # who waits for a rank has not begun, so no time of its task runs
        self._tasks = TaskOwner()
        self._post: Post | None = None

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """Let every site join, and have their tasks performed.

        Raises:
            TaskError: If the workspace's code cannot be loaded, which the first site tries at once.
            ShardError: If the first site's data cannot be loaded.
            UsageError: If a rank does not see the record.
        """
        self._post = post
        try:
            if self._tried is not None:
                value_of(await self._asked(self._tried, None), lambda told: told)
            post(EverybodyJoined())
            yield
        finally:
            self._post = None
            await self._tasks.close()

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
        model = self._repository.path(assignment.model).absolute() if assignment.model else ""
        order = {
            "assignment": assignment_to_json(assignment),
            "model": str(model),
            "out": str(self._repository.spool_path(assignment).absolute()),
        }
        try:
            # the rank may have to load the site first; how long the task itself took, the update says
            async with asyncio.timeout(None if assignment.deadline_s is None else assignment.deadline_s + LOADING_S):
                answer = await self._asked(assignment.collaborator, order)
            return in_time(assignment, value_of(answer, lambda told: read_update(told["update"], assignment)))
        except TimeoutError:
            return too_late(assignment)
        except Exception as error:  # noqa: BLE001 (whatever it is, the session waits for an answer)
            return failed(assignment, error)

    async def _asked(self, site: str, order: Mapping[str, object] | None) -> dict[str, Any]:
        return await asyncio.wrap_future(self._executor.submit(_answer, self._first(site), order))


def mpi_runtime(sites: SimulatedSites, repository: ModelRepository) -> MpiRuntime:
    """Return the runtime ``mpi`` for the sites of a simulation.

    Raises:
        UsageError: If this is not rank 0 of several, a site has no shard.yaml, or the plan has sites keep state in the
            memory of a worker: any rank may perform any site's tasks.
    """
    if not _RANKS:
        raise UsageError("the runtime 'mpi' runs within 'ranks' alone", cure="use fx simulate --runtime mpi")
    if sites.sandbox:
        raise UsageError("--sandbox: a rank works for many sites", cure="add --runtime process instead")
    if keeps_in_memory(sites.plan):
        raise UsageError(
            "the plan has sites keep state in memory between rounds (opt_treatment or compression), and with MPI any "
            "rank works for any site",
            cure="use --runtime process",
        )
    return MpiRuntime(sites.files, orders_of_sites(sites), repository, _RANKS[0])
