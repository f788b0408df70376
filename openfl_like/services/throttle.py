"""Slows down who fails too often, by where they come from."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from openfl_like.errors import NotAllowedError

WINDOW_S = 60.0
MOST_FAILURES = 10
REMEMBERED = 4096


@dataclass(slots=True)
class Throttle:
    """Counts failures of the last minute.

    Args:
        clock: Monotonic seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _failures: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def check(self, host: str) -> None:
        """Lets a host try; raises NotAllowedError if it has failed too often."""
        failures = self._failures.get(host)
        if failures is None:
            return
        while failures and failures[0] <= self.clock() - WINDOW_S:
            failures.popleft()
        if len(failures) >= MOST_FAILURES:
            raise NotAllowedError(
                f"there were {MOST_FAILURES} failed tries from this address within a minute", cure="wait a minute"
            )

    def failed(self, host: str) -> None:
        """Takes down a failure."""
        self._failures.setdefault(host, deque(maxlen=MOST_FAILURES)).append(self.clock())
        self._failures.move_to_end(host)
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)
