"""Any order of events: repetitions, late answers, leaving, restarts; the invariants of an experiment hold all the
time."""

import json
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openfl_like.federation.announcements import RoundFinished
from openfl_like.federation.callback_end import CallbackEnd, CallbackEnded
from openfl_like.federation.deliveries import UpdateStatus
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    CallbackStopped,
    CancelRequested,
    CollaboratorJoined,
    CollaboratorLeft,
    CollaboratorRevoked,
    Event,
    EverybodyJoined,
    ExperimentStarted,
    FinishExperiment,
    ModelAggregated,
    PlaceUpdates,
    PublishVersion,
    ResumeRequested,
    SendAssignment,
    StartTimer,
    StepFailed,
    TaskFailed,
    TimerFired,
    UncountedUpdateArrived,
    UpdateCommitted,
    UpdatesPlaced,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan

Work = ValidateUpdates | PlaceUpdates | Aggregate
SITES = st.sampled_from(["a", "b", "c", "d"])


def make_plan(rounds: int, fraction: float | None, late_join: str, *, scored: bool) -> Plan:
    return Plan.model_validate(
        {
            "name": "demo",
            "aggregator": {"settings": {"rounds_to_train": rounds}},
            "task_runner": {"template": "src.model:Runner"},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
            "admission": {"collaborators": ["a", "b", "c"], "min_collaborators": 2, "late_join": late_join},
            "participation": {"policy": "quorum" if fraction else "exact", "min_fraction": fraction},
            "deadline": {"round_s": 30},
            "cross_evaluation": {"metric": "accuracy", "threshold": 0.4} if scored else None,
        }
    )


class AnyOrder(RuleBasedStateMachine):
    """Plays the loop and the sites; every command is obeyed at some time, in any order."""

    @initialize(
        rounds=st.integers(1, 3),
        fraction=st.sampled_from([0.3, 0.6, None]),
        late_join=st.sampled_from(["next_round", "deny"]),
        initial_model=st.sampled_from(["", "given"]),
        joining=st.sampled_from(["abc", "abc", "ab", "a"]),
        scored=st.booleans(),
    )
    def begin(
        self, rounds: int, fraction: float | None, late_join: str, initial_model: str, joining: str, *, scored: bool
    ) -> None:
        self.plan = make_plan(rounds, fraction, late_join, scored=scored)
        self.experiment = Experiment("exp-1", self.plan, (), initial_model)
        self.assignments: list[Assignment] = []
        self.timers: list[str] = []
        self.steps: list[Work] = []
        self.committed: set[tuple[int, str, str]] = set()
        self.published: list[int] = []
        self.ending: tuple[Status, str] | None = None
        self.feed(ExperimentStarted())
        for name in joining:
            self.feed(CollaboratorJoined(name))
        if joining == "abc":
            self.feed(EverybodyJoined())

    def feed(self, event: Event) -> None:
        for command in self.experiment.handle(event, 0.0):
            match command:
                case SendAssignment(assignment):
                    self.check_scorer(assignment)
                    self.assignments.append(assignment)
                case StartTimer(timer):
                    self.timers.append(timer)
                case ValidateUpdates() | PlaceUpdates() | Aggregate():
                    self.check_updates(command)
                    self.steps.append(command)
                case PublishVersion(version):
                    self.published.append(version.round)
                case Announce(RoundFinished() as finished):
                    self.check_contributors(finished)
                case FinishExperiment(status, reason):
                    assert self.ending is None
                    self.ending = (status, reason)

    def check_scorer(self, assignment: Assignment) -> None:
        """Nobody scores its own update."""
        if assignment.phase is Phase.CROSS_EVALUATE:
            assert assignment.model.startswith("of-")
            assert assignment.model != f"of-{assignment.collaborator}"

    def check_updates(self, command: Work) -> None:
        names = [update.collaborator for update in command.updates]
        assert names
        assert names == sorted(set(names))
        assert all((update.round, update.collaborator, update.digest) in self.committed for update in command.updates)
        assert all(update.round == command.round for update in command.updates)

    def check_contributors(self, finished: RoundFinished) -> None:
        assert {*finished.contributors} <= {name for number, name, _ in self.committed if number == finished.round}

    def commit(self, assignment: Assignment, digest: str) -> None:
        wanted = digest if assignment.phase.returns_model else ""
        name = assignment.collaborator
        self.committed.add((assignment.round, name, wanted))
        score = 0.1 if assignment.phase is Phase.CROSS_EVALUATE and digest.endswith("other") else 0.5
        metrics = {} if assignment.phase.returns_model else {"validate": {"accuracy": score}}
        self.feed(UpdateCommitted(Update(assignment.round, assignment.phase, name, wanted, 3, metrics)))

    @rule(name=SITES)
    def join(self, name: str) -> None:
        self.feed(CollaboratorJoined(name))

    @rule()
    def join_together(self) -> None:
        self.feed(EverybodyJoined())

    @rule(name=SITES, gone=st.booleans())
    def leave(self, name: str, *, gone: bool) -> None:
        self.feed(CollaboratorLeft(name, "connection lost", gone))

    @rule(name=SITES)
    def revoke(self, name: str) -> None:
        self.feed(CollaboratorRevoked(name))

    @precondition(lambda self: self.assignments)
    @rule(data=st.data(), other=st.booleans())
    def answer(self, data: st.DataObject, *, other: bool) -> None:
        assignment = data.draw(st.sampled_from(self.assignments))
        self.commit(assignment, f"{assignment.collaborator}-{'other' if other else assignment.round}")

    @precondition(lambda self: self.assignments)
    @rule(turns=st.integers(1, 8))
    def go_on(self, turns: int) -> None:
        """The undisturbed course of things, without which hardly a round would ever be reached."""
        for _ in range(turns):
            if self.steps:
                self.perform(self.steps.pop())
            else:
                self.answer_the_newest()

    def answer_the_newest(self) -> None:
        newest = self.assignments[-1]
        peers = [job for job in self.assignments if (job.round, job.phase) == (newest.round, newest.phase)]
        for assignment in peers:
            self.commit(assignment, f"{assignment.collaborator}-{assignment.round}")

    @precondition(lambda self: self.assignments)
    @rule(data=st.data())
    def fail_in_a_task(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.assignments))
        self.feed(
            TaskFailed(
                job.round,
                job.phase,
                job.collaborator,
                Failure(FailureKind.TASK, "boom", "ValueError", task=job.tasks[0].name),
            )
        )

    @rule(name=SITES, standing=st.sampled_from(list(UpdateStatus)), times=st.integers(1, 3))
    def send_too_much(self, name: str, standing: UpdateStatus, times: int) -> None:
        for _ in range(times):
            self.feed(UncountedUpdateArrived(name, standing))

    @precondition(lambda self: self.timers and self.assignments)
    @rule(data=st.data())
    def fire(self, data: st.DataObject) -> None:
        self.feed(TimerFired(data.draw(st.sampled_from(self.timers))))

    @precondition(lambda self: self.steps)
    @rule(refuse=st.booleans(), again=st.booleans())
    def work(self, *, refuse: bool, again: bool) -> None:
        step = self.steps[-1]
        if not again:
            self.steps.pop()
        self.perform(step, refuse=refuse)

    def perform(self, step: Work, *, refuse: bool = False) -> None:
        if isinstance(step, Aggregate):
            before = len(self.experiment.versions)
            self.feed(ModelAggregated(step.round, f"model-{step.round}"))
            assert len(self.experiment.versions) - before <= 1
        elif isinstance(step, PlaceUpdates):
            models = {update.collaborator: f"of-{update.collaborator}" for update in step.updates}
            self.feed(UpdatesPlaced(step.round, models))
        else:
            problems = {step.updates[0].collaborator: "not finite"} if refuse else {}
            self.feed(UpdatesValidated(step.round, problems))

    @precondition(lambda self: self.steps)
    @rule(back=st.integers(0, 9))
    def break_down(self, back: int) -> None:
        self.feed(StepFailed(self.steps[-1].round - back, Failure(FailureKind.COMBINE, "no space left on device")))

    @precondition(lambda self: len(self.published) > 2)
    @rule()
    def cancel(self) -> None:
        self.feed(CancelRequested("alice"))

    @rule()
    def lose_callback(self) -> None:
        told = CallbackEnded("save", CallbackEnd.RAISED, "no luck")
        wanted = [] if self.experiment.status.ended else [Announce(told)]
        assert self.experiment.handle(CallbackStopped(told), 0.0) == wanted

    @precondition(lambda self: self.ending is not None)
    @rule()
    def resume(self) -> None:
        self.ending = None
        self.restart(ResumeRequested("bob"))

    @rule(name=SITES)
    def restart_without_a_file(self, name: str) -> None:
        """A process begins anew, and an update in its spool is damaged."""
        lost = [name for update in self.experiment.kept_updates if update.collaborator == name]
        self.restart(lost=lost)

    @rule()
    def restart(self, *first: Event, lost: Sequence[str] = ()) -> None:
        snapshot = self.experiment.snapshot()
        self.experiment = Experiment.restore(self.plan, json.loads(json.dumps(snapshot)), self.experiment.versions)
        assert self.experiment.snapshot() == snapshot
        self.timers, self.steps = [], []
        self.experiment.lose_updates(lost)
        for event in (*first, ExperimentStarted()):
            self.feed(event)

    @invariant()
    def rounds_are_gapless(self) -> None:
        assert self.published == list(range(len(self.published)))
        assert [version.round for version in self.experiment.versions] == self.published

    @invariant()
    def the_end_is_told_once_and_stays(self) -> None:
        told = (self.experiment.status, self.experiment.reason) if self.experiment.status.ended else None
        assert told == self.ending
        assert self.ending is None or self.ending[1]

    @invariant()
    def the_snapshot_is_json(self) -> None:
        text = json.dumps(self.experiment.snapshot(), allow_nan=False)
        assert Experiment.restore(self.plan, json.loads(text), self.experiment.versions).snapshot() == json.loads(text)

    def teardown(self) -> None:
        """When every step is done and every timer fires, the experiment ends, whatever happened before."""
        if not hasattr(self, "experiment"):
            return
        for _ in range(100):
            if self.ending is not None:
                return
            if self.steps:
                self.perform(self.steps.pop())
            else:
                assert self.timers, f"nothing will ever happen: {self.experiment.snapshot()}"
                self.feed(TimerFired(self.timers.pop(0)))
        raise AssertionError("the experiment does not end")


AnyOrder.TestCase.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
TestAnyOrder = AnyOrder.TestCase
