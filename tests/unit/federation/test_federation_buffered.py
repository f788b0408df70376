"""The buffered mode of an experiment, event by event: who is asked, what is taken, what is lost and comes back."""

import json
from collections.abc import Sequence

import pytest

from openfl_like.federation.announcements import UpdateLost, UpdateRefused
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    CollaboratorJoined,
    CollaboratorLeft,
    Command,
    Event,
    ExperimentStarted,
    ModelAggregated,
    SendAssignment,
    TaskFailed,
    UpdateCommitted,
    UpdatesValidated,
    ValidateUpdates,
    WithdrawAssignment,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, BufferTaken, Phase, Update
from openfl_like.plan.schema import Plan

NAMES = ("a", "b", "c", "d")


def plan_of(buffer: int = 2, concurrency: int = 3, most: int = 20, **parts: object) -> Plan:
    settings = {"buffer": buffer, "concurrency": concurrency, "most_staleness": most}
    basis: dict[str, object] = {
        "name": "demo",
        "aggregator": {"settings": {"rounds_to_train": 3}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}},
        "mode": {"template": "buffered", "settings": settings},
    }
    return Plan.model_validate(basis | parts)


class Told:
    """An experiment of four sites that starts from a given model, and the commands so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.experiment = Experiment("e", plan, NAMES, "m0")
        self.commands: list[Command] = []
        self.tell(ExperimentStarted(), *(CollaboratorJoined(name) for name in NAMES))

    def tell(self, *events: Event) -> list[Command]:
        found = [command for event in events for command in self.experiment.handle(event, 1.0)]
        self.commands += found
        return found

    def asked(self, commands: Sequence[Command] | None = None) -> list[Assignment]:
        return [one.assignment for one in (commands or self.commands) if isinstance(one, SendAssignment)]

    def answer(self, given: Assignment) -> list[Command]:
        digest = f"u-{given.round}-{given.collaborator}"
        return self.tell(UpdateCommitted(Update(given.round, Phase.TRAIN, given.collaborator, digest, 10)))

    def make(self) -> list[Command]:
        """Have the open version made."""
        validates = next(one for one in reversed(self.commands) if isinstance(one, ValidateUpdates))
        found = self.tell(UpdatesValidated(validates.round))
        return found + self.tell(ModelAggregated(validates.round, f"m{validates.round}"))

    def announced(self, kind: type) -> list[object]:
        return [
            one.announcement
            for one in self.commands
            if isinstance(one, Announce) and isinstance(one.announcement, kind)
        ]

    def restarted(self, *lost: str) -> list[Command]:
        """Go on from a snapshot, as it is in the store; the files of some updates are gone."""
        snapshot = json.loads(json.dumps(self.experiment.snapshot()))
        self.experiment = Experiment.restore(self.plan, snapshot, self.experiment.versions)
        self.experiment.lose_updates(lost)
        return self.tell(ExperimentStarted(2), *(CollaboratorJoined(name) for name in NAMES))


def test_who_has_answered_is_replaced_at_once_and_late_ones_start_from_their_own_model() -> None:
    told = Told(plan_of())
    first = told.asked()
    assert len(first) == 3
    (fourth,) = {*NAMES} - {given.collaborator for given in first}
    replaced = told.asked(told.answer(first[1]))
    assert [(given.collaborator, given.round, given.model) for given in replaced] == [(fourth, 1, "m0")]
    told.answer(first[2])
    told.make()
    told.answer(first[0])
    second = [given for given in told.asked() if given.round == 2]
    assert {given.model for given in second} == {"m1"}
    told.answer(second[0])
    told.make()
    taken = told.announced(BufferTaken)
    assert taken[1] == BufferTaken(2, (first[0].collaborator, second[0].collaborator), (1, 0), (2**-0.5, 1.0))
    combined = [one for one in told.commands if isinstance(one, Aggregate)]
    assert (combined[0].bases, combined[0].factors) == ({}, {})
    assert combined[1].base_model == "m1"
    assert combined[1].bases == {first[0].collaborator: "m0"}
    assert combined[1].factors == {first[0].collaborator: 2**-0.5}


def test_after_a_restart_the_same_assignments_are_sent_and_what_has_come_stays() -> None:
    told = Told(plan_of())
    first = told.asked()
    again = told.answer(first[0])
    at_work = [*first[1:], *told.asked(again)]
    assert sorted(map(repr, told.asked(told.restarted()))) == sorted(map(repr, at_work))
    told.answer(first[1])
    assert told.announced(BufferTaken) == [
        BufferTaken(1, (first[0].collaborator, first[1].collaborator), (0, 0), (1.0, 1.0))
    ]


def test_an_update_whose_file_is_lost_is_asked_for_again_also_after_it_was_taken() -> None:
    told = Told(plan_of())
    first = told.asked()
    told.answer(first[0])
    told.answer(first[1])
    assert {update.collaborator for update in told.experiment.kept_updates} == {one.collaborator for one in first[:2]}
    sent = told.restarted(first[0].collaborator)
    assert first[0] in told.asked(sent)
    assert told.announced(UpdateLost) == [UpdateLost(1, Phase.TRAIN, first[0].collaborator)]
    told.answer(first[0])
    assert told.announced(BufferTaken)[-1] == BufferTaken(
        1, (first[1].collaborator, first[0].collaborator), (0, 0), (1.0, 1.0)
    )


def test_who_fails_is_replaced_and_not_asked_again_for_this_version() -> None:
    told = Told(plan_of(buffer=1, concurrency=1))
    failing: list[str] = []
    while told.experiment.status is Status.RUNNING:
        given = told.asked()[-1]
        failing.append(given.collaborator)
        told.tell(TaskFailed(1, Phase.TRAIN, given.collaborator, Failure(FailureKind.TASK, "boom")))
    assert sorted(failing) == list(NAMES)
    assert told.experiment.status is Status.FAILED
    assert "1 of 1 updates is needed, 0 can come" in told.experiment.reason


def test_who_is_away_is_waited_for_and_who_is_gone_is_replaced() -> None:
    told = Told(plan_of(concurrency=2))
    first, second = told.asked()
    assert told.asked(told.tell(CollaboratorLeft(first.collaborator, "its connection was lost"))) == []
    assert told.asked(told.tell(CollaboratorJoined(first.collaborator))) == [first]
    instead = told.asked(told.tell(CollaboratorLeft(second.collaborator, "it ended", gone=True)))
    assert len(instead) == 1
    assert instead[0].collaborator not in {first.collaborator, second.collaborator}


def test_what_is_too_stale_is_withdrawn_and_an_update_of_it_refused() -> None:
    told = Told(plan_of(buffer=1, concurrency=2, most=0))
    first, second = told.asked()
    told.answer(first)
    found = told.make()
    reasons = [one for one in found if isinstance(one, WithdrawAssignment)]
    assert {(one.round, one.collaborator) for one in reasons} >= {(1, second.collaborator)}
    told.answer(second)
    assert any(isinstance(one, UpdateRefused) for one in told.announced(UpdateRefused))


@pytest.mark.parametrize("buffer", [3, 9])
def test_a_buffer_is_never_larger_than_there_are_sites(buffer: int) -> None:
    told = Told(plan_of(buffer=buffer, concurrency=9))
    for given in told.asked():
        told.answer(given)
    (taken,) = told.announced(BufferTaken)
    assert isinstance(taken, BufferTaken)
    assert len(taken.sites) == min(buffer, 4)
