"""Golden dialogues of events and commands; ``OPENFL_LIKE_GOLDEN=1 pytest`` writes them anew."""

import json
from collections.abc import Callable

import pytest
from transcripts import GOLDEN, Transcripts

from openfl_like.federation.announcements import fields_of
from openfl_like.federation.deliveries import UpdateStatus
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    CancelRequested,
    CollaboratorJoined,
    CollaboratorLeft,
    CollaboratorRevoked,
    Command,
    Event,
    ExperimentStarted,
    FinishExperiment,
    ModelAggregated,
    PublishVersion,
    ResumeRequested,
    SendAssignment,
    StartTimer,
    TaskFailed,
    TimerFired,
    UncountedUpdateArrived,
    UpdateCommitted,
    UpdatesValidated,
    ValidateUpdates,
    WithdrawAssignment,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.schema import Admission, Deadline, Participation, Plan, Task
from openfl_like.plan.section import Component

SAMPLES = {"a": 10, "b": 30, "c": 60}


def make_plan(
    rounds: int = 1,
    *,
    deadline: Deadline | None = None,
    admission: Admission | None = None,
    quorum: float | None = None,
    updates: int | None = None,
) -> Plan:
    some = Participation(policy="quorum", min_fraction=quorum, min_updates=updates)
    return Plan.model_validate(
        {
            "name": "demo",
            "seed": 7,
            "aggregator": {"settings": {"rounds_to_train": rounds}},
            "task_runner": Component(template="src.model:Runner"),
            "data_loader": Component(template="src.model:Loader"),
            "tasks": {"train": Task(function="train", kwargs={"epochs": 1}), "validate": Task(function="validate")},
            "model_store": {"best": {"metric": "accuracy"}},
            "deadline": deadline or Deadline(),
            "admission": admission or Admission(),
            "participation": some if quorum or updates else Participation(),
        }
    )


def describe_event(event: Event) -> str:
    match event:
        case CollaboratorJoined(name):
            return f"{name} joined"
        case CollaboratorLeft(name, reason, gone):
            return f"{name} left: {reason}{' (for good)' if gone else ''}"
        case CollaboratorRevoked(name):
            return f"the certificate of {name} was revoked"
        case UpdateCommitted(update):
            digest = update.digest or "-"
            return f"{update.collaborator} delivered round {update.round} {update.phase}: {digest}"
        case TaskFailed(number, phase, name, failure):
            return f"{name} failed in round {number} {phase}, task {failure.task}: {failure.said}"
    return describe_other_event(event)


def describe_other_event(event: Event) -> str:
    match event:
        case TimerFired(timer):
            return f"timer {timer} fired"
        case UpdatesValidated(number, problems):
            return f"updates of round {number} validated, problems {json.dumps(dict(problems))}"
        case ModelAggregated(number, digest):
            return f"round {number} aggregated to {digest}"
        case UncountedUpdateArrived(name, standing):
            return f"{name} sent an update that is {standing}"
        case CancelRequested(by) | ResumeRequested(by):
            wish = "cancel" if isinstance(event, CancelRequested) else "resume"
            return f"{by} wants to {wish}"
    return type(event).__name__


def describe_command(command: Command) -> str:
    match command:
        case SendAssignment(job):
            tasks = ", ".join(call.name for call in job.tasks)
            limit = f", {job.deadline_s:g} s" if job.deadline_s else ""
            what = f"round {job.round} {job.phase} [{tasks}] on {job.model or 'no model'}"
            return f"send {job.collaborator}: {what}, seed {job.seed}{limit}"
        case WithdrawAssignment(number, phase, name, reason):
            return f"withdraw {name}: round {number} {phase}: {reason}"
        case StartTimer(timer, after_s):
            return f"start timer {timer} of {after_s:g} s"
        case FinishExperiment(status, reason):
            return f"finish {status}: {reason}"
    return describe_result(command)


def describe_result(command: Command) -> str:
    match command:
        case ValidateUpdates(number, base, updates):
            return f"validate round {number} on {base or 'no model'}: {', '.join(item.digest for item in updates)}"
        case Aggregate(number, updates):
            return f"aggregate round {number}: {', '.join(item.digest for item in updates)}"
        case PublishVersion(version):
            best = ", the best" if version.best else ""
            return f"publish version {version.round} = {version.digest} {json.dumps(dict(version.metrics))}{best}"
        case Announce(announcement):
            fields = fields_of(announcement)
            fields.pop("plan", None)  # of every start: it has a test of its own
            return f"announce {announcement.kind} {json.dumps(fields)}"
    return type(command).__name__


class Play:
    """Feeds an experiment, one event a second, and writes down what is said; validates and aggregates by itself."""

    def __init__(self, plan: Plan, expected: str = "", initial_model: str = "") -> None:
        self.plan = plan
        self.experiment = Experiment("exp-1", plan, tuple(expected), initial_model)
        self.problems: dict[str, str] = {}
        self.now = 0.0
        self.lines: list[str] = []

    def happen(self, *events: Event) -> None:
        queue = list(events)
        while queue:
            event = queue.pop(0)
            self.now += 1.0
            self.lines.append(f"> {describe_event(event)}")
            for command in self.experiment.handle(event, self.now):
                self.lines.append(f"    {describe_command(command)}")
                if isinstance(command, ValidateUpdates):
                    queue.insert(0, UpdatesValidated(command.round, self.problems))
                elif isinstance(command, Aggregate):
                    queue.insert(0, ModelAggregated(command.round, f"model-{command.round}"))

    def start(self, joining: str) -> None:
        self.happen(ExperimentStarted(), *(CollaboratorJoined(name) for name in joining))

    def initialise(self, by: str = "a") -> None:
        self.deliver(0, Phase.INITIALISE, by)

    def deliver(self, number: int, phase: Phase, names: str) -> None:
        for name in names:
            digest = "" if phase is Phase.EVALUATE else f"{name}-{number}"
            task = {Phase.INITIALISE: "initialise", Phase.TRAIN: "train", Phase.EVALUATE: "validate"}[phase]
            metric = "accuracy" if phase is Phase.EVALUATE else "loss"
            facts = {} if phase is Phase.INITIALISE else {task: {metric: SAMPLES[name] / 100}}
            self.happen(UpdateCommitted(Update(number, phase, name, digest, SAMPLES[name], facts, 0.5)))

    def restart(self, *first: Event) -> None:
        self.lines.append("-- the aggregator restarts --")
        self.experiment = Experiment.restore(
            self.plan, json.loads(json.dumps(self.experiment.snapshot())), self.experiment.versions
        )
        self.happen(*first, ExperimentStarted())


def happy_path() -> Play:
    play = Play(make_plan(rounds=2), "ab")
    play.start("ba")
    play.initialise()
    for number in (1, 2):
        play.deliver(number, Phase.TRAIN, "ba")
        play.deliver(number, Phase.EVALUATE, "ab")
    return play


def quorum_without_the_site_that_left() -> Play:
    play = Play(make_plan(quorum=0.6), "abc")
    play.start("abc")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "a")
    play.happen(CollaboratorLeft("c", "connection lost"))
    play.deliver(1, Phase.TRAIN, "b")
    play.happen(TimerFired("rejoin:c:1"))
    play.deliver(1, Phase.EVALUATE, "ab")
    return play


def revoked_site_is_not_waited_for() -> Play:
    play = Play(make_plan(quorum=0.6), "abc")
    play.start("abc")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "ab")
    play.happen(CollaboratorLeft("c", "its connection was lost"))  # its Envoy has ended it before the list came
    play.happen(CollaboratorRevoked("c"), CollaboratorRevoked("c"))
    play.deliver(1, Phase.EVALUATE, "ab")
    return play


def revoked_while_the_last_metrics_come() -> Play:
    play = Play(make_plan(rounds=2), "ab")
    play.start("ab")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "ab")
    play.deliver(1, Phase.EVALUATE, "b")
    play.happen(CollaboratorLeft("b", "its connection was lost"), CollaboratorRevoked("b"))
    play.deliver(1, Phase.EVALUATE, "a")
    return play


def revoked_while_no_aggregator_ran() -> Play:
    play = Play(make_plan(quorum=0.6), "abc")
    play.start("abc")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "a")
    play.restart()
    play.happen(CollaboratorRevoked("c"), CollaboratorJoined("a"), CollaboratorJoined("b"))
    play.deliver(1, Phase.TRAIN, "b")
    play.deliver(1, Phase.EVALUATE, "ab")
    return play


def site_comes_back_in_time() -> Play:
    play = Play(make_plan(), "ab")
    play.start("ab")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "a")
    play.happen(CollaboratorLeft("b", "connection lost"), CollaboratorJoined("b"), TimerFired("rejoin:b:1"))
    play.deliver(1, Phase.TRAIN, "b")
    play.deliver(1, Phase.EVALUATE, "ab")
    return play


def deadline_goes_on_with_a_part() -> Play:
    play = Play(make_plan(deadline=Deadline(round_s=30, train_s=20), quorum=0.5), "ab")
    play.start("ab")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "b")
    play.happen(TimerFired("deadline:1:train"))
    play.deliver(1, Phase.TRAIN, "a")
    play.deliver(1, Phase.EVALUATE, "b")
    play.happen(TimerFired("deadline:1:evaluate"))
    return play


def deadline_ends_the_experiment() -> Play:
    play = Play(make_plan(deadline=Deadline(round_s=30)), "ab")
    play.start("ab")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "b")
    play.happen(TimerFired("deadline:1:train"))
    return play


def worker_raises_and_another_site_leaves() -> Play:
    play = Play(make_plan(updates=2), "abc")
    play.start("abc")
    play.initialise()
    play.happen(
        TaskFailed(1, Phase.TRAIN, "b", Failure(FailureKind.TASK, "boom", "ValueError", task="train")),
        CollaboratorLeft("c", "its worker cannot be started", gone=True),
    )
    return play


def update_is_refused() -> Play:
    play = Play(make_plan(quorum=0.5), "ab")
    play.start("ab")
    play.initialise()
    play.problems = {"b": "tensor 'w' holds a value that is not finite"}
    play.deliver(1, Phase.TRAIN, "ab")
    play.deliver(1, Phase.EVALUATE, "ab")
    return play


def repeated_and_late_updates() -> Play:
    play = Play(make_plan(rounds=2), "ab")
    play.start("ab")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "aa")
    play.happen(UpdateCommitted(Update(1, Phase.TRAIN, "a", "another", 10)))
    play.deliver(1, Phase.TRAIN, "b")
    play.deliver(2, Phase.TRAIN, "a")
    play.deliver(1, Phase.TRAIN, "c")
    play.deliver(1, Phase.EVALUATE, "ab")
    return play


def updates_that_cannot_count() -> Play:
    play = Play(make_plan(rounds=2), "ab")
    play.start("ab")
    play.initialise()
    play.happen(*(UncountedUpdateArrived("a", UpdateStatus.CONFLICTING) for _ in range(3)))
    play.happen(UncountedUpdateArrived("b", UpdateStatus.REPEATED))
    play.deliver(1, Phase.TRAIN, "ab")
    play.restart()
    play.happen(CollaboratorJoined("a"), CollaboratorJoined("b"), UncountedUpdateArrived("a", UpdateStatus.CONFLICTING))
    play.deliver(1, Phase.EVALUATE, "ab")
    play.happen(*(UncountedUpdateArrived("a", UpdateStatus.LATE) for _ in range(2)), CancelRequested("alice"))
    return play


def initialising_falls_over_to_the_next_site() -> Play:
    play = Play(make_plan(), "abc")
    play.start("abc")
    play.happen(
        TaskFailed(
            0,
            Phase.INITIALISE,
            "a",
            Failure(FailureKind.TASK, "no module named 'torch'", "ImportError", task="initialise"),
        ),
        CollaboratorLeft("b", "connection lost"),
    )
    play.problems = {"c": "its model file is damaged: the header is not valid JSON"}
    play.initialise("c")
    return play


def cancelled() -> Play:
    play = Play(make_plan(), "ab")
    play.start("ab")
    play.happen(CancelRequested("alice"), CollaboratorJoined("a"))
    return play


def late_joiner_takes_part_in_the_next_round() -> Play:
    play = Play(make_plan(rounds=2, admission=Admission(min_collaborators=1)))
    play.start("a")
    play.initialise()
    play.happen(CollaboratorJoined("b"))
    play.deliver(1, Phase.TRAIN, "a")
    play.deliver(1, Phase.EVALUATE, "a")
    play.deliver(2, Phase.TRAIN, "ab")
    play.deliver(2, Phase.EVALUATE, "ab")
    return play


def late_and_unknown_sites_are_not_let_in() -> Play:
    play = Play(make_plan(admission=Admission(min_collaborators=1, late_join="deny", timeout_s=5)), "ab")
    play.start("za")
    play.happen(TimerFired("admission"), CollaboratorJoined("b"))
    return play


def too_few_join() -> Play:
    play = Play(make_plan(), "abc")
    play.start("ab")
    play.happen(TimerFired("admission"))
    return play


def restart_in_the_middle_of_a_round() -> Play:
    play = Play(make_plan(deadline=Deadline(round_s=30)), "ab")
    play.start("ab")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "a")
    play.restart()
    play.happen(CollaboratorJoined("b"))
    play.deliver(1, Phase.TRAIN, "b")
    play.restart()
    play.happen(CollaboratorJoined("a"))
    play.deliver(1, Phase.EVALUATE, "a")
    play.happen(TimerFired("rejoin:b:2"))
    return play


def cancelled_in_mid_round_and_resumed() -> Play:
    play = Play(make_plan(rounds=2), "ab")
    play.start("ab")
    play.initialise()
    play.deliver(1, Phase.TRAIN, "ab")
    play.deliver(1, Phase.EVALUATE, "ab")
    play.deliver(2, Phase.TRAIN, "a")
    play.happen(CancelRequested("alice"))
    play.restart(ResumeRequested("bob"))
    play.happen(CollaboratorJoined("b"), CollaboratorJoined("a"))
    play.deliver(2, Phase.TRAIN, "ab")
    play.deliver(2, Phase.EVALUATE, "ab")
    return play


def failed_for_a_lost_site_and_resumed() -> Play:
    play = Play(make_plan(), "ab", "given")
    play.start("ab")
    play.happen(CollaboratorLeft("b", "its worker cannot be started", gone=True))
    play.restart(ResumeRequested("bob"))
    play.happen(CollaboratorJoined("a"), CollaboratorJoined("b"))
    play.deliver(1, Phase.TRAIN, "ab")
    play.deliver(1, Phase.EVALUATE, "ab")
    return play


def too_few_are_here_to_begin_a_round() -> Play:
    play = Play(make_plan(rounds=2), "ab", "given")
    play.start("ab")
    play.deliver(1, Phase.TRAIN, "ab")
    play.deliver(1, Phase.EVALUATE, "b")
    play.happen(CollaboratorLeft("b", "connection lost"))
    play.deliver(1, Phase.EVALUATE, "a")
    play.happen(TimerFired("gather:2"))
    return play


TRANSCRIPTS = Transcripts(GOLDEN)
SCENARIOS: list[Callable[[], Play]] = [
    happy_path,
    quorum_without_the_site_that_left,
    revoked_site_is_not_waited_for,
    revoked_while_the_last_metrics_come,
    revoked_while_no_aggregator_ran,
    site_comes_back_in_time,
    deadline_goes_on_with_a_part,
    deadline_ends_the_experiment,
    worker_raises_and_another_site_leaves,
    update_is_refused,
    repeated_and_late_updates,
    updates_that_cannot_count,
    initialising_falls_over_to_the_next_site,
    cancelled,
    late_joiner_takes_part_in_the_next_round,
    late_and_unknown_sites_are_not_let_in,
    too_few_join,
    restart_in_the_middle_of_a_round,
    cancelled_in_mid_round_and_resumed,
    failed_for_a_lost_site_and_resumed,
    too_few_are_here_to_begin_a_round,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_transcript(scenario: Callable[[], Play]) -> None:
    TRANSCRIPTS.compare(scenario.__name__, scenario().lines)


def test_every_transcript_has_its_scenario() -> None:
    TRANSCRIPTS.are_of([scenario.__name__ for scenario in SCENARIOS])
