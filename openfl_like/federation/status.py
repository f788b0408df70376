"""Where an experiment stands."""

from enum import StrEnum


class Status(StrEnum):
    """Where an experiment stands."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether it changes no more, unless somebody resumes what FAILED or was CANCELLED."""
        return self in _ENDED


_ENDED = frozenset({Status.FINISHED, Status.FAILED, Status.CANCELLED})
