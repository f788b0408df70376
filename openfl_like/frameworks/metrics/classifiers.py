"""Metrics of classifiers, exact and in numpy."""

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.errors import TensorError
from openfl_like.frameworks.targets import are_classes, class_numbers, outputs_of, squeezed

_STRICT = ConfigDict(extra="forbid")


def accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    """Share of samples whose class is right.

    Args:
        scores: ``[n, classes]``: the greatest score names the class; or ``[n]``: positive means class 1.
        targets: Class numbers, ``[n]``.
    """
    return int(np.count_nonzero(_chosen(scores) == targets)) / len(targets)


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
        area = auc(_of_class_1(scores), targets)
        if not math.isnan(area):
            found["auc"] = area
    return found


@dataclass(frozen=True, slots=True, config=_STRICT)
class Accuracy:
    """Share of samples whose class is right: the one with the greatest score, or class 1 for one that is positive."""

    mode: ClassVar[Literal["max", "min"]] = "max"

    def measure(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """See `base.Metric`; outputs ``[n]``, ``[n, 1]`` or ``[n, classes]``, targets are class numbers ``[n]``."""
        return accuracy(*_classified(outputs, targets))


@dataclass(frozen=True, slots=True, config=_STRICT)
class TopKAccuracy:
    """Share of samples whose class is among the k with the greatest scores; of equal scores, the lower class counts.

    Attributes:
        k: Among how many.
    """

    mode: ClassVar[Literal["max", "min"]] = "max"
    k: Annotated[int, Field(ge=1)] = 5

    def measure(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """See `base.Metric`; outputs ``[n, classes]``, targets are class numbers ``[n]``."""
        scores, numbers = _classified(outputs, targets)
        if scores.ndim == 1 or self.k >= scores.shape[1]:
            told = f"the {self.k} best of {2 if scores.ndim == 1 else scores.shape[1]} classes are always all of them"
            raise TensorError(told, cure="ask for a smaller k, or for accuracy")
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        return int(np.count_nonzero(order == numbers[:, None])) / len(numbers)


@dataclass(frozen=True, slots=True, config=_STRICT)
class F1Macro:
    """Mean over the classes of F1, the harmonic mean of precision and recall (van Rijsbergen 1979, chapter 7).

    Classes count that occur among the samples or among what the model says of them; one that is never right has 0.
    """

    mode: ClassVar[Literal["max", "min"]] = "max"

    def measure(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """See `base.Metric`; outputs ``[n]``, ``[n, 1]`` or ``[n, classes]``, targets are class numbers ``[n]``."""
        scores, numbers = _classified(outputs, targets)
        chosen = _chosen(scores).astype(np.int64)
        classes = 2 if scores.ndim == 1 else scores.shape[1]
        said, true = np.bincount(chosen, minlength=classes), np.bincount(numbers, minlength=classes)
        right = np.bincount(numbers[chosen == numbers], minlength=classes)
        there = (said + true) > 0
        return float(np.mean(2 * right[there] / (said + true)[there]))


@dataclass(frozen=True, slots=True, config=_STRICT)
class Auc:
    """Area under the ROC curve of two classes, exactly from ranks (Mann and Whitney 1947).

    A site that has only one of the classes has none.
    """

    mode: ClassVar[Literal["max", "min"]] = "max"

    def measure(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """See `base.Metric`; outputs ``[n]``, ``[n, 1]`` or ``[n, 2]``, targets are 0 and 1, ``[n]``."""
        scores, numbers = _classified(outputs, targets)
        if scores.ndim == 2 and scores.shape[1] != 2:
            told = f"the model tells {scores.shape[1]} classes apart, and the area under its curve is one of two"
            raise TensorError(told, cure="ask for f1_macro, or write a metric of your own")
        return auc(_of_class_1(scores), numbers)


def _classified(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores ``[n]`` or ``[n, classes]`` and class numbers ``[n]``.

    Raises:
        TensorError: If the targets are something else, or the outputs are no scores of them.
    """
    numbers = class_numbers(targets)
    if numbers is None:
        told = f"the targets are {targets.dtype.name}{list(targets.shape)}, and no numbers of classes [n]"
        raise TensorError(told, cure="ask for mse, mae or r2, or give the numbers of classes as integers")
    if not are_classes(numbers, outputs_of(outputs)):
        told = f"outputs of the shape {list(outputs.shape)} are no scores of the classes up to {int(numbers.max())}"
        raise TensorError(told, cure="have the last layer give a score for each class")
    return squeezed(outputs), numbers.astype(np.int64, copy=False)


def _chosen(scores: np.ndarray) -> np.ndarray:
    return scores > 0 if scores.ndim == 1 else scores.argmax(axis=1)


def _of_class_1(scores: np.ndarray) -> np.ndarray:
    return scores if scores.ndim == 1 else scores[:, 1] - scores[:, 0]
