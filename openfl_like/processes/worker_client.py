"""The collaborator's side of the worker: a child process that is given orders and gives updates."""

import asyncio
import logging
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from openfl_like.data.policy import Sandbox
from openfl_like.error_meanings import from_code
from openfl_like.errors import FederationError, ShardError, TaskError
from openfl_like.federation.devices.placement import CPU, environment_for, within
from openfl_like.federation.failure import (
    FailedShardError,
    FailedTaskError,
    failure_from_fields,
    one_line,
)
from openfl_like.federation.parties import ShardFacts
from openfl_like.federation.reports.progress import TaskProgress
from openfl_like.federation.supervision.restarts import Restarts
from openfl_like.federation.task import Assignment, Update
from openfl_like.processes.child import Child, spawn
from openfl_like.processes.ownership import owner_tag
from openfl_like.processes.sandbox.confinement import Confinement
from openfl_like.processes.sandbox.reach import remove_temporary
from openfl_like.processes.spare_worker import SPARE_WORKER, environment_of, moved
from openfl_like.processes.watchdog import watch_child
from openfl_like.processes.worker import assignment_to_json
from openfl_like.processes.worker_answers import read_progress, read_update
from openfl_like.processes.worker_channel import WorkerChannel, WorkerEndedError
from openfl_like.processes.worker_walls import worker_command
from openfl_like.store.site_files import PROCESS_NOTES, algorithm_state
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is started with.

    Attributes:
        shard: The site's shard.yaml.
        directory: Its working directory.
        plan: The frozen plan's file; None: only the shard is wanted.
        workspace: Where the submitted code is.
        threads: Threads that numeric libraries may use.
        owner: The directory that its work belongs to, by which is found whatever it may leave behind.
        python: Its interpreter; None: this very one.
        device: The device of this machine that it gets, and the only one that it sees; None: it works on the CPU.
        wish: What the plan wants, by which it was chosen.
        frameworks: Learning frameworks that its plan and workspace name.
        models: Folder of the models that it is given; None: nobody will give it work.
        updates: Folder of its updates; as above.
        sandbox: Whether it confines itself; None: as the site's shard.yaml says.
        unread: Whether the shard is asked what its data looks like, and not for the data.
        modules: Where the shard's own modules are; None: beside the shard.yaml.
    """

    shard: Path
    directory: Path
    plan: Path | None = None
    workspace: Path | None = None
    threads: int = 1
    owner: Path | None = None
    python: Path | None = None
    device: str | None = None
    wish: str | Sequence[str] = CPU
    frameworks: Collection[str] = ()
    models: Path | None = None
    updates: Path | None = None
    sandbox: Sandbox | None = None
    unread: bool = False
    modules: Path | None = None


class WorkerProcess:
    """A running worker.

    Args:
        child: The process.
        settings: What it was started with.
    """

    def __init__(self, child: Child, settings: WorkerSettings | None = None) -> None:
        self._child = child
        self._directory = settings.directory if settings is not None else None
        self._channel = WorkerChannel(child, settings.shard if settings is not None else None)
        self._tasks = TaskOwner()
        self.facts: ShardFacts | None = None
        self.confinement = Confinement()

    @classmethod
    async def start(cls, settings: WorkerSettings, on_line: Callable[[str], None]) -> "WorkerProcess":
        """Start a worker and load shard and workspace.

        Raises:
            ShardError: If the shard cannot be used.
            TaskError: If the submitted code cannot be loaded.
            SandboxError: If the site requires that it confines itself more than the kernel can.
            WorkerEndedError: If the worker died over it.
        """
        settings.directory.mkdir(parents=True, exist_ok=True)
        owner = settings.owner or settings.directory
        child = await _spare(settings)
        order = _first_order(settings, owner) | ({} if child is None else moved(settings.directory, owner))
        if child is None:
            sees = environment_for(settings.device or CPU)
            child = await spawn(
                worker_command(sys.executable),
                cwd=settings.directory,
                environment=environment_of(settings.threads, sees | owner_tag(owner)),
            )
        child.on_line = on_line
        worker = cls(child, settings)
        notes = settings.owner / PROCESS_NOTES if settings.owner is not None else None
        worker._tasks.start(watch_child(child, notes))
        try:
            worker.facts, worker.confinement = await worker._ask(order, _loaded)
        except BaseException:
            await worker.stop()
            raise
        return worker

    async def describe(self, settings: WorkerSettings) -> ShardFacts:
        """Load another shard, without a plan, and return what there is to tell of it; raises as `start` does."""
        facts, _ = await self._ask(_first_order(settings, settings.directory), _loaded)
        return facts

    @property
    def alive(self) -> bool:
        """Whether it can be given an order."""
        return self._child.process.returncode is None

    async def perform(
        self,
        assignment: Assignment,
        model: Path | None,
        out: Path,
        progress: Callable[[TaskProgress], None] | None = None,
    ) -> Update:
        """Have an assignment performed.

        Args:
            assignment: What is to be done.
            model: The model to start from.
            out: Where the update goes.
            progress: Is told now and then how far the task is; None: nobody is.

        Raises:
            TaskError: If the task raised.
            WorkerEndedError: If the worker died.
        """

        def told(value: object) -> None:
            try:
                found = read_progress(value, assignment)
            except ValueError as mistake:  # it is about nothing but what somebody sees who looks on
                log.debug("what the worker tells of its task is left out: %s", mistake)
                return
            if progress is not None:
                progress(found)

        order = {
            "assignment": assignment_to_json(assignment),
            "model": str(model.absolute()) if model else "",
            "out": str(out.absolute()),
        }
        return await self._ask(order, lambda answer: read_update(answer["update"], assignment), told)

    def peak_bytes(self) -> int:
        """Return the most memory that it has had resident so far; 0 if the system does not tell."""
        try:
            status = Path(f"/proc/{self._child.process.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return 0
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0

    async def stop(self) -> None:
        """End it at once: it holds nothing that is not on disk."""
        await self._child.stop(grace_s=0.0)
        if self._directory is not None:
            await asyncio.to_thread(remove_temporary, self._directory)

    async def _ask(
        self,
        order: Mapping[str, object],
        read: Callable[[Mapping[str, Any]], Answer],
        progress: Callable[[object], None] | None = None,
    ) -> Answer:
        answer = await self._channel.ask(order, progress)
        try:
            return value_of(answer, read)
        except (ValueError, LookupError, TypeError, AttributeError) as mistake:
            raise await self._channel.invalid(one_line(mistake)) from mistake


def value_of(answer: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Answer]) -> Answer:
    """Return what a worker's answer tells, or raise the error that it tells of.

    Raises:
        FederationError: As the worker has told.
        ValueError: Or LookupError, TypeError, AttributeError: if it is not an answer.
    """
    if "error" in answer:
        raise _error_of(answer["error"])
    return read(answer)


def _first_order(settings: WorkerSettings, owner: Path) -> dict[str, object]:
    """Return the order with which a worker loads what it is to work with."""
    order: dict[str, object] = {"shard": str(settings.shard.resolve()), "sandbox": settings.sandbox or ""}
    folders = {"models": settings.models, "updates": settings.updates}
    order |= {name: str(path.resolve()) for name, path in folders.items() if path is not None}
    if settings.python is not None:
        order["python"] = str(settings.python)
    if settings.unread:
        order["unread"] = True
    if settings.modules is not None:
        order["modules"] = str(settings.modules.resolve())
    if settings.plan is None or settings.workspace is None:
        return order
    order |= {"plan": str(settings.plan.resolve()), "workspace": str(settings.workspace.resolve())}
    order |= {"device": within(settings.device or CPU, settings.wish)}
    return order | {"state": str(algorithm_state(owner.resolve()))}


async def _spare(settings: WorkerSettings) -> Child | None:
    """Return the spare worker if this one may be it: on the CPU, by this very interpreter, for an experiment."""
    if settings.plan is None or settings.python is not None or settings.device not in {None, CPU}:
        return None
    return await SPARE_WORKER.take(settings.frameworks, settings.threads)


async def shard_facts(settings: WorkerSettings, on_line: Callable[[str], None]) -> ShardFacts:
    """Load a shard in a process of its own, and return what there is to tell of it.

    Raises:
        ShardError: If it cannot be used.
        WorkerEndedError: If the process died over it.
    """
    worker = await WorkerProcess.start(settings, on_line)
    try:
        assert worker.facts is not None  # noqa: S101 (a started worker has them)
        return worker.facts
    finally:
        await worker.stop()


def _loaded(answer: Mapping[str, Any]) -> tuple[ShardFacts, Confinement]:
    ready = answer["ready"]
    shapes = tuple(ready["sample_shape"]), tuple(ready["target_shape"])
    return ShardFacts(*shapes, ready["description"], ready["schema"]), Confinement(**answer["confinement"])


def _error_of(error: Mapping[str, Any]) -> FederationError:
    if error["code"] == TaskError.code:
        return FailedTaskError(error["reason"], failure_from_fields(error["failure"]))
    if error["code"] == ShardError.code and "failure" in error:
        return FailedShardError(error["reason"], failure_from_fields(error["failure"]))
    return from_code(error["code"], error["reason"])


async def describe_shard(shard: Path, directory: Path) -> ShardFacts:
    """Load the shard in a process of its own and return its facts; in new ones if that is killed.

    Args:
        shard: The site's shard.yaml.
        directory: Where the process works.

    Raises:
        ShardError: If the shard cannot be used.
        WorkerEndedError: If the process dies again and again.
    """
    restarts = Restarts()
    while True:
        try:
            process = await WorkerProcess.start(WorkerSettings(shard=shard, directory=directory), log.info)
            break
        except WorkerEndedError as error:
            if restarts.exhausted:
                raise
            log.warning("the shard could not be loaded: %s; trying again", error)
        await asyncio.sleep(restarts.next_pause_s())
    say_confinement(process.confinement)
    try:
        assert process.facts is not None  # noqa: S101 (a started worker has them)
        return process.facts
    finally:
        await process.stop()


def say_confinement(confinement: Confinement) -> None:
    """Log how far workers are confined here: louder where something is open."""
    if confinement.gaps:
        log.warning("workers are %s; 'fx doctor envoy' tries every wall", confinement)
    else:
        log.info("workers are %s", confinement)
