"""Inner products of whole updates: what rules that compare updates with each other need to know of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openfl_like.aggregation.steps import Block, Linear, Vector


@dataclass(frozen=True, slots=True)
class Gram:
    """Inner products over all floating-point tensors of the model, in float64.

    Distances, norms and angles follow from them, also those of any weighted sum of the updates; no whole update is
    needed in memory for that (Blanchard et al. 2017, arXiv:1703.02757, and Pillutla et al. 2022, arXiv:1912.13445, use
    updates in no other way).

    Attributes:
        differences: Float64 [K, K]; element (i, j) belongs to update i and update j, both less the base.
        with_base: Float64 [K]; element i belongs to update i less the base, and the base itself.
        base: The squared norm of the base.
    """

    differences: Vector
    with_base: Vector
    base: float

    def distances_from(self, factors: Vector) -> Vector:
        """Return how far each update is from the point ``base + sum(factors[k] * (update[k] - base))``.

        Args:
            factors: Float64 [K].

        Returns:
            Float64 [K], Euclidean distances.
        """
        # No matrix products: BLAS has other bits on other machines, and with other numbers of threads.
        crossed = (self.differences * factors).sum(axis=1)
        squared = self.differences.diagonal() - 2 * crossed + (crossed * factors).sum()
        distances: Vector = np.sqrt(np.maximum(squared, 0.0))  # rounding may leave a little less than nothing
        return distances


@dataclass(frozen=True, slots=True)
class GramPass:
    """The one look at all updates that gives their `Gram`.

    Attributes:
        decide: Turns it into float64 [K]: the factors of the updates less the base.
    """

    decide: Callable[[Gram], Vector]

    def see(self, block: Block) -> Vector:
        """Multiply every row with every other one.

        Returns:
            Float64 [K + 1, K + 1], the upper triangle filled; the base comes last.
        """
        rows, count = block.updates, len(block.updates)
        np.subtract(rows, block.base, out=rows)
        products, found = np.empty_like(rows), np.zeros((count + 1, count + 1))
        for index in range(count):
            np.multiply(rows[index:], rows[index], out=products[index:])
            products[index:].sum(axis=1, out=found[index, index:count])
        np.multiply(rows, block.base, out=products)
        products.sum(axis=1, out=found[:count, count])
        found[count, count] = (block.base * block.base).sum()
        return found

    def end(self, total: Vector) -> Linear:
        """Ask the rule for its factors; what they lack to one is the base's."""
        upper = np.triu(total)
        full = upper + np.triu(total, 1).T
        factors = self.decide(Gram(full[:-1, :-1], full[:-1, -1], float(full[-1, -1])))
        rest = 1.0 - math.fsum(factors)
        rounding = len(factors) * float(np.finfo(np.float64).eps)
        return Linear(factors, 0.0 if abs(rest) <= rounding else rest)
