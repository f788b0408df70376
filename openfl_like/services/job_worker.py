"""A worker of a simulation that runs on another host: it asks for jobs, and does them in processes of its own."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from openfl_like.errors import ConflictError, FederationError, NotFoundError, UnreachableError
from openfl_like.federation.devices.placement import within
from openfl_like.federation.failure import (
    MAX_NAME,
    FailedTaskError,
    Failure,
    FailureKind,
    bounded,
    failure_from_fields,
    one_line,
)
from openfl_like.federation.jobs import (
    GivenUp,
    Job,
    JobAnswer,
    JobDone,
    JobFailed,
    Lease,
    Terms,
)
from openfl_like.pki.files import Credentials
from openfl_like.plan.bundles.bundle import unpack
from openfl_like.plan.digest import freeze, thaw
from openfl_like.plan.schema import Plan
from openfl_like.processes.batch import Answer, Batch, Setting, SiteOrder
from openfl_like.processes.site_worker_client import SiteWorkerProcess
from openfl_like.processes.worker_answers import read_update
from openfl_like.runtimes.pool import WorkerLostError
from openfl_like.runtimes.process import ProcessWorkers
from openfl_like.services.daemon.lock import only_one
from openfl_like.services.devices.placement import place_here
from openfl_like.store.removal import remove_tree
from openfl_like.store.site_files import algorithm_state
from openfl_like.tasks import background, first_of
from openfl_like.tensors.container import read_tensors
from openfl_like.tensors.manifest import manifest_path
from openfl_like.wire.channel import backoff
from openfl_like.wire.jobs import JobsClient
from openfl_like.wire.transfer.chunks import place_file

log = logging.getLogger(__name__)
MOST_MESSAGE_BYTES = 2 << 20
"""So many bytes of updates are in a message; what is more is delivered before."""
RENEWALS = 3
"""So often a lease is renewed in its time, at least."""
LONGEST_RENEWAL_S = 1.0
"""So often it is in any case: the simulation may end, or not wait for its jobs any more."""
PATIENCE_S = 60.0
"""So long a simulation may be unreachable: one that was killed may be started again."""

_KEPT = (
    "something is kept at a site between rounds (by the algorithm, or by aggregation.rules), and with the runtime"
    " 'leased' any host works for any site"
)


@dataclass(frozen=True, slots=True)
class JobWorkerArguments:
    """What a worker is started with.

    Attributes:
        simulation: ``host:port``.
        credentials: Certificate of a collaborator of the plan's name, and its key.
        directory: Where bundle, models and updates go.
        processes: How many jobs are done at once.
    """

    simulation: str
    credentials: Credentials
    directory: Path
    processes: int


@dataclass(slots=True)
class _JoinedSimulation:
    """What a worker has of the simulation.

    Attributes:
        client: Asks it.
        terms: What holds.
        plan: The plan.
        setting: The same for processes.
        folder: Where models and updates are.
    """

    client: JobsClient
    terms: Terms
    plan: Plan
    setting: Setting
    folder: Path
    _model: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def model(self, digest: str) -> Path:
        """Return a model's file, which is fetched once; others that are not used any more go."""
        path = self.folder / "models" / f"{digest}.safetensors"
        async with self._model:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                older = sorted(path.parent.glob("*.safetensors"), key=lambda each: each.stat().st_mtime)
                await self.client.fetch_model(digest, path)
                for each in older[:-1]:
                    each.unlink(missing_ok=True)
        return path

    async def batch(self, lease: Lease) -> Batch:
        """Return what a process is given of a lease."""
        orders = []
        for number, job in enumerate(lease.jobs):
            model = job.assignment.model if job.assignment is not None else ""
            path = str(await self.model(model)) if model else ""
            orders.append(SiteOrder(job.site, "", job.assignment, path, str(self.out(lease, number))))
        (self.folder / "updates").mkdir(parents=True, exist_ok=True)
        return Batch(self.setting, tuple(orders))

    def out(self, lease: Lease, job: int) -> Path:
        """Return where the update of a job goes."""
        return self.folder / "updates" / f"{lease.id}-{job}"

    def keeps_state(self, site: str) -> bool:
        """Whether the algorithm has left something here for the site's next round, where nobody may look for it."""
        left = algorithm_state(Path(self.setting.directory, site)).glob("*.safetensors")
        return any(read_tensors(path) for path in left)

    async def answers(self, lease: Lease, batch: Batch, answers: Sequence[Answer]) -> list[JobAnswer]:
        """Return what the simulation is told of a lease; what is too large for that is delivered before."""
        told, total = list[JobAnswer](), 0
        for number, (job, answer) in enumerate(zip(lease.jobs, answers, strict=True)):
            one = self._told(job, answer)
            if isinstance(one, JobDone) and one.update is not None:
                path = Path(batch.orders[number].out)
                content = await self._content(lease.id, number, one, path, MOST_MESSAGE_BYTES - total)
                total += len(content or b"")
                one = replace(one, content=content)
            told.append(one)
        return told

    def _told(self, job: Job, answer: Answer) -> JobAnswer:
        """Read an answer; submitted code ran where it comes from."""
        try:
            if "error" in answer.told:
                return _failed(answer)
            if job.assignment is None:
                return JobDone(None)
            if self.keeps_state(job.site):
                return JobFailed(FailedTaskError.code, _KEPT, Failure(FailureKind.TASK, _KEPT))
            return JobDone(read_update(answer.told["update"], job.assignment), answer.content)
        except (ValueError, LookupError, TypeError, AttributeError) as mistake:
            text = f"its worker answered what is not a valid answer: {one_line(mistake)}"
            return JobFailed(FailedTaskError.code, text, Failure(FailureKind.WORKER, text))

    async def _content(self, lease: str, number: int, done: JobDone, path: Path, room: int) -> bytes | None:
        """Return what there is room for in the message; what is larger is delivered."""
        content = done.content
        if done.update is None or not done.update.digest:
            return None
        if content is None and path.stat().st_size <= room:
            return path.read_bytes()
        if content is not None:
            if len(content) <= room:
                return content
            path.write_bytes(content)
        await self.client.deliver(lease, number, path)
        return None


def _failed(answer: Answer) -> JobFailed:
    error = answer.told["error"]
    failure = failure_from_fields(error["failure"]) if "failure" in error else None
    return JobFailed(bounded(str(error["code"]), MAX_NAME), bounded(str(error["reason"])), failure)


def _late(limit_s: float | None) -> JobFailed:
    text = f"it took longer than {limit_s:g} s"
    return JobFailed(FailedTaskError.code, text, Failure(FailureKind.DEADLINE, text))


async def run_job_worker(settings: JobWorkerArguments) -> bool:
    """Work until the simulation has ended, which is true then.

    Raises:
        UnreachableError: If the simulation cannot be reached for a minute.
        NotAllowedError: If the certificate is of another experiment.
        UnauthenticatedError: If the simulation's certificate is not the one of that name.
        BundleError: If the bundle is not what it should be.
        ConflictError: If another worker uses the directory.
    """
    with only_one(settings.directory, "worker"):
        async with JobsClient(settings.simulation, settings.credentials) as client:
            return await _worked(client, settings)


async def _worked(client: JobsClient, settings: JobWorkerArguments) -> bool:
    await _found(client)
    while not await _served(await _joined(client, settings), settings.processes):
        log.warning("the simulation was started anew")
    return True


async def _found(client: JobsClient) -> None:
    """Wait for the simulation: who starts hosts and simulation together does not know which is there first."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for attempt in backoff():
                try:
                    await client.register()
                except UnreachableError as error:
                    if not attempt:
                        log.warning("%s; waiting for it", error)
                else:
                    return
    except TimeoutError:
        await client.register()


async def _served(work: _JoinedSimulation, processes: int) -> bool:
    """Work, and say whether the simulation has ended; it may have been started anew, even with another plan."""
    threads = work.plan.collaborator.settings.threads
    workers = ProcessWorkers(processes, partial(SiteWorkerProcess.start, work.folder, work.setting.device, threads))
    async with workers.running():
        # what one of them is told holds for all: leases that others have still are void
        ended = await first_of(
            **{f"worker {number}": _Turns(work, workers, number).until_ended() for number in range(processes)}
        )
    return any(ended.values())


async def _joined(client: JobsClient, settings: JobWorkerArguments) -> _JoinedSimulation:
    """Register, and fetch what the simulation runs."""
    terms = await client.register()
    folder = settings.directory / terms.bundle
    code = folder / "workspace"
    if not (folder / "plan.json").exists():
        remove_tree(folder)
        folder.mkdir(parents=True)
        bundle = folder / "bundle.tar"
        await client.fetch_bundle(terms.bundle, bundle)
        place_file(folder / "plan.json", freeze(unpack(bundle, code)))
    plan_file = folder / "plan.json"
    plan = thaw(plan_file.read_bytes())
    wish = plan.collaborator.settings.device
    device = within(place_here(wish), wish)
    setting = Setting(str(plan_file.resolve()), str(code.resolve()), str((folder / "sites").resolve()), device)
    (folder / "sites").mkdir(exist_ok=True)
    remove_tree(folder / "updates")  # of a worker that was killed
    return _JoinedSimulation(client, terms, plan, setting, folder.resolve())


@dataclass(slots=True)
class _Turns:
    """One of the processes of this worker, and the leases that it is given one after the other.

    Args:
        work: What the simulation is.
        workers: The processes.
        number: Which of them.
    """

    work: _JoinedSimulation
    workers: ProcessWorkers
    number: int
    _unreachable_since: float | None = None

    async def until_ended(self) -> bool:
        """Take leases until the simulation has ended; false: until it does not know this worker.

        Raises:
            UnreachableError: If the simulation cannot be reached for a minute.
        """
        clock = asyncio.get_running_loop()
        async for _ in backoff():
            try:
                return await self._take()
            except ConflictError:
                return False
            except UnreachableError as error:
                self._unreachable_since = self._unreachable_since or clock.time()
                if clock.time() - self._unreachable_since > PATIENCE_S:
                    raise
                log.warning("%s; trying again", error)
        return True

    async def _take(self) -> bool:
        while True:
            lease = await self.work.client.next_lease(self.work.terms.bundle)
            self._unreachable_since = None
            if isinstance(lease, Lease):
                await _do(self.work, self.workers, self.number, lease)
            elif lease.ended:
                return True


async def _do(work: _JoinedSimulation, workers: ProcessWorkers, number: int, lease: Lease) -> None:
    """Do the jobs of a lease, and tell what came of them; one that has run out meanwhile is somebody else's."""
    try:
        with suppress(NotFoundError):  # of what was leased nothing is there any more
            async with background(_renew(work, lease.id)):
                await _tell(work.client, lease.id, await _outcome(work, workers, number, lease))
    finally:
        for job in range(len(lease.jobs)):
            path = work.out(lease, job)
            for each in (path, manifest_path(path)):
                with suppress(OSError):
                    each.unlink(missing_ok=True)


async def _tell(client: JobsClient, lease: str, told: list[JobAnswer] | GivenUp) -> None:
    """Tell what came of a lease."""
    if not isinstance(told, GivenUp):
        try:
            await client.complete(lease, told)
        except (UnreachableError, NotFoundError):
            raise
        except (FederationError, ValueError) as error:  # the answers are no message, or none that is taken
            told = GivenUp(one_line(error))
        else:
            return
    await client.give_up(lease, told.reason)


async def _outcome(
    work: _JoinedSimulation, workers: ProcessWorkers, number: int, lease: Lease
) -> list[JobAnswer] | GivenUp:
    """Do the jobs of a lease; raises UnreachableError, or NotFoundError if it has run out."""
    limits = [
        job.assignment.deadline_s for job in lease.jobs if job.assignment is not None and job.assignment.deadline_s
    ]
    limit_s = min(limits, default=None)
    try:
        batch = await work.batch(lease)
        return await work.answers(lease, batch, await workers.answers(number, batch, limit_s))
    except (UnreachableError, NotFoundError):
        raise
    except TimeoutError:
        if len(lease.jobs) == 1:
            return [_late(limit_s)]
        return GivenUp(f"one of its jobs took longer than {limit_s:g} s")
    except (WorkerLostError, FederationError, OSError) as error:
        return GivenUp(one_line(error))


async def _renew(work: _JoinedSimulation, lease: str) -> None:
    """Renew a lease until it is not needed any more.

    Raises:
        NotFoundError: If it has run out: what is done for it would be done for nobody.
        UnreachableError: If it must have, as nobody could be asked for so long.
    """
    clock = asyncio.get_running_loop()
    renewed = clock.time()
    while True:
        await asyncio.sleep(min(work.terms.lease_s / RENEWALS, LONGEST_RENEWAL_S))
        try:
            await work.client.renew(lease)
        except NotFoundError:
            raise
        except FederationError as error:
            if clock.time() - renewed > work.terms.lease_s:
                raise UnreachableError(f"a lease could not be renewed: {error.message}") from error
        else:
            renewed = clock.time()
