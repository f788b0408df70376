"""Work that runs beside a daemon's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


@contextlib.asynccontextmanager
async def background(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs coroutines beside the block, until that ends.

    They do not end by themselves: one that fails takes the block with it, since a process that goes on without what
    one of them looks after would be worse than one that is started again.
    """
    block, failures = asyncio.current_task(), list[BaseException]()

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and block is not None:
            failures.append(error)
            block.cancel()

    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if failures and block is not None and not block.uncancel():
            raise failures[0] from None
        raise
    finally:
        for task in tasks:
            task.remove_done_callback(ended)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
