"""A few lanes for fast transfers, so that memory hardly grows with the number of sites.

Transfers that are as fast as this process can go gain nothing from others beside them, but each fills buffers of its
own. One that waits for its network fills few, and must not keep others waiting: it leaves its lane and goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

LANES = 2
FAST_BYTES_PER_S = 30e6
"""More than the lines of most sites carry; two of a gigabit fill a server's own."""
LOOK_S = 0.5

CallLater = Callable[[float, Callable[[], None]], Callable[[], None]]


def _call_later(delay_s: float, callback: Callable[[], None]) -> Callable[[], None]:
    return asyncio.get_running_loop().call_later(delay_s, callback).cancel


class TransferSlot:
    """A transfer's place in the lanes, until it ends or turns out to be slow.

    Args:
        release: Gives the place to the next.
        call_later: Calls back after a delay in seconds; gives what prevents it.
    """

    def __init__(self, release: Callable[[], None], call_later: CallLater) -> None:
        self._release: Callable[[], None] | None = release
        self._call_later = call_later
        self._moved = 0
        self._cancel = call_later(LOOK_S, self._look)

    def moved(self, count: int) -> None:
        """So many bytes were moved."""
        self._moved += count

    def leave(self) -> None:
        """Give up the place; a second call does nothing."""
        self._cancel()
        if self._release is not None:
            self._release()
            self._release = None

    def _look(self) -> None:
        if self._moved < FAST_BYTES_PER_S * LOOK_S:
            self.leave()
        else:
            self._moved = 0
            self._cancel = self._call_later(LOOK_S, self._look)


class TransferLimiter:
    """The lanes of a server, for both directions.

    Args:
        count: How many fast transfers run at once; others wait their turn.
        call_later: As in `TransferSlot`.
    """

    def __init__(self, count: int = LANES, call_later: CallLater = _call_later) -> None:
        self._free = asyncio.Semaphore(count)
        self._call_later = call_later

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[TransferSlot]:
        """Wait for a place."""
        await self._free.acquire()
        lane = TransferSlot(self._free.release, self._call_later)
        try:
            yield lane
        finally:
            lane.leave()
