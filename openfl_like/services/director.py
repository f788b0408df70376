"""The Director: takes submissions, runs them one after the other, tells everybody how they stand."""

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.errors import BundleError, ConflictError, FederationError, NotAllowedError, NotFoundError, UsageError
from openfl_like.events.bus import EventBus, batched
from openfl_like.failpoints import failpoint
from openfl_like.federation import surplus
from openfl_like.federation.events import Announce, Notice, Status
from openfl_like.federation.parties import (
    EnvoyRecord,
    EventRecord,
    ExperimentRecord,
    ExperimentSummary,
    LogLines,
    PublishedVersion,
)
from openfl_like.federation.ports import (
    CollaboratorEnded,
    Landing,
    OrderReply,
    StopOrder,
    Submission,
)
from openfl_like.pki.authority import Authority
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.plan.bundle import unpack
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.names import MAX_TOTAL_BYTES
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.loop import Outcome
from openfl_like.services.checkpoints import Checkpoints
from openfl_like.services.dispatch import Desk, Dispatch
from openfl_like.services.leftovers import remove_leftovers
from openfl_like.services.lifetime import allow_many_connections
from openfl_like.services.lock import only_one
from openfl_like.services.mending import mend, mend_all
from openfl_like.services.once import Once
from openfl_like.services.roster import Roster
from openfl_like.services.settings import DirectorFile, check_times
from openfl_like.services.signature import verify_submitter
from openfl_like.services.spawn import Standby
from openfl_like.services.strays import end_marked
from openfl_like.store.director import DirectorStore, StoredExperiment
from openfl_like.store.experiment import ExperimentStore
from openfl_like.store.files import ExperimentFiles, pick_version, sync_names
from openfl_like.wire.checkpoints import SERVICE as CHECKPOINTS
from openfl_like.wire.checkpoints import CheckpointServicer
from openfl_like.wire.director import SERVICE, DirectorServicer
from openfl_like.wire.server import Guard, Server, service_handler

log = logging.getLogger(__name__)
REQUEST_ID = re.compile(r"[0-9a-f]{8,64}")
BUNDLE_SLACK_BYTES = 16 << 20  # the archive's own headers
RESUMED_BY = "resumed by "
_MILESTONES = (
    Notice.EXPERIMENT_QUEUED,
    Notice.EXPERIMENT_STARTED,
    Notice.EXPERIMENT_ENDED,
    Notice.EXPERIMENT_RESUMED,
)


@dataclass(frozen=True, slots=True)
class _Feed:
    """What watchers of an experiment read from until it has ended."""

    bus: EventBus
    store: ExperimentStore
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def announce(self, announcement: Announce) -> EventRecord:
        """Adds to the history what the Director itself has to tell."""
        event = self.store.announce(time.time(), announcement)
        self.bus.publish([event])
        return event

    def close(self, outcome: Outcome) -> None:
        """Ends the feed; the history says how the experiment ended even if its Aggregator could not."""
        events = self.store.events()
        if not events or events[-1].kind != Notice.EXPERIMENT_ENDED:
            rounds = [version.version.round for version in self.store.versions()]
            fields = {"status": outcome.status.value, "reason": outcome.reason, "rounds": max(rounds, default=0)}
            self.announce(Announce(Notice.EXPERIMENT_ENDED, {**fields, "shortfalls": dict(outcome.shortfalls)}))
        self.bus.close()
        self.store.close()
        self.ended.set()


@dataclass(slots=True)
class Director:
    """Answers users, and works through the queue; envoys are answered by its roster.

    Args:
        settings: director.yaml.
        credentials: The Director's certificate and key.
        authority: The experiment authority.
        store: What it remembers.
    """

    settings: DirectorFile
    credentials: Credentials
    authority: Authority
    store: DirectorStore
    roster: Roster = field(init=False)
    standby: Standby = field(init=False)
    _queued: asyncio.Event = field(default_factory=asyncio.Event)
    _current: Dispatch | None = None
    _feeds: dict[str, _Feed] = field(default_factory=dict)
    _admitting: Once[ExperimentSummary] = field(default_factory=Once)

    def __post_init__(self) -> None:
        self.standby = Standby("aggregator", self.settings.state)
        self.roster = Roster(self.settings, self.store, self._on_answer, self._on_logs, self._unwanted)

    # ---- what envoys report to the roster

    async def _on_answer(self, site: str, answer: OrderReply | CollaboratorEnded) -> None:
        if self._current is not None and self._current.id == answer.experiment:
            await self._current.answer(site, answer)
        elif isinstance(answer, OrderReply) and answer.accepted:
            self.roster.send(site, StopOrder(answer.experiment, "the experiment has ended"))

    def _unwanted(self, experiment: str) -> bool:
        """Whether a site that works for an experiment should stop: it has ended, or is none of ours."""
        try:
            return self._known(experiment).summary.status.ended
        except NotFoundError:
            return True

    def _on_logs(self, lines: LogLines) -> None:
        with contextlib.suppress(NotFoundError):
            path = self._files(self._known(lines.experiment).summary.id).log(lines.source)
            failpoint("director.log.before")
            with path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines.lines)
                failpoint("director.log.after")

    # ---- users

    async def expect_bundle(self, caller: str, submission: Submission) -> Landing:
        """Checks request id, size and signature before a byte of the bundle is taken."""
        if not REQUEST_ID.fullmatch(submission.request_id):
            raise UsageError("a request id has 8 to 64 hexadecimal digits")
        if submission.manifest.total_bytes > MAX_TOTAL_BYTES + BUNDLE_SLACK_BYTES:
            raise BundleError(
                f"the bundle has {submission.manifest.total_bytes:,} bytes, the limit is {MAX_TOTAL_BYTES:,}",
                cure="keep data and models out of the workspace",
            )
        digest = submission.manifest.digest
        trust = self.credentials.trust
        signer = verify_submitter(digest, submission.signature, submission.certificates, trust)
        if signer.name != caller:
            raise NotAllowedError(f"'{caller}' submits a bundle that '{signer.name}' signed")
        known = await asyncio.to_thread(self.store.requested, caller, submission.request_id)
        if known is not None:
            return Landing(self._files(known.id).bundle, complete=True)
        return Landing(self._incoming(caller, submission))

    async def submit(self, caller: str, submission: Submission) -> ExperimentSummary:
        """Queues a complete bundle; it is on disk when this returns."""
        key = caller, submission.request_id
        summary = await self._admitting.do(key, lambda: self._admit(caller, submission))
        if summary.status is Status.QUEUED and self._feed(summary.id).store.latest(*_MILESTONES) is None:
            log.info("experiment %s submitted by %s", summary.id, caller)
            self._feed(summary.id).announce(Announce(Notice.EXPERIMENT_QUEUED, {"owner": caller}))
            failpoint("director.submit.announced")
        self._queued.set()
        return summary

    def _admit(self, caller: str, submission: Submission) -> ExperimentSummary:
        known = self.store.requested(caller, submission.request_id)
        if known is not None:
            return known
        failpoint("director.submit.received")
        incoming = self._incoming(caller, submission)
        staging = self.settings.state / "incoming" / f"unpacked-{secrets.token_hex(8)}"
        try:
            plan = unpack(incoming, staging)
            check_plan(plan, "the submitted plan")
            check_times(plan, self.settings)
        except FederationError:
            incoming.unlink(missing_ok=True)
            ExperimentFiles(staging).remove()
            raise
        failpoint("director.submit.unpacked")
        experiment = f"{plan.name[:48]}-{secrets.token_hex(4)}"
        try:
            self._furnish(experiment, plan, staging, incoming)
            return self._enqueue(experiment, plan, caller, submission)
        finally:
            known = self.store.requested(caller, submission.request_id)
            if known is None or known.id != experiment:  # the disk was full, or the same request was quicker
                self._files(experiment).remove()
                ExperimentFiles(staging).remove()

    def _furnish(self, experiment: str, plan: Plan, staging: Path, incoming: Path) -> None:
        files = self._files(experiment)
        files.directory.mkdir(parents=True, mode=0o700)
        files.prepare()
        failpoint("director.submit.directory")
        staging.rename(files.directory / "workspace")
        failpoint("director.submit.workspace")
        incoming.rename(files.bundle)
        failpoint("director.submit.bundle")
        files.plan.write_bytes(freeze(plan))
        failpoint("director.submit.plan")
        ExperimentStore(files.directory).close()
        sync_names(files.directory, files.directory.parent)

    def _enqueue(self, experiment: str, plan: Plan, caller: str, submission: Submission) -> ExperimentSummary:
        summary = ExperimentSummary(
            id=experiment,
            name=plan.name,
            status=Status.QUEUED,
            reason="",
            owner=caller,
            submitted_at=time.time(),
            plan_digest=plan_digest(plan),
        )
        stored = StoredExperiment(summary, submission.manifest.digest, submission.signature, submission.certificates)
        return self.store.add(submission.request_id, stored)

    async def experiments(self) -> list[ExperimentSummary]:
        """Lists all experiments, oldest first."""
        return await asyncio.to_thread(self.store.experiments)

    async def experiment(self, experiment: str) -> ExperimentRecord:
        """Gives everything known of one experiment."""
        summary = self._known(experiment).summary
        files = self._files(summary.id)
        versions, told = await asyncio.to_thread(_record, files)
        plan = files.plan.read_text(encoding="utf-8")
        return ExperimentRecord(summary, tuple(versions), plan, surplus.total(told))

    async def watch(self, experiment: str, after: int) -> AsyncIterator[Sequence[ExperimentSummary | EventRecord]]:
        """Gives the summary, history and live events, and the summary again at the end."""
        summary = self._known(experiment).summary
        yield [summary]
        if summary.status.ended:
            for events in batched(await asyncio.to_thread(_history, self._files(summary.id), after)):
                yield events
        else:
            async for events in self._feed(summary.id).bus.batches(after):
                yield events
        yield [self._known(experiment).summary]

    async def logs(self, experiment: str, source: str) -> AsyncIterator[LogLines]:
        """Gives the stored log lines of one source, or of all."""
        summary = self._known(experiment).summary
        directory = self._files(summary.id).directory / "logs"
        found = {path.stem: path for path in sorted(directory.glob("*.log"))}
        if source and source not in found:
            known = ", ".join(found) or "none yet"
            raise NotFoundError(
                f"'{source}' has written no log for '{experiment}'", cure=f"logs are there from: {known}"
            )
        for name, path in found.items():
            if source in {"", name}:
                text = await asyncio.to_thread(path.read_text, encoding="utf-8", errors="replace")
                lines = text.splitlines()
                for start in range(0, len(lines), 500):
                    yield LogLines(summary.id, name, tuple(lines[start : start + 500]))

    async def cancel(self, caller: str, experiment: str) -> ExperimentSummary:
        """Ends a queued or running experiment; answers when it has ended."""
        summary = self._known(experiment).summary
        if summary.status.ended:
            raise ConflictError(f"the experiment '{summary.id}' has already ended: {summary.status}")
        log.info("experiment %s: cancelled by %s", summary.id, caller)
        failpoint("director.cancel.asked")
        feed = self._feed(summary.id)
        if self._current is not None and self._current.id == summary.id:
            await self._current.cancel(caller)
            await feed.ended.wait()
            return self._known(experiment).summary
        return self._finish(summary.id, Outcome(Status.CANCELLED, f"cancelled by {caller}"))

    async def resume(self, caller: str, experiment: str) -> ExperimentSummary:
        """Queues an experiment again that FAILED or was CANCELLED; it is on disk when this returns."""
        summary = self.store.requeue(experiment, f"{RESUMED_BY}{caller}")
        log.info("experiment %s: resumed by %s", summary.id, caller)
        self._tell_resumed(summary)
        self._queued.set()
        return summary

    def _tell_resumed(self, summary: ExperimentSummary) -> None:
        """Sees to it that the history says who has resumed a queued experiment: we may have died before we said so."""
        feed = self._feed(summary.id)
        if not summary.reason.startswith(RESUMED_BY):
            return
        last = feed.store.latest(*_MILESTONES)
        if last is None or last.kind != Notice.EXPERIMENT_RESUMED:
            feed.announce(Announce(Notice.EXPERIMENT_RESUMED, {"by": summary.reason.removeprefix(RESUMED_BY)}))

    async def model(self, experiment: str, which: str) -> Path:
        """Gives the file of a published model."""
        files = self._files(self._known(experiment).summary.id)
        versions = await asyncio.to_thread(_versions, files)
        path = files.model(pick_version(versions, which).version.round)
        if not path.exists():
            raise NotFoundError(f"version {which} is not kept any more", cure="raise model_store.keep.last in the plan")
        return path

    async def envoys(self) -> list[EnvoyRecord]:
        """Lists the roster."""
        return await self.roster.records()

    # ---- the queue

    async def work(self) -> None:
        """Runs the queued experiments one after the other; those that were running when we ended come first."""
        while True:
            self._queued.clear()
            waiting = [item for item in await self.experiments() if not item.status.ended]
            for summary in waiting:
                self._tell_resumed(summary)
            if waiting:
                await self._run(min(waiting, key=lambda item: (item.status is Status.QUEUED, item.submitted_at)))
            else:
                await self._queued.wait()

    async def _run(self, summary: ExperimentSummary) -> None:
        def on_status(status: Status, reason: str) -> None:
            failpoint("director.status.before")
            log.info("experiment %s: %s", summary.id, status)
            self.store.set_status(summary.id, status, reason, time.time())
            failpoint("director.status.after")

        feed = self._feed(summary.id)
        desk = Desk(
            self.settings,
            self.credentials,
            self.authority,
            self.roster,
            on_status,
            on_event=lambda event: feed.bus.publish([event]),
            announce=feed.announce,
            history=feed.store.events,
            standby=self.standby,
        )
        stored = self.store.experiment(summary.id)
        self._current = Dispatch(desk, stored, self._files(summary.id))
        try:
            await asyncio.to_thread(mend, stored, self._files(summary.id))
            outcome = await self._current.run()
        except FederationError as error:
            outcome = Outcome(Status.FAILED, f"the director cannot run it: {error}")
        except Exception as error:
            log.exception("experiment %s: dispatch failed", summary.id)
            outcome = Outcome(Status.FAILED, f"the director failed: {type(error).__name__}: {error}")
        finally:
            self._current = None
        self._finish(summary.id, outcome)

    def _finish(self, experiment: str, outcome: Outcome) -> ExperimentSummary:
        status, reason = outcome.status, outcome.reason
        failpoint("director.end.before")
        summary = self.store.set_status(experiment, status, reason, time.time(), outcome.shortfalls)
        failpoint("director.end.after")
        log.info("experiment %s: %s %s", experiment, summary.standing, reason)
        feed = self._feeds.pop(experiment, None)
        if feed is not None:
            feed.close(outcome)
            failpoint("director.end.told")
        return summary

    # ---- where things are

    def _known(self, experiment: str) -> StoredExperiment:
        return self.store.experiment(experiment)

    def _files(self, experiment: str) -> ExperimentFiles:
        return ExperimentFiles(self.settings.state / "experiments" / experiment)

    def _incoming(self, caller: str, submission: Submission) -> Path:
        return self.settings.state / "incoming" / f"{caller}-{submission.request_id}.tar"

    def _feed(self, experiment: str) -> _Feed:
        """Opens what watchers of an experiment that has not ended read from."""
        if experiment not in self._feeds:
            store = ExperimentStore(self._files(experiment).directory)
            self._feeds[experiment] = _Feed(EventBus(store.events), store)
        return self._feeds[experiment]


def _versions(files: ExperimentFiles) -> list[PublishedVersion]:
    store = ExperimentStore(files.directory)
    try:
        return store.versions()
    finally:
        store.close()


def _record(files: ExperimentFiles) -> tuple[list[PublishedVersion], list[EventRecord]]:
    """Gives the versions, and what the history tells of updates that could not count."""
    with contextlib.closing(ExperimentStore(files.directory)) as store:
        return store.versions(), store.events(kinds=surplus.TOLD)


def _history(files: ExperimentFiles, after: int) -> list[EventRecord]:
    store = ExperimentStore(files.directory)
    try:
        return store.events(after)
    finally:
        store.close()


async def run_director(settings: DirectorFile, credentials: Credentials, ready: Callable[[str], None]) -> None:
    """Runs a Director until cancelled.

    Args:
        settings: director.yaml.
        credentials: Its certificate and key.
        ready: Called with the address when envoys and users can connect.

    Raises:
        ConflictError: If the address or the state directory is taken.
        CredentialError: If the experiment authority cannot be read.
    """
    allow_many_connections()
    authority = Authority.load(settings.experiment_ca)
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_one(settings.state, "director"))
        await asyncio.to_thread(end_marked, settings.state)
        (settings.state / "incoming").mkdir(exist_ok=True, mode=0o700)
        store = DirectorStore(settings.state)
        failpoint("director.opened")
        stack.callback(store.close)
        remove_leftovers(settings.state, {summary.id for summary in store.experiments()})
        await asyncio.to_thread(mend_all, settings.state, store)
        director = Director(settings, credentials, authority, store)
        guard = Guard(PeerVerifier(credentials.trust))
        checkpoints = CheckpointServicer(Checkpoints(settings.state, credentials, store))
        handlers = (
            service_handler(SERVICE, DirectorServicer(director.roster, director), guard),
            service_handler(CHECKPOINTS, checkpoints, guard),
        )
        async with Server(settings.listen, credentials, handlers) as server:
            ready(f"{settings.listen.rpartition(':')[0]}:{server.port}")
            director.standby.prepare()
            try:
                await director.work()
            finally:
                await director.standby.close()
