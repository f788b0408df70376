"""One experiment at the Director: rules that hold whatever happens when, as long as work is answered once."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    CollaboratorAdmitted,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentQueued,
    ExperimentResumed,
    RoundFinished,
)
from openfl_like.federation.events import Announce, CancelRequested
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.experiment_run import NO_ROOM, OBJECTIONS, OVER, ExperimentRun, RunStep
from openfl_like.federation.supervision.restarts import Pause, PauseOver
from openfl_like.federation.supervision.run_events import (
    AggregatorExited,
    AggregatorListening,
    CancelOverdue,
    DirectorStopping,
    EnvoysThere,
    Finish,
    FollowAggregator,
    IssueCertificate,
    LimitCancel,
    Postpone,
    Recovered,
    RoomMissing,
    RunCommand,
    RunEvent,
    RunFailed,
    RunWork,
    SiteAccepted,
    SiteEnded,
    SiteRefused,
    StartAggregator,
    TellAggregator,
    WaitForEnvoys,
)
from openfl_like.plan.schema import Admission

SITES = st.sampled_from("abcd")
ONLINE = st.sets(SITES).map(lambda names: tuple(sorted(names)))
CODES = st.sampled_from([0, 1, -9, NO_ROOM, *sorted(OBJECTIONS)])
ENDED = ExperimentEnded(Status.FAILED, "the quorum is missing")
HISTORIES: list[list[Announcement]] = [
    [ExperimentQueued("ada")],
    [ExperimentQueued("ada"), ExperimentBegun("exp-1"), CollaboratorAdmitted("a"), RoundFinished(1, "model-1")],
    [ExperimentQueued("ada"), ExperimentBegun("exp-1"), ENDED],
    [ExperimentQueued("ada"), ExperimentBegun("exp-1"), ENDED, ExperimentResumed("bob")],
]


class AnyOrder(RuleBasedStateMachine):
    """Plays the Director's shell: what takes time is answered at some time, and anything else happens meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.run = ExperimentRun()
        self.work: RunWork | None = None
        self.given: list[RunCommand] = []
        self.ends: list[Finish | Postpone] = []
        self.started: set[str] = set()
        self.asked_for: set[tuple[str, bytes]] = set()
        self.listens = self.recovered = self.stopped = False
        self.sequence = 0

    @initialize(history=st.sampled_from(HISTORIES))
    def remember(self, history: Sequence[Announcement]) -> None:
        for announcement in history:
            self.learn(announcement)

    def learn(self, announcement: Announcement) -> None:
        self.sequence += 1
        self.run.learn(Announced(self.sequence, 1.0, announcement))

    def hand(self, event: RunEvent) -> None:
        over = self.run.step in OVER
        for command in self.run.handle(event):
            assert not over, f"{command} after the end"
            self.given.append(command)
            self.obey(command)

    def obey(self, command: RunCommand) -> None:
        match command:
            case WaitForEnvoys() | StartAggregator() | FollowAggregator() | Pause():
                assert self.work is None, f"{command} while {self.work} is under way"
                self.work = command
                self.check_work(command)
            case Announce(announcement):
                self.learn(announcement)
            case TellAggregator():
                assert self.listens
            case LimitCancel():
                assert self.listens
                assert self.run.cancelled_by
            case IssueCertificate(site, csr):
                assert (site, csr) in self.asked_for
            case Finish() | Postpone():
                self.ends.append(command)

    def check_work(self, command: RunWork) -> None:
        if isinstance(command, StartAggregator):
            assert not self.listens
            assert command.sites
            assert self.started <= {*command.sites}
            self.started |= {*command.sites}
        assert isinstance(command, FollowAggregator) is self.listens

    def answer(self, event: RunEvent) -> None:
        self.work = None
        self.hand(event)

    # ---- what comes of work

    @precondition(lambda self: not self.recovered)
    @rule(
        named=st.sampled_from([(), ("a", "b", "c")]),
        least=st.sampled_from([None, 1, 2]),
        asked=st.sampled_from([frozenset[str](), frozenset("ab")]),
        online=ONLINE,
    )
    def recover(
        self, named: tuple[str, ...], least: int | None, asked: frozenset[str], online: tuple[str, ...]
    ) -> None:
        self.recovered = True
        admission = Admission(collaborators=named, min_collaborators=least)
        self.hand(Recovered(admission, asked, online))

    @precondition(lambda self: isinstance(self.work, WaitForEnvoys))
    @rule(online=ONLINE)
    def gather(self, online: tuple[str, ...]) -> None:
        self.answer(EnvoysThere(online))

    @precondition(lambda self: isinstance(self.work, StartAggregator))
    @rule()
    def listen(self) -> None:
        self.listens = self.run.step not in OVER
        self.answer(AggregatorListening())

    @precondition(lambda self: isinstance(self.work, StartAggregator | FollowAggregator))
    @rule(code=CODES)
    def exit(self, code: int) -> None:
        self.listens = False
        self.answer(AggregatorExited(Failure(FailureKind.AGGREGATOR, f"exit code {code}", exit_code=code)))

    @precondition(lambda self: isinstance(self.work, Pause))
    @rule()
    def pass_time(self) -> None:
        self.answer(PauseOver())

    # ---- what happens meanwhile

    @precondition(lambda self: self.listens)
    @rule(announcement=st.sampled_from([ExperimentBegun("exp-1"), RoundFinished(2, "model-2"), ENDED]))
    def relay(self, announcement: Announcement) -> None:
        self.learn(announcement)

    @precondition(lambda self: self.listens)
    @rule(site=SITES)
    def join(self, site: str) -> None:
        self.learn(CollaboratorAdmitted(site))

    @rule(site=SITES, csr=st.sampled_from([b"1", b"2"]))
    def accept(self, site: str, csr: bytes) -> None:
        self.asked_for.add((site, csr))
        self.hand(SiteAccepted(site, csr))

    @rule(site=SITES)
    def refuse(self, site: str) -> None:
        self.hand(SiteRefused(site, "it is busy"))

    @rule(site=SITES, code=st.sampled_from([0, 1, -9]), reason=st.sampled_from(["", "killed"]))
    def lose(self, site: str, code: int, reason: str) -> None:
        self.hand(SiteEnded(site, code, reason))

    @rule(by=st.sampled_from(["ada", "bob"]))
    def cancel(self, by: str) -> None:
        self.hand(CancelRequested(by))

    @precondition(lambda self: any(isinstance(command, LimitCancel) for command in self.given))
    @rule()
    def run_out_of_time(self) -> None:
        self.hand(CancelOverdue())

    @precondition(lambda self: self.recovered and self.work is not None)
    @rule(event=st.sampled_from([RoomMissing("full"), RunFailed("x", Failure(FailureKind.DIRECTOR, "x"))]))
    def go_wrong(self, event: RunEvent) -> None:
        self.answer(event)

    @precondition(lambda self: len(self.given) > 4)
    @rule()
    def stop_the_director(self) -> None:
        self.stopped = self.stopped or self.run.step not in OVER
        self.hand(DirectorStopping())

    # ---- what holds

    @invariant()
    def it_ends_once(self) -> None:
        assert len(self.ends) <= 1
        assert (bool(self.ends) or self.stopped) is (self.run.step in OVER)
        assert not (self.ends and self.stopped)

    @invariant()
    def it_never_waits_for_nothing(self) -> None:
        assert self.run.step in OVER or self.run.step is RunStep.RECOVERING or self.work is not None

    @invariant()
    def every_invited_site_is_told_to_stop_at_an_end_and_nobody_otherwise(self) -> None:
        for end in self.ends:
            if isinstance(end, Finish):
                assert end.sites == tuple(sorted(self.run.invited))
                assert self.started <= {*end.sites}
                assert end.outcome.status in {Status.FAILED, Status.CANCELLED}

    @invariant()
    def what_nobody_has_cancelled_was_not_cancelled(self) -> None:
        for end in self.ends:
            if isinstance(end, Finish) and end.outcome.status is Status.CANCELLED:
                assert self.run.cancelled_by == end.outcome.cancelled_by != ""

    def teardown(self) -> None:
        """A cancel ends it, whatever happened before, as soon as what is under way is answered."""
        if self.run.step in OVER:
            return
        self.hand(CancelRequested("eve"))
        if self.run.step is RunStep.RECOVERING:
            self.recover((), None, frozenset("ab"), ())
        if isinstance(self.work, Pause) and self.run.step not in OVER:
            self.answer(PauseOver())
        if isinstance(self.work, StartAggregator) and self.run.step not in OVER:
            self.listen()
        if self.run.step not in OVER:
            assert TellAggregator() in self.given
            assert self.run.cancelled_by == "eve"
            self.learn(ExperimentEnded(Status.CANCELLED, "cancelled by eve", by="eve"))
            self.exit(0)
        end = self.ends[-1]
        assert isinstance(end, Finish)
        assert end.outcome.cancelled_by == "eve" or end.outcome == self.run.end


AnyOrder.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestAnyOrder = AnyOrder.TestCase
