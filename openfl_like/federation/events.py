"""What happens to an experiment (events, past tense) and what it asks for (commands, imperative).

`Experiment.handle` takes one event and answers with commands. Neither knows about clocks, files or sockets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from openfl_like.federation.announcements import Announcement
from openfl_like.federation.callback_end import CallbackEnded
from openfl_like.federation.deliveries import UpdateStatus
from openfl_like.federation.failure import Failure
from openfl_like.federation.reports.machine import UNTOLD, MachineFacts
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.federation.validation.verdict import UpdateVerdict

# ---- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExperimentStarted:
    """The loop began to drive the experiment, for the first time or again after a restart.

    ``epoch`` counts the processes that have driven it so far, this one included.
    """

    epoch: int = 1


@dataclass(frozen=True, slots=True)
class CollaboratorJoined:
    """A collaborator is connected and ready for work, for the first time or again.

    ``certificate_list`` is the number of the revocation list under which the certificate was issued that it has shown;
    None where nobody shows any. ``facts`` are what it tells of its machine.
    """

    collaborator: str
    certificate_list: int | None = None
    facts: MachineFacts = UNTOLD


@dataclass(frozen=True, slots=True)
class EverybodyJoined:
    """All collaborators that the experiment expects are connected, as in a simulation: one event, however many."""


@dataclass(frozen=True, slots=True)
class CollaboratorLeft:
    """A collaborator's connection ended; ``gone`` is True if it is known not to come back."""

    collaborator: str
    reason: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class CollaboratorRevoked:
    """A collaborator's certificate was revoked: whether its connection has ended or is about to, it cannot come back.

    One with a newer certificate may join again.
    """

    collaborator: str


@dataclass(frozen=True, slots=True)
class UpdateCommitted:
    """An update is complete in the spool, its digest verified.

    ``size_bytes`` is the size of its file as it came, ``energy_j`` what it has cost a simulated device; None: nobody
    measures that.
    """

    update: Update
    size_bytes: int = 0
    energy_j: float | None = None


@dataclass(frozen=True, slots=True)
class UncountedUpdateArrived:
    """An update came that cannot count; ``standing`` says why."""

    collaborator: str
    standing: UpdateStatus


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A task raised at the site, or its worker died."""

    round: int
    phase: Phase
    collaborator: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of a `StartTimer` command has come."""

    timer: str


@dataclass(frozen=True, slots=True)
class UpdatesValidated:
    """Every validator looked at the updates of a round.

    ``problems`` names those that were refused by themselves and why; ``verdicts`` are of those that were compared,
    ``sketches`` of those that are no problem, by collaborator, if a selector goes by them.
    """

    round: int
    problems: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[UpdateVerdict, ...] = ()
    sketches: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpdatesPlaced:
    """The updates of a round are where those can fetch them who score them.

    ``models`` has for each collaborator the BLAKE3 identity of the model file that its update stands for.
    """

    round: int
    models: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelAggregated:
    """A new global model file exists, and that of the server's state if the plan's rule or optimizer keeps any.

    ``size_bytes`` is the size of the model's file.
    """

    round: int
    digest: str
    server_state: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StepFailed:
    """Validation, placement or aggregation could not be performed (a full disk, a damaged file)."""

    round: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody who may do so wants the experiment to end."""

    by: str


@dataclass(frozen=True, slots=True)
class CallbackStopped:
    """A callback was ended; it changes nothing but what is told."""

    told: CallbackEnded


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Somebody who may do so wants a restored experiment to go on that had ended; comes before any other event."""

    by: str


Event = (
    ExperimentStarted
    | CollaboratorJoined
    | EverybodyJoined
    | CollaboratorLeft
    | CollaboratorRevoked
    | UpdateCommitted
    | UncountedUpdateArrived
    | TaskFailed
    | TimerFired
    | UpdatesValidated
    | UpdatesPlaced
    | ModelAggregated
    | StepFailed
    | CancelRequested
    | CallbackStopped
    | ResumeRequested
)

# ---- commands -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendAssignment:
    """Hand the assignment to its collaborator."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class WithdrawAssignment:
    """Tell the collaborator that its assignment is not wanted any more."""

    round: int
    phase: Phase
    collaborator: str
    reason: str


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Give a `TimerFired` of this name after so many seconds; the experiment ignores one that came too late."""

    timer: str
    after_s: float


@dataclass(frozen=True, slots=True)
class ValidateUpdates:
    """Run the plan's validators over these updates; answer with `UpdatesValidated`.

    ``base_model`` is the BLAKE3 identity of the global model the updates started from; empty for the initial model.
    ``bases`` are those of the older ones that some started from instead, by collaborator.
    """

    round: int
    base_model: str
    updates: tuple[Update, ...]
    bases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlaceUpdates:
    """Have a model file for each of these updates, which others are to score; answer with `UpdatesPlaced`.

    ``base_model`` is as in `ValidateUpdates`.
    """

    round: int
    base_model: str
    updates: tuple[Update, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Combine these updates, in this order (collaborator name), into a new model; answer with `ModelAggregated`.

    ``base_model`` is as in `ValidateUpdates`; ``base_state`` is the identity of the server's state that belongs to it,
    empty if there is none. ``eligible`` is from how many collaborators those of the round were chosen. ``factors`` are
    what the differences of some updates from the global model are multiplied by, ``weights`` what their numbers of
    samples are. ``bases`` are as in `ValidateUpdates`.
    """

    round: int
    updates: tuple[Update, ...]
    base_model: str = ""
    base_state: str = ""
    eligible: int = 0
    factors: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A published version of the global model.

    Attributes:
        round: The round that made it; 0 is the initial model.
        digest: BLAKE3 identity (hex, see `tensors.manifest`) of its file.
        metrics: Metric name -> value over all sites, weighted by samples.
        best: Whether it is the best so far by the plan's ``model_store.best``.
    """

    round: int
    digest: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: bool = False


@dataclass(frozen=True, slots=True)
class PublishVersion:
    """Record the version, in the same transaction as the snapshot of the experiment."""

    version: ModelVersion


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell everybody who listens."""

    announcement: Announcement


@dataclass(frozen=True, slots=True)
class FinishExperiment:
    """The experiment has ended: withdraw everything, let collaborators go."""

    status: Status
    reason: str


Command = (
    SendAssignment
    | WithdrawAssignment
    | StartTimer
    | ValidateUpdates
    | PlaceUpdates
    | Aggregate
    | PublishVersion
    | Announce
    | FinishExperiment
)
