"""Verdicts on updates and on models: what an experiment does about them, and what its record says."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest

from openfl_like.federation.announcements import (
    Announced,
    CollaboratorAbsent,
    ModelMade,
    NothingLearnt,
    RoundFinished,
    Wanted,
)
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    CollaboratorJoined,
    Command,
    Event,
    ExperimentStarted,
    ModelAggregated,
    SendAssignment,
    UpdateCommitted,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.history.rounds import RoundRecord, round_records
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.federation.validation.verdict import (
    Consequence,
    Measure,
    ModelRejected,
    UpdatesJudged,
    UpdateVerdict,
)
from openfl_like.plan.schema import Plan

CLIPPED = UpdateVerdict("a", "norm", Measure.NORM, 8.0, 2.0, Consequence.CLIP)
DROPPED = UpdateVerdict("b", "cosine", Measure.COSINE, -0.5, 0.0, Consequence.DROP)
QUORUM = {"policy": "quorum", "min_updates": 2}


def plan_with(**parts: object) -> Plan:
    basis: dict[str, object] = {
        "name": "demo",
        "aggregator": {"settings": {"rounds_to_train": 3}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
        "participation": QUORUM,
        "model_store": {"best": {"metric": "accuracy"}},
    }
    return Plan.model_validate(basis | parts)


class Told:
    """An experiment of three sites that is driven by hand."""

    def __init__(
        self,
        plan: Plan,
        *,
        samples: Mapping[str, int] | None = None,
        accuracy: Sequence[float | None] = (0.5, 0.5, 0.5),
        verdicts: Iterable[UpdateVerdict] = (),
    ) -> None:
        self.plan, self.samples, self.accuracy, self.verdicts = plan, samples or {}, accuracy, tuple(verdicts)
        self.experiment = Experiment("exp-1", plan, ("a", "b", "c"), "given")
        self.commands: list[Command] = []
        self.sent: list[Assignment] = []

    def run(self) -> "Told":
        self.feed(ExperimentStarted(), *(CollaboratorJoined(name) for name in "abc"))
        return self

    def feed(self, *events: Event, stop_at: type[Command] | None = None) -> None:
        queue = list(events)
        while queue:
            commands = self.experiment.handle(queue.pop(0), 0.0)
            self.commands += commands
            if stop_at is not None and any(isinstance(one, stop_at) for one in commands):
                return
            for command in commands:
                queue += self.answer(command)

    def answer(self, command: Command) -> Sequence[Event]:
        match command:
            case SendAssignment(job):
                self.sent.append(job)
                return [UpdateCommitted(self.update(job))]
            case ValidateUpdates(number):
                return [UpdatesValidated(number, {}, self.verdicts)]
            case Aggregate(number):
                return [ModelAggregated(number, f"model-{number}", f"state-{number}")]
        return []

    def update(self, job: Assignment) -> Update:
        train = job.phase is Phase.TRAIN
        value = self.accuracy[job.round - 1]
        metrics = {} if train or value is None else {"validate": {"accuracy": value}}
        if not train and job.collaborator == "c":
            metrics = {"validate": {"accuracy": 0.0}} if self.samples else metrics
        digest = f"{job.collaborator}-{job.round}" if train else ""
        return Update(job.round, job.phase, job.collaborator, digest, self.samples.get(job.collaborator, 10), metrics)

    def told(self, kind: type[Wanted]) -> list[Wanted]:
        return [
            one.announcement
            for one in self.commands
            if isinstance(one, Announce) and isinstance(one.announcement, kind)
        ]

    def only(self, kind: type[Command]) -> list[Command]:
        return [one for one in self.commands if isinstance(one, kind)]

    def records(self) -> list[RoundRecord]:
        told = [one.announcement for one in self.commands if isinstance(one, Announce)]
        return list(round_records(Announced(number, 0.0, one) for number, one in enumerate(told, 1)))


def test_who_is_dropped_is_absent_with_the_reason_and_the_verdict_is_in_the_round() -> None:
    told = Told(plan_with(), verdicts=(CLIPPED, DROPPED)).run()
    assert told.experiment.status is Status.FINISHED
    first = told.only(Aggregate)[0]
    assert isinstance(first, Aggregate)
    assert [update.collaborator for update in first.updates] == ["a", "c"]
    assert first.factors == {"a": 0.25}
    assert told.told(UpdatesJudged)[0] == UpdatesJudged(1, Phase.TRAIN, (CLIPPED, DROPPED))
    (absence,) = [one for one in told.told(CollaboratorAbsent) if one.round == 1]
    assert absence.reason == (
        "was refused: cosine: the cosine of its angle with the direction of all is -0.5, and must be 0 or more"
    )
    assert told.told(RoundFinished)[0].absent["b"].message == str(DROPPED)
    assert [record.verdicts for record in told.records()] == [(CLIPPED, DROPPED)] * 3


def test_too_few_that_are_left_end_the_experiment_with_every_reason() -> None:
    other = replace(DROPPED, collaborator="a", observed=None)
    told = Told(plan_with(), verdicts=(other, DROPPED)).run()
    assert told.experiment.status is Status.FAILED
    assert "site 'a' was refused: cosine: the difference from the global model has no direction" in (
        told.experiment.reason
    )


def test_a_verdict_outlives_a_restart() -> None:
    told = Told(plan_with(), verdicts=(CLIPPED,))
    told.feed(ExperimentStarted(), *(CollaboratorJoined(name) for name in "abc"), stop_at=Aggregate)
    snapshot = json.loads(json.dumps(told.experiment.snapshot(), allow_nan=False))
    again = Experiment.restore(told.plan, snapshot, told.experiment.versions)
    (command,) = (one for one in again.handle(ExperimentStarted(2), 0.0) if isinstance(one, Aggregate))
    assert command == told.only(Aggregate)[0]
    assert command.factors == {"a": 0.25}


@pytest.mark.parametrize("above", ["cap", "drop"])
def test_an_inflated_number_of_samples_sways_neither_model_nor_metrics(above: str) -> None:
    limit = {"multiple": 1, "above": above}
    told = Told(plan_with(sample_limit=limit), samples={"a": 10, "b": 10, "c": 10**9}).run()
    assert told.experiment.status is Status.FINISHED
    kept = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3} if above == "cap" else {"a": 0.5, "b": 0.5}
    assert told.told(ModelMade)[0].weights == pytest.approx(kept)
    finished = told.told(RoundFinished)[0]
    assert finished.metrics["accuracy"] == pytest.approx(1 / 3 if above == "cap" else 0.5)
    assert [one.phase for one in told.told(UpdatesJudged)] == [Phase.TRAIN, Phase.EVALUATE] * 3
    if above == "drop":
        assert finished.unevaluated["c"].message == "sample_limit: it claims 1000000000 samples, and may claim 10"


def test_without_a_limit_it_does() -> None:
    told = Told(plan_with(), samples={"a": 10, "b": 10, "c": 10**9}).run()
    assert told.told(ModelMade)[0].weights["c"] > 0.999
    assert told.told(RoundFinished)[0].metrics["accuracy"] < 0.001
    assert told.told(UpdatesJudged) == []


def strict(margin: float | None = 0.1) -> Plan:
    return plan_with(model_store={"best": {"metric": "accuracy"}, "accepted_margin": margin})


def test_a_model_that_is_worse_by_more_than_the_margin_is_rejected() -> None:
    told = Told(strict(), accuracy=(0.5, 0.25, 0.45)).run()
    assert told.told(ModelRejected) == [
        ModelRejected(2, "model-2", "model-1", "accuracy", 0.25, 0.5, 0.1, {"accuracy": 0.25})
    ]
    assert [version.digest for version in told.experiment.versions] == ["given", "model-1", "model-1", "model-3"]
    assert [version.metrics.get("accuracy") for version in told.experiment.versions] == [None, 0.5, 0.5, 0.45]
    assert [version.best for version in told.experiment.versions] == [False, True, False, False]
    third = [job for job in told.sent if (job.round, job.phase) == (3, Phase.TRAIN)]
    assert {(job.model, job.continues) for job in third} == {("model-1", 1)}
    last = told.only(Aggregate)[-1]
    assert isinstance(last, Aggregate)
    assert (last.base_model, last.base_state) == ("model-1", "state-1")
    assert [record.rejected is not None for record in told.records()] == [False, True, False]


def test_a_model_that_nobody_can_measure_is_rejected_once_one_was() -> None:
    told = Told(strict(), accuracy=(None, 0.5, None)).run()
    assert [(one.round, one.value) for one in told.told(ModelRejected)] == [(3, None)]
    assert [version.digest for version in told.experiment.versions] == ["given", "model-1", "model-2", "model-2"]


def test_without_a_margin_every_model_goes_on() -> None:
    told = Told(strict(None), accuracy=(0.5, 0.25, 0.0)).run()
    assert told.told(ModelRejected) == []
    assert told.told(NothingLearnt) == []
    assert told.experiment.versions[-1].digest == "model-3"
