"""Simulation in this process, where a task does not end."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb

import pytest

from openfl_like.federation.events import Event, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.runtimes.local import LocalRuntime
from openfl_like.runtimes.models import ModelRepository


class Endless:
    """Hangs in its second round, until the test ends."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def perform(self, assignment: Assignment, _model: Path | None, _out: Path) -> Update:
        if assignment.round == 2:
            self.released.wait()
        return Update(assignment.round, assignment.phase, assignment.collaborator, "d", 1)


@pytest.fixture
def endless() -> Iterator[Endless]:
    performer = Endless()
    yield performer
    performer.released.set()


def train(site: str, number: int, deadline_s: float | None = 0.01) -> SendAssignment:
    return SendAssignment(Assignment(number, Phase.TRAIN, site, (), "", 0, deadline_s))


async def test_a_task_that_does_not_end_fails_by_its_deadline_and_holds_up_nobody_without_a_word(
    endless: Endless, repository: ModelRepository
) -> None:
    told: asyncio.Queue[Event] = asyncio.Queue()
    runtime = LocalRuntime(("bern", "zurich"), lambda _: endless, repository, writing_s=0.01)

    async def next_answer() -> Event:
        return await asyncio.wait_for(told.get(), 10)

    def post(*events: Event) -> None:
        for event in events:
            told.put_nowait(event)

    async with runtime.running(post):
        await next_answer()  # all have joined
        await runtime.perform(train("bern", 1), train("bern", 2), train("zurich", 2))
        assert isinstance(await next_answer(), UpdateCommitted)
        late, held_up = await next_answer(), await next_answer()
    assert isinstance(late, TaskFailed)
    assert isinstance(held_up, TaskFailed)
    assert (late.collaborator, late.failure.kind) == ("bern", FailureKind.DEADLINE)
    assert (held_up.collaborator, held_up.failure.kind) == ("zurich", FailureKind.WORKER)
    assert "the task of site 'bern' in round 2 does not end" in held_up.failure.message


async def test_a_task_that_ends_late_holds_up_nobody_any_more(endless: Endless, repository: ModelRepository) -> None:
    told: asyncio.Queue[Event] = asyncio.Queue()
    runtime = LocalRuntime(("bern", "zurich"), lambda _: endless, repository, writing_s=0.01)

    def post(*events: Event) -> None:
        for event in events:
            told.put_nowait(event)

    async with runtime.running(post):
        await told.get()  # all have joined
        await runtime.perform(train("bern", 1), train("bern", 2), train("zurich", 3, deadline_s=30))
        assert isinstance(await told.get(), UpdateCommitted)
        late = await told.get()
        assert isinstance(late, TaskFailed)
        endless.released.set()
        after = await asyncio.wait_for(told.get(), 10)
    assert isinstance(after, UpdateCommitted)
    assert (after.update.collaborator, after.update.round) == ("zurich", 3)


class Raising:
    """Raises in its second round, and takes longer than any deadline before."""

    def perform(self, assignment: Assignment, _model: Path | None, _out: Path) -> Update:
        if assignment.round == 2:
            raise ValueError("no such column")
        return Update(assignment.round, assignment.phase, assignment.collaborator, "d", 1, duration_s=99.0)


async def test_what_goes_wrong_is_examined_where_it_went_wrong_and_nothing_is_late(repository: ModelRepository) -> None:
    told, seen = asyncio.Queue[Event](), list[str]()

    def examine(site: str, error: Exception) -> None:
        assert error.__traceback__ is not None
        frames = [frame.f_code.co_name for frame, _ in walk_tb(error.__traceback__)]
        seen.append(f"{site}: {error} in {frames[-1]}")

    def post(*events: Event) -> None:
        for event in events:
            told.put_nowait(event)

    runtime = LocalRuntime(("bern",), lambda _: Raising(), repository, examine=examine)
    async with runtime.running(post), asyncio.timeout(10):
        await told.get()
        await runtime.perform(train("bern", 1), train("bern", 2))
        assert isinstance(await told.get(), UpdateCommitted)
        assert isinstance(await told.get(), TaskFailed)
    assert seen == ["bern: no such column in perform"]


async def test_a_workspace_that_cannot_be_loaded_is_examined(repository: ModelRepository) -> None:
    seen: list[tuple[str, Exception]] = []

    def make(_: str) -> Raising:
        raise ValueError("no such module")

    runtime = LocalRuntime(("bern",), make, repository, examine=lambda *told: seen.append(told))
    with pytest.raises(ValueError, match="no such module") as caught:
        async with runtime.running(lambda *_: None):
            pytest.fail("it began")
    assert seen == [("bern", caught.value)]


async def test_a_runtime_that_breaks_takes_the_run_with_it(endless: Endless, repository: ModelRepository) -> None:
    def refuse(*events: Event) -> None:
        if any(isinstance(event, UpdateCommitted) for event in events):
            raise LookupError("nobody takes events any more")

    async def run() -> None:
        runtime = LocalRuntime(("bern",), lambda _: endless, repository)
        async with asyncio.timeout(10), runtime.running(refuse):
            await runtime.perform(train("bern", 1))
            await asyncio.Event().wait()

    with pytest.raises(LookupError, match="nobody takes events any more"):
        await run()
