"""Reading what a worker answers: it runs submitted code, so that nothing about it is taken for granted."""

from dataclasses import fields

from openfl_like.federation.reports.progress import TaskProgress, checked_progress
from openfl_like.federation.task import Assignment, Phase, Update, check_facts, without_undefined


def read_update(answer: object, assignment: Assignment) -> Update:
    """Return the update of an answer.

    Raises:
        ValueError: If a field is missing, or not what it should be, or it is an answer to another assignment.
    """
    known = {"round", "phase", "collaborator", "digest", "num_samples", "metrics", "duration_s", "partial", "batches"}
    if not isinstance(answer, dict) or not answer.keys() <= known:
        raise ValueError("it is not an update")
    update = Update(
        round=_whole(answer["round"], "round"),
        phase=Phase(_text(answer["phase"], "phase")),
        collaborator=_text(answer["collaborator"], "collaborator"),
        digest=_text(answer["digest"], "digest"),
        num_samples=_whole(answer["num_samples"], "num_samples"),
        metrics={name: _numbers(each) for name, each in _mapping(answer.get("metrics", {}), "metrics").items()},
        duration_s=_number(answer.get("duration_s", 0.0), "duration_s"),
        partial=_truth(answer.get("partial", False), "partial"),
        batches=_whole(answer.get("batches", 0), "batches"),
    )
    asked = (assignment.round, assignment.phase, assignment.collaborator)
    if (update.round, update.phase, update.collaborator) != asked:
        raise ValueError(f"it answers round {update.round}, {update.phase}, which is not what it was asked")
    complaint = check_facts(without_undefined(update))
    if complaint:
        raise ValueError(complaint)
    return update


def read_progress(told: object, assignment: Assignment) -> TaskProgress:
    """Return what a worker tells of its task while it works.

    Raises:
        ValueError: If something in it is not what it should be, or it is about another assignment.
    """
    known = {each.name for each in fields(TaskProgress)}
    if not isinstance(told, dict) or told.keys() != known:
        raise ValueError("it is no progress")
    progress = TaskProgress(
        round=_whole(told["round"], "round"),
        phase=Phase(_text(told["phase"], "phase")),
        task=_text(told["task"], "task"),
        epoch=_whole(told["epoch"], "epoch"),
        epochs=None if told["epochs"] is None else _whole(told["epochs"], "epochs"),
        batches=_whole(told["batches"], "batches"),
        samples=_whole(told["samples"], "samples"),
        of_samples=_whole(told["of_samples"], "of_samples"),
        elapsed_s=_number(told["elapsed_s"], "elapsed_s"),
        metrics=_numbers(told["metrics"]),
    )
    if (progress.round, progress.phase) != (assignment.round, assignment.phase):
        raise ValueError(f"it tells of round {progress.round}, {progress.phase}, which is not what it was asked")
    return checked_progress(progress)


def _numbers(value: object) -> dict[str, float]:
    return {name: _number(number, "a metric") for name, number in _mapping(value, "metrics").items()}


def _mapping(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not a mapping")  # noqa: TRY004 (what a peer sent, no caller's type)
    for name in value:
        _text(name, f"a name in {what}")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is not text")  # noqa: TRY004 (as above)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is not text that UTF-8 can hold") from None
    return value


def _truth(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{what} is neither true nor false")  # noqa: TRY004 (as above)
    return value


def _whole(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} is not a whole number")  # noqa: TRY004 (as above)
    return value


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{what} is not a number")  # noqa: TRY004 (as above)
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{what} is too large") from None
