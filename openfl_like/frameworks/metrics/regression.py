"""Metrics of models whose targets are numbers, in numpy."""

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from openfl_like.errors import TensorError
from openfl_like.frameworks.targets import check_numbers

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, config=_STRICT)
class MeanSquaredError:
    """Mean of the squared differences between outputs and targets, over all their elements."""

    mode: ClassVar[Literal["max", "min"]] = "min"

    def measure(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """See `base.Metric`; both ``[n, *target_shape]``."""
        found, wanted = _compared(outputs, targets)
        return float(np.mean((found - wanted) ** 2))


@dataclass(frozen=True, slots=True, config=_STRICT)
class MeanAbsoluteError:
    """Mean of the absolute differences between outputs and targets, over all their elements."""

    mode: ClassVar[Literal["max", "min"]] = "min"

    def measure(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """See `base.Metric`; both ``[n, *target_shape]``."""
        found, wanted = _compared(outputs, targets)
        return float(np.mean(np.abs(found - wanted)))


@dataclass(frozen=True, slots=True, config=_STRICT)
class R2:
    """Coefficient of determination: 1 is exact, 0 is as good as the site's mean target, mean over several targets.

    A site none of whose targets differ has none.
    """

    mode: ClassVar[Literal["max", "min"]] = "max"

    def measure(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """See `base.Metric`; both ``[n, *target_shape]``."""
        found, wanted = (part.reshape(len(part), -1) for part in _compared(outputs, targets))
        spread = np.sum((wanted - wanted.mean(axis=0)) ** 2, axis=0)
        missed = np.sum((found - wanted) ** 2, axis=0)
        some = spread > 0
        return float(np.mean(1 - missed[some] / spread[some])) if some.any() else math.nan


def _compared(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 of one shape; raises TensorError if they do not belong together."""
    try:
        check_numbers(outputs.shape, targets.shape)
    except TensorError as error:
        cure = "it compares each output with a target of its own: for classes ask for accuracy, f1_macro or auc"
        raise TensorError(error.message, cure=cure) from error
    found = np.asarray(outputs, np.float64)
    return found, np.asarray(targets, np.float64).reshape(found.shape)
