"""Inner products of whole updates: what rules that compare updates with each other need to know of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openfl_like.aggregation.steps import Block, Linear, Step, Vector
from openfl_like.errors import UpdateRefusedError


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
        names: The collaborators, in this order.
    """

    differences: Vector
    with_base: Vector
    base: float
    names: tuple[str, ...] = ()

    def check_finite(self) -> None:
        """Refuse updates that have no distance from each other.

        Raises:
            UpdateRefusedError: If an update holds a value that is not finite, or is too far away for float64.
        """
        if not np.isfinite(self.differences).all():
            problem = "the distances between the updates are not finite"
            raise UpdateRefusedError(problem, cure="have updates checked by the validator 'finite'")

    def norms(self) -> Vector:
        """Return the Euclidean norm of each update less the base, float64 [K]."""
        norms: Vector = np.sqrt(np.maximum(self.differences.diagonal(), 0.0))
        return norms

    def squared_distances(self) -> Vector:
        """Return the squared Euclidean distance of each update from each other one, float64 [K, K]."""
        squares = self.differences.diagonal()
        squared: Vector = np.maximum(squares[:, np.newaxis] + squares - 2 * self.differences, 0.0)
        np.fill_diagonal(squared, 0.0)
        return squared

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
        decide: Says what comes next.
        names: The collaborators, in the order of the updates.
    """

    decide: Callable[[Gram], Step]
    names: tuple[str, ...] = ()

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

    def end(self, total: Vector) -> Step:
        """Ask the rule."""
        upper = np.triu(total)
        full = upper + np.triu(total, 1).T
        return self.decide(Gram(full[:-1, :-1], full[:-1, -1], float(full[-1, -1]), self.names))


def mixed(factors: Vector) -> Linear:
    """Return the step that adds up updates, each less the base and times its factor, and the base.

    Args:
        factors: Float64 [K]; what they lack to one is the base's.
    """
    rest = 1.0 - math.fsum(factors)
    rounding = len(factors) * float(np.finfo(np.float64).eps)
    return Linear(factors, 0.0 if abs(rest) <= rounding else rest)
