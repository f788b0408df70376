"""Work that may never come back, such as a dead name server, a disk that hangs, or code of the site's own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


async def in_thread(work: Callable[[], Value], name: str | None = None) -> Value:
    """Run what may block in a thread that nobody waits for at the end; `asyncio.to_thread` would be waited for.

    Args:
        work: What it runs; what it raises is raised here.
        name: Of the thread.

    Raises:
        RuntimeError: If the system has no room for another thread.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Callable[[], Value]] = loop.create_future()

    def settle(outcome: Callable[[], Value]) -> None:
        if not found.done():  # otherwise it was given up
            found.set_result(outcome)

    def run() -> None:
        outcome = _outcome(work)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name=name, daemon=True).start()
    return (await found)()


def _outcome(work: Callable[[], Value]) -> Callable[[], Value]:
    """Do the work, and return what gives its result or raises its error."""
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 (raised again where it is waited for)
        raised = error

        def fail() -> Value:
            raise raised

        return fail
    return lambda: value
