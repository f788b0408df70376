"""What controllers decide, in the rounds of an experiment."""

from collections.abc import Mapping, Sequence

import pytest
from played import PlayedExperiment
from pydantic import JsonValue

from openfl_like.federation.announcements import ExperimentEnded, RoundFinished, RoundSkipped, RoundStarted
from openfl_like.federation.control.decision import Control, ControlView, Decision, SetArgument, SkipSite, WeighSite
from openfl_like.federation.events import (
    Aggregate,
    CollaboratorJoined,
    Event,
    ExperimentStarted,
    ResumeRequested,
    UpdateCommitted,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.round_control import RoundControlled
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan

STEPS: dict[str, object] = {"argument": "learning_rate", "steps": [{"round": 2, "value": 0.5}]}


def plan_with(*controllers: Mapping[str, object], rounds: int = 3, **parts: object) -> Plan:
    basis: dict[str, object] = {
        "name": "demo",
        "aggregator": {"settings": {"rounds_to_train": rounds}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train", "kwargs": {"epochs": 2}}, "validate": {"function": "validate"}},
        "controllers": list(controllers),
    }
    return Plan.model_validate({**basis, **parts})


class Federation(PlayedExperiment):
    """An experiment of three sites that answer at once; their losses rise with their names."""

    def __init__(self, plan: Plan, silent: str = "") -> None:
        super().__init__(Experiment("exp-1", plan, ("a", "b", "c"), "given"))
        self.silent = silent
        self.sent: list[Assignment] = []

    def start(self) -> None:
        self.feed(ExperimentStarted(), *(CollaboratorJoined(name) for name in "abc"))

    def perform(self, job: Assignment) -> Sequence[Event]:
        self.sent.append(job)
        silent = job.collaborator in self.silent and job.phase is Phase.TRAIN
        return [] if silent else [UpdateCommitted(_update(job))]

    def controlled(self) -> list[RoundControlled]:
        return self.told(RoundControlled)

    def combined(self) -> list[Aggregate]:
        return [item for item in self.commands if isinstance(item, Aggregate)]

    def trainings(self, number: int) -> dict[str, dict[str, object]]:
        found = [job for job in self.sent if (job.round, job.phase) == (number, Phase.TRAIN)]
        return {job.collaborator: dict(job.tasks[0].arguments) for job in found}


def _update(job: Assignment) -> Update:
    losses = {"a": 1.0, "b": 2.0, "c": 3.0}
    if job.phase is Phase.EVALUATE:
        return Update(job.round, job.phase, job.collaborator, "", 4, {"validate": {"loss": float(job.round)}})
    metrics = {"train": {"loss": losses[job.collaborator]}}
    return Update(job.round, job.phase, job.collaborator, f"{job.collaborator}-{job.round}", 4, metrics)


def test_a_schedule_changes_what_tasks_are_called_with_and_is_told() -> None:
    federation = Federation(plan_with({"template": "schedule", "settings": STEPS}))
    federation.start()
    assert [federation.trainings(number)["a"] for number in (1, 2, 3)] == [
        {"epochs": 2},
        {"epochs": 2, "learning_rate": 0.5},
        {"epochs": 2, "learning_rate": 0.5},
    ]
    assert federation.controlled() == [
        RoundControlled(number, {}, {}, {"train": {"learning_rate": 0.5}}) for number in (2, 3)
    ]


def test_sites_with_more_loss_count_more_from_the_second_round_on() -> None:
    federation = Federation(plan_with({"template": "fair_weights"}))
    federation.start()
    assert [command.weights for command in federation.combined()] == [
        {},
        {"a": pytest.approx(0.5), "b": pytest.approx(1.0), "c": pytest.approx(1.5)},
        {"a": pytest.approx(0.5), "b": pytest.approx(1.0), "c": pytest.approx(1.5)},
    ]


def test_a_diverged_model_ends_the_experiment_as_finished() -> None:
    diverged = {"template": "end_if_diverged", "settings": {"factor": 1.5, "rounds": 2}}
    federation = Federation(plan_with(diverged, rounds=9))
    federation.start()
    assert federation.experiment.status is Status.FINISHED
    assert federation.experiment.reason == "loss was above 1.5 times its best, 1, for 2 rounds"
    assert [version.round for version in federation.experiment.versions] == [0, 1, 2, 3]
    assert federation.controlled()[-1].ended == federation.experiment.reason


def test_a_site_that_is_skipped_is_not_asked_to_train_and_evaluates_all_the_same() -> None:
    federation = Federation(plan_with({"template": "skip_unreliable", "settings": {"misses": 1, "rounds": 1}}))
    federation.experiment._context.controllers = (Fixed(SkipSite("b", "tired")),)
    federation.start()
    assert [*federation.trainings(1)] == ["a", "c"]
    assert {job.collaborator for job in federation.sent if job.phase is Phase.EVALUATE} == {"a", "b", "c"}
    assert federation.controlled()[0].skipped == {"b": "tired"}
    assert federation.experiment.status is Status.FINISHED


class Fixed:
    """Decides the same in every round."""

    def __init__(self, *decisions: Decision) -> None:
        self.decisions = decisions

    def decide(self, view: ControlView) -> Control:
        return Control(self.decisions, {"rounds": view.round})


def test_when_everybody_is_skipped_nobody_is_waited_for() -> None:
    federation = Federation(plan_with({"template": "fair_weights"}))
    federation.experiment._context.controllers = (Fixed(*(SkipSite(name, "tired") for name in "abc")),)
    federation.start()
    assert federation.experiment.status is Status.FAILED
    assert federation.experiment.reason == "round 1: controllers skip all sites that could train: a, b, c"


def test_rounds_for_which_everybody_is_skipped_are_skipped_where_the_plan_says_so() -> None:
    plan = plan_with({"template": "fair_weights"}, participation={"policy": "skip", "min_updates": 1})
    federation = Federation(plan)
    federation.experiment._context.controllers = (Fixed(*(SkipSite(name, "tired") for name in "abc")),)
    federation.start()
    assert federation.experiment.status is Status.FAILED
    assert federation.experiment.reason.startswith("3 of 3 rounds are done, and in none of them")
    assert [told.round for told in federation.told(RoundSkipped)] == [1, 2, 3]


def test_an_assigner_that_gives_nobody_a_task_is_told_at_once() -> None:
    class Idle:
        def deal(self, collaborators: Sequence[str], tasks: Sequence[str], seed: int) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002 (see `Assigner`)
            return dict.fromkeys(collaborators, ())

    federation = Federation(plan_with())
    federation.experiment._context.assigner = Idle()
    federation.start()
    assert federation.experiment.status is Status.FAILED
    assert "round 1: no collaborator may be asked to train" in federation.experiment.reason


class Counting:
    """Remembers how often it was asked, and calls tasks with that."""

    def decide(self, view: ControlView) -> Control:
        asked = view.state + 1 if isinstance(view.state, int) else 1
        return Control((SetArgument("train", "asked", asked),), asked)


def test_a_round_that_begins_again_asks_a_controller_what_it_was_asked_before() -> None:
    plan = plan_with({"template": "fair_weights"})
    federation = Federation(plan, silent="c")
    federation.experiment._context.controllers = (Counting(),)
    federation.start()
    assert federation.trainings(1)["a"]["asked"] == 1

    again = Federation(plan)
    again.experiment = Experiment.restore(plan, federation.experiment.snapshot(), federation.experiment.versions)
    again.experiment._context.controllers = (Counting(),)
    again.feed(CollaboratorJoined("a"), CollaboratorJoined("b"), CollaboratorJoined("c"), ExperimentStarted(2))
    assert [again.trainings(number).get("c", {}).get("asked") for number in (1, 2, 3)] == [1, 2, 3]


def test_an_experiment_that_is_resumed_asks_anew_with_what_was_known_before_the_round() -> None:
    plan = plan_with({"template": "fair_weights"})
    federation = Federation(plan, silent="c")
    federation.experiment._context.controllers = (Counting(),)
    federation.start()
    state: JsonValue = federation.experiment.snapshot()["controls"]
    assert state == {"0": {"round": 1, "before": None, "after": 1}}
    again = Federation(plan)
    again.experiment = Experiment.restore(plan, federation.experiment.snapshot(), federation.experiment.versions)
    again.experiment._context.controllers = (Counting(),)
    again.feed(ResumeRequested("ada"))
    again.start()
    assert [again.trainings(number)["c"]["asked"] for number in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (WeighSite("a", 0.0), "the weight of site 'a' would be multiplied by 0"),
        (WeighSite("a", float("nan")), "Out of range float values are not JSON compliant"),
        (SetArgument("train", "epochs", {1, 2}), "Object of type set is not JSON serializable"),  # type: ignore[arg-type]  # wrong on purpose
        (SetArgument("trane", "epochs", 1), "there is no task 'trane'"),
        (SkipSite("nobody", "tired"), "it decides about 'nobody', which is not a site of the experiment"),
        (WeighSite("nobody", 2.0), "it decides about 'nobody', which is not a site of the experiment"),
        (SetArgument("train", "lr", "y" * (1 << 14)), "the value of the argument 'lr' has 16,386 bytes"),
        (SetArgument("train", "y" * (1 << 17), 1), "bytes, the limit is 66,304"),
        (SkipSite("b", "r" * (1 << 17)), "what it decides for a round has 131,101 bytes, the limit is 66,304"),
    ],
)
def test_what_cannot_be_done_ends_the_experiment_with_the_place(decision: Decision, words: str) -> None:
    federation = Federation(plan_with({"template": "fair_weights"}))
    federation.experiment._context.controllers = (Fixed(decision),)
    federation.start()
    assert federation.experiment.status is Status.FAILED
    assert words in federation.experiment.reason
    assert "controllers[0]" in federation.experiment.reason


def test_a_controller_that_raises_ends_the_experiment_with_its_name() -> None:
    class Broken:
        def decide(self, view: ControlView) -> Control:
            raise LookupError(f"nothing about round {view.round}")

    federation = Federation(plan_with({"template": "fair_weights"}))
    federation.experiment._context.controllers = (Broken(),)
    federation.start()
    (ended,) = federation.told(ExperimentEnded)
    assert federation.experiment.reason.endswith(
        "'fair_weights' failed: LookupError: nothing about round 1 (mend it, or leave it out)"
    )
    assert ended.failure is not None
    assert ended.failure.kind is FailureKind.CONTROL


def test_a_plan_without_controllers_tells_nothing_of_them() -> None:
    federation = Federation(plan_with())
    federation.start()
    assert federation.controlled() == []
    assert "controls" not in federation.experiment.snapshot()
    assert {type(each) for each in federation.announced()} >= {RoundStarted, RoundFinished}
