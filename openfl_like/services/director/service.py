"""The Director: takes submissions, has them run, tells everybody how they stand."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from openfl_like import __version__
from openfl_like.errors import (
    ConflictError,
    DamagedError,
    FederationError,
    NotFoundError,
    StorageError,
)
from openfl_like.events.bus import batched
from openfl_like.failpoints import failpoint
from openfl_like.federation.announcements import Announced, ExperimentQueued, ExperimentResumed
from openfl_like.federation.failure import bounded
from openfl_like.federation.history.life import surplus_of
from openfl_like.federation.parties import (
    DirectorStatus,
    ExperimentRecord,
    ExperimentSummary,
    LogLines,
    LogQuery,
    Outcome,
    ServerInfo,
)
from openfl_like.federation.ports import (
    CollaboratorEnded,
    FileWithManifest,
    OrderReply,
    StopOrder,
    Submission,
    UploadTarget,
)
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.scheduler import Scheduler
from openfl_like.pki.authority import Authority
from openfl_like.pki.files import Credentials
from openfl_like.plan.digest import thaw
from openfl_like.plan.section import PartOrigin
from openfl_like.processes.ownership import kill_listed, kill_owned
from openfl_like.processes.sandbox.confinement import available
from openfl_like.processes.standby import Standby
from openfl_like.processes.watchdog import note_descendants
from openfl_like.services.daemon.liveness import LivenessFile
from openfl_like.services.daemon.lock import only_one
from openfl_like.services.daemon.run import allow_many_connections
from openfl_like.services.director.access import ExperimentAccess
from openfl_like.services.director.checkpoints import Checkpoints
from openfl_like.services.director.disk_space import DiskSpace
from openfl_like.services.director.dispatch import Dispatcher
from openfl_like.services.director.envoys import EnvoyRoster
from openfl_like.services.director.feed import MILESTONES, Feeds, history_of, record_of, tell_end, versions_of
from openfl_like.services.director.logbook import LogBook
from openfl_like.services.director.recovery import mend_all, remove_leftovers
from openfl_like.services.director.removal import Removals
from openfl_like.services.director.run import RunContext, RunningExperiment
from openfl_like.services.director.settings import DirectorFile, check_referee
from openfl_like.services.director.submissions import Submissions
from openfl_like.services.director.trust import TrustUpkeep
from openfl_like.store.files import ExperimentFiles, check_file, pick_version
from openfl_like.store.ports import RESUMABLE, DirectorStore, StoredExperiment, Stores
from openfl_like.tasks import background
from openfl_like.wire.attendance import SERVICE as ATTENDANCE
from openfl_like.wire.attendance import AttendanceServicer
from openfl_like.wire.director import SERVICE as DIRECTOR
from openfl_like.wire.director import DirectorServicer
from openfl_like.wire.envoys import SERVICE as ENVOYS
from openfl_like.wire.envoys import EnvoysServicer
from openfl_like.wire.experiments import SERVICE as EXPERIMENTS
from openfl_like.wire.experiments import ExperimentsServicer
from openfl_like.wire.server import Server, service_handler

log = logging.getLogger(__name__)
GONE = "the experiment has ended"
"""Of one of which nothing more is known."""


@dataclass(slots=True)
class Director:
    """Answers users; envoys are answered by its roster, and the queue is worked through by its dispatcher.

    Args:
        settings: director.yaml.
        credentials: The Director's certificate and key.
        authority: The experiment authority.
        store: What it remembers.
        stores: Opens the records of experiments.
    """

    settings: DirectorFile
    credentials: Credentials
    authority: Authority
    store: DirectorStore
    stores: Stores
    roster: EnvoyRoster = field(init=False)
    standby: Standby = field(init=False)
    disk_space: DiskSpace = field(init=False)
    submissions: Submissions = field(init=False)
    trust_upkeep: TrustUpkeep = field(init=False)
    logbook: LogBook = field(init=False)
    feeds: Feeds = field(init=False)
    access: ExperimentAccess = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    _ports_taken: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.standby = Standby("aggregator", self.settings.state)
        self.disk_space = DiskSpace(self._places, self._public_name)
        self.submissions = Submissions(self.settings, self.credentials.trust, self.store, self.stores, self.disk_space)
        self.trust_upkeep = TrustUpkeep(self.settings, self.credentials)
        self.roster = EnvoyRoster(
            self.settings, self.store, self._on_answer, self._on_logs, self._stop_order, self._on_change
        )
        self.feeds = Feeds(self._files, self.stores)
        self.logbook = LogBook(self._log_directory, self._unwanted, self.roster.working)
        self.access = ExperimentAccess(self.store)
        self.dispatcher = Dispatcher(
            self.store,
            self.stores,
            self._files,
            self.access.owner,
            self.roster,
            self.disk_space,
            self,
            Scheduler(self.settings.parallel),
        )
        self.roster.on_arrival = self.dispatcher.wake
        self.roster.falls = self.trust_upkeep.falls

    # ---- what envoys report to the roster

    async def _on_answer(self, site: str, answer: OrderReply | CollaboratorEnded) -> None:
        run = self.dispatcher.run_of(answer.experiment)
        if run is not None:
            run.answer(site, answer)
        elif isinstance(answer, OrderReply) and answer.accepted:
            self.roster.send(site, self._stop_order(answer.experiment) or StopOrder(answer.experiment, GONE))

    def _stop_order(self, experiment: str) -> StopOrder | None:
        """What a site that works for an experiment is told if it should stop: it has ended, or is none of ours."""
        try:
            summary = self._known(experiment).summary
        except NotFoundError:
            return StopOrder(experiment, GONE)
        except FederationError as error:  # a damaged row is no reason to lose sites
            log.warning("experiment %s: %s %s", experiment[:80], error.code, error)
            return None
        return StopOrder(experiment, summary.reason, summary.status) if summary.status.ended else None

    def _unwanted(self, experiment: str) -> bool:
        return self._stop_order(experiment) is not None

    def _on_logs(self, lines: LogLines) -> None:
        """Take lines of a site that was asked to take part: in this life of the Director, or it has written before."""
        asked = self.roster.was_asked(lines.source, lines.experiment)
        if asked or self.logbook.has(lines.experiment, lines.source):
            self.logbook.take(lines)

    def _on_change(self) -> None:
        self.logbook.wake()
        self.dispatcher.wake()

    # ---- users

    async def expect_bundle(self, identity: str, submission: Submission) -> UploadTarget:
        """Check request id, size and signature before a byte of the bundle is taken."""
        return await self.submissions.expect(identity, submission)

    async def submit(self, caller: str, submission: Submission) -> ExperimentSummary:
        """Queue a complete bundle; it is on disk when this returns."""
        summary = await self.submissions.admit(caller, submission)
        if summary.status is Status.QUEUED and self.feeds.of(summary.id).store.latest(*MILESTONES) is None:
            log.info("experiment %s submitted by %s", summary.id, caller)
            self.feeds.of(summary.id).announce(ExperimentQueued(caller))
            failpoint("director.submit.announced")
        self.dispatcher.wake()
        return summary

    async def experiments(self) -> list[ExperimentSummary]:
        """List all experiments, oldest first."""
        return [self._described(summary) for summary in await asyncio.to_thread(self.store.experiments)]

    def _described(self, summary: ExperimentSummary) -> ExperimentSummary:
        """The summary with why the experiment waits."""
        return replace(summary, waiting=self.dispatcher.described(summary))

    async def experiment(self, experiment: str) -> ExperimentRecord:
        """Return everything known of one experiment."""
        summary = self._known(experiment).summary
        files = self._files(summary.id)
        versions, told = await asyncio.to_thread(record_of, self.stores, files)
        plan = files.plan.read_text(encoding="utf-8")
        return ExperimentRecord(self._described(summary), tuple(versions), plan, surplus_of(told))

    async def watch(
        self, experiment: str, after: int, *, stored: bool = False, progress: bool = False
    ) -> AsyncIterator[Sequence[ExperimentSummary | Announced]]:
        """Yield the summary, history and, unless only what is stored is wanted, live events, and the summary again.

        While it is queued, a summary comes besides whenever it waits for something else.
        """
        summary = self._described(self._known(experiment).summary)
        yield [summary]
        if not stored and summary.status is Status.QUEUED:
            async for events in self._history(summary.id, after):
                after = events[-1].sequence
                yield events
            async for waits in self._waits(summary):
                yield [waits]
            summary = self._known(experiment).summary
        told = stored or summary.status.ended
        history = self._history(summary.id, after) if told else None
        async for events in history or self.feeds.of(summary.id).bus.batches(after, progress=progress):
            yield events
        yield [self._described(self._known(experiment).summary)]

    async def _history(self, experiment: str, after: int) -> AsyncIterator[Sequence[Announced]]:
        for events in batched(await asyncio.to_thread(history_of, self.stores, self._files(experiment), after)):
            yield events

    async def _waits(self, summary: ExperimentSummary) -> AsyncIterator[ExperimentSummary]:
        """Yield what becomes of a queued experiment's summary whenever it waits for something else, until it begins."""
        told, news = summary.waiting, self.dispatcher.news()
        while (now := self._known(summary.id).summary).status is Status.QUEUED:
            described = self._described(now)
            if described.waiting not in {told, None}:
                told = described.waiting
                yield described
            await news.wait()
            news = self.dispatcher.news()

    def logs(self, experiment: str, query: LogQuery) -> AsyncGenerator[LogLines]:
        """Return stored log lines, and with ``query.follow`` those that come, until there will be no more."""
        self.store.require(experiment)
        return self.logbook.read(experiment, query)

    async def cancel(self, caller: str, experiment: str) -> ExperimentSummary:
        """End a queued or running experiment; answer when it has ended."""
        summary = self._known(experiment).summary
        if summary.status.ended:
            raise ConflictError(f"the experiment '{summary.id}' has already ended: {summary.status}")
        log.info("experiment %s: cancelled by %s", summary.id, caller)
        failpoint("director.cancel.asked")
        feed = self.feeds.of(summary.id)
        run = self.dispatcher.run_of(summary.id)
        if run is not None:
            run.cancel(caller)
            await feed.ended.wait()
            return self._known(experiment).summary
        return await self.finish(summary.id, Outcome(Status.CANCELLED, f"cancelled by {caller}", cancelled_by=caller))

    async def resume(self, caller: str, experiment: str) -> ExperimentSummary:
        """Queue an experiment again that FAILED or was CANCELLED; it is on disk when this returns."""
        await asyncio.to_thread(self._check_record, experiment)
        summary = self.store.requeue(experiment, caller)
        log.info("experiment %s: resumed by %s", summary.id, caller)
        self._tell_resumed(summary)
        self.dispatcher.wake()
        return summary

    def _check_record(self, experiment: str) -> None:
        """Look whether the record of an ended experiment is sound, and have its end: it may be from a backup."""
        summary = self._known(experiment).summary
        if summary.status in RESUMABLE:
            with contextlib.closing(self.stores.experiment(self._files(summary.id))) as store:
                store.verify()
                tell_end(store, Outcome(summary.status, summary.reason, failure=summary.failure))

    def _tell_resumed(self, summary: ExperimentSummary) -> None:
        """See to it that the history says who has resumed a queued experiment: we may have died before we said so."""
        feed = self.feeds.of(summary.id)
        if not summary.resumed_by:
            return
        last = feed.store.latest(*MILESTONES)
        if last is None or not isinstance(last.announcement, ExperimentResumed):
            feed.announce(ExperimentResumed(summary.resumed_by))

    async def model(self, experiment: str, which: str) -> FileWithManifest:
        """Return the file of a published model, which is read for that."""
        self.store.require(experiment)
        files = self._files(experiment)
        versions = await asyncio.to_thread(versions_of, self.stores, files)
        metric = thaw(files.plan.read_bytes()).model_store.best.metric if which == "best" else ""
        version = pick_version(versions, which, metric).version
        path = files.model(version.round)
        if not path.exists():
            raise NotFoundError(f"version {which} is not kept any more", cure="raise model_store.keep.last in the plan")
        return FileWithManifest(path, await asyncio.to_thread(check_file, path, version.digest))

    def server_info(self) -> ServerInfo:
        """Return what every shard must be like, what time it is here, and what a plan may bring."""
        runs_parts = self.settings.part_origin is PartOrigin.WORKSPACE
        return ServerInfo(__version__, time.time(), self.settings.agreed, runs_parts)

    async def status(self) -> DirectorStatus:
        """Say how the Director is."""
        await self.disk_space.look()
        open_ones = [summary.status for summary in await self.experiments() if not summary.status.ended]
        queued = open_ones.count(Status.QUEUED)
        online = len(self.roster.online())
        problems = (*self.disk_space.problems, *self.trust_upkeep.problems)
        warnings = (*self.trust_upkeep.warnings, *self.roster.warnings())
        begun, places = len(open_ones) - queued, self.settings.parallel
        return DirectorStatus(__version__, problems, queued, begun, online, warnings, places)

    def forget(self, experiment: str) -> None:
        """Forget what is known beside the store of an experiment that was removed."""
        self.access.forget(experiment)
        self.roster.forget(experiment)

    # ---- what its dispatcher asks for

    def prepare(self, summary: ExperimentSummary) -> RunningExperiment:
        """Make ready to run an experiment; raises StorageError, or DamagedError or ConflictError of its record."""
        experiment = summary.id
        self._tell_resumed(summary)

        def on_status(status: Status) -> None:
            failpoint("director.status.before")
            log.info("experiment %s: %s", experiment, status)
            self.store.set_status(experiment, status, "", time.time())
            failpoint("director.status.after")
            self.dispatcher.tell()

        feed = self.feeds.of(experiment)
        context = RunContext(
            self.settings,
            self.trust_upkeep,
            self.authority,
            self.roster,
            on_status,
            on_event=feed.relay,
            announce=feed.announce,
            history=feed.store.events,
            standby=self.standby,
            stores=self.stores,
            on_log=self.logbook.tell,
            takes=lambda site: self.dispatcher.scheduler.takes(experiment, site),
            on_sites=lambda sites: self.dispatcher.settle(experiment, sites),
            ports_taken=self._ports_taken,
        )
        return RunningExperiment(context, self.store.experiment(experiment), self._files(experiment))

    async def finish(self, experiment: str, outcome: Outcome) -> ExperimentSummary:
        """Note and tell how an experiment ended."""
        status, reason = outcome.status, bounded(outcome.reason)
        failpoint("director.end.before")
        while True:
            try:
                summary = self.store.set_status(
                    experiment, status, reason, time.time(), outcome.shortfalls, outcome.failure
                )
                break
            except StorageError as error:
                log.warning("experiment %s has ended, which cannot be stored yet: %s", experiment, error)
            await self.disk_space.wait()
        failpoint("director.end.after")
        log.info("experiment %s: %s %s", experiment, summary.standing, reason)
        if experiment in self.feeds:
            try:
                self.feeds.end(experiment, outcome)
            except (DamagedError, StorageError) as error:  # the row decides; the history gets its end when it is needed
                log.error("experiment %s: %s %s", experiment, error.code, error)  # noqa: TRY400 (as above)
            failpoint("director.end.told")
        self.logbook.wake(experiment)
        self.dispatcher.tell()
        self.dispatcher.wake()
        return summary

    # ---- where things are

    def _places(self) -> list[Path]:
        running = [run.files.directory for run in self.dispatcher.runs_now]
        logs = [directory / "logs" for directory in running if (directory / "logs").is_dir()]
        return [path for path in (self.settings.state, *running, *logs) if path.is_dir()]

    def _public_name(self, place: Path) -> str:
        """What a directory is called to whoever asks for the status: those of experiments have their ids."""
        return "an experiment" if place.is_relative_to(self.settings.files.experiments) else str(place)

    def _known(self, experiment: str) -> StoredExperiment:
        return self.store.experiment(experiment)

    def _files(self, experiment: str) -> ExperimentFiles:
        return self.settings.files.experiment(experiment)

    def _log_directory(self, experiment: str) -> Path:
        self.store.require(experiment)  # it names a folder
        return self._files(experiment).log("any").parent


async def run_director(
    settings: DirectorFile, credentials: Credentials, stores: Stores, ready: Callable[[str], None]
) -> None:
    """Run a Director until cancelled.

    Args:
        settings: director.yaml.
        credentials: Its certificate and key.
        stores: Opens what it remembers, and the records of experiments.
        ready: Called with the address when envoys and users can connect.

    Raises:
        SettingsError: If it is to have a referee, which cannot be confined here.
        ConflictError: If the address or the state directory is taken.
        DamagedError: If its database is damaged.
        CredentialError: If the experiment authority cannot be read.
    """
    check_referee(settings, available())
    allow_many_connections()
    authority = Authority.load(settings.experiment_ca)
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_one(settings.state, "director"))
        await asyncio.to_thread(kill_owned, settings.state)
        await asyncio.to_thread(kill_listed, settings.files.processes)
        settings.files.incoming.mkdir(exist_ok=True, mode=0o700)
        store = stores.director(settings.files)
        failpoint("director.opened")
        stack.callback(store.close)
        await asyncio.to_thread(store.verify)
        remove_leftovers(settings.files, {summary.id for summary in store.experiments()}, stores)
        await asyncio.to_thread(mend_all, settings.files, store, stores)
        director = Director(settings, credentials, authority, store, stores)
        stack.callback(director.feeds.close)
        guard = director.trust_upkeep.guard
        access = director.access
        checkpoints = Checkpoints(settings, credentials, store, stores, director.disk_space)
        removals = Removals(settings, store, stores, director.forget)
        handlers = (
            service_handler(DIRECTOR, DirectorServicer(director), guard),
            service_handler(EXPERIMENTS, ExperimentsServicer(director, director, checkpoints, removals, access), guard),
            service_handler(ENVOYS, EnvoysServicer(director.roster, access), guard),
            service_handler(ATTENDANCE, AttendanceServicer(director.roster), guard),
        )
        async with director.roster.outlasting(), Server(settings.listen, credentials, handlers) as server:
            ready(f"{settings.listen.rpartition(':')[0]}:{server.port}")
            director.standby.prepare()
            disks, told = director.disk_space.watch(), settings.leave_order
            leaving = director.roster.outlasting(told) if told is not None else contextlib.nullcontext()
            family = note_descendants(settings.files.processes)
            upkeep = background(
                disks, LivenessFile(settings.state, "director").beat(), removals.keep_retention(), family
            )
            await director.disk_space.look()
            try:
                async with director.trust_upkeep.running(server), upkeep, leaving:
                    await director.dispatcher.work()
            finally:
                await removals.close()
                await director.standby.close()
