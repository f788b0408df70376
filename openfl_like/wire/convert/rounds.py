"""Values of a round to messages and back."""

import math

from openfl_like.federation.failure import MAX_NAME, bounded
from openfl_like.federation.ports import (
    AggregatorInstruction,
    CollaboratorReport,
    Dismissal,
    Ready,
    TaskFailure,
    Withdrawal,
)
from openfl_like.federation.task import Assignment, Phase, TaskCall, Update
from openfl_like.wire.convert.values import decode_mapping, digest_from, encode_json, failure_from, failure_to
from openfl_like.wire.protos import federation_pb2 as pb


def assignment_to(value: Assignment) -> pb.Assignment:
    """Return the message of an assignment; the collaborator is the receiver and not in it."""
    tasks = [
        pb.TaskCall(
            name=t.name,
            function=t.function,
            arguments_json=encode_json(dict(t.arguments)),
            apply=t.apply,
            trains=t.trains,
        )
        for t in value.tasks
    ]
    return pb.Assignment(
        round=value.round,
        phase=value.phase.value,
        tasks=tasks,
        model=value.model,
        seed=value.seed,
        deadline_s=value.deadline_s,
        continues=value.continues,
    )


def assignment_from(message: pb.Assignment, collaborator: str) -> Assignment:
    """Return the assignment of a message that this collaborator received; raises ValueError for a malformed one."""
    tasks = tuple(
        TaskCall(t.name, t.function, decode_mapping(t.arguments_json), t.apply, t.trains) for t in message.tasks
    )
    deadline = message.deadline_s if message.HasField("deadline_s") else None
    if deadline is not None and not (math.isfinite(deadline) and deadline > 0):
        raise ValueError(f"a deadline of {deadline:g} s")
    phase = Phase(message.phase)
    return Assignment(
        round=message.round,
        phase=phase,
        collaborator=collaborator,
        tasks=tasks,
        model=digest_from(message.model),
        seed=message.seed,
        deadline_s=deadline,
        continues=message.continues,
    )


def update_to(value: Update) -> pb.Update:
    """Return the message of an update; the collaborator is the sender and not in it."""
    return pb.Update(
        round=value.round,
        phase=value.phase.value,
        digest=value.digest,
        num_samples=value.num_samples,
        metrics={task: pb.TaskMetrics(values=dict(values)) for task, values in value.metrics.items()},
        duration_s=value.duration_s,
    )


def update_from(message: pb.Update, collaborator: str) -> Update:
    """Return the update of a message that came from this collaborator."""
    return Update(
        round=message.round,
        phase=Phase(message.phase),
        collaborator=collaborator,
        digest=digest_from(message.digest),
        num_samples=message.num_samples,
        metrics={task: dict(metrics.values) for task, metrics in sorted(message.metrics.items())},
        duration_s=message.duration_s,
    )


def report_to(value: CollaboratorReport) -> pb.CollaboratorMessage:
    """Return the message of what a collaborator reports."""
    if isinstance(value, Ready):
        return pb.CollaboratorMessage(ready=pb.Ready(plan_digest=value.plan_digest))
    if isinstance(value, TaskFailure):
        failure = pb.TaskFailure(round=value.round, phase=value.phase.value, failure=failure_to(value.failure))
        return pb.CollaboratorMessage(failed=failure)
    return pb.CollaboratorMessage(evaluated=update_to(value))


def report_from(message: pb.CollaboratorMessage, collaborator: str) -> CollaboratorReport:
    """Return what this collaborator reports."""
    if message.HasField("ready"):
        return Ready(message.ready.plan_digest)
    if message.HasField("failed"):
        failed = message.failed
        return TaskFailure(failed.round, Phase(failed.phase), failure_from(failed.failure))
    return update_from(message.evaluated, collaborator)


def instruction_to(value: AggregatorInstruction) -> pb.AggregatorMessage:
    """Return the message of what an Aggregator tells a collaborator."""
    if isinstance(value, Assignment):
        return pb.AggregatorMessage(assignment=assignment_to(value))
    if isinstance(value, Withdrawal):
        withdrawal = pb.Withdrawal(round=value.round, phase=value.phase.value, reason=value.reason)
        return pb.AggregatorMessage(withdrawal=withdrawal)
    return pb.AggregatorMessage(dismissal=pb.Dismissal(status=value.status, reason=value.reason))


def instruction_from(message: pb.AggregatorMessage, collaborator: str) -> AggregatorInstruction:
    """Return what the Aggregator tells this collaborator."""
    if message.HasField("assignment"):
        return assignment_from(message.assignment, collaborator)
    if message.HasField("withdrawal"):
        withdrawal = message.withdrawal
        return Withdrawal(withdrawal.round, Phase(withdrawal.phase), bounded(withdrawal.reason))
    return Dismissal(bounded(message.dismissal.status, MAX_NAME), bounded(message.dismissal.reason))
