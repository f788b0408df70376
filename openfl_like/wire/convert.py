"""Values to messages and back: the only place where the two meet."""

import json
from collections.abc import Mapping, Sequence

from openfl_like.federation.events import ModelVersion, Status
from openfl_like.federation.parties import (
    DirectorStatus,
    EnvoyDetail,
    EnvoyRecord,
    EventRecord,
    ExperimentRecord,
    ExperimentSummary,
    Greeting,
    LogLines,
    LogQuery,
    PublishedVersion,
    ShardFacts,
)
from openfl_like.federation.ports import (
    AggregatorInstruction,
    CheckpointOffer,
    CollaboratorEnded,
    CollaboratorReport,
    Dismissal,
    EnvoyInstruction,
    EnvoyReport,
    Heartbeat,
    Hello,
    IssuedCertificate,
    Order,
    OrderReply,
    Ready,
    StopOrder,
    Submission,
    TaskFailure,
    Welcome,
    Withdrawal,
)
from openfl_like.federation.task import Assignment, Phase, TaskCall, Update
from openfl_like.tensors.manifest import Manifest
from openfl_like.wire.devices import devices_from, devices_to, heartbeat_from, heartbeat_to, series_from, series_to
from openfl_like.wire.protos import federation_pb2 as pb


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _plain(value: Mapping[str, object]) -> dict[str, object]:
    return dict(value)


# ---- transfers ----------------------------------------------------------------------------------------------------


def manifest_to(value: Manifest) -> pb.Manifest:
    """Gives the message of a manifest."""
    return pb.Manifest(encoded=value.to_bytes())


def manifest_from(message: pb.Manifest) -> Manifest:
    """Gives the manifest of a message; raises TransferError for a malformed one."""
    return Manifest.from_bytes(message.encoded)


def submission_to(value: Submission) -> pb.SubmitRequest:
    """Gives the message of a submission."""
    return pb.SubmitRequest(
        request_id=value.request_id,
        bundle=manifest_to(value.manifest),
        signature=value.signature,
        certificates=value.certificates,
    )


def submission_from(message: pb.SubmitRequest) -> Submission:
    """Gives the submission of a message."""
    return Submission(message.request_id, manifest_from(message.bundle), message.signature, message.certificates)


def checkpoint_to(value: CheckpointOffer) -> pb.ImportRequest:
    """Gives the message of an offered checkpoint."""
    return pb.ImportRequest(
        request_id=value.request_id,
        archive=manifest_to(value.manifest),
        bundle=value.bundle,
        signature=value.signature,
        certificates=value.certificates,
    )


def checkpoint_from(message: pb.ImportRequest) -> CheckpointOffer:
    """Gives the offered checkpoint of a message."""
    manifest = manifest_from(message.archive)
    return CheckpointOffer(message.request_id, manifest, message.bundle, message.signature, message.certificates)


# ---- the work of a round ------------------------------------------------------------------------------------------


def assignment_to(value: Assignment) -> pb.Assignment:
    """Gives the message of an assignment; the collaborator is the receiver and not in it."""
    tasks = [
        pb.TaskCall(name=t.name, function=t.function, arguments_json=_json(_plain(t.arguments)), apply=t.apply)
        for t in value.tasks
    ]
    return pb.Assignment(
        round=value.round,
        phase=value.phase.value,
        tasks=tasks,
        model=value.model,
        seed=value.seed,
        deadline_s=value.deadline_s,
    )


def assignment_from(message: pb.Assignment, collaborator: str) -> Assignment:
    """Gives the assignment of a message that this collaborator received."""
    tasks = tuple(TaskCall(t.name, t.function, json.loads(t.arguments_json), t.apply) for t in message.tasks)
    deadline = message.deadline_s if message.HasField("deadline_s") else None
    phase = Phase(message.phase)
    return Assignment(message.round, phase, collaborator, tasks, message.model, message.seed, deadline)


def update_to(value: Update) -> pb.Update:
    """Gives the message of an update; the collaborator is the sender and not in it."""
    return pb.Update(
        round=value.round,
        phase=value.phase.value,
        digest=value.digest,
        num_samples=value.num_samples,
        metrics={task: pb.TaskMetrics(values=dict(values)) for task, values in value.metrics.items()},
        duration_s=value.duration_s,
    )


def update_from(message: pb.Update, collaborator: str) -> Update:
    """Gives the update of a message that came from this collaborator."""
    return Update(
        round=message.round,
        phase=Phase(message.phase),
        collaborator=collaborator,
        digest=message.digest,
        num_samples=message.num_samples,
        metrics={task: dict(metrics.values) for task, metrics in sorted(message.metrics.items())},
        duration_s=message.duration_s,
    )


def report_to(value: CollaboratorReport) -> pb.CollaboratorMessage:
    """Gives the message of what a collaborator reports."""
    if isinstance(value, Ready):
        return pb.CollaboratorMessage(ready=pb.Ready(plan_digest=value.plan_digest))
    if isinstance(value, TaskFailure):
        failure = pb.TaskFailure(round=value.round, phase=value.phase.value, task=value.task, reason=value.reason)
        return pb.CollaboratorMessage(failed=failure)
    return pb.CollaboratorMessage(evaluated=update_to(value))


def report_from(message: pb.CollaboratorMessage, collaborator: str) -> CollaboratorReport:
    """Gives what this collaborator reports."""
    if message.HasField("ready"):
        return Ready(message.ready.plan_digest)
    if message.HasField("failed"):
        failed = message.failed
        return TaskFailure(failed.round, Phase(failed.phase), failed.task, failed.reason)
    return update_from(message.evaluated, collaborator)


def instruction_to(value: AggregatorInstruction) -> pb.AggregatorMessage:
    """Gives the message of what an Aggregator tells a collaborator."""
    if isinstance(value, Assignment):
        return pb.AggregatorMessage(assignment=assignment_to(value))
    if isinstance(value, Withdrawal):
        withdrawal = pb.Withdrawal(round=value.round, phase=value.phase.value, reason=value.reason)
        return pb.AggregatorMessage(withdrawal=withdrawal)
    return pb.AggregatorMessage(dismissal=pb.Dismissal(status=value.status, reason=value.reason))


def instruction_from(message: pb.AggregatorMessage, collaborator: str) -> AggregatorInstruction:
    """Gives what the Aggregator tells this collaborator."""
    if message.HasField("assignment"):
        return assignment_from(message.assignment, collaborator)
    if message.HasField("withdrawal"):
        return Withdrawal(message.withdrawal.round, Phase(message.withdrawal.phase), message.withdrawal.reason)
    return Dismissal(message.dismissal.status, message.dismissal.reason)


# ---- envoy and director -------------------------------------------------------------------------------------------


def shard_to(value: ShardFacts) -> pb.ShardFacts:
    """Gives the message of a shard's facts."""
    return pb.ShardFacts(
        sample_shape=value.sample_shape,
        target_shape=value.target_shape,
        description=value.description,
        schema_json=_json(_plain(value.schema)),
    )


def shard_from(message: pb.ShardFacts) -> ShardFacts:
    """Gives a shard's facts."""
    schema = json.loads(message.schema_json or "{}")
    return ShardFacts(tuple(message.sample_shape), tuple(message.target_shape), message.description, schema)


def envoy_report_to(value: EnvoyReport) -> pb.EnvoyMessage:
    """Gives the message of what an envoy reports."""
    match value:
        case Hello():
            return pb.EnvoyMessage(hello=pb.EnvoyHello(shard=shard_to(value.shard), version=value.version))
        case Heartbeat():
            return pb.EnvoyMessage(heartbeat=heartbeat_to(value))
        case OrderReply():
            reply = pb.OrderReply(
                experiment=value.experiment, accepted=value.accepted, reason=value.reason, csr=value.csr
            )
            return pb.EnvoyMessage(reply=reply)
        case CollaboratorEnded():
            ended = pb.CollaboratorEnded(experiment=value.experiment, exit_code=value.exit_code, reason=value.reason)
            return pb.EnvoyMessage(ended=ended)
        case LogLines():
            return pb.EnvoyMessage(logs=logs_to(value))


def envoy_report_from(message: pb.EnvoyMessage) -> EnvoyReport:
    """Gives what an envoy reports."""
    match message.WhichOneof("body"):
        case "hello":
            return Hello(shard_from(message.hello.shard), message.hello.version)
        case "reply":
            reply = message.reply
            return OrderReply(reply.experiment, reply.accepted, reply.reason, reply.csr)
        case "ended":
            return CollaboratorEnded(message.ended.experiment, message.ended.exit_code, message.ended.reason)
        case "logs":
            return logs_from(message.logs)
        case _:
            return heartbeat_from(message.heartbeat)


def envoy_instruction_to(value: EnvoyInstruction) -> pb.DirectorMessage:
    """Gives the message of what the Director tells an envoy."""
    match value:
        case Welcome():
            return pb.DirectorMessage(welcome=pb.Welcome(heartbeat_s=value.heartbeat_s))
        case Order():
            order = pb.Order(
                experiment=value.experiment,
                bundle=value.bundle,
                signature=value.signature,
                certificates=value.certificates,
                aggregator_address=value.aggregator_address,
            )
            return pb.DirectorMessage(order=order)
        case IssuedCertificate():
            issued = pb.IssuedCertificate(experiment=value.experiment, chain=value.chain)
            return pb.DirectorMessage(certificate=issued)
        case StopOrder():
            return pb.DirectorMessage(stop=pb.StopOrder(experiment=value.experiment, reason=value.reason))


def envoy_instruction_from(message: pb.DirectorMessage) -> EnvoyInstruction:
    """Gives what the Director tells an envoy."""
    match message.WhichOneof("body"):
        case "order":
            order = message.order
            return Order(order.experiment, order.bundle, order.signature, order.certificates, order.aggregator_address)
        case "certificate":
            return IssuedCertificate(message.certificate.experiment, message.certificate.chain)
        case "stop":
            return StopOrder(message.stop.experiment, message.stop.reason)
        case _:
            return Welcome(message.welcome.heartbeat_s)


def logs_to(value: LogLines) -> pb.LogLines:
    """Gives the message of log lines."""
    return pb.LogLines(
        experiment=value.experiment,
        source=value.source,
        lines=value.lines,
        role=value.role,
        position=value.position,
        complete=value.complete,
    )


def logs_from(message: pb.LogLines) -> LogLines:
    """Gives log lines."""
    lines = tuple(message.lines)
    return LogLines(message.experiment, message.source, lines, message.role, message.position, message.complete)


def log_query_to(experiment: str, value: LogQuery) -> pb.ReadLogsRequest:
    """Gives the message of a wish for log lines."""
    return pb.ReadLogsRequest(
        experiment=experiment, source=value.source, role=value.role, follow=value.follow, after=value.after
    )


def log_query_from(message: pb.ReadLogsRequest) -> LogQuery:
    """Gives which log lines are wanted."""
    return LogQuery(message.source, message.role, message.follow, dict(message.after))


# ---- users and director -------------------------------------------------------------------------------------------


def summary_to(value: ExperimentSummary) -> pb.ExperimentSummary:
    """Gives the message of a summary."""
    return pb.ExperimentSummary(
        id=value.id,
        name=value.name,
        status=value.status.value,
        reason=value.reason,
        owner=value.owner,
        submitted_at=value.submitted_at,
        started_at=value.started_at,
        ended_at=value.ended_at,
        plan_digest=value.plan_digest,
        degraded=value.degraded,
        shortfalls=dict(value.shortfalls),
    )


def summary_from(message: pb.ExperimentSummary) -> ExperimentSummary:
    """Gives a summary."""
    return ExperimentSummary(
        message.id,
        message.name,
        Status(message.status),
        message.reason,
        message.owner,
        message.submitted_at,
        message.started_at,
        message.ended_at,
        message.plan_digest,
        message.degraded,
        dict(sorted(message.shortfalls.items())),
    )


def _version_to(value: PublishedVersion) -> pb.ModelVersion:
    return pb.ModelVersion(
        round=value.version.round,
        digest=value.version.digest,
        metrics=dict(value.version.metrics),
        best=value.version.best,
        sha256=value.sha256,
        published_at=value.published_at,
    )


def _version_from(message: pb.ModelVersion) -> PublishedVersion:
    metrics = dict(sorted(message.metrics.items()))
    version = ModelVersion(message.round, message.digest, metrics, message.best)
    return PublishedVersion(version, message.sha256, message.published_at)


def record_to(value: ExperimentRecord) -> pb.ExperimentRecord:
    """Gives the message of an experiment's record."""
    versions = [_version_to(version) for version in value.versions]
    surplus = [
        pb.Surplus(collaborator=name, standing=kind, count=count)
        for name, counts in value.update_surplus.items()
        for kind, count in counts.items()
    ]
    summary = summary_to(value.summary)
    return pb.ExperimentRecord(summary=summary, versions=versions, plan_json=value.plan, surplus=surplus)


def record_from(message: pb.ExperimentRecord) -> ExperimentRecord:
    """Gives an experiment's record."""
    versions = tuple(_version_from(version) for version in message.versions)
    surplus: dict[str, dict[str, int]] = {}
    for item in message.surplus:
        surplus.setdefault(item.collaborator, {})[item.standing] = item.count
    return ExperimentRecord(summary_from(message.summary), versions, message.plan_json, surplus)


def event_to(value: EventRecord) -> pb.EventRecord:
    """Gives the message of an event."""
    fields = _json(_plain(value.fields))
    return pb.EventRecord(sequence=value.sequence, time=value.time, kind=value.kind, fields_json=fields)


def event_from(message: pb.EventRecord) -> EventRecord:
    """Gives an event."""
    return EventRecord(message.sequence, message.time, message.kind, json.loads(message.fields_json or "{}"))


def watch_to(values: Sequence[ExperimentSummary | EventRecord]) -> pb.WatchReply:
    """Gives the message of what a watcher sees."""
    return pb.WatchReply(items=[_watch_item_to(value) for value in values])


def watch_from(message: pb.WatchReply) -> tuple[ExperimentSummary | EventRecord, ...]:
    """Gives what a watcher sees."""
    return tuple(
        event_from(item.event) if item.HasField("event") else summary_from(item.summary) for item in message.items
    )


def _watch_item_to(value: ExperimentSummary | EventRecord) -> pb.WatchItem:
    if isinstance(value, EventRecord):
        return pb.WatchItem(event=event_to(value))
    return pb.WatchItem(summary=summary_to(value))


def status_to(value: DirectorStatus) -> pb.DirectorStatus:
    """Gives the message of a Director's status."""
    numbers = {"queued": value.queued, "running": value.running, "envoys": value.envoys}
    return pb.DirectorStatus(version=value.version, problems=value.problems, warnings=value.warnings, **numbers)


def status_from(message: pb.DirectorStatus) -> DirectorStatus:
    """Gives a Director's status."""
    numbers = (message.queued, message.running, message.envoys)
    return DirectorStatus(message.version, tuple(message.problems), *numbers, tuple(message.warnings))


def greeting_to(value: Greeting) -> pb.Greeting:
    """Gives the message of a Director's greeting."""
    return pb.Greeting(
        version=value.version, time=value.time, sample_shape=value.sample_shape, target_shape=value.target_shape
    )


def greeting_from(message: pb.Greeting) -> Greeting:
    """Gives a Director's greeting."""
    return Greeting(message.version, message.time, tuple(message.sample_shape), tuple(message.target_shape))


def envoy_to(value: EnvoyRecord) -> pb.EnvoyRecord:
    """Gives the message of a roster row."""
    return pb.EnvoyRecord(
        name=value.name,
        online=value.online,
        last_seen=value.last_seen,
        shard=shard_to(value.shard),
        devices=devices_to(value.devices),
        running=value.running,
        online_since=value.online_since,
        certificate_ends=value.certificate_ends,
        placed=dict(value.placed),
    )


def envoy_from(message: pb.EnvoyRecord) -> EnvoyRecord:
    """Gives a roster row."""
    return EnvoyRecord(
        message.name,
        message.online,
        message.last_seen,
        shard_from(message.shard),
        devices_from(message.devices),
        tuple(message.running),
        message.online_since if message.HasField("online_since") else None,
        message.certificate_ends if message.HasField("certificate_ends") else None,
        dict(sorted(message.placed.items())),
    )


def detail_to(value: EnvoyDetail) -> pb.EnvoyDetail:
    """Gives the message of what there is to tell of an envoy."""
    return pb.EnvoyDetail(record=envoy_to(value.record), history=[series_to(one) for one in value.history])


def detail_from(message: pb.EnvoyDetail) -> EnvoyDetail:
    """Gives what there is to tell of an envoy."""
    return EnvoyDetail(envoy_from(message.record), tuple(series_from(one) for one in message.history))
