"""Whether a batch gives what its sites give alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from openfl_like.federation.task import Update
from openfl_like.tensors.memory import TensorMemory

TOLERANCE = 1e-5
"""A batch is trusted when it gives what sites give alone, as near as this: of a weight or a metric that is above 1, in
proportion to it."""


@dataclass(frozen=True, slots=True)
class SiteUpdate:
    """What one site hands back.

    Attributes:
        update: The update.
        content: Its tensors; None in the phase ``evaluate``.
    """

    update: Update
    content: TensorMemory | None


def distance(one: SiteUpdate, other: SiteUpdate) -> float:
    """Return how far two updates are apart at most; infinite if they do not have the same tensors and metrics."""
    if _names(one) != _names(other):
        return math.inf
    return max(_apart(first, second) for first, second in zip(_values(one), _values(other), strict=True))


def _names(one: SiteUpdate) -> object:
    metrics = {task: sorted(values) for task, values in one.update.metrics.items()}
    return metrics, one.content.schema if one.content is not None else None


def _values(one: SiteUpdate) -> Iterator[np.ndarray]:
    yield np.array(one.update.num_samples)
    for _, metrics in sorted(one.update.metrics.items()):
        yield np.array([value for _, value in sorted(metrics.items())], np.float64)
    if one.content is not None:
        yield from map(one.content.tensor, one.content.names)


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        far = np.where(same, 0.0, np.abs(one - other) / np.maximum(1.0, np.abs(other)))
    return float(np.nan_to_num(far, nan=math.inf).max(initial=0.0))
