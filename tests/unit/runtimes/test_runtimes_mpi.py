"""Handing out work to ranks: what waits for one has not begun."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from openfl_like.federation.events import Event, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.task import Assignment, Phase
from openfl_like.processes.batch import Answer, Setting
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.mpi import OtherRanks
from openfl_like.runtimes.pool import PoolRuntime

SITES = ("basel", "bern", "zug")


class HeldRanks(Executor):
    """Ranks that answer when a test says so."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[Any, Future[Any]]] = asyncio.Queue()

    def submit(self, _fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:  # noqa: ANN401 (the executor's)
        """Take work."""
        future: Future[Any] = Future()
        self.asked.put_nowait((args, future))
        return future


async def test_a_rank_is_given_one_assignment_at_a_time_so_that_no_deadline_runs_while_it_waits(
    repository: ModelRepository,
) -> None:
    ranks, told = HeldRanks(), asyncio.Queue[Event]()

    def post(*events: Event) -> None:
        for event in events:
            if isinstance(event, UpdateCommitted | TaskFailed):
                told.put_nowait(event)

    runtime = PoolRuntime(SITES, lambda _: "", Setting("", "", "", "cpu"), repository, OtherRanks(ranks, 1))
    opening = runtime.running(post)
    beginning = asyncio.create_task(opening.__aenter__())
    _, loading = await ranks.asked.get()
    loading.set_result([Answer({"ready": {}})])
    await beginning
    await runtime.perform(*(SendAssignment(Assignment(1, Phase.EVALUATE, name, (), "", 7, 0.5)) for name in SITES))
    for name in SITES:
        async with asyncio.timeout(10):
            (batch,), future = await ranks.asked.get()
        assert ([order.site for order in batch.orders], ranks.asked.empty()) == ([name], True)
        answer = {"round": 1, "phase": "evaluate", "collaborator": name, "digest": "", "num_samples": 1}
        future.set_result([Answer({"update": answer})])
        assert isinstance(await told.get(), UpdateCommitted)
    await opening.__aexit__(None, None, None)
