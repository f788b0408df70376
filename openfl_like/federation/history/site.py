"""What a site keeps of the experiments that it took part in: for whom, what ran in which rounds, how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from openfl_like.federation.task import Phase


class PartEnd(StrEnum):
    """How a site's part in an experiment ended.

    Attributes:
        FINISHED: The experiment did.
        FAILED: The experiment did.
        CANCELLED: The experiment was.
        STOPPED: It was stopped, by another order or the Envoy's own end; nobody has said how the experiment ended.
        BROKEN: The site's own processes ended over it.
        REFUSED: The site did not take the order.
        INTERRUPTED: No end was recorded: the Envoy was killed, or its machine went down.
    """

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    STOPPED = "STOPPED"
    BROKEN = "BROKEN"
    REFUSED = "REFUSED"
    INTERRUPTED = "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class PerformedTasks:
    """What a site did for one phase of a round.

    Attributes:
        time: When it was done, in seconds since the epoch.
        round: The round.
        phase: The phase.
        tasks: Names of the tasks, in order.
        failure: Why nothing came of it; empty: it was delivered.
    """

    time: float
    round: int
    phase: Phase
    tasks: tuple[str, ...]
    failure: str = ""


@dataclass(frozen=True, slots=True)
class LastWord:
    """What the Aggregator said of the experiment's end.

    Attributes:
        status: How it ended.
        reason: Why.
    """

    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class SitePart:
    """A site's part in one experiment, from one order to its end; times are seconds since the epoch.

    Attributes:
        experiment: Id of the experiment.
        identity: Who signed its code, such as ``fx://hospitals/user/ada``.
        bundle: Digest of the workspace bundle.
        began_at: When the order was taken.
        ended_at: When it ended; 0: it has not.
        end: How it ended; None: it has not.
        reason: Why it ended.
        performed: What was done for it.
        number: Of the part at this site, from 1.
    """

    experiment: str
    identity: str
    bundle: str
    began_at: float
    ended_at: float = 0.0
    end: PartEnd | None = None
    reason: str = ""
    performed: tuple[PerformedTasks, ...] = ()
    number: int = 0


def spans(numbers: Sequence[int]) -> str:
    """Return numbers as people write them: ``0-3, 5``."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def task_counts(performed: Sequence[PerformedTasks]) -> dict[str, int]:
    """Return how often each task was performed and delivered, in the order in which they came first."""
    counts: dict[str, int] = {}
    for item in performed:
        for task in () if item.failure else item.tasks:
            counts[task] = counts.get(task, 0) + 1
    return counts
