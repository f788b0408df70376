"""Simulation on workers of other hosts that come and ask for jobs; `openfl_like.services.job_worker` is one."""

import asyncio
import logging
import math
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from openfl_like.data.parts import MadeFiles
from openfl_like.error_meanings import BY_CODE
from openfl_like.errors import (
    ConflictError,
    NotAllowedError,
    NotFoundError,
    SettingsError,
    UpdateRefusedError,
    UsageError,
)
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind, fields_of_failure
from openfl_like.federation.jobs import (
    GivenUp,
    Job,
    JobAnswer,
    JobDone,
    JobFailed,
    Lease,
    NoJobs,
    Terms,
    before_its_task,
)
from openfl_like.federation.ports import UploadTarget
from openfl_like.federation.task import Phase, Update
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.roles import Identity, Role
from openfl_like.plan.bundles.bundle import pack
from openfl_like.printable import printable_line
from openfl_like.processes.batch import Answer, Batch
from openfl_like.runtimes.local import LOADING_S
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.pool import PoolRuntime, WorkerLostError, pool_runtime
from openfl_like.runtimes.sites import Listening, SimulatedSites, refuse_workers
from openfl_like.store.removal import remove_tree
from openfl_like.tensors.manifest import Manifest, kept_manifest, manifest_of, manifest_path
from openfl_like.wire.jobs import SERVICE, WAITING_S, JobsServicer
from openfl_like.wire.server import Guard, Server, service_handler
from openfl_like.wire.transfer.chunks import part_of, place_file

log = logging.getLogger(__name__)
LEASE_S = 15.0
LEASES_AT_ONCE = 16
LEAVING_S = 1.5
"""So long workers have to hear that the simulation has ended; those at work do when they renew their leases."""
REST_S = 0.5
"""So long a worker that has given jobs up leaves them to others; twice as long each time it does so again."""
HEADER_SLACK_BYTES = 1 << 16
MOST_UPDATE_BYTES = 64 << 30
"""Of an initial model, which starts from none."""


@dataclass(slots=True)
class _WaitingBatch:
    """A batch that somebody waits for.

    Attributes:
        batch: The orders.
        answered: What came of them.
        limit_s: So long whoever is given it may have it; None: as long as it likes.
    """

    batch: Batch
    answered: "asyncio.Future[Sequence[Answer]]"
    limit_s: float | None


@dataclass(slots=True)
class _LeasedBatch:
    """A batch that a worker has.

    Attributes:
        worker: Who.
        lease: What it was told.
        work: What is to be done.
        ends: Takes it away when it is not renewed.
        until: When it is renewed no more.
    """

    worker: str
    lease: Lease
    work: _WaitingBatch
    ends: asyncio.TimerHandle
    until: float


@dataclass(slots=True)
class LeasedJobs:
    """What waits for workers, and what they have; see `federation.jobs.JobsPort` and `JobFilesPort`.

    Args:
        bundle: With plan and workspace.
        folder: Where updates are received.
        repository: Where models are found.
        lease_s: How long a lease lasts.
    """

    bundle: Path
    folder: Path
    repository: ModelRepository
    lease_s: float = LEASE_S
    _manifest: Manifest = field(init=False)
    _waiting: deque[_WaitingBatch] = field(default_factory=deque)
    _leases: dict[str, _LeasedBatch] = field(default_factory=dict)
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)
    _ended: bool = False
    _known: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _given_up: dict[str, tuple[int, float]] = field(default_factory=dict)
    _asking: int = 0

    def __post_init__(self) -> None:
        self._manifest = manifest_of(self.bundle)
        remove_tree(self.folder)
        self.folder.mkdir(parents=True)

    async def done(self, batch: Batch, limit_s: float | None = None) -> Sequence[Answer]:
        """Have a worker do a batch.

        Args:
            batch: The orders.
            limit_s: What one of them may take, once model and data are loaded; None: there is no limit.

        Raises:
            WorkerLostError: If it gave it up, or has not renewed its lease.
            TimeoutError: If it has renewed it, and minded the time not.
        """
        limit_s = None if limit_s is None else limit_s + LOADING_S
        work = _WaitingBatch(batch, asyncio.get_running_loop().create_future(), limit_s)
        async with self._more:
            self._waiting.append(work)
            self._more.notify_all()  # some that hear it may not take it: they rest, or have gone
        return await work.answered

    async def end(self) -> None:
        """Tell everybody who asks that it is over, and wait a little for all to ask."""
        async with self._more:
            self._ended = True
            self._more.notify_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVING_S):
                    await self._more.wait_for(lambda: self._known <= self._told)
        remove_tree(self.folder)

    def register(self, worker: str) -> Terms:
        """See `JobsPort`."""
        if worker not in self._known:
            self._known.add(worker)
            log.info("worker '%s' has joined", worker)
        return Terms(self._manifest.digest, self.lease_s)

    async def next_lease(self, worker: str, bundle: str) -> Lease | NoJobs:
        """See `JobsPort`."""
        if worker not in self._known:
            raise ConflictError("the worker has not registered since the simulation was started", cure="register")
        if bundle != self._manifest.digest:
            raise ConflictError("the worker has the bundle of another simulation", cure="register")
        async with self._more:
            self._asking += 1
            try:
                await self._rest(worker)
                async with asyncio.timeout(WAITING_S):
                    await self._more.wait_for(lambda: self._ended or self._open())
            except TimeoutError:
                return NoJobs()
            finally:
                self._asking -= 1
            if self._ended:
                self._told.add(worker)
                self._more.notify_all()
                return NoJobs(ended=True)
            work = self._waiting.popleft()
        jobs = tuple(Job(order.site, order.assignment) for order in work.batch.orders)
        lease = Lease(secrets.token_hex(16), jobs)
        limit_s = math.inf if work.limit_s is None else work.limit_s
        until = asyncio.get_running_loop().time() + limit_s
        self._leases[lease.id] = _LeasedBatch(worker, lease, work, self._timer(lease.id), until)
        return lease

    async def _rest(self, worker: str) -> None:
        """Have a worker wait that has given jobs up, if there are others: it would be given the same ones again."""
        times, since = self._given_up.get(worker, (0, 0.0))
        if not times or len(self._known) == 1:
            return
        rest_s = min(REST_S * 2 ** min(times - 1, 16), WAITING_S)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(since + rest_s):
                await self._more.wait_for(lambda: self._ended)

    def _open(self) -> bool:
        """Whether something waits that somebody still waits for."""
        while self._waiting and self._waiting[0].answered.done():
            self._waiting.popleft()
        return bool(self._waiting)

    def _timer(self, lease: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self.lease_s, partial(self._run_out, lease))

    def _run_out(self, lease: str) -> None:
        held = self._leases.pop(lease)
        self._lose(held, WorkerLostError(f"worker '{held.worker}' was not heard of for {self.lease_s:g} s"))
        if not (self._asking or self._leases):
            log.warning("no other worker is here: the simulation waits for one")

    def _lose(self, held: _LeasedBatch, why: WorkerLostError) -> None:
        log.warning("%s; its jobs are done by others", why)
        self._clear(held)
        if not held.work.answered.done():
            held.work.answered.set_exception(why)

    def _clear(self, held: _LeasedBatch) -> None:
        """Remove what was delivered, or a part of it, and is not needed."""
        for number in range(len(held.lease.jobs)):
            place = self._place(held.lease.id, number)
            for path in (place, part_of(place), manifest_path(place)):
                path.unlink(missing_ok=True)

    def _of(self, worker: str, lease: str) -> _LeasedBatch:
        held = self._leases.get(lease)
        if held is None or held.worker != worker:
            raise NotFoundError("the lease has run out", cure="ask for the next jobs")
        return held

    def renew(self, worker: str, lease: str) -> Lease:
        """See `JobsPort`."""
        held = self._of(worker, lease)
        held.ends.cancel()
        if asyncio.get_running_loop().time() > held.until and not held.work.answered.done():
            log.warning("worker '%s' has had jobs for longer than they may take", worker)
            held.work.answered.set_exception(TimeoutError())
        if held.work.answered.done():  # nobody waits for it any more
            del self._leases[lease]
            self._clear(held)
            raise NotFoundError("the lease has run out", cure="ask for the next jobs")
        held.ends = self._timer(lease)
        return held.lease

    def complete(self, worker: str, lease: str, outcome: Sequence[JobAnswer] | GivenUp) -> None:
        """See `JobsPort`."""
        held = self._of(worker, lease)
        lost = self._lost(worker, outcome)
        answers = list[Answer]()
        if lost is None and not isinstance(outcome, GivenUp):  # what raises leaves the lease as it is, which runs out
            answers = [self._answer(held, number, one) for number, one in enumerate(outcome)]
        del self._leases[lease]
        held.ends.cancel()
        if lost is not None:
            times, _ = self._given_up.get(worker, (0, 0.0))
            self._given_up[worker] = times + 1, asyncio.get_running_loop().time()
            self._lose(held, lost)
            return
        self._given_up.pop(worker, None)
        self._clear(held)
        if not held.work.answered.done():
            held.work.answered.set_result(answers)

    def _lost(self, worker: str, outcome: Sequence[JobAnswer] | GivenUp) -> WorkerLostError | None:
        """Return why an outcome is none: given up, or perhaps the worker lacks what others have."""
        if isinstance(outcome, GivenUp):
            return WorkerLostError(f"worker '{worker}' has given jobs up: {printable_line(outcome.reason)}")
        for answer in outcome:
            if len(self._known) > 1 and isinstance(answer, JobFailed) and before_its_task(answer):
                why = f"worker '{worker}' could not begin: {printable_line(answer.reason)}"
                return WorkerLostError(why, answer.failure)
        return None

    def _answer(self, held: _LeasedBatch, number: int, answer: JobAnswer) -> Answer:
        if isinstance(answer, JobFailed):
            return Answer({"error": _error_told(answer)})
        if answer.update is None or held.lease.jobs[number].assignment is None:
            return Answer({"ready": {}})
        try:
            content = self._spooled(held, number, answer, answer.update)
        except (UpdateRefusedError, OSError) as error:
            refused = error if isinstance(error, UpdateRefusedError) else UpdateRefusedError(str(error))
            return Answer({"error": {"code": refused.code, "reason": refused.message}})
        return Answer({"update": asdict(answer.update)}, content)

    def _spooled(self, held: _LeasedBatch, number: int, answer: JobDone, update: Update) -> bytes | None:
        """Put what was delivered before, and an initial model, where it is looked for; return what is in memory."""
        received, target = self._place(held.lease.id, number), Path(held.work.batch.orders[number].out)
        if answer.content is not None:
            self._check_size(held.lease.jobs[number], len(answer.content))
        if answer.content is not None and update.phase is Phase.INITIALISE:
            if Manifest.of_content(answer.content).digest != update.digest:
                raise UpdateRefusedError("the initial model is not what the worker says of it")
            place_file(target, answer.content)
            return None
        if not update.digest or answer.content is not None:
            return answer.content
        manifest = kept_manifest(received)
        if manifest is None or manifest.digest != update.digest or not received.exists():
            raise UpdateRefusedError(f"the update of '{held.lease.jobs[number].site}' was not delivered")
        manifest_path(received).replace(manifest_path(target))
        received.replace(target)
        return None

    async def job_file(self, digest: str) -> tuple[Path, Manifest]:
        """See `JobFilesPort`."""
        if digest == self._manifest.digest:
            return self.bundle, self._manifest
        return self.repository.path(digest), await asyncio.to_thread(self.repository.manifest, digest)

    def expect_job_update(self, worker: str, lease: str, job: int, manifest: Manifest) -> UploadTarget:
        """See `JobFilesPort`."""
        held = self._of(worker, lease)
        if not 0 <= job < len(held.lease.jobs):
            raise UsageError(f"the lease has {len(held.lease.jobs)} jobs, the update is of job {job}")
        self._check_size(held.lease.jobs[job], manifest.total_bytes)
        return UploadTarget(self._place(lease, job))

    def _check_size(self, job: Job, size: int) -> None:
        """Refuse an update that is larger than what it started from."""
        model = job.assignment.model if job.assignment is not None else ""
        most = self.repository.manifest(model).total_bytes + HEADER_SLACK_BYTES if model else MOST_UPDATE_BYTES
        if size > most:
            raise UpdateRefusedError(f"the update has {size:,} bytes, {most:,} are the most")

    def _place(self, lease: str, job: int) -> Path:
        return self.folder / f"{lease}-{job}"


def _error_told(answer: JobFailed) -> dict[str, object]:
    """Return an error as a worker process tells it; the host may tell anything."""
    code = answer.code if answer.code in BY_CODE else FailedTaskError.code
    reason, failure = printable_line(answer.reason), answer.failure
    if failure is None and code == FailedTaskError.code:
        failure = Failure(FailureKind.WORKER, reason)
    told: dict[str, object] = {"code": code, "reason": reason}
    return told if failure is None else {**told, "failure": fields_of_failure(failure)}


class LeasedWorkers:
    """Workers of other hosts, as many as come.

    Args:
        listening: Where they find the simulation.
        experiment: Whose collaborators may work: the plan's name.
        jobs: What waits for them.
        at_once: How many leases there are at the same time.
    """

    def __init__(self, listening: Listening, experiment: str, jobs: LeasedJobs, at_once: int) -> None:
        self._listening, self._experiment, self._jobs, self._at_once = listening, experiment, jobs, at_once

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Listen while the block is open; at its end workers are told that it is over.

        Raises:
            ConflictError: If the address is taken.
        """
        credentials = self._listening.credentials
        guard = Guard(PeerVerifier(credentials.trust), self._only_ours)
        handler = service_handler(SERVICE, JobsServicer(self._jobs, self._jobs), guard)
        server = Server(self._listening.address, credentials, (handler,))
        async with server:
            host = self._listening.address.rpartition(":")[0]
            self._listening.ready(f"{host}:{server.port}")
            try:
                yield self._at_once
            finally:
                await self._jobs.end()

    def _only_ours(self, caller: Identity) -> None:
        if caller.experiment != self._experiment:
            raise NotAllowedError(f"{caller.uri} is of another experiment than '{self._experiment}'")

    async def answers(self, worker: int, batch: Batch, limit_s: float | None) -> Sequence[Answer]:  # noqa: ARG002 (who asks next does it)
        """See `pool.Workers`."""
        return await self._jobs.done(batch, limit_s)


def leased_runtime(sites: SimulatedSites, repository: ModelRepository) -> PoolRuntime:
    """Return the runtime ``leased`` for the sites of a simulation.

    Raises:
        UsageError: If nobody said where workers find it, or the sites have data that is here alone.
        SettingsError: If the certificate is none of an Aggregator of the plan's name.
        BundleError: If the workspace cannot be packed.
    """
    refuse_workers(sites, "each worker takes what there is at its host", but_count=True)
    listening = sites.workers.listening
    if listening is None:
        raise UsageError("the runtime 'leased' is for workers of other hosts", cure="add --listen HOST:PORT")
    if not isinstance(sites.files, MadeFiles):
        raise UsageError(
            "workers of other hosts have none of the sites' shard files",
            cure="have the plan make the sites (simulation.sites), or use --runtime process, mpi or ray",
        )
    identity = listening.credentials.identity
    if identity.role is not Role.AGGREGATOR or identity.experiment != sites.plan.name:
        raise SettingsError(
            f"the certificate is for {identity.uri}, the plan is called '{sites.plan.name}'",
            cure=f"issue one with 'fx pki issue aggregator {sites.plan.name}'",
        )
    folder = sites.directory / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    bundle = folder / "bundle.tar"
    pack(sites.workspace, sites.plan, bundle)
    jobs = LeasedJobs(bundle, folder / ".leased", repository)
    workers = LeasedWorkers(listening, identity.experiment, jobs, sites.workers.count or LEASES_AT_ONCE)
    return pool_runtime(sites, repository, workers, "leased")
