"""Simulation in this process: the models of many sites trained at once; what cannot be is done as ``local`` does it."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

from openfl_like.federation.events import SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind
from openfl_like.federation.task import Assignment, Phase
from openfl_like.frameworks.batched.obstacles import NotBatched
from openfl_like.frameworks.batched.performer import BatchOutcome, BatchPerformer
from openfl_like.frameworks.batched.trial import SiteUpdate
from openfl_like.runtimes.local import LOADING_S, WRITING_S, LocalRuntime, failed, in_time, local_runtime, too_late
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.sites import SimulatedSites
from openfl_like.runtimes.updates_in_memory import MOST_BYTES
from openfl_like.tasks import SerialThread, TaskOwner, background

_Events: TypeAlias = list[UpdateCommitted | TaskFailed]

_OF_ONE_MODEL = frozenset({Phase.TRAIN, Phase.EVALUATE})


class BatchedRuntime:
    """Gives the assignments of a phase to a performer of batches as a whole, and to another runtime what it leaves.

    Withdrawn assignments are performed, and their results ignored by the experiment, as in ``local``. A batch may take
    as long as its sites may take one after the other; then all of them are late.

    Args:
        performer: Makes batches.
        alone: Performs one assignment after the other.
        repository: Where models are found and updates go.
        tell: Is told once of each reason why sites work alone.
        loading_s: What the first batch may take besides the deadlines of its sites, to load models and data.
        writing_s: What later ones may take besides.
    """

    def __init__(
        self,
        performer: BatchPerformer,
        alone: LocalRuntime,
        repository: ModelRepository,
        tell: Callable[[NotBatched], None],
        *,
        loading_s: float = LOADING_S,
        writing_s: float = WRITING_S,
    ) -> None:
        self._performer = performer
        self._alone = alone
        self._repository = repository
        self._tell = tell
        self._loading_s, self._writing_s = loading_s, writing_s
        self._late: asyncio.Future[tuple[BatchOutcome, _Events]] | None = None
        self._told: set[NotBatched] = set()
        self._batches = False
        self._frozen = False
        self._orders: asyncio.Queue[tuple[Assignment, ...]] = asyncio.Queue()

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """See `loop.Runtime`; raises what `LocalRuntime.running` raises."""
        tasks, thread = TaskOwner(), SerialThread("batches of sites")
        try:
            async with self._alone.running(post):
                reason = await thread.run(self._performer.obstacle)
                self._batches = reason is None
                self._say([] if reason is None else [reason])
                async with background(self._work(tasks, thread, post)):
                    yield
                await tasks.close()
        finally:
            if self._frozen:
                gc.unfreeze()
            await tasks.close()
            thread.close()

    async def perform(self, *commands: Outward) -> None:
        """Take the assignments of a phase as a whole.

        What makes the initial model is one site's work; to score updates every site has another model.
        """
        others: list[Outward] = []
        orders: list[Assignment] = []
        for command in commands:
            if not isinstance(command, SendAssignment):
                continue
            if self._batches and command.assignment.phase in _OF_ONE_MODEL:
                orders.append(command.assignment)
            else:
                others.append(command)
        if others:
            await self._alone.perform(*others)
        for group in _alike(orders):
            self._orders.put_nowait(group)

    async def _work(self, tasks: TaskOwner, thread: SerialThread, post: Post) -> None:
        while True:
            waiting: Sequence[Assignment] = await self._orders.get()
            if not await self._thread_is_free(waiting):
                post(*(failed(assignment, _held_up(assignment)) for assignment in waiting))
                continue
            alone: list[Assignment] = []
            while waiting:
                performing = tasks.start(thread.run(partial(self._perform, waiting)))
                done, _ = await asyncio.wait({performing}, timeout=self._patience_s(waiting))
                if not done:
                    self._late = performing
                    post(*(too_late(assignment) for assignment in waiting))
                    break
                self._freeze()
                outcome, events = performing.result()
                self._say(outcome.reasons)
                if events:
                    post(*events)
                alone += outcome.alone
                waiting = outcome.rest
            if alone:  # after the batches: code of a workspace runs in one thread at a time
                await self._alone.perform(*map(SendAssignment, alone))

    async def _thread_is_free(self, waiting: Sequence[Assignment]) -> bool:
        """Wait for a batch that is over its time; for as long as the next one may take, since that waits meanwhile."""
        if self._late is None or self._late.done():
            return True
        done, _ = await asyncio.wait({self._late}, timeout=_deadlines_s(waiting))
        return bool(done)

    def _patience_s(self, waiting: Sequence[Assignment]) -> float | None:
        """How long to wait for a batch: as long as all its sites may take one after the other; None: for ever."""
        deadlines_s = _deadlines_s(waiting)
        besides_s = self._writing_s if self._performer.has_data_of(waiting) else self._loading_s
        return None if deadlines_s is None else deadlines_s + besides_s

    def _freeze(self) -> None:
        """Set aside what is there after the first batch: to look through it for garbage takes as long as ten rounds."""
        if not self._frozen:
            self._frozen = True
            gc.freeze()

    def _perform(self, waiting: Sequence[Assignment]) -> tuple[BatchOutcome, _Events]:
        """Perform a batch, and hand its updates over; in the thread."""
        try:
            model = self._repository.opened(waiting[0].model)
            outcome = self._performer.perform(waiting, model)
        except Exception as error:  # noqa: BLE001 (the edge of the sites: any failure becomes its reason, or all would wait)
            return BatchOutcome(), [failed(assignment, error) for assignment in waiting]
        by_site = {assignment.collaborator: assignment for assignment in waiting}
        small = model.size_bytes <= MOST_BYTES
        events = [self._hand_over(by_site[done.update.collaborator], done, small=small) for done in outcome.updates]
        return outcome, events

    def _hand_over(self, assignment: Assignment, done: SiteUpdate, *, small: bool) -> UpdateCommitted | TaskFailed:
        try:
            if done.content is not None and small:
                self._repository.in_memory.keep(done.update, done.content)
            elif done.content is not None:
                done.content.write(self._repository.spool_path(assignment))
            return in_time(assignment, done.update)
        except Exception as error:  # noqa: BLE001 (as above)
            return failed(assignment, error)

    def _say(self, reasons: Iterable[NotBatched]) -> None:
        for reason in reasons:
            if reason not in self._told:
                self._told.add(reason)
                self._tell(reason)


def _alike(orders: Iterable[Assignment]) -> Iterable[tuple[Assignment, ...]]:
    """Put together what differs in nothing but site and seed; no site is twice in a group."""
    groups: list[dict[str, Assignment]] = []
    firsts: list[Assignment] = []
    for order in orders:
        for first, group in zip(firsts, groups, strict=True):
            if _asks_the_same(first, order) and order.collaborator not in group:
                group[order.collaborator] = order
                break
        else:
            firsts.append(order)
            groups.append({order.collaborator: order})
    return (tuple(group.values()) for group in groups)


def _asks_the_same(one: Assignment, other: Assignment) -> bool:
    alike = (one.round, one.phase, one.model) == (other.round, other.phase, other.model)
    return alike and (one.tasks is other.tasks or one.tasks == other.tasks)


def _deadlines_s(waiting: Iterable[Assignment]) -> float | None:
    """Add up how long sites may take; None if one of them may take as long as it likes."""
    deadlines = [assignment.deadline_s for assignment in waiting]
    return None if None in deadlines else sum(deadline for deadline in deadlines if deadline is not None)


def _held_up(assignment: Assignment) -> FailedTaskError:
    """What an assignment fails with whose turn does not come."""
    text = "a batch of sites does not end, and all sites work in one process (--runtime process has several)"
    step = f"waiting for its turn in round {assignment.round}"
    return FailedTaskError(text, Failure(FailureKind.WORKER, text, step=step))


def batched_runtime(sites: SimulatedSites, repository: ModelRepository) -> BatchedRuntime:
    """Return the runtime ``batched`` for the sites of a simulation: many models at once, in this process."""
    performer = BatchPerformer(sites.plan, sites.shards, sites.workspace, sites.device)
    return BatchedRuntime(performer, local_runtime(sites, repository), repository, sites.tell)
