"""Krum, Multi-Krum and Bulyan: rules that choose among whole updates those that have close neighbours."""

import math
from collections.abc import Callable
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.gram import Gram, GramPass
from openfl_like.aggregation.sorting import sort_rows
from openfl_like.aggregation.steps import Block, Blockwise, Step, Vector
from openfl_like.errors import UpdateRefusedError

_STRICT = ConfigDict(extra="forbid")
_ROUNDING = 1e-9
"""0.29 of 100 updates are 29 of them, although the product is a little less."""
Fraction = Annotated[float, Field(gt=0, lt=0.5)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Krum:
    """Krum (Blanchard et al. 2017, arXiv:1703.02757, section 4): the update whose neighbours are closest.

    Of K updates, f = floor(fraction K) may be dishonest. The score of an update is the sum of the squared distances
    from its K - f - 2 closest neighbours; the update with the least score is the new model, and of several that of the
    first name. It needs K >= 2 f + 3 updates. Weights do not count, and neither do integers and booleans for distances.

    Attributes:
        fraction: At least the part of the sites that may be dishonest.
    """

    fraction: Fraction

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:
        """Choose one update.

        Args:
            gram: Inner products of the K updates.
            weights: Float64 [K].

        Returns:
            Float64 [K], one 1 and zeros.

        Raises:
            UpdateRefusedError: If these are too few updates, or one is not finite.
        """
        dishonest = _dishonest(self.fraction, len(weights), "krum", lambda count: 2 * count + 3)
        gram.check_finite()
        return _shared_by(_best(gram.squared_distances(), dishonest)[:1], len(weights))


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class MultiKrum:
    """Multi-Krum (Blanchard et al. 2017, arXiv:1703.02757, section 5): the mean of the updates with the best scores.

    Scores are those of `Krum`. Weights do not count.

    Attributes:
        fraction: At least the part of the sites that may be dishonest.
        keep: How many updates are kept (m in the paper); None: K - f - 2, which is also the most: all of these have as
            many neighbours.
    """

    fraction: Fraction
    keep: Annotated[int, Field(ge=1)] | None = None

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:
        """Choose the best updates.

        Args:
            gram: Inner products of the K updates.
            weights: Float64 [K].

        Returns:
            Float64 [K], the same share for each that is kept, and zeros.

        Raises:
            UpdateRefusedError: If these are too few updates, also to keep as many, or one is not finite.
        """
        count = len(weights)
        dishonest = _dishonest(self.fraction, count, "multi_krum", lambda most: 2 * most + 3)
        gram.check_finite()
        most = count - dishonest - 2
        kept = most if self.keep is None else self.keep
        if kept > most:
            raise UpdateRefusedError(
                f"of {count} updates, {dishonest} of which may be dishonest, 'multi_krum' can keep {most}, not {kept}",
                place="aggregation.settings.keep",
                cure="leave it out, make it smaller, or have a round wait for more updates (participation.min_updates)",
            )
        return _shared_by(_best(gram.squared_distances(), dishonest)[:kept], count)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Bulyan:
    """Bulyan over Krum (El Mhamdi et al. 2018, arXiv:1802.07927, section 4).

    Krum chooses K - 2 f of the updates, one after the other, each among those that are left. Of the values that these
    have for an element, the K - 4 f that are closest to their median are averaged. It needs K >= 4 f + 3 updates, of
    which f = floor(fraction K) may be dishonest. Weights do not count.

    Deviation: towards the end there are so few updates left that Krum would look at no neighbour, which the paper does
    not speak of; it looks at one then.

    Attributes:
        fraction: At least the part of the sites that may be dishonest.
    """

    fraction: Annotated[float, Field(gt=0, lt=0.25)]
    slots: ClassVar[tuple[str, ...]] = ()

    def begin(self, weights: Vector, round_number: int) -> Step:  # noqa: ARG002 - every round is alike
        """Ask for inner products.

        Args:
            weights: Float64 [K].
            round_number: Which round this is.

        Raises:
            UpdateRefusedError: If these are too few updates.
        """
        dishonest = _dishonest(self.fraction, len(weights), "bulyan", lambda count: 4 * count + 3)
        return GramPass(lambda gram: _around_the_median(gram, dishonest))


def chosen_by_bulyan(distances: Vector, dishonest: int) -> list[int]:
    """Choose updates one after the other by Krum.

    Args:
        distances: Float64 [K, K], squared.
        dishonest: How many may be.

    Returns:
        K - 2 f numbers of updates, rising.
    """
    left = np.arange(len(distances))
    chosen = list[int]()
    while len(chosen) < len(distances) - 2 * dishonest:
        best = _best(distances[np.ix_(left, left)], dishonest)[0]
        chosen.append(int(left[best]))
        left = np.delete(left, best)
    return sorted(chosen)


def mean_around_median(rows: Vector, count: int) -> Vector:
    """Average, for every column, the values that are closest to its median; of two as close ones the smaller.

    Args:
        rows: Float64 [K, n]; it is overwritten.
        count: How many values are averaged.

    Returns:
        Float64 [n].
    """
    ordered = np.array(sort_rows(rows, 0, len(rows)))
    middle = (ordered[(len(rows) - 1) // 2] + ordered[len(rows) // 2]) / 2
    low = np.zeros((1, rows.shape[1]), np.intp)
    for last in range(len(rows) - 1, count - 1, -1):  # from low to low + last are left: the ends are the farthest
        below = middle - np.take_along_axis(ordered, low, 0)
        above = np.take_along_axis(ordered, low + last, 0) - middle
        low += below > above
    total = np.take_along_axis(ordered, low, 0)
    for place in range(1, count):
        total += np.take_along_axis(ordered, low + place, 0)
    mean: Vector = total[0] / count + 0.0
    return mean


def _around_the_median(gram: Gram, dishonest: int) -> Step:
    gram.check_finite()
    chosen = chosen_by_bulyan(gram.squared_distances(), dishonest)
    count = len(chosen) - 2 * dishonest

    def combine(block: Block) -> Vector:
        return mean_around_median(block.updates[chosen], count)

    return Blockwise(combine)


def _best(distances: Vector, dishonest: int) -> npt.NDArray[np.intp]:
    """Return the numbers of the updates, the least Krum score first; float64 [K, K] squared distances are given."""
    neighbours = max(1, len(distances) - dishonest - 2)
    ordered = np.sort(distances + np.diag(np.full(len(distances), np.inf)), axis=1)
    return np.argsort(ordered[:, :neighbours].sum(axis=1), kind="stable")


def _shared_by(chosen: npt.NDArray[np.intp], count: int) -> Vector:
    factors = np.zeros(count)
    factors[chosen] = 1.0 / len(chosen)
    return factors


def _dishonest(fraction: float, count: int, rule: str, least: Callable[[int], int]) -> int:
    """Return how many of the updates may be dishonest.

    Args:
        fraction: The part that may be.
        count: How many updates there are.
        rule: Which asks.
        least: Gives how many updates it needs to withstand so many.

    Raises:
        UpdateRefusedError: If there are fewer, or none of so few may be dishonest.
    """
    dishonest = math.floor(fraction * count + _ROUNDING)
    if dishonest and count >= least(dishonest):
        return dishonest
    if dishonest:
        problem = (
            f"'{rule}' withstands {dishonest} dishonest of {least(dishonest)} updates or more, and here are {count}"
        )
    else:
        problem = f"of {count} updates the fraction {fraction} is less than one, so '{rule}' would withstand nobody"
    raise UpdateRefusedError(
        problem,
        place="aggregation.settings.fraction",
        cure=f"it needs {_needed(fraction, least)} updates or more (participation.min_updates), or another fraction",
    )


def _needed(fraction: float, least: Callable[[int], int]) -> int:
    """Return the least number of updates of which a fraction is one or more, and few enough."""
    count = math.ceil(1 / fraction - _ROUNDING)
    while count < least(math.floor(fraction * count + _ROUNDING)):
        count += 1
    return count
