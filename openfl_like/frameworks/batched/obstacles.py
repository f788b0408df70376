"""Why sites cannot be trained at once: facts, which a person is told in a sentence."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from openfl_like.federation.task import Phase


class Obstacle(StrEnum):
    """What stands in the way of training sites at once."""

    FRAMEWORK = "framework"
    RUNNER = "runner"
    LOSS = "loss"
    OPTIMIZER = "optimizer"
    OPT_TREATMENT = "opt_treatment"
    COMPRESSION = "compression"
    ALGORITHM = "algorithm"
    PERSONAL = "personal"
    TASKS = "tasks"
    MODEL = "model"
    DATA = "data"
    RAISED = "raised"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class NotBatched:
    """That work is done for each site alone.

    Attributes:
        obstacle: Why.
        detail: The same in words, with what it is about.
        phase: Of the round; None: all of them.
    """

    obstacle: Obstacle
    detail: str
    phase: Phase | None = None

    def __str__(self) -> str:
        """Return a sentence for people."""
        what = f"the phase '{self.phase.value}'" if self.phase is not None else "the plan"
        return f"{what} is not batched, each site works alone: {self.detail}"


class CannotBatchError(Exception):
    """Sites cannot be trained at once; caught where they would have been, and never shown as an error.

    Args:
        reason: Why.
    """

    def __init__(self, reason: NotBatched) -> None:
        super().__init__(reason.detail)
        self.reason = reason


class UnfitMembersError(Exception):
    """Some members of a batch have to be looked at alone: their data does not fit.

    Args:
        members: Their places in the batch.
    """

    def __init__(self, members: Collection[int]) -> None:
        super().__init__(f"{len(members)} sites have data that does not fit the model")
        self.members = frozenset(members)


class BatchTooLargeError(Exception):
    """The memory does not hold so many sites at once."""
