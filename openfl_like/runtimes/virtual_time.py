"""Any runtime in virtual time: what sites do takes as long as it takes their devices, and this machine as it can.

Assignments are performed at once, and what comes of them is held back until its time. That is known as soon as all are
performed; then the clock goes on to whatever happens next. Nothing here depends on how fast this machine is.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import partial
from itertools import count
from math import inf
from typing import Any, TypeAlias

from pydantic import JsonValue

from openfl_like.errors import InternalError
from openfl_like.federation.announcements import ExperimentEnded, RoundFinished
from openfl_like.federation.components import build_encoding
from openfl_like.federation.devices.effort import RoundEffort
from openfl_like.federation.devices.profile import SimulatedDevices
from openfl_like.federation.devices.quantities import Span
from openfl_like.federation.devices.work import Course, WorkCount
from openfl_like.federation.events import (
    Announce,
    CollaboratorJoined,
    CollaboratorLeft,
    Command,
    Event,
    EverybodyJoined,
    SendAssignment,
    TaskFailed,
    TimerFired,
    UpdateCommitted,
    WithdrawAssignment,
)
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.task import Assignment, DevicesWorked, Phase, Update
from openfl_like.runtimes.local import too_late
from openfl_like.runtimes.loop import Outward, Post, Runtime
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.sites import SimulatedSites

_KEPT = "virtual_time"
"""Where a snapshot has the time."""
AWAY = "its device is away"
_Identity: TypeAlias = tuple[int, Phase, str]
_Result: TypeAlias = UpdateCommitted | TaskFailed
_Kind: TypeAlias = Callable[[RoundEffort], set[str]]


class _Rank(IntEnum):
    """What comes first of what happens at the same time: an answer at the deadline is in time."""

    ANSWER = 0
    AVAILABILITY = 1
    TIMER = 2


@dataclass(slots=True)
class _Presence:
    """Whether a device is there, and its spans from the present one on."""

    spans: Iterator[Span]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class _DeviceWork:
    """An assignment that a device is at work on.

    Attributes:
        assignment: What it is.
        began: When it was given it.
        course: How it goes; without the update's way as long as nobody knows how large that is.
    """

    assignment: Assignment
    began: float
    course: Course


@dataclass(slots=True)
class _Queue:
    """What is going to happen, in the order of virtual time; at the same time by rank and by name."""

    entries: list[tuple[float, _Rank, str, int, Callable[[], Iterable[Event]]]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def add(self, when: float, rank: _Rank, name: str, happens: Callable[[], Iterable[Event]]) -> None:
        """Have something happen; what never does is left out."""
        if when < inf:
            heapq.heappush(self.entries, (when, rank, name, next(self.numbers), happens))

    def next(self) -> tuple[float, list[Callable[[], Iterable[Event]]]]:
        """Take out all that happens next at the same time."""
        when, found = self.entries[0][0], []
        while self.entries and self.entries[0][0] == when:
            found.append(heapq.heappop(self.entries)[-1])
        return when, found


@dataclass(slots=True)
class _Results:
    """What came of the assignments of a phase; a device that comes back need not have its work done once more."""

    of: dict[_Identity, _Result] = field(default_factory=dict)
    asked: set[_Identity] = field(default_factory=set)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, identity: _Identity) -> bool:
        """Note that a result is needed; return whether nobody has asked for it before."""
        new = identity not in self.asked
        self.asked.add(identity)
        return new

    def put(self, event: _Result) -> None:
        """Note a result."""
        identity = _identity(event.update) if isinstance(event, UpdateCommitted) else _identity(event)
        self.of[identity] = event
        self.complete.set()

    async def all_there(self) -> None:
        """Wait until there is nothing that was asked for and did not come."""
        while len(self.of) < len(self.asked):
            self.complete.clear()
            await self.complete.wait()

    def forget(self) -> None:
        """Begin anew with another phase."""
        self.of.clear()
        self.asked.clear()


class InVirtualTime:
    """A `runtimes.loop.Runtime` around another one, and the `runtimes.loop.VirtualTime` of its loop.

    Args:
        inner: Where tasks are performed; their deadlines are not its business.
        devices: What the sites work on.
        sites: How much data they have.
        repository: How large models and updates are.
        snapshot: The one that the simulation goes on from, with what `kept` gave then; None: it begins.
    """

    def __init__(
        self,
        inner: Runtime,
        devices: SimulatedDevices,
        sites: SimulatedSites,
        repository: ModelRepository,
        snapshot: Mapping[str, JsonValue] | None = None,
    ) -> None:
        self._inner, self._devices, self._repository = inner, devices, repository
        self._shards, self._round_s = sites.shards, sites.plan.deadline.round_s
        self._buffered = sites.plan.mode.settings is not None
        self._began: dict[_Identity, float] = {}  # of what goes on from the record
        self._doing: dict[str, _Identity] = {}
        self._count = WorkCount.of(sites.plan)
        self._plain = build_encoding(sites.plan) is None
        self._queue = _Queue()
        self._post: Post = _unheard
        self._now = 0.0
        self._timers: dict[str, float] = {}
        self._presence: dict[str, _Presence] = {}  # of those that come and go
        self._registered = self._there = 0
        self._new: list[Assignment] = []
        self._phase: tuple[int, Phase] = (-1, Phase.INITIALISE)
        self._opened = 0.0
        self._works: dict[_Identity, _DeviceWork] = {}
        self._results = _Results()
        self._effort = RoundEffort()
        self._last = 0
        if snapshot is not None:
            self._restore(snapshot[_KEPT])

    def _restore(self, kept: Any) -> None:  # noqa: ANN401 - it is what `kept` gave
        self._now = kept["now"]
        for timer, due in kept["timers"].items():
            self._start(timer, due)
        self._last = kept.get("round", 0)
        for number, name, began in kept.get("training", ()):
            self._began[number, Phase.TRAIN, name] = began

    def kept(self) -> dict[str, JsonValue]:
        """Return what goes on between two rounds, for a snapshot: the time, and the timers with theirs."""
        kept: dict[str, JsonValue] = {"now": self._now, "timers": dict(sorted(self._timers.items()))}
        if self._buffered:
            kept["round"] = self._last
            kept["training"] = [[each[0], each[2], work.began] for each, work in sorted(self._works.items())]
        return {_KEPT: kept}

    # ---- the runtime ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """Let every site join whose device is there; see `Runtime.running`."""
        self._post = post
        async with self._inner.running(self._take):
            yield

    async def perform(self, *commands: Outward) -> None:
        """Note what devices are given, and what they need not do any more."""
        for command in commands:
            match command:
                case SendAssignment(assignment):
                    self._new.append(assignment)
                case WithdrawAssignment():
                    self._withdraw(command)
                case _:
                    await self._inner.perform(command)

    def _take(self, *events: Event) -> None:
        """Take what the inner runtime posts."""
        for event in events:
            match event:
                case EverybodyJoined():
                    self._enter_all(event)
                case UpdateCommitted() | TaskFailed():
                    self._results.put(event)
                case _:
                    self._post(event)

    def _enter_all(self, event: EverybodyJoined) -> None:
        self._registered = len(self._shards)
        if not self._devices.come_and_go:
            self._there = self._registered
            self._post(event)
            return
        for name in sorted(self._shards):
            self._enter(name)

    def _enter(self, name: str) -> None:
        """Let a site join if its device is there, and again and again when it comes back."""
        spans = self._devices.spans(name)
        span = next(span for span in spans if span.until > self._now)
        if span.until < inf:
            self._presence[name] = _Presence(spans, span)
            self._queue.add(span.until, _Rank.AVAILABILITY, name, partial(self._change, name))
        if span.there:
            self._there += 1
            self._post(CollaboratorJoined(name))

    def _change(self, name: str) -> Iterator[Event]:
        presence = self._presence[name]
        before, presence.span = presence.span, next(presence.spans)
        self._queue.add(presence.span.until, _Rank.AVAILABILITY, name, partial(self._change, name))
        if presence.span.there == before.there:
            return
        self._there += 1 if presence.span.there else -1
        if presence.span.there:
            self._effort.back(name, self._now)
            yield CollaboratorJoined(name)
            return
        work = self._works.get(self._doing[name]) if name in self._doing else None
        if work is not None:
            self._stop(work)
            self._effort.unavailable.add(name)
        self._effort.gone(name, self._now)
        yield CollaboratorLeft(name, AWAY)

    # ---- the time -------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now

    def start_timer(self, timer: str, after_s: float) -> None:
        """See `VirtualTime.start_timer`."""
        if timer not in self._timers:
            self._start(timer, self._now + after_s)

    def _start(self, timer: str, due: float) -> None:
        self._timers[timer] = due
        self._queue.add(due, _Rank.TIMER, timer, partial(self._fire, timer))

    def _fire(self, timer: str) -> Iterator[Event]:
        del self._timers[timer]
        yield TimerFired(timer)

    async def advance(self) -> None:
        """See `VirtualTime.advance`.

        Raises:
            InternalError: If nothing will ever happen.
        """
        begun = [work for assignment in self._new if (work := self._begin(assignment)) is not None]
        self._new.clear()
        asked = (work.assignment for work in begun if self._results.ask(_identity(work.assignment)))
        await self._inner.perform(*(SendAssignment(replace(each, deadline_s=None)) for each in asked))
        await self._results.all_there()
        for work in begun:
            self._plan_answer(work)
        if self._buffered:
            self._results.forget()
        while self._queue.entries:
            self._now, happening = self._queue.next()
            events = [event for happens in happening for event in happens()]
            if events:
                self._post(*events)
                return
        raise InternalError("no device of the simulation will ever do anything")

    # ---- the work -------------------------------------------------------------------------------------------------

    def _begin(self, assignment: Assignment) -> _DeviceWork | None:
        """Have a device begin; return the work if an answer may come of it, and is not known to be late."""
        name = assignment.collaborator
        self._open(assignment)
        presence = self._presence.get(name)
        if presence is not None and not presence.span.there:
            return None  # it left at the moment at which it was asked, and gets its work when it is back
        identity = self._doing[name] = _identity(assignment)
        began = self._began.pop(identity, self._now)
        profile = self._devices.profile(name, assignment.round, began)
        self._effort.begin(name, began, profile)
        if not self._devices.answers(name, assignment.round):
            self._effort.unavailable.add(name)
            self._fail_at(self._now, assignment, "its device is not available in this round")
            return None
        model = self._repository.path(assignment.model).stat().st_size if assignment.model else 0
        known = self._plain and assignment.phase is Phase.TRAIN
        counts = self._shards[name].schema.counts
        assignment = self._count.limited(assignment, counts, profile.speed)
        amount = self._count.amount(assignment, counts)
        course = Course.of(profile, amount, model, model if known else 0)
        work = self._works[identity] = _DeviceWork(assignment, began, course)
        return work if self._comes(work) else None

    def _open(self, assignment: Assignment) -> None:
        """Notice that a phase begins."""
        phase = (assignment.round, assignment.phase)
        beside = self._buffered and assignment.phase is Phase.TRAIN
        if phase == self._phase or beside:
            return
        if assignment.round != self._phase[0]:
            self._effort.away = self._registered - self._there
        self._phase, self._opened = phase, self._now
        self._results.forget()

    def _comes(self, work: _DeviceWork) -> bool:
        """Whether an answer comes, if the device stays; otherwise have happen what does."""
        assignment, course = work.assignment, work.course
        ends = {}
        limit_s = assignment.deadline_s
        if limit_s is not None and course.compute_s > limit_s:
            ends[course.computed_s - course.compute_s + limit_s] = _late, too_late(assignment)
        part = self._devices.failure(assignment.collaborator, assignment.round, assignment.phase, work.began)
        if part is not None:
            ends[part * course.length_s] = _failed, _simulated(assignment, "its device failed")
        if ends:
            first = min(ends)
            self._end(work, first, *ends[first])
        return not ends and not self._past_deadline(work)

    def _past_deadline(self, work: _DeviceWork) -> bool:
        """Whether the phase is over before the answer comes; then nothing happens, but that it is withdrawn."""
        never = (Phase.INITIALISE, Phase.TRAIN) if self._buffered else (Phase.INITIALISE,)
        limited = self._round_s is not None and work.assignment.phase not in never
        return limited and work.began + work.course.length_s > self._opened + (self._round_s or 0)

    def _plan_answer(self, work: _DeviceWork) -> None:
        """Have an answer come at its time: what comes of the work is known now, and how large it is."""
        assignment = work.assignment
        identity = _identity(assignment)
        result = self._results.of[identity]
        if self._works.get(identity) is not work:
            return
        if isinstance(result, TaskFailed):
            self._end(work, work.course.computed_s, _failed, result)
            return
        answer = UpdateCommitted(replace(result.update, duration_s=work.course.compute_s))
        sized = self._sized(work)
        self._works[identity] = sized
        if not self._past_deadline(sized):
            profile = self._devices.profile(assignment.collaborator, assignment.round, work.began)
            energy_j = sized.course.effort(sized.course.length_s).energy_j(profile)
            self._end(sized, sized.course.length_s, None, replace(answer, energy_j=energy_j))

    def _sized(self, work: _DeviceWork) -> _DeviceWork:
        """Return the work with the way of its update, where only the file says how large that is."""
        assignment, file = work.assignment, self._repository.spool_path(work.assignment)
        if not assignment.phase.returns_model or (self._plain and assignment.phase is Phase.TRAIN):
            return work
        profile = self._devices.profile(assignment.collaborator, assignment.round, work.began)
        upload_s = file.stat().st_size / profile.up_bytes_per_s
        return replace(work, course=replace(work.course, upload_s=upload_s))

    def _fail_at(self, when: float, assignment: Assignment, text: str) -> None:
        event = _simulated(assignment, text)
        self._queue.add(when, _Rank.ANSWER, assignment.collaborator, lambda: [event])

    def _end(self, work: _DeviceWork, after_s: float, kind: _Kind | None, event: _Result) -> None:
        """Have a work end with an event, unless it is stopped before; the device is then one of this kind."""

        def end() -> Iterator[Event]:
            if self._works.get(_identity(work.assignment)) is work:
                self._stop(work)
                if kind is not None:
                    kind(self._effort).add(work.assignment.collaborator)
                yield event

        self._queue.add(work.began + after_s, _Rank.ANSWER, work.assignment.collaborator, end)

    def _withdraw(self, command: WithdrawAssignment) -> None:
        identity = (command.round, command.phase, command.collaborator)
        self._new = [assignment for assignment in self._new if _identity(assignment) != identity]
        work = self._works.get(identity)
        if work is not None:
            self._stop(work)
            self._effort.late.add(command.collaborator)

    def _stop(self, work: _DeviceWork) -> None:
        """Count what a device has done by now."""
        name = work.assignment.collaborator
        del self._works[_identity(work.assignment)]
        self._effort.add(name, work.course.effort(self._now - work.began))

    # ---- what is told ---------------------------------------------------------------------------------------------

    def tell(self, commands: Iterable[Command]) -> Iterator[Command]:
        """Yield the commands of a step; before a round ends, tell what it has asked of the devices."""
        for command in commands:
            told = command.announcement if isinstance(command, Announce) else None
            if self._buffered and isinstance(command, WithdrawAssignment):
                self._withdraw(command)  # what it has cost is of the round that ends with this very step
            if isinstance(told, RoundFinished):
                self._last = told.round
            if isinstance(told, RoundFinished | ExperimentEnded) and self._effort:
                yield Announce(self._settle(ended=isinstance(told, ExperimentEnded)))
            yield command

    def _settle(self, *, ended: bool) -> DevicesWorked:
        if self._buffered and not ended:
            return self._settle_version()
        for work in list(self._works.values()):  # they are withdrawn with this very step
            self._stop(work)
            self._effort.late.add(work.assignment.collaborator)
        effort, self._effort = self._effort, RoundEffort()
        return effort.told(self._last + 1 if self._buffered else self._phase[0], self._now)

    def _settle_version(self) -> DevicesWorked:
        """Tell what is done; of those that are at work on something, what they had done before that."""
        running = {work.assignment.collaborator: work for work in self._works.values()}
        effort, self._effort = self._effort, RoundEffort()
        for name in sorted(running):
            self._effort.begin(name, running[name].began, effort.devices[name].profile)
        return effort.told(self._last, self._now, {name: work.began for name, work in running.items()})


def _identity(work: Assignment | Update | TaskFailed) -> _Identity:
    return work.round, work.phase, work.collaborator


def _simulated(assignment: Assignment, text: str) -> TaskFailed:
    failure = Failure(FailureKind.SIMULATED, text)
    return TaskFailed(assignment.round, assignment.phase, assignment.collaborator, failure)


def _late(effort: RoundEffort) -> set[str]:
    return effort.late


def _failed(effort: RoundEffort) -> set[str]:
    return effort.failed


def _unheard(*_: Event) -> None:
    """Take what happens before anybody listens."""
