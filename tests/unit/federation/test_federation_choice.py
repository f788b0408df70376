"""Whom a round chooses does not depend on a connection that breaks for a moment, where it wants all whom it chooses."""

import pytest
from played import PlayedExperiment

from openfl_like.federation.announcements import CollaboratorAbsent, RoundStarted
from openfl_like.federation.events import (
    CollaboratorJoined,
    CollaboratorLeft,
    ExperimentStarted,
    StartTimer,
    TimerFired,
    UpdateCommitted,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.schema import Plan

SITES = ("a", "b", "c")


class Chosen(PlayedExperiment):
    """Three sites, of which two are drawn in each of two rounds; the test answers for them."""

    def __init__(self, policy: str = "exact") -> None:
        values = {
            "name": "drawn",
            "seed": 5,
            "aggregator": {"settings": {"rounds_to_train": 2}},
            "task_runner": {"template": "src.model:Runner"},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": "train"}},
            "selector": {"template": "random", "settings": {"count": 2}},
            "participation": {"policy": policy},
        }
        super().__init__(Experiment("exp-1", Plan.model_validate(values), SITES, "given"))
        self.feed(ExperimentStarted(), *map(CollaboratorJoined, SITES))

    def deliver(self, name: str, number: int) -> None:
        self.feed(UpdateCommitted(Update(number, Phase.TRAIN, name, f"{name}-{number}", 4)))

    def cohorts(self) -> list[tuple[str, ...]]:
        return [started.cohort for started in self.told(RoundStarted)]

    def rejoin_timers(self) -> list[str]:
        timers = [command.timer for command in self.commands if isinstance(command, StartTimer)]
        return [timer for timer in timers if timer.startswith("rejoin:")]


def undisturbed() -> list[tuple[str, ...]]:
    played = Chosen()
    for name in played.cohorts()[0]:
        played.deliver(name, 1)
    return played.cohorts()


def lose_one_of_the_second_round(played: Chosen) -> str:
    """Have the connection break of a site that the second round will choose, when its work in the first is done."""
    first, second = undisturbed()
    lost = next(name for name in second if name in first)
    played.deliver(lost, 1)
    played.feed(CollaboratorLeft(lost, "it broke"))
    for name in first:
        if name != lost:
            played.deliver(name, 1)
    return lost


def test_a_site_that_comes_back_is_chosen_as_if_it_had_never_been_away() -> None:
    played = Chosen()
    lost = lose_one_of_the_second_round(played)
    assert len(played.cohorts()) == 1
    played.feed(CollaboratorJoined(lost))
    assert played.cohorts() == undisturbed()


def test_others_are_chosen_once_it_has_not_come_back_in_time() -> None:
    played = Chosen()
    lost = lose_one_of_the_second_round(played)
    played.feed(TimerFired(played.rejoin_timers()[-1]))
    assert played.cohorts()[1] == tuple(name for name in SITES if name != lost)
    for name in played.cohorts()[1]:
        played.deliver(name, 2)
    assert played.experiment.status is Status.FINISHED
    assert not played.told(CollaboratorAbsent)


def test_nobody_waits_for_one_that_is_gone_for_good() -> None:
    played = Chosen()
    lost = lose_one_of_the_second_round(played)
    played.feed(CollaboratorLeft(lost, "it ended", gone=True))
    assert len(played.cohorts()) == 2


@pytest.mark.parametrize("policy", ["quorum", "skip"])
def test_nobody_waits_where_a_round_goes_on_without_some(policy: str) -> None:
    played = Chosen(policy)
    lose_one_of_the_second_round(played)
    assert len(played.cohorts()) == 2


def test_the_round_begins_with_those_who_are_here_when_its_time_to_gather_has_run_out() -> None:
    played = Chosen()
    lost = lose_one_of_the_second_round(played)
    played.feed(TimerFired("gather:2"))
    assert played.cohorts()[1] == tuple(name for name in SITES if name != lost)


def test_nobody_waits_for_a_site_that_would_not_be_chosen() -> None:
    played, (first, second) = Chosen(), undisturbed()
    spare = next(name for name in SITES if name not in second)
    if spare in first:
        played.deliver(spare, 1)
    played.feed(CollaboratorLeft(spare, "it broke"))
    for name in first:
        if name != spare:
            played.deliver(name, 1)
    assert played.cohorts() == [first, second]
