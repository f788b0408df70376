"""Parts that compute: which updates count, and what model is made of them.

They see a model in blocks, in any order and from several threads: an element may depend on its own column only.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from openfl_like.aggregation.steps import Contributors
from openfl_like.federation.task import Update
from openfl_like.tensors.encoded import ModelReader


class LargestStep:
    """A validator: no element of an update is further than a limit from the model that it started from.

    Args:
        limit: Of the difference, whatever its sign.
    """

    BLOCK = 1 << 16

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def check(self, update: ModelReader, base: ModelReader | None, facts: Update) -> str:
        """Say why it must not count; empty if it may."""
        if base is None:
            return ""  # the initial model
        there = {spec.name for spec in base.schema}
        for spec in update.schema:
            if not spec.is_float or spec.name not in there:
                continue
            now, before = update.flat(spec.name), base.flat(spec.name)
            for start in range(0, spec.size, self.BLOCK):
                stop = min(start + self.BLOCK, spec.size)
                step = np.abs(np.subtract(now[start:stop], before[start:stop], dtype=np.float64)).max()
                if not step <= self.limit:
                    return f"an element of '{spec.name}' has moved by {step:g}, and may by {self.limit:g}"
        return ""


class MiddleHalf:
    """An aggregation rule: of each element the mean of the middle half of all updates.

    The interquartile mean: a quarter of the updates is left out at either end, rounded down. Weights do not count.
    """

    def reduce(self, blocks: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Combine K updates of n elements, float64 [K, n], to float64 [n]."""
        out = len(blocks) // 4
        rows = np.sort(blocks, axis=0)[out : len(blocks) - out]
        mean: np.ndarray = rows.sum(axis=0) / len(rows)
        return mean


class CarriedDriftServer:
    """The half at the Aggregator of `src.algorithm.CarriedDrift`: the drift is a running mean over the rounds.

    Args:
        share: For the sites.
        keep: The part of the drift before that is kept.
    """

    slots: ClassVar[tuple[str, ...]] = ()  # it keeps nothing but what it sends
    averages: ClassVar[bool] = False  # it goes with any rule

    def __init__(self, share: float, keep: float) -> None:
        self.share, self.keep = share, keep

    def weigh(self, shares: np.ndarray, told: Callable[[str], np.ndarray], given: Contributors) -> np.ndarray:
        """Leave the shares of the updates as they are."""
        return shares

    def step(self, base: np.ndarray, target: np.ndarray, state: np.ndarray, given: Contributors) -> np.ndarray:
        """Take what the rule made of the updates as the next model."""
        return target

    def own(self, base: np.ndarray, combined: np.ndarray, given: Contributors) -> np.ndarray:
        """Return the next drift, of the one before and of what the rule made of the sites' drifts."""
        drift: np.ndarray = self.keep * base + (1 - self.keep) * combined
        return drift
