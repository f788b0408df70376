"""The runtime of batches around what performs them: time that is over, orders that go together, failures of ours."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import pytest

from openfl_like.federation.events import Event, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.task import Assignment, Phase, TaskCall, Update
from openfl_like.frameworks.batched.obstacles import NotBatched, Obstacle
from openfl_like.frameworks.batched.performer import BatchOutcome, BatchPerformer
from openfl_like.frameworks.batched.trial import SiteUpdate
from openfl_like.runtimes.batched import BatchedRuntime
from openfl_like.runtimes.local import LocalRuntime
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.models import ModelRepository
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import TensorFile, write_tensors

REASON = NotBatched(Obstacle.TASKS, "it is another task", Phase.EVALUATE)


@dataclass
class Batches:
    """Performs batches of two at once; hangs in round 2 until the test ends, and leaves evaluations to others."""

    released: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def obstacle(self) -> NotBatched | None:
        return None

    def has_data_of(self, assignments: Iterable[Assignment]) -> bool:
        """Those who have worked before."""
        return {one.collaborator for one in assignments} <= {name for batch in self.asked for name in batch}

    def perform(self, assignments: Sequence[Assignment], _model: TensorFile) -> BatchOutcome:
        self.asked.append(tuple(one.collaborator for one in assignments))
        if assignments[0].phase is Phase.EVALUATE:
            return BatchOutcome(alone=list(assignments), reasons=[REASON])
        if assignments[0].round == 2:
            self.released.wait()
        if assignments[0].round == 9:
            raise ZeroDivisionError
        updates = [Update(one.round, one.phase, one.collaborator, "", 1, duration_s=0.01) for one in assignments[:2]]
        return BatchOutcome([SiteUpdate(update, None) for update in updates], rest=list(assignments[2:]))


@dataclass
class Alone:
    """Stands for the runtime that performs one assignment after the other."""

    given: list[Outward] = field(default_factory=list)

    @asynccontextmanager
    async def running(self, _post: Post) -> AsyncIterator[None]:
        yield

    async def perform(self, *commands: Outward) -> None:
        self.given += commands


class Loop:
    """Takes what the runtime posts, and what it tells."""

    def __init__(self) -> None:
        self.come: asyncio.Queue[tuple[Event, ...]] = asyncio.Queue()
        self.told: list[NotBatched] = []

    def post(self, *events: Event) -> None:
        self.come.put_nowait(events)

    async def next(self) -> tuple[Event, ...]:
        return await asyncio.wait_for(self.come.get(), 20)


@pytest.fixture
def batches() -> Iterator[Batches]:
    made = Batches()
    yield made
    made.released.set()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def alone() -> Alone:
    return Alone()


@pytest.fixture
def runtime(
    batches: Batches, alone: Alone, loop: Loop, repository: ModelRepository, files: ExperimentFiles
) -> BatchedRuntime:
    digest = write_tensors(files.model(0), {"weights": np.zeros(2, np.float32)}, sync=False).digest
    repository.put(digest, 0)
    object.__setattr__(loop, "model", digest)
    performer, other = cast("BatchPerformer", batches), cast("LocalRuntime", alone)
    return BatchedRuntime(performer, other, repository, loop.told.append, loading_s=0.05, writing_s=0.01)


def orders(loop: Loop, number: int, *sites: str, phase: Phase = Phase.TRAIN) -> list[SendAssignment]:
    task = TaskCall("train", "train", trains=True)
    model = str(vars(loop)["model"])
    return [SendAssignment(Assignment(number, phase, site, (task,), model, 0, 0.1)) for site in sites]


async def test_a_phase_is_one_order_and_the_rest_of_it_the_next(
    runtime: BatchedRuntime, batches: Batches, loop: Loop
) -> None:
    async with runtime.running(loop.post):
        await runtime.perform(*orders(loop, 1, "a", "b", "c"))
        assert [len(await loop.next()), len(await loop.next())] == [2, 1]
    assert batches.asked == [("a", "b", "c"), ("c",)]


async def test_what_asks_for_something_else_or_of_a_site_again_is_another_batch(
    runtime: BatchedRuntime, batches: Batches, loop: Loop
) -> None:
    (first, second, third) = orders(loop, 1, "a", "b", "a")
    other = replace(second.assignment, tasks=(TaskCall("train", "train", {"epochs": 2}, trains=True),))
    async with runtime.running(loop.post):
        await runtime.perform(first, SendAssignment(other), third)
        for _ in range(3):
            await loop.next()
    assert sorted(batches.asked) == [("a",), ("a",), ("b",)]


async def test_the_initial_model_and_what_is_left_go_to_the_other_runtime_and_why_is_told_once(
    runtime: BatchedRuntime, alone: Alone, loop: Loop
) -> None:
    initial = SendAssignment(Assignment(0, Phase.INITIALISE, "a", (), "", 7))
    async with runtime.running(loop.post):
        await runtime.perform(initial)
        assert alone.given == [initial]
        for number in (1, 3):
            await runtime.perform(*orders(loop, number, "a", "b", phase=Phase.EVALUATE), *orders(loop, number, "c"))
            await loop.next()  # of c, which comes after them
    evaluations = [order for number in (1, 3) for order in orders(loop, number, "a", "b", phase=Phase.EVALUATE)]
    assert alone.given == [initial, *evaluations]
    assert loop.told == [REASON]


async def test_a_batch_that_does_not_end_is_late_and_what_waits_for_it_is_told_so(
    runtime: BatchedRuntime, batches: Batches, loop: Loop
) -> None:
    async with runtime.running(loop.post):
        await runtime.perform(*orders(loop, 2, "a", "b"))
        late = await loop.next()
        await runtime.perform(*orders(loop, 3, "c"))
        held_up = await loop.next()
        batches.released.set()
        await runtime.perform(*orders(loop, 4, "d"))
        done = await loop.next()
    assert [cast("TaskFailed", event).failure.kind for event in (*late, *held_up)] == [
        FailureKind.DEADLINE,
        FailureKind.DEADLINE,
        FailureKind.WORKER,
    ]
    assert "a batch of sites does not end" in cast("TaskFailed", held_up[0]).failure.message
    assert isinstance(done[0], UpdateCommitted)


async def test_a_defect_of_ours_is_a_failure_of_each_site(runtime: BatchedRuntime, loop: Loop) -> None:
    async with runtime.running(loop.post):
        await runtime.perform(*orders(loop, 9, "a", "b"))
        failed = await loop.next()
        await runtime.perform(*orders(loop, 10, "a"))
        assert isinstance((await loop.next())[0], UpdateCommitted)
    assert [cast("TaskFailed", event).collaborator for event in failed] == ["a", "b"]
