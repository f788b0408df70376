"""Rules that shorten whole updates before they add them up."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.gram import Gram, GramPass
from openfl_like.aggregation.steps import Block, Blockwise, Step, Vector
from openfl_like.errors import UpdateRefusedError

_STRICT = ConfigDict(extra="forbid")
_LEAST = 3
"""Of fewer updates a dishonest one is as many as the honest ones."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class NormBoundedMean:
    """The mean of updates of a bounded norm (Sun et al. 2019, arXiv:1911.07963, section 4, norm thresholding).

    An update that is farther from the global model than ``bound`` is scaled down to that distance, so that nobody moves
    the model by more than a share of it. Integers and booleans do not count for the norm; they are combined with the
    same weights.

    Deviations from the paper: shares are alike unless ``weighted``; without ``bound`` it is the median of the norms of
    the round, which fewer than half of the sites cannot move beyond the honest ones.

    Attributes:
        bound: The Euclidean norm that an update may have (M in the paper); None: the median of the round's.
        weighted: Whether sites count by their samples.
    """

    bound: Annotated[float, Field(gt=0)] | None = None
    weighted: bool = False

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:
        """Shorten those that are too long.

        Args:
            gram: Inner products of the K updates.
            weights: Float64 [K], adding up to 1.

        Returns:
            Float64 [K].

        Raises:
            UpdateRefusedError: If an update is not finite.
        """
        gram.check_finite()
        norms = gram.norms()
        bound = _median(norms) if self.bound is None else self.bound
        shares = weights if self.weighted else np.full(len(weights), 1.0 / len(weights))
        return shares * shortened(norms, bound)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class CenteredClipping:
    """Centred clipping (Karimireddy et al. 2021, arXiv:2012.10333, algorithm 2).

    The direction of the last round, which is kept, is the centre v. Then, ``iterations`` times, v is moved by the mean
    of the updates less v, each scaled down to ``radius`` if it is longer; v is the direction of this round. Weights do
    not count. Where honest sites go the same way from round to round, they are close to the centre, and whoever is not
    is cut off; in the first round the centre is zero.

    Deviation from the paper, in which workers send momenta: here they are updates, the model less the global one.

    Attributes:
        radius: How far an update may be from the centre, as a Euclidean norm (tau in the paper).
        iterations: How many there are (L in the paper).
    """

    radius: Annotated[float, Field(gt=0)]
    iterations: Annotated[int, Field(ge=1, le=1000)] = 1
    slots: ClassVar[tuple[str, ...]] = ("centre",)

    def begin(self, weights: Vector, round_number: int) -> Step:  # noqa: ARG002 - every round is alike
        """Ask for the inner products of what the updates are away from the centre.

        Args:
            weights: Float64 [K].
            round_number: Which round this is.

        Raises:
            UpdateRefusedError: If these are too few updates.
        """
        if len(weights) < _LEAST:
            raise UpdateRefusedError(
                f"'centered_clipping' withstands nobody among {len(weights)} updates",
                cure=f"have a round wait for {_LEAST} updates or more (participation.min_updates)",
            )
        return _FromCentre(GramPass(self._clip))

    def _clip(self, gram: Gram) -> Step:
        gram.check_finite()
        count = len(gram.differences)
        moved = np.zeros(count)  # the centre is moved by the sum of the updates less the centre, each times its factor
        for _ in range(self.iterations):
            pulls = shortened(gram.distances_from(moved), self.radius) / count
            moved = moved * (1.0 - pulls.sum()) + pulls

        def combine(block: Block) -> Vector:
            centre = block.state[0]
            start = block.base + centre
            for update, factor in zip(block.updates, moved, strict=True):
                centre += factor * (update - start)
            made: Vector = block.base + centre
            return made

        return Blockwise(combine)


class _FromCentre:
    """The look at inner products of the updates less the base and the centre."""

    def __init__(self, products: GramPass) -> None:
        self._products = products

    def see(self, block: Block) -> Vector:
        """See `Pass`."""
        return self._products.see(Block(block.updates, block.base + block.state[0], block.state))

    def end(self, total: Vector) -> Step:
        """See `Pass`."""
        return self._products.end(total)


def _median(norms: Vector) -> float:
    ordered = np.sort(norms)  # np.median imports as much as a round needs memory
    return float(ordered[(len(norms) - 1) // 2] + ordered[len(norms) // 2]) / 2


def shortened(lengths: Vector, bound: float) -> Vector:
    """Return the factors that make lengths no longer than a bound.

    Args:
        lengths: Float64 [K], not negative.
        bound: Positive, or zero, for which all become zero.

    Returns:
        Float64 [K], from 0 to 1.
    """
    factors = np.ones(len(lengths))
    np.divide(bound, lengths, out=factors, where=lengths > bound)
    return factors
