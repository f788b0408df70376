"""What an experiment tells everybody who listens: one value for each kind, and the JSON form of its record.

The name of a class is that of its kind, but for those whose name is an event of the experiment (`events`):
`ExperimentBegun` (``experiment_started``), `CollaboratorAdmitted` (``collaborator_joined``), `CollaboratorAway`
(``collaborator_left``) and `ModelMade` (``model_aggregated``).

The fields of a class are those of its JSON form, described in docs/reference/events.md. Fields that came later have
defaults: a record of a former version lacks them.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, get_args

from openfl_like.federation.callback_end import CallbackEnded
from openfl_like.federation.deliveries import UpdateStatus
from openfl_like.federation.failure import Failure, failures_from_fields, fields_of_failure, fields_of_failures
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.federation.round_control import RoundControlled
from openfl_like.federation.status import Status
from openfl_like.federation.task import BufferTaken, DevicesWorked, Phase, UpdatePartial
from openfl_like.federation.unmeasured import MetricMissing, MetricsUndefined
from openfl_like.federation.validation.scoring import UpdatesScored
from openfl_like.federation.validation.verdict import ModelRejected, UpdatesJudged
from openfl_like.peer_json import read_peer_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORM = 2
"""Version of the record's form: 0.1.0 wrote none."""
_FORM = "form"
MOST_BYTES = 4 << 20
"""Of the fields of one announcement: what a message between two hosts may have."""
_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True, check_circular=False).encode


@dataclass(frozen=True, slots=True)
class ExperimentQueued:
    """The Director has it on disk."""

    kind: ClassVar[str] = "experiment_queued"
    owner: str


@dataclass(frozen=True, slots=True)
class ExperimentResumed:
    """It had ended, and goes on after its last finished round."""

    kind: ClassVar[str] = "experiment_resumed"
    by: str


@dataclass(frozen=True, slots=True)
class ExperimentImported:
    """It had ended at another Director, and came as a checkpoint."""

    kind: ClassVar[str] = "experiment_imported"
    by: str
    federation: str
    owner: str


@dataclass(frozen=True, slots=True)
class ExperimentWaiting:
    """Too few envoys are there; ``missing`` are the plan's sites that are not."""

    kind: ClassVar[str] = "experiment_waiting"
    online: tuple[str, ...]
    missing: tuple[str, ...]
    needed: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ExperimentBegun:
    """An Aggregator drives it from now on.

    Attributes:
        experiment_id: Its identity.
        name: That of its plan.
        expected: The collaborators asked; empty: everybody, or more than 10,000.
        rounds: How many the plan wants; None: it has no limit of them.
        resumed: Whether it began before.
        epoch: The number of the Aggregator.
        plan: The frozen plan as JSON values.
    """

    kind: ClassVar[str] = "experiment_started"
    experiment_id: str = ""
    name: str = ""
    expected: tuple[str, ...] = ()
    rounds: int | None = 0
    resumed: bool = False
    epoch: int = 0
    plan: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AggregatorLost:
    """The Aggregator ended before its experiment; ``restart`` counts since the last finished round."""

    kind: ClassVar[str] = "aggregator_lost"
    reason: str
    restart: int
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class CollaboratorAdmitted:
    """A collaborator is connected; one that is no ``member`` yet takes part from the next round on."""

    kind: ClassVar[str] = "collaborator_joined"
    collaborator: str
    member: bool = True


@dataclass(frozen=True, slots=True)
class CollaboratorsAdmitted:
    """So many collaborators are connected, all that are expected; in place of as many `CollaboratorAdmitted`."""

    kind: ClassVar[str] = "collaborators_joined"
    count: int


@dataclass(frozen=True, slots=True)
class CollaboratorAway:
    """Its connection ended; ``gone``: it is known not to come back; ``revoked``: its certificate was revoked."""

    kind: ClassVar[str] = "collaborator_left"
    collaborator: str
    reason: str
    gone: bool = False
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class CollaboratorRefused:
    """It may not take part."""

    kind: ClassVar[str] = "collaborator_refused"
    collaborator: str
    reason: str


@dataclass(frozen=True, slots=True)
class RoundStarted:
    """The cohort is selected."""

    kind: ClassVar[str] = "round_started"
    round: int
    cohort: tuple[str, ...] = ()
    quorum: int = 1


@dataclass(frozen=True, slots=True)
class AssignmentSent:
    """A collaborator was given its work."""

    kind: ClassVar[str] = "assignment_sent"
    round: int
    phase: Phase
    collaborator: str
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateReceived:
    """An answer counts; ``metrics`` are task -> metric -> value, ``size_bytes`` is what its file has, as it came."""

    kind: ClassVar[str] = "update_received"
    round: int
    phase: Phase
    collaborator: str
    num_samples: int = 0
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    duration_s: float = 0.0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class UpdateLost:
    """What was stored of an answer is damaged, and it is asked for again."""

    kind: ClassVar[str] = "update_lost"
    round: int
    phase: Phase
    collaborator: str


@dataclass(frozen=True, slots=True)
class UpdateRefused:
    """An answer does not count."""

    kind: ClassVar[str] = "update_refused"
    round: int
    phase: Phase
    collaborator: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateSurplus:
    """An update came that cannot count; ``round`` is the open one, ``count`` how many came in it so far."""

    kind: ClassVar[str] = "update_surplus"
    round: int
    collaborator: str
    standing: UpdateStatus
    count: int


@dataclass(frozen=True, slots=True)
class CollaboratorAbsent:
    """Nobody waits for its answer any more."""

    kind: ClassVar[str] = "collaborator_absent"
    round: int
    phase: Phase
    collaborator: str
    reason: str
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ModelMade:
    """A round's model is computed; ``weights`` and ``digests`` are those of the updates by collaborator."""

    kind: ClassVar[str] = "model_aggregated"
    round: int
    digest: str
    weights: Mapping[str, float] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelsEvaluated:
    """Tasks looked at given models; ``matrix`` is site -> task -> metric -> value."""

    kind: ClassVar[str] = "models_evaluated"
    round: int
    matrix: Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, slots=True)
class NothingLearnt:
    """The experiment has finished with the model that it began with, bit for bit, although it was to train.

    Attributes:
        rounds: How many rounds were done.
        digest: Identity of the model.
    """

    kind: ClassVar[str] = "nothing_learnt"
    rounds: int
    digest: str


@dataclass(frozen=True, slots=True)
class ModelKept:
    """No site had samples to train on in a round: its model is that of the round before.

    Attributes:
        round: The round.
        digest: Identity of the model.
        digests: Site -> identity of its update.
    """

    kind: ClassVar[str] = "model_kept"
    round: int
    digest: str
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoundSkipped:
    """Too few updates could come for a round, and the plan has it skipped: its model is that of the round before.

    Attributes:
        round: The round.
        digest: Identity of the model.
        needed: How many updates were needed.
        coming: How many came or could still come.
    """

    kind: ClassVar[str] = "round_skipped"
    round: int
    digest: str
    needed: int
    coming: int


@dataclass(frozen=True, slots=True)
class RoundFinished:
    """A version is published.

    Attributes:
        round: Its number.
        digest: Identity of its model.
        metrics: Metric -> value over all sites, weighted by samples.
        best: Whether no version before was better.
        selected: Who was asked to contribute.
        contributors: Who did.
        absent: Who did not -> why.
        evaluators: Who evaluated the model.
        unevaluated: Who should have, and did not -> why.
        seconds: How long the round took.
        traffic_bytes: What models and updates have come to since the experiment began; None: nobody counts it.
    """

    kind: ClassVar[str] = "round_finished"
    round: int
    digest: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: bool = False
    selected: tuple[str, ...] = ()
    contributors: tuple[str, ...] = ()
    absent: Mapping[str, Failure] = field(default_factory=dict)
    evaluators: tuple[str, ...] = ()
    unevaluated: Mapping[str, Failure] = field(default_factory=dict)
    seconds: float = 0.0
    traffic_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ExperimentEnded:
    """The last one, unless it is resumed.

    Attributes:
        status: FINISHED, FAILED or CANCELLED.
        reason: Why.
        rounds: The last one that was published.
        shortfalls: Sites without which a round was made or evaluated -> why, in the first such round.
        failure: Why, as a value; None: it did not fail, or 0.1.0 wrote this.
        by: Who has cancelled it.
    """

    kind: ClassVar[str] = "experiment_ended"
    status: Status
    reason: str = ""
    rounds: int = 0
    shortfalls: Mapping[str, Failure] = field(default_factory=dict)
    failure: Failure | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class UnknownAnnouncement:
    """One of another version of the software, or with fields that this one cannot read."""

    kind: str
    fields: Mapping[str, object] = field(default_factory=dict)


Known: TypeAlias = (
    ExperimentQueued
    | ExperimentResumed
    | ExperimentImported
    | ExperimentWaiting
    | ExperimentBegun
    | AggregatorLost
    | CollaboratorAdmitted
    | CollaboratorsAdmitted
    | CollaboratorAway
    | CollaboratorRefused
    | RoundStarted
    | AssignmentSent
    | UpdateReceived
    | UpdateLost
    | UpdateRefused
    | BufferTaken
    | UpdatesJudged
    | UpdatesScored
    | UpdateSurplus
    | CollaboratorAbsent
    | ModelMade
    | ModelsEvaluated
    | MetricMissing
    | MetricsUndefined
    | ModelKept
    | ModelRejected
    | NothingLearnt
    | DevicesWorked
    | UpdatePartial
    | TaskProgressed
    | RoundControlled
    | RoundSkipped
    | RoundFinished
    | CallbackEnded
    | ExperimentEnded
)
Announcement: TypeAlias = Known | UnknownAnnouncement
KINDS: Mapping[str, type[Known]] = {known.kind: known for known in get_args(Known)}
"""Every kind of announcement -> its class."""
_FAILURES = ("absent", "unevaluated", "shortfalls")
"""Fields that hold a failure for each site; 0.1.0 wrote its words there."""
_FIELDS = {known: tuple(item.name for item in fields(known)) for known in KINDS.values()}
_WITH_FAILURES = frozenset(known for known, names in _FIELDS.items() if {"failure", *_FAILURES} & {*names})
Wanted = TypeVar("Wanted")


@dataclass(frozen=True, slots=True)
class Announced:
    """An announcement as the store committed it.

    Attributes:
        sequence: Position in the experiment's history, from 1, without gaps.
        time: Seconds since the epoch.
        announcement: What was told.
    """

    sequence: int
    time: float
    announcement: Announcement
    _json: str = field(default="", init=False, repr=False, compare=False)

    @property
    def kind(self) -> str:
        """The kind of what was told."""
        return self.announcement.kind

    @property
    def fields_json(self) -> str:
        """What `to_json` makes of the announcement; made once, for the record and for everybody who watches."""
        if not self._json:
            object.__setattr__(self, "_json", to_json(self.announcement))
        return self._json


def only(history: Iterable[Announced], kind: type[Wanted]) -> list[Wanted]:
    """Return the announcements of one kind, in order."""
    return [event.announcement for event in history if isinstance(event.announcement, kind)]


def fields_of(announcement: Announcement) -> dict[str, object]:
    """Return the fields of an announcement as JSON values."""
    if isinstance(announcement, UnknownAnnouncement):
        return dict(announcement.fields)
    kind = type(announcement)
    values = {name: getattr(announcement, name) for name in _FIELDS[kind]}
    if isinstance(announcement, UpdatesJudged):
        values["verdicts"] = announcement.verdict_fields()
    if kind not in _WITH_FAILURES:
        return values
    if isinstance(values.get("failure"), Failure):
        values["failure"] = fields_of_failure(values["failure"])
    return values | {name: fields_of_failures(values[name]) for name in _FAILURES if values.get(name)}


def to_json(announcement: Announcement) -> str:
    """Return the fields of an announcement as JSON text, with the version of this form."""
    values = fields_of(announcement)
    if not isinstance(announcement, UnknownAnnouncement):
        values[_FORM] = FORM
    return _encode(values)


def from_json(kind: str, text: str | bytes) -> Announcement:
    """Read what `to_json` wrote, in this version or another.

    Raises:
        ValueError: If the text is not a JSON object.
    """
    reader = _reader(kind)
    if reader is not None:
        with suppress(ValueError):
            known: Known = reader.validate_json(text)
            return known
    values = read_peer_json(text, MOST_BYTES)
    if not isinstance(values, dict):
        raise ValueError("the fields of an announcement are not a JSON object")  # noqa: TRY004 (as JSON's own errors)
    return from_fields(kind, values)


def from_fields(kind: str, values: Mapping[str, object]) -> Announcement:
    """Read an announcement from JSON values."""
    reader = _reader(kind)
    if reader is not None:
        with suppress(ValueError):
            failures = {name: each for name in _FAILURES if isinstance(each := values.get(name), dict)}
            read = {name: failures_from_fields(each) for name, each in failures.items()}
            known: Known = reader.validate_python({**values, **read})
            return known
    return UnknownAnnouncement(kind, dict(values))


@cache
def _reader(kind: str) -> "TypeAdapter[Any] | None":
    """Made when the first of its kind is read: whoever only writes needs none."""
    from pydantic import TypeAdapter  # noqa: PLC0415 (a command that shows nothing must not wait for it)

    known = KINDS.get(kind)
    return TypeAdapter(known) if known is not None else None
