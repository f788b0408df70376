"""How often a process that dies is started again."""

from dataclasses import dataclass

PAUSES_S = (0.2, 1.0, 3.0)


@dataclass(frozen=True, slots=True)
class Pause:
    """A command: answer with `PauseOver` after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class PauseOver:
    """An event: the time of a `Pause` has passed."""


@dataclass(slots=True)
class Restarts:
    """Counts restarts since the last progress; three are the most, each after a longer pause.

    Attributes:
        count: Restarts since the last progress.
    """

    count: int = 0

    def progressed(self) -> None:
        """Note that the process has done something that need not be done again."""
        self.count = 0

    @property
    def exhausted(self) -> bool:
        """Whether it should not be started again."""
        return self.count >= len(PAUSES_S)

    def next_pause_s(self) -> float:
        """Count a restart and return the seconds to wait before it."""
        self.count += 1
        return PAUSES_S[self.count - 1]
