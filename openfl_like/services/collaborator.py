"""The Collaborator: takes assignments from its Aggregator, has its worker perform them, delivers what comes back.

This process has the key and the network but runs no submitted code and holds no tensors.
"""

import asyncio
import contextlib
import logging
import math
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from openfl_like.data.shard_file import refuse_unwanted, shares_logs
from openfl_like.errors import (
    FederationError,
    ModelTooLargeError,
    NameTakenError,
    RoundClosedError,
    SettingsError,
    ShardError,
    StorageError,
    TaskError,
    UnreachableError,
    UpdateRefusedError,
    no_room,
)
from openfl_like.failpoints import failpoint
from openfl_like.federation.devices.placement import CPU
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind, bounded, failure_of
from openfl_like.federation.history.site import LastWord, PerformedTasks
from openfl_like.federation.ports import Dismissal, Ready, TaskFailure, Withdrawal
from openfl_like.federation.reports.machine import MachineFacts
from openfl_like.federation.reports.progress import TaskProgress
from openfl_like.federation.supervision.restarts import Restarts
from openfl_like.federation.task import Assignment, Update
from openfl_like.frameworks.named import named_frameworks
from openfl_like.frameworks.tasks.progress import EACH_S
from openfl_like.pki.files import Credentials
from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.schema import Plan
from openfl_like.printable import printable_line
from openfl_like.processes.worker_channel import WorkerEndedError
from openfl_like.processes.worker_client import WorkerProcess, WorkerSettings
from openfl_like.services.devices.memory import memory_total_bytes
from openfl_like.services.devices.placement import place_alone
from openfl_like.services.logs.writers import WORKER, marked
from openfl_like.services.offered_model import ModelBorder
from openfl_like.store.files import retire
from openfl_like.store.site_files import CollaboratorFiles
from openfl_like.store.site_journal import note
from openfl_like.tasks import TaskOwner
from openfl_like.tensors.manifest import file_digest, manifest_path, recyclable_path
from openfl_like.wire.aggregator import AggregatorClient, CollaboratorSession
from openfl_like.wire.channel import HANDSHAKE_S, backoff
from openfl_like.wire.transfer.chunks import part_of

log = logging.getLogger(__name__)
RECONNECT_S = 60.0
STAYS = "what it said stays at the site, which keeps its logs"


@dataclass(frozen=True, slots=True)
class CollaboratorArguments:
    """What a Collaborator is started with.

    Attributes:
        experiment: Id of the experiment.
        plan: The plan.
        workspace: Where the submitted code is.
        shard: The site's shard.yaml.
        aggregator: ``host:port``.
        credentials: Certificate and key of the role collaborator.
        directory: Where models, updates and the worker's files go.
        supervised: Whether an Envoy watches over it and stops it when the experiment has ended: then, once it has taken
            part, it looks for its Aggregator for as long as it is left running.
        python: The worker's interpreter; None: this very one.
        device: The device of this machine that the worker gets; None: found as an Envoy would do it.
    """

    experiment: str
    plan: Plan
    workspace: Path
    shard: Path
    aggregator: str
    credentials: Credentials
    directory: Path
    supervised: bool = False
    python: Path | None = None
    device: str | None = None


@dataclass(slots=True)
class _Result:
    """A finished assignment, kept until the next one is begun."""

    update: Update
    path: Path


@dataclass(slots=True)
class _Performance:
    """An assignment that is being performed; it outlives the session that it came with."""

    assignment: Assignment
    task: asyncio.Task[_Result]

    def is_of(self, assignment: Assignment) -> bool:
        """Whether it is of this assignment, and has not come to nothing."""
        if self.assignment != assignment:
            return False
        return not self.task.done() or (not self.task.cancelled() and self.task.exception() is None)


@dataclass(slots=True)
class Collaborator:
    """One site's part in one experiment."""

    settings: CollaboratorArguments
    _tasks: TaskOwner = field(default_factory=TaskOwner)
    _worker: asyncio.Task[WorkerProcess] | None = None
    _job: asyncio.Task[None] | None = None
    _performance: _Performance | None = None
    _progress_noted: bool = False
    _met: bool = False
    _sought_since: float = 0.0
    _verified: set[str] = field(default_factory=set)
    _session: CollaboratorSession | None = None
    _progress_due: float = 0.0
    _files: CollaboratorFiles = field(init=False)
    _border: ModelBorder = field(init=False)

    def __post_init__(self) -> None:
        self._files = CollaboratorFiles(self.settings.directory)
        self._border = ModelBorder(self.settings.experiment, self.settings.shard)

    async def run(self) -> Dismissal:
        """Take part until dismissed.

        Raises:
            UnreachableError: If the Aggregator stays away for too long.
            ConflictError: If it has another plan, or a collaborator of this name is there.
            NotAllowedError: If the certificate is for another experiment.
        """
        self._files.prepare()
        failpoint("collaborator.started")
        self._warm_up()
        try:
            return await self._stay()
        finally:
            await self._end_job()
            await self._end_performance()
            await self._end_worker()

    async def _stay(self) -> Dismissal:
        loop = asyncio.get_running_loop()
        last_contact = loop.time()
        patience_s = max(self.settings.plan.admission.timeout_s, RECONNECT_S)
        while True:
            async for _ in backoff():
                contact: list[float] = []
                dismissal, failure = await self._take_part(contact)
                if dismissal is not None:
                    return dismissal
                if contact:
                    last_contact = contact[-1]
                    if self.settings.supervised:
                        patience_s = math.inf
                    break  # the next attempt is the first one of another outage
                if loop.time() - last_contact > patience_s:
                    raise failure

    async def _take_part(self, contact: list[float]) -> tuple[Dismissal | None, FederationError]:
        """Hold one session; what it is doing goes on when the session breaks."""
        began = asyncio.get_running_loop().time()
        client = AggregatorClient(self.settings.aggregator, self.settings.experiment, self.settings.credentials)
        try:
            async with client, client.participate() as session:
                self._session = session
                dismissal = await self._attend(session, contact)
            failure: FederationError = UnreachableError("the aggregator closes every session")
            if dismissal is None:
                log.warning("the aggregator ended the session; connecting again")
        except UnreachableError as error:
            self._say_unreachable(error)
            return None, error
        except NameTakenError as error:  # our former connection, which the Aggregator does not know to be broken yet
            return None, error
        else:
            return dismissal, failure
        finally:
            self._session = None
            await self._end_job()
            now = asyncio.get_running_loop().time()
            if now - began > 2 * HANDSHAKE_S:  # no attempt to connect takes as long: it was there and had nothing to do
                contact.append(now)

    def _say_unreachable(self, error: UnreachableError) -> None:
        """Say so; a site that is ready sooner than its Aggregator is as it should be, and says so once."""
        now = asyncio.get_running_loop().time()
        if self._met or (self._sought_since and now - self._sought_since > HANDSHAKE_S):
            log.warning("%s; trying again", error)
        elif not self._sought_since:
            self._sought_since = now
            log.info("the aggregator at %s does not listen yet; trying again", self.settings.aggregator)

    async def _attend(self, session: CollaboratorSession, contact: list[float]) -> Dismissal | None:
        session.report(Ready(plan_digest(self.settings.plan), self._facts()))
        failpoint("collaborator.joined")
        loop = asyncio.get_running_loop()
        while (instruction := await session.instruction()) is not None:
            contact[:], self._met = [loop.time()], True
            match instruction:
                case Dismissal():
                    note(self._files.performed, LastWord(instruction.status, instruction.reason))
                    failpoint("collaborator.dismissed")
                    return instruction
                case Withdrawal():
                    log.info("round %d: %s withdrawn: %s", instruction.round, instruction.phase, instruction.reason)
                    await self._end_job()
                    await self._end_performance()
                case Assignment():
                    await self._end_job()
                    self._job = self._tasks.start(self._do(session, instruction))
        return None

    def _facts(self) -> MachineFacts:
        """Return what is told of this machine."""
        device = self.settings.device
        return MachineFacts(None if device is None else device != CPU, memory_total_bytes())

    async def _do(self, session: CollaboratorSession, assignment: Assignment) -> None:
        """Perform and deliver one assignment; where there is no room, here or there, it is tried again."""
        failpoint("collaborator.assignment.taken")
        async for _ in backoff():
            try:
                await self._attempt(session, assignment)
            except StorageError as full:
                log.warning("round %d: %s %s; trying again", assignment.round, full.code, full)
                if self._worker is not None and self._worker.done() and self._worker.exception() is not None:
                    await self._end_worker()
            else:
                return

    async def _attempt(self, session: CollaboratorSession, assignment: Assignment) -> None:
        """Perform and deliver one assignment; what goes wrong at this site becomes a report.

        Raises:
            StorageError: If there is no room on a disk.
        """
        try:
            if self._performance is None or not self._performance.is_of(assignment):
                await self._end_performance()
                self._performance = _Performance(assignment, self._tasks.start(self._perform(session, assignment)))
            await self._deliver(session, await asyncio.shield(self._performance.task))
            self._note_progress()
            self._note(assignment)
        except Exception as error:  # whatever it is: a site that says nothing is waited for
            full = no_room(error)
            if full is not None:
                raise full from error
            await self._report(session, assignment, error)

    async def _report(self, session: CollaboratorSession, assignment: Assignment, error: Exception) -> None:
        """Tell what went wrong, if anybody waits for it."""
        failure = failure_of(error)
        if not isinstance(error, UnreachableError):  # then nothing has failed: the update is kept and delivered later
            self._note(assignment, str(error) or type(error).__name__)
        match error:
            case TaskError() | ShardError() | SettingsError():
                await self._end_worker()
                failure = _placed(failure, error, assignment)
                log.warning("round %d: %s", assignment.round, failure)
            case RoundClosedError():
                log.warning("round %d: the update was not taken: %s", assignment.round, error)
                return
            case UnreachableError():
                log.warning("round %d: %s; the update is kept", assignment.round, error)
                return
            case ModelTooLargeError():
                failure = Failure(FailureKind.ORDER, bounded(str(error)), type(error).__name__)
                log.warning("round %d: %s", assignment.round, error)
            case UpdateRefusedError():
                log.warning("round %d: the update was refused: %s", assignment.round, error)
            case _:  # a job that ends in silence is waited for
                log.error("round %d failed", assignment.round, exc_info=error)
        session.report(TaskFailure(assignment.round, assignment.phase, self._without_text(failure)))

    def _tell_progress(self, told: TaskProgress) -> None:
        """Pass on how far the worker says it is, if that is not too often: submitted code may say anything."""
        now = asyncio.get_running_loop().time()
        if self._session is not None and now >= self._progress_due:
            self._progress_due = now + EACH_S / 2
            self._session.report(told)

    def _without_text(self, failure: Failure) -> Failure:
        """Leave out what code said and was fed, if this site keeps its logs: it may quote a patient's name, say."""
        if failure.kind is not FailureKind.TASK or shares_logs(self.settings.shard):
            return failure
        return replace(failure, message=STAYS, samples="", targets="")

    async def _perform(self, session: CollaboratorSession, assignment: Assignment) -> _Result:
        out = self._files.updates / f"{assignment.round:04d}-{assignment.phase}.safetensors"
        self._clear(out.parent)
        failpoint("collaborator.files.cleared")
        model = await self._model(session, assignment.model)
        failpoint("collaborator.model.received")
        try:
            async with asyncio.timeout(assignment.deadline_s):
                failpoint("collaborator.task.before")
                update = await self._have_performed(assignment, model, out)
        except asyncio.CancelledError:
            await self._end_worker()  # it is busy with work that nobody wants
            raise
        except TimeoutError:
            await self._end_worker()
            text = f"it took longer than {assignment.deadline_s:g} s"
            raise FailedTaskError(text, Failure(FailureKind.DEADLINE, text)) from None
        failpoint("collaborator.task.done")
        return _Result(update, out)

    async def _have_performed(self, assignment: Assignment, model: Path | None, out: Path) -> Update:
        """Give the assignment to the worker; if that dies over it, to new ones, each after a longer pause."""
        restarts, loop = Restarts(), asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                worker = await self._ready_worker()
                left = _with_time_left(assignment, loop.time() - began)
                return await worker.perform(left, model, out, self._tell_progress)
            except WorkerEndedError as error:
                await self._end_worker()
                if restarts.exhausted:
                    text = f"{error}; it ended {restarts.count + 1} times in a row"
                    raise FailedTaskError(text, replace(error.failure, message=text)) from None
                log.warning("round %d: %s; the task is given to a new one", assignment.round, error)
            await asyncio.sleep(restarts.next_pause_s())

    async def _model(self, session: CollaboratorSession, digest: str) -> Path | None:
        if not digest:
            return None
        path = self._files.models / f"{digest}.safetensors"
        left_behind = digest not in self._verified and path.exists()
        if left_behind and await asyncio.to_thread(_damaged, path, digest):
            log.warning("%s is damaged; it is fetched again", path)
            path.unlink()
        if not path.exists():
            self._clear(path.parent, keep=part_of(path))
            spare = recyclable_path(path)
            await session.model(
                digest, path, spare, lambda offered_bytes: self._border.check(offered_bytes, path, spare)
            )
        self._verified = {digest}
        return path

    def _clear(self, folder: Path, keep: Path | None = None) -> None:
        """Let go of the folder's former files but one; a large one becomes the other folder's spare.

        A model is written over the former update, which has the same frozen layers, and an update over the model
        before, which no task looks at any more.
        """
        other = self._files.models if folder == self._files.updates else self._files.updates
        recyclable = recyclable_path(folder / "any")
        stay = {path.name for path in (recyclable, manifest_path(recyclable), keep) if path is not None}
        for name in sorted(entry.name for entry in os.scandir(folder)):  # paths cost more than the rest of it
            if name.endswith(".safetensors"):
                retire(folder / name, recyclable_path(other / name))
            elif name not in stay:
                (folder / name).unlink(missing_ok=True)

    async def _deliver(self, session: CollaboratorSession, result: _Result) -> None:
        failpoint("collaborator.deliver.before")
        if result.update.digest:
            await session.deliver(result.update, result.path)
        else:
            session.report(result.update)
        failpoint("collaborator.deliver.receipt")

    def _note_progress(self) -> None:
        """Leave a note for the Envoy that this process has got something done."""
        if not self._progress_noted:
            with contextlib.suppress(OSError):  # no room: the next one is noted
                self._files.progress.touch()
                self._progress_noted = True

    def _note(self, assignment: Assignment, failure: str = "") -> None:
        """Leave a note of what was done for the site's own record."""
        tasks = tuple(task.name for task in assignment.tasks)
        done = PerformedTasks(time.time(), assignment.round, assignment.phase, tasks, failure)
        note(self._files.performed, done)

    def _warm_up(self) -> None:
        """Start the worker while the Aggregator is being connected to; its failure shows at the first assignment."""
        settings = self.settings
        frozen = settings.directory / "plan.json"
        frozen.write_bytes(freeze(settings.plan))
        worker = WorkerSettings(
            shard=settings.shard,
            directory=settings.directory / "work",
            owner=settings.directory,
            plan=frozen,
            workspace=settings.workspace,
            threads=settings.plan.collaborator.settings.threads,
            python=settings.python,
            device=settings.device,
            wish=settings.plan.collaborator.settings.device,
            frameworks=named_frameworks(settings.plan, settings.workspace),
            models=self._files.models,
            updates=self._files.updates,
        )
        self._worker = self._tasks.start(WorkerProcess.start(worker, _pass_on if settings.supervised else _print))
        self._worker.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _ready_worker(self) -> WorkerProcess:
        if self._worker is None:
            self._warm_up()
        assert self._worker is not None  # noqa: S101 (warmed up just above)
        return await asyncio.shield(self._worker)

    async def _end_job(self) -> None:
        if self._job is not None:
            self._job.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._job
            self._job = None

    async def _end_performance(self) -> None:
        if self._performance is not None:
            self._performance.task.cancel()
            await asyncio.gather(self._performance.task, return_exceptions=True)
            self._performance = None

    async def _end_worker(self) -> None:
        if self._worker is None:
            return
        starting, self._worker = self._worker, None
        if not starting.done():
            starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, FederationError):
            await (await starting).stop()


def _with_time_left(assignment: Assignment, gone_s: float) -> Assignment:
    """Return an assignment for which some of its time is gone: a worker had to be started, or died over it."""
    if assignment.train_s is None:
        return assignment
    return replace(assignment, train_s=max(0.0, assignment.train_s - gone_s))


def _damaged(path: Path, digest: str) -> bool:
    """Whether a model that a former process left behind is not what its name says."""
    return file_digest(path) != digest


def _placed(failure: Failure, error: FederationError, assignment: Assignment) -> Failure:
    """Return a failure with the task, which is the first one if it does not name another, nor another step."""
    if failure.task or failure.step:
        return failure
    if not isinstance(error, TaskError):
        return replace(failure, step="loading the shard")
    return replace(failure, task=assignment.tasks[0].name if assignment.tasks else assignment.phase.value)


def _print(line: str) -> None:
    sys.stderr.write(f"{WORKER}: {printable_line(line)}\n")


def _pass_on(line: str) -> None:
    """Pass a line of the worker on to the Envoy, which tells them from ours."""
    sys.stderr.write(f"{marked(printable_line(line))}\n")


async def run_collaborator(settings: CollaboratorArguments) -> Dismissal:
    """Take part in an experiment until its end; see `Collaborator.run`.

    Raises:
        SettingsError: If the plan wants what this site does not do.
        DeviceError: If its device is to be found, and the site does not give what the plan wants.
    """
    refuse_unwanted(settings.plan, settings.shard)
    if settings.device is None:
        site, wish = settings.credentials.identity.name, settings.plan.collaborator.settings.device
        settings = replace(settings, device=await place_alone(site, settings.shard, settings.directory, wish))
    log.info("the worker gets %s", settings.device)
    return await Collaborator(settings).run()
