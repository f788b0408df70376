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
from openfl_like.federation.reports.machine import MOST_BYTES, MachineFacts
from openfl_like.federation.reports.progress import TaskProgress, checked_progress
from openfl_like.federation.task import Assignment, Phase, TaskCall, Update, Work
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
        train_s=value.train_s,
        batch_limit=value.batch_limit,
        work=None if value.work is None else _work_to(value.work),
    )


def _progress_to(value: TaskProgress) -> pb.TaskProgress:
    return pb.TaskProgress(
        round=value.round,
        phase=value.phase.value,
        task=value.task,
        epoch=value.epoch,
        epochs=value.epochs,
        batches=value.batches,
        samples=value.samples,
        of_samples=value.of_samples,
        elapsed_s=value.elapsed_s,
        metrics=dict(value.metrics),
    )


def _progress_from(message: pb.TaskProgress) -> TaskProgress:
    progress = TaskProgress(
        message.round,
        Phase(message.phase),
        bounded(message.task, MAX_NAME),
        message.epoch,
        message.epochs if message.HasField("epochs") else None,
        message.batches,
        message.samples,
        message.of_samples,
        message.elapsed_s,
        dict(sorted(message.metrics.items())),
    )
    return checked_progress(progress)


def _ready_to(value: Ready) -> pb.Ready:
    message = pb.Ready(plan_digest=value.plan_digest, memory_bytes=value.facts.memory_bytes)
    if value.facts.gpu is not None:
        message.gpu = value.facts.gpu
    return message


def _ready_from(message: pb.Ready) -> Ready:
    gpu = message.gpu if message.HasField("gpu") else None
    memory_bytes = min(message.memory_bytes, MOST_BYTES) if message.HasField("memory_bytes") else None
    return Ready(message.plan_digest, MachineFacts(gpu, memory_bytes))


def _work_to(value: Work) -> pb.Work:
    return pb.Work(epochs=value.epochs, batches=value.batches, samples=value.samples, sample_seed=value.sample_seed)


def _work_from(message: pb.Work) -> Work:
    epochs, batches, samples = (_amount(message, name) for name in ("epochs", "batches", "samples"))
    if epochs is not None and batches is not None:
        raise ValueError("work that counts both epochs and batches")
    return Work(epochs, batches, samples, message.sample_seed if message.HasField("sample_seed") else None)


def _amount(message: pb.Work | pb.Assignment, name: str) -> int | None:
    if not message.HasField(name):
        return None
    amount = int(getattr(message, name))
    if not amount:
        raise ValueError(f"{name} is 0")
    return amount


def _seconds(message: pb.Assignment, name: str) -> float | None:
    seconds = float(getattr(message, name)) if message.HasField(name) else None
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{name} is {seconds:g} s")
    return seconds


def assignment_from(message: pb.Assignment, collaborator: str) -> Assignment:
    """Return the assignment of a message that this collaborator received; raises ValueError for a malformed one."""
    tasks = tuple(
        TaskCall(t.name, t.function, decode_mapping(t.arguments_json), t.apply, t.trains) for t in message.tasks
    )
    phase = Phase(message.phase)
    return Assignment(
        round=message.round,
        phase=phase,
        collaborator=collaborator,
        tasks=tasks,
        model=digest_from(message.model),
        seed=message.seed,
        deadline_s=_seconds(message, "deadline_s"),
        continues=message.continues,
        train_s=_seconds(message, "train_s"),
        batch_limit=_amount(message, "batch_limit"),
        work=_work_from(message.work) if message.HasField("work") else None,
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
        partial=value.partial,
        batches=value.batches,
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
        partial=message.partial,
        batches=message.batches,
    )


def report_to(value: CollaboratorReport) -> pb.CollaboratorMessage:
    """Return the message of what a collaborator reports."""
    if isinstance(value, Ready):
        return pb.CollaboratorMessage(ready=_ready_to(value))
    if isinstance(value, TaskProgress):
        return pb.CollaboratorMessage(progress=_progress_to(value))
    if isinstance(value, TaskFailure):
        failure = pb.TaskFailure(round=value.round, phase=value.phase.value, failure=failure_to(value.failure))
        return pb.CollaboratorMessage(failed=failure)
    return pb.CollaboratorMessage(evaluated=update_to(value))


def report_from(message: pb.CollaboratorMessage, collaborator: str) -> CollaboratorReport:
    """Return what this collaborator reports."""
    if message.HasField("ready"):
        return _ready_from(message.ready)
    if message.HasField("failed"):
        failed = message.failed
        return TaskFailure(failed.round, Phase(failed.phase), failure_from(failed.failure))
    if message.HasField("progress"):
        return _progress_from(message.progress)
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
