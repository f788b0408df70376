"""One experiment at one site: its ways to the end as transcripts, and rules that hold whatever happens when."""

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from openfl_like.federation.supervision.restarts import PAUSES_S, Pause, PauseOver
from openfl_like.federation.supervision.site_run import (
    CRASHED,
    NO_ROOM,
    RETRY_NO_ROOM_S,
    UNREACHABLE,
    AskForCertificate,
    BundleUnpacked,
    CertificateReceived,
    CollaboratorExited,
    CollaboratorStarted,
    EnvironmentProvided,
    PreparationFailed,
    ProvideEnvironment,
    Refuse,
    ReportEnd,
    SiteCommand,
    SiteEvent,
    SiteRun,
    SiteStep,
    StartCollaborator,
    StartFailed,
    StopCollaborator,
    StopRequested,
)

RUNNING = (BundleUnpacked(requirements=False), CertificateReceived(), CollaboratorStarted(1))
KILLED = CollaboratorExited(-9, progressed=False, session=1)


def transcript(*events: SiteEvent) -> tuple[SiteRun, list[list[SiteCommand]]]:
    run = SiteRun()
    return run, [run.handle(event) for event in events]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            (BundleUnpacked(requirements=True), EnvironmentProvided(), CertificateReceived(), CollaboratorStarted(1),
             CollaboratorExited(0, progressed=True, session=1)),
            [[ProvideEnvironment()], [AskForCertificate()], [StartCollaborator()], [], [ReportEnd(0)]],
        ),
        ((PreparationFailed("no room"),), [[Refuse("no room")]]),
        (
            (BundleUnpacked(requirements=True), PreparationFailed("no wheel")),
            [[ProvideEnvironment()], [Refuse("no wheel")]],
        ),
        (
            (BundleUnpacked(requirements=False), CertificateReceived(), StartFailed("too many files")),
            [[AskForCertificate()], [StartCollaborator()], [ReportEnd(0), Refuse("too many files")]],
        ),
        (
            (*RUNNING, StopRequested(), CollaboratorExited(-15, progressed=False, session=1)),
            [[AskForCertificate()], [StartCollaborator()], [], [StopCollaborator()], [ReportEnd(-15)]],
        ),
        ((StopRequested(), BundleUnpacked(requirements=False)), [[ReportEnd(0)], []]),
        (
            (*RUNNING, CollaboratorExited(3, progressed=True, session=1)),
            [[AskForCertificate()], [StartCollaborator()], [], [ReportEnd(3, explained=True)]],
        ),
    ],
    ids=["to its end", "refused", "no packages", "not started", "stopped", "stopped before", "fails"],
)  # fmt: skip
def test_a_way_to_the_end(events: Sequence[SiteEvent], expected: list[list[SiteCommand]]) -> None:
    run, given = transcript(*events)
    assert given == expected
    assert run.step is SiteStep.ENDED


def test_a_collaborator_that_dies_is_started_three_times_each_after_a_longer_pause() -> None:
    run, _ = transcript(*RUNNING)
    for pause_s in PAUSES_S:
        assert run.handle(KILLED) == [Pause(pause_s)]
        assert run.handle(PauseOver()) == [StartCollaborator()]
        assert run.handle(CollaboratorStarted(1)) == []
    assert run.handle(KILLED) == [ReportEnd(-9, explained=True, attempts=len(PAUSES_S) + 1)]


def test_one_that_has_delivered_something_begins_to_count_anew() -> None:
    run, _ = transcript(*RUNNING)
    for _ in range(20):
        assert run.handle(CollaboratorExited(CRASHED, progressed=True, session=1)) == [Pause(PAUSES_S[0])]
        assert run.handle(PauseOver()) == [StartCollaborator()]


def test_want_of_room_is_waited_for_however_long_it_lasts() -> None:
    run, _ = transcript(*RUNNING)
    for _ in range(20):
        assert run.handle(CollaboratorExited(NO_ROOM, progressed=False, session=1)) == [Pause(RETRY_NO_ROOM_S)]
        assert run.handle(PauseOver()) == [StartCollaborator()]


def test_an_aggregator_that_was_away_together_with_the_director_is_looked_for_again() -> None:
    run, _ = transcript(*RUNNING)
    assert run.handle(CollaboratorExited(UNREACHABLE, progressed=False, session=2)) == [Pause(PAUSES_S[0])]
    run, _ = transcript(*RUNNING)
    lost = CollaboratorExited(UNREACHABLE, progressed=False, session=1)
    assert run.handle(lost) == [ReportEnd(UNREACHABLE, explained=True)]


def test_what_cannot_be_started_again_is_told_by_its_last_end() -> None:
    run, _ = transcript(*RUNNING, KILLED, PauseOver())
    assert run.handle(StartFailed("too many files")) == [ReportEnd(-9, explained=True, attempts=2)]


def test_what_is_stopped_in_a_pause_is_not_started_again() -> None:
    run, _ = transcript(*RUNNING, KILLED)
    assert run.handle(StopRequested()) == [ReportEnd(-9)]
    assert run.handle(PauseOver()) == []


def test_the_same_order_changes_nothing_while_something_runs_or_is_installed() -> None:
    assert [transcript(*RUNNING[:count])[0].under_way for count in range(4)] == [False, False, True, True]
    assert transcript(BundleUnpacked(requirements=True))[0].under_way


class AnyOrder(RuleBasedStateMachine):
    """Any event at any time: an order is answered at most once, an end reported once, and nothing runs after it."""

    def __init__(self) -> None:
        super().__init__()
        self.run, self.given = SiteRun(), list[SiteCommand]()
        self.alive = False
        self.ended_at: int | None = None

    def hand(self, event: SiteEvent) -> None:
        commands = self.run.handle(event)
        self.given += commands
        self.alive = self.alive and not isinstance(event, CollaboratorExited)
        if StartCollaborator() in commands:
            assert not self.alive
            self.alive = True
        if self.run.step is SiteStep.ENDED and self.ended_at is None:
            self.ended_at = len(self.given)

    @rule(event=st.sampled_from([EnvironmentProvided(), CertificateReceived(), PauseOver(), StopRequested()]))
    def something(self, event: SiteEvent) -> None:
        self.hand(event)

    @rule(requirements=st.booleans())
    def unpacked(self, *, requirements: bool) -> None:
        self.hand(BundleUnpacked(requirements))

    @rule()
    def failed(self) -> None:
        self.hand(PreparationFailed("x"))

    @precondition(lambda self: self.alive)
    @rule(
        code=st.sampled_from([0, 1, -9, NO_ROOM, CRASHED, UNREACHABLE]),
        progressed=st.booleans(),
        session=st.integers(1, 2),
    )
    def exited(self, code: int, session: int, *, progressed: bool) -> None:
        self.hand(CollaboratorExited(code, progressed, session))

    @precondition(lambda self: self.alive and self.run.step is SiteStep.RUNNING)
    @rule()
    def not_started(self) -> None:
        self.alive = False
        self.hand(StartFailed("x"))

    @invariant()
    def answers_and_ends_once(self) -> None:
        kinds = [type(command) for command in self.given]
        assert kinds.count(AskForCertificate) <= 1
        assert kinds.count(ReportEnd) <= 1
        assert kinds.count(Refuse) <= 1
        assert (kinds.count(ReportEnd) + kinds.count(Refuse) > 0) is (self.run.step is SiteStep.ENDED)

    @invariant()
    def nothing_follows_the_end(self) -> None:
        assert self.ended_at is None or len(self.given) == self.ended_at

    @invariant()
    def nothing_runs_after_the_end(self) -> None:
        assert not (self.alive and self.run.step is SiteStep.ENDED)


AnyOrder.TestCase.settings = settings(max_examples=200, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_a_start_that_failed_for_a_certificate_nobody_waited_for_changes_nothing() -> None:
    run, answers = transcript(*RUNNING, KILLED, StartFailed("no such key"))
    assert (run.step, answers[-1]) == (SiteStep.PAUSED, [])
