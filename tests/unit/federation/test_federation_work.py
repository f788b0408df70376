"""How much each site is to train: what policies give, and that a round gives it once."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from openfl_like import registry
from openfl_like.errors import PlanError
from openfl_like.federation.events import (
    CollaboratorJoined,
    CollaboratorLeft,
    Command,
    Event,
    ExperimentStarted,
    ModelAggregated,
    SendAssignment,
    UpdateCommitted,
    UpdatesValidated,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.participation.training_history import PastTraining, TrainingHistory, past_training
from openfl_like.federation.participation.work import (
    BestRoundTime,
    EqualTime,
    StaticWork,
    TasksAlone,
    UniformWork,
    WorkAmount,
    WorkPolicy,
    WorkView,
)
from openfl_like.federation.task import Phase, Update, Work
from openfl_like.plan.digest import freeze, thaw
from openfl_like.plan.schema import Plan

POLICIES: tuple[WorkPolicy, ...] = (
    TasksAlone(),
    StaticWork(epochs=2),
    UniformWork(least=1, most=9),
    EqualTime(seconds=10),
    BestRoundTime(batches=20),
)


def history(*trainings: tuple[int, float]) -> TrainingHistory:
    """Batches and seconds of each training."""
    seen = tuple(PastTraining(number, 99.0, took, None, 40, done) for number, (done, took) in enumerate(trainings, 1))
    return TrainingHistory(len(seen), seen)


KNOWN = {"a": history((10, 5.0), (10, 5.0)), "b": history((10, 20.0)), "c": history((0, 7.0))}


def view(number: int = 1, seed: int = 3, histories: Mapping[str, TrainingHistory] = KNOWN) -> WorkView:
    return WorkView(("a", "b", "c"), seed, 77, number, 10, histories)


def test_every_policy_of_the_registry_is_tried_here() -> None:
    named = {registry.resolve("work", name) for name in registry.BUILTIN["work"]}
    assert named == {type(policy) for policy in POLICIES}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: type(each).__name__)
def test_the_same_view_gives_the_same_work_for_those_it_has(policy: WorkPolicy) -> None:
    assert policy.assign(view()) == policy.assign(view())
    assert set(policy.assign(view())) <= {"a", "b", "c"}
    assert policy.assign(WorkView((), 0, 0, 1, 1)) == {}


def test_static_work_may_be_each_sites_own() -> None:
    policy = StaticWork(batches=5, sites={"b": WorkAmount(epochs=2, samples=8)})
    assert policy.assign(view()) == {"a": Work(batches=5), "b": Work(epochs=2, samples=8), "c": Work(batches=5)}


def test_fixed_samples_are_the_sites_own_and_stay() -> None:
    policy = StaticWork(samples=8, which="fixed")
    first, later = policy.assign(view(1, 3)), policy.assign(view(2, 4))
    assert first == later
    assert len({work.sample_seed for work in first.values()}) == 3
    assert None not in {work.sample_seed for work in first.values()}


def test_uniform_work_is_within_its_bounds_and_comes_to_both() -> None:
    policy = UniformWork(unit="batches", least=2, most=4)
    drawn = [work.batches for seed in range(40) for work in policy.assign(view(seed=seed)).values()]
    assert {*drawn} == {2, 3, 4}
    assert all(25 < drawn.count(amount) < 55 for amount in (2, 3, 4))
    fixed = UniformWork(unit="samples", least=2, most=4, which="fixed").assign(view())
    assert all(work.samples and work.sample_seed is not None for work in fixed.values())


def test_equal_time_gives_each_what_it_trains_in_that_time() -> None:
    given = EqualTime(seconds=10, first=3).assign(view())
    assert given == {"a": Work(batches=20), "b": Work(batches=5), "c": Work(batches=3)}
    assert EqualTime(seconds=0.1, least=2).assign(view())["b"] == Work(batches=2)
    assert EqualTime(seconds=1e300, most=50).assign(view())["a"] == Work(batches=50)


def test_best_round_time_is_that_of_the_fastest() -> None:
    given = BestRoundTime(batches=20).assign(view())
    assert given == {"a": Work(batches=20), "b": Work(batches=5), "c": Work(batches=20)}
    assert BestRoundTime(batches=20).assign(view(histories={})) == dict.fromkeys("abc", Work(batches=20))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "give epochs, batches or samples"),
        ({"epochs": 1, "batches": 1}, "give epochs or batches, not both"),
        ({"epochs": 1, "which": "fixed"}, "there is no number of samples"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"sites": {"a": {}}, "epochs": 1}, "give epochs, batches or samples"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        StaticWork(**settings)


def test_bounds_have_an_order() -> None:
    with pytest.raises(ValidationError, match="least is more than most"):
        UniformWork(least=3, most=2)


class Played:
    """An experiment of two sites."""

    def __init__(self, work: dict[str, Any]) -> None:
        values = {
            "name": "demo",
            "aggregator": {"settings": {"rounds_to_train": 3}},
            "task_runner": {"template": "src.model:Runner"},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": "train"}},
            "work": work,
        }
        self.plan = Plan.model_validate(values)
        self.experiment = Experiment("exp-1", self.plan, ("a", "b"), "given")
        self.commands: list[Command] = []
        self.at(0.0, ExperimentStarted(), CollaboratorJoined("a"), CollaboratorJoined("b"))

    def at(self, now: float, *events: Event) -> None:
        for event in events:
            self.commands += self.experiment.handle(event, now)

    def answer(self, name: str, number: int, duration_s: float) -> None:
        update = Update(number, Phase.TRAIN, name, f"{name}-{number}", 4, duration_s=duration_s, batches=10)
        self.at(number * 100.0, UpdateCommitted(update))

    def given(self) -> list[tuple[int, str, Work | None]]:
        sent = [command.assignment for command in self.commands if isinstance(command, SendAssignment)]
        return [(each.round, each.collaborator, each.work) for each in sent]


EQUAL = {"template": "equal_time", "settings": {"seconds": 10, "first": 3}}


def test_a_round_gives_work_by_what_was_done_before_and_gives_it_once() -> None:
    play = Played(EQUAL)
    play.answer("a", 1, 5.0)
    play.answer("b", 1, 20.0)
    play.at(200.0, UpdatesValidated(1), ModelAggregated(1, "model-1"))
    assert play.given()[2:] == [(2, "a", Work(batches=20)), (2, "b", Work(batches=5))]
    play.answer("b", 2, 1.0)  # what it has done by now does not change what the other is told again
    play.at(230.0, CollaboratorLeft("a", "no line"), CollaboratorJoined("a"))
    assert play.given()[-1] == (2, "a", Work(batches=20))


def test_what_was_given_outlives_a_restart() -> None:
    play = Played(EQUAL)
    play.answer("a", 1, 5.0)
    play.answer("b", 1, 20.0)
    play.at(200.0, UpdatesValidated(1), ModelAggregated(1, "model-1"))
    snapshot = json.loads(json.dumps(play.experiment.snapshot()))
    restored = Experiment.restore(play.plan, snapshot, play.experiment.versions)
    again = restored.handle(CollaboratorJoined("b"), 900.0) + restored.handle(ExperimentStarted(), 900.0)
    assert [each.assignment.work for each in again if isinstance(each, SendAssignment)] == [Work(batches=5)]


def test_without_a_policy_nothing_is_said_and_the_frozen_plan_is_as_it_was() -> None:
    play = Played({"template": "none"})
    assert [work for _, _, work in play.given()] == [None, None]
    assert b'"work"' not in freeze(play.plan)
    equal = Played(EQUAL).plan
    assert thaw(freeze(equal)) == equal


class Broken:
    """A policy of a package that was written for another version."""

    def assign(self, names: tuple[str, ...], epochs: int) -> dict[str, Work]:
        return dict.fromkeys(names, Work(epochs))


def test_a_policy_of_another_version_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILTIN["work"], "old", f"{__name__}:Broken")
    with pytest.raises(PlanError, match="the policy 'old' cannot be asked for work"):
        Played({"template": "old"})


@pytest.mark.parametrize("told", [(5e-324, 1), (1.7e308, 2**53), (0.0, 2**53), (1.0, 2**53)])
@pytest.mark.parametrize("policy", [EqualTime(seconds=3), BestRoundTime(batches=10)])
def test_no_number_that_a_site_tells_of_its_work_breaks_a_policy(policy: WorkPolicy, told: tuple[float, int]) -> None:
    duration_s, batches = told
    absurd = Update(1, Phase.TRAIN, "a", "d", 1, {}, duration_s, batches=batches)
    honest = Update(1, Phase.TRAIN, "b", "d", 1, {}, 2.0, batches=4)
    histories = {
        name: TrainingHistory(2, (past_training(update, 3.0),) * 2) for name, update in (("a", absurd), ("b", honest))
    }
    amounts = policy.assign(WorkView(("a", "b"), 0, 0, 2, 5, histories))
    assert all(amount.batches is not None and amount.batches >= 1 for amount in amounts.values())
