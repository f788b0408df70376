"""Workers for any site: what they are given at once, who is to blame when one is lost, and what they answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from openfl_like.federation.events import Event, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.task import Assignment, Phase
from openfl_like.processes.batch import Answer, Batch, Setting, SiteOrder
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.pool import MOST_AT_ONCE, PoolRuntime, WorkerLostError
from openfl_like.tensors.memory import TensorMemory

SITES = tuple(f"site-{number:03d}" for number in range(200))
MODEL = TensorMemory.of({"weights": np.zeros(3, np.float32)})


def trained(order: SiteOrder, digest: str = MODEL.manifest.digest, content: bytes | None = MODEL.to_bytes()) -> Answer:
    """What a worker says that has done an order."""
    if order.assignment is None:
        return Answer({"ready": {}})
    work = order.assignment
    told = {"round": work.round, "phase": work.phase, "collaborator": work.collaborator, "digest": digest}
    return Answer({"update": {**told, "num_samples": 1}}, content)


@dataclass
class FakeWorkers:
    """Workers that do as a test says, and note what they were given."""

    count: int = 2
    does: Callable[[SiteOrder], Answer] = trained
    given: list[tuple[int, list[str]]] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        yield self.count

    async def answers(self, worker: int, batch: Batch, limit_s: float | None) -> Sequence[Answer]:  # noqa: ARG002 (a test says itself what is late)
        assert worker not in self.busy
        self.busy.add(worker)
        try:
            if any(order.assignment for order in batch.orders):
                self.given.append((worker, [order.site for order in batch.orders]))
            await asyncio.sleep(0)  # the other workers have their turn
            return [self.does(order) for order in batch.orders]
        finally:
            self.busy.discard(worker)


class Told:
    """What the runtime posts of the sites' work."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[UpdateCommitted | TaskFailed] = asyncio.Queue()

    def post(self, *events: Event) -> None:
        for event in events:
            if isinstance(event, UpdateCommitted | TaskFailed):
                self._events.put_nowait(event)

    async def of(self, count: int) -> dict[str, UpdateCommitted | TaskFailed]:
        """Wait for what became of so many sites."""
        found: dict[str, UpdateCommitted | TaskFailed] = {}
        async with asyncio.timeout(10):
            for _ in range(count):
                event = await self._events.get()
                site = event.update.collaborator if isinstance(event, UpdateCommitted) else event.collaborator
                assert site not in found
                found[site] = event
        return found


def train(site: str, number: int = 1, deadline_s: float | None = None) -> SendAssignment:
    return SendAssignment(Assignment(number, Phase.TRAIN, site, (), "", 7, deadline_s))


@asynccontextmanager
async def pool(repository: ModelRepository, workers: FakeWorkers) -> AsyncIterator[tuple[PoolRuntime, Told]]:
    told = Told()
    runtime = PoolRuntime(SITES, lambda _: "", Setting("", "", "", "cpu"), repository, workers)
    async with runtime.running(told.post):
        yield runtime, told


async def test_the_first_is_given_alone_and_small_ones_then_many_at_once(repository: ModelRepository) -> None:
    workers = FakeWorkers()
    async with pool(repository, workers) as (runtime, told):
        await runtime.perform(*map(train, SITES))
        await told.of(len(SITES))
    sizes = [len(sites) for _, sites in workers.given]
    assert sizes[:2] == [1, 1]
    assert 1 < max(sizes) <= MOST_AT_ONCE
    assert sizes[-1] == 1  # fewer at the end, so that all are busy until then


async def test_a_site_is_worked_for_by_the_worker_that_knows_it(repository: ModelRepository) -> None:
    workers = FakeWorkers(count=3)
    async with pool(repository, workers) as (runtime, told):
        await runtime.perform(*map(train, SITES))
        await told.of(len(SITES))
        first = {site: worker for worker, sites in workers.given for site in sites}
        workers.given.clear()
        await runtime.perform(*(train(site, 2) for site in SITES))
        await told.of(len(SITES))
    again = {site: worker for worker, sites in workers.given for site in sites}
    assert sum(first[site] == again[site] for site in SITES) > 0.8 * len(SITES)


async def test_of_several_only_the_one_that_ends_workers_fails(repository: ModelRepository) -> None:
    def does(order: SiteOrder) -> Answer:
        if order.assignment is not None and order.site == "site-150":
            raise WorkerLostError("killed")
        return trained(order)

    async with pool(repository, FakeWorkers(does=does)) as (runtime, told):
        await runtime.perform(*map(train, SITES))
        events = await told.of(len(SITES))
    failed = [site for site, event in events.items() if isinstance(event, TaskFailed)]
    assert failed == ["site-150"]
    event = events["site-150"]
    assert isinstance(event, TaskFailed)
    assert (event.failure.kind, event.failure.message) == (FailureKind.WORKER, "killed; it ended 4 times in a row")


async def test_a_task_that_ends_its_workers_is_tried_four_times_and_no_more(repository: ModelRepository) -> None:
    def does(order: SiteOrder) -> Answer:
        if order.assignment is not None:
            raise WorkerLostError("killed")
        return trained(order)

    workers = FakeWorkers(does=does)
    async with pool(repository, workers) as (runtime, told):
        await runtime.perform(train("site-000"))
        assert isinstance((await told.of(1))["site-000"], TaskFailed)
    assert [sites for _, sites in workers.given] == [["site-000"]] * 4


async def test_of_several_only_the_one_that_takes_too_long_fails(repository: ModelRepository) -> None:
    def does(order: SiteOrder) -> Answer:
        if order.assignment is not None and order.site == "site-150":
            raise TimeoutError
        return trained(order)

    async with pool(repository, FakeWorkers(does=does)) as (runtime, told):
        await runtime.perform(*(train(site, deadline_s=5.0) for site in SITES))
        events = await told.of(len(SITES))
    late = [event.failure.kind for event in events.values() if isinstance(event, TaskFailed)]
    assert late == [FailureKind.DEADLINE]


async def test_small_updates_are_kept_in_memory(repository: ModelRepository) -> None:
    async with pool(repository, FakeWorkers()) as (runtime, told):
        await runtime.perform(train("site-000"))
        event = (await told.of(1))["site-000"]
    assert isinstance(event, UpdateCommitted)
    kept = repository.in_memory.find(event.update)
    assert kept is not None
    assert kept.to_bytes() == MODEL.to_bytes()


@pytest.mark.parametrize(
    ("digest", "content", "says"),
    [
        ("ab" * 32, MODEL.to_bytes(), "is not what the worker says of it"),
        (MODEL.manifest.digest, b"no model", "the header claims"),
        (MODEL.manifest.digest, b"", "at least 8 bytes"),
    ],
)
async def test_an_update_that_is_not_what_was_said_is_the_site_s_failure(
    repository: ModelRepository, digest: str, content: bytes, says: str
) -> None:
    workers = FakeWorkers(does=lambda order: trained(order, digest, content))
    async with pool(repository, workers) as (runtime, told):
        await runtime.perform(train("site-000"))
        event = (await told.of(1))["site-000"]
    assert isinstance(event, TaskFailed)
    assert says in event.failure.message


async def test_an_answer_to_something_else_is_the_site_s_failure(repository: ModelRepository) -> None:
    def does(order: SiteOrder) -> Answer:
        answer = trained(order)
        told = {name: {**value, "collaborator": "zug"} for name, value in answer.told.items() if value}
        return Answer(told or answer.told)

    async with pool(repository, FakeWorkers(does=does)) as (runtime, told):
        await runtime.perform(train("site-000"))
        assert isinstance((await told.of(1))["site-000"], TaskFailed)
