"""What happens to one experiment at the Director, and what is to be done about it: events and commands.

The rules are in `federation.supervision.experiment_run`.
"""

from dataclasses import dataclass

from openfl_like.federation.events import Announce, CancelRequested
from openfl_like.federation.failure import Failure
from openfl_like.federation.parties import Outcome
from openfl_like.federation.status import Status
from openfl_like.federation.supervision.restarts import Pause, PauseOver
from openfl_like.plan.schema import Admission

# ---- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recovered:
    """Everything is known that the experiment goes on from; its record was learned before.

    Attributes:
        admission: Of its plan.
        asked: The sites that an Aggregator was begun with before; empty: none ever was.
        online: The envoys that are there.
    """

    admission: Admission
    asked: frozenset[str]
    online: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnvoysThere:
    """The envoys that are there, now that they are enough or the time has passed.

    Attributes:
        online: Those that can be asked.
        unfit: Others: they have no data of the interface that the plan names, or no room for one more experiment.
    """

    online: tuple[str, ...]
    unfit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AggregatorListening:
    """An Aggregator was started and can be reached."""


@dataclass(frozen=True, slots=True)
class AggregatorExited:
    """The Aggregator runs no more, and everything that it had committed was learned; ``failure`` says how it ended."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class SiteAccepted:
    """A site takes the order, and asks for a certificate for its collaborator's key."""

    site: str
    csr: bytes


@dataclass(frozen=True, slots=True)
class SiteRefused:
    """A site does not take the order; ``failure`` is what it says itself of the reason."""

    site: str
    reason: str
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class SiteEnded:
    """The collaborator of a site has ended; there is no reason if its Envoy was told to stop it."""

    site: str
    exit_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class CancelOverdue:
    """The time of a `LimitCancel` has passed."""


@dataclass(frozen=True, slots=True)
class RunFailed:
    """The Director itself could not do what it was to do."""

    reason: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class RoomMissing:
    """There is no room on one of the Director's disks."""

    reason: str


@dataclass(frozen=True, slots=True)
class DirectorStopping:
    """The Director itself is being stopped."""


RunEvent = (
    Recovered
    | EnvoysThere
    | AggregatorListening
    | AggregatorExited
    | SiteAccepted
    | SiteRefused
    | SiteEnded
    | CancelRequested
    | CancelOverdue
    | PauseOver
    | RunFailed
    | RoomMissing
    | DirectorStopping
)

# ---- commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TellStatus:
    """Note and tell that the experiment has moved on."""

    status: Status


@dataclass(frozen=True, slots=True)
class WaitForEnvoys:
    """Answer with `EnvoysThere` when enough are there, or the time has passed.

    Attributes:
        wanted: The sites that are wanted; empty: any.
        needed: How many of them.
        timeout_s: The most seconds to wait.
    """

    wanted: frozenset[str]
    needed: int
    timeout_s: float

    def present(self, online: tuple[str, ...]) -> frozenset[str]:
        """Return those that are wanted and there."""
        return self.wanted & set(online) if self.wanted else frozenset(online)

    def missing(self, online: tuple[str, ...]) -> tuple[str, ...]:
        """Return those that are wanted and not there, sorted; empty if any will do."""
        return tuple(sorted(self.wanted.difference(online)))

    def met_by(self, online: tuple[str, ...]) -> bool:
        """Whether the envoys that are there are enough."""
        return len(self.present(online)) >= self.needed


@dataclass(frozen=True, slots=True)
class StartAggregator:
    """See that every one of these sites gets the order, and start an Aggregator for them.

    Answer with `AggregatorListening` or `AggregatorExited`.
    """

    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FollowAggregator:
    """Relay what the Aggregator tells, and answer with `AggregatorExited`."""


@dataclass(frozen=True, slots=True)
class TellAggregator:
    """Tell the Aggregator who wants the experiment to end and whose collaborators have ended, until it has heard.

    What it is told are `ExperimentRun.cancelled_by` and `ExperimentRun.lost` of the moment at which it can be reached:
    a site may be back by then.
    """


@dataclass(frozen=True, slots=True)
class LimitCancel:
    """The Aggregator has so many seconds to end what was cancelled: post `CancelOverdue` then."""

    seconds: float


@dataclass(frozen=True, slots=True)
class IssueCertificate:
    """Send a site the certificate for its collaborator's key."""

    site: str
    csr: bytes


@dataclass(frozen=True, slots=True)
class NoteSiteOut:
    """Say in the log that a site will not take part."""

    site: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Finish:
    """The experiment has ended: let go of everything, and tell these sites to stop."""

    outcome: Outcome
    sites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Postpone:
    """The experiment has to wait until there is room on the disk: let go of everything, and tell no site."""

    reason: str


RunWork = WaitForEnvoys | StartAggregator | FollowAggregator | Pause
"""Commands that take time; each is answered by an event, and not more than one is being carried out."""
RunCommand = (
    RunWork | TellStatus | Announce | TellAggregator | LimitCancel | IssueCertificate | NoteSiteOut | Finish | Postpone
)
