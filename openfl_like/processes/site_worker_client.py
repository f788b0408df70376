"""The simulation's side of a worker for many sites: a child process that is given batches."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openfl_like.federation.devices.placement import CPU, environment_for
from openfl_like.processes.batch import MOST_BYTES, Answer, Batch
from openfl_like.processes.child import Child, spawn
from openfl_like.processes.ownership import owner_tag
from openfl_like.processes.spare_worker import environment_of
from openfl_like.processes.watchdog import watch_child
from openfl_like.processes.worker_channel import WorkerChannel
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)
MODULE = "openfl_like.processes.site_worker"


class SiteWorkerProcess:
    """A running worker.

    Args:
        child: The process.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self._channel = WorkerChannel(child)
        self._asked = 0
        self._tasks = TaskOwner()
        self._tasks.start(watch_child(child))

    @classmethod
    async def start(cls, directory: Path, device: str | None, threads: int) -> "SiteWorkerProcess":
        """Start a worker.

        Args:
            directory: Where the sites have their folders; what the worker starts belongs there.
            device: The device of this machine that it sees; None: it works on the CPU.
            threads: Threads that numeric libraries may use.
        """
        child = await spawn(
            [sys.executable, "-P", "-m", MODULE],
            on_line=lambda line: log.info("worker: %s", line),
            cwd=directory,
            environment=environment_of(threads, environment_for(device or CPU) | owner_tag(directory)),
        )
        return cls(child)

    async def answers(self, batch: Batch) -> list[Answer]:
        """Have orders carried out; raises WorkerEndedError if the worker died over them."""
        self._asked += 1
        told = await self._channel.ask({**batch.to_json(), "number": self._asked})
        try:
            sizes = _sizes(told, self._asked, len(batch.orders))
        except (ValueError, LookupError, TypeError) as mistake:
            raise await self._channel.invalid(str(mistake)) from mistake
        contents = [None if size is None else await self._channel.content(size) for size in sizes]
        return [Answer(one, content) for one, content in zip(told["answers"], contents, strict=True)]

    async def stop(self) -> None:
        """End it at once: it holds nothing that is not done again."""
        await self._child.stop(grace_s=0.0)


def _sizes(told: Mapping[str, Any], number: int, orders: int) -> list[int | None]:
    """Return how many bytes follow for each order.

    Raises:
        ValueError: If it is no answer to the batch of this number, with so many orders.
    """
    if told.get("number") != number:
        raise ValueError("it does not answer what it was asked last")
    answers, sizes = told["answers"], told["sizes"]
    if not (isinstance(answers, list) and isinstance(sizes, list) and len(answers) == len(sizes) == orders):
        raise ValueError(f"it does not answer {orders} orders")
    if not all(isinstance(one, dict) for one in answers):
        raise ValueError("an answer is not a mapping")
    if not all(size is None or (type(size) is int and 0 <= size <= MOST_BYTES) for size in sizes):
        raise ValueError(f"an update in it has no size of at most {MOST_BYTES} bytes")
    return sizes
