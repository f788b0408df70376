"""How long answers may hold up whoever waits for them, if one follows the other."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FORGIVEN = 20.0
"""So many seconds of answers are forgiven for each second between them."""


class TimeInARow:
    """Adds up what answers take that follow each other with next to no time between them.

    The Aggregator does nothing else while it waits for a decision; twenty controllers, each in its time, would keep
    sites and Director waiting for minutes.

    Args:
        most_s: Seconds that they may take together.
        clock: Gives seconds.
    """

    def __init__(self, most_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_s = most_s
        self._clock = clock
        self._spent_s, self._until = 0.0, clock()

    @contextmanager
    def spending(self) -> Iterator[float]:
        """Count what the block takes; gives how many seconds are left for it."""
        begun = self._clock()
        self._spent_s = max(0.0, self._spent_s - FORGIVEN * (begun - self._until))
        try:
            yield self.most_s - self._spent_s
        finally:
            self._until = self._clock()
            self._spent_s += self._until - begun
