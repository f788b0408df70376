"""Values of experiments and of the Director to messages and back."""

from collections.abc import Sequence

from openfl_like.federation.announcements import Announced, from_json
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import bounded
from openfl_like.federation.parties import (
    DirectorStatus,
    ExperimentRecord,
    ExperimentSummary,
    PublishedVersion,
    RemovedExperiment,
    ServerInfo,
    Waiting,
    WaitKind,
)
from openfl_like.federation.ports import (
    CheckpointOffer,
    Submission,
)
from openfl_like.federation.status import Status
from openfl_like.wire.convert.values import (
    failure_from,
    failure_to,
    interface_from,
    interface_to,
    manifest_from,
    manifest_to,
)
from openfl_like.wire.protos import federation_pb2 as pb

MAX_KIND, MAX_FIELDS = 64, 4 << 20
"""Characters of an announcement that the other side may send."""

# ---- transfers ----------------------------------------------------------------------------------------------------


def submission_to(value: Submission) -> pb.SubmitRequest:
    """Return the message of a submission."""
    return pb.SubmitRequest(
        request_id=value.request_id,
        bundle=manifest_to(value.manifest),
        signature=value.signature,
        certificates=value.certificates,
    )


def submission_from(message: pb.SubmitRequest) -> Submission:
    """Return the submission of a message."""
    return Submission(message.request_id, manifest_from(message.bundle), message.signature, message.certificates)


def checkpoint_to(value: CheckpointOffer) -> pb.ImportRequest:
    """Return the message of an offered checkpoint."""
    return pb.ImportRequest(
        request_id=value.request_id,
        archive=manifest_to(value.manifest),
        bundle=value.bundle,
        signature=value.signature,
        certificates=value.certificates,
    )


def checkpoint_from(message: pb.ImportRequest) -> CheckpointOffer:
    """Return the offered checkpoint of a message."""
    manifest = manifest_from(message.archive)
    return CheckpointOffer(message.request_id, manifest, message.bundle, message.signature, message.certificates)


# ---- the work of a round ------------------------------------------------------------------------------------------


# ---- envoy and director -------------------------------------------------------------------------------------------


# ---- users and director -------------------------------------------------------------------------------------------


def summary_to(value: ExperimentSummary) -> pb.ExperimentSummary:
    """Return the message of a summary."""
    return pb.ExperimentSummary(
        id=value.id,
        name=value.name,
        status=value.status.value,
        reason=bounded(value.reason),  # a version before stored longer ones
        owner=value.owner,
        submitted_at=value.submitted_at,
        started_at=value.started_at,
        ended_at=value.ended_at,
        plan_digest=value.plan_digest,
        degraded=value.degraded,
        shortfalls={name: failure_to(failure) for name, failure in value.shortfalls.items()},
        resumed_by=value.resumed_by,
        failure=None if value.failure is None else failure_to(value.failure),
        waiting=None if value.waiting is None else _waiting_to(value.waiting),
    )


def summary_from(message: pb.ExperimentSummary) -> ExperimentSummary:
    """Return a summary."""
    return ExperimentSummary(
        message.id,
        message.name,
        Status(message.status),
        bounded(message.reason),
        message.owner,
        message.submitted_at,
        message.started_at,
        message.ended_at,
        message.plan_digest,
        message.degraded,
        {name: failure_from(failure) for name, failure in sorted(message.shortfalls.items())},
        message.resumed_by,
        failure_from(message.failure) if message.HasField("failure") else None,
        _waiting_from(message.waiting) if message.HasField("waiting") else None,
    )


def _waiting_to(value: Waiting) -> pb.Waiting:
    return pb.Waiting(
        kind=value.kind.value,
        site=value.site,
        experiment=value.experiment,
        running=value.running,
        places=value.places,
        envoys=value.envoys,
        more=value.more,
    )


def _waiting_from(message: pb.Waiting) -> Waiting:
    return Waiting(
        WaitKind(message.kind),
        message.site,
        message.experiment,
        message.running,
        message.places,
        tuple(message.envoys),
        message.more,
    )


def removed_to(value: RemovedExperiment) -> pb.RemovedExperiment:
    """Return the message of what has gone."""
    return pb.RemovedExperiment(experiment=value.experiment, models=value.models, freed_bytes=value.freed_bytes)


def removed_from(message: pb.RemovedExperiment) -> RemovedExperiment:
    """Return what has gone."""
    return RemovedExperiment(message.experiment, message.models, message.freed_bytes)


def _version_to(value: PublishedVersion) -> pb.ModelVersion:
    message = pb.ModelVersion(
        round=value.version.round,
        digest=value.version.digest,
        metrics=dict(value.version.metrics),
        best=value.version.best,
        sha256=value.sha256,
        published_at=value.published_at,
    )
    if value.kept is not None:
        message.kept = value.kept
    return message


def _version_from(message: pb.ModelVersion) -> PublishedVersion:
    metrics = dict(sorted(message.metrics.items()))
    version = ModelVersion(message.round, message.digest, metrics, message.best)
    kept = message.kept if message.HasField("kept") else None
    return PublishedVersion(version, message.sha256, message.published_at, kept)


def record_to(value: ExperimentRecord) -> pb.ExperimentRecord:
    """Return the message of an experiment's record."""
    versions = [_version_to(version) for version in value.versions]
    surplus = [
        pb.Surplus(collaborator=name, standing=kind, count=count)
        for name, counts in value.update_surplus.items()
        for kind, count in counts.items()
    ]
    summary = summary_to(value.summary)
    return pb.ExperimentRecord(summary=summary, versions=versions, plan_json=value.plan, surplus=surplus)


def record_from(message: pb.ExperimentRecord) -> ExperimentRecord:
    """Return an experiment's record."""
    versions = tuple(_version_from(version) for version in message.versions)
    surplus: dict[str, dict[str, int]] = {}
    for item in message.surplus:
        surplus.setdefault(item.collaborator, {})[item.standing] = item.count
    return ExperimentRecord(summary_from(message.summary), versions, message.plan_json, surplus)


def event_to(value: Announced) -> pb.EventRecord:
    """Return the message of an event."""
    return pb.EventRecord(sequence=value.sequence, time=value.time, kind=value.kind, fields_json=value.fields_json)


def event_from(message: pb.EventRecord) -> Announced:
    """Return an event; raises ValueError for a malformed one."""
    if len(message.kind) > MAX_KIND or len(message.fields_json) > MAX_FIELDS:
        raise ValueError(f"an event of {len(message.fields_json):,} characters is too long")
    return Announced(message.sequence, message.time, from_json(message.kind, message.fields_json or "{}"))


def watch_to(values: Sequence[ExperimentSummary | Announced]) -> pb.WatchReply:
    """Return the message of what a watcher sees."""
    return pb.WatchReply(items=[_watch_item_to(value) for value in values])


def watch_from(message: pb.WatchReply) -> tuple[ExperimentSummary | Announced, ...]:
    """Return what a watcher sees."""
    return tuple(
        event_from(item.event) if item.HasField("event") else summary_from(item.summary) for item in message.items
    )


def _watch_item_to(value: ExperimentSummary | Announced) -> pb.WatchItem:
    if isinstance(value, Announced):
        return pb.WatchItem(event=event_to(value))
    return pb.WatchItem(summary=summary_to(value))


def status_to(value: DirectorStatus) -> pb.DirectorStatus:
    """Return the message of a Director's status."""
    numbers = {"queued": value.queued, "running": value.running, "envoys": value.envoys, "places": value.places}
    return pb.DirectorStatus(version=value.version, problems=value.problems, warnings=value.warnings, **numbers)


def status_from(message: pb.DirectorStatus) -> DirectorStatus:
    """Return a Director's status."""
    numbers = (message.queued, message.running, message.envoys)
    return DirectorStatus(
        message.version, tuple(message.problems), *numbers, tuple(message.warnings), message.places or 1
    )


def server_info_to(value: ServerInfo) -> pb.ServerInfo:
    """Return the message of a Director's greeting."""
    interfaces = [interface_to(one) for one in value.interfaces]
    runs_parts = value.workspace_parts
    return pb.ServerInfo(version=value.version, time=value.time, interfaces=interfaces, workspace_parts=runs_parts)


def server_info_from(message: pb.ServerInfo) -> ServerInfo:
    """Return a Director's greeting."""
    interfaces = tuple(interface_from(one) for one in message.interfaces)
    return ServerInfo(message.version, message.time, interfaces, message.workspace_parts)
