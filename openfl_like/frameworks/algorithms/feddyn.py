"""FedDyn: each site's objective is changed from round to round, so that all have the same minimum in the end."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart
from openfl_like.frameworks.model import Tensors


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class FedDyn:
    """FedDyn, client side: each step goes along ``gradient - h_i + alpha (w - w_global)``.

    Acar et al. 2021, "Federated Learning Based on Dynamic Regularization", arXiv:2111.04263, algorithm 1: a site
    minimises ``L_i(w) - <h_i, w> + alpha/2 |w - w_global|^2`` and then sets ``h_i`` to ``h_i - alpha (w - w_global)``,
    which at the minimum is its gradient there. The server half is `FedDynServer`.

    At the site h_i is kept, the size of the trained weights; nothing is sent beside the model.

    Args:
        alpha: How strong the pull is; the paper tries 0.001, 0.01 and 0.1.
    """

    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    def __post_init__(self) -> None:
        self._anchor: Tensors = {}
        self._own: Tensors = {}

    def shared(self, model: Tensors) -> Tensors:  # noqa: ARG002 - the protocol's
        """Send nothing beside the model."""
        return {}

    def begin(self, start: LocalStart) -> None:
        """Keep the global model until the update is complete."""
        self._anchor = start.weights
        self._own = {name: start.state.get(name, 0 * weight) for name, weight in start.weights.items()}

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:
        """Return ``gradient - h_i + alpha (w - w_global)``."""
        return {
            name: gradient - self._own[name] + self.alpha * (weights[name] - self._anchor[name])
            for name, gradient in gradients.items()
        }

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:
        """Keep ``h_i - alpha (w - w_global)``."""
        kept = {name: self._own[name] - self.alpha * (weight - self._anchor[name]) for name, weight in weights.items()}
        self._anchor, self._own = {}, {}
        return LocalEnd(state=kept)
