"""A site that comes when the experiment has begun."""

from collections.abc import Sequence

import pytest
from played import PlayedExperiment

from openfl_like.federation.announcements import CollaboratorAdmitted, RoundFinished
from openfl_like.federation.events import (
    CollaboratorJoined,
    CollaboratorLeft,
    Event,
    ExperimentStarted,
    UpdateCommitted,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan


def plan_with(late_join: str = "current_round", **parts: object) -> Plan:
    basis: dict[str, object] = {
        "name": "demo",
        "seed": 3,
        "aggregator": {"settings": {"rounds_to_train": 2}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
        "admission": {"min_collaborators": 2, "late_join": late_join},
        "participation": {"policy": "quorum", "min_updates": 2},
    }
    return Plan.model_validate({**basis, **parts})


class Federation(PlayedExperiment):
    """An experiment whose sites answer when they are told to."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(Experiment("exp-1", plan, (), "given"))
        self.open: dict[tuple[int, Phase, str], Assignment] = {}
        self.feed(ExperimentStarted(), CollaboratorJoined("a"), CollaboratorJoined("b"))

    def perform(self, job: Assignment) -> Sequence[Event]:
        if job.phase is Phase.EVALUATE:
            return [UpdateCommitted(Update(job.round, job.phase, job.collaborator, "", 4))]
        self.open[job.round, job.phase, job.collaborator] = job
        return []

    def train(self, *names: str, number: int = 1) -> None:
        for name in names:
            job = self.open[number, Phase.TRAIN, name]
            self.feed(UpdateCommitted(Update(job.round, job.phase, name, f"{name}-{job.round}", 4)))

    def asked(self, number: int) -> list[str]:
        return sorted(name for at, phase, name in self.open if (at, phase) == (number, Phase.TRAIN))

    def finished(self) -> list[RoundFinished]:
        return self.told(RoundFinished)


def test_a_site_that_comes_while_others_train_trains_as_well() -> None:
    federation = Federation(plan_with())
    federation.train("a")
    federation.feed(CollaboratorJoined("c"))
    assert federation.asked(1) == ["a", "b", "c"]
    federation.train("b")
    assert federation.finished() == []
    federation.train("c")
    (first,) = federation.finished()
    assert (first.selected, first.contributors) == (("a", "b", "c"), ("a", "b", "c"))
    assert federation.asked(2) == ["a", "b", "c"]


@pytest.mark.parametrize(("late_join", "asked"), [("next_round", ["a", "b", "c"]), ("deny", ["a", "b"])])
def test_other_plans_have_it_wait_or_send_it_away(late_join: str, asked: list[str]) -> None:
    federation = Federation(plan_with(late_join))
    federation.feed(CollaboratorJoined("c"))
    assert federation.asked(1) == ["a", "b"]
    federation.train("a", "b")
    assert federation.asked(2) == asked


def test_one_that_leaves_again_leaves_the_round_as_it_was() -> None:
    one_round = {"settings": {"rounds_to_train": 1}}
    federation = Federation(plan_with(participation={"policy": "exact"}, aggregator=one_round))
    federation.feed(CollaboratorJoined("c"), CollaboratorLeft("c", "closed", gone=True))
    federation.train("a", "b")
    assert federation.experiment.status is Status.FINISHED
    assert [*federation.finished()[0].absent] == ["c"]


def test_the_selector_is_asked_again_and_may_say_no() -> None:
    fixed = {"template": "fixed", "settings": {"rounds": [["a", "b"], ["a", "b", "c"]]}}
    federation = Federation(plan_with(selector=fixed))
    federation.feed(CollaboratorJoined("c"))
    assert federation.asked(1) == ["a", "b"]
    federation.train("a", "b")
    assert federation.asked(2) == ["a", "b", "c"]


def test_one_that_comes_when_training_is_over_waits_for_the_next_round() -> None:
    federation = Federation(plan_with())
    federation.train("a", "b")
    federation.train("a", number=2)
    federation.feed(CollaboratorJoined("c"))
    federation.train("b", "c", number=2)
    assert [told.contributors for told in federation.finished()] == [("a", "b"), ("a", "b", "c")]


def test_a_restart_knows_who_has_come() -> None:
    plan = plan_with()
    federation = Federation(plan)
    federation.feed(CollaboratorJoined("c"))
    again = Federation(plan)
    again.experiment = Experiment.restore(plan, federation.experiment.snapshot(), federation.experiment.versions)
    again.open.clear()
    again.feed(*(CollaboratorJoined(name) for name in "abc"), ExperimentStarted(2))
    assert again.asked(1) == ["a", "b", "c"]


def test_how_much_it_trains_is_said_as_for_the_others() -> None:
    work = {"template": "static", "settings": {"batches": 5, "sites": {"c": {"batches": 2}}}}
    federation = Federation(plan_with(work=work))
    federation.feed(CollaboratorJoined("c"))
    amounts = {name: federation.open[1, Phase.TRAIN, name].work for name in "abc"}
    assert [None if amount is None else amount.batches for amount in amounts.values()] == [5, 5, 2]


def test_its_admission_is_told_once() -> None:
    federation = Federation(plan_with())
    federation.feed(CollaboratorJoined("c"), CollaboratorJoined("c"))
    assert [told.collaborator for told in federation.told(CollaboratorAdmitted)] == ["a", "b", "c"]
