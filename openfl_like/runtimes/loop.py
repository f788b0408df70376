"""The loop that drives an experiment: one event in, its commands performed, what they left behind committed first."""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, cast

from openfl_like.errors import FederationError, StorageError, no_room
from openfl_like.failpoints import failpoint
from openfl_like.federation.announcements import Announced
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    Command,
    Event,
    ExperimentStarted,
    FinishExperiment,
    ModelVersion,
    PublishVersion,
    SendAssignment,
    StartTimer,
    StepFailed,
    TimerFired,
    UpdatesValidated,
    ValidateUpdates,
    WithdrawAssignment,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.parties import Outcome
from openfl_like.federation.status import Status
from openfl_like.runtimes.models import ModelRepository, describe
from openfl_like.store.ports import Commit, ExperimentCommits
from openfl_like.tensors.manifest import sha256_file

log = logging.getLogger(__name__)
Outward = SendAssignment | WithdrawAssignment | FinishExperiment
_TO_SITES = (SendAssignment, WithdrawAssignment)
PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0  # of a step that waits for room
Result = TypeVar("Result")


class Post(Protocol):
    """Takes what has happened: one event, or several at once."""

    def __call__(self, *events: Event) -> None:
        """Put the events in, in this order."""


class Runtime(Protocol):
    """Where tasks run; the registry has what makes one, see `runtimes.sites.RuntimeFactory`."""

    def running(self, post: Post) -> AbstractAsyncContextManager[None]:
        """Post what happens (joins, updates, failures) while the block is open; after it nothing runs any more."""

    async def perform(self, *commands: Outward) -> None:
        """Hand commands of one step to whoever they are for; must not wait for their results.

        The assignments of a phase come in one call, so that a runtime may take them as a whole.
        """


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after a delay; return the function that prevents it."""


class SystemClock:
    """The clock of the machine, read once; from there on monotonic time goes on, so that a step makes no odd durations.

    Timers run on the event loop's monotonic time.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch, by the clock as it was at the beginning."""
        return self._offset + time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back on the running event loop."""
        return asyncio.get_running_loop().call_later(delay_s, callback).cancel


@dataclass(frozen=True, slots=True)
class Record:
    """Where an experiment leaves its traces.

    Attributes:
        store: Snapshot, events, versions.
        repository: Model files.
        publish: Gets the announcements of each commit, as they are in the history.
    """

    store: ExperimentCommits
    repository: ModelRepository
    publish: Callable[[Sequence[Announced]], None] = lambda _: None


async def patiently(step: Callable[[], Awaitable[Result]], pause_s: float = PAUSE_S) -> Result:
    """Do what needs room on a disk, again and again until there is some: the experiment waits, and does not end."""
    while True:
        try:
            return await step()
        except (FederationError, OSError) as error:
            full = no_room(error)
            if full is None:
                raise
            log.warning("%s %s; waiting for %g s", full.code, full, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class ExperimentLoop:
    """One run of the loop.

    Args:
        experiment: New, or restored from the store.
        runtime: Where its tasks run.
        record: Where it leaves its traces.
        clock: Time.
    """

    def __init__(self, experiment: Experiment, runtime: Runtime, record: Record, clock: Clock) -> None:
        self._experiment = experiment
        self._runtime = runtime
        self._record = record
        self._clock = clock
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._timers: list[Callable[[], None]] = []
        for version in experiment.versions:
            record.repository.put(version.digest, version.round)

    def post(self, *events: Event) -> None:
        """Put events in; also for those who are not the runtime (a cancellation)."""
        for event in events:
            self._inbox.put_nowait(event)

    async def run(self) -> Outcome:
        """Drive the experiment to its end.

        Raises:
            ConflictError: If another process has taken the experiment over; nobody is told that it ended then.
        """
        try:
            async with self._runtime.running(self.post):
                return await self._drive()
        finally:
            for cancel in self._timers:
                cancel()

    async def _drive(self) -> Outcome:
        if self._experiment.status.ended:  # a former run ended it and died before it could tell its collaborators
            return await self._finish(self._experiment.status, self._experiment.reason)
        self.post(ExperimentStarted(self._record.store.epoch))
        while True:
            events = [await self._inbox.get()]
            while not self._inbox.empty():
                events.append(self._inbox.get_nowait())
            outcome = await self._step(events)
            if outcome is not None:
                return outcome

    async def _step(self, events: list[Event]) -> Outcome | None:
        """Take what has happened by now, commit what it means, and act on that."""
        now = self._clock.now()
        commands = self._handle(events, now)
        if any(isinstance(command, PublishVersion) for command in commands):
            commands = await self._send_ahead(commands)
        await self._commit(commands, now)
        return await self._perform_all(commands)

    async def _perform_all(self, commands: Sequence[Command]) -> Outcome | None:
        """Act on commands in their order; what goes to the sites in a row goes to the runtime as a whole."""
        outcome = None
        for outward, group in itertools.groupby(commands, lambda each: isinstance(each, _TO_SITES)):
            if outward:
                await self._runtime.perform(*cast("Iterator[Outward]", group))
                continue
            for command in group:
                outcome = await self._perform(command) or outcome
        return outcome

    def _handle(self, events: list[Event], now: float) -> list[Command]:
        """Handle events, and those that follow from them by work which is done at once."""
        commands: list[Command] = []
        waiting = deque(events)
        while waiting:
            for command in self._experiment.handle(waiting.popleft(), now):
                if isinstance(command, ValidateUpdates | Aggregate) and self._record.repository.quick(command):
                    if isinstance(command, Aggregate):
                        commands = self._record_updates(commands, now)
                    try:
                        waiting.append(self._work(command))
                    except StorageError:
                        commands.append(command)  # done like a long one, which waits for room
                else:
                    commands.append(command)
        return commands

    def _record_updates(self, commands: list[Command], now: float) -> list[Command]:
        """Commit that all updates are here: the next round is sent ahead, and they must not be asked for again."""
        announcements = [command.announcement for command in commands if isinstance(command, Announce)]
        failpoint("aggregator.updates.recorded.before")
        try:
            records = self._record.store.commit(Commit(now, self._experiment.snapshot(), announcements))
        except StorageError:
            return commands  # they are told with the round; the commit of that waits for room
        self._record.publish(records)
        failpoint("aggregator.updates.recorded.after")
        return [command for command in commands if not isinstance(command, Announce)]

    async def _send_ahead(self, commands: list[Command]) -> list[Command]:
        """Begin the next round while the version that it starts from is still on its way to the disk.

        Its assignments depend on nothing but that version's bytes, and whoever repeats the step after a crash makes the
        same bytes and the same assignments: the updates of a round are kept until it is committed.
        """
        ahead = [command for command in commands if isinstance(command, SendAssignment | StartTimer)]
        await self._perform_all(ahead)
        return [command for command in commands if command not in ahead]

    async def _commit(self, commands: list[Command], now: float) -> None:
        """Write what the step means before any of it is acted on."""
        if not commands:
            return
        versions = [command.version for command in commands if isinstance(command, PublishVersion)]
        announcements = [command.announcement for command in commands if isinstance(command, Announce)]
        ends = any(isinstance(command, FinishExperiment) for command in commands)
        step = Commit(now, self._experiment.snapshot(), announcements)
        if versions or ends:
            records = await patiently(lambda: asyncio.to_thread(self._commit_durably, step, versions, ends=ends))
        else:
            records = await patiently(lambda: self._commit_quickly(step))
        if records:
            self._record.publish(records)

    async def _commit_quickly(self, step: Commit) -> list[Announced]:
        failpoint("aggregator.step.before")
        records = self._record.store.commit(step)  # a quarter of a millisecond: less than a hop to a thread
        failpoint("aggregator.step.after")
        return records

    def _commit_durably(self, step: Commit, versions: list[ModelVersion], *, ends: bool) -> list[Announced]:
        self._record.store.check_epoch()  # one that was asleep must not touch the files of the newer process, either
        for version in versions:
            self._record.repository.publish(version)
        hashes = self._hashes() if ends else {}
        failpoint("aggregator.version.before")
        records = self._record.store.commit(replace(step, versions=versions, sha256=hashes, durable=True))
        failpoint("aggregator.version.after")
        try:
            self._record.repository.tidy(self._experiment.versions, ended=ends)
        except OSError as error:  # the round is committed all the same; the next one's tidying tries again
            log.warning("files that are not needed any more stay: %s", error)
        failpoint("aggregator.tidied")
        return records

    def _hashes(self) -> dict[int, str]:
        """SHA-256 of the last and the best model, for people: it costs a pass over them, so only at the end."""
        versions = self._experiment.versions
        rounds = {
            (version.round, version.digest) for version in [*versions[-1:], *[v for v in versions if v.best][-1:]]
        }
        failpoint("aggregator.hashed")
        return {number: sha256_file(self._record.repository.path(digest)) for number, digest in rounds}

    async def _perform(self, command: Command) -> Outcome | None:
        match command:
            case StartTimer(timer, after_s):
                self._timers.append(self._clock.call_later(after_s, lambda: self.post(TimerFired(timer))))
            case ValidateUpdates() | Aggregate():
                self.post(await patiently(lambda: asyncio.to_thread(self._work, command)))
            case FinishExperiment(status, reason):
                return await self._finish(status, reason)
        return None

    async def _finish(self, status: Status, reason: str) -> Outcome:
        failpoint("aggregator.finish.before")
        await self._runtime.perform(FinishExperiment(status, reason))
        failpoint("aggregator.finish.after")
        return Outcome(status, reason, self._experiment.shortfalls)

    def _work(self, command: ValidateUpdates | Aggregate) -> Event:
        try:
            if isinstance(command, ValidateUpdates):
                return UpdatesValidated(command.round, self._record.repository.validate(command))
            return self._record.repository.aggregate(command)
        except Exception as error:  # (the edge of the round: any failure becomes its recorded reason)
            full = no_room(error)
            if full is not None:
                raise full from error
            return StepFailed(command.round, describe(error))
