"""The event bus: it tails the store from a cursor, so a listener that comes late misses nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

from openfl_like.federation.parties import EventRecord


class EventBus:
    """Gives the events of one experiment to any number of listeners.

    Args:
        read: Gives the committed events after a sequence number; called on a thread.
    """

    def __init__(self, read: Callable[[int], list[EventRecord]]) -> None:
        self._read = read
        self._news = asyncio.Condition()
        self._generation = 0
        self._closed = False
        self._wakes: set[asyncio.Task[None]] = set()

    def notify(self) -> None:
        """Says that the store has news."""
        self._generation += 1
        self._wake()

    def close(self) -> None:
        """Says that there will be no more news: listeners end when they have read all."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        async def wake() -> None:
            async with self._news:
                self._news.notify_all()

        task = asyncio.get_running_loop().create_task(wake())
        self._wakes.add(task)
        task.add_done_callback(self._wakes.discard)

    def _has_news(self, generation: int) -> bool:
        return self._closed or self._generation != generation

    async def tail(self, after: int = 0) -> AsyncIterator[EventRecord]:
        """Gives the events after a sequence number, then new ones as they are committed, until the bus is closed."""
        while True:
            generation, closed = self._generation, self._closed
            for event in await asyncio.to_thread(self._read, after):
                after = event.sequence
                yield event
            if closed:
                return
            async with self._news:
                await self._news.wait_for(partial(self._has_news, generation))
