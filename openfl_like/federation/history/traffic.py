"""What the history says of the ways of updates."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpdateTransfer:
    """One update on its way.

    Attributes:
        round: Of which round.
        site: Whose.
        size_bytes: The size of its file, as it came.
        seconds: From the assignment to the answer, less what the tasks took; None: when it was sent is not known.
    """

    round: int
    site: str
    size_bytes: int
    seconds: float | None

    @property
    def bytes_per_s(self) -> float | None:
        """Its bytes in a second; None: there is no time that is known, or none at all."""
        return self.size_bytes / self.seconds if self.seconds else None
