"""What controllers have decided for a round, and what they remember."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from openfl_like.federation.task import TaskCall


@dataclass(frozen=True, slots=True)
class RoundControlled:
    """Controllers have decided something for a round.

    Attributes:
        round: The round.
        skipped: Who is not asked to train -> why.
        weights: Collaborator -> by what its weight is multiplied.
        arguments: Task -> keyword argument -> value.
        ended: Why no further round is made; empty: it is.
    """

    kind: ClassVar[str] = "round_controlled"
    round: int
    skipped: Mapping[str, str]
    weights: Mapping[str, float]
    arguments: Mapping[str, Mapping[str, object]]
    ended: str = ""


@dataclass(frozen=True, slots=True)
class ControlMemory:
    """What a controller remembers.

    Attributes:
        round: Before which round it was asked last.
        before: What it was shown then.
        after: What it gave back, and is shown before the next round.
    """

    round: int
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class RoundControl:
    """What was decided for a round, ready to be used; of several decisions about one thing the last one counts."""

    skipped: Mapping[str, str]
    weights: Mapping[str, float]
    arguments: Mapping[str, Mapping[str, object]]
    ended: str = ""

    @property
    def told(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.skipped or self.weights or self.arguments or self.ended)

    def asked(self, eligible: Sequence[str]) -> Sequence[str]:
        """Return those of some names that are not skipped, in the same order; the same object if none is."""
        return [name for name in eligible if name not in self.skipped] if self.skipped else eligible

    def called(self, calls: tuple[TaskCall, ...]) -> tuple[TaskCall, ...]:
        """Return tasks with the arguments that they have in the round."""
        if not self.arguments:
            return calls
        return tuple(replace(call, arguments={**call.arguments, **self.arguments.get(call.name, {})}) for call in calls)


UNCONTROLLED = RoundControl({}, {}, {})
