"""The metrics of a version: means over the sites."""

import math
from collections.abc import Mapping, Sequence

from openfl_like.federation.task import Update
from openfl_like.plan.schema import Task


def round_metrics(
    tasks: Mapping[str, Task], trained: Mapping[str, Update], evaluated: Mapping[str, Update]
) -> dict[str, float]:
    """Average metrics over sites, weighted by their samples.

    What the evaluation of the new model gave is published under its own name (``accuracy``), what training gave under
    the task's (``train.loss``). Where two evaluations have a metric of the same name, the first task in the plan that
    looks at the global model has the short name, the other one the long. Those of a task that looks at a given model
    say nothing about the version and are named after both: ``accuracy@bern``.

    Args:
        tasks: The plan's; metrics of other tasks are dropped.
        trained: Updates of the training, by collaborator.
        evaluated: Updates of the evaluation, by collaborator.
    """
    found = {f"{task}.{name}": value for task in tasks for name, value in _means(task, trained).items()}
    short: dict[str, float] = {}
    for task in sorted(tasks, key=lambda name: tasks[name].apply != "global"):
        for name, value in _means(task, evaluated).items():
            if tasks[task].of_file:
                found[f"{name}@{task}"] = value
            elif name in short:
                found[f"{task}.{name}"] = value
            else:
                short[name] = value
    return dict(sorted((found | short).items()))


def matrix_of(tasks: Mapping[str, Task], evaluated: Mapping[str, Update]) -> dict[str, dict[str, dict[str, float]]]:
    """Return how each site found each given model: site -> task -> metric -> value; empty without such tasks.

    Args:
        tasks: The plan's.
        evaluated: Updates of the evaluation, by collaborator.
    """
    given = [name for name, task in tasks.items() if task.of_file]
    rows = {
        site: {name: dict(update.metrics[name]) for name in given if name in update.metrics}
        for site, update in sorted(evaluated.items())
    }
    return {site: row for site, row in rows.items() if row}


def _means(task: str, updates: Mapping[str, Update]) -> dict[str, float]:
    """The mean of each metric of a task; sites without samples count only where nobody has any."""
    values: dict[str, list[tuple[float, int]]] = {}
    for name in sorted(updates):
        for metric, value in updates[name].metrics.get(task, {}).items():
            values.setdefault(metric, []).append((value, updates[name].num_samples))
    return {metric: _mean(pairs) for metric, pairs in values.items()}


def _mean(pairs: list[tuple[float, int]]) -> float:
    """Exact until the last step, so that no order of sites and no large value changes the result."""
    total = sum(weight for _, weight in pairs)
    weighted = pairs if total else [(value, 1) for value, _ in pairs]
    parts = [(*float(value).as_integer_ratio(), weight) for value, weight in weighted]
    common = max(denominator for _, denominator, _ in parts)  # all are powers of two, so the largest is a multiple
    numerator = sum(value * (common // denominator) * weight for value, denominator, weight in parts)
    return float(numerator / (common * (total or len(pairs))))


def weights_of(updates: Sequence[Update], factors: Mapping[str, float]) -> dict[str, float]:
    """The share of each update, by collaborator: its samples over those of all; alike if nobody has samples.

    Args:
        updates: Of a round.
        factors: What the samples of some of them are multiplied by.
    """
    ordered = sorted(updates, key=lambda update: update.collaborator)
    if not factors:
        total = sum(update.num_samples for update in ordered)
        return {update.collaborator: update.num_samples / total if total else 1 / len(ordered) for update in ordered}
    weights = {one.collaborator: one.num_samples * factors.get(one.collaborator, 1.0) for one in ordered}
    whole = math.fsum(weights.values())
    return {name: weight / whole if whole else 1 / len(ordered) for name, weight in weights.items()}
