"""One experiment at one site, from the Director's order to its end: events in, commands out.

    PREPARING ──► PROVIDING ──► ACCEPTED ──► RUNNING ◄──► PAUSED
        │             │             │        │     │         │
        │             │             │        │  STOPPING     │
        │             │             │        │     │         │
        └─────────────┴─────────────┴────────┴─────┴─────────┴──► ENDED

The rules:

1. An order is answered once: with a request for a certificate, or with the reason against it. If the first
   collaborator cannot be started, the answer is taken back with the reason.
2. A collaborator that was killed, crashed or found no room is started again: after the shortest pause if it has
   delivered something since its last start, else at most three times, each after a longer pause; for want of room
   again and again.
3. So is one that found no Aggregator, if the Director's session was lost meanwhile: they may have been away together.
4. What is stopped is not started again. However it ends, its end is reported once.

Nothing here knows processes, files or sockets; `services.envoy.site_experiment` carries the commands out.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import InternalError, StorageError, UnreachableError
from openfl_like.federation.failure import Failure
from openfl_like.federation.supervision.restarts import Pause, PauseOver, Restarts

RETRY_NO_ROOM_S = 5.0
NO_ROOM = MEANINGS[StorageError].exit_code
CRASHED = MEANINGS[InternalError].exit_code
UNREACHABLE = MEANINGS[UnreachableError].exit_code


class SiteStep(StrEnum):
    """How far an experiment is at a site.

    Attributes:
        PREPARING: The bundle is fetched and verified.
        PROVIDING: The packages of its workspace are installed.
        ACCEPTED: A certificate was asked for.
        RUNNING: Its collaborator was started.
        PAUSED: Its collaborator has ended and will be started again.
        STOPPING: Its collaborator is being ended.
        ENDED: Nothing of it runs any more.
    """

    PREPARING = "preparing"
    PROVIDING = "providing"
    ACCEPTED = "accepted"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    ENDED = "ended"


# ---- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BundleUnpacked:
    """The bundle is here, verified and unpacked; ``requirements`` tells whether packages have to be installed."""

    requirements: bool


@dataclass(frozen=True, slots=True)
class EnvironmentProvided:
    """The packages are there, or the site installs none."""


@dataclass(frozen=True, slots=True)
class PreparationFailed:
    """The site does not take part, for this reason."""

    reason: str
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class CertificateReceived:
    """The certificate for the collaborator's key is here."""


@dataclass(frozen=True, slots=True)
class CollaboratorStarted:
    """The collaborator runs; ``session`` is the number of the Envoy's session with the Director at that time."""

    session: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The collaborator could not be started, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class CollaboratorExited:
    """The collaborator has ended.

    Attributes:
        exit_code: Of the process; minus the signal's number when one killed it.
        progressed: Whether it has delivered something since it was started.
        session: Number of the Envoy's session with the Director now.
    """

    exit_code: int
    progressed: bool
    session: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The Director, another order or the Envoy's own end wants it stopped."""


SiteEvent = (
    BundleUnpacked
    | EnvironmentProvided
    | PreparationFailed
    | CertificateReceived
    | CollaboratorStarted
    | StartFailed
    | CollaboratorExited
    | PauseOver
    | StopRequested
)

# ---- commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProvideEnvironment:
    """Install what the workspace asks for; answer with `EnvironmentProvided` or `PreparationFailed`."""


@dataclass(frozen=True, slots=True)
class AskForCertificate:
    """Make a key and answer the order with a certificate request."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the order with the reason against it."""

    reason: str
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class StartCollaborator:
    """Start the collaborator; answer with `CollaboratorStarted` or `StartFailed`."""


@dataclass(frozen=True, slots=True)
class StopCollaborator:
    """End the collaborator, if there is one; answer with `CollaboratorExited`."""


@dataclass(frozen=True, slots=True)
class ReportEnd:
    """Tell the Director that nothing runs any more.

    Attributes:
        exit_code: Of the collaborator; 0 if none was ever started.
        explained: Whether the reason is told: it was not stopped on purpose, and did not end well.
        attempts: How often it was started without delivering anything, the last time included.
    """

    exit_code: int
    explained: bool = False
    attempts: int = 1


SiteCommand = ProvideEnvironment | AskForCertificate | Refuse | StartCollaborator | Pause | StopCollaborator | ReportEnd


@dataclass(slots=True)
class SiteRun:
    """The state of one experiment at one site.

    Attributes:
        step: How far it is.
        session: The Envoy's session in which its collaborator was started.
        exit_code: How its collaborator ended; None: none has ended.
        restarts: How often it was started again without delivering anything.
    """

    step: SiteStep = SiteStep.PREPARING
    session: int = 0
    exit_code: int | None = None
    restarts: Restarts = field(default_factory=Restarts)

    @property
    def under_way(self) -> bool:
        """Whether a collaborator was started, or what it needs is being installed: the same order changes nothing."""
        return self.step in {SiteStep.PROVIDING, SiteStep.RUNNING, SiteStep.PAUSED}

    def handle(self, event: SiteEvent) -> list[SiteCommand]:
        """Take what has happened, and return what is to be done; an event that comes too late changes nothing."""
        match event:
            case StopRequested():
                return self._stop()
            case StartFailed(reason):
                return self._not_started(reason)
            case CollaboratorStarted(session):
                self.session = session
                return []
            case CollaboratorExited():
                return self._exited(event)
            case PreparationFailed(reason, failure) if self.step in {SiteStep.PREPARING, SiteStep.PROVIDING}:
                self.step = SiteStep.ENDED
                return [Refuse(reason, failure)]
            case _:
                return self._advance(event)

    def _advance(self, event: SiteEvent) -> list[SiteCommand]:
        """Go one step on if this is the event that was waited for."""
        match self.step, event:
            case SiteStep.PREPARING, BundleUnpacked(requirements=True):
                self.step = SiteStep.PROVIDING
                return [ProvideEnvironment()]
            case (SiteStep.PREPARING, BundleUnpacked()) | (SiteStep.PROVIDING, EnvironmentProvided()):
                self.step = SiteStep.ACCEPTED
                return [AskForCertificate()]
            case (SiteStep.ACCEPTED, CertificateReceived()) | (SiteStep.PAUSED, PauseOver()):
                self.step = SiteStep.RUNNING
                return [StartCollaborator()]
            case _:
                return []

    def _not_started(self, reason: str) -> list[SiteCommand]:
        if self.step not in {SiteStep.ACCEPTED, SiteStep.RUNNING}:
            return []
        self.step = SiteStep.ENDED
        if self.exit_code is None:
            return [ReportEnd(0), Refuse(reason)]
        return [self._report(self.exit_code)]

    def _exited(self, event: CollaboratorExited) -> list[SiteCommand]:
        if self.step not in {SiteStep.RUNNING, SiteStep.STOPPING}:
            return []
        self.exit_code = event.exit_code
        if self.step is SiteStep.STOPPING:
            self.step = SiteStep.ENDED
            return [ReportEnd(event.exit_code)]
        away = event.exit_code == UNREACHABLE and event.session != self.session
        if event.progressed or away:
            self.restarts.progressed()
        if event.exit_code == NO_ROOM:
            self.step = SiteStep.PAUSED
            return [Pause(RETRY_NO_ROOM_S)]
        if (event.exit_code < 0 or event.exit_code == CRASHED or away) and not self.restarts.exhausted:
            self.step = SiteStep.PAUSED
            return [Pause(self.restarts.next_pause_s())]
        self.step = SiteStep.ENDED
        return [self._report(event.exit_code)]

    def _stop(self) -> list[SiteCommand]:
        match self.step:
            case SiteStep.RUNNING:
                self.step = SiteStep.STOPPING
                return [StopCollaborator()]
            case SiteStep.STOPPING | SiteStep.ENDED:
                return []
            case _:
                self.step = SiteStep.ENDED
                return [ReportEnd(self.exit_code or 0)]

    def _report(self, exit_code: int) -> ReportEnd:
        return ReportEnd(exit_code, explained=exit_code != 0, attempts=self.restarts.count + 1)
