"""Metrics of classifiers, exact and in numpy, and what a task has seen so far."""

import math
from dataclasses import dataclass, field

import numpy as np

from openfl_like.frameworks.targets import are_classes, class_numbers, outputs_of, squeezed


def accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    """Share of samples whose class is right.

    Args:
        scores: ``[n, classes]``: the greatest score names the class; or ``[n]``: positive means class 1.
        targets: Class numbers, ``[n]``.
    """
    chosen = scores > 0 if scores.ndim == 1 else scores.argmax(axis=1)
    return int(np.count_nonzero(chosen == targets)) / len(targets)


def auc(scores: np.ndarray, targets: np.ndarray) -> float:
    """Area under the ROC curve of a two-class scorer.

    It is the probability that a positive sample scores higher than a negative one, ties counting half, computed exactly
    from ranks (Mann and Whitney 1947, Annals of Mathematical Statistics 18).

    Args:
        scores: ``[n]``, any monotone score of class 1.
        targets: 0 or 1, ``[n]``.

    Returns:
        A value from 0 to 1; NaN when one of the classes does not occur.
    """
    positive = targets == 1
    num_positive = int(positive.sum())
    num_negative = len(targets) - num_positive
    if not num_positive or not num_negative:
        return math.nan
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    rank_sum = float(mean_rank[place][positive].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)


def classification(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return ``accuracy`` and, where there are two classes and both occur, ``auc``.

    Args:
        scores: ``[n]``, ``[n, 1]`` or ``[n, classes]``.
        targets: Class numbers, ``[n]``.
    """
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    found = {"accuracy": accuracy(scores, targets)}
    if scores.ndim == 1 or scores.shape[1] == 2:
        area = auc(scores if scores.ndim == 1 else scores[:, 1] - scores[:, 0], targets)
        if not math.isnan(area):
            found["auc"] = area
    return found


@dataclass(slots=True)
class Seen:
    """Batches that were looked at: their mean losses, scores and targets."""

    losses: list[float] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)

    def add(self, loss: float, scores: np.ndarray, targets: np.ndarray) -> None:
        """Take a batch in: its mean loss, its scores as for `classification`, its targets.

        Scores of what has no class numbers are not kept: they may be as large as the samples.
        """
        self.losses.append(loss)
        numbers = class_numbers(targets)
        self.targets.append(targets if numbers is None else numbers)
        if numbers is not None:
            self.scores.append(scores)

    def metrics(self) -> dict[str, float]:
        """Mean loss over all samples; for numbers of classes that have scores also the metrics of a classifier."""
        if not self.targets:
            return {}
        truth = _joined(self.targets)
        total = sum(loss * len(batch) for loss, batch in zip(self.losses, self.targets, strict=True))
        found = {"loss": total / len(truth)}
        if self.scores:
            scores = _joined(self.scores)
            if are_classes(truth, outputs_of(scores)):
                found |= classification(squeezed(scores), truth)
        return found


def _joined(batches: list[np.ndarray]) -> np.ndarray:
    return batches[0] if len(batches) == 1 else np.concatenate(batches)
