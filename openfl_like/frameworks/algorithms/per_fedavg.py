"""Per-FedAvg: sites learn a model that is good after a step of each site's own, instead of one that is good for all."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart
from openfl_like.frameworks.algorithms.gradients import SiteGradients
from openfl_like.frameworks.model import Tensors


@dataclass(kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class PerFedAvg:
    """Per-FedAvg: each step goes along the gradient of ``f_i(w - alpha f_i'(w))``.

    Fallah et al. 2020, "Personalized Federated Learning: A Meta-Learning Approach", arXiv:2002.07948, algorithm 1. That
    gradient is ``(I - alpha f_i''(w)) f_i'(v)`` with ``v = w - alpha f_i'(w)``. Without ``delta`` the second derivative
    is left out (the paper's Per-FedAvg FO, section 5); with it, its product with ``u = f_i'(v)`` is the difference
    ``(f_i'(w + delta u) - f_i'(w - delta u)) / (2 delta)`` (Per-FedAvg HF, equation 13).

    Deviations: the paper draws a batch of its own for each of the gradients of a step; here all of them are those of
    the step's one batch. The mean is that of the plan's aggregation rule, weighted by samples unless
    ``weighted: false`` says otherwise.

    Nothing is kept at the site, and nothing is sent beside the model.

    Args:
        alpha: Rate of the step that each site is to take for itself; the paper tries 0.01 and 0.001.
        delta: How far away second derivatives are felt out; 0: they are left out.
    """

    alpha: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(ge=0)] = 0.0

    def __post_init__(self) -> None:
        self._gradients = SiteGradients()

    def shared(self, model: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Send nothing beside the model."""
        return {}

    def begin(self, start: LocalStart) -> None:
        """Take what gives gradients at other weights."""
        self._gradients = start.gradients

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:
        """Return the gradient after a step of the site's own, with its second derivatives if they are wanted."""
        after = self._towards(weights, gradients, -self.alpha)
        if not self.delta:
            return after
        above, below = (self._towards(weights, after, side * self.delta) for side in (1, -1))
        rate = self.alpha / (2 * self.delta)
        return {name: gradient - rate * (above[name] - below[name]) for name, gradient in after.items()}

    def _towards(self, weights: Tensors, direction: Tensors, by: float) -> Tensors:
        """Return the gradient of the batch beside the weights."""
        there = {name: weights[name] + by * part for name, part in direction.items()}
        found = self._gradients.of_batch(there)
        return {name: found[name] for name in direction}

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:  # noqa: ARG002 - the protocol's
        """Leave nothing behind."""
        return LocalEnd()
