"""The server half of algorithms: what the Aggregator does with what sites send beside the model."""

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Protocol, TypeAlias

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.steps import Contributors, Vector
from openfl_like.errors import UpdateRefusedError

_STRICT = ConfigDict(extra="forbid")
STEPS = "steps"
"""Name of the tensor in which sites of `FedNova` say how much they have done."""
Told: TypeAlias = Callable[[str], Vector]
"""Gives what each update says in a tensor of the algorithm's own that is a single number, float64 [K]."""


class ServerAlgorithm(Protocol):
    """The server half of an algorithm; built with the same settings as the half at the sites."""

    slots: ClassVar[tuple[str, ...]]
    """Names of what it keeps; each is float64 for each floating-point element of the model, zero at first. One that
    keeps something steps the model by itself, and allows no server optimizer."""
    averages: ClassVar[bool]
    """Whether it is made for a weighted average of updates, whose factors it changes, and for no other rule."""
    sums: ClassVar[bool]
    """Whether its own tensors are added up, whatever the rule makes of the model: each update counts once."""

    def weigh(self, shares: Vector, told: Told, given: Contributors) -> Vector:
        """Return the factors of the updates, each less the global model, of a rule that averages; float64 [K]."""
        ...

    def step(self, base: Vector, target: Vector, state: Vector, given: Contributors) -> Vector:
        """Return the next model, float64 [n]; see `server_optimizers.ServerOptimizer.step`."""
        ...

    def own(self, base: Vector, combined: Vector, given: Contributors) -> Vector:
        """Return the next value of a tensor of the algorithm's own.

        Args:
            base: Float64 [n]; what sites were sent.
            combined: Float64 [n]; what the rule made of what they sent.
            given: Who has sent it.

        Returns:
            Float64 [n]. An element depends on its own column only.
        """
        ...


class _AsAlways:
    """A server half that does nothing but average."""

    slots: ClassVar[tuple[str, ...]] = ()
    averages: ClassVar[bool] = False
    sums: ClassVar[bool] = False

    def weigh(self, shares: Vector, told: Told, given: Contributors) -> Vector:  # noqa: ARG002 - the protocol's
        """Leave the shares as they are."""
        return shares

    def step(self, base: Vector, target: Vector, state: Vector, given: Contributors) -> Vector:  # noqa: ARG002 - the protocol's
        """Take what the rule made."""
        return target

    def own(self, base: Vector, combined: Vector, given: Contributors) -> Vector:  # noqa: ARG002 - the protocol's
        """Take what the rule made."""
        return combined


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ScaffoldServer(_AsAlways):
    """SCAFFOLD, server side (Karimireddy et al. 2020, arXiv:1910.06378, algorithm 1, lines 16 and 17).

    The control variate c moves by the mean of what those of the sites moved by, times the part |S| / N of the sites
    that took part: those that did not have not moved theirs. Deviation: the mean is that of the plan's aggregation
    rule, weighted by samples unless ``weighted: false`` says otherwise; then the objective is the weighted one, too.
    """

    def own(self, base: Vector, combined: Vector, given: Contributors) -> Vector:
        """Return ``c + |S| / N (mean - c)``; see `ServerAlgorithm`."""
        moved: Vector = base + given.share * (combined - base)
        return moved


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FedDynServer(_AsAlways):
    """FedDyn, server side (Acar et al. 2021, arXiv:2111.04263, algorithm 1).

    With the mean of the updates t and the global model w before, h becomes h - alpha |P| / m (t - w), and the model
    t - h / alpha. Deviation: the mean is that of the plan's aggregation rule, as of `ScaffoldServer`.

    Attributes:
        alpha: The same as at the sites.
    """

    alpha: Annotated[float, Field(gt=0)]
    slots: ClassVar[tuple[str, ...]] = ("h",)

    def step(self, base: Vector, target: Vector, state: Vector, given: Contributors) -> Vector:
        """Return ``t - h / alpha``; see `ServerAlgorithm`."""
        h = state[0]
        np.subtract(h, self.alpha * given.share * (target - base), out=h)
        stepped: Vector = target - h / self.alpha
        return stepped


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FedNovaServer(_AsAlways):
    """FedNova, server side (Wang et al. 2020, arXiv:2007.07481, equation 8 and section 4.2).

    Site i has accumulated gradients with weights that add up to a_i; with shares p_i the model moves by
    (sum p_j a_j) sum p_i (w_i - w) / a_i, so that nobody counts more who took more steps. Sites tell a_i.

    Attributes:
        momentum: That of the sites' optimizer.
    """

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    averages: ClassVar[bool] = True

    def weigh(self, shares: Vector, told: Told, given: Contributors) -> Vector:
        """Return ``p_i (sum p_j a_j) / a_i``; see `ServerAlgorithm`.

        Raises:
            UpdateRefusedError: If a site says that it has taken less than a step.
        """
        accumulated = told(STEPS)
        for name, steps in zip(given.names, accumulated, strict=True):
            if not (math.isfinite(steps) and steps >= 1):
                raise UpdateRefusedError(
                    f"'{name}' says that it has taken {steps:g} steps, one is the least",
                    cure="leave the site out (admission.collaborators, selector.settings.exclude)",
                )
        factors: Vector = shares * math.fsum(shares * accumulated) / accumulated
        return factors


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FedCurvServer(_AsAlways):
    """FedCurv, server side (Shoham et al. 2019, arXiv:1910.07796, section 3): what sites tell is added up.

    From the sums each site takes off what it has told itself. The model is the plain average.

    Attributes:
        pull: The same as at the sites, which alone go by it.
    """

    pull: float
    averages: ClassVar[bool] = True
    sums: ClassVar[bool] = True
