"""What a controller is shown, and what it may decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from pydantic import JsonValue

from openfl_like.federation.events import ModelVersion
from openfl_like.federation.participation.training_history import UNKNOWN, TrainingHistory


@dataclass(frozen=True, slots=True)
class EndExperiment:
    """No further round is to be made; what is published stays, and the experiment is finished.

    Attributes:
        reason: Why, in words that may stand after ``FINISHED:``.
    """

    kind: ClassVar[str] = "end_experiment"
    reason: str


@dataclass(frozen=True, slots=True)
class SkipSite:
    """A site is not asked to train in this round.

    Attributes:
        site: Its name.
        reason: Why.
    """

    kind: ClassVar[str] = "skip_site"
    site: str
    reason: str


@dataclass(frozen=True, slots=True)
class WeighSite:
    """A site's update counts more or less in this round.

    Attributes:
        site: Its name.
        factor: By this its weight is multiplied, at least 0.
    """

    kind: ClassVar[str] = "weigh_site"
    site: str
    factor: float


@dataclass(frozen=True, slots=True)
class SetArgument:
    """A task is called with another argument in this round.

    Attributes:
        task: Its name in the plan.
        argument: The name of the keyword argument.
        value: Any JSON value.
    """

    kind: ClassVar[str] = "set_argument"
    task: str
    argument: str
    value: JsonValue


Decision = EndExperiment | SkipSite | WeighSite | SetArgument


@dataclass(frozen=True, slots=True)
class Control:
    """What a controller answers.

    Attributes:
        decisions: For the round that is about to begin.
        state: What it is shown the next time; part of the experiment's record.
    """

    decisions: tuple[Decision, ...] = ()
    state: JsonValue = None


@dataclass(frozen=True, slots=True)
class ControlView:
    """What a controller sees before a round: never a clock, and nothing that is not in the experiment's record.

    Attributes:
        round: The round that is about to begin, from 1.
        rounds: How many the plan has; None: no limit of them.
        versions: All that is published, the initial model first, each with its metrics.
        members: The collaborators, sorted, whether here or not.
        histories: Name -> what is known of the sites' training; empty unless the controller says that it ``remembers``.
        seconds: What the rounds took so far, together.
        state: What it gave back the last time; None before the first.
    """

    round: int
    rounds: int | None
    versions: Sequence[ModelVersion]
    members: Sequence[str]
    histories: Mapping[str, TrainingHistory] = field(default_factory=dict)
    seconds: float = 0.0
    state: JsonValue = None

    def history(self, name: str) -> TrainingHistory:
        """Return what is known of a site."""
        return self.histories.get(name, UNKNOWN)


class Controller(Protocol):
    """Looks at the record before every round, and changes what comes.

    It gives the same answer whenever it is shown the same view: an experiment that is resumed asks again.
    """

    def decide(self, view: ControlView) -> Control:
        """Say what is to be done in the round that is about to begin."""
        ...
