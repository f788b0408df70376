"""A Director without processes, network and data: it runs experiments here, by the rules of the real one."""

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from openfl_like import __version__
from openfl_like.api.checkpoints import CheckpointFiles
from openfl_like.api.client import AsyncFederation
from openfl_like.api.experiments import Experiments
from openfl_like.errors import ConflictError, NotFoundError, UsageError
from openfl_like.events.bus import EventBus
from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    ExperimentEnded,
    ExperimentQueued,
    ExperimentResumed,
    ExperimentWaiting,
)
from openfl_like.federation.events import CancelRequested
from openfl_like.federation.failure import Failure, FailureKind, one_line
from openfl_like.federation.history.life import surplus_of
from openfl_like.federation.parties import (
    LOG_ROLES,
    DirectorStatus,
    EnvoyDetail,
    EnvoyRecord,
    ExperimentRecord,
    ExperimentSummary,
    Interface,
    LogLines,
    LogQuery,
    Outcome,
    RemovedExperiment,
    ServerInfo,
    ShardFacts,
)
from openfl_like.federation.ports import CheckpointOffer, Submission
from openfl_like.federation.status import Status
from openfl_like.pki.files import Credentials
from openfl_like.plan.bundles.bundle import unpack
from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.local import LocalRuntime, Performs
from openfl_like.runtimes.loop import ExperimentLoop, SystemClock
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.services.aggregator.opening import open_experiment, place_initial_model
from openfl_like.services.director.single_flight import check_request_id
from openfl_like.store.files import ExperimentFiles, pick_version
from openfl_like.store.ports import ExperimentStore
from openfl_like.store.refusals import not_removable
from openfl_like.tasks import TaskOwner, first_of
from openfl_like.testing.stores import memory_stores
from openfl_like.wire.channel import UNARY_DEADLINE_S
from openfl_like.wire.director import DirectorClient
from openfl_like.wire.envoys import EnvoysClient
from openfl_like.wire.experiments import EVERY_LINE, ExperimentsClient

log = logging.getLogger(__name__)
NUMBERS = ShardFacts((1,), (), "numbers that a test made up")


@dataclass(slots=True)
class FakeExperiment:
    """An experiment at a `FakeDirector`.

    Attributes:
        plan: Its plan.
        files: Where its models are.
        store: Its history and versions.
        summary: Where it stands.
        bus: Tells of what happens.
        ended: Set when it has ended.
        loop: What runs it now.
        cancelled_by: Who wants it to end; empty: nobody.
    """

    plan: Plan
    files: ExperimentFiles
    store: ExperimentStore
    summary: ExperimentSummary
    bus: EventBus
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelling: asyncio.Event = field(default_factory=asyncio.Event)
    loop: ExperimentLoop | None = None
    cancelled_by: str = ""

    def announce(self, announcement: Announcement) -> None:
        """Write something into the history, and tell of it."""
        self.bus.publish([self.store.announce(time.time(), announcement)])

    def open_again(self) -> None:
        """Have listeners and waits of its own for the run that comes."""
        self.bus, self.ended, self.cancelling = EventBus(self.store.events), asyncio.Event(), asyncio.Event()
        self.cancelled_by = ""


class FakeDirector:
    """A Director whose sites compute in the head, for tests of what stands on `openfl_like.api`.

    Experiments run one after the other while somebody is connected. What is told of them, their models and versions are
    real; signatures are not checked, there are no checkpoints, and log lines are what the test puts into ``logs``.

    Args:
        directory: Where experiments are kept.
        sites: Site -> what performs its tasks.

    Attributes:
        sites: As above.
        logs: Experiment -> what its processes have written.
        problems: What `status` says that the Director lacks.
    """

    def __init__(self, directory: Path, sites: Mapping[str, Performs]) -> None:
        self.sites = dict(sites)
        self.logs: dict[str, list[LogLines]] = {}
        self.problems: tuple[str, ...] = ()
        self._directory = directory
        self._stores = memory_stores()
        self._experiments: dict[str, FakeExperiment] = {}
        self._requests: dict[tuple[str, str], str] = {}
        self._queued = asyncio.Event()
        self._admitted = self._connections = 0
        self._tasks = TaskOwner()

    @asynccontextmanager
    async def connection(self, _director: str, credentials: Credentials) -> AsyncIterator[AsyncFederation]:
        """Connect a user: what `api.client.connect` is for a real Director; all connections are of one event loop."""
        self._connections += 1
        if self._connections == 1:
            self._queued = asyncio.Event()
            for experiment in self._experiments.values():
                experiment.open_again()
            self._tasks.start(self._work())
        client, itself = FakeClient(self, credentials.identity.name), FakeDirectorClient(self)
        try:
            yield AsyncFederation(
                itself,
                FakeEnvoysClient(self),
                Experiments(client, credentials, itself),
                CheckpointFiles(client, credentials),
            )
        finally:
            self._connections -= 1
            if not self._connections:
                await self._tasks.close()

    def close(self) -> None:
        """Close what is open of its experiments; nobody is connected any more."""
        for experiment in self._experiments.values():
            experiment.store.close()

    # ---- what its clients ask

    def summaries(self) -> list[ExperimentSummary]:
        """All experiments, oldest first."""
        return [experiment.summary for experiment in self._experiments.values()]

    def known(self, experiment: str) -> FakeExperiment:
        """One experiment; raises NotFoundError."""
        if experiment not in self._experiments:
            raise NotFoundError(f"there is no experiment '{experiment}'", cure="fx experiment list shows all")
        return self._experiments[experiment]

    def roster(self) -> list[EnvoyRecord]:
        """All sites; they are always there."""
        running = tuple(item.id for item in self.summaries() if item.status is Status.RUNNING)
        now = time.time()
        return [
            EnvoyRecord(site, online=True, last_seen=now, shard=NUMBERS, running=running) for site in sorted(self.sites)
        ]

    def status(self) -> DirectorStatus:
        """How it is."""
        waiting = [summary.status for summary in self.summaries() if not summary.status.ended]
        queued = waiting.count(Status.QUEUED)
        return DirectorStatus(__version__, self.problems, queued, len(waiting) - queued, len(self.sites), ())

    def take(self, owner: str, submission: Submission, bundle: Path) -> ExperimentSummary:
        """Queue an experiment; the same request is taken once; raises UsageError for an id that is not a valid one."""
        check_request_id(submission.request_id)
        request = owner, submission.request_id
        if request not in self._requests:
            experiment = self._admit(owner, bundle)
            self._requests[request] = experiment.summary.id
            experiment.announce(ExperimentQueued(owner))
            self._queued.set()
        return self.known(self._requests[request]).summary

    async def cancel(self, by: str, name: str) -> ExperimentSummary:
        """End an experiment."""
        experiment = self.known(name)
        if experiment.summary.status.ended:
            raise ConflictError(f"the experiment '{name}' has already ended: {experiment.summary.status}")
        experiment.cancelled_by = by
        if experiment.summary.status is Status.QUEUED:
            self._end(experiment, _cancelled(by))
        else:
            experiment.cancelling.set()
            if experiment.loop is not None:
                experiment.loop.post(CancelRequested(by))
            await experiment.ended.wait()
        return experiment.summary

    def resume(self, by: str, name: str) -> ExperimentSummary:
        """Queue an experiment again."""
        experiment = self.known(name)
        if experiment.summary.status not in {Status.FAILED, Status.CANCELLED}:
            raise ConflictError(f"the experiment '{name}' is {experiment.summary.status}: there is nothing to resume")
        experiment.open_again()
        experiment.summary = replace(
            experiment.summary,
            status=Status.QUEUED, reason="", ended_at=0.0, shortfalls={}, failure=None, resumed_by=by,
        )  # fmt: skip
        experiment.announce(ExperimentResumed(by))
        self._queued.set()
        return experiment.summary

    def remove(self, name: str) -> RemovedExperiment:
        """Forget an experiment that has ended."""
        experiment = self.known(name)
        if not experiment.summary.status.ended:
            raise not_removable(experiment.summary)
        removed = RemovedExperiment(name, len(experiment.files.models()), 0)
        experiment.store.close()
        experiment.files.remove()
        del self._experiments[name]
        self._requests = {request: made for request, made in self._requests.items() if made != name}
        return removed

    # ---- what it does by itself

    def _admit(self, owner: str, bundle: Path) -> FakeExperiment:
        self._admitted += 1
        number = self._admitted
        self._directory.mkdir(parents=True, exist_ok=True)
        staging = self._directory / f"submission-{number}"
        plan = unpack(bundle, staging)
        name = f"{plan.name}-{number:08x}"
        files = ExperimentFiles(self._directory / name)
        files.directory.mkdir(parents=True)
        files.prepare()
        place_initial_model(plan, staging, files)
        shutil.move(staging, files.directory / "workspace")
        store = self._stores.experiment(files)
        summary = ExperimentSummary(
            name, plan.name, Status.QUEUED, "", owner, time.time(), plan_digest=plan_digest(plan)
        )
        made = FakeExperiment(plan, files, store, summary, EventBus(store.events))
        self._experiments[name] = made
        return made

    async def _work(self) -> None:
        while True:
            self._queued.clear()
            waiting = [item for item in self._experiments.values() if not item.summary.status.ended]
            if not waiting:
                await self._queued.wait()
                continue
            try:
                outcome = await self._run(waiting[0])
            except Exception as error:  # as the real one does: the queue goes on
                log.exception("experiment %s failed", waiting[0].summary.id)
                failure = Failure(FailureKind.DIRECTOR, one_line(error), type(error).__name__)
                outcome = Outcome(Status.FAILED, failure.said, failure=failure)
            self._end(waiting[0], outcome)

    async def _run(self, experiment: FakeExperiment) -> Outcome:
        began = experiment.summary.started_at or time.time()
        experiment.summary = replace(experiment.summary, status=Status.STARTING, started_at=began, resumed_by="")
        asked = experiment.plan.admission.collaborators or tuple(sorted(self.sites))
        shortage = await self._gather(experiment, asked)
        if shortage is not None:
            return shortage
        experiment.summary = replace(experiment.summary, status=Status.RUNNING)
        here = {site: self.sites[site] for site in asked if site in self.sites}
        experiment.store.take_epoch()
        rules = open_experiment(experiment.summary.id, experiment.plan, experiment.store, experiment.files, tuple(here))
        repository = ModelRepository(experiment.plan, experiment.files)
        runtime = LocalRuntime(here, here.__getitem__, repository)
        record = Record(experiment.store, repository, experiment.bus.publish)
        experiment.loop = ExperimentLoop(rules, runtime, record, SystemClock())
        try:
            return await experiment.loop.run()
        finally:
            experiment.loop = None

    async def _gather(self, experiment: FakeExperiment, asked: Sequence[str]) -> Outcome | None:
        """Wait for the sites that are asked: one that is not there will not come, but its absence can be cancelled."""
        admission = experiment.plan.admission
        missing = sorted(set(asked) - self.sites.keys())
        least = admission.min_collaborators or len(admission.collaborators) or 1
        there = len(set(asked) & self.sites.keys())
        if not missing and there >= least:
            return None
        experiment.announce(ExperimentWaiting(tuple(sorted(self.sites)), tuple(missing), least, admission.timeout_s))
        if await first_of(admission.timeout_s, cancelled=experiment.cancelling.wait()):
            return _cancelled(experiment.cancelled_by)
        if there >= least:
            return None
        names = f"; missing: {', '.join(missing)}" if missing else ""
        text = f"{there} of {least} envoys were there within {admission.timeout_s:g} s{names}"
        return Outcome(Status.FAILED, text, failure=Failure(FailureKind.TOO_FEW, text, site="".join(missing[:1])))

    def _end(self, experiment: FakeExperiment, outcome: Outcome) -> None:
        last = experiment.store.latest(ExperimentEnded.kind, ExperimentResumed.kind)
        if last is None or not isinstance(last.announcement, ExperimentEnded):
            rounds = max((item.version.round for item in experiment.store.versions()), default=0)
            experiment.announce(
                ExperimentEnded(
                    outcome.status, outcome.reason, rounds, outcome.shortfalls, outcome.failure, outcome.cancelled_by
                )
            )
        else:
            outcome = replace(outcome, failure=last.announcement.failure)
        experiment.summary = replace(
            experiment.summary,
            status=outcome.status,
            reason=outcome.reason,
            ended_at=time.time(),
            degraded=outcome.degraded,
            shortfalls=outcome.shortfalls,
            failure=outcome.failure,
        )
        experiment.bus.close()
        experiment.ended.set()


def _cancelled(by: str) -> Outcome:
    return Outcome(Status.CANCELLED, f"cancelled by {by}", cancelled_by=by)


class FakeClient(ExperimentsClient):
    """An `ExperimentsClient` whose Director is a fake one.

    Args:
        director: Answers.
        user: Who asks.
    """

    def __init__(self, director: FakeDirector, user: str) -> None:
        self._director, self._user = director, user

    async def __aexit__(self, *_: object) -> None:
        return None

    @property
    def reached(self) -> bool:
        """Always."""
        return True

    async def submit(self, submission: Submission, bundle: Path) -> ExperimentSummary:
        """Deliver a bundle."""
        return self._director.take(self._user, submission, bundle)

    async def experiments(self) -> list[ExperimentSummary]:
        """List all experiments, oldest first."""
        return self._director.summaries()

    async def experiment(self, experiment: str) -> ExperimentRecord:
        """Return everything of one experiment."""
        known = self._director.known(experiment)
        plan = freeze(known.plan).decode()
        return ExperimentRecord(known.summary, tuple(known.store.versions()), plan, surplus_of(known.store.events()))

    async def watch(
        self, experiment: str, after: int = 0, *, stored: bool = False, progress: bool = False
    ) -> AsyncGenerator[ExperimentSummary | Announced]:
        """Yield the summary, history and live events, and the summary again."""
        known = self._director.known(experiment)
        yield known.summary
        if stored or known.summary.status.ended:
            for event in known.store.events(after):
                yield event
        else:
            async for event in known.bus.tail(after, progress=progress):
                yield event
            await known.ended.wait()
        yield known.summary

    async def logs(self, experiment: str, query: LogQuery = EVERY_LINE) -> AsyncGenerator[LogLines]:
        """Yield what the test has put there; if it is followed, say when nothing more comes."""
        known, there = self._director.known(experiment), self._director.logs.get(experiment, [])
        if query.role not in {"", *LOG_ROLES}:
            raise UsageError(f"there is no role '{query.role}'", cure=f"there are {', '.join(LOG_ROLES)}")
        if query.source and not query.follow and query.source not in {lines.source for lines in there}:
            raise NotFoundError(f"'{query.source}' has written no log for '{experiment}'")
        for lines in there:
            wanted = query.source in {"", lines.source} and query.role in {"", lines.role}
            if wanted and lines.position > query.after.get(lines.source, -1):
                yield lines
        if query.follow:
            await known.ended.wait()
            yield LogLines(experiment, "", (), complete=True)

    async def cancel(self, experiment: str) -> ExperimentSummary:
        """End an experiment."""
        return await self._director.cancel(self._user, experiment)

    async def resume(self, experiment: str) -> ExperimentSummary:
        """Queue an experiment again."""
        return self._director.resume(self._user, experiment)

    async def remove(self, experiment: str) -> RemovedExperiment:
        """Remove an experiment that has ended."""
        return self._director.remove(experiment)

    async def model(self, experiment: str, which: str, path: Path) -> None:
        """Fetch a model."""
        known = self._director.known(experiment)
        version = pick_version(known.store.versions(), which, known.plan.model_store.best.metric).version
        shutil.copyfile(known.files.model(version.round), path)

    async def fetch_checkpoint(self, experiment: str, path: Path) -> None:
        """Not here; raises NotFoundError."""
        raise NotFoundError(f"a fake Director makes no checkpoint of '{experiment}'", place=str(path))

    async def deliver_checkpoint(self, offer: CheckpointOffer, archive: Path) -> ExperimentSummary:
        """Not here; raises ConflictError."""
        raise ConflictError(f"a fake Director takes no checkpoint '{offer.request_id}'", place=str(archive))


class FakeEnvoysClient(EnvoysClient):
    """An `EnvoysClient` whose Director is a fake one.

    Args:
        director: Answers.
    """

    def __init__(self, director: FakeDirector) -> None:
        self._director = director

    async def envoys(self) -> list[EnvoyRecord]:
        """List the sites."""
        return self._director.roster()

    async def envoy(self, name: str) -> EnvoyDetail:
        """Return one site; raises NotFoundError."""
        for record in self._director.roster():
            if record.name == name:
                return EnvoyDetail(record)
        known = ", ".join(record.name for record in self._director.roster()) or "none"
        raise NotFoundError(f"there is no envoy '{name}'", cure=f"known: {known}")


class FakeDirectorClient(DirectorClient):
    """A `DirectorClient` whose Director is a fake one.

    Args:
        director: Answers.
    """

    def __init__(self, director: FakeDirector) -> None:
        self._director = director

    async def server_info(self, timeout_s: float = UNARY_DEADLINE_S) -> ServerInfo:  # noqa: ARG002 (it never waits)
        """Tell what the sites' data is like, and what time it is."""
        only = Interface("", NUMBERS.sample_shape, NUMBERS.target_shape)
        return ServerInfo(__version__, time.time(), (only,))

    async def status(self) -> DirectorStatus:
        """Tell how the Director is."""
        return self._director.status()
