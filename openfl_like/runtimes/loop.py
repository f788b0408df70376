"""The loop that drives an experiment: one event in, its commands performed, what they left behind committed first."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from enum import Enum, auto
from functools import partial
from typing import Protocol, cast

from openfl_like.errors import StorageError, no_room
from openfl_like.failpoints import failpoint
from openfl_like.federation.events import (
    Aggregate,
    Command,
    Event,
    ExperimentStarted,
    FinishExperiment,
    PlaceUpdates,
    SendAssignment,
    StartTimer,
    StepFailed,
    TimerFired,
    UpdateCommitted,
    ValidateUpdates,
    WithdrawAssignment,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.parties import Outcome
from openfl_like.federation.status import Status
from openfl_like.runtimes.models import describe
from openfl_like.runtimes.recorder import Record, Recorder, patiently

Outward = SendAssignment | WithdrawAssignment | FinishExperiment
_TO_SITES = (SendAssignment, WithdrawAssignment)
COMMIT_WITHIN_S, WRITE_WITHIN_S = 0.2, 2.0
"""Within so long all that has happened is in the record, and told; the second: if updates would be written for that."""


class _CommitDue(Enum):
    """What waits for its commit has waited long enough: for one that costs nothing else, or for any."""

    IF_CHEAP = auto()
    IN_ANY_CASE = auto()


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


class VirtualTime(Protocol):
    """Time that is not this machine's: it stands still while anything is done, and then goes on at once."""

    def now(self) -> float:
        """Virtual seconds since the beginning."""

    def start_timer(self, timer: str, after_s: float) -> None:
        """Have `TimerFired` posted after so many virtual seconds; one of this name that runs already goes on."""

    async def advance(self) -> None:
        """Called when all that has happened is dealt with: post what happens next, and go on to its time."""

    def tell(self, commands: Iterable[Command]) -> Iterator[Command]:
        """Yield the commands of a step, and with them what there is to tell besides."""


class ExperimentLoop:
    """One run of the loop.

    Args:
        experiment: New, or restored from the store.
        runtime: Where its tasks run.
        record: Where it leaves its traces.
        clock: Time.
        virtual: The time that the experiment goes by in place of the clock's, by which it commits nevertheless: only
            between two rounds, so that its time goes on from the record as it did.
        ahead: Whether sites may be given work that the record does not know of yet: they are in this process and end
            with it, so that whoever goes on from the record repeats it to the same bytes.
    """

    def __init__(
        self,
        experiment: Experiment,
        runtime: Runtime,
        record: Record,
        clock: Clock,
        virtual: VirtualTime | None = None,
        *,
        ahead: bool = False,
    ) -> None:
        self._experiment = experiment
        self._runtime = runtime
        self._repository = record.repository
        self._recorder = Recorder(experiment, record)
        self._pause_s = record.pause_s
        self._clock = clock
        self._virtual = virtual
        self._each_round = not ahead
        self._ahead = ahead or virtual is not None
        self._inbox: asyncio.Queue[Sequence[Event] | _CommitDue] = asyncio.Queue()
        self._timers: list[Callable[[], None]] = []
        self._commit_timers: list[Callable[[], None]] = []
        self._due: _CommitDue | None = None
        kept = record.repository.published.kept(
            experiment.versions
        )  # a file that several versions share has one name only
        for version in experiment.versions:
            if version.round in kept:
                record.repository.put(version.digest, version.round)
        if experiment.placement is not None:  # of a former process; the scores that have come count
            base = record.repository.path(experiment.placement.base_model)
            record.repository.scored.place(experiment.placement, base)

    def post(self, *events: Event) -> None:
        """Put events in; also for those who are not the runtime (a cancellation)."""
        if events:
            self._inbox.put_nowait(events)

    async def run(self, *meanwhile: Event) -> Outcome:
        """Drive the experiment to its end.

        Args:
            meanwhile: What has happened to it since a former run of it ended.

        Raises:
            ConflictError: If another process has taken the experiment over; nobody is told that it ended then.
        """
        try:
            async with self._runtime.running(self.post):
                return await self._drive(meanwhile)
        finally:
            for cancel in self._timers:
                cancel()
            self._commit_is_done()
            await self._recorder.tidied()

    async def _drive(self, meanwhile: Sequence[Event]) -> Outcome:
        if self._experiment.status.ended:  # a former run ended it and died before it could tell its collaborators
            await asyncio.to_thread(self._repository.published.tidy, self._experiment.versions, ended=True)
            return await self._finish(self._experiment.status, self._experiment.reason)
        self.post(ExperimentStarted(self._recorder.epoch), *meanwhile)
        while True:
            if self._virtual is not None and self._inbox.empty():
                await self._virtual.advance()
            happened = [await self._inbox.get()]
            while not self._inbox.empty():
                happened.append(self._inbox.get_nowait())
            events: list[Event] = []
            for item in happened:
                if isinstance(item, _CommitDue):
                    self._due = item
                else:
                    events += item
            outcome = await self._step(events)
            if outcome is not None:
                return outcome

    async def _step(self, events: Sequence[Event]) -> Outcome | None:
        """Take what has happened by now, commit what it means if anybody is to act on it or it is time, and act."""
        now = (self._virtual or self._clock).now()
        published = len(self._experiment.versions)
        commands = self._handle(events, now)
        ends = any(isinstance(command, FinishExperiment) for command in commands)
        if self._recorder.publishes and not self._ahead and self._recorder.commit_updates():
            commands = await self._send_ahead(commands)
        begins = any(isinstance(event, ExperimentStarted) for event in events)  # from here on the record has its plan
        published = len(self._experiment.versions) - published
        if begins or ends or self._may_commit(acts=bool(commands), finishes=published > 0):
            self._commit_is_done()
            await self._recorder.commit(now, ends=ends)
        elif self._recorder.waiting:
            self._commit_soon()
        return await self._perform_all(commands)

    def _may_commit(self, *, acts: bool, finishes: bool) -> bool:
        """Whether a step is committed that is neither the first nor the last; it acts, or finishes a round."""
        if self._virtual is not None:
            return finishes and (self._each_round or self._is_due())
        return self._is_due() or ((acts or self._recorder.publishes) and not self._ahead)

    def _is_due(self) -> bool:
        """Whether it is time for a commit; between two rounds nothing has to be written for one besides."""
        return self._due is _CommitDue.IN_ANY_CASE or (self._due is not None and not self._recorder.unwritten)

    def _commit_soon(self) -> None:
        if not self._commit_timers:
            for after_s, due in ((COMMIT_WITHIN_S, _CommitDue.IF_CHEAP), (WRITE_WITHIN_S, _CommitDue.IN_ANY_CASE)):
                self._commit_timers.append(self._clock.call_later(after_s, partial(self._inbox.put_nowait, due)))

    def _commit_is_done(self) -> None:
        for cancel in self._commit_timers:
            cancel()
        self._commit_timers, self._due = [], None

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

    def _handle(self, events: Sequence[Event], now: float) -> list[Command]:
        """Handle events, and those that follow from them by work which is done at once.

        Returns:
            What is to be acted on, besides what is to be recorded.
        """
        commands: list[Command] = []
        waiting = deque(events)
        while waiting:
            answer: Iterable[Command] = self._experiment.handle(self._sized(waiting.popleft()), now)
            if self._virtual is not None:
                answer = self._virtual.tell(answer)
            for command in self._recorder.take(answer, now):
                if not isinstance(command, ValidateUpdates | PlaceUpdates | Aggregate):
                    commands.append(command)
                elif self._repository.quick(command, alone=self._ahead):
                    if isinstance(command, Aggregate) and not self._ahead:
                        self._recorder.note_updates(now)
                    try:
                        waiting.append(self._work(command))
                    except StorageError:
                        commands.append(command)  # done like a long one, which waits for room
                else:
                    commands.append(command)
        return commands

    def _sized(self, event: Event) -> Event:
        """Say of an update how large it is: all runtimes have it in the same place."""
        if isinstance(event, UpdateCommitted) and event.update.digest:
            return replace(event, size_bytes=self._repository.in_memory.size_bytes(event.update))
        return event

    async def _send_ahead(self, commands: list[Command]) -> list[Command]:
        """Begin the next round while the version that it starts from is still on its way to the disk.

        Its assignments depend on nothing but that version's bytes, and whoever repeats the step after a crash makes the
        same bytes and the same assignments: the updates of a round are kept until it is committed.
        """
        ahead = [command for command in commands if isinstance(command, SendAssignment | StartTimer)]
        await self._perform_all(ahead)
        await asyncio.sleep(0)  # they go out before a thread writes the version, which would hold them up
        return [command for command in commands if not isinstance(command, SendAssignment | StartTimer)]

    async def _perform(self, command: Command) -> Outcome | None:
        match command:
            case StartTimer(timer, after_s) if self._virtual is not None:
                self._virtual.start_timer(timer, after_s)
            case StartTimer(timer, after_s):
                self._timers.append(self._clock.call_later(after_s, lambda: self.post(TimerFired(timer))))
            case ValidateUpdates() | PlaceUpdates() | Aggregate():
                self.post(await patiently(lambda: asyncio.to_thread(self._work, command), self._pause_s))
            case FinishExperiment(status, reason):
                return await self._finish(status, reason)
        return None

    async def _finish(self, status: Status, reason: str) -> Outcome:
        failpoint("aggregator.finish.before")
        await self._runtime.perform(FinishExperiment(status, reason))
        failpoint("aggregator.finish.after")
        return Outcome(status, reason, self._experiment.shortfalls)

    def _work(self, command: ValidateUpdates | PlaceUpdates | Aggregate) -> Event:
        try:
            if isinstance(command, PlaceUpdates):
                return self._repository.scored.place(command, self._repository.path(command.base_model))
            if isinstance(command, ValidateUpdates):
                return self._repository.validate(command)
            return self._repository.aggregate(command)
        except Exception as error:  # (the edge of the round: any failure becomes its recorded reason)
            full = no_room(error)
            if full is not None:
                raise full from error
            return StepFailed(command.round, describe(error))
