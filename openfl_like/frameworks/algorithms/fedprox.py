"""FedProx: sites stay near the global model while they train."""

from pydantic import ConfigDict, NonNegativeFloat
from pydantic.dataclasses import dataclass

from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart
from openfl_like.frameworks.model import Tensors


@dataclass(kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class FedProx:
    """FedProx: every step is pulled back towards the global model, the more the farther the site has gone from it.

    Li et al. 2020, "Federated Optimization in Heterogeneous Networks", arXiv:1812.06127, equation 2 and algorithm 2:
    a site minimises ``F(w) + mu/2 |w - w_global|^2``, so its gradient is ``F'(w) + mu (w - w_global)``. It deviates in
    nothing; that sites may do different amounts of work (the paper's gamma) is up to the tasks.

    Nothing is kept at a site, nothing is sent beside the model. With ``mu: 0`` the bytes are those of plain training.

    Args:
        mu: Strength of the pull; the paper tries 0.001, 0.01, 0.1 and 1.
    """

    mu: NonNegativeFloat

    def __post_init__(self) -> None:
        self._anchor: Tensors = {}

    def shared(self, model: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Send nothing beside the model."""
        return {}

    def begin(self, start: LocalStart) -> None:
        """Keep the global model until the update is complete."""
        self._anchor = start.weights

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:
        """Return ``gradient + mu (w - w_global)``; a weight without a gradient does not move and needs no pull."""
        if not self.mu:
            return gradients  # adding zeros could turn a -0.0
        return {name: gradient + self.mu * (weights[name] - self._anchor[name]) for name, gradient in gradients.items()}

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:  # noqa: ARG002 - the protocol's
        """Let the global model go."""
        self._anchor = {}
        return LocalEnd()
