"""What happens to an experiment (events, past tense) and what it asks for (commands, imperative).

`Experiment.handle` takes one event and answers with commands. Neither knows about clocks, files or sockets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from openfl_like.federation.deliveries import UpdateStatus
from openfl_like.federation.task import Assignment, Phase, Update


class Status(StrEnum):
    """Where an experiment stands."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether it changes no more, unless somebody resumes what FAILED or was CANCELLED."""
        return self in {Status.FINISHED, Status.FAILED, Status.CANCELLED}


# ---- events -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExperimentStarted:
    """The loop began to drive the experiment, for the first time or again after a restart.

    ``epoch`` counts the processes that have driven it so far, this one included.
    """

    epoch: int = 1


@dataclass(frozen=True, slots=True)
class CollaboratorJoined:
    """A collaborator is connected and ready for work, for the first time or again."""

    collaborator: str


@dataclass(frozen=True, slots=True)
class CollaboratorLeft:
    """A collaborator's connection ended; ``gone`` is True if it is known not to come back."""

    collaborator: str
    reason: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class UpdateCommitted:
    """An update is complete in the spool, its digest verified."""

    update: Update


@dataclass(frozen=True, slots=True)
class UncountedUpdateArrived:
    """An update came that cannot count; ``standing`` says why."""

    collaborator: str
    standing: UpdateStatus


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A task raised at the site, or its worker died; ``reason`` is one line with the exception."""

    round: int
    phase: Phase
    collaborator: str
    task: str
    reason: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of a `StartTimer` command has come."""

    timer: str


@dataclass(frozen=True, slots=True)
class UpdatesValidated:
    """Every validator looked at the updates of a round; ``problems`` names the refused ones and why."""

    round: int
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelAggregated:
    """A new global model file exists, and that of the server's state if the plan's rule or optimizer keeps any."""

    round: int
    digest: str
    server_state: str = ""


@dataclass(frozen=True, slots=True)
class StepFailed:
    """Validation or aggregation could not be performed (a full disk, a damaged file)."""

    round: int
    reason: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody who may do so wants the experiment to end."""

    by: str


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Somebody who may do so wants a restored experiment to go on that had ended; comes before any other event."""

    by: str


Event = (
    ExperimentStarted
    | CollaboratorJoined
    | CollaboratorLeft
    | UpdateCommitted
    | UncountedUpdateArrived
    | TaskFailed
    | TimerFired
    | UpdatesValidated
    | ModelAggregated
    | StepFailed
    | CancelRequested
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
    """

    round: int
    base_model: str
    updates: tuple[Update, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Combine these updates, in this order (collaborator name), into a new model; answer with `ModelAggregated`.

    ``base_model`` is as in `ValidateUpdates`; ``base_state`` is the identity of the server's state that belongs to it,
    empty if there is none.
    """

    round: int
    updates: tuple[Update, ...]
    base_model: str = ""
    base_state: str = ""


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


class Notice(StrEnum):
    """The kinds of announcements; their fields are listed here.

    Attributes:
        EXPERIMENT_QUEUED: owner (announced by the Director, as are the next two and what went wrong before a start).
        EXPERIMENT_RESUMED: by; it had ended, and goes on after its last finished round.
        EXPERIMENT_IMPORTED: by, federation, owner; it had ended there, and came as a checkpoint.
        EXPERIMENT_WAITING: online, missing (the plan's sites that are not there), needed, timeout_s.
        EXPERIMENT_STARTED: experiment_id, name, expected, rounds, resumed (True if it began before), epoch.
        AGGREGATOR_LOST: reason, restart (the Director's again; it counts them since the last finished round).
        COLLABORATOR_JOINED: collaborator, member (False: takes part from the next round on).
        COLLABORATOR_LEFT: collaborator, reason, gone.
        COLLABORATOR_REFUSED: collaborator, reason; it may not take part.
        ROUND_STARTED: round, cohort, quorum.
        ASSIGNMENT_SENT: round, phase, collaborator, tasks.
        UPDATE_RECEIVED: round, phase, collaborator, num_samples, metrics (task -> metric -> value), duration_s.
        UPDATE_LOST: round, phase, collaborator; what was stored of it is damaged, and it is asked for again.
        UPDATE_REFUSED: round, phase, collaborator, reason.
        UPDATE_SURPLUS: round (the open one), collaborator, standing (a `UpdateStatus`), count (so far in this round).
        COLLABORATOR_ABSENT: round, phase, collaborator, reason.
        MODEL_AGGREGATED: round, digest, weights (name -> weight), digests (name -> digest of its update).
        MODELS_EVALUATED: round, matrix (of tasks that look at given models: site -> task -> metric -> value).
        ROUND_FINISHED: round, digest, metrics, best, selected, contributors, absent, evaluators, unevaluated, seconds.
        EXPERIMENT_ENDED: status, reason, rounds (the last one that was published), shortfalls (name -> reason).
    """

    EXPERIMENT_QUEUED = "experiment_queued"
    EXPERIMENT_RESUMED = "experiment_resumed"
    EXPERIMENT_IMPORTED = "experiment_imported"
    EXPERIMENT_WAITING = "experiment_waiting"
    EXPERIMENT_STARTED = "experiment_started"
    AGGREGATOR_LOST = "aggregator_lost"
    COLLABORATOR_JOINED = "collaborator_joined"
    COLLABORATOR_LEFT = "collaborator_left"
    COLLABORATOR_REFUSED = "collaborator_refused"
    ROUND_STARTED = "round_started"
    ASSIGNMENT_SENT = "assignment_sent"
    UPDATE_RECEIVED = "update_received"
    UPDATE_LOST = "update_lost"
    UPDATE_REFUSED = "update_refused"
    UPDATE_SURPLUS = "update_surplus"
    COLLABORATOR_ABSENT = "collaborator_absent"
    MODEL_AGGREGATED = "model_aggregated"
    MODELS_EVALUATED = "models_evaluated"
    ROUND_FINISHED = "round_finished"
    EXPERIMENT_ENDED = "experiment_ended"


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell everybody who listens; ``kind`` is a `Notice`, ``fields`` are JSON values."""

    kind: str
    fields: Mapping[str, object] = field(default_factory=dict)


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
    | Aggregate
    | PublishVersion
    | Announce
    | FinishExperiment
)
