"""Aggregation rules: how the updates of a round become the next global model."""

import math
from typing import Annotated, Protocol, TypeAlias, runtime_checkable

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.gram import Gram
from openfl_like.aggregation.sorting import sort_rows
from openfl_like.aggregation.steps import Step, Vector
from openfl_like.errors import UpdateRefusedError

_STRICT = ConfigDict(extra="forbid")
_ROUNDING = 1e-9
"""0.29 of 100 updates are 29 of them, although the product is a little less."""


@runtime_checkable
class BlockRule(Protocol):
    """A rule that combines the same block of K updates; which elements make up a block must not matter.

    A single update is the result.
    """

    def reduce(self, blocks: Vector, weights: Vector) -> Vector:
        """Combine a block. Several threads may be in here at once.

        Args:
            blocks: Float64 [K, n]; row k is update k, sorted by collaborator name. It may be overwritten.
            weights: Float64 [K], adding up to 1.

        Returns:
            Float64 [n]; it may be a part of ``blocks``.

        Raises:
            UpdateRefusedError: If these are too few updates.
        """
        ...


@runtime_checkable
class LinearRule(Protocol):
    """A rule that adds up the updates, each times a factor that does not depend on them."""

    def factors(self, weights: Vector) -> Vector:
        """Give the factor of each update.

        Args:
            weights: Float64 [K], adding up to 1.

        Returns:
            Float64 [K].
        """
        ...


@runtime_checkable
class GramRule(Protocol):
    """A rule over whole updates that needs to know no more of them than their inner products."""

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:
        """Give the factor of each update less the base; what the factors lack to one stays with the base.

        Args:
            gram: Inner products of the K updates, sorted by collaborator name; NaN or infinite if an update is.
            weights: Float64 [K], adding up to 1.

        Returns:
            Float64 [K].

        Raises:
            UpdateRefusedError: If these updates cannot be combined.
        """
        ...


@runtime_checkable
class PassRule(Protocol):
    """The most general rule: it may look at all updates and the base several times, and keep state between rounds."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of what it keeps; each is float64 for each floating-point element of the model, zero at first."""
        ...

    def begin(self, weights: Vector, round_number: int) -> Step:
        """Say what to do first.

        Args:
            weights: Float64 [K], adding up to 1.
            round_number: Which round this is, from 1.

        Raises:
            UpdateRefusedError: If these are too few updates.
        """
        ...


AggregationRule: TypeAlias = BlockRule | LinearRule | GramRule | PassRule
"""A frozen value that is one of them; of one that is several, the quickest way is taken: its `LinearRule`, if any."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class WeightedAverage:
    """Federated averaging (McMahan et al. 2017, arXiv:1602.05629, algorithm 1, server side).

    Attributes:
        weighted: Whether sites count by their samples; otherwise all count alike.
    """

    weighted: bool = True

    def factors(self, weights: Vector) -> Vector:
        """Return each update's share."""
        return weights if self.weighted else np.full(len(weights), 1.0 / len(weights))

    def reduce(self, blocks: Vector, weights: Vector) -> Vector:
        """Add the weighted rows one after the other: elementwise, so no BLAS and no thread count changes a bit."""
        blocks *= self.factors(weights)[:, np.newaxis]
        return _add_rows(blocks)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Median:
    """Coordinate-wise median (Yin et al. 2018, arXiv:1803.01498, definition 1); weights do not count.

    Of an even number of updates it is the mean of the two in the middle. A NaN in one update is one in the result.
    """

    def reduce(self, blocks: Vector, weights: Vector) -> Vector:  # noqa: ARG002 - sites cannot buy influence with samples
        """Sort as far as needed and take the middle."""
        count = len(blocks)
        lowest, highest = (count - 1) // 2, count // 2
        rows = sort_rows(blocks, lowest, highest + 1)
        total = rows[0] if lowest == highest else _add_rows(rows)
        return _signless_zeros(total, highest + 1 - lowest)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class TrimmedMean:
    """Coordinate-wise trimmed mean (Yin et al. 2018, arXiv:1803.01498, definition 2); weights do not count.

    Of K updates, the floor(fraction K) smallest and as many of the largest values of each element are left out; the
    others count alike. A NaN in one update is one in the result.

    Attributes:
        fraction: The part that is left out at each end; at least the part of the sites that may be dishonest.
    """

    fraction: Annotated[float, Field(gt=0, lt=0.5)]

    def reduce(self, blocks: Vector, weights: Vector) -> Vector:  # noqa: ARG002 - sites cannot buy influence with samples
        """Sort as far as needed and add up what is left, in rising order.

        Raises:
            UpdateRefusedError: If the fraction of so few updates is less than one.
        """
        count = len(blocks)
        cut = math.floor(self.fraction * count + _ROUNDING)
        if not cut:
            least = math.ceil(1 / self.fraction - _ROUNDING)
            raise UpdateRefusedError(
                f"of {count} updates the fraction {self.fraction} is less than one, so nothing would be trimmed",
                place="aggregation.settings.fraction",
                cure=f"it needs {least} updates or more (participation.min_updates), or a larger fraction",
            )
        rows = sort_rows(blocks, cut, count - cut)
        return _signless_zeros(_add_rows(rows), count - 2 * cut)


def _add_rows(rows: list[Vector] | Vector) -> Vector:
    """The sum of one or more rows, in their order; in the first of them."""
    total: Vector = rows[0]
    for row in rows[1:]:
        np.add(total, row, out=total)
    return total


def _signless_zeros(total: Vector, count: int) -> Vector:
    """Divide by the count; of 0 and -0 either may be called the smaller, so that all become 0."""
    if count > 1:
        np.divide(total, count, out=total)
    return np.add(total, 0.0, out=total)
