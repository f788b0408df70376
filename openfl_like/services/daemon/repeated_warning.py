"""A warning about what is tried again and again: said at first, when it is another, and now and then."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

PERIOD_S = 600.0


@dataclass(slots=True)
class RepeatedWarning:
    """Says a text once, and the same text again after a while, with how often it would have been said.

    Args:
        log: Where.
        clock: Seconds that never go back.
        period_s: How long the same text is left out.
    """

    log: logging.Logger
    clock: Callable[[], float] = time.monotonic
    period_s: float = PERIOD_S
    _text: str = ""
    _said: float = 0.0
    _left_out: int = 0

    def say(self, text: str) -> None:
        """Say it, unless it was said a short while ago."""
        now = self.clock()
        if text == self._text and now - self._said < self.period_s:
            self._left_out += 1
            return
        again = f" (the same {self._left_out} times more since)" if text == self._text and self._left_out else ""
        self.log.warning("%s%s", text, again)
        self._text, self._said, self._left_out = text, now, 0

    def over(self) -> None:
        """Begin anew: what was wrong is over."""
        self._text, self._left_out = "", 0
