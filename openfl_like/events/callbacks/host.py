"""The callbacks of an experiment, seen from its process: started, fed with its events, ended."""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.events.bus import MOST_AT_ONCE, EventBus
from openfl_like.events.callbacks.base import FolderUse, folder_use
from openfl_like.events.callbacks.orders import (
    CallbackAnswer,
    CallbackOrder,
    CodeOfCallbacks,
    answer_from,
    batch_lines,
    order_line,
)
from openfl_like.federation.announcements import Announced, ExperimentBegun, ExperimentEnded
from openfl_like.federation.callback_end import CallbackEnd, CallbackEnded
from openfl_like.plan.section import Component
from openfl_like.processes.child import Child, describe_exit, spawn
from openfl_like.processes.usage import MOST_THREADS, maps_removed, thread_count, unnamed_bytes
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)
COMMAND = (sys.executable, "-P", "-B", "-m", "openfl_like.events.callbacks.child")
TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class CallbackLimits:
    """What a callback may take.

    Attributes:
        most_bytes: So many bytes its files may have in all.
        silent_s: So long it may work on what it was given at once; its imports are part of the first time.
        finish_s: So long after the end of the experiment callbacks may write.
        pause_s: So long it rests between two batches, unless more waits than one may have.
    """

    most_bytes: int = 256 << 20
    silent_s: float = 60.0
    finish_s: float = 30.0
    pause_s: float = 0.5


USUAL_LIMITS = CallbackLimits()


@dataclass(frozen=True, slots=True)
class CallbackPlace:
    """Where callbacks read and write.

    Attributes:
        experiment: The directory of the experiment's record.
        results: Where each has a folder.
        code: Where those are that the workspace brings; None: nobody may bring any.
    """

    experiment: Path
    results: Path
    code: CodeOfCallbacks | None = None


def folder_names(callbacks: Sequence[Component]) -> list[str]:
    """Return the name of each callback's folder: its template, and from the second one on with a number.

    One of the workspace, which has a ``module:attr``, is called by its attribute.
    """
    seen: Counter[str] = Counter()
    names = []
    for callback in callbacks:
        name = callback.template.rpartition(":")[2]
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names


@dataclass(slots=True)
class CallbackHost:
    """Runs callbacks, each in a process of its own, and never waits for them while the experiment runs.

    Every one is told the history from the first event on, in batches of which the next is sent when the last is
    answered: what waits is in the record, not in memory.

    Args:
        callbacks: Those of the plan.
        place: Where they read and write.
        bus: Gives the events.
        epoch: That of the experiment's process: the end of an experiment that began with it is the last event for them.
        tell: Is told of each one that was ended.
        limits: What each may take.
        command: What starts a process.
    """

    callbacks: Sequence[Component]
    place: CallbackPlace
    bus: EventBus
    epoch: int
    tell: Callable[[CallbackEnded], None]
    limits: CallbackLimits = USUAL_LIMITS
    command: Sequence[str] = COMMAND
    ended: list[CallbackEnded] = field(default_factory=list)
    _tasks: TaskOwner = field(default_factory=TaskOwner)
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def start(self) -> None:
        """Start them, and go on at once."""
        for name, callback in zip(folder_names(self.callbacks), self.callbacks, strict=True):
            self._running[name] = self._tasks.start(self._run(name, callback))

    async def finish(self) -> None:
        """Wait until all have written what there is to write, or their time is over."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running.values(), timeout=self.limits.finish_s)
        names = [name for name, task in self._running.items() if task in late]
        await self.close()
        for name in names:
            told = f"it had not written everything {self.limits.finish_s:g} s after the end"
            self._note(CallbackEnded(name, CallbackEnd.SILENT, told))

    async def close(self) -> None:
        """End those that run."""
        await self._tasks.close()

    def _note(self, ended: CallbackEnded) -> None:
        log.info("the callback '%s' was ended (%s): %s", ended.callback, ended.end.value, ended.message)
        self.ended.append(ended)
        self.tell(ended)

    async def _run(self, name: str, callback: Component) -> None:
        directory = self.place.results / name
        try:
            child = await spawn(self.command, on_line=lambda line: log.info("callback %s: %s", name, line))
        except OSError as error:
            self._note(CallbackEnded(name, CallbackEnd.DIED, f"it could not be started: {error.strerror or error}"))
            return
        order = CallbackOrder(
            callback.template,
            dict(callback.settings),
            str(directory),
            str(self.place.experiment),
            self.limits.most_bytes,
            self.place.code if ":" in callback.template else None,
        )
        try:
            last = await self._feed(child, order)
        finally:
            await child.stop(grace_s=0.0)
        if last.end is not None:
            self._note(CallbackEnded(name, last.end, last.message))

    async def _feed(self, child: Child, order: CallbackOrder) -> CallbackAnswer:
        """Send everything, and return the last answer."""
        assert child.process.stdin is not None  # noqa: S101 (always piped)
        child.process.stdin.write(order_line(order))
        begun, ended = False, False
        async for events in self.bus.batches(0):
            child.process.stdin.write(batch_lines(events, more=len(events) == MOST_AT_ONCE))
            answer = await self._answer(child, order)
            if answer.end is not None:
                return answer
            for event in events:
                begun = begun or self._begins(event)
                ended = ended or (begun and isinstance(event.announcement, ExperimentEnded))
            if (ended or len(events) < MOST_AT_ONCE) and (full := await self._look(child, order)):
                return full
            if ended:
                break
            if len(events) < MOST_AT_ONCE:
                await asyncio.sleep(self.limits.pause_s)
        child.process.stdin.close()
        return await self._answer(child, order)

    def _begins(self, event: Announced) -> bool:
        return isinstance(event.announcement, ExperimentBegun) and event.announcement.epoch == self.epoch

    async def _answer(self, child: Child, order: CallbackOrder) -> CallbackAnswer:
        """Wait for an answer, and look meanwhile whether the callback takes too much."""
        waiting = self._tasks.start(child.line())
        try:
            for _ in range(max(1, round(self.limits.silent_s / TICK_S))):  # one long turn of the loop is one tick
                await asyncio.wait({waiting}, timeout=TICK_S)
                if waiting.done():
                    return await self._read(child, waiting.result())
                if full := await self._look(child, order):
                    return full
        finally:
            waiting.cancel()
        return CallbackAnswer(CallbackEnd.SILENT, f"it did not answer for {self.limits.silent_s:g} s")

    async def _look(self, child: Child, order: CallbackOrder) -> CallbackAnswer | None:
        excess = await asyncio.to_thread(_excess, child.process.pid, order)
        return CallbackAnswer(CallbackEnd.FULL, excess) if excess else None

    async def _read(self, child: Child, line: str) -> CallbackAnswer:
        try:
            return answer_from(line)
        except ValueError:
            how = describe_exit(await child.stop(grace_s=0.0))
            last = child.last_line()
            return CallbackAnswer(CallbackEnd.DIED, how + (f"; last line: {last}" if last else ""))


def _excess(pid: int, order: CallbackOrder) -> str:
    """Say what a callback takes beyond its limits, seen or unseen; empty if nothing."""
    folder, confined = Path(order.directory), order.code is not None and order.code.confined
    used = folder_use(folder)
    held = FolderUse(used.size_bytes + unnamed_bytes(pid), used.entries)
    if excess := held.excess(order.most_bytes):
        return excess
    if maps_removed(pid, folder):
        return "it has files in its memory that it has removed, so that nobody sees how large they are"
    count = thread_count(pid) if confined else 0
    return f"it has {count} threads, {MOST_THREADS} are the most" if count > MOST_THREADS else ""
