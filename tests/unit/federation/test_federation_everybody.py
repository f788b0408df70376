"""All sites of a simulation join with one event, and of those that are not asked nothing is made or written."""

import json
from collections.abc import Iterator

from openfl_like.federation.announcements import CollaboratorAdmitted, CollaboratorsAdmitted, RoundStarted
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    CollaboratorJoined,
    CollaboratorLeft,
    Command,
    EverybodyJoined,
    ExperimentStarted,
    ModelAggregated,
    SendAssignment,
    TaskFailed,
    UpdateCommitted,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase, Update
from openfl_like.numbered_names import NumberedNames
from openfl_like.plan.schema import Plan

MANY = NumberedNames("site-", 7, 1_000_000)
FEW = ("bern", "oslo", "zurich")


class NoList(NumberedNames):
    """Says when somebody goes through more than a few of them."""

    def __iter__(self) -> Iterator[str]:
        yield from self[:10]
        raise AssertionError("a million names are made")


def plan_for(count: int | None, rounds: int = 3) -> Plan:
    selector = {"template": "random", "settings": {"count": count}} if count else {"template": "all"}
    return Plan.model_validate(
        {
            "name": "many",
            "seed": 5,
            "aggregator": {"settings": {"rounds_to_train": rounds}},
            "task_runner": {"template": "src.model:Runner"},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": "train"}},
            "selector": selector,
        }
    )


class Course:
    """Plays the loop and the sites."""

    def __init__(self, experiment: Experiment, *, together: bool = True) -> None:
        self.experiment = experiment
        self.told: list[object] = []
        self.asked: list[str] = []
        names = () if together else experiment._context.state.expected
        for event in (EverybodyJoined(),) if together else [CollaboratorJoined(name) for name in names]:
            self.take(experiment.handle(event, 0.0))
        self.take(experiment.handle(ExperimentStarted(), 0.0))

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Announce(told):
                    self.told.append(told)
                case SendAssignment(work):
                    self.asked.append(work.collaborator)
                    update = Update(work.round, work.phase, work.collaborator, f"{work.collaborator}{work.round}", 3)
                    self.take(self.experiment.handle(UpdateCommitted(update), 0.0))
                case ValidateUpdates(number):
                    self.take(self.experiment.handle(UpdatesValidated(number, {}), 0.0))
                case Aggregate(number):
                    self.take(self.experiment.handle(ModelAggregated(number, f"model-{number}"), 0.0))
                case _:
                    pass


def test_of_a_million_sites_only_those_that_are_asked_are_ever_named() -> None:
    names = NoList(MANY.prefix, MANY.digits, MANY.total)
    course = Course(Experiment("e", plan_for(100), names))
    assert course.experiment.status is Status.FINISHED
    assert [told for told in course.told if isinstance(told, CollaboratorsAdmitted)] == [CollaboratorsAdmitted(10**6)]
    assert len(course.asked) == 301
    assert len(set(course.asked)) > 290
    assert len(json.dumps(course.experiment.snapshot())) < 40_000


def test_it_goes_on_from_a_snapshot_with_the_same_sites() -> None:
    whole = Course(Experiment("e", plan_for(100, rounds=4), MANY))
    first = Course(Experiment("e", plan_for(100, rounds=2), MANY))
    snapshot = json.loads(json.dumps(first.experiment.snapshot())) | {"status": "RUNNING", "reason": ""}
    experiment = Experiment.restore(plan_for(100, rounds=4), snapshot, first.experiment.versions)
    assert experiment.snapshot() == snapshot
    assert first.asked == whole.asked[:201]


def test_few_that_join_together_are_told_of_by_their_names_and_asked_like_those_that_join_alone() -> None:
    together, alone = (Course(Experiment("e", plan_for(2), FEW), together=way) for way in (True, False))
    assert [told for told in together.told if isinstance(told, CollaboratorAdmitted)] == [
        CollaboratorAdmitted(name) for name in FEW
    ]
    assert together.asked == alone.asked
    assert together.experiment.versions == alone.experiment.versions


def test_one_that_leaves_is_not_asked_until_it_is_back() -> None:
    experiment = Experiment("e", plan_for(None), FEW)
    experiment.handle(EverybodyJoined(), 0.0)
    experiment.handle(CollaboratorLeft("oslo", "no power", gone=False), 0.0)
    assert "oslo" in json.dumps(experiment.snapshot())
    started = [told for told in Course(experiment).told if isinstance(told, RoundStarted)]
    assert started[-1].cohort == FEW  # everybody has joined once more
    experiment = Experiment("e", plan_for(2, rounds=1), FEW)
    experiment.handle(EverybodyJoined(), 0.0)
    experiment.handle(CollaboratorLeft("oslo", "no power", gone=True), 0.0)
    assert experiment._context.roster.joined() == ["bern", "zurich"]
    experiment.handle(CollaboratorJoined("oslo"), 0.0)
    assert experiment._context.roster.joined() == FEW


def test_where_the_initial_model_fails_everywhere_not_everybody_is_asked() -> None:
    experiment = Experiment("e", plan_for(100), MANY)
    experiment.handle(EverybodyJoined(), 0.0)
    waiting, asked = list(experiment.handle(ExperimentStarted(), 0.0)), []
    while waiting:
        command = waiting.pop(0)
        if isinstance(command, SendAssignment):
            asked.append(command.assignment.collaborator)
            failure = Failure(FailureKind.TASK, "no such column")
            waiting += experiment.handle(TaskFailed(0, Phase.INITIALISE, asked[-1], failure), 0.0)
    assert experiment.status is Status.FAILED
    assert asked == list(MANY[:20])
    assert experiment.reason.startswith("round 0: none of the 20 sites that were asked could make the initial model: ")
    assert "no such column" in experiment.reason


def test_a_snapshot_of_a_federation_has_the_names_that_its_director_reads() -> None:
    names = ("site-1", "site-2", "site-3")
    assert Experiment("e", plan_for(2), names).snapshot()["expected"] == list(names)
