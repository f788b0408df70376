"""Cross evaluation as a phase of a round: who scores whom, on whom a verdict falls, and what a restart changes."""

import json
from collections.abc import Callable, Mapping, Sequence

import pytest
from played import PlayedExperiment

from openfl_like.federation.announcements import CollaboratorAbsent, ModelMade, RoundFinished
from openfl_like.federation.events import (
    Aggregate,
    CollaboratorJoined,
    CollaboratorLeft,
    Command,
    Event,
    ExperimentStarted,
    PlaceUpdates,
    TaskFailed,
    TimerFired,
    UpdateCommitted,
    UpdatesPlaced,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.federation.validation.scoring import Unscored, UpdatesScored, draw_pairs
from openfl_like.federation.validation.verdict import Consequence, Measure, UpdatesJudged, UpdateVerdict
from openfl_like.plan.schema import Plan

SITES = ("a", "b", "c", "d")
GOOD = {"a": 0.9, "b": 0.8, "c": 0.85, "d": 0.88}
Respond = Callable[[str, str], "float | None"]


def plan_with(section: Mapping[str, object], **parts: object) -> Plan:
    basis: dict[str, object] = {
        "name": "demo",
        "seed": 3,
        "aggregator": {"settings": {"rounds_to_train": 1}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {
            "train": {"function": "train"},
            "validate": {"function": "validate"},
            "own": {"function": "validate", "kwargs": {"apply": "local"}},
        },
        "participation": {"policy": "quorum", "min_updates": 1},
        "cross_evaluation": {"metric": "accuracy", **section},
    }
    return Plan.model_validate(basis | parts)


class Scored(PlayedExperiment):
    """An experiment whose sites give each update a score: by whose it is, unless a site lies or says nothing."""

    def __init__(
        self,
        section: Mapping[str, object],
        scores: Mapping[str, float] = GOOD,
        respond: Respond | None = None,
        *,
        sites: Sequence[str] = SITES,
        **parts: object,
    ) -> None:
        self.plan = plan_with(section, **parts)
        super().__init__(Experiment("e1", self.plan, tuple(sites), "given"))
        self.scores, self.sites = dict(scores), sites
        self.respond = respond or (lambda _scorer, owner: self.scores[owner])
        self.jobs: list[Assignment] = []

    def run(self) -> "Scored":
        self.feed(ExperimentStarted(), *map(CollaboratorJoined, self.sites))
        return self

    def answer(self, command: Command) -> Sequence[Event]:
        if isinstance(command, PlaceUpdates):
            return [
                UpdatesPlaced(command.round, {one.collaborator: f"of-{one.collaborator}" for one in command.updates})
            ]
        return super().answer(command)

    def perform(self, job: Assignment) -> Sequence[Event]:
        self.jobs.append(job)
        metrics: dict[str, dict[str, float]] = {}
        if job.phase is Phase.CROSS_EVALUATE:
            score = self.respond(job.collaborator, job.model.removeprefix("of-"))
            if score is None:
                return []
            metrics = {"validate": {"accuracy": score}}
        digest = f"{job.collaborator}-{job.round}" if job.phase is Phase.TRAIN else ""
        return [UpdateCommitted(Update(job.round, job.phase, job.collaborator, digest, 10, metrics))]

    def scored(self) -> UpdatesScored:
        (told,) = self.told(UpdatesScored)
        return told

    def verdicts(self) -> list[UpdateVerdict]:
        return [verdict for told in self.told(UpdatesJudged) for verdict in told.verdicts]

    def combined(self) -> Aggregate:
        (command,) = [one for one in self.commands if isinstance(one, Aggregate)]
        return command

    def crossing(self) -> list[Assignment]:
        return [job for job in self.jobs if job.phase is Phase.CROSS_EVALUATE]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_nobody_scores_its_own_and_every_update_is_scored_once(count: int) -> None:
    names = [f"site-{number}" for number in range(count)]
    pairs = draw_pairs(names, 7)
    assert {*pairs} == {*pairs.values()} == {*names}
    assert all(scorer != owner for scorer, owner in pairs.items())
    assert draw_pairs(names[::-1], 7) == pairs


def test_rounds_draw_different_pairs() -> None:
    names = [f"site-{number}" for number in range(10)]
    assert len({tuple(sorted(draw_pairs(names, seed).items())) for seed in range(5)}) == 5


def test_every_site_scores_the_update_of_another_with_the_tasks_that_look_at_the_global_model() -> None:
    played = Scored({"threshold": 0.5}).run()
    assert played.experiment.status is Status.FINISHED
    jobs = {job.collaborator: job for job in played.crossing()}
    assert {name: job.model.removeprefix("of-") for name, job in jobs.items()} == {
        scorer: owner for owner, scorer in played.scored().scorers.items()
    }
    assert all([call.name for call in job.tasks] == ["validate"] for job in jobs.values())
    assert played.scored().scores == GOOD
    assert played.verdicts() == []
    assert [one.collaborator for one in played.combined().updates] == [*SITES]
    assert played.told(RoundFinished)[0].absent == {}


def test_whoever_trains_scores_whatever_its_group_does() -> None:
    groups = [{"name": "all", "collaborators": [*SITES], "tasks": ["train"]}]
    played = Scored({"threshold": 0.5}, assigner={"template": "static", "settings": {"groups": groups}}).run()
    assert played.scored().scores == GOOD


def test_a_verdict_falls_on_whose_update_it_is_and_not_on_who_scored_it() -> None:
    played = Scored({"threshold": 0.5}, {**GOOD, "c": 0.1}).run()
    scorer = played.scored().scorers["c"]
    expected = UpdateVerdict(
        "c", "cross_evaluation", Measure.CROSS_SCORE, 0.1, 0.5, Consequence.DROP, "accuracy", scorer
    )
    assert played.verdicts() == [expected]
    assert [one.collaborator for one in played.combined().updates] == ["a", "b", "d"]
    (absence,) = played.told(CollaboratorAbsent)
    assert (absence.collaborator, absence.phase) == ("c", Phase.TRAIN)
    assert f"its 'accuracy' on the data of '{scorer}' is 0.1, the limit 0.5" in absence.reason


def test_a_margin_goes_by_the_median_of_the_scores() -> None:
    played = Scored({"margin": 0.2}, {"a": 0.9, "b": 0.5, "c": 0.9, "d": 0.8}).run()
    assert played.scored().limit == pytest.approx(0.65)
    assert [one.collaborator for one in played.verdicts()] == ["b"]


def test_a_loss_is_worse_when_it_is_more() -> None:
    losses = {"a": 0.4, "b": 9.0, "c": 0.5, "d": 0.3}

    class Losses(Scored):
        def perform(self, job: Assignment) -> Sequence[Event]:
            (event,) = super().perform(job)
            assert isinstance(event, UpdateCommitted)
            found = {task: {"loss": value["accuracy"]} for task, value in event.update.metrics.items()}
            update = event.update
            return [UpdateCommitted(Update(update.round, update.phase, update.collaborator, update.digest, 10, found))]

    played = Losses({"metric": "validate.loss", "margin": 1.0}, losses).run()
    assert [one.collaborator for one in played.verdicts()] == ["b"]


def test_an_update_is_weighed_by_how_much_worse_it_is() -> None:
    played = Scored({"margin": 0.1, "result": "reweigh"}, {"a": 0.9, "b": 0.5, "c": 0.9, "d": 0.9}).run()
    (verdict,) = played.verdicts()
    assert verdict.action is Consequence.REWEIGH
    assert verdict.share == pytest.approx(0.1 / 0.4)
    assert played.combined().weights == {"b": pytest.approx(0.25)}
    assert played.told(ModelMade)[0].weights["b"] == pytest.approx(0.25 / 3.25)


@pytest.mark.parametrize(("on_missing", "left"), [("keep", [*SITES]), ("drop", ["a", "b", "d"])])
def test_who_does_not_answer_in_time_holds_nobody_up(on_missing: str, left: list[str]) -> None:
    played = Scored(
        {"threshold": 0.5, "on_missing": on_missing},
        respond=lambda _, owner: None if owner == "c" else 0.9,
        deadline={"round_s": 5},
    ).run()
    assert not played.experiment.status.ended
    played.feed(TimerFired("deadline:1:cross_evaluate"))
    assert played.experiment.status is Status.FINISHED
    assert played.scored().unscored == {"c": Unscored.ABSENT}
    assert [one.collaborator for one in played.combined().updates] == left
    scorer = played.scored().scorers["c"]
    assert {one.collaborator for one in played.told(CollaboratorAbsent) if one.phase is Phase.CROSS_EVALUATE} == {
        scorer
    }


def test_a_scorer_whose_task_fails_or_that_is_gone_scores_nothing() -> None:
    played = Scored({"threshold": 0.5}, respond=lambda _, owner: None if owner in {"a", "b"} else 0.9).run()
    waiting = {job.model.removeprefix("of-"): job.collaborator for job in played.crossing()}
    played.feed(
        TaskFailed(1, Phase.CROSS_EVALUATE, waiting["a"], Failure(FailureKind.TASK, "no memory")),
        CollaboratorLeft(waiting["b"], "its host is gone", gone=True),
    )
    assert played.scored().unscored == {"a": Unscored.ABSENT, "b": Unscored.ABSENT}
    assert [one.collaborator for one in played.combined().updates] == [*SITES]


def test_a_model_that_gives_no_number_is_dropped() -> None:
    played = Scored({"margin": 0.2}, respond=lambda _, owner: float("nan") if owner == "c" else 0.9).run()
    assert played.scored().unscored == {"c": Unscored.NOT_FINITE}
    assert [one.collaborator for one in played.verdicts()] == ["c"]


def test_a_single_update_is_not_scored_and_the_record_says_so() -> None:
    played = Scored({"threshold": 0.5}, sites=("a",)).run()
    assert played.crossing() == []
    assert played.scored().unscored == {"a": Unscored.ALONE}
    assert played.experiment.status is Status.FINISHED


def test_a_metric_that_nobody_reports_ends_the_experiment_with_its_name() -> None:
    played = Scored({"metric": "auc", "threshold": 0.5}).run()
    assert played.experiment.status is Status.FAILED
    assert "no site reports the metric 'auc'" in played.experiment.reason


def test_of_two_scores_no_median_is_told_and_every_update_counts() -> None:
    played = Scored({"margin": 0.1}, {"a": 0.9, "b": 0.1}, sites=("a", "b")).run()
    assert played.scored().limit is None
    assert played.verdicts() == []


def test_too_few_that_are_left_end_the_experiment() -> None:
    played = Scored({"threshold": 0.5}, {**GOOD, "c": 0.1}, participation={"policy": "exact"}).run()
    assert played.experiment.status is Status.FAILED
    assert "site 'c' was refused: cross_evaluation" in played.experiment.reason


def _restarted(played: Scored) -> Scored:
    snapshot = json.loads(json.dumps(played.experiment.snapshot(), allow_nan=False))
    again = Scored({"threshold": 0.5}, {**GOOD, "c": 0.1})
    again.experiment = Experiment.restore(again.plan, snapshot, played.experiment.versions)
    return again


@pytest.mark.parametrize("answered", range(5))
def test_a_restart_in_the_middle_asks_the_same_and_judges_the_same(answered: int) -> None:
    once = Scored({"threshold": 0.5}, {**GOOD, "c": 0.1}).run()
    first = Scored({"threshold": 0.5}, {**GOOD, "c": 0.1})
    scored: list[str] = []

    def some(scorer: str, owner: str) -> float | None:
        if len(scored) >= answered:
            return None
        scored.append(scorer)
        return first.scores[owner]

    first.respond = some
    first.run()
    again = _restarted(first)
    placement = again.experiment.placement
    assert (placement is None) is (answered == 4)
    again.feed(ExperimentStarted(2), *map(CollaboratorJoined, SITES))
    assert {job.collaborator for job in again.crossing()} == ({*SITES} - {*scored} if answered < 4 else set())
    assert all(job in once.crossing() for job in again.crossing())
    told = [*first.told(UpdatesScored), *again.told(UpdatesScored)]
    assert told == [once.scored()]
    if answered < 4:
        assert again.combined() == once.combined()


def test_an_update_that_is_lost_is_trained_again_and_all_are_scored_anew() -> None:
    first = Scored({"threshold": 0.5}, respond=lambda _, owner: None if owner == "c" else 0.9).run()
    again = _restarted(first)
    again.experiment.lose_updates(["b"])
    assert again.experiment.placement is None
    again.feed(ExperimentStarted(2), *map(CollaboratorJoined, SITES))
    assert [job for job in again.jobs if job.phase is Phase.TRAIN] == [
        job for job in first.jobs if job.phase is Phase.TRAIN and job.collaborator == "b"
    ]
    assert {job.collaborator for job in again.crossing()} == {*SITES}
    assert [one.collaborator for one in again.combined().updates] == ["a", "b", "d"]
