"""The record of a round, read from the history of an experiment that a site left and another could not measure."""

from dataclasses import replace

from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    CollaboratorAbsent,
    ExperimentEnded,
    ExperimentResumed,
    RoundStarted,
)
from openfl_like.federation.events import (
    Announce,
    CancelRequested,
    CollaboratorJoined,
    CollaboratorLeft,
    Event,
    ExperimentStarted,
    ModelAggregated,
    TaskFailed,
    TimerFired,
    UpdateCommitted,
    UpdatesValidated,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.rounds import ContributorShare, RoundRecord, round_records
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase, Update, UpdatePartial
from openfl_like.plan.schema import Plan

PLAN = Plan.model_validate(
    {
        "name": "demo",
        "aggregator": {"settings": {"rounds_to_train": 1}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
        "participation": {"policy": "quorum", "min_updates": 1},
    }
)


class History:
    """Feeds an experiment of three sites that has an initial model, and keeps what it announces."""

    def __init__(self) -> None:
        self.experiment = Experiment("exp-1", PLAN, ("a", "b", "c"), "given")
        self.events: list[Announced] = []
        self.feed(ExperimentStarted(), *(CollaboratorJoined(name) for name in "abc"))

    def feed(self, *events: Event) -> None:
        for event in events:
            for command in self.experiment.handle(event, 0.0):
                if isinstance(command, Announce):
                    self.events.append(Announced(len(self.events) + 1, 0.0, command.announcement))

    def announce(self, *told: Announcement) -> None:
        self.events += [Announced(number, 0.0, item) for number, item in enumerate(told, len(self.events) + 1)]

    def train(self, **samples: int) -> None:
        for name, count in samples.items():
            self.feed(UpdateCommitted(Update(1, Phase.TRAIN, name, f"{name}-1", count)))

    def measure(self, name: str, accuracy: float) -> None:
        self.feed(UpdateCommitted(Update(1, Phase.EVALUATE, name, "", 10, {"validate": {"accuracy": accuracy}})))


def test_every_site_of_a_round_is_accounted_for() -> None:
    history = History()
    history.train(a=10, b=30)
    history.feed(CollaboratorLeft("c", "no power"), TimerFired("rejoin:c:1"))
    history.feed(UpdatesValidated(1), ModelAggregated(1, "model-1"))
    history.measure("a", 0.5)
    boom = Failure(FailureKind.TASK, "boom", "ValueError", task="validate")
    history.feed(TaskFailed(1, Phase.EVALUATE, "b", boom))
    boom = replace(boom, phase=Phase.EVALUATE, round=1, site="b")
    away = Failure(
        FailureKind.NOT_BACK, "left: no power, did not come back within 60 s", phase=Phase.TRAIN, round=1, site="c"
    )
    assert list(round_records(history.events)) == [
        RoundRecord(
            1,
            "model-1",
            {"accuracy": 0.5},
            ("a", "b", "c"),
            {"a": ContributorShare(0.25, "a-1"), "b": ContributorShare(0.75, "b-1")},
            {"c": away},
            ("a",),
            {"b": boom, "c": replace(away, phase=Phase.EVALUATE)},
        )
    ]
    assert history.experiment.shortfalls == {"b": boom, "c": away}


def test_a_site_whose_line_has_just_broken_is_waited_for_in_the_evaluation() -> None:
    history = History()
    history.train(a=10, b=30)
    history.feed(CollaboratorLeft("a", "no line"))
    history.train(c=10)
    history.feed(UpdatesValidated(1), ModelAggregated(1, "model-1"))
    history.measure("b", 0.5)
    history.measure("c", 0.5)
    assert not list(round_records(history.events))
    history.feed(CollaboratorJoined("a"))
    history.measure("a", 0.5)
    (record,) = round_records(history.events)
    assert record.evaluators == ("a", "b", "c")
    assert history.experiment.shortfalls == {}


def test_the_round_in_which_an_experiment_failed_is_told_until_it_is_resumed() -> None:
    history = History()
    boom = Failure(FailureKind.TASK, "boom", "ValueError", task="train")
    history.feed(*(TaskFailed(1, Phase.TRAIN, name, boom) for name in "abc"))
    (record,) = round_records(history.events)
    booms = {name: replace(boom, phase=Phase.TRAIN, round=1, site=name) for name in "abc"}
    assert record == RoundRecord(1, "", {}, ("a", "b", "c"), {}, booms, status=Status.FAILED)
    history.announce(ExperimentResumed("ada"))
    assert not list(round_records(history.events))
    history.announce(RoundStarted(1, ("a", "b")), CollaboratorAbsent(1, Phase.TRAIN, "b", "no power"))
    assert not list(round_records(history.events))
    history.announce(ExperimentEnded(Status.FAILED))
    (record,) = round_records(history.events)
    words = Failure(FailureKind.TOLD, "no power")  # 0.1.0 wrote only words
    assert (record.selected, record.absent, record.status) == (("a", "b"), {"b": words}, Status.FAILED)


def test_the_round_in_which_an_experiment_was_cancelled_has_what_was_done_in_it() -> None:
    history = History()
    history.train(a=10, b=30, c=10)
    history.feed(UpdatesValidated(1), ModelAggregated(1, "model-1"))
    history.measure("b", 0.5)
    boom = Failure(FailureKind.TASK, "boom", "ValueError", task="validate")
    history.feed(TaskFailed(1, Phase.EVALUATE, "c", boom), CancelRequested("ada"))
    (record,) = round_records(history.events)
    assert (record.round, record.digest, record.status) == (1, "", Status.CANCELLED)
    assert {name: part.weight for name, part in record.contributors.items()} == {"a": 0.2, "b": 0.6, "c": 0.2}
    assert (record.evaluators, list(record.unevaluated)) == (("b",), ["c"])


def test_and_one_that_does_not_come_back_is_named_with_the_evaluation() -> None:
    history = History()
    history.train(a=10, b=30)
    history.feed(CollaboratorLeft("a", "no line"))
    history.train(c=10)
    history.feed(UpdatesValidated(1), ModelAggregated(1, "model-1"))
    history.measure("b", 0.5)
    history.measure("c", 0.5)
    history.feed(TimerFired("rejoin:a:1"))
    (record,) = round_records(history.events)
    away = Failure(
        FailureKind.NOT_BACK, "left: no line, did not come back within 60 s", phase=Phase.EVALUATE, round=1, site="a"
    )
    assert (record.absent, record.unevaluated) == ({}, {"a": away})
    assert history.experiment.shortfalls == {"a": away}


def test_contributors_that_had_no_time_to_train_all_are_named_with_their_samples() -> None:
    history = History()
    for name, count, partial in (("a", 10, True), ("b", 30, False), ("c", 4, True)):
        update = Update(1, Phase.TRAIN, name, f"{name}-1", count, partial=partial, batches=3)
        history.feed(UpdateCommitted(update))
    told = [event.announcement for event in history.events if isinstance(event.announcement, UpdatePartial)]
    assert told == [UpdatePartial(1, "a", 10, 3), UpdatePartial(1, "c", 4, 3)]
    history.feed(UpdatesValidated(1, {"c": "no"}), ModelAggregated(1, "model-1"))
    for name in "abc":
        history.measure(name, 0.5)
    (record,) = round_records(history.events)
    assert record.partial == {"a": 10}
    assert [share.weight for share in record.contributors.values()] == [0.25, 0.75]
