"""Callbacks as nobody wants them: one that raises, one that hangs, one that fills its disk; and one that is busy."""

import time
from collections.abc import Sequence

from openfl_like.events.callbacks.base import ResultsFolder
from openfl_like.federation.announcements import Announced

PIECE = bytes(1 << 20)


class Raises:
    """It fails at the first event."""

    def take(self, events: Sequence[Announced]) -> None:
        """Raise."""
        raise RuntimeError(f"{len(events)} events are too many")

    def write(self, folder: ResultsFolder) -> None:
        """Never called."""

    def finish(self, folder: ResultsFolder) -> None:
        """Never called."""


class Hangs(Raises):
    """It never answers."""

    def take(self, events: Sequence[Announced]) -> None:
        """Wait, with as little as possible to do."""
        while events:
            time.sleep(1.0)


class Fills(Raises):
    """It writes until it may not any more."""

    def take(self, events: Sequence[Announced]) -> None:
        """Do nothing."""

    def write(self, folder: ResultsFolder) -> None:
        """Write for as long as it is let."""
        while True:
            folder.append("rubbish", PIECE)
