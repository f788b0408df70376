"""A clock that stands still until it is moved."""

import heapq
import itertools
from collections.abc import Callable


class FakeClock:
    """A `runtimes.loop.Clock` for tests.

    Args:
        start: Seconds since the epoch at which it stands first.
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._cancelled: set[int] = set()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when the clock is moved so far; return the function that prevents it."""
        number = next(self._numbers)
        heapq.heappush(self._timers, (self._now + delay_s, number, callback))
        return lambda: self._cancelled.add(number)

    @property
    def pending(self) -> tuple[float, ...]:
        """Seconds until each timer that is set, soonest first."""
        waiting = sorted(when for when, number, _ in self._timers if number not in self._cancelled)
        return tuple(when - self._now for when in waiting)

    def advance(self, seconds: float) -> int:
        """Move the clock and fires the timers on the way, each at its own time, in order.

        Returns:
            How many fired.
        """
        end, fired = self._now + seconds, 0
        while self._timers and self._timers[0][0] <= end:
            when, number, callback = heapq.heappop(self._timers)
            if number in self._cancelled:
                continue
            self._now = max(self._now, when)
            callback()
            fired += 1
        self._now = end
        return fired
