"""The Director's queue at work: carries out what `federation.supervision.scheduler` decides."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from openfl_like.errors import ConflictError, DamagedError, FederationError, NotFoundError, StorageError
from openfl_like.federation.failure import MAX_MESSAGE, Failure, FailureKind
from openfl_like.federation.parties import EnvoyRecord, ExperimentSummary, Outcome, Waiting
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.scheduler import Demand, QueuedExperiment, Scheduler, SiteRoom
from openfl_like.plan.digest import thaw
from openfl_like.services.director.disk_space import DiskSpace
from openfl_like.services.director.run import RunningExperiment
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import KnownExperiments, Stores
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)


class RunPort(Protocol):
    """How the Director carries out one experiment."""

    def prepare(self, summary: ExperimentSummary) -> RunningExperiment:
        """Make ready to run it; raises StorageError, or DamagedError or ConflictError for a record of no use."""

    async def finish(self, experiment: str, outcome: Outcome) -> ExperimentSummary:
        """Note and tell how it ended."""


class RosterPort(Protocol):
    """What the queue asks of the roster."""

    def records(self) -> list[EnvoyRecord]:
        """The envoys that are there."""

    async def recount(self) -> None:
        """Have whoever waits for envoys look again."""


@dataclass(slots=True)
class Dispatcher:
    """Runs queued experiments, as many at once as there are places.

    Args:
        store: Knows the experiments.
        stores: Opens their records.
        files: Gives an experiment's files.
        owner: Gives the identity of who signed an experiment; empty if it cannot be read.
        roster: The envoys.
        disk_space: Says when there is room again.
        runs: Carries one experiment out.
        scheduler: The rules.
    """

    store: KnownExperiments
    stores: Stores
    files: Callable[[str], ExperimentFiles]
    owner: Callable[[str], str]
    roster: RosterPort
    disk_space: DiskSpace
    runs: RunPort
    scheduler: Scheduler
    _known_rooms: dict[str, SiteRoom] = field(default_factory=dict)
    _running: dict[str, RunningExperiment] = field(default_factory=dict)
    _tasks: TaskOwner = field(default_factory=TaskOwner)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _defect: BaseException | None = None

    # ---- what others tell it

    def wake(self) -> None:
        """Look at the queue again: an experiment came, moved on or ended, or a site came or went."""
        self._changed.set()

    def tell(self) -> None:
        """Wake whoever watches the queue."""
        self._news.set()
        self._news = asyncio.Event()

    def settle(self, experiment: str, sites: tuple[str, ...]) -> None:
        """Note with which sites an experiment begins."""
        self.scheduler.settle(experiment, sites)
        self.wake()

    # ---- what others ask it

    def run_of(self, experiment: str) -> RunningExperiment | None:
        """What carries an experiment out now, if anything does."""
        return self._running.get(experiment)

    @property
    def runs_now(self) -> list[RunningExperiment]:
        """All that are being carried out."""
        return list(self._running.values())

    def described(self, summary: ExperimentSummary) -> Waiting | None:
        """Why an experiment waits that has not begun."""
        if summary.status is Status.QUEUED:
            return self.scheduler.waiting(summary.id)
        run = self.run_of(summary.id) if summary.status is Status.STARTING else None
        return run.waiting if run is not None else None

    def news(self) -> asyncio.Event:
        """What is set at the next change of the queue."""
        return self._news

    # ---- its work

    async def work(self) -> None:
        """Run what is queued until cancelled; what was running when we ended comes first."""
        try:
            while True:
                self._changed.clear()
                await self._look()
                if self._defect is not None:
                    raise self._defect
                await self._changed.wait()
        finally:
            await self._tasks.close()

    async def _look(self) -> None:
        """Compare the queue with the store, and start whatever can begin."""
        everything = await asyncio.to_thread(self.store.experiments)
        waiting = {item.id: (place, item) for place, item in enumerate(everything) if not item.status.ended}
        for gone in self.scheduler.queued - waiting.keys():
            self.scheduler.leave(gone)
        for place, item in waiting.values():
            if item.id not in self.scheduler.queued | self.scheduler.running:
                await self._queue(place, item)
        rooms = self._rooms()
        for experiment in self.scheduler.start(rooms):
            task = self._tasks.start(self._carry_through(waiting[experiment][1]))
            task.add_done_callback(self._over)
        if rooms != self._known_rooms:  # who gathers looked at a new site before the scheduler knew what it has
            self._known_rooms = rooms
            await self.roster.recount()
        self.tell()

    async def _queue(self, place: int, summary: ExperimentSummary) -> None:
        demand = await asyncio.to_thread(self._demand, summary.id)
        begun = summary.status is not Status.QUEUED
        try:
            owner = self.owner(summary.id) or summary.owner
        except NotFoundError:  # it was cancelled and removed meanwhile
            return
        self.scheduler.arrive(QueuedExperiment(summary.id, owner, place, demand, begun))

    def _demand(self, experiment: str) -> Demand:
        files = self.files(experiment)
        try:
            plan = thaw(files.plan.read_bytes())
            with closing(self.stores.experiment(files)) as record:
                asked = (record.snapshot() or {}).get("expected", ())
        except (FederationError, OSError):  # whoever runs it will find out, and say so
            return Demand()
        sites = frozenset(str(name) for name in asked) or frozenset(plan.admission.collaborators)
        return Demand(sites, plan.interface or "")

    def _rooms(self) -> dict[str, SiteRoom]:
        return {
            record.name: SiteRoom(record.experiments_at_once, frozenset(shard.interface for shard in record.shards))
            for record in self.roster.records()
        }

    def _over(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self._defect = task.exception()  # a defect of ours that the queue cannot go on with
            self.wake()

    async def _carry_through(self, summary: ExperimentSummary) -> None:
        """Run an experiment to its end; where there is no room on a disk, again when there is."""
        try:
            while not self.store.experiment(summary.id).summary.status.ended:
                try:
                    outcome = await self._attempt(summary)
                except StorageError as error:
                    log.warning("experiment %s waits: %s", summary.id, error)
                    await self.disk_space.wait()
                else:
                    await self.runs.finish(summary.id, outcome)
        except NotFoundError:
            if summary.id in {known.id for known in self.store.experiments()}:
                raise
            log.info("experiment %s was removed while it waited for room", summary.id)
        finally:
            self.scheduler.leave(summary.id)
            self.wake()
        await self.roster.recount()

    async def _attempt(self, summary: ExperimentSummary) -> Outcome:
        """Run an experiment until it has ended; raises StorageError if there is no room."""
        try:
            run = self._running[summary.id] = self.runs.prepare(summary)
        except (DamagedError, ConflictError) as error:
            log.error("experiment %s: %s %s", summary.id, error.code, error)  # noqa: TRY400 (the error says it all)
            return failed("cannot read its record", error)
        try:
            return await run.run()
        except StorageError:
            raise
        except FederationError as error:
            return failed("cannot run it", error)
        except Exception as error:
            log.exception("experiment %s: dispatch failed", summary.id)
            return failed("failed", error)
        finally:
            del self._running[summary.id]


def failed(what: str, error: Exception) -> Outcome:
    """Return the end of an experiment that the Director itself could not carry out."""
    failure = Failure(FailureKind.DIRECTOR, str(error)[:MAX_MESSAGE], type(error).__name__)
    text = str(error) if isinstance(error, FederationError) else failure.said
    return Outcome(Status.FAILED, f"the director {what}: {text}", failure=failure)
