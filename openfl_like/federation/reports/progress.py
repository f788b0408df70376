"""How far a task is: told while it works, kept by nobody, and without influence on anything."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from openfl_like.federation.task import MAX_NAME_LENGTH, MAX_SAMPLES, Phase

MOST_METRICS = 16
"""Of one report: it is for somebody who looks on."""
MOST_S = 1e9


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """How far a task of an assignment is at its site.

    Attributes:
        round: As in the assignment.
        phase: As in the assignment.
        task: Its name in the plan.
        epoch: How many epochs are done.
        epochs: How many there will be; None: that is not known.
        batches: How many batches are done, of all epochs.
        samples: How many samples of the epoch are done.
        of_samples: How many samples an epoch has; 0: that is not known.
        elapsed_s: Seconds since the task began.
        metrics: Of the batches of this epoch so far, such as the mean ``loss``.
    """

    round: int
    phase: Phase
    task: str
    epoch: int = 0
    epochs: int | None = None
    batches: int = 0
    samples: int = 0
    of_samples: int = 0
    elapsed_s: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskProgressed:
    """How far a task is at a site; see `TaskProgress`.

    It is told to whoever watches and asks for it, is not part of the history, and may be missing or late.
    """

    kind: ClassVar[str] = "task_progressed"
    round: int
    phase: Phase
    collaborator: str
    task: str
    epoch: int = 0
    epochs: int | None = None
    batches: int = 0
    samples: int = 0
    of_samples: int = 0
    elapsed_s: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, collaborator: str, told: TaskProgress) -> "TaskProgressed":
        """Return what a site tells, with its name."""
        return cls(
            told.round,
            told.phase,
            collaborator,
            told.task,
            told.epoch,
            told.epochs,
            told.batches,
            told.samples,
            told.of_samples,
            told.elapsed_s,
            told.metrics,
        )

    @property
    def share(self) -> float | None:
        """Which part of the task is done, from 0 to 1; None: that is not known."""
        if not self.epochs or not self.of_samples:
            return None
        return min(1.0, (self.epoch + min(1.0, self.samples / self.of_samples)) / self.epochs)

    @property
    def left_s(self) -> float | None:
        """How many seconds the rest takes if it goes on as before; None: that is not known."""
        share = self.share
        return None if not share else self.elapsed_s * (1 - share) / share


def checked_progress(told: TaskProgress) -> TaskProgress:
    """Return a report as it is.

    Raises:
        ValueError: If something in it cannot be: it came from submitted code, or from a peer.
    """
    counts = (told.epoch, told.epochs or 0, told.batches, told.samples, told.of_samples)
    if not all(0 <= count <= MAX_SAMPLES for count in counts):
        raise ValueError("a number of a progress is not possible")
    if not (math.isfinite(told.elapsed_s) and 0 <= told.elapsed_s <= MOST_S):
        raise ValueError("the time of a progress is not one")
    if len(told.metrics) > MOST_METRICS or not all(map(math.isfinite, told.metrics.values())):
        raise ValueError("a progress has too many metrics, or some that are no finite numbers")
    if any(len(name) > MAX_NAME_LENGTH or not name.isprintable() for name in (told.task, *told.metrics)):
        raise ValueError("a name of a progress is too long, or has characters that cannot be shown")
    return told
