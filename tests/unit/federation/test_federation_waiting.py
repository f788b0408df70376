"""How long is waited where the plan does not say."""

import json

from openfl_like.federation.announcements import CollaboratorAbsent
from openfl_like.federation.events import (
    Announce,
    CollaboratorJoined,
    CollaboratorLeft,
    Command,
    Event,
    ExperimentStarted,
    ModelAggregated,
    SendAssignment,
    StartTimer,
    TimerFired,
    UpdateCommitted,
    UpdatesValidated,
    WithdrawAssignment,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.limits import FIRST_TASK_S, silence_limit_s
from openfl_like.plan.schema import Plan


class Clocked:
    """An experiment of two sites whose events have times."""

    def __init__(self) -> None:
        values = {
            "name": "demo",
            "aggregator": {"settings": {"rounds_to_train": 2}},
            "task_runner": {"template": "src.model:Runner"},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": "train"}},
        }
        self.plan = Plan.model_validate(values)
        self.experiment = Experiment("exp-1", self.plan, ("a", "b"), "given")
        self.commands: list[Command] = []

    def at(self, now: float, *events: Event) -> None:
        for event in events:
            self.commands += self.experiment.handle(event, now)

    def start(self) -> None:
        self.at(0.0, ExperimentStarted(), CollaboratorJoined("a"), CollaboratorJoined("b"))

    def answer(self, now: float, name: str, number: int = 1) -> None:
        self.at(now, UpdateCommitted(Update(number, Phase.TRAIN, name, f"{name}-{number}", 4)))

    def absences(self) -> list[CollaboratorAbsent]:
        told = [command.announcement for command in self.commands if isinstance(command, Announce)]
        return [each for each in told if isinstance(each, CollaboratorAbsent)]

    def limits(self) -> list[float | None]:
        return [command.assignment.deadline_s for command in self.commands if isinstance(command, SendAssignment)]


def test_a_site_that_says_nothing_is_given_up_when_no_other_has_answered_for_long() -> None:
    play = Clocked()
    play.start()
    assert StartTimer("silence", 60.0) in play.commands
    play.answer(1000.0, "a")
    play.at(1000.0 + silence_limit_s(FIRST_TASK_S) - 1, TimerFired("silence"))
    assert play.absences() == []
    assert play.commands.count(StartTimer("silence", 60.0)) == 2
    play.at(1000.0 + silence_limit_s(FIRST_TASK_S), TimerFired("silence"))
    [absence] = play.absences()
    assert absence.failure is not None
    assert (absence.collaborator, absence.failure.kind) == ("b", FailureKind.DEADLINE)
    assert absence.reason == "sent no update within 172800 s (deadline.train_s or deadline.round_s sets another limit)"
    assert [command.collaborator for command in play.commands if isinstance(command, WithdrawAssignment)] == ["b"]
    assert play.experiment.status is Status.FAILED


def test_limits_follow_what_was_observed_and_outlive_a_restart() -> None:
    play = Clocked()
    play.start()
    play.answer(5.0, "a")
    play.answer(500.0, "b")
    play.at(500.0, UpdatesValidated(1), ModelAggregated(1, "model-1"))
    assert play.limits() == [FIRST_TASK_S, FIRST_TASK_S, 7200.0, 7200.0]
    play.answer(600.0, "a", 2)
    snapshot = json.loads(json.dumps(play.experiment.snapshot()))
    restored = Experiment.restore(play.plan, snapshot, play.experiment.versions)
    later = restored.handle(CollaboratorJoined("b"), 90_000.0) + restored.handle(ExperimentStarted(), 90_000.0)
    assert [each.assignment.deadline_s for each in later if isinstance(each, SendAssignment)] == [7200.0]
    assert restored.handle(TimerFired("silence"), 90_060.0) == [StartTimer("silence", 60.0)]
    assert restored.handle(CollaboratorLeft("b", "no line"), 90_061.0)[-1] == StartTimer("rejoin:b:1", 1000.0)


def test_a_site_that_did_not_come_back_ends_the_experiment_with_the_ways_out() -> None:
    play = Clocked()
    play.start()
    play.at(1.0, CollaboratorLeft("b", "its connection was lost"))
    play.answer(2.0, "a")
    play.at(61.0, TimerFired("rejoin:b:1"))
    assert play.experiment.status is Status.FAILED
    assert "site 'b' left: its connection was lost, did not come back within 60 s" in play.experiment.reason
    for way in ("fx experiment resume", "deadline.rejoin_s", "participation"):
        assert way in play.experiment.reason
