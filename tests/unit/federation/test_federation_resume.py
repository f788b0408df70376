"""Cancelled after any event and resumed: the same versions, best version, early stop and shortfalls as undisturbed."""

import json
from collections import deque
from dataclasses import dataclass, field

import pytest

from openfl_like.federation.events import (
    Aggregate,
    CancelRequested,
    CollaboratorJoined,
    Event,
    ExperimentStarted,
    ModelAggregated,
    ModelVersion,
    ResumeRequested,
    SendAssignment,
    TimerFired,
    UpdateCommitted,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.lifecycle import ADMISSION_TIMER
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Participation, Plan, Stop

ACCURACY = [0.0, 0.5, 0.7, 0.6, 0.7, 0.9]
PLAN = Plan.model_validate(
    {
        "name": "demo",
        "seed": 7,
        "aggregator": {"settings": {"rounds_to_train": 5}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
        "admission": {"collaborators": ["a", "b", "c"], "min_collaborators": 2},
        "model_store": {"best": {"metric": "accuracy"}, "keep": {"last": 3}},
        "stop": {"any": [{"patience": 2}]},
    }
)
NEVER_CAME = Failure(FailureKind.MISSING, round=1, site="c")


@dataclass(slots=True)
class Play:
    """Sites that answer at once; the model of a round is named after what it was made of."""

    experiment: Experiment
    asked: list[Assignment] = field(default_factory=list)
    refused: set[tuple[str, int]] = field(default_factory=set)

    def run(self, sites: str, *first: Event, stop_after: int = -1) -> bool:
        """Runs to the end, or cancels after so many events; tells whether it was cancelled."""
        waiting: deque[Event] = deque([*first, ExperimentStarted(), *(CollaboratorJoined(name) for name in sites)])
        waiting.append(TimerFired(ADMISSION_TIMER))
        count = 0
        while waiting and not (self.experiment.status.ended and count):
            if count == stop_after:
                self.experiment.handle(CancelRequested("alice"), 0.0)
                return True
            count += 1
            for command in self.experiment.handle(waiting.popleft(), 0.0):
                match command:
                    case SendAssignment(job):
                        self.asked.append(job)
                        waiting.append(UpdateCommitted(answer(job)))
                    case ValidateUpdates():
                        names = {name: "odd" for name, number in self.refused if number == command.round}
                        waiting.append(UpdatesValidated(command.round, names))
                    case Aggregate(number, updates, _, state):
                        kept = f"{state}>{number}" if number else ""
                        waiting.append(ModelAggregated(number, "+".join(update.digest for update in updates), kept))
        return False

    def resume(self, sites: str) -> None:
        """Goes on in another process."""
        snapshot = json.loads(json.dumps(self.experiment.snapshot()))
        self.experiment = Experiment.restore(PLAN, snapshot, self.experiment.versions)
        self.run(sites, ResumeRequested("bob"))

    @property
    def outcome(self) -> tuple[Status, str, tuple[ModelVersion, ...], dict[str, Failure], dict[int, str]]:
        """What must not depend on the interruption."""
        now = self.experiment
        return now.status, now.reason, now.versions, now.shortfalls, now.server_states


def answer(job: Assignment) -> Update:
    key = job.round, job.phase, job.collaborator
    if job.phase is Phase.EVALUATE:
        return Update(*key, "", 5, {"validate": {"accuracy": ACCURACY[job.round]}})
    return Update(*key, f"{job.collaborator}{job.round}-{job.seed % 1000}", 5, {})


def undisturbed(sites: str) -> Play:
    play = Play(Experiment("exp-1", PLAN))
    assert not play.run(sites)
    return play


def cancelled_in_round(number: int, sites: str) -> Play:
    for stop_after in range(200):
        play = Play(Experiment("exp-1", PLAN))
        play.run(sites, stop_after=stop_after)
        if play.experiment.round == number:
            return play
    raise AssertionError("it does not get so far")


@pytest.mark.parametrize("sites", ["abc", "ab"])
def test_whenever_it_is_cancelled_it_ends_as_if_it_had_not_been(sites: str) -> None:
    wanted = undisturbed(sites).outcome
    assert wanted[:2] == (Status.FINISHED, "no better model for 2 rounds")
    assert [version.round for version in wanted[2] if version.best] == [1, 2]
    assert wanted[4] == {2: ">1>2", 3: ">1>2>3", 4: ">1>2>3>4"}, "each round goes on from what the one before has kept"
    assert wanted[3] == ({} if sites == "abc" else {"c": NEVER_CAME})
    cancelled = 0
    for stop_after in range(200):
        play = Play(Experiment("exp-1", PLAN))
        if not play.run(sites, stop_after=stop_after):
            break
        assert play.experiment.status is Status.CANCELLED
        play.resume(sites)
        assert play.outcome == wanted, stop_after
        cancelled += 1
    assert cancelled > 20


def test_a_round_of_before_is_not_run_again_and_the_open_one_is_asked_of_everybody() -> None:
    play = cancelled_in_round(2, "abc")
    play.asked.clear()
    play.resume("abc")
    assert min(job.round for job in play.asked) == 2
    assert [job.collaborator for job in play.asked[:3]] == ["a", "b", "c"]


def test_sites_that_were_missing_before_stay_shortfalls_and_take_part_from_now_on() -> None:
    play = cancelled_in_round(2, "ab")
    play.resume("abc")
    status, _, versions, shortfalls, _ = play.outcome
    assert (status, shortfalls) == (Status.FINISHED, {"c": NEVER_CAME})
    assert [("c" in version.digest) for version in versions[1:]] == [False, True, True, True]


def test_what_needs_no_more_round_ends_at_once() -> None:
    play = undisturbed("abc")
    versions = play.experiment.versions
    play.resume("abc")
    assert (play.experiment.status, play.experiment.versions) == (Status.FINISHED, versions)


def test_too_few_sites_end_it_again() -> None:
    play = cancelled_in_round(2, "abc")
    play.resume("a")
    assert play.experiment.status is Status.FAILED
    assert "1 of 3 collaborators joined" in play.experiment.reason
    assert "missing: b, c" in play.experiment.reason


def test_an_assignment_says_in_which_round_the_site_s_last_update_counted() -> None:
    play = undisturbed("abc")
    trained = [(job.round, job.continues) for job in play.asked if job.phase is Phase.TRAIN and job.collaborator == "b"]
    assert trained == [(1, 0), (2, 1), (3, 2), (4, 3)]


def test_after_a_resume_sites_go_on_from_what_was_published() -> None:
    play = cancelled_in_round(3, "abc")
    cancelled = len(play.asked)
    play.resume("abc")
    again = [(job.round, job.continues) for job in play.asked[cancelled:] if job.phase is Phase.TRAIN]
    assert again == [(3, 2)] * 3 + [(4, 3)] * 3


def test_an_update_that_did_not_count_is_not_gone_on_from() -> None:
    plan = PLAN.model_copy(
        update={"participation": Participation(policy="quorum", min_updates=2), "stop": Stop()},
    )
    play = Play(Experiment("exp-1", plan), refused={("c", 2)})
    play.run("abc")
    trained = [(job.round, job.continues) for job in play.asked if job.phase is Phase.TRAIN and job.collaborator == "c"]
    assert trained == [(1, 0), (2, 1), (3, 1), (4, 3), (5, 4)]


def test_a_round_s_model_is_evaluated_with_what_the_site_kept_in_it_if_its_update_counts() -> None:
    plan = PLAN.model_copy(
        update={"participation": Participation(policy="quorum", min_updates=2), "stop": Stop()},
    )
    play = Play(Experiment("exp-1", plan), refused={("c", 2)})
    play.run("abc")
    evaluated = [job for job in play.asked if job.phase is Phase.EVALUATE]
    found = {(job.collaborator, job.round): job.continues for job in evaluated if job.round < 4}
    assert {place: number for place, number in found.items() if place[0] == "c"} == {
        ("c", 1): 1,
        ("c", 2): 1,
        ("c", 3): 3,
    }
    assert {place: number for place, number in found.items() if place[0] == "a"} == {
        ("a", 1): 1,
        ("a", 2): 2,
        ("a", 3): 3,
    }


def test_a_snapshot_of_a_version_that_did_not_count_is_taken_up() -> None:
    play = cancelled_in_round(3, "abc")
    snapshot = play.experiment.snapshot()
    del snapshot["counted"]
    play.experiment = Experiment.restore(PLAN, snapshot, play.experiment.versions)
    cancelled = len(play.asked)
    play.run("abc", ResumeRequested("bob"))
    again = [(job.round, job.continues) for job in play.asked[cancelled:] if job.phase is Phase.TRAIN]
    assert again == [(3, 0)] * 3 + [(4, 3)] * 3


def test_a_snapshot_of_a_version_without_server_states_is_taken_up() -> None:
    play = cancelled_in_round(2, "abc")
    snapshot = json.loads(json.dumps(play.experiment.snapshot()))
    for values, keys in ((snapshot, ("server_states",)), (snapshot["round"], ("base_state", "server_state"))):
        for key in keys:
            del values[key]
    restored = Experiment.restore(PLAN, snapshot, play.experiment.versions)
    assert restored.server_states == {}
    assert restored.snapshot()["server_states"] == {}
