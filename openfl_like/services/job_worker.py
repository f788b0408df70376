"""A worker of a simulation that runs on another host: it asks for jobs, and does them in processes of its own."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from openfl_like.errors import ConflictError, FederationError, NotFoundError, UnreachableError
from openfl_like.federation.devices.placement import within
from openfl_like.federation.failure import (
    MAX_MESSAGE,
    FailedTaskError,
    Failure,
    FailureKind,
    failure_from_fields,
    one_line,
)
from openfl_like.federation.jobs import GivenUp, JobAnswer, JobDone, JobFailed, Lease, Terms
from openfl_like.federation.task import Assignment, Update
from openfl_like.pki.files import Credentials
from openfl_like.plan.bundle import unpack
from openfl_like.plan.digest import freeze, thaw
from openfl_like.plan.schema import Plan
from openfl_like.processes.batch import Answer, Batch, Setting, SiteOrder
from openfl_like.processes.site_worker_client import SiteWorkerProcess
from openfl_like.processes.worker_answers import read_update
from openfl_like.runtimes.pool import WorkerLostError
from openfl_like.runtimes.process import ProcessWorkers
from openfl_like.services.devices.placement import place_here
from openfl_like.store.removal import remove_tree
from openfl_like.store.site_files import algorithm_state
from openfl_like.tasks import background
from openfl_like.tensors.container import read_tensors
from openfl_like.tensors.manifest import manifest_path
from openfl_like.wire.channel import backoff
from openfl_like.wire.jobs import JobsClient

log = logging.getLogger(__name__)
MOST_MESSAGE_BYTES = 2 << 20
"""So many bytes of updates are in a message; what is more is delivered before."""
RENEWALS = 3
"""So often a lease is renewed in its time."""
PATIENCE_S = 60.0
"""So long a simulation may be unreachable: one that was killed may be started again."""

_KEPT = "the algorithm keeps state at a site between rounds, and with the runtime 'leased' any host works for any site"


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
            out = str(self._update_path(lease, number))
            orders.append(SiteOrder(job.site, "", job.assignment, path, out))
        (self.folder / "updates").mkdir(parents=True, exist_ok=True)
        return Batch(self.setting, tuple(orders))

    def remove_updates(self, lease: Lease) -> None:
        """Remove the updates of a lease, which are delivered or nobody's."""
        for number in range(len(lease.jobs)):
            out = self._update_path(lease, number)
            for path in (out, manifest_path(out)):
                path.unlink(missing_ok=True)

    def _update_path(self, lease: Lease, number: int) -> Path:
        return self.folder / "updates" / f"{lease.id}-{number}"

    def keeps_state(self, site: str) -> bool:
        """Whether the algorithm has left something here for the site's next round, where nobody may look for it."""
        left = algorithm_state(Path(self.setting.directory, site)).glob("*.safetensors")
        return any(read_tensors(path) for path in left)

    async def answers(self, lease: Lease, batch: Batch, answers: Sequence[Answer]) -> list[JobAnswer]:
        """Return what the simulation is told of a lease; what is too large for that is delivered before."""
        told, total = list[JobAnswer](), 0
        for number, (job, answer) in enumerate(zip(lease.jobs, answers, strict=True)):
            if "error" in answer.told or job.assignment is None:
                told.append(_failed(answer) if "error" in answer.told else JobDone(None))
                continue
            if self.keeps_state(job.site):
                told.append(JobFailed(FailedTaskError.code, _KEPT, Failure(FailureKind.TASK, _KEPT)))
                continue
            update, content = _update(answer, job.assignment), answer.content
            if isinstance(update, JobFailed):
                told.append(update)
                continue
            path = Path(batch.orders[number].out)
            if update.digest and content is None and path.stat().st_size + total <= MOST_MESSAGE_BYTES:
                content = path.read_bytes()
            total += len(content or b"")
            if content is not None and total > MOST_MESSAGE_BYTES:
                path.write_bytes(content)
                total, content = total - len(content), None
            if update.digest and content is None:
                await self.client.deliver(lease.id, number, path)
            told.append(JobDone(update, content))
        return told


def _update(answer: Answer, assignment: Assignment) -> Update | JobFailed:
    """Read what a process answers: code of the plan ran there, and may have answered in its place."""
    try:
        return read_update(answer.told["update"], assignment)
    except (ValueError, LookupError, TypeError, AttributeError) as mistake:
        return _invalid(mistake)


def _failed(answer: Answer) -> JobFailed:
    try:
        error = answer.told["error"]
        failure = failure_from_fields(error["failure"]) if "failure" in error else None
        return JobFailed(str(error["code"]), str(error["reason"]), failure)
    except (ValueError, LookupError, TypeError, AttributeError) as mistake:
        return _invalid(mistake)


def _invalid(mistake: Exception) -> JobFailed:
    text = f"its worker answered what is not a valid answer: {one_line(mistake)}"[:MAX_MESSAGE]
    return JobFailed(FailedTaskError.code, text, Failure(FailureKind.WORKER, text))


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
    """
    async with JobsClient(settings.simulation, settings.credentials) as client:
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
        ended = await asyncio.gather(*(_serve(work, workers, number) for number in range(processes)))
    return all(ended)


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
        (folder / "plan.json").write_bytes(freeze(unpack(bundle, code)))
    remove_tree(folder / "updates")  # of a worker that was killed
    plan_file = folder / "plan.json"
    plan = thaw(plan_file.read_bytes())
    wish = plan.collaborator.settings.device
    device = within(place_here(wish), wish)
    setting = Setting(str(plan_file.resolve()), str(code.resolve()), str((folder / "sites").resolve()), device)
    (folder / "sites").mkdir(exist_ok=True)
    return _JoinedSimulation(client, terms, plan, setting, folder.resolve())


async def _serve(work: _JoinedSimulation, workers: ProcessWorkers, number: int) -> bool:
    """Do one lease after the other, until the simulation has ended; false: until it does not know this worker."""
    unreachable_since: float | None = None
    clock = asyncio.get_running_loop()
    async for _ in backoff():
        try:
            while True:
                lease = await work.client.next_lease()
                unreachable_since = None
                if isinstance(lease, Lease):
                    await _do(work, workers, number, lease)
                elif lease.ended:
                    return True
        except ConflictError:
            return False
        except UnreachableError as error:
            unreachable_since = unreachable_since or clock.time()
            if clock.time() - unreachable_since > PATIENCE_S:
                raise
            log.warning("%s; trying again", error)
    return True


async def _do(work: _JoinedSimulation, workers: ProcessWorkers, number: int, lease: Lease) -> None:
    """Do the jobs of a lease, and tell what came of them; one that has run out meanwhile is somebody else's."""
    try:
        await _done_and_told(work, workers, number, lease)
    finally:
        work.remove_updates(lease)


async def _done_and_told(work: _JoinedSimulation, workers: ProcessWorkers, number: int, lease: Lease) -> None:
    limits = [
        job.assignment.deadline_s for job in lease.jobs if job.assignment is not None and job.assignment.deadline_s
    ]
    limit_s = min(limits, default=None)
    async with background(_renew(work, lease.id)):
        try:
            batch = await work.batch(lease)
            told: Sequence[JobAnswer] | GivenUp
            told = await work.answers(lease, batch, await workers.answers(number, batch, limit_s))
        except UnreachableError:
            raise
        except NotFoundError:  # of what was leased nothing is there any more
            return
        except (WorkerLostError, FederationError, OSError) as error:
            told = GivenUp(one_line(error))
        except TimeoutError:
            told = (
                [_late(limit_s)] if len(lease.jobs) == 1 else GivenUp(f"one of its jobs took longer than {limit_s:g} s")
            )
        with suppress(NotFoundError):
            if isinstance(told, GivenUp):
                await work.client.give_up(lease.id, told.reason)
            else:
                await work.client.complete(lease.id, told)


async def _renew(work: _JoinedSimulation, lease: str) -> None:
    """Renew a lease until it is not needed any more."""
    while True:
        await asyncio.sleep(work.terms.lease_s / RENEWALS)
        with suppress(FederationError):
            await work.client.renew(lease)
