"""The same work is done once, however many ask for it at the same time."""

import asyncio
import re
from collections.abc import Callable
from typing import Generic, TypeVar

from openfl_like.errors import UsageError
from openfl_like.tasks import TaskOwner

Result = TypeVar("Result")
_REQUEST_ID = re.compile(r"[0-9a-f]{8,64}")


def check_request_id(request_id: str) -> None:
    """Refuse an id that no client makes: it becomes part of a file's name.

    Raises:
        UsageError: If it is none.
    """
    if not _REQUEST_ID.fullmatch(request_id):
        raise UsageError("a request id has 8 to 64 hexadecimal digits")


class SingleFlight(Generic[Result]):
    """Work in threads by its key; who asks for what is under way waits for that.

    A client that lost its connection asks again while its first request is still being worked on; that goes on
    although its call has ended.
    """

    def __init__(self) -> None:
        self._tasks = TaskOwner()
        self._under_way: dict[object, asyncio.Task[Result]] = {}

    async def do(self, key: object, work: Callable[[], Result]) -> Result:
        """Return what the work under this key gives; raises what it raises, to everybody."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = self._tasks.start(asyncio.to_thread(work))
            task.add_done_callback(lambda done: self._over(key, done))
        return await asyncio.shield(task)

    def _over(self, key: object, task: asyncio.Task[Result]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # nobody may be left who asks for it
