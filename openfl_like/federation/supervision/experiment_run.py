"""One experiment at the Director, from the head of the queue to its end: events in, commands out.

    RECOVERING ──► GATHERING ──► STARTING ──► RUNNING ◄──► RESTARTING
        │              │            ▲            │             │
        ├──────────────│────────────┤            │             │        to STARTING at once: its sites were asked before
        └──────────────┴────────────┴─► ENDED ◄──┴─────────────┘        LEFT: from each of the five

The rules:

1. If the record says how it ended, it has ended like that: the Director died before it could note it.
2. The envoys that the plan names are waited for; when the time has passed, fewer will do if the plan says so. If an
   Aggregator was begun before, its sites are asked again, and waited for only if somebody has resumed the experiment.
3. An Aggregator that dies is started again, at most three times without a finished round, each after a longer pause.
   One that cannot begin since it has something against its experiment is not: it would say the same the next time.
4. A site is out if it refuses its order, or if its collaborator ends before it has joined. When too few are left to
   begin with, the experiment FAILED; what came before the first Aggregator listens counts when it does. Of a
   collaborator that ends later the Aggregator is told, and so is each further one. A site that takes its order after
   all, or joins, is back, whatever was before.
5. Somebody's cancel ends it at once until the first Aggregator listens. From then on the Aggregator is asked, and the
   next one if there is none now: its record is to say so. Whatever else ends it meanwhile, it was CANCELLED, unless
   its record says that it had ended before. An Aggregator that has not ended it some seconds later is ended itself:
   what it computes may never end.
6. It ends once, and every invited site is told to stop then. If the Director is stopped, or there is no room on a disk,
   it has not ended: nobody is told, the sites go on with what they do, and so will the Director later.

Nothing here knows processes, files or sockets; `services.director.run` carries the commands out.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import ConflictError, DamagedError, NotAllowedError, SettingsError, StorageError
from openfl_like.federation.announcements import (
    AggregatorLost,
    Announced,
    CollaboratorAdmitted,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentQueued,
    ExperimentResumed,
    ExperimentWaiting,
    RoundFinished,
)
from openfl_like.federation.events import Announce, CancelRequested
from openfl_like.federation.failure import MAX_MESSAGE, Failure, FailureKind
from openfl_like.federation.parties import Outcome, Waiting, WaitKind
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.restarts import Pause, PauseOver, Restarts
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
    NoteSiteOut,
    Postpone,
    Recovered,
    RoomMissing,
    RunCommand,
    RunEvent,
    RunFailed,
    SiteAccepted,
    SiteEnded,
    SiteRefused,
    StartAggregator,
    TellAggregator,
    TellStatus,
    WaitForEnvoys,
)
from openfl_like.plan.schema import Admission

NO_ROOM = MEANINGS[StorageError].exit_code
OBJECTIONS = {MEANINGS[kind].exit_code for kind in (SettingsError, NotAllowedError, ConflictError, DamagedError)}
"""Exit codes of an Aggregator that has something against its experiment."""


class RunStep(StrEnum):
    """How far an experiment is at its Director.

    Attributes:
        RECOVERING: Its record is read.
        GATHERING: Envoys are waited for.
        STARTING: Its sites are invited, and its first Aggregator is started, after a pause if one has died over it.
        RUNNING: An Aggregator listens.
        RESTARTING: The Aggregator has died, and the next one is started after a pause.
        ENDED: It is over.
        LEFT: It is not over, but this Director does nothing for it now.
    """

    RECOVERING = "recovering"
    GATHERING = "gathering"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    ENDED = "ended"
    LEFT = "left"


CANCEL_WITHIN_S = 8.0
"""So long an Aggregator may take to put into its record that the experiment is cancelled."""
OVER = frozenset({RunStep.ENDED, RunStep.LEFT})


@dataclass(slots=True)
class ExperimentRun:
    """The state of one experiment at its Director.

    Attributes:
        step: How far it is.
        seen: Sequence number of the last event of its record that was learned.
        end: How it ended by its record; None: it has not.
        resumed: Whether somebody has resumed it, and no Aggregator began since.
        invited: The sites that get the order.
        out: Sites that will not take part -> why; the first comes first.
        lost: Sites whose collaborators ended after they had joined, and are not back -> why.
        joined: Sites whose collaborators were admitted once.
        cancelled_by: Who wants it to end; empty: nobody.
        restarts: Of the Aggregator, since the last finished round.
    """

    step: RunStep = RunStep.RECOVERING
    seen: int = 0
    end: Outcome | None = None
    resumed: bool = False
    invited: frozenset[str] = frozenset()
    out: dict[str, Failure] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    joined: set[str] = field(default_factory=set)
    cancelled_by: str = ""
    restarts: Restarts = field(default_factory=Restarts)
    _admission: Admission = field(default_factory=Admission)
    _asked: frozenset[str] = frozenset()

    def learn(self, event: Announced) -> None:
        """Learn from an event of its record, in their order; nothing is to be done about one alone."""
        self.seen = event.sequence
        match event.announcement:
            case ExperimentQueued() | ExperimentBegun() | ExperimentResumed() as begins:
                self.end, self.resumed = None, isinstance(begins, ExperimentResumed)
            case CollaboratorAdmitted(name):
                self.joined.add(name)
                self._is_back(name)
            case RoundFinished():
                self.restarts.progressed()
            case ExperimentEnded(status, reason, _, shortfalls, failure, by):
                self.end = Outcome(status, reason, shortfalls, failure, by)
            case _:
                pass

    def handle(self, event: RunEvent) -> list[RunCommand]:
        """Take what has happened, and return what is to be done; an event that comes too late changes nothing."""
        if self.step in OVER:
            return []
        match event:
            case CancelRequested() | CancelOverdue() | RunFailed() | RoomMissing() | DirectorStopping():
                return self._break_off(event)
            case SiteAccepted() | SiteRefused() | SiteEnded():
                return self._hear(event)
            case _:
                return self._advance(event)

    def waiting(self, online: tuple[str, ...]) -> Waiting | None:
        """For which envoys it waits; None: it does not wait for any.

        Args:
            online: Those that are there for it.
        """
        wait = self._wait()
        if self.step is not RunStep.GATHERING or wait.met_by(online):
            return None
        return Waiting(WaitKind.ENVOYS, envoys=wait.missing(online), more=wait.needed - len(wait.present(online)))

    # ---- its way

    def _advance(self, event: RunEvent) -> list[RunCommand]:
        """Go one step on if this is the event that was waited for."""
        match self.step, event:
            case RunStep.RECOVERING, Recovered():
                return self._recovered(event)
            case RunStep.GATHERING, EnvoysThere(online, unfit):
                return self._gathered(online, unfit)
            case ((RunStep.STARTING | RunStep.RESTARTING), PauseOver()):
                return [self._start()]
            case ((RunStep.STARTING | RunStep.RESTARTING), AggregatorListening()):
                return self._listening()
            case ((RunStep.STARTING | RunStep.RUNNING | RunStep.RESTARTING), AggregatorExited(failure)):
                return self._exited(failure)
            case _:
                return []

    def _recovered(self, event: Recovered) -> list[RunCommand]:
        if self.end is not None:
            return self._finish(self.end)
        if self.cancelled_by:
            return self._finish(self._cancelled())
        self._admission, self._asked = event.admission, event.asked
        begins = TellStatus(Status.STARTING)
        if self._asked and not self.resumed:
            self.invited, self.step = self._asked, RunStep.STARTING
            return [begins, self._start()]
        self.step, wait = RunStep.GATHERING, self._wait()
        if wait.met_by(event.online):
            return [begins, *self._gathered(event.online)]
        told = ExperimentWaiting(event.online, wait.missing(event.online), wait.needed, wait.timeout_s)
        return [begins, Announce(told), wait]

    @property
    def _least(self) -> int:
        """How many envoys the plan needs at the least."""
        return self._admission.min_collaborators or len(self._admission.collaborators) or 1

    def _wait(self) -> WaitForEnvoys:
        wanted = self._asked or frozenset(self._admission.collaborators)
        return WaitForEnvoys(wanted, len(wanted) or self._least, self._admission.timeout_s)

    def _gathered(self, online: tuple[str, ...], unfit: tuple[str, ...] = ()) -> list[RunCommand]:
        wait = self._wait()
        self.invited = wait.present(online)
        if not wait.met_by(online) and len(self.invited) < self._least:
            missing = wait.missing(online)
            absent = f"; missing: {', '.join(missing)}" if missing else ""
            if without := wait.present(unfit):
                absent += f"; there, but without its data or at work for others: {', '.join(sorted(without))}"
            text = f"{len(self.invited)} of {self._least} envoys were there within {wait.timeout_s:g} s{absent}"
            return self._fail(text, Failure(FailureKind.TOO_FEW, text[:MAX_MESSAGE], site="".join(missing[:1])))
        self.invited, self.step = self._asked or self.invited, RunStep.STARTING
        return [self._start()]

    def _start(self) -> StartAggregator:
        return StartAggregator(tuple(sorted(self.invited)))

    def _listening(self) -> list[RunCommand]:
        first, self.step = self.step is RunStep.STARTING, RunStep.RUNNING
        commands: list[RunCommand] = [TellStatus(Status.RUNNING)] if first else []
        if self._hopeless:
            return [*commands, *self._give_up()]
        commands.append(FollowAggregator())
        if self.cancelled_by:
            commands.append(LimitCancel(CANCEL_WITHIN_S))
        return [*commands, TellAggregator()] if self.cancelled_by or self.lost else commands

    def _exited(self, failure: Failure) -> list[RunCommand]:
        if self.end is not None:
            return self._finish(self.end)
        if failure.exit_code == NO_ROOM:
            return self._postpone(str(failure))
        if self.step is not RunStep.RUNNING and failure.exit_code in OBJECTIONS:
            return self._fail(str(failure), failure)
        if self.restarts.exhausted:
            times = f"{self.restarts.count + 1} times without a finished round"
            return self._fail(f"{failure}; it ended {times}", failure)
        if self.step is RunStep.RUNNING:
            self.step = RunStep.RESTARTING
        pause = Pause(self.restarts.next_pause_s())
        return [Announce(AggregatorLost(str(failure), self.restarts.count, failure)), pause]

    # ---- its sites

    def _hear(self, event: SiteAccepted | SiteRefused | SiteEnded) -> list[RunCommand]:
        match event:
            case SiteAccepted(site, csr):
                self._is_back(site)  # what ended before it took the order was a former collaborator
                return [IssueCertificate(site, csr)]
            case SiteRefused(site):
                return self._lose(site, _refusal(event))
            case SiteEnded(_, exit_code, reason) if exit_code == 0 or not reason:
                return []
            case SiteEnded(site, exit_code, reason) if site not in self.joined:
                text = reason[:MAX_MESSAGE]
                return self._lose(site, Failure(FailureKind.NOT_JOINED, text, site=site, exit_code=exit_code))
            case SiteEnded(site, _, reason):
                self.lost[site] = f"its collaborator ended: {reason}"[:MAX_MESSAGE]
                return [TellAggregator()] if self.step is RunStep.RUNNING else []

    def _is_back(self, site: str) -> None:
        self.lost.pop(site, None)
        self.out.pop(site, None)

    def _lose(self, site: str, failure: Failure) -> list[RunCommand]:
        self.out[site] = failure
        listened = self.step in {RunStep.RUNNING, RunStep.RESTARTING}
        return [NoteSiteOut(site, failure), *(self._give_up() if listened and self._hopeless else [])]

    @property
    def _needed(self) -> int:
        """How many of the invited sites it takes to begin."""
        return self._admission.min_collaborators or len(self.invited)

    @property
    def _hopeless(self) -> bool:
        """Whether too few sites are left to begin with, and not all have been there yet."""
        return len(self.invited - self.out.keys()) < self._needed and not self.joined >= self.invited

    def _give_up(self) -> list[RunCommand]:
        reasons = "; ".join(f"site '{site}' {failure}" for site, failure in sorted(self.out.items()))
        return self._fail(f"{self._needed} collaborators are needed: {reasons}", next(iter(self.out.values()), None))

    # ---- its end

    def _break_off(
        self, event: CancelRequested | CancelOverdue | RunFailed | RoomMissing | DirectorStopping
    ) -> list[RunCommand]:
        match event:
            case CancelRequested(by):
                return self._cancel(by)
            case CancelOverdue():  # one that has ended it may have files to complete; the next one has its own time
                return self._finish(self._cancelled()) if self.step is RunStep.RUNNING and self.end is None else []
            case RunFailed(reason, failure):
                return self._fail(reason, failure)
            case RoomMissing(reason):
                return self._postpone(reason)
            case DirectorStopping():
                self.step = RunStep.LEFT
                return []

    def _cancel(self, by: str) -> list[RunCommand]:
        first, self.cancelled_by = not self.cancelled_by, by
        match self.step:
            case RunStep.GATHERING | RunStep.STARTING:
                return self._finish(self._cancelled())
            case RunStep.RUNNING:
                return [*([LimitCancel(CANCEL_WITHIN_S)] if first else []), TellAggregator()]
            case _:  # its record may say how it has ended already; the next Aggregator is asked
                return []

    def _cancelled(self) -> Outcome:
        return Outcome(Status.CANCELLED, f"cancelled by {self.cancelled_by}", cancelled_by=self.cancelled_by)

    def _fail(self, reason: str, failure: Failure | None) -> list[RunCommand]:
        return self._finish(self._cancelled() if self.cancelled_by else Outcome(Status.FAILED, reason, failure=failure))

    def _postpone(self, reason: str) -> list[RunCommand]:
        if self.cancelled_by:
            return self._finish(self._cancelled())
        self.step = RunStep.LEFT
        return [Postpone(reason)]

    def _finish(self, outcome: Outcome) -> list[RunCommand]:
        self.step = RunStep.ENDED
        return [Finish(outcome, tuple(sorted(self.invited)))]


def _refusal(event: SiteRefused) -> Failure:
    """Return why a site refused an order, in which a site may say nothing of others."""
    told = event.failure or Failure(FailureKind.ORDER, event.reason[:MAX_MESSAGE])
    kind = FailureKind.ENVIRONMENT if told.kind is FailureKind.ENVIRONMENT else FailureKind.ORDER
    return Failure(kind, told.message, told.error, site=event.site)
