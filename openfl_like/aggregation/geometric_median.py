"""The geometric median of whole updates."""

import math
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.gram import Gram
from openfl_like.aggregation.steps import Vector


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GeometricMedian:
    """Robust federated aggregation, RFA (Pillutla et al. 2022, arXiv:1912.13445).

    The model with the least sum of distances to all updates, by the smoothed Weiszfeld algorithm of that paper: each
    update is weighted by its share, divided by its distance from the last iterate or by ``smoothing`` if that is more.
    The iterates are weighted means of the updates, so that distances follow from inner products, and the updates
    themselves are read twice. Integers and booleans do not count for distances; they are combined with the same
    weights.

    Deviations from the paper: shares are alike unless ``weighted`` (a site could buy influence by claiming samples),
    and there is a fixed number of iterations, since here they cost no communication.

    Attributes:
        weighted: Whether sites count by their samples, as in the paper.
        smoothing: The distance below which updates are not told apart (nu in the paper).
        iterations: How many there are; the first one starts at the mean of the updates.
    """

    weighted: bool = False
    smoothing: Annotated[float, Field(gt=0)] = 1e-6
    iterations: Annotated[int, Field(ge=1, le=10_000)] = 100

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:
        """Iterate on the factors of the updates.

        Args:
            gram: Inner products of the K updates less the base.
            weights: Float64 [K], adding up to 1.

        Returns:
            Float64 [K], not negative, adding up to 1.

        Raises:
            UpdateRefusedError: If an update holds a value that is not finite, or is too far away for float64.
        """
        gram.check_finite()
        shares = weights if self.weighted else np.full(len(weights), 1.0 / len(weights))
        factors = shares
        for _ in range(self.iterations):
            pulls = shares / np.maximum(gram.distances_from(factors), self.smoothing)
            factors = pulls / math.fsum(pulls)
        return factors
