import pytest

from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    ModelMade,
    RoundFinished,
    RoundStarted,
    UpdateReceived,
)
from openfl_like.federation.history.times import round_times
from openfl_like.federation.task import Phase
from openfl_like.federation.validation.scoring import UpdatesScored


def events(*told: tuple[float, Announcement]) -> list[Announced]:
    return [Announced(number, time, each) for number, (time, each) in enumerate(told, 1)]


def update(phase: Phase, site: str = "a", number: int = 1) -> UpdateReceived:
    return UpdateReceived(number, phase, site, 4)


def test_the_parts_of_a_round_add_up_to_it() -> None:
    (times,) = round_times(
        events(
            (10.0, RoundStarted(1, ("a", "b"))),
            (13.0, update(Phase.TRAIN)),
            (15.0, update(Phase.TRAIN, "b")),
            (15.125, update(Phase.CROSS_EVALUATE)),
            (15.25, UpdatesScored(1, "loss")),
            (15.75, ModelMade(1, "m")),
            (17.0, update(Phase.EVALUATE)),
            (17.25, RoundFinished(1, "m")),
        )
    )
    assert (times.round, times.began) == (1, 10.0)
    assert times.parts == {
        "training": 5.0,
        "scoring": 0.25,
        "combining": 0.5,
        "evaluating": 1.25,
        "publishing": 0.25,
    }
    assert times.total_s == pytest.approx(7.25)


def test_a_round_that_began_again_is_told_as_it_went_in_the_end() -> None:
    found = round_times(
        events(
            (10.0, RoundStarted(1, ("a",))),
            (12.0, update(Phase.TRAIN)),
            (50.0, RoundStarted(1, ("a",))),
            (51.0, update(Phase.TRAIN)),
            (52.0, ModelMade(1, "m")),
            (52.5, RoundFinished(1, "m")),
            (53.0, RoundStarted(2, ("a",))),
        )
    )
    assert [(one.round, one.parts["training"], one.total_s) for one in found] == [(1, 1.0, 2.5)]


def test_a_plan_that_trains_nothing_only_evaluates() -> None:
    (times,) = round_times(
        events((1.0, RoundStarted(1, ("a",))), (4.0, update(Phase.EVALUATE)), (4.0, RoundFinished(1, "m")))
    )
    assert times.parts == {
        "training": 0.0,
        "scoring": 0.0,
        "combining": 0.0,
        "evaluating": 3.0,
        "publishing": 0.0,
    }
