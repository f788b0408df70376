"""What a task reports, read as numbers: whatever cannot be one is named with its task."""

import operator
from collections.abc import Mapping

from openfl_like.errors import TaskError
from openfl_like.federation.failure import bounded, one_line
from openfl_like.federation.task import MAX_METRICS, MAX_NAME_LENGTH, MAX_SAMPLES

_SHOWN = 100


def read_samples(task: str, value: object) -> int:
    """Return a number of samples.

    Raises:
        TaskError: If it is not one.
    """
    try:
        samples = operator.index(value)  # type: ignore[arg-type]  # what it is shows here
    except BaseException:  # noqa: BLE001 (it is the workspace's own object)
        samples = -1
    if not 0 <= samples <= MAX_SAMPLES:
        raise TaskError(
            f"task '{task}' returned {_told(value)} as the number of samples",
            cure="return a whole number, 0 if there were none",
        )
    return samples


def read_metrics(task: str, metrics: Mapping[str, object]) -> dict[str, float]:
    """Return the metrics of a task as numbers, those of arrays and tensors with one element, too.

    Raises:
        TaskError: If there are too many, a name cannot be one, or a value is not one number.
    """
    if len(metrics) > MAX_METRICS:
        raise TaskError(f"task '{task}' returned {len(metrics)} metrics, more than {MAX_METRICS}")
    return {_name(task, name): _number(task, name, value) for name, value in metrics.items()}


def _name(task: str, value: object) -> str:
    name = _text(value)
    if len(name) > MAX_NAME_LENGTH:
        shown = bounded(name, _SHOWN)
        raise TaskError(f"task '{task}': the name of the metric '{shown}…' is longer than {MAX_NAME_LENGTH} characters")
    if bounded(name) != name:
        raise TaskError(f"task '{task}': the name of the metric '{bounded(name)}' is not text that UTF-8 can hold")
    return name


def _number(task: str, name: object, value: object) -> float:
    try:
        item = getattr(value, "item", None)
        return float(item() if callable(item) else value)  # type: ignore[arg-type]  # what it is shows here
    except BaseException as error:
        raise TaskError(
            f"task '{task}': the metric '{bounded(_text(name), _SHOWN)}' is {_told(value)}: {one_line(error)}",
            cure="a metric is one number; report several under names of their own",
        ) from error


def _told(value: object) -> str:
    return f"{bounded(_text(value), _SHOWN)} ({bounded(type(value).__name__, _SHOWN)})"


def _text(value: object) -> str:
    try:
        return str.__str__(str(value))  # without a class of the code's own, which would be asked later who is equal
    except BaseException:  # noqa: BLE001 (submitted code may raise anything here, too)
        return "what cannot be shown"
