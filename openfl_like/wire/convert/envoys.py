"""Values of envoys, their shards and logs to messages and back."""

from collections.abc import Sequence
from dataclasses import replace

from openfl_like.federation.devices.placement import AUTO
from openfl_like.federation.failure import MAX_NAME, bounded
from openfl_like.federation.parties import (
    DataProblem,
    EnvoyDetail,
    EnvoyRecord,
    Interface,
    LogLines,
    LogQuery,
    ShardFacts,
    SiteTerms,
)
from openfl_like.federation.ports import (
    MOST_RETRY_S,
    CollaboratorEnded,
    EnvoyInstruction,
    EnvoyReport,
    Heartbeat,
    Hello,
    IssuedCertificate,
    LeaveOrder,
    Order,
    OrderReply,
    StopOrder,
    Welcome,
)
from openfl_like.federation.status import Status
from openfl_like.plan.schema import DEVICE
from openfl_like.wire.convert.devices import (
    devices_from,
    devices_to,
    heartbeat_from,
    heartbeat_to,
    series_from,
    series_to,
)
from openfl_like.wire.convert.values import (
    decode_mapping,
    encode_json,
    failure_from,
    failure_to,
    interface_from,
    interface_to,
)
from openfl_like.wire.protos import federation_pb2 as pb

LEAST_HEARTBEAT_S, MOST_HEARTBEAT_S = 1e-3, 86_400.0
"""Between heartbeats: an envoy that a director had send them without a pause would do nothing else."""
MOST_AXES = 64
"""Of a sample or a target; NumPy has no more either."""
MOST_SHARDS = 64
MOST_DEVICES = 1000
LONGEST_SCHEMA = 64 << 10
"""Characters of a data schema as JSON."""


def shard_to(value: ShardFacts) -> pb.ShardFacts:
    """Return the message of a shard's facts."""
    return pb.ShardFacts(
        sample_shape=value.sample_shape,
        target_shape=value.target_shape,
        description=bounded(value.description),  # a version before took longer ones in
        schema_json=encode_json(dict(value.schema)),
        interface=value.interface,
        experiments_at_once=value.experiments_at_once,
        terms=terms_to(value.terms),
    )


def terms_to(value: SiteTerms) -> pb.SiteTerms:
    """Return the message of what a site takes."""
    installs = value.installs_requirements
    return pb.SiteTerms(
        model_bytes=value.model_bytes,
        installs_requirements=installs,  # type: ignore[arg-type]  # protobuf leaves None out
        devices=value.devices,
    )


def terms_from(message: pb.SiteTerms) -> SiteTerms:
    """Return what a site takes; raises ValueError for terms that no site can have."""
    if len(message.devices) > MOST_DEVICES:
        raise ValueError(f"{len(message.devices):,} devices are too many: a site has at most {MOST_DEVICES}")
    size = message.model_bytes if message.HasField("model_bytes") else None
    if size is not None and size < 1:
        raise ValueError(f"no model has {size} bytes")
    for device in message.devices:
        if device != AUTO and not DEVICE.fullmatch(device):
            raise ValueError(f"{device[:40]!a} is not a device")
    installs = message.installs_requirements if message.HasField("installs_requirements") else None
    return SiteTerms(size, installs, tuple(message.devices))


def shard_from(message: pb.ShardFacts) -> ShardFacts:
    """Return a shard's facts, its description bounded; raises ValueError for a schema or a shape that cannot be."""
    _check_axes(message)
    if len(message.schema_json) > LONGEST_SCHEMA:
        raise ValueError(f"a schema of {len(message.schema_json):,} characters is too long: at most {LONGEST_SCHEMA:,}")
    return ShardFacts(
        tuple(message.sample_shape),
        tuple(message.target_shape),
        bounded(message.description),
        decode_mapping(message.schema_json),
        bounded(message.interface, MAX_NAME),
        message.experiments_at_once or 1,
        terms_from(message.terms),
    )


def _shards_from(messages: Sequence[pb.ShardFacts]) -> tuple[ShardFacts, ...]:
    if len(messages) > MOST_SHARDS:
        raise ValueError(f"{len(messages):,} shards are too many: a site has at most {MOST_SHARDS}")
    return tuple(shard_from(message) for message in messages)


def _check_axes(message: pb.ShardFacts | pb.Interface) -> None:
    axes = max(len(message.sample_shape), len(message.target_shape))
    if axes > MOST_AXES:
        raise ValueError(f"a shape of {axes:,} axes cannot be: it has at most {MOST_AXES}")


def problem_to(value: DataProblem) -> pb.DataProblem:
    """Return the message of why a site refuses orders."""
    agreed, found = (None if one is None else interface_to(one) for one in (value.agreed, value.found))
    return pb.DataProblem(agreed=agreed, found=found)


def problem_from(message: pb.DataProblem) -> DataProblem:
    """Return why a site refuses orders, its texts bounded; raises ValueError for a shape that cannot be."""
    return DataProblem(
        _found_from(message.agreed) if message.HasField("agreed") else None,
        _found_from(message.found) if message.HasField("found") else None,
    )


def _found_from(message: pb.Interface) -> Interface:
    _check_axes(message)
    found = interface_from(message)
    return replace(found, name=bounded(found.name, MAX_NAME))


def envoy_report_to(value: EnvoyReport) -> pb.EnvoyMessage:
    """Return the message of what an envoy reports."""
    match value:
        case Hello():
            more = [shard_to(shard) for shard in value.more_shards]
            problem = None if value.problem is None else problem_to(value.problem)
            first = shard_to(value.shard)
            hello = pb.EnvoyHello(shard=first, version=value.version, more_shards=more, problem=problem)
            return pb.EnvoyMessage(hello=hello)
        case Heartbeat():
            return pb.EnvoyMessage(heartbeat=heartbeat_to(value))
        case OrderReply():
            reply = pb.OrderReply(
                experiment=value.experiment,
                accepted=value.accepted,
                reason=value.reason,
                csr=value.csr,
                failure=None if value.failure is None else failure_to(value.failure),
            )
            return pb.EnvoyMessage(reply=reply)
        case CollaboratorEnded():
            ended = pb.CollaboratorEnded(experiment=value.experiment, exit_code=value.exit_code, reason=value.reason)
            return pb.EnvoyMessage(ended=ended)
        case LogLines():
            return pb.EnvoyMessage(logs=logs_to(value))


def envoy_report_from(message: pb.EnvoyMessage) -> EnvoyReport:
    """Return what an envoy reports."""
    match message.WhichOneof("body"):
        case "hello":
            hello = message.hello
            return Hello(
                shard_from(hello.shard),
                bounded(hello.version, MAX_NAME),
                _shards_from(hello.more_shards),
                problem_from(hello.problem) if hello.HasField("problem") else None,
            )
        case "reply":
            reply = message.reply
            failure = failure_from(reply.failure) if reply.HasField("failure") else None
            return OrderReply(reply.experiment, reply.accepted, bounded(reply.reason), reply.csr, failure)
        case "ended":
            ended = message.ended
            return CollaboratorEnded(ended.experiment, ended.exit_code, bounded(ended.reason))
        case "logs":
            return logs_from(message.logs)
        case _:
            return heartbeat_from(message.heartbeat)


def envoy_instruction_to(value: EnvoyInstruction) -> pb.DirectorMessage:
    """Return the message of what the Director tells an envoy."""
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
        case LeaveOrder():
            leave = pb.LeaveOrder(message=bounded(value.message), retry_after_s=value.retry_after_s)
            return pb.DirectorMessage(leave=leave)
        case StopOrder():
            ended = "" if value.ended is None else value.ended.value
            return pb.DirectorMessage(
                stop=pb.StopOrder(experiment=value.experiment, reason=bounded(value.reason), ended=ended)
            )


def envoy_instruction_from(message: pb.DirectorMessage) -> EnvoyInstruction:
    """Return what the Director tells an envoy."""
    match message.WhichOneof("body"):
        case "order":
            order = message.order
            return Order(order.experiment, order.bundle, order.signature, order.certificates, order.aggregator_address)
        case "certificate":
            return IssuedCertificate(message.certificate.experiment, message.certificate.chain)
        case "stop":
            return StopOrder(message.stop.experiment, bounded(message.stop.reason), _end_from(message.stop.ended))
        case "leave" if 0 <= message.leave.retry_after_s <= MOST_RETRY_S:
            return LeaveOrder(bounded(message.leave.message), message.leave.retry_after_s)
        case "welcome" if LEAST_HEARTBEAT_S <= message.welcome.heartbeat_s <= MOST_HEARTBEAT_S:
            return Welcome(message.welcome.heartbeat_s)
        case kind:
            raise ValueError(f"there is no instruction like that: {kind} {message.welcome.heartbeat_s:g}")


def _end_from(text: str) -> Status | None:
    if text and not Status(text).ended:
        raise ValueError(f"no experiment has ended that is {text}")
    return Status(text) if text else None


def logs_to(value: LogLines) -> pb.LogLines:
    """Return the message of log lines."""
    return pb.LogLines(
        experiment=value.experiment,
        source=value.source,
        lines=value.lines,
        role=value.role,
        position=value.position,
        complete=value.complete,
    )


def logs_from(message: pb.LogLines) -> LogLines:
    """Return log lines."""
    lines = tuple(message.lines)
    return LogLines(message.experiment, message.source, lines, message.role, message.position, message.complete)


def log_query_to(experiment: str, value: LogQuery) -> pb.ReadLogsRequest:
    """Return the message of a wish for log lines."""
    return pb.ReadLogsRequest(
        experiment=experiment, source=value.source, role=value.role, follow=value.follow, after=value.after
    )


def log_query_from(message: pb.ReadLogsRequest) -> LogQuery:
    """Return which log lines are wanted."""
    return LogQuery(message.source, message.role, message.follow, dict(message.after))


def envoy_to(value: EnvoyRecord) -> pb.EnvoyRecord:
    """Return the message of a roster row."""
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
        more_shards=[shard_to(shard) for shard in value.more_shards],
        version=value.version,
        problem=None if value.problem is None else problem_to(value.problem),
        certificate_list=value.certificate_list,
        revoked=value.revoked,
    )


def envoy_from(message: pb.EnvoyRecord) -> EnvoyRecord:
    """Return a roster row."""
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
        _shards_from(message.more_shards),
        message.version,
        problem_from(message.problem) if message.HasField("problem") else None,
        message.certificate_list,
        message.revoked,
    )


def detail_to(value: EnvoyDetail) -> pb.EnvoyDetail:
    """Return the message of what there is to tell of an envoy."""
    return pb.EnvoyDetail(record=envoy_to(value.record), history=[series_to(one) for one in value.history])


def detail_from(message: pb.EnvoyDetail) -> EnvoyDetail:
    """Return what there is to tell of an envoy."""
    return EnvoyDetail(envoy_from(message.record), tuple(series_from(one) for one in message.history))
