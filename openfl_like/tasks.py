"""asyncio tasks with an owner: a race, work beside a block, tasks that end with the object that started them.

And a thread for work that may never come back.

Layer: the bottom, beside `failpoints`; anybody may import it, and nobody else makes a task.
"""

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def cancel_and_wait(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they have ended; what they raise is not raised here."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def first_of(timeout_s: float | None = None, /, **work: Awaitable[Any]) -> dict[str, Any]:
    """Run several things at once until one of them has ended; cancel the others and wait for their end.

    Args:
        timeout_s: The most seconds to wait; None: no limit.
        work: Name -> what to run or to wait for; a future that loses is cancelled as well.

    Returns:
        Name -> result of what had ended, in the order of the arguments: one, more if they ended together, or none
        after ``timeout_s``.

    Raises:
        BaseException: What the first of those that had ended raised.
    """
    tasks = {name: asyncio.ensure_future(each) for name, each in work.items()}
    try:
        await asyncio.wait(tasks.values(), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return {name: task.result() for name, task in tasks.items() if task.done()}
    finally:
        await cancel_and_wait(*tasks.values())


@contextlib.asynccontextmanager
async def background(*works: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run coroutines beside a block, and cancel them at its end.

    One that fails takes the block with it: a process that goes on without what one of them looks after would be worse
    than one that is started again. One that ends by itself does not matter to the block.

    Raises:
        BaseException: What the first of them raised.
    """
    block, failures, over = asyncio.current_task(), list[BaseException](), False

    def ended(task: asyncio.Task[object]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and block is not None and not over:
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
        over = True  # a callback that is under way already must not cancel what comes after the block
        await cancel_and_wait(*tasks)


class TaskOwner:
    """The tasks of one object: it starts them when it has to, and ends them all when it ends itself."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Result], name: str | None = None) -> asyncio.Task[Result]:
        """Start a task; whoever needs its result awaits what is returned."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all that were started have ended, or for so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def close(self) -> None:
        """Cancel all that go on, and wait for their end."""
        ours = asyncio.current_task()
        await cancel_and_wait(*(task for task in self._tasks if task is not ours))


class SerialThread:
    """One thread that does one thing after the other; what never comes back holds nobody up but what is behind it.

    The threads of `asyncio.to_thread` are waited for when the event loop ends, and when Python does; this one is not.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do something in the thread; whoever is cancelled meanwhile does not wait for its end."""
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        done: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result | None, error: BaseException | None) -> None:
            if done.done():
                return  # nobody waits any more
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type] # the work has given it

        def do() -> None:
            result, raised = None, None
            try:
                result = context.run(work)
            except BaseException as error:  # noqa: BLE001 (raised again where it is waited for)
                raised = error
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, result, raised)

        self._work.put(do)
        return await done

    def close(self) -> None:
        """End the thread, when it has done what it was given."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
