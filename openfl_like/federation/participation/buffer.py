"""What goes on from one version of the model to the next: who trains on what, and what has come."""

from dataclasses import dataclass, field

from openfl_like.federation.failure import Failure
from openfl_like.federation.task import Assignment, Update


@dataclass(frozen=True, slots=True)
class OngoingTraining:
    """A site that trains, or has.

    Attributes:
        assignment: What it was given; the same however often it is sent. Its round is that of the version after the
            one that it starts from.
        asked: When, on the clock of the events.
    """

    assignment: Assignment
    asked: float


@dataclass(frozen=True, slots=True)
class ArrivedUpdate:
    """An update, and the training that it came of."""

    update: Update
    training: OngoingTraining


@dataclass(slots=True)
class BufferState:
    """The buffer, and the sites at work.

    Attributes:
        training: Site -> what it trains on, in the order in which they were asked.
        arrived: What no version was made of yet, in the order of arrival.
        taken: What the open round's model is made of, in the order of arrival, until it is made.
        failed: Who did not answer since updates were taken last, and why.
        resting: Site -> the round for which it is not asked again, since it has failed in it.
        round: The round that sites are asked for now.
        drawn: How many were drawn for it.
    """

    training: dict[str, OngoingTraining] = field(default_factory=dict)
    arrived: tuple[ArrivedUpdate, ...] = ()
    taken: tuple[ArrivedUpdate, ...] = ()
    failed: dict[str, Failure] = field(default_factory=dict)
    resting: dict[str, int] = field(default_factory=dict)
    round: int = 0
    drawn: int = 0

    def busy(self) -> set[str]:
        """Who trains, or has an update here that no version was made of yet: a site counts once in a version."""
        waiting = (each.update.collaborator for each in (*self.arrived, *self.taken))
        return {*self.training, *waiting}
