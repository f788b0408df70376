"""Updates that cannot count: a flood of them is counted and does not fill the history."""

import json

from openfl_like.federation.announcements import (
    Announced,
    ExperimentEnded,
    ExperimentResumed,
    RoundFinished,
    UpdateSurplus,
    fields_of,
)
from openfl_like.federation.deliveries import Receipt, UpdateStatus
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    CollaboratorJoined,
    Command,
    Event,
    ExperimentStarted,
    ModelAggregated,
    UncountedUpdateArrived,
    UpdateCommitted,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.history.life import surplus_of
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.schema import Plan

PLAN = Plan.model_validate(
    {
        "name": "demo",
        "aggregator": {"settings": {"rounds_to_train": 3}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
    }
)


class Run:
    """One site, a given initial model."""

    def __init__(self) -> None:
        self.experiment = Experiment("exp-1", PLAN, ("bern",), "given")
        self.happen(ExperimentStarted())
        self.happen(CollaboratorJoined("bern"))

    def happen(self, event: Event) -> list[Command]:
        commands = list(self.experiment.handle(event, 0.0))
        for command in tuple(commands):
            if isinstance(command, ValidateUpdates):
                commands += self.happen(UpdatesValidated(command.round, {}))
            elif isinstance(command, Aggregate):
                commands += self.happen(ModelAggregated(command.round, f"model-{command.round}"))
        return commands

    def surplus(self, commands: list[Command]) -> list[tuple[object, ...]]:
        return [
            tuple(fields_of(item.announcement).values())
            for item in commands
            if isinstance(item, Announce) and isinstance(item.announcement, UpdateSurplus)
        ]

    def round(self, number: int) -> list[Command]:
        self.happen(UpdateCommitted(Update(number, Phase.TRAIN, "bern", f"update-{number}", 10)))
        return self.happen(UpdateCommitted(Update(number, Phase.EVALUATE, "bern", "", 10)))


def test_the_first_is_told_at_once_and_the_sum_at_the_end_of_the_round() -> None:
    run = Run()
    assert run.surplus(run.happen(UncountedUpdateArrived("bern", UpdateStatus.LATE))) == [(1, "bern", "late", 1)]
    assert run.surplus(run.happen(UncountedUpdateArrived("bern", UpdateStatus.CONFLICTING))) == [
        (1, "bern", "conflicting", 1)
    ]
    for _ in range(499):
        assert run.happen(UncountedUpdateArrived("bern", UpdateStatus.LATE)) == []  # nothing to commit, either
    ended = run.round(1)
    assert run.surplus(ended) == [(1, "bern", "late", 500)]
    kinds = [type(item.announcement) for item in ended if isinstance(item, Announce)]
    assert kinds.index(UpdateSurplus) < kinds.index(RoundFinished)


def test_every_round_counts_anew() -> None:
    run = Run()
    run.happen(UncountedUpdateArrived("bern", UpdateStatus.REPEATED))
    assert run.surplus(run.round(1)) == []
    assert run.surplus(run.happen(UncountedUpdateArrived("bern", UpdateStatus.REPEATED))) == [
        (2, "bern", "repeated", 1)
    ]


def test_the_counts_outlive_a_restart_and_are_told_when_the_experiment_ends() -> None:
    run = Run()
    for _ in range(3):
        run.happen(UncountedUpdateArrived("bern", UpdateStatus.UNASKED))
    run.round(1)
    run.round(2)
    for name in ("bern", "a stranger", "bern"):
        run.happen(UncountedUpdateArrived(name, UpdateStatus.REPEATED))
    snapshot = json.loads(json.dumps(run.experiment.snapshot()))
    run.experiment = Experiment.restore(PLAN, snapshot, run.experiment.versions)
    run.happen(ExperimentStarted(2))
    assert run.surplus(run.happen(UncountedUpdateArrived("bern", UpdateStatus.REPEATED))) == []
    ended = run.round(3)
    assert run.surplus(ended) == [(3, "bern", "repeated", 3)]
    assert isinstance([item.announcement for item in ended if isinstance(item, Announce)][-1], ExperimentEnded)


def told(number: int, name: str, standing: str, count: int) -> Announced:
    return Announced(1, 1.0, UpdateSurplus(number, name, UpdateStatus(standing), count))


def test_of_a_round_the_last_word_counts_and_rounds_are_added_up() -> None:
    history = [
        told(1, "zurich", "late", 1),
        told(1, "zurich", "late", 500),
        told(1, "bern", "repeated", 1),
        told(2, "zurich", "late", 1),
        told(2, "zurich", "conflicting", 1),
        Announced(6, 1.0, ExperimentResumed("ada")),
        told(2, "zurich", "late", 1),
        told(2, "zurich", "late", 2),
        Announced(9, 1.0, RoundFinished(2, "d2")),
    ]
    assert surplus_of(history) == {"bern": {"repeated": 1}, "zurich": {"conflicting": 1, "late": 503}}
    assert list(surplus_of(history)) == ["bern", "zurich"]
    assert surplus_of([]) == {}


def test_the_receipts_are_those_of_what_was_taken() -> None:
    run = Run()
    assert run.experiment.receipts == []
    run.round(1)
    run.happen(UpdateCommitted(Update(2, Phase.TRAIN, "bern", "update-2", 10)))
    snapshot = json.loads(json.dumps(run.experiment.snapshot()))
    restored = Experiment.restore(PLAN, snapshot, run.experiment.versions)
    expected = [Receipt(1, Phase.EVALUATE, "bern", ""), Receipt(2, Phase.TRAIN, "bern", "update-2")]
    assert restored.receipts == run.experiment.receipts == expected
