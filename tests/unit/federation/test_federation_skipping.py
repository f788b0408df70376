"""Rounds that are skipped, since too few updates can come."""

from collections.abc import Sequence

from played import PlayedExperiment

from openfl_like.federation.announcements import Announced, ExperimentEnded, RoundFinished, RoundSkipped
from openfl_like.federation.events import (
    Aggregate,
    CollaboratorJoined,
    CollaboratorLeft,
    Command,
    Event,
    ExperimentStarted,
    ModelAggregated,
    ModelVersion,
    PublishVersion,
    TaskFailed,
    TimerFired,
    UpdateCommitted,
    WithdrawAssignment,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.rounds import round_records
from openfl_like.federation.lifecycle import MOST_SKIPPED
from openfl_like.federation.participation.selection import AllSelector, SelectionView
from openfl_like.federation.parts.source import REGISTERED, PartSource
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Component

BROKEN = Failure(FailureKind.TASK, "no data", "OSError")


def plan_with(rounds: int = 3, policy: str = "skip") -> Plan:
    return Plan.model_validate(
        {
            "name": "demo",
            "aggregator": {"settings": {"rounds_to_train": rounds}},
            "task_runner": {"template": "src.model:Runner"},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
            "participation": {"policy": policy, "min_updates": 2},
        }
    )


class Federation(PlayedExperiment):
    """Three sites that answer at once, except those that fail, or are silent, in a round."""

    def __init__(
        self,
        plan: Plan,
        fails: dict[int, str] | None = None,
        silent: dict[int, str] | None = None,
        parts: PartSource = REGISTERED,
    ) -> None:
        super().__init__(Experiment("exp-1", plan, ("a", "b", "c"), "given", parts=parts))
        self.fails, self.silent = fails or {}, silent or {}

    def start(self) -> None:
        self.feed(ExperimentStarted(), *(CollaboratorJoined(name) for name in "abc"))

    def answer(self, command: Command) -> Sequence[Event]:
        if isinstance(command, Aggregate):
            return [ModelAggregated(command.round, f"model-{command.round}", f"state-{command.round}")]
        return super().answer(command)

    def perform(self, job: Assignment) -> Sequence[Event]:
        name = job.collaborator
        if job.phase is Phase.EVALUATE:
            metrics = {"validate": {"loss": 1.0 / job.round}}
            return [UpdateCommitted(Update(job.round, job.phase, name, "", 4, metrics))]
        if name in self.fails.get(job.round, ""):
            return [TaskFailed(job.round, job.phase, name, BROKEN)]
        if name in self.silent.get(job.round, ""):
            return []
        return [UpdateCommitted(Update(job.round, job.phase, name, f"{name}{job.round}", 4))]

    def skipped(self) -> list[RoundSkipped]:
        return self.told(RoundSkipped)


def test_a_round_that_cannot_be_made_is_skipped_and_the_next_goes_on_from_the_model_before() -> None:
    federation = Federation(plan_with(), fails={2: "ab"})
    federation.start()
    assert federation.experiment.status is Status.FINISHED
    assert federation.experiment.versions == (
        ModelVersion(0, "given"),
        ModelVersion(1, "model-1", {"loss": 1.0}, best=True),
        ModelVersion(2, "model-1", {"loss": 1.0}),
        ModelVersion(3, "model-3", {"loss": 1 / 3}, best=True),
    )
    (skipped,) = federation.skipped()
    assert skipped == RoundSkipped(2, "model-1", needed=2, coming=1)
    bases = [item.base_model for item in federation.commands if isinstance(item, Aggregate)]
    states = [item.base_state for item in federation.commands if isinstance(item, Aggregate)]
    assert (bases, states) == (["given", "model-1"], ["", "state-1"])
    assert sorted(federation.experiment.shortfalls) == ["a", "b"]


def test_those_who_still_train_are_called_back() -> None:
    federation = Federation(plan_with(), fails={1: "ab"}, silent={1: "c"})
    federation.start()
    withdrawn = [item for item in federation.commands if isinstance(item, WithdrawAssignment)]
    assert [(item.round, item.collaborator) for item in withdrawn] == [(1, "c")]
    assert federation.experiment.status is Status.FINISHED


def test_what_came_for_a_skipped_round_counts_nowhere() -> None:
    federation = Federation(plan_with(), fails={2: "ab"})
    federation.start()
    finished = {item.round: item for item in federation.told(RoundFinished)}
    assert (finished[2].contributors, sorted(finished[2].absent)) == ((), ["a", "b"])
    events = [Announced(place, 0.0, item) for place, item in enumerate(federation.announced(), 1)]  # type: ignore[arg-type]  # all are
    records = {record.round: record for record in round_records(events)}
    assert records[2].contributors == {}
    assert records[2].digest == "model-1"


def test_without_the_policy_the_experiment_fails() -> None:
    federation = Federation(plan_with(policy="quorum"), fails={2: "ab"})
    federation.start()
    assert federation.experiment.status is Status.FAILED
    assert federation.skipped() == []


def test_sites_that_are_gone_for_good_end_it_and_do_not_have_it_spin() -> None:
    federation = Federation(plan_with(rounds=10**6), silent={1: "abc"})
    federation.start()
    federation.feed(*(CollaboratorLeft(name, "closed", gone=True) for name in "ab"))
    assert federation.experiment.status is Status.FAILED
    assert [item.round for item in federation.skipped()] == [1]


def test_sites_that_do_not_come_back_in_time_cost_a_round_and_no_more() -> None:
    federation = Federation(plan_with(), silent={2: "abc"})
    federation.start()
    federation.feed(*(CollaboratorLeft(name, "cable", gone=False) for name in "ab"))
    for name in "ab":
        federation.feed(TimerFired(f"rejoin:{name}:1"))
    assert [item.round for item in federation.skipped()] == [2]
    federation.feed(TimerFired("gather:3"))
    assert [item.round for item in federation.skipped()] == [2, 3]
    assert federation.experiment.status is Status.FINISHED


def test_a_version_is_published_for_every_round() -> None:
    federation = Federation(plan_with(), fails={2: "ab"})
    federation.start()
    published = [item.version.round for item in federation.commands if isinstance(item, PublishVersion)]
    assert published == [0, 1, 2, 3]


def test_a_selector_that_chooses_too_few_is_not_waited_for() -> None:
    selector = Component(template="fixed", settings={"rounds": [["a", "b"], ["c"]]})
    plan = plan_with(policy="quorum").model_copy(update={"selector": selector})
    federation = Federation(plan)
    federation.start()
    assert federation.experiment.status is Status.FAILED
    assert federation.experiment.reason == (
        "round 2: the selector 'fixed' chooses 1 of 3 collaborators, and 2 are needed "
        "(selector.settings, participation)"
    )


class Picky(AllSelector):
    """Wants all, and chooses the first ones of those that are here."""

    def select(self, view: SelectionView) -> tuple[str, ...]:
        return tuple(view.present[: view.round - 1]) if view.round < 3 else tuple(view.present)


class PickyParts:
    """Parts of which the selector is picky."""

    def build(self, kind: str, component: Component, place: str) -> object:
        return Picky() if place == "selector" else REGISTERED.build(kind, component, place)


def picky(policy: str) -> Federation:
    federation = Federation(plan_with(policy=policy), parts=PickyParts())
    federation.start()
    return federation


def test_a_selector_that_leaves_out_those_who_are_here_is_named_at_once() -> None:
    experiment = picky("quorum").experiment
    told = "round 1: the selector 'all' chose nobody of 3 who are here, and 2 are needed"
    assert (experiment.status, experiment.reason) == (Status.FAILED, told)
    (ended,) = picky("quorum").told(ExperimentEnded)
    assert ended.failure == Failure(FailureKind.SELECTION, told, round=1)


def test_such_rounds_are_skipped_where_the_plan_says_so() -> None:
    federation = picky("skip")
    assert [told.round for told in federation.told(RoundSkipped)] == [1, 2]
    assert federation.experiment.status is Status.FINISHED


def test_rounds_for_which_it_chooses_too_few_are_skipped_and_not_for_ever() -> None:
    choices = {"rounds": [["a", "b"], ["c"]]}
    selector = Component(template="fixed", settings=dict(choices))
    federation = Federation(plan_with(rounds=4).model_copy(update={"selector": selector}))
    federation.start()
    assert federation.experiment.status is Status.FINISHED
    assert [item.round for item in federation.skipped()] == [2, 4]

    never = Component(template="random", settings={"count": 1})
    spinning = Federation(plan_with(rounds=10**9).model_copy(update={"selector": never}))
    spinning.start()
    assert spinning.experiment.status is Status.FAILED
    assert len(spinning.skipped()) == MOST_SKIPPED - 1


def test_an_experiment_of_which_every_round_was_skipped_has_failed() -> None:
    federation = Federation(plan_with(), fails=dict.fromkeys((1, 2, 3), "ab"))
    federation.start()
    assert federation.experiment.status is Status.FAILED
    assert federation.experiment.reason == (
        "3 of 3 rounds are done, and in none of them came as many updates as participation wants"
    )


def test_those_who_are_called_back_have_not_missed_the_round() -> None:
    plan = plan_with().model_copy(update={"controllers": (Component(template="skip_unreliable"),)})
    federation = Federation(plan, fails={1: "ab"}, silent={1: "c"})
    federation.start()
    histories = federation.experiment._context.state.histories
    assert {name: history.missed for name, history in histories.items()} == {"a": 0, "b": 0, "c": 0}
