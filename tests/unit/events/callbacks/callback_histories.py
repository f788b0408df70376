"""A short history that callbacks are told."""

from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    AssignmentSent,
    ExperimentBegun,
    ExperimentEnded,
    ModelMade,
    RoundFinished,
    RoundStarted,
    UpdateLost,
    UpdateReceived,
)
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase

EPOCH = 3


def round_of(number: int, digest: str = "d", *, lost: bool = False) -> list[Announcement]:
    """What is told of a round of sites a and b, of which b is absent; with ``lost``, the update of a comes twice."""
    answer = UpdateReceived(number, Phase.TRAIN, "a", 10, {"train": {"loss": 1 / number}}, 0.25)
    again: list[Announcement] = [UpdateLost(number, Phase.TRAIN, "a"), answer] if lost else []
    missing = {"b": Failure(FailureKind.DEADLINE)}
    return [
        RoundStarted(number, ("a", "b")),
        AssignmentSent(number, Phase.TRAIN, "a", ("train",)),
        answer,
        *again,
        ModelMade(number, digest),
        UpdateReceived(number, Phase.EVALUATE, "a", 4, {"validate": {"accuracy": number / 10}}),
        RoundFinished(
            number,
            digest,
            {"accuracy": number / 10},
            selected=("a", "b"),
            contributors=("a",),
            absent=missing,
            evaluators=("a",),
        ),
    ]


def numbered(*told: Announcement) -> list[Announced]:
    """They as a history, a second apart."""
    return [Announced(number, float(number), one) for number, one in enumerate(told, 1)]


def history_of(rounds: int, *, lost: bool = False) -> list[Announced]:
    """An experiment of so many rounds, to its end."""
    told = [one for number in range(1, rounds + 1) for one in round_of(number, lost=lost)]
    return numbered(ExperimentBegun(epoch=EPOCH), *told, ExperimentEnded(Status.FINISHED))
