"""What the transcripts do not show."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from played import PlayedExperiment

from openfl_like.errors import ConflictError, PlanError
from openfl_like.federation.announcements import (
    ExperimentBegun,
    ModelKept,
    ModelMade,
    RoundFinished,
    RoundStarted,
    UpdateLost,
    UpdateReceived,
    UpdateRefused,
)
from openfl_like.federation.deliveries import Receipt
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    CollaboratorJoined,
    CollaboratorLeft,
    Event,
    ExperimentStarted,
    FinishExperiment,
    ModelAggregated,
    ModelVersion,
    PublishVersion,
    SendAssignment,
    StartTimer,
    StepFailed,
    TaskFailed,
    TimerFired,
    UpdateCommitted,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.federation.unmeasured import MetricsUndefined
from openfl_like.plan.digest import freeze
from openfl_like.plan.schema import Plan

TRAIN = {"function": "train"}
VALIDATE = {"function": "validate"}


def plan_with(tasks: dict[str, object] | None = None, **parts: object) -> Plan:
    basis = {
        "name": "demo",
        "seed": 7,
        "aggregator": {"settings": {"rounds_to_train": 2}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": tasks or {"train": TRAIN, "validate": VALIDATE},
    }
    return Plan.model_validate(basis | parts)


class Federation(PlayedExperiment):
    """An experiment whose sites answer at once, except those that are told to be silent."""

    def __init__(self, plan: Plan, sites: str, initial_model: str = "given", silent: str = "") -> None:
        super().__init__(Experiment("exp-1", plan, tuple(sites), initial_model))
        self.silent = silent
        self.sent: list[Assignment] = []
        self.feed(ExperimentStarted(), *(CollaboratorJoined(name) for name in sites))

    def perform(self, job: Assignment) -> Sequence[Event]:
        self.sent.append(job)
        return [] if job.collaborator in self.silent else [UpdateCommitted(update_for(job))]


def update_for(job: Assignment, **change: object) -> Update:
    digest = "" if job.phase is Phase.EVALUATE else f"{job.collaborator}-{job.round}"
    metrics = {"validate": {"accuracy": 0.5}} if job.phase is Phase.EVALUATE else {}
    values: dict[str, object] = {"digest": digest, "num_samples": 4, "metrics": metrics} | change
    return Update(job.round, job.phase, job.collaborator, **values)  # type: ignore[arg-type]  # built from a dict


def test_a_plan_that_only_evaluates_keeps_the_model() -> None:
    federation = Federation(plan_with({"validate": VALIDATE}), "ab")
    assert federation.experiment.status is Status.FINISHED
    assert {(job.phase, job.model) for job in federation.sent} == {(Phase.EVALUATE, "given")}
    assert federation.experiment.versions == (
        ModelVersion(0, "given"),
        ModelVersion(1, "given", {"accuracy": 0.5}),
        ModelVersion(2, "given", {"accuracy": 0.5}),
    )


def test_a_plan_without_evaluation_publishes_at_once() -> None:
    federation = Federation(plan_with({"train": TRAIN}), "ab")
    assert federation.experiment.status is Status.FINISHED
    assert [job.phase for job in federation.sent] == [Phase.TRAIN] * 4
    assert [version.metrics for version in federation.experiment.versions] == [{}, {}, {}]


def test_evaluation_goes_to_all_members_and_not_only_the_cohort() -> None:
    plan = plan_with(selector={"template": "random", "settings": {"count": 1}})
    federation = Federation(plan, "abc")
    names = {phase: [job.collaborator for job in federation.sent if job.phase is phase] for phase in Phase}
    assert len(names[Phase.TRAIN]) == 2
    assert names[Phase.EVALUATE] == ["a", "b", "c"] * 2
    assert federation.told(RoundStarted)[0].quorum == 1


def test_a_selector_of_its_own_says_who_evaluates_drawn_anew_in_every_round() -> None:
    plan = plan_with(evaluation_selector={"template": "random", "settings": {"count": 2}})
    federation = Federation(plan, "abcdefgh")
    evaluators = [
        [job.collaborator for job in federation.sent if (job.round, job.phase) == (n, "evaluate")] for n in (1, 2)
    ]
    assert [len(names) for names in evaluators] == [2, 2]
    assert evaluators[0] != evaluators[1]
    assert len([job for job in federation.sent if job.phase is Phase.TRAIN]) == 16
    assert [tuple(told.evaluators) for told in federation.told(RoundFinished)] == [tuple(names) for names in evaluators]
    assert not federation.experiment.shortfalls


def test_who_evaluates_may_be_those_whose_loss_was_highest() -> None:
    plan = plan_with(evaluation_selector={"template": "power_of_choice", "settings": {"count": 1, "candidates": 3}})
    federation = Federation(plan, "abc", silent="abc")
    for name, loss in (("a", 1.0), ("b", 9.0), ("c", 2.0)):
        job = next(job for job in federation.sent if job.collaborator == name)
        federation.feed(UpdateCommitted(update_for(job, metrics={"train": {"loss": loss}})))
    assert [job.collaborator for job in federation.sent if job.phase is Phase.EVALUATE] == ["b"]


def test_too_few_of_those_who_are_to_evaluate_is_told() -> None:
    plan = plan_with(
        {"validate": VALIDATE},
        evaluation_selector={"template": "random", "settings": {"fraction": 1.0, "exclude": ["c"]}},
    )
    federation = Federation(plan, "abc", silent="ab")
    federation.feed(CollaboratorLeft("b", "closed", gone=True))
    federation.feed(UpdateCommitted(update_for(federation.sent[0])))
    assert sorted(federation.experiment.shortfalls) == ["b"]


def test_sites_without_training_tasks_are_not_in_the_cohort() -> None:
    groups = [
        {"name": "trainers", "collaborators": ["a"], "tasks": ["train"]},
        {"name": "all", "collaborators": ["a", "b"], "tasks": ["validate"]},
    ]
    federation = Federation(plan_with(assigner={"template": "static", "settings": {"groups": groups}}), "ab")
    assert federation.experiment.status is Status.FINISHED
    assert [started.cohort for started in federation.told(RoundStarted)] == [("a",), ("a",)]


def test_an_excluded_site_does_not_count_for_the_quorum() -> None:
    federation = Federation(plan_with(selector={"template": "all", "settings": {"exclude": ["c"]}}), "abc")
    assert federation.told(RoundStarted)[0] == RoundStarted(1, ("a", "b"), 2)


def test_every_assignment_has_its_own_seed_but_the_initial_one() -> None:
    federation = Federation(plan_with(), "ab", "")
    seeds = {(job.round, job.phase, job.collaborator): job.seed for job in federation.sent}
    assert len(set(seeds.values())) == len(seeds) == 9
    assert Federation(plan_with(), "b", "").sent[0].seed == federation.sent[0].seed


def test_nobody_evaluates() -> None:
    federation = Federation(plan_with(), "a", silent="a")
    federation.feed(UpdateCommitted(update_for(federation.sent[-1])))
    assert federation.sent[-1].phase is Phase.EVALUATE
    boom = Failure(FailureKind.TASK, "boom", "ValueError", task="validate")
    federation.feed(TaskFailed(1, Phase.EVALUATE, "a", boom))
    assert federation.experiment.versions[-1] == ModelVersion(1, "model-1")
    told = federation.told(RoundFinished)[-1]
    assert (told.absent, told.evaluators) == ({}, ())
    placed = replace(boom, phase=Phase.EVALUATE, round=1, site="a")
    assert told.unevaluated == {"a": placed}
    assert federation.experiment.round == 2
    assert federation.experiment.shortfalls == {"a": placed}


@pytest.mark.parametrize("change", [{"num_samples": -1}, {"metrics": {"train": {"x" * 201: 0.5}}}, {"digest": ""}])
def test_impossible_facts_are_refused_on_arrival(change: dict[str, object]) -> None:
    federation = Federation(plan_with(participation={"policy": "quorum", "min_fraction": 0.5}), "ab", silent="ab")
    federation.feed(UpdateCommitted(update_for(federation.sent[0], **change)))
    federation.feed(UpdateCommitted(update_for(federation.sent[1])))
    assert [item.collaborator for item in federation.told(UpdateRefused)] == ["a"]
    assert federation.told(ModelMade)[0].weights == {"b": 1.0}
    json.dumps(federation.experiment.snapshot(), allow_nan=False)


def test_a_failed_step_ends_the_experiment_with_its_reason() -> None:
    experiment = Experiment("exp-1", plan_with(), ("a",), "given")
    for event in (ExperimentStarted(), CollaboratorJoined("a")):
        experiment.handle(event, 0.0)
    assert experiment.handle(StepFailed(1, Failure(FailureKind.COMBINE, "too early")), 0.0) == []
    experiment.handle(UpdateCommitted(Update(1, Phase.TRAIN, "a", "a-1", 4)), 0.0)
    experiment.handle(StepFailed(1, Failure(FailureKind.COMBINE, "no space left on device")), 0.0)
    assert (experiment.status, experiment.reason) == (
        Status.FAILED,
        "round 1: the updates could not be combined: no space left on device",
    )
    assert experiment.handle(UpdatesValidated(1), 0.0) == []


def test_a_site_that_is_gone_for_good_is_not_waited_for() -> None:
    federation = Federation(plan_with(), "ab", silent="b")
    federation.feed(CollaboratorLeft("b", "site closed", gone=True))
    assert federation.experiment.reason == "round 1: 2 of 2 updates are needed, 1 can come: site 'b' left: site closed"


def test_nor_at_the_beginning_of_a_round() -> None:
    federation = Federation(plan_with(), "ab", silent="ab")
    federation.feed(*(UpdateCommitted(update_for(job)) for job in federation.sent))
    federation.feed(UpdateCommitted(update_for(federation.sent[3])), CollaboratorLeft("b", "site closed", gone=True))
    federation.feed(UpdateCommitted(update_for(federation.sent[2])))
    assert federation.experiment.versions[-1].metrics == {"accuracy": 0.5}
    assert federation.experiment.reason == "round 2: 2 of 2 updates are needed, 1 can come: site 'b' left: site closed"


def test_with_which_certificates_its_sites_came_outlasts_a_restart() -> None:
    plan = plan_with()
    experiment = Experiment("exp-1", plan, ("a", "b", "c"), "given")
    joined = (CollaboratorJoined("a", 0), CollaboratorJoined("b", 3), CollaboratorJoined("c"))
    for event in (ExperimentStarted(), *joined):
        experiment.handle(event, 0.0)
    restored = Experiment.restore(plan, json.loads(json.dumps(experiment.snapshot())), experiment.versions)
    assert restored.certificate_lists == {"a": 0, "b": 3}
    for event in (ExperimentStarted(), CollaboratorJoined("a", 4)):
        restored.handle(event, 0.0)
    assert restored.certificate_lists == {"a": 4, "b": 3}


def test_a_restart_between_phases_forgets_nobody() -> None:
    plan = plan_with()
    experiment = Experiment("exp-1", plan, ("a", "b"), "given")
    for event in (ExperimentStarted(), CollaboratorJoined("a"), CollaboratorJoined("b")):
        experiment.handle(event, 0.0)
    for name in "ab":
        experiment.handle(UpdateCommitted(Update(1, Phase.TRAIN, name, f"{name}-1", 4)), 0.0)
    restored = Experiment.restore(plan, json.loads(json.dumps(experiment.snapshot())), experiment.versions)
    # One site is faster than the start of the loop, the other one comes after the model.
    assert restored.handle(CollaboratorJoined("b"), 0.0) == []
    commands = restored.handle(ExperimentStarted(), 0.0)
    assert [type(command) for command in commands if not isinstance(command, Announce)] == [
        StartTimer,  # looks whether the phase has become silent
        StartTimer,
        ValidateUpdates,
    ]
    restored.handle(UpdatesValidated(1), 0.0)
    commands = restored.handle(ModelAggregated(1, "model-1"), 0.0)
    assert [item.assignment.collaborator for item in commands if isinstance(item, SendAssignment)] == ["b"]
    commands = restored.handle(CollaboratorJoined("a"), 0.0)
    assert [item.assignment.phase for item in commands if isinstance(item, SendAssignment)] == [Phase.EVALUATE]
    assert not any(isinstance(item, PublishVersion) for item in restored.handle(TimerFired("rejoin:a:1"), 0.0))


def test_an_update_that_was_lost_on_the_disk_is_asked_for_again() -> None:
    plan = plan_with()
    experiment = Experiment("exp-1", plan, ("a", "b"), "given")
    for event in (ExperimentStarted(), CollaboratorJoined("a"), CollaboratorJoined("b")):
        experiment.handle(event, 0.0)
    for name in "ab":
        experiment.handle(UpdateCommitted(Update(1, Phase.TRAIN, name, f"{name}-1", 4)), 0.0)
    restored = Experiment.restore(plan, json.loads(json.dumps(experiment.snapshot())), experiment.versions)
    assert [update.collaborator for update in restored.kept_updates] == ["a", "b"]
    restored.lose_updates(["b"])
    assert [receipt.collaborator for receipt in restored.receipts] == ["a"]
    commands = restored.handle(ExperimentStarted(2), 0.0)
    assert Announce(UpdateLost(1, Phase.TRAIN, "b")) in commands
    assert not any(isinstance(item, ValidateUpdates | Aggregate) for item in commands)
    commands = restored.handle(CollaboratorJoined("b"), 0.0)
    assert [item.assignment.phase for item in commands if isinstance(item, SendAssignment)] == [Phase.TRAIN]
    assert not any(isinstance(item, SendAssignment) for item in restored.handle(CollaboratorJoined("a"), 0.0))
    commands = restored.handle(UpdateCommitted(Update(1, Phase.TRAIN, "b", "b-1", 4)), 0.0)
    assert any(isinstance(item, ValidateUpdates) for item in commands)


def test_a_restart_during_admission_waits_anew() -> None:
    plan = plan_with()
    experiment = Experiment("exp-1", plan, ("a", "b"))
    experiment.handle(ExperimentStarted(), 0.0)
    experiment.handle(CollaboratorJoined("a"), 0.0)
    restored = Experiment.restore(plan, experiment.snapshot(), experiment.versions)
    assert StartTimer("admission", 60.0) in restored.handle(ExperimentStarted(), 0.0)
    restored.handle(CollaboratorJoined("b"), 0.0)
    assert restored.status is Status.STARTING
    assert any(isinstance(item, SendAssignment) for item in restored.handle(CollaboratorJoined("a"), 0.0))


def test_an_ended_experiment_answers_nothing() -> None:
    federation = Federation(plan_with(), "a")
    assert federation.experiment.status is Status.FINISHED
    restored = Experiment.restore(plan_with(), federation.experiment.snapshot(), federation.experiment.versions)
    for event in (ExperimentStarted(), CollaboratorJoined("a"), TimerFired("admission")):
        assert restored.handle(event, 0.0) == []
    ends = [command for command in federation.commands if isinstance(command, FinishExperiment)]
    assert ends == [FinishExperiment(Status.FINISHED, "2 of 2 rounds are done")]


def test_its_start_tells_the_frozen_plan() -> None:
    federation = Federation(plan_with(), "ab")
    (begun,) = federation.told(ExperimentBegun)
    assert json.dumps(begun.plan, separators=(",", ":")).encode() == freeze(plan_with())


def test_seconds_of_a_round_are_those_of_the_events() -> None:
    experiment = Experiment("exp-1", plan_with({"train": TRAIN}), ("a",), "given")
    experiment.handle(ExperimentStarted(), 1000.0)
    experiment.handle(CollaboratorJoined("a"), 1001.0)
    experiment.handle(UpdateCommitted(Update(1, Phase.TRAIN, "a", "a-1", 4)), 1005.0)
    experiment.handle(UpdatesValidated(1), 1006.0)
    commands = experiment.handle(ModelAggregated(1, "model-1"), 1007.5)
    told = [item.announcement for item in commands if isinstance(item, Announce)]
    assert [item.seconds for item in told if isinstance(item, RoundFinished)] == [6.5]


def test_a_snapshot_of_the_first_release_goes_on_with_what_it_remembers() -> None:
    plan = plan_with()
    experiment = Experiment("exp-1", plan, ("a", "b", "c"), "given")
    experiment.handle(ExperimentStarted(), 0.0)
    for name in "abc":
        experiment.handle(CollaboratorJoined(name), 0.0)
    experiment.handle(UpdateCommitted(Update(1, Phase.TRAIN, "a", "a-1", 4)), 0.0)
    old = json.loads(json.dumps(experiment.snapshot()))
    whole = {"presence": "present", "member": True, "absences": 0, "reason": "", "overdue": False, "delivered": {}}
    old["roster"]["sites"] = {name: {"name": name, **whole} for name in "abc"}
    old["roster"]["sites"]["a"]["delivered"] = {"train": "1:a-1"}
    old["roster"]["sites"]["c"] |= {"presence": "gone", "absences": 1, "reason": "left: no power"}
    old["round"]["absent"] = {"c": "left: no power"}
    old["shortfalls"] = {"c": "round 1: left: no power"}
    restored = Experiment.restore(plan, old, experiment.versions)
    assert restored.shortfalls == {"c": Failure(FailureKind.TOLD, "round 1: left: no power")}
    assert restored.receipts == experiment.receipts == [Receipt(1, Phase.TRAIN, "a", "a-1")]
    restored.handle(ExperimentStarted(2), 0.0)
    restored.handle(CollaboratorJoined("a"), 0.0)
    restored.handle(CollaboratorJoined("b"), 0.0)
    assert restored.status is Status.FAILED
    assert restored.reason.endswith("2 can come: site 'c' left: no power")


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(ConflictError, match="cannot be read"):
        Experiment.restore(plan_with(), {"experiment_id": "x"}, ())


def test_a_group_with_an_unknown_task_is_found_at_the_start() -> None:
    groups = [{"name": "g", "collaborators": ["a"], "tasks": ["tran"]}]
    with pytest.raises(PlanError, match="'tran'"):
        Experiment("exp-1", plan_with(assigner={"template": "static", "settings": {"groups": groups}}))


def answer_all(federation: Federation, **of_a: object) -> None:
    """Have both sites answer what they were asked last; the answers of ``a`` in training and evaluation differ."""
    for job in federation.sent[-2:]:
        change = of_a.get(job.phase.value, {}) if job.collaborator == "a" else {}
        federation.feed(UpdateCommitted(update_for(job, **change)))  # type: ignore[arg-type]  # given as keywords


def test_a_metric_that_is_no_number_is_left_out_and_told_once_and_the_update_counts() -> None:
    federation = Federation(plan_with(), "ab", silent="ab")
    undefined = {"metrics": {"validate": {"auc": math.nan, "loss": math.inf, "accuracy": 1.0}}}
    for _ in range(4):
        answer_all(federation, evaluate=undefined)
    assert federation.experiment.status is Status.FINISHED
    assert federation.experiment.shortfalls == {}
    assert federation.told(UpdateRefused) == []
    expected = MetricsUndefined(1, Phase.EVALUATE, "a", {"validate": {"auc": "nan", "loss": "inf"}})
    assert federation.told(MetricsUndefined) == [expected]
    assert federation.experiment.versions[-1].metrics == {"accuracy": 0.75}
    [first, *_] = [told for told in federation.told(UpdateReceived) if told.collaborator == "a" and told.metrics]
    assert first.metrics == {"validate": {"accuracy": 1.0}}
    json.dumps(federation.experiment.snapshot(), allow_nan=False)


def test_other_undefined_metrics_are_told_again() -> None:
    federation = Federation(plan_with(), "ab", silent="ab")
    for name in ("auc", "recall"):
        answer_all(federation)
        answer_all(federation, evaluate={"metrics": {"validate": {name: math.nan}}})
    assert [[*told.metrics["validate"]] for told in federation.told(MetricsUndefined)] == [["auc"], ["recall"]]


def test_a_site_without_samples_takes_part_and_is_no_part_of_the_model() -> None:
    federation = Federation(plan_with(), "ab", silent="ab")
    answer_all(federation, train={"num_samples": 0})
    [made] = [command for command in federation.commands if isinstance(command, Aggregate)]
    assert [update.collaborator for update in made.updates] == ["b"]
    assert federation.told(ModelMade)[0].weights == {"a": 0.0, "b": 1.0}
    answer_all(federation)
    finished = federation.told(RoundFinished)[0]
    assert (finished.contributors, finished.absent) == (("a", "b"), {})


def test_a_round_in_which_nobody_has_samples_keeps_the_model_and_says_so() -> None:
    federation = Federation(plan_with(), "ab", silent="ab")
    for job in list(federation.sent):
        federation.feed(UpdateCommitted(update_for(job, num_samples=0)))
    assert federation.told(ModelKept) == [ModelKept(1, "given", {"a": "a-1", "b": "b-1"})]
    assert not [command for command in federation.commands if isinstance(command, Aggregate)]
    assert {(job.phase, job.model) for job in federation.sent[-2:]} == {(Phase.EVALUATE, "given")}
    experiment = federation.experiment
    restored = Experiment.restore(plan_with(), json.loads(json.dumps(experiment.snapshot())), experiment.versions)
    assert restored.unpublished is None
    answer_all(federation)
    assert experiment.versions[1] == ModelVersion(1, "given", {"accuracy": 0.5})
