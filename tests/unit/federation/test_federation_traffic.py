"""A budget of bytes: what counts, when it ends an experiment, and that a restart forgets none of it."""

from collections.abc import Sequence

from played import PlayedExperiment

from openfl_like.federation.announcements import ExperimentEnded, RoundFinished, UpdateReceived
from openfl_like.federation.events import (
    Aggregate,
    CollaboratorJoined,
    CollaboratorLeft,
    Command,
    Event,
    ExperimentStarted,
    ModelAggregated,
    UpdateCommitted,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan

MODEL, NEW_MODEL, UPDATE = 1000, 1200, 300


def plan_with(budget: int | None, **sections: object) -> Plan:
    rule = {} if budget is None else {"stop": {"any": [{"traffic_bytes": budget}]}}
    return Plan.model_validate(
        {
            "name": "demo",
            "task_runner": {"template": "src.model:Runner"},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
            **rule,
            **sections,
        }
    )


class Federation(PlayedExperiment):
    """Three sites, whose updates are all of one size; one of them may be silent until it is asked again."""

    silent = ""

    def perform(self, job: Assignment) -> Sequence[Event]:
        if job.collaborator == self.silent:
            return []
        digest = "" if job.phase is Phase.EVALUATE else f"update-{job.round}-{job.collaborator}"
        update = Update(job.round, job.phase, job.collaborator, digest, 4)
        return [UpdateCommitted(update, UPDATE if digest else 0)]

    def answer(self, command: Command) -> Sequence[Event]:
        if isinstance(command, Aggregate):
            return [ModelAggregated(command.round, f"model-{command.round}", size_bytes=NEW_MODEL)]
        return super().answer(command)


def begun(plan: Plan, silent: str = "") -> Federation:
    federation = Federation(Experiment("e1", plan, ("a", "b", "c"), "given", MODEL))
    federation.silent = silent
    federation.feed(ExperimentStarted(), *(CollaboratorJoined(name) for name in "abc"))
    return federation


def used(federation: Federation) -> list[int | None]:
    return [told.traffic_bytes for told in federation.told(RoundFinished)]


FIRST = 3 * (MODEL + UPDATE + NEW_MODEL)
"""Three get the initial model, train and get the new one."""
ROUND = 3 * (UPDATE + NEW_MODEL)
"""After that they have the model that they train on: it is the one that they have evaluated."""


def test_each_site_is_given_each_model_once_and_updates_count_as_they_come() -> None:
    federation = begun(plan_with(FIRST + ROUND + 1))
    assert used(federation) == [FIRST, FIRST + ROUND, FIRST + 2 * ROUND]
    assert federation.experiment.status is Status.FINISHED
    (ended,) = federation.told(ExperimentEnded)
    assert ended.reason == "models and updates came to 16,500 bytes, 12,001 were planned"
    assert {told.size_bytes for told in federation.told(UpdateReceived)} == {0, UPDATE}


def test_a_budget_that_is_met_exactly_is_used_up() -> None:
    assert used(begun(plan_with(FIRST + ROUND))) == [FIRST, FIRST + ROUND]


def test_only_those_who_are_asked_are_given_a_model() -> None:
    selector = {"template": "random", "settings": {"count": 1}}
    plan = plan_with(10**6, selector=selector, evaluation_selector=selector, stop={"any": [{"traffic_bytes": 3000}]})
    first = begun(plan)
    assert used(first)[0] == MODEL + UPDATE + NEW_MODEL


def test_what_is_sent_again_does_not_count() -> None:
    federation = begun(plan_with(FIRST), silent="c")
    federation.feed(CollaboratorLeft("c", "its connection was lost"))
    federation.silent = ""
    federation.feed(CollaboratorJoined("c"))
    assert used(federation) == [FIRST]


def test_a_restart_forgets_nothing() -> None:
    plan = plan_with(FIRST + ROUND)
    federation = begun(plan, silent="c")
    again = Federation(Experiment.restore(plan, federation.experiment.snapshot(), federation.experiment.versions))
    again.feed(ExperimentStarted(2), *(CollaboratorJoined(name) for name in "abc"))
    assert used(again) == used(begun(plan))
    assert again.experiment.status is Status.FINISHED


def test_without_such_a_rule_nobody_counts_and_nothing_is_remembered() -> None:
    federation = begun(plan_with(None, aggregator={"settings": {"rounds_to_train": 2}}))
    assert used(federation) == [None, None]
    assert "traffic" not in federation.experiment.snapshot()
