"""What the history says of time: how long each part of a round took."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from openfl_like.federation.announcements import (
    Announced,
    ModelKept,
    ModelMade,
    RoundFinished,
    RoundStarted,
    UpdateReceived,
)
from openfl_like.federation.task import Phase
from openfl_like.federation.validation.scoring import UpdatesScored


@dataclass(frozen=True, slots=True)
class RoundTimes:
    """How long the parts of a round took, in seconds, on the clock of the Aggregator's machine.

    Attributes:
        round: Its number.
        began: When its sites were asked, in seconds since the epoch.
        training_s: From then to the last update that was taken; in a plan that trains nothing, 0.
        scoring_s: To the last score of a cross evaluation, with the checks before it; 0 if there was none.
        combining_s: To the new model: checks and the rule.
        evaluating_s: To the last answer to the evaluation; 0 if nobody evaluated.
        publishing_s: To the published version.
    """

    round: int
    began: float
    training_s: float
    scoring_s: float
    combining_s: float
    evaluating_s: float
    publishing_s: float

    @property
    def parts(self) -> dict[str, float]:
        """Name of a part -> its seconds, in order."""
        return {
            "training": self.training_s,
            "scoring": self.scoring_s,
            "combining": self.combining_s,
            "evaluating": self.evaluating_s,
            "publishing": self.publishing_s,
        }

    @property
    def total_s(self) -> float:
        """The whole round."""
        return sum(self.parts.values())


def round_times(events: Iterable[Announced]) -> list[RoundTimes]:
    """Return the times of the finished rounds, in order; a round that began again is told as it went in the end."""
    found: dict[int, RoundTimes] = {}
    began: float | None = None
    marks: list[float] = []  # when the last update, the last score, the model, and the last evaluation came
    for event in events:
        match event.announcement:
            case RoundStarted():
                began, marks = event.time, [event.time] * 4
            case UpdateReceived(phase=Phase.EVALUATE) if marks:
                marks[3] = event.time
            case UpdateReceived(phase=Phase.CROSS_EVALUATE) | UpdatesScored() if marks:
                marks[1:] = [event.time] * 3
            case UpdateReceived() if marks:
                marks = [event.time] * 4
            case ModelMade() | ModelKept() if marks:
                marks[2:] = [event.time] * 2
            case RoundFinished(number) if began is not None:
                found[number] = _times(number, began, marks, event.time)
                began, marks = None, []
            case _:
                pass
    return [found[number] for number in sorted(found)]


def _times(number: int, began: float, marks: list[float], ended: float) -> RoundTimes:
    points = (began, *marks, ended)
    parts = [max(0.0, later - earlier) for earlier, later in pairwise(points)]
    return RoundTimes(number, began, *parts)
